package store

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// EventNotifier wakes this process's followers when a job may have new events. All share one
// subscription, opened on first use. Notifications can be lost, so followers poll as well.
type EventNotifier struct {
	rdb  redis.UniversalClient
	log  *slog.Logger
	kick chan struct{} // the set of wanted channels has changed
	stop context.CancelFunc
	done sync.WaitGroup

	mu        sync.Mutex
	listeners map[string]map[*func()]struct{} // by channel
}

// resubscribePause is the pause after a subscription that failed.
const resubscribePause = time.Second

// NewEventNotifier returns a notifier, to be closed.
func (s *Store) NewEventNotifier(log *slog.Logger) *EventNotifier {
	ctx, stop := context.WithCancel(context.Background())
	n := &EventNotifier{rdb: s.rdb, log: log, kick: make(chan struct{}, 1), stop: stop, listeners: make(map[string]map[*func()]struct{})}
	n.done.Go(func() { n.run(ctx) })
	return n
}

// Close ends the subscription.
func (n *EventNotifier) Close() {
	n.stop()
	n.done.Wait()
}

// Listen calls wake, which must not block, when a job may have new events. It calls wake once
// more when the subscription is confirmed. The function that it returns ends the calls.
func (n *EventNotifier) Listen(jobID string, wake func()) (forget func()) {
	return n.listenTo(eventsKey(jobID), wake)
}

// ListenSession does the same for the executions that an observed session accepts, and for its
// end.
func (n *EventNotifier) ListenSession(id string, wake func()) (forget func()) {
	return n.listenTo(sessionKey(id), wake)
}

// ListenBatch does the same for the end of a batch.
func (n *EventNotifier) ListenBatch(id string, wake func()) (forget func()) {
	return n.listenTo(batchKey(id), wake)
}

func (n *EventNotifier) listenTo(channel string, wake func()) (forget func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[channel] == nil {
		n.listeners[channel] = make(map[*func()]struct{})
		n.changed()
	}
	n.listeners[channel][&wake] = struct{}{}
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.listeners[channel], &wake)
		if len(n.listeners[channel]) == 0 {
			delete(n.listeners, channel)
			n.changed()
		}
	}
}

func (n *EventNotifier) changed() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// run keeps the subscription equal to the wanted channels. All traffic with Redis is here, so
// that no caller waits for Redis under the lock.
func (n *EventNotifier) run(ctx context.Context) {
	var pubsub *redis.PubSub
	defer func() {
		if pubsub != nil {
			_ = pubsub.Close() // no further handling is possible
		}
	}()
	subscribed := make(map[string]bool)
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.kick:
		}
		more, less := n.changes(subscribed)
		if pubsub == nil {
			if len(more) == 0 {
				continue
			}
			pubsub = n.rdb.Subscribe(ctx)
			n.listen(pubsub)
		}
		err := change(ctx, pubsub.Subscribe, more, func(c string) { subscribed[c] = true })
		if err == nil {
			err = change(ctx, pubsub.Unsubscribe, less, func(c string) { delete(subscribed, c) })
		}
		if err != nil && ctx.Err() == nil {
			n.log.WarnContext(ctx, "not subscribed to events: will try again", slog.Any("err", err))
			time.AfterFunc(resubscribePause, n.changed)
		}
	}
}

// change subscribes to channels or unsubscribes from them, and records that.
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

// changes compares the subscribed channels with the wanted ones.
func (n *EventNotifier) changes(subscribed map[string]bool) (more, less []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.listeners {
		if !subscribed[c] {
			more = append(more, c)
		}
	}
	for c := range subscribed {
		if n.listeners[c] == nil {
			less = append(less, c)
		}
	}
	return more, less
}

// listen passes on messages and the confirmations of subscriptions. Events before a confirmation
// may have been missed, so the follower reads again.
func (n *EventNotifier) listen(pubsub *redis.PubSub) {
	messages := pubsub.ChannelWithSubscriptions(redis.WithChannelHealthCheckInterval(pingEvery), redis.WithChannelSize(1024))
	n.done.Go(func() {
		for m := range messages {
			switch m := m.(type) {
			case *redis.Message:
				n.notify(m.Channel)
			case *redis.Subscription:
				if m.Kind == "subscribe" {
					n.notify(m.Channel)
				}
			}
		}
	})
}

func (n *EventNotifier) notify(channel string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for wake := range n.listeners[channel] {
		(*wake)()
	}
}
