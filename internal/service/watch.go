package service

import (
	"context"
	"errors"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// Watching is a synchronous call that sees its job's events as they come. It is for one
// goroutine, and to be closed.
type Watching struct {
	s                *Service
	follower         *Follower
	job              job.Job
	end              func() // of the call
	begun            bool   // the waiting event has been returned
	over             bool   // the caller has seen its end
	overall, abandon time.Time
	outage           Outage
}

// Watch submits a job whose events its caller sees. As with Execute, the job ends if the caller
// goes away, which closes the Watching, or if no runner takes it in time.
func (s *Service) Watch(ctx context.Context, c Caller, sub Submission) (*Watching, error) {
	if err := c.may(access.Execute); err != nil {
		return nil, err
	}
	end, err := s.cfg.Hub.beginCall(c.ID(), s.cfg.MaxSyncWaits)
	if err != nil {
		return nil, err
	}
	w, err := s.watch(ctx, c, sub)
	if err != nil {
		end()
		return nil, err
	}
	w.end = end
	return w, nil
}

func (s *Service) watch(ctx context.Context, c Caller, sub Submission) (*Watching, error) {
	sub.Request.Events = true
	draft, err := s.draft(ctx, c, sub, time.Now())
	if err != nil {
		return nil, err
	}
	draft.Subscriber = s.cfg.Hub.Subscriber
	// The record asks for events from the beginning, and none is missed by one who listens before it is there.
	f := s.listen(c, draft.Job.ID, nil)
	f.reported, f.end = s.cfg.Hub.wait(draft.Job.ID)
	j, err := s.submitForCaller(ctx, draft)
	if err != nil {
		f.Close()
		return nil, err
	}
	now := time.Now()
	abandon := now.Add(s.queueWait(j))
	return &Watching{s: s, follower: f, job: j, abandon: abandon, overall: abandon.Add(j.Timeout + settleTime)}, nil
}

// ID is the id of the job.
func (w *Watching) ID() string { return w.job.ID }

// Next returns the next event: first that the job waits, last its end; and ErrOver after that.
// ErrQuiet: none has come for that long. Any other error is final.
func (w *Watching) Next(ctx context.Context, quiet time.Duration) (job.Event, error) {
	if !w.begun {
		w.begun = true
		return waitingEvent(w.job), nil
	}
	for {
		now := time.Now()
		if w.follower.after.Attempt == 0 && !now.Before(w.abandon) {
			// Its events show the outcome, either way.
			if err := w.s.abandon(ctx, w.job); errors.Is(err, job.ErrUnavailable) {
				w.abandon = now.Add(lookEvery)
			} else {
				w.abandon = w.overall
			}
		}
		limit := min(quiet, time.Until(w.overall))
		if w.follower.after.Attempt == 0 {
			limit = min(limit, time.Until(w.abandon))
		}
		e, err := w.follower.Next(ctx, max(limit, time.Millisecond))
		switch {
		case err == nil:
			w.outage.Over()
			return e, nil
		case errors.Is(err, ErrOver):
			w.over = true
			return e, err
		case errors.Is(err, ErrQuiet) && time.Now().Before(w.overall):
			return e, err
		case errors.Is(err, ErrQuiet):
			return e, context.DeadlineExceeded
		}
		if err := w.outage.Bear(ctx, err); err != nil {
			return e, err
		}
	}
}

// Close ends the call. Unless the caller has seen the job's end, the job is cancelled.
func (w *Watching) Close(ctx context.Context) {
	if !w.over {
		w.s.cancelLater(ctx, w.job)
	}
	w.follower.Close()
	w.end()
}
