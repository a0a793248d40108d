package api

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// renewEvery must be well below the store's RunnerTTL.
const renewEvery = 2 * time.Second

// Attendance tells the store that a process lives, as long as callers wait in its
// hub: should the process be killed, somebody else ends the jobs that nobody waits
// for then. The creation of a job begins the lease, this renews it; without
// callers it costs nothing.
type Attendance struct {
	hub   *Hub
	renew func(ctx context.Context, waiter string) error
	log   *slog.Logger
	stop  context.CancelFunc
	done  sync.WaitGroup
}

// NewAttendance returns one that has not started yet.
func NewAttendance(hub *Hub, renew func(ctx context.Context, waiter string) error, log *slog.Logger) *Attendance {
	return &Attendance{hub: hub, renew: renew, log: log}
}

// Start begins to renew; Close ends it.
func (a *Attendance) Start(ctx context.Context) {
	ctx, a.stop = context.WithCancel(context.WithoutCancel(ctx))
	a.done.Go(func() {
		t := time.NewTicker(renewEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			if a.hub.Calls() == 0 {
				continue
			}
			if err := a.renew(ctx, a.hub.Subscriber); err != nil && ctx.Err() == nil {
				a.log.WarnContext(ctx, "lease of waiting calls was not renewed: will try again", slog.Any("err", err))
			}
		}
	})
}

// Close ends it and waits for its goroutine. It may be called twice.
func (a *Attendance) Close() {
	if a.stop != nil {
		a.stop()
	}
	a.done.Wait()
}
