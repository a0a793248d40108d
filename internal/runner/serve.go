package runner

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// claim claims the lane's next execution or operation; nil if there is none. It asks again
// while Redis does not answer. To ask again is safe: the store returns the same claim until that
// ends.
func (s *sessions) claim(l *lane) (*job.Claim, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.r.cfg.ClaimFor)
	defer cancel()
	var claim *job.Claim
	err := untilAnswered(ctx, func() error {
		for {
			sent := time.Now()
			var err error
			claim, err = s.r.cfg.SessionRecords.NextInSession(ctx, l.se.id, l.name, s.r.cfg.Self.ID, l.se.attached() != nil)
			if errors.Is(err, job.ErrUnregistered) {
				if err = s.r.beat(ctx); err == nil {
					continue
				}
			}
			if err != nil || claim == nil || time.Since(sent) <= oldAnswer {
				return err
			}
			// This process or Redis stood still: the session may have been written off since.
		}
	})
	if err != nil {
		return nil, err
	}
	return claim, nil
}

// execute executes a claim, writes its end, and returns the next claim. If the session has ended
// by then, a claim that came with the end of another one (not first) is not begun.
func (s *sessions) execute(l *lane, claim job.Claim, first bool) (next *job.Claim, ask bool) {
	se := l.se
	log := s.r.cfg.Log.With(slog.String("job_id", claim.JobID), slog.String("session_id", se.id), slog.Int("attempt", claim.Attempt))
	ctx := job.WithTrace(s.ctx, claim.Spec.Trace)
	run, end := context.WithCancelCause(ctx)
	defer end(nil)
	e := s.r.track(claim, end)
	defer s.r.untrack(claim.JobID)
	if !s.begin(l, claim, end) {
		s.r.unwatch(e, job.Outcome{})
		return nil, false
	}
	started := time.Now()
	var o job.Outcome
	over := s.whyOver(se)
	if over == nil {
		moved, failed := s.awaitAble(run, log, se, claim)
		if moved {
			s.r.unwatch(e, job.Outcome{})
			s.finishing(l, &o)
			return nil, false
		}
		over, first = failed, first && failed == nil
	}
	s.wake(run, se, l)
	switch {
	case over != nil && !first:
		o = sessionFailed(*over)
	case !l.isDefault():
		o = s.replaced(run, log, l, e, s.runBeside(run, log, l, e))
	case claim.Spec.Op != "":
		o = s.replaced(run, log, l, e, s.operate(run, log, se, claim))
	default:
		o = s.replaced(run, log, l, e, s.run(run, log, se, e))
	}
	if claim.Spec.Op == "" && (over == nil || first) {
		s.r.cfg.Observer.Executed(claim, o, time.Since(started))
	}
	took := time.Since(started)
	s.finishing(l, &o)
	state, next, ask := s.settle(ctx, log, claim, o, s.r.unwatch(e, o))
	s.r.ended(ctx, log, claim, o, state, took)
	return next, ask
}

// begin records the job that a lane executes. It returns false if the session has ended.
func (s *sessions) begin(l *lane, claim job.Claim, end context.CancelCauseFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	se := l.se
	if !se.known { // the first claim has it
		se.spec, se.known = claim.Session, true
	}
	l.job, l.op, l.awake = claim.JobID, claim.Spec.Op, false
	if se.over && !se.letEnd {
		end(errLost)
		return false
	}
	return true
}

// whyOver returns why a session has ended, if the store may not have its end.
func (s *sessions) whyOver(se *served) *job.SessionEnd {
	s.mu.Lock()
	defer s.mu.Unlock()
	return se.why
}

// finishing records that a lane executes nothing, and puts the session's state into the
// result. If the session ends, so do the jobs of its other lanes: the store ends them together with it.
func (s *sessions) finishing(l *lane, o *job.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	se := l.se
	l.job = ""
	drained := se.over
	if o.End != nil {
		se.over, se.why = true, o.End
		s.cutOffLocked(se, l, false)
	}
	if o.Result == nil {
		return
	}
	after := &job.SessionAfter{ID: se.id, State: job.SessionIdle}
	end := l.restarted
	l.restarted = nil
	if l.isDefault() && se.restarted != nil {
		end, se.restarted, o.Restarted = se.restarted, nil, true
	}
	if end != nil {
		after.Restarted, after.Reason = true, end.Reason
		after.Message = end.Message + "; a fresh interpreter has taken its place: variables and modules are gone, files are kept"
	}
	switch {
	case o.End != nil:
		after.State, after.Reason = job.SessionEnded, o.End.Reason
	case drained:
		after.State, after.Reason = job.SessionEnded, job.EndDrained
	}
	o.Result.Session = after
}

// run executes code in the session's interpreter.
func (s *sessions) run(ctx context.Context, log *slog.Logger, se *served, e *execution) job.Outcome {
	claim := e.claim
	i, err := se.Interpreter(ctx)
	for errors.Is(err, job.ErrNoWorker) && ctx.Err() == nil {
		moved, failed := s.awaitAble(ctx, log, se, claim)
		if moved {
			return job.Outcome{}
		}
		if failed != nil {
			return sessionFailed(*failed)
		}
		i, err = se.Interpreter(ctx)
	}
	if errors.Is(err, errMoved) {
		return job.Outcome{}
	}
	if refused, ok := errors.AsType[*job.RefusedError](err); ok {
		return job.Outcome{State: job.Failed, Failure: refusal(refused)}
	}
	if err != nil {
		if ctx.Err() != nil {
			return notBegun(ctx)
		}
		log.ErrorContext(ctx, "no interpreter could be started for a session", slog.Any("err", err))
		return sessionFailed(job.SessionEnd{Reason: job.EndStartFailed, Message: "no Python interpreter could be started for it"})
	}
	if packages := claim.Spec.Packages; len(packages) > 0 {
		if _, end, err := (&Session{se, claim}).addPackages(ctx, packages); err != nil {
			return notAdded(ctx, log, end, err)
		}
	}
	o, err := s.runOn(ctx, log, se, e, i)
	logBroken(ctx, log, err)
	return o
}

