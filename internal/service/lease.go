package service

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// renewEvery must be well below the store's RunnerTTL.
const renewEvery = 2 * time.Second

// CallLease renews this process's lease in the store while synchronous calls wait in its
// hub. When the lease expires, because the process was killed, another process cancels their
// jobs. The creation of a job begins the lease; without calls the renewal costs nothing.
type CallLease struct {
	hub   *Hub
	renew func(ctx context.Context, waiter string) error
	log   *slog.Logger
	stop  context.CancelFunc
	done  sync.WaitGroup
}

// NewCallLease returns a lease that is not renewed yet.
func NewCallLease(hub *Hub, renew func(ctx context.Context, waiter string) error, log *slog.Logger) *CallLease {
	return &CallLease{hub: hub, renew: renew, log: log}
}

// Start begins to renew; Close ends it.
func (l *CallLease) Start(ctx context.Context) {
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	l.done.Go(func() {
		t := time.NewTicker(renewEvery)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			if l.hub.Calls() == 0 {
				continue
			}
			if err := l.renew(ctx, l.hub.Subscriber); err != nil && ctx.Err() == nil {
				l.log.WarnContext(ctx, "lease of waiting calls was not renewed: will try again", slog.Any("err", err))
			}
		}
	})
}

// Close ends the renewal and waits for its goroutine. It may be called twice.
func (l *CallLease) Close() {
	if l.stop != nil {
		l.stop()
	}
	l.done.Wait()
}
