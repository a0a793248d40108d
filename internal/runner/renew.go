package runner

import (
	"context"
	"log/slog"

	"github.com/kaa-run/kaa/internal/job"
)

// This file replaces interpreters that needed too much memory, or, where the session goes on then, have crashed. Their session continues with
// another interpreter and the same files, unless its owner asked for its end.

// restartsLocked reports whether the session continues after such an end of its interpreter.
func (se *served) restartsLocked(end *job.SessionEnd) bool {
	switch {
	case end == nil:
		return false
	case end.Reason == job.EndMemory:
		return !se.spec.EndOnMemory
	}
	// The sandbox outlives an interpreter if there are others.
	return (len(se.contexts) > 0 || se.spec.RestartOnCrash) && (end.Reason == job.EndCrashed || end.Reason == job.EndCPU || end.Reason == job.EndKilled)
}

// renew gives a session another interpreter. Only the default lane calls it. It reports whether the session continues; if not,
// its interpreter is closed. The result of the next execution says that variables are gone.
func (s *sessions) renew(ctx context.Context, log *slog.Logger, se *served, end *job.SessionEnd) bool {
	broken := se.attached()
	s.mu.Lock()
	goesOn, shared := se.restartsLocked(end) && !se.over, len(se.contexts) > 0
	s.mu.Unlock()
	switch {
	case !goesOn || broken == nil:
		return false
	case shared: // the sandbox stays
		defer se.pause()()
	default:
		defer se.Alone()()
	}
	fresh, err := broken.Renew(ctx)
	if err != nil {
		log.WarnContext(ctx, "a session ends, since its interpreter could not be replaced", slog.String("session_id", se.id), slog.Any("err", err))
		return false
	}
	se.attach(fresh)
	se.restarted = end
	return true
}

// renewing lets the default lane replace the interpreter of a session, if that has nothing else to do. It reports
// whether the session continues, unless the replacement fails.
func (s *sessions) renewing(id string, end *job.SessionEnd) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	se := s.live[id]
	if se == nil || se.over || !se.restartsLocked(end) || s.closed {
		return false
	}
	if !se.main.serving { // else it finds out
		se.broken = end
		s.startServing(&se.main)
	}
	return true
}

// mend replaces an interpreter that ended between executions.
func (s *sessions) mend(se *served) {
	s.mu.Lock()
	end := se.broken
	se.broken = nil
	s.mu.Unlock()
	if end == nil {
		return
	}
	if i := se.attached(); i != nil && i.Alive() == nil || s.renew(s.ctx, s.r.cfg.Log, se, end) {
		return // another one has taken its place, or has done so already
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !se.over {
		se.over, se.why = true, end // lookAfter writes the end to the store
	}
}

// replaced replaces the session's interpreter if an execution or operation found that it had
// ended, or ended it. It returns the outcome with a fresh interpreter.
func (s *sessions) replaced(ctx context.Context, log *slog.Logger, l *lane, e *execution, o job.Outcome) job.Outcome {
	switch {
	case o.End == nil:
		return o
	case !l.isDefault() && o.End.Reason != job.EndDrained && l.se.lives():
		return refused("the session's interpreter was replaced while this was done; it may be done in part; try again")
	case l.isDefault() && !s.renew(ctx, log, l.se, o.End), !l.isDefault() && !s.renewing(l.se.id, o.End):
		return o
	case o.Failure == nil:
		o.End = nil
		return o
	case e.claim.Spec.Op != "" || !l.isDefault():
		return refused("the session's interpreter was replaced, since " + o.End.Message + "; variables and modules are gone, files are kept; try again")
	}
	return s.run(ctx, log, l.se, e) // the code had not begun
}

// lives reports whether the session has a living interpreter.
func (se *served) lives() bool {
	i := se.attached()
	return i != nil && i.Alive() == nil
}

func refused(message string) job.Outcome {
	return job.Outcome{State: job.Failed, Failure: &job.Failure{Code: job.FailRefused, Message: message}}
}
