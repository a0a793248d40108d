package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestMissed: one who listens for ends learns that its subscription was broken, as soon as it is confirmed again.
func TestMissed(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{})
	missed := make(chan struct{}, 10)
	l, err := b.ListenFinished(t.Context(), "creator", func(string, *job.Result) {}, func() { missed <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if n, err := b.rdb.Do(t.Context(), "CLIENT", "KILL", "TYPE", "PUBSUB").Int(); err != nil || n == 0 {
		t.Fatalf("killed %d connections: %v", n, err)
	}
	testenv.Eventually(t, "word of the broken subscription", func() bool { return len(missed) > 0 })
}

// expanded is what readers get of a result.
func expanded(r *job.Result) *job.Result {
	r.Expand()
	return r
}

func TestWatch(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{})
	told := make(chan string, 10)
	for _, name := range []string{"creator", "watcher"} {
		l, err := b.ListenFinished(t.Context(), name, func(id string, r *job.Result) {
			if diff := cmp.Diff(expanded(result()), r); diff != "" {
				t.Errorf("the result told (-want +got):\n%s", diff)
			}
			told <- name + " " + id
		}, func() {})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
	}
	id := b.create(t, newJob(func(n *job.NewJob) { n.Subscriber = "creator" }))
	for range 2 { // watching twice tells once
		if err := b.Watch(t.Context(), id, "watcher"); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Finish(t.Context(), b.claim(t, id), job.Outcome{State: job.Completed, Result: result()}); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{<-told: true, <-told: true}
	if !got["creator "+id] || !got["watcher "+id] {
		t.Errorf("told %v", got)
	}
	if err := b.Watch(t.Context(), id, "late"); err != nil { // no trace of it may keep the record alive
		t.Fatal(err)
	}
	if len(told) != 0 {
		t.Errorf("told again: %s", <-told)
	}
}

// TestTold: a small result of a job that completed comes with the message.
func TestTold(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{})
	told := make(chan *job.Result, 10)
	l, err := b.ListenFinished(t.Context(), "told", func(_ string, r *job.Result) { told <- r }, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	large := result()
	large.Stdout = strings.Repeat("x", 100_000)
	tests := []struct {
		name    string
		outcome job.Outcome
		want    *job.Result
	}{
		{"small", job.Outcome{State: job.Completed, Result: result()}, expanded(result())},
		{"large", job.Outcome{State: job.Completed, Result: large}, nil},
		{"cancelled", job.Outcome{State: job.Cancelled, Result: result()}, nil},
	}
	for _, tt := range tests { //nolint:paralleltest // one after the other is told
		t.Run(tt.name, func(t *testing.T) {
			id := b.create(t, newJob(func(n *job.NewJob) { n.Subscriber = "told" }))
			if err := b.Finish(t.Context(), b.claim(t, id), tt.outcome); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, <-told); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNothingStays checks that the keys are those of the start once the times to
// live are over.
func TestNothingStays(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	before := b.keys(t)
	change := func(n *job.NewJob) {
		n.IdempotencyKey, n.Fingerprint = n.Job.ID, "f"
		n.Job.Metadata = json.RawMessage(`{}`)
	}
	var ids []string
	for range 3 {
		ids = append(ids, b.create(t, newJob(change)))
	}
	ids = append(ids, b.create(t, newJob(change, scheduled(time.Hour))))
	if err := b.Finish(t.Context(), b.claim(t, ids[0]), job.Outcome{State: job.Completed, Result: result()}); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids[1:3] {
		if _, err := b.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Reject(t.Context(), ids[3], job.Failure{Code: job.FailStart}); err != nil {
		t.Fatal(err)
	}

	b.expire(t, ids[0])
	if _, err := b.Get(t.Context(), ids[0]); !errors.Is(err, job.ErrGone) {
		t.Errorf("after its record: %v", err)
	}
	for key := range b.keys(t) { // all that have a time to live
		if before[key] {
			continue
		}
		if ttl, err := b.rdb.PTTL(t.Context(), key).Result(); err != nil {
			t.Fatal(err)
		} else if ttl > 0 {
			b.rdb.Del(t.Context(), key)
		}
	}
	if _, err := b.Get(t.Context(), ids[0]); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("after its tombstone: %v", err)
	}
	testenv.Eventually(t, "the keys are those of the start", func() bool {
		if _, err := b.Sweep(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
		return cmp.Equal(before, b.keys(t))
	})
}

// keys are the names of all keys but the set of queue names, which is bounded.
func (b *bundle) keys(t *testing.T) map[string]bool {
	t.Helper()
	names, err := b.rdb.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for _, n := range names {
		if n != "{kaa}:queues" {
			keys[n] = true
		}
	}
	return keys
}

func TestList(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	var ids []string // oldest first
	for i := range 7 {
		ids = append(ids, b.create(t, newJob(func(n *job.NewJob) {
			if i%2 == 1 {
				n.Job.Queue = "low"
			}
		})))
	}
	b.claim(t, ids[0])
	page := func(f job.Filter) ([]string, string) {
		jobs, next, err := b.List(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, j := range jobs {
			got = append(got, j.ID)
		}
		return got, next
	}
	got, next := page(job.Filter{Limit: 4})
	if diff := cmp.Diff([]string{ids[6], ids[5], ids[4], ids[3]}, got); diff != "" || next != ids[3] {
		t.Errorf("first page, next %s (-want +got):\n%s", next, diff)
	}
	got, next = page(job.Filter{Limit: 4, Cursor: next})
	if diff := cmp.Diff([]string{ids[2], ids[1], ids[0]}, got); diff != "" || next != "" {
		t.Errorf("last page, next %s (-want +got):\n%s", next, diff)
	}
	got, _ = page(job.Filter{Limit: 10, Queue: "low", State: job.Queued})
	if diff := cmp.Diff([]string{ids[5], ids[3], ids[1]}, got); diff != "" {
		t.Errorf("queue low (-want +got):\n%s", diff)
	}
	got, _ = page(job.Filter{Limit: 10, State: job.Running})
	if diff := cmp.Diff([]string{ids[0]}, got); diff != "" {
		t.Errorf("running (-want +got):\n%s", diff)
	}

	stats, err := b.Queues(t.Context(), []string{"critical", "default"}, job.Viewer{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range stats {
		if (stats[i].OldestAgeSec > 0) != (stats[i].Depth > 0) || stats[i].OldestAgeSec > 60 {
			t.Errorf("oldest of %s: %g s", stats[i].Name, stats[i].OldestAgeSec)
		}
		stats[i].OldestAgeSec = 0
	}
	want := []job.QueueStats{{Name: "critical"}, {Name: "default", Depth: 3, Active: 1}, {Name: "low", Depth: 3}}
	if diff := cmp.Diff(want, stats); diff != "" {
		t.Errorf("queues (-want +got):\n%s", diff)
	}
}

// TestDialTimeout: that Redis cannot be reached is not the end of the caller's
// own time, although the error says so.
func TestDialTimeout(t *testing.T) {
	t.Parallel()
	rdb := testenv.Redis(t).Client(t)
	faults := new(testenv.Faults)
	rdb.AddHook(faults)
	faults.Fail(func(redis.Cmder) error { return &net.OpError{Op: "dial", Err: context.DeadlineExceeded} })
	_, err := store.New(rdb, store.Config{}).Get(t.Context(), "x")
	if !errors.Is(err, job.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	db := testenv.Redis(t)
	rdb := db.Client(t)
	faults := new(testenv.Faults)
	rdb.AddHook(faults)
	s := store.New(rdb, store.Config{})
	for text, unavailable := range map[string]bool{
		"dial tcp: connection refused":            true,
		"READONLY You can't write":                true,
		"OOM command not allowed":                 true,
		"LOADING Redis is loading":                true,
		"ERR wrong number of arguments for 'get'": false,
	} {
		fault := errors.New(text)
		if strings.ToUpper(text[:3]) == text[:3] {
			fault = redisError(text)
		}
		faults.Fail(func(redis.Cmder) error { return fault })
		_, err := s.Get(t.Context(), "x")
		if err == nil || errors.Is(err, job.ErrUnavailable) != unavailable {
			t.Errorf("%s: %v; want unavailable %t", text, err, unavailable)
		}
		if c := s.CreateAll(t.Context(), []job.NewJob{newJob()})[0]; c.Err == nil || errors.Is(c.Err, job.ErrUnavailable) != unavailable {
			t.Errorf("create, %s: %v; want unavailable %t", text, c.Err, unavailable)
		}
	}
}

// redisError is an error that Redis answers.
type redisError string

func (e redisError) Error() string { return string(e) }
func (redisError) RedisError()     {}

// TestLargeResult: it is read whole, and only when the request holds memory for it, as the
// metadata of a listing.
func TestLargeResult(t *testing.T) {
	t.Parallel()
	const size, metadata = 1 << 20, 1000
	b := setup(t, store.Config{MaxMetadata: metadata})
	want := &job.Result{Status: job.StatusOK, Stdout: strings.Repeat("a", size)}
	id := b.create(t, newJob(func(n *job.NewJob) { n.Job.Metadata = json.RawMessage(`{"a": 1}`) }))
	if err := b.Finish(t.Context(), b.claim(t, id), job.Outcome{State: job.Completed, Result: want}); err != nil {
		t.Fatal(err)
	}
	memory := job.NewMemory(100 << 20)
	held := memory.For("a")
	j, err := b.Get(held.In(t.Context()), id)
	if err != nil || !cmp.Equal(j.Result, expanded(want)) {
		t.Fatalf("got %v with %d bytes", err, len(j.Result.Stdout))
	}
	if n := memory.Held(); n < 2*size || n > 4*size {
		t.Errorf("%d bytes are held for it", n)
	}
	if held.Release(); memory.Held() != 0 {
		t.Errorf("%d bytes are held after it", memory.Held())
	}
	if jobs, _, err := b.List(held.In(t.Context()), job.Filter{Limit: 10}); err != nil || len(jobs) == 0 || memory.Held() != 8 {
		t.Errorf("%v: for a listing of %d jobs %d bytes are held", err, len(jobs), memory.Held())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	none := job.NewMemory(2)
	_ = job.Hold(none.For("a").In(t.Context()), 1) // which is all that one may have
	if _, err := b.Get(none.For("a").In(ctx), id); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without memory: %v", err)
	}
	if _, err := b.Summary(none.For("a").In(t.Context()), id); err != nil {
		t.Errorf("without the result: %v", err)
	}
}
