package store_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/testenv"
)

func of(caller string) func(*job.NewJob) { return func(n *job.NewJob) { n.Caller = caller } }

func onLow(n *job.NewJob) { n.Job.Queue = "low" }

func TestDepth(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{MaxDepth: 3, MaxCallerDepth: 2})
	refused := func(name string, want *job.FullError, change ...func(*job.NewJob)) {
		t.Helper()
		_, err := b.Create(t.Context(), newJob(change...))
		var got *job.FullError
		if want == nil && err != nil || want != nil && !errors.As(err, &got) {
			t.Errorf("%s: %v", name, err)
			return
		}
		if diff := cmp.Diff(want, got); want != nil && diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	first := newJob(of("a"), func(n *job.NewJob) { n.IdempotencyKey, n.Fingerprint = "k", "f" })
	b.create(t, first)
	refused("one that is not due yet waits, too", nil, of("a"), scheduled(time.Hour))
	refused("of a caller with two", &job.FullError{Depth: 2, Limit: 2}, of("a"))
	refused("on another queue", &job.FullError{Depth: 2, Limit: 2}, of("a"), onLow)
	if c, err := b.Create(t.Context(), first); err != nil || c.Job.ID != first.Job.ID {
		t.Errorf("the same creation sent again: %v", err)
	}
	replay := newJob(of("a"), func(n *job.NewJob) { n.IdempotencyKey, n.Fingerprint = "k", "f" })
	if c, err := b.Create(t.Context(), replay); err != nil || !c.Replayed {
		t.Errorf("a replay: %v", err)
	}
	keyed := func(n *job.NewJob) { n.IdempotencyKey, n.Fingerprint = "other", "f" }
	refused("with a key", &job.FullError{Depth: 2, Limit: 2}, of("a"), keyed)
	refused("of another caller", nil, of("b"))
	refused("on a full queue", &job.FullError{Queue: "default", Depth: 3, Limit: 3}, of("b"))
	refused("on a queue that is not full", nil, of("b"), onLow)

	claim := b.claim(t, first.Job.ID)
	refused("with the key that was refused, after a claim", nil, of("a"), keyed)
	refused("after that", &job.FullError{Queue: "default", Depth: 3, Limit: 3}, of("a"))
	if err := b.Finish(t.Context(), claim, job.Outcome{State: job.Completed, Result: result()}); err != nil {
		t.Fatal(err)
	}
	refused("an end is no second claim", &job.FullError{Depth: 2, Limit: 2}, of("a"), onLow)
	if _, err := b.Cancel(t.Context(), b.create(t, newJob(of("c"), onLow))); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": "2", "b": "2"}
	if diff := cmp.Diff(want, b.rdb.HGetAll(t.Context(), "{kaa}:waiting").Val()); diff != "" {
		t.Errorf("waiting (-want +got):\n%s", diff)
	}
}

// TestDepthOfARetry: a job that goes back to its queue counts again, whatever the
// limit.
func TestDepthOfARetry(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{MaxDepth: 1, MaxCallerDepth: 1})
	claim := b.claim(t, b.create(t, newJob(of("a"), attempts(2))))
	b.create(t, newJob(of("a")))
	for range 2 { // the second time its answer was lost
		if _, err := b.GiveBack(t.Context(), claim, job.Failure{Code: job.FailDrained}); err != nil && !errors.Is(err, job.ErrStale) {
			t.Fatal(err)
		}
	}
	if n := b.rdb.HGet(t.Context(), "{kaa}:waiting", "a").Val(); n != "2" {
		t.Errorf("%s jobs wait, want 2", n)
	}
}

// TestDepthOfOldRecords: jobs that were recorded before there were callers.
func TestDepthOfOldRecords(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	id := b.create(t, newJob())
	b.rdb.HDel(t.Context(), "{kaa}:job:"+id, "caller")
	b.rdb.Del(t.Context(), "{kaa}:waiting")
	if err := b.Finish(t.Context(), b.claim(t, id), job.Outcome{State: job.Completed, Result: result()}); err != nil {
		t.Fatal(err)
	}
	if left := b.rdb.HGetAll(t.Context(), "{kaa}:waiting").Val(); len(left) != 0 {
		t.Errorf("waiting: %v", left)
	}
}

// TestDepthUnderLoad: with many at once, exactly as many as may are accepted.
func TestDepthUnderLoad(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{MaxDepth: 100})
	var accepted atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			jobs := make([]job.NewJob, 20)
			for i := range jobs {
				jobs[i] = newJob()
			}
			for _, c := range b.CreateAll(t.Context(), jobs) {
				if c.Err == nil {
					accepted.Add(1)
				} else if !errors.Is(c.Err, job.ErrFull) {
					t.Error(c.Err)
				}
			}
		})
	}
	wg.Wait()
	if n := accepted.Load(); n != 100 {
		t.Errorf("%d jobs were accepted", n)
	}
}

