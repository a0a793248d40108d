package runner

import (
	"context"

	"github.com/kaa-run/kaa/internal/job"
)

// Events is what showing an execution live needs of the store.
type Events interface {
	// AppendEvents writes events, in order, and drops those before oldest, unless that
	// is zero. Writing the same again changes nothing. job.ErrStale: the claim was lost.
	AppendEvents(ctx context.Context, c job.Claim, oldest job.EventID, events []job.Event) error
}

// Watched tells the runner that somebody wants to see what a job does: what it has done
// so far is written, and then everything as it happens. It may be told again and again.
func (r *Runner) Watched(jobID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e := r.active[jobID]; {
	case e != nil:
		r.watch(e)
	case r.claims[jobID] > 0:
		r.early[jobID] = true // the claim has been made, its answer is on the way
	}
}

// watch needs the lock, so that nothing falls between it and unwatch.
func (r *Runner) watch(e *execution) {
	if e.feed != nil || e.tap == nil || r.cfg.Events == nil {
		return
	}
	e.feed = newFeed(r.cfg.Events, e.claim, r.cfg.EventBytes, r.cfg.Log)
	e.tap.Open(e.feed)
}

// unwatch ends the watching of an execution that has ended like o, and returns the feed
// with what of it is still to be written; nil if nobody watched.
func (r *Runner) unwatch(e *execution, o job.Outcome) *feed {
	r.mu.Lock()
	tap, f := e.tap, e.feed
	e.tap = nil // too late to watch: the record will tell everything
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
