package store_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// trips is a redis.Hook that counts round trips.
type trips struct{ n atomic.Int64 }

func (r *trips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		r.n.Add(1)
		return next(ctx, cmd)
	}
}

func (r *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		r.n.Add(1)
		return next(ctx, cmds)
	}
}

// count returns the round trips of what do does.
func (r *trips) count(do func()) int64 {
	before := r.n.Load()
	do()
	return r.n.Load() - before
}

// TestListInOneTrip: a page of the usual size is one round trip, a longer one few; the records are those of the ids.
func TestListInOneTrip(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	count := new(trips)
	b.rdb.AddHook(count)
	var ids []string
	for i := range 150 {
		ids = append(ids, b.create(t, newJob(func(n *job.NewJob) { n.Job.Queue = []string{"low", "default", "high"}[i%3] })))
	}
	slices.Reverse(ids)
	list := func(limit int) func() {
		return func() {
			t.Helper()
			jobs, next, err := b.List(t.Context(), job.Filter{Limit: limit})
			if err != nil {
				t.Fatal(err)
			}
			for i, j := range jobs {
				if j.ID != ids[i] {
					t.Fatalf("job %d of %d is %s, want %s", i, limit, j.ID, ids[i])
				}
			}
			if want := min(limit, len(ids)); len(jobs) != want || (next == "") != (limit >= len(ids)) {
				t.Errorf("%d jobs, want %d; then %q", len(jobs), want, next)
			}
		}
	}
	list(1)() // Redis has the script then
	for limit, want := range map[int]int64{1: 1, 50: 1, 64: 1, 65: 2, 149: 3, 150: 3, 1000: 3} {
		if got := count.count(list(limit)); got != want {
			t.Errorf("a page of %d takes %d round trips, want %d", limit, got, want)
		}
	}
}