// notBegun is the outcome of an execution whose context ended while its session waited for an interpreter. The session goes on
// unless its runner stops: the next execution starts one.
func notBegun(ctx context.Context) job.Outcome {
	switch why := cause(ctx); {
	case errors.Is(why, errLost):
		return job.Outcome{}
	case errors.Is(why, errCancelled):
		return job.Outcome{State: job.Cancelled, Failure: &job.Failure{Code: job.FailCancelled, Message: "cancelled before the code began"}}
	}
	return sessionFailed(job.SessionEnd{Reason: job.EndDrained, Message: "the runner was shut down before the code began"})
}

func logBroken(ctx context.Context, log *slog.Logger, err error) {
	if err != nil {
		log.ErrorContext(ctx, "supervision of a session broke", slog.Any("err", err))
	}
}

// runOn executes code in an interpreter of the session. The error is why its supervision broke.
func (s *sessions) runOn(ctx context.Context, log *slog.Logger, se *served, e *execution, i Interpreter) (job.Outcome, error) {
	claim := e.claim
	if o := s.bring(ctx, log, i, claim); o != nil {
		return *o, nil
	}
	result, end, err := i.Execute(ctx, claim.Spec, job.Live{Tap: e.tap, Answers: e.answers, Replies: e.replies, Attempt: claim.Attempt})
	if why := cause(ctx); err == nil && (why == nil || errors.Is(why, errCancelled)) {
		s.r.keepFiles(ctx, log, i, claim, &result)
	}
	result.JobID, result.SessionID = claim.JobID, se.id
	result.QueuedMs = float64(claim.Waited) / float64(time.Millisecond)
	why := cause(ctx)
	interrupted := result.Status == job.StatusInterrupted
	switch {
	case errors.Is(why, errLost) && (err != nil || interrupted):
		return job.Outcome{}, nil
	case errors.Is(why, errDraining) && (err != nil || interrupted):
		return sessionFailed(job.SessionEnd{Reason: job.EndDrained, Message: "the runner was shut down before the code ended"}), nil
	case err != nil && end != nil:
		return sessionFailed(*end), nil
	case err != nil:
		return sessionFailed(job.SessionEnd{Reason: job.EndCrashed, Message: "the interpreter's supervision broke; the output is lost"}), err
	case errors.Is(why, errCancelled) && interrupted:
		return job.Outcome{State: job.Cancelled, Result: &result, End: end}, nil
	}
	return job.Outcome{State: job.Completed, Result: &result, End: end}, nil
}

// sessionFailed is the outcome of an execution or operation that ended together with its session.
func sessionFailed(end job.SessionEnd) job.Outcome {
	return job.Outcome{State: job.Failed, Failure: &job.Failure{Code: job.FailSessionEnded, Message: end.Message, Reason: end.Reason}, End: &end}
}

// operate carries out an operation on the session.
func (s *sessions) operate(ctx context.Context, log *slog.Logger, se *served, claim job.Claim) job.Outcome {
	op, known := s.ops[claim.Spec.Op]
	if !known {
		return refused("the runner does not know how to do this: " + claim.Spec.Op)
	}
	run := ctx
	if claim.Spec.Timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, claim.Spec.Timeout)
		defer stop()
	}
	answer, end, err := op(ctx, &Session{se, claim}, claim.Spec.Args)
	if refused, ok := errors.AsType[*job.RefusedError](err); ok {
		return job.Outcome{State: job.Failed, Failure: refusal(refused), End: end}
	}
	if o, known := cutOff(run, err); err != nil && end == nil && known {
		return o
	}
	if err != nil && end != nil {
		log.WarnContext(ctx, "a session ended under an operation", slog.String("op", claim.Spec.Op), slog.Any("err", err))
		return sessionFailed(*end)
	}
	var data json.RawMessage
	if err == nil {
		data, err = json.Marshal(answer)
	}
	if err != nil {
		log.ErrorContext(ctx, "operation on a session failed", slog.String("op", claim.Spec.Op), slog.Any("err", err))
		return job.Outcome{State: job.Failed, Failure: &job.Failure{Code: job.FailWorker, Message: "the operation failed: " + claim.Spec.Op}, End: end}
	}
	return job.Outcome{State: job.Completed, Data: data, End: end}
}

func refusal(e *job.RefusedError) *job.Failure {
	return &job.Failure{Code: cmp.Or(e.Code, job.FailRefused), Message: e.Message, Bound: e.Bound}
}

// settle writes the rest of the events and then the outcome. It retries while Redis does not
// answer. It returns the job's state afterwards and the session's next claim. ask means that the
// session may have a claim that it has to ask for.
func (s *sessions) settle(ctx context.Context, log *slog.Logger, claim job.Claim, o job.Outcome, f *feed) (state job.State, next *job.Claim, ask bool) {
	if o.State == "" {
		return lost, nil, false // the session has ended, with all its executions
	}
	ok, claimLost := s.r.written(ctx, log, o, func(ctx context.Context, write job.Outcome) error {
		o = write
		err := f.drain(ctx)
		if err == nil {
			next, ask, err = s.r.cfg.SessionRecords.FinishInSession(ctx, claim, o)
		}
		return err
	})
	if !ok {
		return lost, nil, claimLost
	}
	return o.State, next, ask
}
