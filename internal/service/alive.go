package service

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// Reading is the state of the goroutine that reads a WebSocket. That one alone sees the answers to pings. The zero value is ready.
type Reading struct {
	turns atomic.Int64 // is odd while Next waits for the client
}

// Pinger is a WebSocket. Ping returns once it was answered.
type Pinger interface {
	Ping(ctx context.Context) error
}

var errNoAnswer = errors.New("the client does not answer pings")

// KeepAlive pings the client now and then. It returns when the client is gone, or at the end of ctx. A client is gone that does not answer
// for the time slowest, in which the reader did nothing but wait for it. While the reader is busy with its messages, or waits until
// they are taken, answers are not seen.
func (r *Reading) KeepAlive(ctx context.Context, conn Pinger, every, slowest time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		turn := r.turns.Load()
		answered, cancel := context.WithTimeout(ctx, slowest)
		err := conn.Ping(answered)
		cancel()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, context.DeadlineExceeded):
			return err
		case turn%2 == 1 && r.turns.Load() == turn:
			return errNoAnswer
		}
	}
}
