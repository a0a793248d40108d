package store

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Bell wakes those of a process who follow jobs, when there may be new events. It has
// one subscription, made when the first of them comes. What it misses, they find by
// looking now and then.
type Bell struct {
	rdb  redis.UniversalClient
	log  *slog.Logger
	kick chan struct{} // the channels to be subscribed to have changed
	stop context.CancelFunc
	done sync.WaitGroup

	mu        sync.Mutex
	listeners map[string]map[*func()]struct{} // by channel
}

// ringAgain is the pause after a subscription that failed.
const ringAgain = time.Second

// OpenBell returns a bell, to be closed.
func (s *Store) OpenBell(log *slog.Logger) *Bell {
	ctx, stop := context.WithCancel(context.Background())
	b := &Bell{rdb: s.rdb, log: log, kick: make(chan struct{}, 1), stop: stop, listeners: make(map[string]map[*func()]struct{})}
	b.done.Go(func() { b.run(ctx) })
	return b
}

// Close ends the subscription.
func (b *Bell) Close() {
	b.stop()
	b.done.Wait()
}

// Listen calls wake, which must not block, when there may be new events of a job, and
// once when that is sure to be noticed, until the function that it returns is called.
func (b *Bell) Listen(jobID string, wake func()) (forget func()) {
	return b.listenTo(eventsKey(jobID), wake)
}

// ListenSession does the same for what is accepted for a session that somebody observes, and
// for its end.
func (b *Bell) ListenSession(id string, wake func()) (forget func()) {
	return b.listenTo(sessionKey(id), wake)
}

func (b *Bell) listenTo(channel string, wake func()) (forget func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listeners[channel] == nil {
		b.listeners[channel] = make(map[*func()]struct{})
		b.changed()
	}
	b.listeners[channel][&wake] = struct{}{}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.listeners[channel], &wake)
		if len(b.listeners[channel]) == 0 {
			delete(b.listeners, channel)
			b.changed()
		}
	}
}

func (b *Bell) changed() {
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// run keeps the subscription as it is wanted. All of its traffic is here, so that nobody
// waits for Redis with the lock.
func (b *Bell) run(ctx context.Context) {
	var pubsub *redis.PubSub
	defer func() {
		if pubsub != nil {
			_ = pubsub.Close() // nothing else is to be done about it
		}
	}()
	subscribed := make(map[string]bool)
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.kick:
		}
		more, less := b.changes(subscribed)
		if pubsub == nil {
			if len(more) == 0 {
				continue
			}
			pubsub = b.rdb.Subscribe(ctx)
			b.listen(pubsub)
		}
		err := change(ctx, pubsub.Subscribe, more, func(c string) { subscribed[c] = true })
		if err == nil {
			err = change(ctx, pubsub.Unsubscribe, less, func(c string) { delete(subscribed, c) })
		}
		if err != nil && ctx.Err() == nil {
			b.log.WarnContext(ctx, "not subscribed to events: will try again", slog.Any("err", err))
			time.AfterFunc(ringAgain, b.changed)
		}
	}
}

// change subscribes to channels, or the contrary, and notes it.
func change(ctx context.Context, do func(context.Context, ...string) error, channels []string, note func(string)) error {
	if len(channels) == 0 {
		return nil
	}
	if err := do(ctx, channels...); err != nil {
		return wrap("subscribe", err)
	}
	for _, c := range channels {
		note(c)
	}
	return nil
}

// changes compares what is subscribed to with what should be.
func (b *Bell) changes(subscribed map[string]bool) (more, less []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.listeners {
		if !subscribed[c] {
			more = append(more, c)
		}
	}
	for c := range subscribed {
		if b.listeners[c] == nil {
			less = append(less, c)
		}
	}
	return more, less
}

// listen passes on messages, and the confirmations of subscriptions: what came before
// one of these has to be looked for.
func (b *Bell) listen(pubsub *redis.PubSub) {
	messages := pubsub.ChannelWithSubscriptions(redis.WithChannelHealthCheckInterval(pingEvery), redis.WithChannelSize(1024))
	b.done.Go(func() {
		for m := range messages {
			switch m := m.(type) {
			case *redis.Message:
				b.ring(m.Channel)
			case *redis.Subscription:
				if m.Kind == "subscribe" {
					b.ring(m.Channel)
				}
			}
		}
	})
}

func (b *Bell) ring(channel string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for wake := range b.listeners[channel] {
		(*wake)()
	}
}
