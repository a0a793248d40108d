package queue_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/queue"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestDequeueShape pins what the gate knows of asynq: if it fails after an update,
// servers poll until isDequeue is adapted.
func TestDequeueShape(t *testing.T) {
	t.Parallel()
	server := testenv.OwnRedis(t) // its script cache is empty, so EVAL is seen too
	seen := &counter{}
	serve(t, server.Options(), to(make(chan job.Task)), func(c *queue.ServerConfig) {
		c.Redis.AddHook(seen)
		c.Queues = map[string]int{"q": 1}
	})
	waitParked(t, server.Client(t), 1)

	names := map[string]bool{}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	for _, cmd := range seen.commands {
		args := cmd.Args()
		names[cmd.Name()] = true
		want := []any{4, "asynq:{q}:pending", "asynq:{q}:paused", "asynq:{q}:active", "asynq:{q}:lease"}
		if diff := cmp.Diff(want, args[2:7]); diff != "" {
			t.Errorf("keys of the dequeue script (-want +got):\n%s", diff)
		}
		if args[8] != "asynq:{q}:t:" {
			t.Errorf("last argument = %v, want the prefix of task keys", args[8])
		}
	}
	if !names["evalsha"] || !names["eval"] {
		t.Errorf("recognised %v, want evalsha and eval", names)
	}
}

func TestIsDequeue(t *testing.T) {
	t.Parallel()
	script := func(keys ...any) redis.Cmder {
		return redis.NewCmd(context.Background(), append([]any{"evalsha", "sha", len(keys)}, append(keys, 1, 2)...)...)
	}
	tests := []struct {
		name string
		cmd  redis.Cmder
		want bool
	}{
		{"dequeue", script("a:pending", "a:paused", "a:active", "a:lease"), true},
		{"requeue", script("a:active", "a:lease", "a:pending", "a:t:1"), false},
		{"more keys", script("a:pending", "a:paused", "a:active", "a:lease", "a:x"), false},
		{"no script", redis.NewCmd(context.Background(), "get", "a:paused"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, got := queue.IsDequeue(tt.cmd); got != tt.want {
				t.Errorf("IsDequeue = %v, want %v", got, tt.want)
			}
		})
	}
}

// gated is a gate of two queues with a Redis that a test plays.
type gated struct {
	*queue.Gate
	waits, looks int
	sent         int // dequeues that reached Redis
	asked        int // of them and of the others, to take the queues in turn
	woken        []string
	tokens       []string // that dequeues took along
	none         []string // queues that the next dequeue reports; nil as on a cluster
	wait         func() (string, error)
	pending      bool
}

func newGated() *gated {
	g := &gated{}
	g.wait = func() (string, error) { return "b", nil }
	g.Gate = queue.NewGate(2, queue.FakeParker{
		Wait:    func() (string, error) { g.waits++; return g.wait() },
		Pending: func() (bool, error) { g.looks++; return g.pending, nil },
		Woken:   func(q string) { g.woken = append(g.woken, q) },
		Dequeue: func(send func() error, token string) (none []string, err error) {
			g.tokens = append(g.tokens, token)
			for _, q := range g.none {
				none = append(none, "asynq:{"+q+"}:pending")
			}
			return none, send()
		},
	})
	return g
}

// dequeue is what asynq does with its queues in turn, and how long it took.
func (g *gated) dequeue(answers ...error) time.Duration {
	begin := time.Now()
	for _, answer := range answers {
		g.dequeueFrom([]string{"a", "b"}[g.asked%2], answer)
		if !redis.HasErrorPrefix(answer, "NOSCRIPT") { // which is asked again
			g.asked++
		}
	}
	return time.Since(begin)
}

func (g *gated) dequeueFrom(q string, answer error) {
	q = "asynq:{" + q + "}"
	cmd := redis.NewCmd(context.Background(), "evalsha", "sha", 4, q+":pending", q+":paused", q+":active", q+":lease", 1, q+":t:")
	_ = g.ProcessHook(func(context.Context, redis.Cmder) error { g.sent++; return answer })(context.Background(), cmd)
}

