package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestBytesOfCallers: what a caller's jobs and results take counts until they expire, and
// beyond its share the caller gets no more, while others do.
func TestBytesOfCallers(t *testing.T) {
	t.Parallel()
	const most = 100_000
	b := setup(t, store.Config{MaxCallerBytes: most})
	large := func(n *job.NewJob) { n.Spec.Stdin = strings.Repeat("x", 40_000) }
	isFull := func(change ...func(*job.NewJob)) bool {
		t.Helper()
		c, err := b.Create(t.Context(), newJob(append(change, of("a"))...))
		if full, ok := errors.AsType[*job.FullError](err); ok {
			if !full.Bytes || full.Limit != most || full.Depth == 0 || full.Depth > most {
				t.Errorf("%+v", full)
			}
			return true
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Cancel(t.Context(), c.Job.ID); err != nil {
			t.Error(err)
		}
		return false
	}
	first, second := b.create(t, newJob(of("a"), large)), b.create(t, newJob(of("a"), large))
	if !isFull(large) {
		t.Error("a third waits")
	}
	if isFull() {
		t.Error("a small one is refused")
	}
	b.create(t, newJob(of("b"), large))
	if _, err := b.Cancel(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if isFull(large) {
		t.Error("what was cancelled still counts")
	}
	res := job.Outcome{State: job.Completed, Result: &job.Result{Status: job.StatusOK, Stdout: strings.Repeat("y", 90_000)}}
	if err := b.Finish(t.Context(), b.claim(t, second), res); err != nil {
		t.Fatal(err)
	}
	if !isFull(large) {
		t.Error("a result does not count")
	}
	b.expire(t, second)
	testenv.Eventually(t, "what has expired does not count", func() bool {
		if _, err := b.Sweep(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		return !isFull(large)
	})
}

// TestBytesOfResults: jobs that were accepted together get no more for their results than their
// caller's share, but for the one that goes beyond it. What is small, and other callers' results, is kept.
func TestBytesOfResults(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{MaxCallerBytes: 100_000})
	cases := []struct {
		caller string
		size   int
		kept   bool
	}{{"a", 60_000, true}, {"a", 60_000, true}, {"a", 60_000, false}, {"a", 500, true}, {"a", 30_000, false}, {"b", 60_000, true}}
	ids := make([]string, len(cases))
	for i, c := range cases {
		ids[i] = b.create(t, newJob(of(c.caller)))
	}
	for i, c := range cases {
		res := job.Outcome{State: job.Completed, Result: &job.Result{Status: job.StatusOK, Stdout: strings.Repeat("y", c.size)}}
		err := b.Finish(t.Context(), b.claim(t, ids[i]), res)
		if kept := err == nil; kept != c.kept || !kept && (!errors.Is(err, job.ErrStoreFull) || !errors.Is(err, job.ErrUnavailable)) {
			t.Errorf("%d: %d bytes of %s: %v", i, c.size, c.caller, err)
		}
	}
}

// TestRoomInRedis: no job is accepted that would leave no room for the results of what runs.
func TestRoomInRedis(t *testing.T) {
	t.Parallel()
	rdb := testenv.OwnRedis(t, "--maxmemory", "20mb").Client(t)
	b := setupOn(t, rdb, store.Config{OneCaller: true})
	claim := b.claim(t, b.create(t, newJob()))
	fill := func(name string, size int) {
		for i := 0; rdb.Set(t.Context(), fmt.Sprint(name, i), strings.Repeat("x", size), 0).Err() == nil; i++ { //nolint:revive // until Redis refuses
		}
	}
	fill("x", 64<<10)
	if err := rdb.Del(t.Context(), "x0").Err(); err != nil { // so that there is room for a heartbeat
		t.Fatal(err)
	}
	b = setupOn(t, rdb, store.Config{}) // which knows nothing yet
	if _, err := b.Create(t.Context(), newJob()); !errors.Is(err, job.ErrStoreFull) {
		t.Errorf("create: %v", err)
	}
	full := job.Outcome{State: job.Completed, Result: &job.Result{Status: job.StatusOK, Stdout: strings.Repeat("y", 1<<20)}}
	fill("y", 1<<10)
	if err := b.Finish(t.Context(), claim, full); !errors.Is(err, job.ErrStoreFull) || !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("finish: %v", err)
	}
}

// TestRoomForOthers: callers who take all of Redis that they can, with whatever is recorded, leave some
// for another, again and again. A limit of the caller's own does not change that.
func TestRoomForOthers(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	const size = 100_000
	result := job.Outcome{State: job.Completed, Result: &job.Result{Status: job.StatusOK, Stdout: strings.Repeat("y", size)}}
	large := func(n *job.NewJob) { n.Spec.Stdin = strings.Repeat("x", size) }
	for name, fill := range map[string]func(b *bundle, caller string) error{
		"jobs": func(b *bundle, caller string) error {
			_, err := b.Create(t.Context(), newJob(of(caller), large))
			return err
		},
		"results": func(b *bundle, caller string) error {
			c, err := b.Create(t.Context(), newJob(of(caller)))
			if err != nil {
				return err
			}
			return b.Finish(t.Context(), b.claim(t, c.Job.ID), result)
		},
		"sessions": func(b *bundle, caller string) error {
			_, err := b.OpenSession(t.Context(), job.NewSession{
				Session: job.Session{ID: newID(), IdleTimeout: time.Hour, MaxAge: time.Hour}, Caller: caller,
				Spec: job.SessionSpec{Envs: map[string]string{"A": strings.Repeat("x", size)}}, Candidates: []job.Candidate{{Runner: b.runner, Most: 1e6}},
			})
			return err
		},
		"schedules": func(b *bundle, caller string) error {
			sc := newSchedule(caller, job.OverlapSkip)
			sc.Job.Code = strings.Repeat("x", size)
			_, err := b.AddSchedule(t.Context(), sc)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupOn(t, testenv.OwnRedis(t, "--maxmemory", "64mb").Client(t), store.Config{MaxCallerBytes: 1 << 30})
			if name == "jobs" {
				b = setupOn(t, b.rdb, store.Config{})
			}
			for _, caller := range []string{"a", "b", "c", "d"} {
				n := 0
				var err error
				for ; err == nil; n++ {
					b.LookAtMemory(t.Context()) // which it does now and then
					err = fill(b, caller)
				}
				full, isFull := errors.AsType[*job.FullError](err)
				if n < 10 || (!isFull || !full.Bytes) && !errors.Is(err, job.ErrStoreFull) {
					t.Errorf("caller %s had room for %d: %v", caller, n, err)
				}
				if p, err := b.PresentUse(t.Context(), caller); err != nil || isFull && (p.Bytes != job.InUse{Used: full.Depth, Allowed: full.Limit}) {
					t.Errorf("caller %s is shown %+v, and was refused with %+v: %v", caller, p.Bytes, full, err)
				}
			}
			b.LookAtMemory(t.Context())
			if _, err := b.Create(t.Context(), newJob(of("e"), large)); err != nil {
				t.Errorf("the last one: %v", err)
			}
		})
	}
}

