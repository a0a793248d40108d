package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestCreateEnqueues: the task of a job is put on its queue in the step that records the
// job, if that is done at all and the job is to run at once; else nothing of it is there.
func TestCreateEnqueues(t *testing.T) {
	t.Parallel()
	idempotent := func(n *job.NewJob) { n.IdempotencyKey, n.Scope, n.Fingerprint = "key", "scope", "print" }
	queued := newJob()
	tests := []struct {
		name   string
		before []job.NewJob
		job    job.NewJob
		want   bool
	}{
		{"queued", nil, queued, true},
		{"sent twice", []job.NewJob{queued}, queued, true},
		{"scheduled", nil, newJob(scheduled(time.Hour)), false},
		{"held", []job.NewJob{newJob(), newJob()}, newJob(), false},
		{"refused, the queue is full", []job.NewJob{newJob(), newJob(), newJob()}, newJob(), false},
		{"seen before", []job.NewJob{newJob(idempotent)}, newJob(idempotent), false},
	}
	for _, tt := range tests {
		for name, rdb := range map[string]*redis.Client{
			"redis":     testenv.Redis(t).Client(t),
			"miniredis": redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()}),
		} {
			t.Run(tt.name+" on "+name, func(t *testing.T) {
				t.Parallel()
				b := setupOn(t, rdb, store.Config{MaxDepth: 3, Window: 2, Enqueue: func(_ context.Context, j job.Job) [][]any {
					return [][]any{{"rpush", "tasks", j.ID, "\xff\x00"}, {"rpush", "tokens", 1}}
				}})
				for _, n := range tt.before {
					b.create(t, n)
				}
				if tt.name != "sent twice" {
					rdb.Del(t.Context(), "tasks", "tokens")
				}
				c, _ := b.Create(t.Context(), tt.job)
				if c.Enqueued != tt.want {
					t.Errorf("enqueued: %t, want %t (%+v)", c.Enqueued, tt.want, c)
				}
				tasks, tokens := rdb.LRange(t.Context(), "tasks", 0, -1).Val(), rdb.LLen(t.Context(), "tokens").Val()
				switch {
				case !tt.want && len(tasks)+int(tokens) > 0:
					t.Errorf("%d tasks, %d tokens, want none", len(tasks), tokens)
				case tt.want && (len(tasks) != 2 || tasks[0] != tt.job.Job.ID || tasks[1] != "\xff\x00" || tokens != 1):
					t.Errorf("tasks %q, %d tokens", tasks, tokens)
				case tt.want && rdb.ZCard(t.Context(), "{kaa}:outbox").Val() != 0:
					t.Error("the outbox has it, too")
				}
			})
		}
	}
}

// TestCreateTwiceWithoutCommands: the outbox has such a job, so its caller enqueues it,
// whichever of two answers comes.
func TestCreateTwiceWithoutCommands(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	n := newJob()
	for range 2 {
		c, err := b.Create(t.Context(), n)
		if err != nil || c.Enqueued || c.Held {
			t.Errorf("created %+v, %v; want a job that is not enqueued", c, err)
		}
	}
}

// TestCreateWhenTheTaskIsRefused: the record stands, and the outbox has it.
func TestCreateWhenTheTaskIsRefused(t *testing.T) {
	t.Parallel()
	for name, rdb := range map[string]*redis.Client{
		"redis":     testenv.Redis(t).Client(t),
		"miniredis": redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupOn(t, rdb, store.Config{Enqueue: func(context.Context, job.Job) [][]any {
				return [][]any{{"set", "string", 1}, {"lpush", "string", 1}, {"set", "never", 1}}
			}})
			c, err := b.Create(t.Context(), newJob())
			if err != nil || c.Enqueued {
				t.Fatalf("created %+v, %v; want a job that is not enqueued", c, err)
			}
			if err := rdb.ZScore(t.Context(), "{kaa}:outbox", c.Job.ID).Err(); err != nil {
				t.Errorf("in the outbox: %v", err)
			}
			if n := rdb.Exists(t.Context(), "never").Val(); n != 0 {
				t.Error("commands were run after the one that was refused")
			}
		})
	}
}