func TestGateParksAfterARoundOfEmptyQueues(t *testing.T) {
	t.Parallel()
	noScript := redisError("NOSCRIPT No matching script. Please use EVAL.")
	tests := []struct {
		name    string
		answers []error
		want    int // waits before the dequeue that follows
	}{
		{"nothing yet", nil, 0},
		{"half a round", []error{redis.Nil}, 0},
		{"a round", []error{redis.Nil, redis.Nil}, 1},
		{"a task in between", []error{redis.Nil, nil, redis.Nil}, 0},
		{"an error in between", []error{redis.Nil, io.EOF, redis.Nil}, 0},
		{"an unknown script counts only once it is sent", []error{noScript, redis.Nil, noScript}, 0},
		{"another one, in which the token's queue alone is asked", []error{redis.Nil, redis.Nil, redis.Nil, redis.Nil}, 1},
		{"a round after that", []error{redis.Nil, redis.Nil, redis.Nil, redis.Nil, redis.Nil}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGated()
				g.dequeue(tt.answers...)
				g.dequeue(nil)
				if g.waits != tt.want {
					t.Errorf("parked %d times, want %d", g.waits, tt.want)
				}
			})
		})
	}
}

func TestGateLooksForTasksWithoutAToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGated()
		g.wait = func() (string, error) {
			time.Sleep(5 * time.Second) // no token comes
			g.pending = g.waits == 3
			return "", nil
		}
		g.dequeue(redis.Nil, redis.Nil)
		if took := g.dequeue(nil); took != 15*time.Second || g.looks != 3 {
			t.Errorf("opened after %s and %d looks, want 15s and 3", took, g.looks)
		}
	})
}

// TestGateDoesNotSendAnOldDequeue: asynq reckons the end of a lease before the
// gate holds the command, so a command that was held long must not take a task.
func TestGateDoesNotSendAnOldDequeue(t *testing.T) {
	t.Parallel()
	for held, want := range map[time.Duration]int{3 * time.Second: 1, 31 * time.Second: 0} {
		synctest.Test(t, func(t *testing.T) {
			g := newGated()
			g.wait = func() (string, error) {
				time.Sleep(held)
				return "a", nil
			}
			g.pending = true
			g.dequeue(redis.Nil, redis.Nil)
			if g.sent = 0; g.dequeue(nil) != held || g.sent != want {
				t.Errorf("held for %s: sent %d times, want %d", held, g.sent, want)
			}
			if g.sent = 0; g.dequeue(redis.Nil, redis.Nil) != 0 || g.sent != 2 {
				t.Errorf("the round after it: sent %d times, want 2", g.sent)
			}
		})
	}
}

// TestGateAsksEveryQueueAfterAToken: the round that a token starts may lack the
// very queue that the token is for, and the next one may be in another order.
func TestGateAsksEveryQueueAfterAToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGated()
		g.wait = func() (string, error) {
			time.Sleep(31 * time.Second)
			return "a", nil
		}
		g.dequeue(redis.Nil, redis.Nil)
		g.dequeueFrom("a", nil) // held too long to be sent
		g.dequeueFrom("b", redis.Nil)
		g.dequeueFrom("b", redis.Nil) // the next round
		g.sent = 0
		g.dequeueFrom("a", nil)
		if g.sent != 1 || g.waits != 1 {
			t.Errorf("the queue of the token was asked %d times and after %d waits, want 1 and 1", g.sent, g.waits)
		}
	})
}

// TestGateFollowsTheToken: of the queues only the token's is asked, and after it none
// unless one of them has a task.
func TestGateFollowsTheToken(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		token string
		none  []string
		sent  int // dequeues of a, b, a, b after the token
		waits int
	}{
		{"the first queue's", "a", []string{"a", "b"}, 2, 3},
		{"the other's", "b", []string{"a", "b"}, 2, 2},
		{"more is there", "b", []string{"b"}, 2, 1},
		{"a queue that it does not have", "c", []string{"a", "b"}, 2, 2},
		{"on a cluster", "b", nil, 3, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGated()
				g.wait = func() (string, error) { return tt.token, nil }
				g.dequeue(redis.Nil, redis.Nil)
				g.sent, g.none = 0, tt.none
				g.dequeue(nil, nil, nil, nil)
				if g.sent != tt.sent || g.waits != tt.waits || g.looks != 0 {
					t.Errorf("sent %d dequeues after %d waits and %d looks, want %d, %d, 0",
						g.sent, g.waits, g.looks, tt.sent, tt.waits)
				}
			})
		})
	}
}

