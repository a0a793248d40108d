package runner

import (
	"context"
	"log/slog"

	"github.com/kaa-run/kaa/internal/job"
)

// A session outlives an interpreter that needed too much memory, unless its owner wants it
// otherwise: another one takes its place, among the same files.

// restarts reports whether the session goes on after such an end of its interpreter.
func (s *Session) restarts(end *job.SessionEnd) bool {
	return end != nil && end.Reason == job.EndMemory && !s.spec.EndOnMemory
}

// renew gives a session another interpreter. It reports whether the session goes on; if not,
// its interpreter is closed. What is executed next is told that variables are gone.
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

// renewing has another goroutine replace the interpreter of a session that does nothing now,
// and reports whether the session goes on as far as is known here.
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
		se.over, se.why = true, end // whoever looks after the sessions tells the store
	}
}

// replaced goes on with what had to be done when the session's interpreter was found to have
// ended, or ended in it.
func (s *sessions) replaced(ctx context.Context, log *slog.Logger, se *Session, claim job.Claim, o job.Outcome) job.Outcome {
	if o.End == nil || !s.renew(ctx, log, se, o.End) {
		return o
	}
	switch {
	case o.Failure == nil:
		o.End = nil
		return o
	case claim.Spec.Op != "":
		return job.Outcome{State: job.Failed, Failure: &job.Failure{
			Code: job.FailRefused, Message: "the session's interpreter was replaced, since " + o.End.Message + "; variables and modules are gone, files are kept; try again",
		}}
	}
	return s.run(ctx, log, se, claim) // the code had not begun
}
