package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// wakePrefix starts the key of every wake list. Its hash tag puts them all
	// into one slot: BLPOP takes several keys on a cluster only if they share it.
	wakePrefix = "{kaa}:wake:"
	// maxTokens bounds a list while every runner is busy. More would wake no server
	// sooner, and each left-over token costs an idle runner one round of empty
	// queues.
	maxTokens = 128
	// tokenTTL removes the tokens of a queue on which no server waits.
	tokenTTL = time.Minute
)

func wakeKey(queue string) string { return wakePrefix + queue }

// tokenCommands wake up to n servers that wait on queue.
func tokenCommands(queue string, n int) [][]any {
	key := wakeKey(queue)
	push := []any{"lpush", key}
	for range min(max(n, 1), maxTokens) {
		push = append(push, 1)
	}
	return [][]any{push, {"ltrim", key, 0, maxTokens - 1}, {"expire", key, int(tokenTTL.Seconds())}}
}

func addTokens(ctx context.Context, p redis.Pipeliner, queue string, n int) {
	for _, command := range tokenCommands(queue, n) {
		p.Do(ctx, command...)
	}
}

// wake pushes n tokens, in one round trip.
func wake(ctx context.Context, rdb redis.UniversalClient, queue string, n int) error {
	p := rdb.Pipeline()
	addTokens(ctx, p, queue, n)
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("wake queue %s: %w", queue, err)
	}
	return nil
}
