package runner

import (
	"context"
	"log/slog"

	"github.com/kaa-run/kaa/internal/job"
)

// answersHeld is the room for answers that the interpreter has not taken: there is one at a
// time, and the look for those that were not told.
const answersHeld = 4

// Answered tells the runner what somebody has answered to a job's request for input. It may be
// told again and again.
func (r *Runner) Answered(a job.Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.active[a.JobID]; e != nil {
		select {
		case e.answers <- a:
		default: // nil, or full: then the next look has it
		}
	}
}

// findAnswers looks for those that the runner was not told of. It costs nothing unless
// something is executed that may ask.
func (r *Runner) findAnswers(ctx context.Context) {
	r.mu.Lock()
	var jobs []string
	for id, e := range r.active {
		if e.answers != nil {
			jobs = append(jobs, id)
		}
	}
	r.mu.Unlock()
	if len(jobs) == 0 {
		return
	}
	answers, err := r.cfg.SessionRecords.Answers(ctx, jobs)
	if err != nil {
		if ctx.Err() == nil {
			r.cfg.Log.WarnContext(ctx, "could not look for answers to input(): will try again", slog.Any("err", err))
		}
		return
	}
	for _, a := range answers {
		r.Answered(a)
	}
}
