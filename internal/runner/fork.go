package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Forks of sessions: operations that copy a session's interpreter. They go on when
// their caller has gone away, since an interpreter that is left in the middle is lost.

// branchTime bounds the making of copies: the API waits a little longer, for the reason.
const branchTime = 25 * time.Second

// checkpoint is a copy of a session's interpreter that sleeps.
type checkpoint struct {
	id          string
	interpreter Interpreter
}

// dropCheckpoints ends the session's checkpoints.
func (s *Session) dropCheckpoints() {
	for _, c := range s.checkpoints {
		s.closeCopy(c.interpreter)
	}
	s.checkpoints = nil
}

func (s *Session) closeCopy(i Interpreter) {
	if err := i.Close(); err != nil {
		s.of.r.cfg.Log.Error("copy of an interpreter was not closed as it should", slog.String("session_id", s.id), slog.Any("err", err))
	}
}

// fork makes sessions that begin as copies of this one: first their records, so that all
// that may be refused is, then their interpreters.
func (s *sessions) fork(ctx context.Context, se *Session, args json.RawMessage) (any, *job.SessionEnd, error) {
	var a job.ForkArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, nil, fmt.Errorf("decode arguments: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), branchTime)
	defer cancel()
	made := s.reserve(a.Sessions, se.spec)
	copies, end, err := s.recordAndFork(ctx, se, a.Sessions)
	if err != nil {
		s.release(made, nil)
		return nil, end, err
	}
	s.release(made, copies)
	return a, nil, nil
}

func (s *sessions) recordAndFork(ctx context.Context, se *Session, ids []string) ([]Interpreter, *job.SessionEnd, error) {
	self, records := s.r.cfg.Self, s.r.cfg.SessionRecords
	err := records.ForkSession(ctx, se.id, self.ID, self.MaxSessions, ids)
	if full, ok := errors.AsType[*job.SessionsFullError](err); ok {
		return nil, nil, noRoom(full, len(ids))
	}
	if errors.Is(err, job.ErrSessionEnded) {
		return nil, nil, &job.RefusedError{Message: "the session has ended meanwhile"}
	}
	if err != nil {
		return nil, nil, err
	}
	copies, end, err := se.copies(ctx, len(ids))
	if err == nil {
		return copies, nil, nil
	}
	for _, id := range ids {
		gone := job.SessionEnd{Reason: job.EndStartFailed, Message: "the session that it was to be a copy of could not be copied"}
		if err := records.EndSession(ctx, id, gone); err != nil {
			// Without an interpreter it would be a fresh one, which is no copy.
			s.r.cfg.Log.ErrorContext(ctx, "record of a copy that was not made is left over", slog.String("session_id", id), slog.Any("err", err))
		}
	}
	return nil, end, err
}

func noRoom(full *job.SessionsFullError, count int) error {
	if full.OfCaller {
		return &job.RefusedError{
			Code:    job.FailTooManySessions,
			Message: fmt.Sprintf("with %d more, this API key would have more than %d sessions, which is all it may; delete some", count, full.Limit),
		}
	}
	return &job.RefusedError{
		Code:    job.FailSessionsFull,
		Message: fmt.Sprintf("copies live on the runner of the session, which has room for %d sessions and not for %d more; try again when some have ended", full.Limit, count),
	}
}

// copies forks the session's interpreter. If that breaks, the session is at its end.
func (s *Session) copies(ctx context.Context, count int) ([]Interpreter, *job.SessionEnd, error) {
	i, err := s.Interpreter(ctx)
	if err != nil {
		return nil, &job.SessionEnd{Reason: job.EndStartFailed, Message: "no Python interpreter could be started for it"}, err
	}
	copies, err := i.Fork(ctx, count)
	if _, refused := errors.AsType[*job.RefusedError](err); err == nil || refused {
		return copies, nil, err
	}
	end := i.Alive()
	if end == nil {
		end = &job.SessionEnd{Reason: job.EndCrashed, Message: "its interpreter broke when it was to be copied"}
	}
	return nil, end, err
}

// reserve keeps the places of sessions that are being made: nobody may take their records
// for sessions without an interpreter.
func (s *sessions) reserve(ids []string, spec job.SessionSpec) []*Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	made := make([]*Session, len(ids))
	for i, id := range ids {
		made[i] = &Session{id: id, of: s, spec: spec, serving: true, making: true}
		s.live[id] = made[i]
		s.serving++
	}
	return made
}

// release begins to serve the sessions that were made, or without copies gives their places
// up.
func (s *sessions) release(made []*Session, copies []Interpreter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, se := range made {
		se.making = false
		if copies == nil {
			s.stopServing(se)
			continue
		}
		se.interpreter = copies[i]
		s.done.Go(func() { s.serve(se) })
	}
}

// checkpointOf keeps a copy of the session's interpreter, to which it can be rolled back.
func checkpointOf(ctx context.Context, se *Session, args json.RawMessage) (any, *job.SessionEnd, error) {
	var a job.CheckpointArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, nil, fmt.Errorf("decode arguments: %w", err)
	}
	if len(se.checkpoints) >= job.MaxCheckpoints {
		return nil, nil, &job.RefusedError{Message: fmt.Sprintf("the session has %d checkpoints, which is all it may; open another session, or fork it", job.MaxCheckpoints)}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), branchTime)
	defer cancel()
	copies, end, err := se.copies(ctx, 1)
	if err != nil {
		return nil, end, err
	}
	se.checkpoints = append(se.checkpoints, checkpoint{a.Checkpoint, copies[0]})
	return a, nil, nil
}

// rollback gives the session an interpreter that is a copy of a checkpoint, which stays.
// Checkpoints that are newer stay, too.
func rollback(ctx context.Context, se *Session, args json.RawMessage) (any, *job.SessionEnd, error) {
	var a job.CheckpointArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, nil, fmt.Errorf("decode arguments: %w", err)
	}
	i := len(se.checkpoints) - 1
	if a.Checkpoint != "" {
		i = slices.IndexFunc(se.checkpoints, func(c checkpoint) bool { return c.id == a.Checkpoint })
	}
	if i < 0 {
		return nil, nil, &job.RefusedError{Code: job.FailNoCheckpoint, Message: "the session has no such checkpoint; make one, or check its id"}
	}
	point := se.checkpoints[i]
	if point.interpreter.Alive() != nil {
		se.checkpoints = slices.Delete(se.checkpoints, i, i+1)
		se.closeCopy(point.interpreter)
		return nil, nil, &job.RefusedError{Code: job.FailNoCheckpoint, Message: "the checkpoint has ended: its process was killed, perhaps for want of memory"}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), branchTime)
	defer cancel()
	se.Replace(nil)
	restored, err := point.interpreter.Restore(ctx)
	if err != nil {
		return nil, &job.SessionEnd{Reason: job.EndCrashed, Message: "its checkpoint could not be restored"}, err
	}
	se.interpreter = restored
	return job.CheckpointArgs{Checkpoint: point.id}, nil, nil
}