// TestGateLeavesOutQueuesWithoutTasks: on a busy server only those are asked that had
// something a moment ago, in asynq's order. The dequeues are of a, b, a, b.
func TestGateLeavesOutQueuesWithoutTasks(t *testing.T) {
	t.Parallel()
	var task error
	tests := []struct {
		name    string
		none    []string // reported by the preceding dequeue of a
		answers []error
		pause   time.Duration
		sent    int
		waits   int
	}{
		{"both have tasks", []string{}, []error{task, task, task, task}, 0, 4, 0},
		{"only b has", []string{"a"}, []error{task, task, task, task}, 0, 2, 0},
		{"only a has", []string{"b"}, []error{task, task, task, task}, 0, 2, 0},
		{"none has", []string{"a", "b"}, []error{task}, 0, 1, 1},
		{"a may have got one meanwhile", []string{"a"}, []error{task, task}, 101 * time.Millisecond, 2, 0},
		{"nothing was there, but that is a while ago", []string{"a", "b"}, []error{task}, 11 * time.Millisecond, 1, 0},
		{"b turns out empty, too", []string{"a"}, []error{redis.Nil, redis.Nil, task}, 0, 2, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGated()
				g.wait = func() (string, error) { return "a", nil }
				g.dequeue(nil, nil) // so that it knows both
				g.none = tt.none
				g.dequeueFrom("a", nil)
				time.Sleep(tt.pause)
				g.sent = 0
				g.dequeue(tt.answers...)
				if g.sent != tt.sent || g.waits != tt.waits {
					t.Errorf("sent %d dequeues after %d waits, want %d, %d", g.sent, g.waits, tt.sent, tt.waits)
				}
			})
		})
	}
}

// TestGateSeesTasksOfAQueueThatHadNone: with the next dequeue, whichever queue that is of.
func TestGateSeesTasksOfAQueueThatHadNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGated()
		g.dequeue(nil, nil)
		g.none = []string{"a"}
		g.dequeueFrom("b", nil)
		g.none = []string{} // a has got a task
		g.dequeueFrom("a", nil)
		g.dequeueFrom("b", nil)
		g.sent = 0
		if g.dequeueFrom("a", nil); g.sent != 1 {
			t.Error("a queue that got a task was left out")
		}
	})
}

// TestGateParksWhileAQueueIsPaused: its list is there all the time.
func TestGateParksWhileAQueueIsPaused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGated()
		g.wait = func() (string, error) {
			time.Sleep(5 * time.Second)
			return "", nil
		}
		g.none, g.pending = []string{"b"}, true
		if took := g.dequeue(redis.Nil, redis.Nil, redis.Nil, redis.Nil, redis.Nil, redis.Nil); took < 5*time.Second || g.sent > 4 {
			t.Errorf("%d dequeues in %s", g.sent, took)
		}
	})
}

// TestGateTakesATokenForEachTask: the one that it was woken by, or one with the task.
func TestGateTakesATokenForEachTask(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGated()
		g.none = []string{"a"}
		g.dequeue(redis.Nil, redis.Nil) // each with a token of its queue
		g.dequeueFrom("b", nil)         // parks, and is woken for b
		g.dequeueFrom("b", nil)
		if diff := cmp.Diff([]string{"a", "b", "", "b"}, g.tokens); diff != "" {
			t.Errorf("tokens taken with dequeues (-want +got):\n%s", diff)
		}
	})
}

