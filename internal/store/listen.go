package store

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// pingEvery is how often an idle subscription is checked. A message lost in a
// broken one is made up for by its receiver, which also polls.
const pingEvery = 30 * time.Second

// Listener passes on what one Redis channel says until it is closed.
type Listener struct {
	pubsub *redis.PubSub
	done   sync.WaitGroup
}

// ListenFinished calls told with the id of each job that ends and that was
// created or watched with this subscriber's name, and with its result if that is small
// and the job completed: then nobody has to ask for it.
func (s *Store) ListenFinished(ctx context.Context, subscriber string, told func(jobID string, r *job.Result)) (*Listener, error) {
	return s.listen(ctx, finishedChannel(subscriber), func(message string) {
		id, text, small := strings.Cut(message, " ")
		r := new(job.Result)
		if !small || json.Unmarshal([]byte(text), r) != nil {
			r = nil
		}
		if r != nil {
			r.Expand()
		}
		told(id, r)
	})
}

// ListenCancels calls cancelled with the id of each job of the runner whose end is asked
// for, and watched with each that somebody wants to follow.
func (s *Store) ListenCancels(ctx context.Context, runner string, cancelled, watched func(jobID string)) (*Listener, error) {
	return s.listen(ctx, cancelChannel(runner), func(message string) {
		if id, ok := strings.CutPrefix(message, "events:"); ok {
			watched(id)
			return
		}
		cancelled(message)
	})
}

// ListenDue calls told whenever there is something new to be looked at: in the
// outbox, or with HooksDue among the webhooks.
func (s *Store) ListenDue(ctx context.Context, told func(string)) (*Listener, error) {
	return s.listen(ctx, outboxKey, told)
}

// listen subscribes; go-redis reconnects and subscribes again by itself. told
// must not block.
func (s *Store) listen(ctx context.Context, channel string, told func(string)) (*Listener, error) {
	l := &Listener{pubsub: s.rdb.Subscribe(ctx, channel)}
	if _, err := l.pubsub.Receive(ctx); err != nil {
		_ = l.pubsub.Close() // the first error is the one to report
		return nil, wrap("subscribe", err)
	}
	messages := l.pubsub.Channel(redis.WithChannelHealthCheckInterval(pingEvery), redis.WithChannelSize(1024))
	l.done.Go(func() {
		for m := range messages {
			told(m.Payload)
		}
	})
	return l, nil
}

// Close ends the subscription and waits for its goroutine. It may be called twice.
func (l *Listener) Close() error {
	err := l.pubsub.Close()
	l.done.Wait()
	if err == redis.ErrClosed { //nolint:errorlint // returned bare; closing twice is fine
		return nil
	}
	return err
}