// TestBytesOfEvents: what the events of a job take counts with it, and beyond the share of its caller only
// those are kept that the code waits for.
func TestBytesOfEvents(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{MaxCallerBytes: 100_000})
	b.rdb.AddHook(twice{})
	id := b.create(t, newJob(of("a"), func(n *job.NewJob) { n.Events = true }))
	claim := b.claim(t, id)
	held := func() int64 {
		n, err := b.rdb.HGet(t.Context(), "{kaa}:bytes", "a").Int64()
		if err != nil && !errors.Is(err, redis.Nil) {
			t.Fatal(err)
		}
		return n
	}
	before := held()
	event := func(seq uint64, kind job.EventType, size int) job.Event {
		return job.Event{ID: job.EventID{Attempt: 1, Seq: seq}, Type: kind, Size: 1, Data: []byte(`{"request":1,"text":"` + strings.Repeat("x", size) + `"}`)}
	}
	for seq := range uint64(5) {
		if err := b.AppendEvents(t.Context(), claim, job.EventID{}, []job.Event{event(seq+1, job.EventStream, 40_000)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.AppendEvents(t.Context(), claim, job.EventID{}, []job.Event{event(6, job.EventStream, 10), event(7, job.EventInput, 10)}); err != nil {
		t.Fatal(err)
	}
	events, err := b.Events(t.Context(), id, job.EventID{}, 10)
	if err != nil || len(events) != 4 || events[3].Type != job.EventInput {
		t.Errorf("%d events are kept, want three and the request for input: %v", len(events), err)
	}
	if n := held() - before; n < 124_000 || n > 125_000 {
		t.Errorf("they count %d bytes", n)
	}
	if err := b.Finish(t.Context(), claim, job.Outcome{State: job.Failed, Failure: &job.Failure{Code: job.FailWorker}}); err != nil {
		t.Fatal(err)
	}
	if n := held(); n < 120_000 {
		t.Errorf("after the end all counts %d bytes", n)
	}
	if _, err := b.Remove(t.Context(), id); err != nil || held() != 0 {
		t.Errorf("after the removal it counts %d bytes: %v", held(), err)
	}
}

// TestBytesAreReleased: what a caller's records take does not count any more when they are gone.
func TestBytesAreReleased(t *testing.T) {
	t.Parallel()
	const brief = 10 * time.Millisecond
	w := &tenantWorld{t: t, bundle: setup(t, store.Config{
		MaxCallerBytes: 1 << 30, TombstoneTTL: brief, IdempotencyTTL: brief, HookTTL: brief, UsageTTL: time.Hour,
	})}
	short := func(n *job.NewJob) { n.Job.ResultTTL = brief }
	w.ended(short)
	w.ended(short, hooked, func(n *job.NewJob) { n.IdempotencyKey, n.Scope, n.Fingerprint = w.key(), tenant, "print" })
	sc := w.addSchedule(t, newSchedule(tenant, job.OverlapSkip))
	sc.Job.Code = strings.Repeat("x", 10_000)
	_, err := w.ChangeSchedule(t.Context(), sc, job.NextDue{At: sc.Due})
	w.must(err)
	batch := w.batch(w.key())
	w.must(w.CancelBatch(t.Context(), batch))
	w.must(w.Fed(t.Context(), job.BatchProgress{ID: batch}, 2, job.Cancelled))
	w.must(w.RemoveBatch(t.Context(), batch))
	ended, live := w.session(), w.session()
	w.must(w.ChangeSession(t.Context(), live, job.Viewer{Caller: tenant}, job.SessionChange{Metadata: []byte(`{}`), MaxAge: 2 * time.Hour}))
	w.must(w.ForkSession(t.Context(), live, "r", 100, job.SessionBounds{}, []string{newID()}))
	w.must(w.EndSession(t.Context(), ended, job.SessionEnd{Reason: job.EndDeleted}))
	if n := w.held(); n < 40_000 {
		t.Errorf("they count %d bytes", n)
	}
	w.must(w.DropSchedule(t.Context(), sc))
	w.must(w.DropSchedule(t.Context(), sc))
	if n, err := w.LeaveSessions(t.Context(), "r", false); err != nil || n != 2 {
		t.Errorf("%d sessions end: %v", n, err)
	}
	testenv.Eventually(t, "nothing counts", func() bool {
		if _, err := w.Sweep(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
		return w.held() == 0
	})
}
