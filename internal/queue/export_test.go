package queue

import (
	"context"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
)

// The tests use these internals: the gate without a server around it.

const (
	SlowAfter  = slowAfter
	MaxTokens  = maxTokens
	RetryDelay = retryDelay
)

type Gate = gate

func WakeKey(queue string) string                         { return wakeKey(queue) }
func IsDequeue(cmd redis.Cmder) (pending string, ok bool) { return isDequeue(cmd) }

// FakeParker answers the gate in the place of Redis.
type FakeParker struct {
	Wait    func() (queue string, err error)
	Pending func() (bool, error)
	Woken   func(queue string)
	// Dequeue is given the queue of the token to take along, and returns the keys of
	// the lists that do not exist.
	Dequeue func(send func() error, token string) (none []string, err error)
}

func (p FakeParker) wait() (string, error) { return p.Wait() }

func (FakeParker) release(context.Context) error { return nil }

func (p FakeParker) dequeue(
	ctx context.Context, next redis.ProcessHook, cmd redis.Cmder, token string, _ map[string]struct{},
) ([]string, error) {
	return p.Dequeue(func() error { return next(ctx, cmd) }, token)
}

func (p FakeParker) anyPending(map[string]struct{}) (bool, error) { return p.Pending() }

func (p FakeParker) wake(_ context.Context, queue string) error {
	p.Woken(queue)
	return nil
}

// Dequeue sends cmd as a server on rdb does.
func Dequeue(ctx context.Context, rdb *redis.Client, cmd redis.Cmder, token string, lists ...string) (none []string, err error) {
	keys := map[string]struct{}{}
	for _, list := range lists {
		keys[list] = struct{}{}
	}
	return newRedisParker(ServerConfig{Redis: rdb}, nil).dequeue(ctx, nil, cmd, token, keys)
}

func NewGate(queues int, p FakeParker) *Gate {
	return newGate(queues, p, slog.New(slog.DiscardHandler))
}

func (g *gate) Stop()             { g.stop() }
func (g *gate) Handled(err error) { g.handled(err) }
func (g *gate) Goroutines()       { g.goroutine.Wait() }

func (g *gate) Foreign() bool {
	select {
	case <-g.foreign:
		return true
	default:
		return false
	}
}

func DelayAfter(failures int) time.Duration { return delayAfter(failures) }
