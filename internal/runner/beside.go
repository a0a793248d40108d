package runner

import (
	"context"
	"errors"
	"log/slog"

	"github.com/kaa-run/kaa/internal/job"
)

// This file carries out the jobs of other lanes than the default one. They use the sandbox of the session's interpreter while
// that executes, and while others do. Only the default lane replaces the sandbox, and it ends them first: see Alone.

// runBeside carries out a job of another lane than the default one.
func (s *sessions) runBeside(ctx context.Context, log *slog.Logger, l *lane, e *execution) job.Outcome {
	if e.claim.Spec.Op == "" && e.claim.Spec.Command == nil {
		return s.runInContext(ctx, log, l, e)
	}
	if err := l.enter(ctx, e.end); err != nil {
		o, _ := cutOff(ctx, err)
		return o
	}
	defer l.leave()
	if e.claim.Spec.Command != nil {
		return s.command(ctx, log, l, e)
	}
	return s.operate(ctx, log, l.se, e.claim)
}

// cutOff returns the outcome of an operation that failed because its runner, or its owner, had its context ended.
func cutOff(run context.Context, err error) (o job.Outcome, known bool) {
	why := cause(run)
	switch {
	case errors.Is(err, errMoved), errors.Is(why, errLost):
		return job.Outcome{}, true
	case errors.Is(why, errReplaced):
		return refused("the session's interpreter was replaced, by a restart, a rollback, or for lack of memory, while this was done; it may be done in part; try again"), true
	case errors.Is(why, errCancelled):
		return job.Outcome{State: job.Cancelled, Failure: &job.Failure{Code: job.FailCancelled, Message: "cancelled while it was done; it may be done in part"}}, true
	case errors.Is(why, errDraining):
		return sessionFailed(job.SessionEnd{Reason: job.EndDrained, Message: "the runner was shut down before this was done"}), true
	}
	return job.Outcome{}, false
}
