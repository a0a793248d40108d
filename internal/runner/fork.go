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

// This file has the operations that copy a session's interpreter: fork, checkpoint and rollback.
// They continue after their caller has disconnected, because an interpreter is lost if its
// copying is interrupted.

// copyTime bounds the copying of interpreters. The API waits a little longer, so that it receives
// the reason of a failure.
const copyTime = 25 * time.Second

// checkpoint is a saved, sleeping interpreter of a session.
type checkpoint struct {
	id          string
	interpreter Interpreter
}

// dropCheckpoints ends the session's checkpoints.
func (se *served) dropCheckpoints() {
	for _, c := range se.checkpoints {
		se.closeCopy(c.interpreter)
	}
	se.keep(nil)
}

func (se *served) closeCopy(i Interpreter) {
	if err := i.Close(); err != nil {
		se.of.r.cfg.Log.Error("fork of an interpreter was not closed as it should", slog.String("session_id", se.id), slog.Any("err", err))
	}
}

// keep sets the session's checkpoints.
func (se *served) keep(points []checkpoint) {
	se.of.mu.Lock()
	defer se.of.mu.Unlock()
	se.checkpoints = points
}

func (se *served) hasCheckpoints() bool {
	se.of.mu.Lock()
	defer se.of.mu.Unlock()
	return len(se.checkpoints) > 0
}

// fork opens forks of a session. It makes their records before their interpreters, because the
// store refuses forks for which there is no room.
func (s *sessions) fork(ctx context.Context, se *Session, args json.RawMessage) (any, *job.SessionEnd, error) {
	var a job.ForkArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, nil, fmt.Errorf("decode arguments: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), copyTime)
	defer cancel()
	made := s.reserve(a.Sessions, se.spec)
	copies, end, err := s.recordAndFork(ctx, se, a)
	if err != nil {
		s.release(made, nil)
		return nil, end, err
	}
	s.release(made, copies)
	return a, nil, nil
}

func (s *sessions) recordAndFork(ctx context.Context, se *Session, a job.ForkArgs) ([]Interpreter, *job.SessionEnd, error) {
	self, records, ids := s.r.cfg.Self, s.r.cfg.SessionRecords, a.Sessions
	err := records.ForkSession(ctx, se.id, self.ID, self.MaxSessions, a.SessionBounds, ids)
	if full, ok := errors.AsType[*job.SessionsFullError](err); ok {
		return nil, nil, noRoom(full, len(ids))
	}
	if full, ok := errors.AsType[*job.FullError](err); ok {
		return nil, nil, &job.RefusedError{
			Code: job.FailBytesFull, Message: full.Error() + "; delete jobs or sessions that are not needed any more", Bound: &job.InUse{Used: full.Depth, Allowed: full.Limit},
		}
	}
	if full, ok := errors.AsType[*job.SessionRoomError](err); ok {
		return nil, nil, &job.RefusedError{
			Code: full.Code(), Message: full.Error() + "; delete some", Bound: &job.InUse{Used: full.Used, Allowed: full.Allowed},
		}
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
		gone := job.SessionEnd{Reason: job.EndStartFailed, Message: "the session that it was to be a fork of could not be forked"}
		if err := records.EndSession(ctx, id, gone); err != nil {
			// The session would get a fresh interpreter in place of a fork.
			s.r.cfg.Log.ErrorContext(ctx, "record of a fork that was not made is left over", slog.String("session_id", id), slog.Any("err", err))
		}
	}
	return nil, end, err
}

func noRoom(full *job.SessionsFullError, count int) error {
	if full.OfCaller {
		return &job.RefusedError{
			Code:    job.FailTooManySessions,
			Message: fmt.Sprintf("with %d more, this API key would have more than %d sessions, which is all it may; delete some", count, full.Limit),
			Bound:   &job.InUse{Used: full.Used, Allowed: full.Limit},
		}
	}
	return &job.RefusedError{
		Code:    job.FailSessionsFull,
		Message: fmt.Sprintf("forks live on the runner of the session, which has room for %d sessions and not for %d more; try again when some have ended", full.Limit, count),
	}
}

// copies forks the session's interpreter. If the interpreter breaks, copies returns the session's
// end.
func (se *served) copies(ctx context.Context, count int) ([]Interpreter, *job.SessionEnd, error) {
	i, err := se.Interpreter(ctx)
	if isRefused(err) || errors.Is(err, errMoved) {
		return nil, nil, err
	}
	if err != nil {
		return nil, &job.SessionEnd{Reason: job.EndStartFailed, Message: "no Python interpreter could be started for it"}, err
	}
	copies, err := i.Fork(ctx, count)
	if _, refused := errors.AsType[*job.RefusedError](err); err == nil || refused {
		return copies, nil, err
	}
	end := i.Alive()
	if end == nil {
		end = &job.SessionEnd{Reason: job.EndCrashed, Message: "its interpreter broke when it was to be forked"}
	}
	return nil, end, err
}

// reserve enters sessions that are being made, so that lookAfter does not take their records for
// sessions without an interpreter.
func (s *sessions) reserve(ids []string, spec job.SessionSpec) []*served {
	s.mu.Lock()
	defer s.mu.Unlock()
	spec.Volume = "" // one session at a time saves it
	made := make([]*served, len(ids))
	for i, id := range ids {
		se := s.newServed(id)
		se.spec, se.known, se.making, se.main.serving, se.busy = spec, true, true, true, 1
		made[i], s.live[id] = se, se
		s.serving++
	}
	return made
}

// release begins to serve the sessions that were made. Without copies it removes them.
func (s *sessions) release(made []*served, copies []Interpreter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, se := range made {
		se.making = false
		if copies == nil {
			s.stopServing(&se.main)
			continue
		}
		se.interpreter = copies[i]
		s.done.Go(func() { s.serve(&se.main) })
	}
}

// checkpointOf keeps a copy of the session's interpreter. The session can be rolled back to it.
func checkpointOf(ctx context.Context, se *Session, args json.RawMessage) (any, *job.SessionEnd, error) {
	var a job.CheckpointArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, nil, fmt.Errorf("decode arguments: %w", err)
	}
	if len(se.checkpoints) >= job.MaxCheckpoints {
		return nil, nil, &job.RefusedError{Message: fmt.Sprintf("the session has %d checkpoints, which is all it may; open another session, or fork it", job.MaxCheckpoints)}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), copyTime)
	defer cancel()
	copies, end, err := se.copies(ctx, 1)
	if err != nil {
		return nil, end, err
	}
	se.keep(append(se.checkpoints, checkpoint{a.Checkpoint, copies[0]}))
	return a, nil, nil
}

// rollback replaces the session's interpreter with a copy of a checkpoint. The checkpoint and
// newer ones stay.
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
		se.keep(slices.Delete(slices.Clone(se.checkpoints), i, i+1))
		se.closeCopy(point.interpreter)
		return nil, nil, &job.RefusedError{Code: job.FailNoCheckpoint, Message: "the checkpoint has ended: its process was killed, perhaps for want of memory"}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), copyTime)
	defer cancel()
	defer se.Alone()()
	se.Replace(nil)
	restored, err := point.interpreter.Restore(ctx)
	if err != nil {
		return nil, &job.SessionEnd{Reason: job.EndCrashed, Message: "its checkpoint could not be restored"}, err
	}
	se.attach(restored)
	return job.CheckpointArgs{Checkpoint: point.id}, nil, nil
}