// TestGateTakesOneTokenIfTheScriptIsUnknown: go-redis sends such a dequeue twice.
func TestGateTakesOneTokenIfTheScriptIsUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		noScript := redisError("NOSCRIPT No matching script. Please use EVAL.")
		g := newGated()
		g.dequeueFrom("a", noScript)
		g.dequeueFrom("a", nil)
		g.dequeueFrom("b", redis.Nil)
		g.dequeueFrom("a", redis.Nil)
		g.dequeueFrom("b", noScript) // parks, and is woken for b
		g.dequeueFrom("b", nil)
		g.none = []string{"a"}
		g.dequeueFrom("a", noScript) // and is not sent again
		g.dequeueFrom("a", nil)
		g.dequeueFrom("b", nil)
		if diff := cmp.Diff([]string{"a", "", "b", "a", "", "", "a", "b"}, g.tokens); diff != "" {
			t.Errorf("tokens taken with dequeues (-want +got):\n%s", diff)
		}
	})
}

func TestGateBacksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGated()
		down := errors.New("connection refused")
		g.dequeue(down)
		for _, want := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
			if took := g.dequeue(down); took != want*time.Millisecond {
				t.Errorf("dequeue was held for %s, want %dms", took, want)
			}
		}
		g.dequeue(nil)
		if took := g.dequeue(down); took != 0 {
			t.Errorf("after a success a dequeue was held for %s", took)
		}
	})
}

func TestGateBacksOffWhenItCannotPark(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGated()
		g.wait = func() (string, error) { return "", errors.New("NOPERM") }
		g.dequeue(redis.Nil, redis.Nil)
		// Dequeues work all the while: that must not reset it.
		for _, want := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
			if took := g.dequeue(redis.Nil, redis.Nil); took != want*time.Millisecond {
				t.Errorf("round was held for %s, want %dms", took, want)
			}
		}
	})
}

func TestGateSlowsASickServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGated()
		for range queue.SlowAfter - 1 {
			g.Handled(io.EOF)
		}
		if took := g.dequeue(nil); took != 0 {
			t.Errorf("held for %s after a few errors", took)
		}
		g.Handled(io.EOF)
		if took := g.dequeue(nil, nil); took != 100*time.Millisecond {
			t.Errorf("held for %s, want 100ms once", took)
		}
		g.Handled(nil)
		if took := g.dequeue(nil); took != 0 {
			t.Errorf("held for %s after a success", took)
		}
	})
}

func TestGateStopOpensIt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		setup func(g *gated, token chan string)
		token string
	}{
		{"while parked", func(g *gated, token chan string) {
			g.wait = func() (string, error) { return <-token, nil }
			g.dequeue(redis.Nil, redis.Nil)
		}, ""},
		{"and hands on a token that comes late", func(g *gated, token chan string) {
			g.wait = func() (string, error) { return <-token, nil }
			g.dequeue(redis.Nil, redis.Nil)
		}, "low"},
		{"while it backs off", func(g *gated, _ chan string) {
			g.dequeue(io.EOF, io.EOF, io.EOF)
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g, token := newGated(), make(chan string)
				tt.setup(g, token)
				took := make(chan time.Duration)
				go func() { took <- g.dequeue(nil) }()
				synctest.Wait()
				g.Stop()
				if d := <-took; d != 0 {
					t.Errorf("stopped after %s", d)
				}
				if tt.token != "" {
					token <- tt.token
				}
				close(token)
				g.Goroutines()
				if got := strings.Join(g.woken, ","); got != tt.token {
					t.Errorf("handed on %q, want %q", got, tt.token)
				}
			})
		})
	}
}

func TestGateTellsForeignFromDown(t *testing.T) {
	t.Parallel()
	run := func(answer error) bool {
		g := newGated()
		for range 200 {
			cmd := redis.NewCmd(context.Background(), "fcall", "dequeue")
			_ = g.ProcessHook(func(context.Context, redis.Cmder) error { g.sent++; return answer })(context.Background(), cmd)
		}
		return g.Foreign()
	}
	if !run(redis.Nil) || !run(nil) {
		t.Error("commands that are answered, and no dequeue: not noticed")
	}
	if run(io.EOF) {
		t.Error("a Redis that is down was taken for an asynq that is different")
	}
}

// redisError is an error as Redis sends it.
type redisError string

func (e redisError) Error() string { return string(e) }
func (redisError) RedisError()     {}
