package service

import (
	"context"
	"errors"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// longestOutage is how long a stream of events goes on without Redis.
const longestOutage = 15 * time.Second

// Outage keeps a stream of events open while Redis does not answer for a short time. The zero
// value is ready to use. It is for one goroutine.
type Outage struct {
	since time.Time // zero while Redis answers
}

// Over ends an outage: Redis has answered.
func (o *Outage) Over() { o.since = time.Time{} }

// Bear waits a little if err says that Redis does not answer, and returns nil: the caller tries
// again. It returns any other err, and that one when the outage has lasted too long.
func (o *Outage) Bear(ctx context.Context, err error) error {
	if ctx.Err() != nil || !errors.Is(err, job.ErrUnavailable) {
		return err
	}
	if o.since.IsZero() {
		o.since = time.Now()
	}
	if time.Since(o.since) > longestOutage {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(retryPause):
		return nil
	}
}