// TestDepthOfKey: the jobs of a caller that wait are compared with the limit of the key that submits
// another one, and with that of every caller.
func TestDepthOfKey(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{MaxCallerDepth: 4})
	submit := func(caller string, most int, change ...func(*job.NewJob)) *job.FullError {
		t.Helper()
		_, err := b.Create(t.Context(), newJob(append(change, of(caller), func(n *job.NewJob) { n.MostWaiting = most })...))
		full, _ := errors.AsType[*job.FullError](err)
		if err != nil && full == nil {
			t.Fatal(err)
		}
		return full
	}
	for i, tt := range []struct {
		caller string
		most   int
		want   *job.FullError
	}{
		{"@a", 2, nil},
		{"@a", 2, nil},
		{"@a", 2, &job.FullError{Depth: 2, Limit: 2, OfKey: true}},
		{"@a", 3, nil}, // another key of the tenant
		{"@a", 3, &job.FullError{Depth: 3, Limit: 3, OfKey: true}},
		{"@b", 2, nil}, // another tenant
		{"@a", 0, nil}, // a key without a limit
		{"@a", 0, &job.FullError{Depth: 4, Limit: 4}},
		{"@a", 9, &job.FullError{Depth: 4, Limit: 4}},
		{"@a", 2, &job.FullError{Depth: 4, Limit: 2, OfKey: true}},
	} {
		if diff := cmp.Diff(tt.want, submit(tt.caller, tt.most)); diff != "" {
			t.Errorf("%d, %s with %d (-want +got):\n%s", i, tt.caller, tt.most, diff)
		}
	}
}

// TestRateOfKey: a request passes if it may by the rate of each caller and by that of its key. One that
// is refused by one of them does not count for the other.
func TestRateOfKey(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	slow := func(burst int) job.RateLimit { return job.RateLimit{PerSecond: 0.01, Burst: burst} } // no token comes back while the test runs
	none := job.RateLimit{}
	for i, tt := range []struct {
		caller string
		all    job.RateLimit
		key    string
		own    job.RateLimit
		want   job.Rate // without times
	}{
		{"a", none, "k", slow(2), job.Rate{Allowed: true, OfKey: true, Limit: 2, Remaining: 1}},
		{"a", none, "k", slow(2), job.Rate{Allowed: true, OfKey: true, Limit: 2}},
		{"a", none, "k", slow(2), job.Rate{OfKey: true, Limit: 2}},
		{"a", none, "second", slow(2), job.Rate{Allowed: true, OfKey: true, Limit: 2, Remaining: 1}}, // of the same tenant
		{"b", slow(3), "l", slow(2), job.Rate{Allowed: true, OfKey: true, Limit: 2, Remaining: 1}},
		{"b", slow(3), "l", slow(2), job.Rate{Allowed: true, OfKey: true, Limit: 2}},
		{"b", slow(3), "l", slow(2), job.Rate{OfKey: true, Limit: 2}},
		{"b", slow(3), "l", slow(2), job.Rate{OfKey: true, Limit: 2}},
		{"b", slow(3), "m", slow(2), job.Rate{Allowed: true, Limit: 3}},
		{"b", slow(3), "m", slow(2), job.Rate{Limit: 3}},
		{"b", none, "m", slow(2), job.Rate{Allowed: true, OfKey: true, Limit: 2}},
		{"b", slow(3), "", none, job.Rate{Limit: 3}},
	} {
		got, err := b.Rate(t.Context(), tt.caller, tt.all, tt.key, tt.own)
		if err != nil {
			t.Fatal(err)
		}
		if got.Reset <= 0 || (got.RetryAfter > 0) == got.Allowed {
			t.Errorf("%d: %+v", i, got)
		}
		got.Reset, got.RetryAfter = 0, 0
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%d (-want +got):\n%s", i, diff)
		}
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	other := store.New(b.rdb, store.Config{}) // another process
	rate := 0.01                              // so that no token comes back while the test runs
	ask := func(s *store.Store, caller string) job.Rate {
		t.Helper()
		r, err := s.Rate(t.Context(), caller, job.RateLimit{PerSecond: rate, Burst: 5}, "", job.RateLimit{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for i := range 5 {
		if r := ask([]*store.Store{b.Store, other}[i%2], "a"); !r.Allowed || r.Limit != 5 || r.Remaining != 4-i {
			t.Errorf("request %d of the burst: %+v", i+1, r)
		}
	}
	r := ask(other, "a")
	if r.Allowed || r.Remaining != 0 || r.RetryAfter <= 0 || r.RetryAfter > 100*time.Second || r.Reset < 400*time.Second || r.Reset > 500*time.Second {
		t.Errorf("above it: %+v", r)
	}
	if r := ask(other, "b"); !r.Allowed {
		t.Errorf("another caller: %+v", r)
	}
	if ttl := b.rdb.PTTL(t.Context(), "{kaa}:rate:a").Val(); ttl <= 0 || ttl > 501*time.Second {
		t.Errorf("the key lives %s", ttl)
	}
	rate = 2
	testenv.Eventually(t, "the burst of another caller is used up", func() bool { r = ask(other, "c"); return !r.Allowed })
	<-time.After(r.RetryAfter + 5*time.Millisecond)
	if r := ask(b.Store, "c"); !r.Allowed {
		t.Errorf("after the time it said: %+v", r)
	}
}
