package service_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/service"
)

// pinged is a WebSocket whose pings end as a function says.
type pinged func(ctx context.Context) error

func (p pinged) Ping(ctx context.Context) error { return p(ctx) }

func silent(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestKeepAlive: a client is gone when it answers no ping although the reader waits for it, and only then.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, tt := range []struct {
		name   string
		ping   pinged
		reader func(*service.Reading) // does something now and then
		gone   bool
	}{
		{"answers", func(context.Context) error { return nil }, func(*service.Reading) {}, false},
		{"is silent", silent, func(*service.Reading) {}, true},
		{"sends messages", silent, func(r *service.Reading) { r.End(); r.Begin() }, false},
		{"is broken", func(context.Context) error { return broken }, func(r *service.Reading) { r.End(); r.Begin() }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var r service.Reading
				r.Begin()
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- r.KeepAlive(ctx, tt.ping, time.Second, time.Minute) }()
				for range 100 {
					time.Sleep(10 * time.Second)
					tt.reader(&r)
				}
				cancel()
				if err := <-ended; (err != nil && !errors.Is(err, context.Canceled)) != tt.gone {
					t.Errorf("%v", err)
				}
			})
		})
	}
	t.Run("is not read", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var r service.Reading // waits for whoever is to take a message
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- r.KeepAlive(ctx, pinged(silent), time.Second, time.Minute) }()
			time.Sleep(time.Hour)
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	})
}
