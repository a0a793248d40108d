package queue_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/queue"
)

// The gates of several servers on a Redis that a test plays, with time between any two
// commands, and asynq's way to dequeue: whatever comes in between, no task waits while
// there is a server that could take it.

// playedRedis has the lists of tasks and of tokens.
type playedRedis struct {
	mu      sync.Mutex
	tasks   map[string][]time.Time // since when each waits
	tokens  map[string]int
	parked  []chan string
	taken   int
	longest time.Duration // that a task has waited
	useless int           // waits that a token ended for which there was no task
}

// trip is how long a command is on its way at most.
const trip = 200 * time.Microsecond

func onItsWay() { time.Sleep(rand.N(trip)) }

func (r *playedRedis) enqueue(q string) {
	r.mu.Lock()
	r.tasks[q] = append(r.tasks[q], time.Now())
	r.mu.Unlock()
	onItsWay()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.parked) > 0 {
		r.parked[0] <- q
		r.parked = r.parked[1:]
		return
	}
	r.tokens[q] = min(r.tokens[q]+1, queue.MaxTokens)
}

// wait is BLPOP.
func (r *playedRedis) wait(ctx context.Context) (string, error) {
	onItsWay()
	r.mu.Lock()
	for q, n := range r.tokens {
		if n > 0 {
			r.tokens[q]--
			if len(r.tasks[q]) == 0 {
				r.useless++
			}
			r.mu.Unlock()
			return q, nil
		}
	}
	woken := make(chan string, 1)
	r.parked = append(r.parked, woken)
	r.mu.Unlock()
	select {
	case q := <-woken:
		onItsWay()
		return q, nil
	case <-ctx.Done():
		return "", nil
	}
}

// dequeue is a pipeline, between whose commands others come.
func (r *playedRedis) dequeue(send func() error, token string) (none []string, err error) {
	if token != "" {
		onItsWay()
		r.mu.Lock()
		r.tokens[token] = max(r.tokens[token]-1, 0)
		r.mu.Unlock()
	}
	err = send()
	for _, q := range playedQueues {
		onItsWay()
		r.mu.Lock()
		if len(r.tasks[q]) == 0 {
			none = append(none, "asynq:{"+q+"}:pending")
		}
		r.mu.Unlock()
	}
	return none, err
}

// take is the dequeue script.
func (r *playedRedis) take(q string) error {
	onItsWay()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.tasks[q]) == 0 {
		return redis.Nil
	}
	r.longest = max(r.longest, time.Since(r.tasks[q][0]))
	r.tasks[q] = r.tasks[q][1:]
	r.taken++
	return nil
}

var playedQueues = []string{"a", "b", "c"}

// serve is asynq with a number of slots.
func (r *playedRedis) serve(ctx context.Context, slots int, length func() time.Duration) {
	g := queue.NewGate(len(playedQueues), queue.FakeParker{
		Wait:    func() (string, error) { return r.wait(ctx) },
		Dequeue: r.dequeue,
		Pending: func() (bool, error) { return false, nil },
		Woken:   func(string) {},
	})
	context.AfterFunc(ctx, g.Stop)
	defer func() {
		g.Stop() // or wait for that which is under way
		g.Goroutines()
	}()
	free := make(chan struct{}, slots)
	for {
		select {
		case <-ctx.Done():
			return
		case free <- struct{}{}:
		}
		if !r.round(g) {
			time.Sleep(rand.N(150 * time.Microsecond))
			<-free
			continue
		}
		go func() {
			time.Sleep(length())
			<-free
		}()
	}
}

// round asks the queues in an order of chance, until there is a task.
func (r *playedRedis) round(g *queue.Gate) bool {
	for _, i := range rand.Perm(len(playedQueues)) {
		q := "asynq:{" + playedQueues[i] + "}"
		cmd := redis.NewCmd(context.Background(), "evalsha", "sha", 4, q+":pending", q+":paused", q+":active", q+":lease", 1, q+":t:")
		process := g.ProcessHook(func(context.Context, redis.Cmder) error { return r.take(playedQueues[i]) })
		if process(context.Background(), cmd) == nil {
			return true
		}
	}
	return false
}

func TestNoTaskIsLeftLying(t *testing.T) {
	t.Parallel()
	tests := []struct {
		servers, slots int
		pause          time.Duration // between two tasks, on average
		length         time.Duration // of a task
	}{
		{1, 1, time.Millisecond, 100 * time.Microsecond},
		{1, 4, time.Millisecond, time.Millisecond},
		{2, 1, time.Millisecond, 500 * time.Microsecond},
		{3, 2, 200 * time.Microsecond, time.Millisecond},
		{3, 4, 2 * time.Millisecond, 20 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d servers of %d, each %s", tt.servers, tt.slots, tt.pause), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &playedRedis{tasks: map[string][]time.Time{}, tokens: map[string]int{}}
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				var wg sync.WaitGroup
				for range tt.servers {
					wg.Go(func() { r.serve(ctx, tt.slots, func() time.Duration { return rand.N(2 * tt.length) }) })
				}
				const bursts, each = 30, 40
				for range bursts {
					for range each {
						wg.Go(func() { r.enqueue(playedQueues[rand.N(len(playedQueues))]) })
						time.Sleep(rand.N(2 * tt.pause))
					}
					time.Sleep(time.Second) // and all are idle
				}
				r.mu.Lock()
				if r.taken != bursts*each || r.longest > 500*time.Millisecond {
					t.Errorf("%d of %d tasks were taken, one after %s", r.taken, bursts*each, r.longest)
				}
				if r.useless > r.taken/10 {
					t.Errorf("%d times a token woke a server for nothing, for %d tasks", r.useless, r.taken)
				}
				t.Logf("longest wait %s, %d woken for nothing", r.longest, r.useless)
				r.mu.Unlock()
				stop()
				wg.Wait()
				time.Sleep(time.Second) // the tasks end
			})
		})
	}
}
