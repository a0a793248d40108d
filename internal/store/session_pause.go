package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/job"
)

// HaltSession records that the processes of a session are stopped, by its current operation. The session is paused from
// the end of the operation on. frozen are the jobs of other lanes that stand still with the processes: they run on. A job.RefusedError says why it may not be; job.ErrStale: the claim is lost.
func (s *Store) HaltSession(ctx context.Context, c job.Claim, p job.PauseArgs, frozen []string) error {
	const op = "pause session"
	each := make([]args, len(frozen))
	for i, id := range frozen {
		each[i] = args{{"frozen", id}}
	}
	r, err := s.run(ctx, op, s.scripts.halt, keys{{"session", sessionKey(c.SessionID)}}, args{
		{"session", c.SessionID},
		{"runner", c.Runner},
		{"job", c.JobID},
		{"pause", p.Most.Milliseconds()},
		{"resumes", mark(p.AutoResume)},
		{"most", p.MostPaused},
	}, each...)
	if err != nil {
		return err
	}
	switch r.word() {
	case "waits":
		return &job.RefusedError{Passing: true, Message: "other executions, operations or commands of the session were accepted meanwhile; try again when they have begun or ended"}
	case "full":
		return &job.RefusedError{
			Code:    job.FailTooManyPaused,
			Message: fmt.Sprintf("this API key has %d paused sessions, and may have %d; resume or delete one", atoi(r.text(2)), atoi(r.text(1))),
		}
	}
	return nil
}

// IsPaused reports whether a session is paused, or will be at the end of its current operation.
func (s *Store) IsPaused(ctx context.Context, id string) (bool, error) {
	paused, err := s.rdb.HExists(ctx, sessionKey(id), "paused_at").Result()
	return paused, wrap("look whether a session is paused", err)
}

// pauseTimeout and pauseKept bound the operation that pauses a session at its end, and the life of its record.
const (
	pauseTimeout = 30 * time.Second
	pauseKept    = time.Minute
)

// pauseAtEnd makes the operation that pauses a session at its end. One that has ended or is paused meanwhile needs none.
func (s *Store) pauseAtEnd(ctx context.Context, session, caller, args string) error {
	const op = "pause session at its end"
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	now := time.Now()
	_, err = s.Create(ctx, job.NewJob{
		Job: job.Job{
			ID: id.String(), State: job.Queued, Queue: job.OperationQueue, MaxAttempts: 1, CreatedAt: now, QueuedAt: now,
			SessionID: session, InSession: true, Lane: job.LaneDefault, Timeout: pauseTimeout, ResultTTL: pauseKept,
		},
		Spec:   job.Spec{Op: job.OpPause, Args: json.RawMessage(args), Timeout: pauseTimeout},
		Caller: caller,
	})
	if errors.Is(err, job.ErrSessionEnded) || errors.Is(err, job.ErrSessionPaused) || errors.Is(err, job.ErrNoSession) {
		return nil
	}
	return wrap(op, err)
}

// encodedPause is the form of the arguments of a pause in a session's record; empty for none.
func encodedPause(p *job.PauseArgs) (string, error) {
	if p == nil {
		return "", nil
	}
	text, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("encode pause: %w", err)
	}
	return string(text), nil
}

func decodedPause(text string) *job.PauseArgs {
	var p job.PauseArgs
	if text == "" || json.Unmarshal([]byte(text), &p) != nil {
		return nil
	}
	return &p
}
