package webhook

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// concurrency is the number of deliveries that a process begins at once. One that takes longer than slowAfter leaves its place to the next, and
	// takes one of slowPlaces, which callers share. So receivers that never answer cost the webhooks of other callers a moment.
	concurrency = 32
	slowPlaces  = 256
	slowAfter   = 300 * time.Millisecond
)

// errCrowded ends an attempt whose caller has as many slow ones under way as it may.
var errCrowded = errors.New("many webhooks of the same key wait for their receivers, so it was not tried to the end")

// place is that of a delivery under way.
type place struct {
	d      *Deliverer
	owner  string
	cancel context.CancelCauseFunc // ends its attempt
	timer  *time.Timer

	mu          sync.Mutex
	slow, ended bool
}

// enter turns a token of slots into the place of a delivery, whose attempt has the returned context.
func (d *Deliverer) enter(ctx context.Context, owner string) (context.Context, *place) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &place{d: d, owner: owner, cancel: cancel}
	if _, _, ok := d.slow.Take(owner, 1, slowPlaces); !ok { // it could not become a slow one
		cancel(errCrowded)
	} else {
		d.slow.Give(owner, 1)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(d.cfg.Patience, p.slowDown)
	return ctx, p
}

// slowDown leaves the place to the next delivery, because this one takes long.
func (p *place) slowDown() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	if _, _, p.slow = p.d.slow.Take(p.owner, 1, slowPlaces); p.slow {
		<-p.d.slots
	} else {
		p.cancel(errCrowded)
	}
}

// leave gives the place back.
func (p *place) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.timer.Stop()
	p.cancel(nil)
	if p.slow {
		p.d.slow.Give(p.owner, 1)
	} else {
		<-p.d.slots
	}
}
