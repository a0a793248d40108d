package runner

import (
	"context"

	"github.com/kaa-run/kaa/internal/job"
)

// Events is the store's method for the events of executions.
type Events interface {
	// AppendEvents writes events, in order, and drops those before oldest, unless that
	// is zero. To write the same again changes nothing. job.ErrStale: the claim was lost.
	AppendEvents(ctx context.Context, c job.Claim, oldest job.EventID, events []job.Event) error
}

// Watched makes the runner write the events of a job, because a caller follows the job: first the
// events so far, then each one as it happens. Watched may be called repeatedly for a job.
func (r *Runner) Watched(jobID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e := r.active[jobID]; {
	case e != nil:
		r.watch(e)
	case r.claims[jobID] > 0:
		r.early[jobID] = true // the job is being claimed; track looks at early
	}
}

// watch is called with mu held, so that it cannot run beside unwatch.
func (r *Runner) watch(e *execution) {
	if e.feed != nil || e.tap == nil || r.cfg.Events == nil {
		return
	}
	e.feed = newFeed(r.cfg.Events, e.claim, r.cfg.EventBytes, r.cfg.Log)
	e.tap.Open(e.feed)
}

// unwatch ends the writing of events of an execution that has ended with outcome o. It returns
// the feed with the events that are still to be written; nil if no caller followed the job.
func (r *Runner) unwatch(e *execution, o job.Outcome) *feed {
	r.mu.Lock()
	tap, f := e.tap, e.feed
	e.tap = nil // too late to watch: the record will have everything
	r.mu.Unlock()
	tap.Close()
	if f == nil {
		return nil
	}
	if o.Result != nil && o.Result.Error != nil {
		e := job.NewEvent(job.EventError, job.ErrorData{Type: job.EventError, Error: *o.Result.Error})
		f.Event(e.Type, e.Data)
	}
	f.close()
	return f
}
