package runner

import (
	"context"
	"log/slog"

	"github.com/kaa-run/kaa/internal/job"
)

// This file replaces interpreters that needed too much memory. Their session continues with
// another interpreter and the same files, unless its owner asked for its end.

// restarts reports whether the session continues after such an end of its interpreter.
func (s *Session) restarts(end *job.SessionEnd) bool {
	return end != nil && end.Reason == job.EndMemory && !s.spec.EndOnMemory
}

// renew gives a session another interpreter. It reports whether the session continues; if not,
// its interpreter is closed. The result of the next execution says that variables are gone.
func (s *sessions) renew(ctx context.Context, log *slog.Logger, se *Session, end *job.SessionEnd) bool {
	if !se.restarts(end) || se.interpreter == nil || s.isOver(se) {
		return false
	}
	fresh, err := se.interpreter.Renew(ctx)
	if err != nil {
		log.WarnContext(ctx, "a session ends, since its interpreter could not be replaced", slog.String("session_id", se.id), slog.Any("err", err))
		return false
	}
	se.interpreter = fresh
	se.restarted = end
	return true
}

func (s *sessions) isOver(se *Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return se.over
}

// renewing starts a goroutine that replaces the interpreter of an idle session. It reports
// whether the session continues, unless that goroutine fails.
func (s *sessions) renewing(id string, end *job.SessionEnd) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	se := s.live[id]
	if se == nil || se.over || !se.restarts(end) || s.closed {
		return false
	}
	if !se.serving {
		se.broken = end
		s.startServing(se)
	}
	return true
}

// mend replaces an interpreter that ended between executions.
func (s *sessions) mend(se *Session) {
	s.mu.Lock()
	end := se.broken
	se.broken = nil
	s.mu.Unlock()
	if end == nil || s.renew(s.ctx, s.r.cfg.Log, se, end) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !se.over {
		se.over, se.why = true, end // lookAfter writes the end to the store
	}
}

// replaced replaces the session's interpreter if an execution or operation found that it had
// ended, or ended it. It returns the outcome with a fresh interpreter.
func (s *sessions) replaced(ctx context.Context, log *slog.Logger, se *Session, e *execution, o job.Outcome) job.Outcome {
	if o.End == nil || !s.renew(ctx, log, se, o.End) {
		return o
	}
	switch {
	case o.Failure == nil:
		o.End = nil
		return o
	case e.claim.Spec.Op != "":
		return job.Outcome{State: job.Failed, Failure: &job.Failure{
			Code: job.FailRefused, Message: "the session's interpreter was replaced, since " + o.End.Message + "; variables and modules are gone, files are kept; try again",
		}}
	}
	return s.run(ctx, log, se, e) // the code had not begun
}
