package service_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/service"
)

// pinged is a WebSocket whose pings end as a function says.
type pinged func(ctx context.Context) error

func (p pinged) Ping(ctx context.Context) error { return p(ctx) }

func silent(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// messages is a WebSocket of which each element is a message.
type messages chan struct{}

func (m messages) Reader(ctx context.Context) (websocket.MessageType, io.Reader, error) {
	select {
	case <-m:
		return websocket.MessageText, nil, nil
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
}

// TestKeepAlive: a client is gone when it answers no ping although the reader waits for it, and only then.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, tt := range []struct {
		name  string
		ping  pinged
		sends bool // a message now and then
		gone  bool
	}{
		{"answers", func(context.Context) error { return nil }, false, false},
		{"is silent", silent, false, true},
		{"sends messages", silent, true, false},
		{"is broken", func(context.Context) error { return broken }, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var r service.Reading
				ctx, cancel := context.WithCancel(t.Context())
				came := make(messages)
				go func() {
					for ctx.Err() == nil {
						_, _, _ = r.Next(ctx, came)
					}
				}()
				ended := make(chan error, 1)
				go func() { ended <- r.KeepAlive(ctx, tt.ping, time.Second, time.Minute) }()
				for range 100 {
					time.Sleep(10 * time.Second)
					if tt.sends {
						came <- struct{}{}
					}
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
