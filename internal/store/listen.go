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

// pingEvery is the interval of checks of an idle subscription. Receivers poll as well, so a
// message lost in a broken one does no lasting harm.
const pingEvery = 30 * time.Second

// Listener passes on the messages of one Redis channel until it is closed.
type Listener struct {
	pubsub *redis.PubSub
	done   sync.WaitGroup
}

// ListenFinished calls ended with the id of each job that ends and that has this subscriber. It
// passes the result of a completed job if it is small, which saves reading the record. It calls
// missed when the subscription is confirmed again after an outage, in which reports may be lost.
func (s *Store) ListenFinished(ctx context.Context, subscriber string, ended func(jobID string, r *job.Result), missed func()) (*Listener, error) {
	return s.listen(ctx, finishedChannel(subscriber), func(message string) {
		id, text, small := strings.Cut(message, " ")
		r := new(job.Result)
		if !small || json.Unmarshal([]byte(text), r) != nil {
			r = nil
		}
		if r != nil {
			r.Expand()
		}
		ended(id, r)
	}, missed)
}

// ListenDue calls announced whenever the outbox has new entries, or, with HooksDue, BatchesDue and ArchivesDue, when
// there is that to be done.
func (s *Store) ListenDue(ctx context.Context, announced func(string)) (*Listener, error) {
	return s.listen(ctx, outboxKey, announced, func() {})
}

// listen subscribes; go-redis reconnects and subscribes again by itself. receive and again must not block.
func (s *Store) listen(ctx context.Context, channel string, receive func(string), again func()) (*Listener, error) {
	l := &Listener{pubsub: s.rdb.Subscribe(ctx, channel)}
	if _, err := l.pubsub.Receive(ctx); err != nil {
		_ = l.pubsub.Close() // the first error is the one to report
		return nil, wrap("subscribe", err)
	}
	messages := l.pubsub.ChannelWithSubscriptions(redis.WithChannelHealthCheckInterval(pingEvery), redis.WithChannelSize(1024))
	l.done.Go(func() {
		for m := range messages {
			switch m := m.(type) {
			case *redis.Message:
				receive(m.Payload)
			case *redis.Subscription:
				again()
			}
		}
	})
	return l, nil
}

// Close ends the subscription and waits for its goroutine. It may be called twice.
func (l *Listener) Close() error {
	err := l.pubsub.Close()
	l.done.Wait()
	if err == redis.ErrClosed { //nolint:errorlint // the cause is returned as it is; closing twice is allowed
		return nil
	}
	return err
}
