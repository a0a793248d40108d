package runner

import (
	"context"
	"log/slog"

	"github.com/kaa-run/kaa/internal/job"
)

// answersBuffered is the number of answers that wait for the interpreter. It asks for one at a
// time, but findAnswers may deliver the same answer again.
const answersBuffered = 4

// Answered delivers a caller's answer to a job's request for input. The same answer may be
// delivered repeatedly.
func (r *Runner) Answered(a job.Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.active[a.JobID]; e != nil {
		select {
		case e.answers <- a:
		default: // the channel is nil, or full: then findAnswers delivers it later
		}
	}
}

// findAnswers looks in the store for answers whose message did not reach the runner. It sends no
// command unless an execution that may ask for input is running.
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
