package store_test

import (
	"encoding/json"
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

const tenant = "@acme"

// tenantWorld is a store that a tenant fills.
type tenantWorld struct {
	*bundle
	t *testing.T
	n int // of jobs and keys that were made
}

func (w *tenantWorld) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// job records a job of the tenant.
func (w *tenantWorld) job(change ...func(*job.NewJob)) string {
	w.t.Helper()
	return w.create(w.t, newJob(append([]func(*job.NewJob){of(tenant)}, change...)...))
}

// ended records a job of the tenant, and ends it.
func (w *tenantWorld) ended(change ...func(*job.NewJob)) string {
	w.t.Helper()
	id := w.job(change...)
	w.must(w.Finish(w.t.Context(), w.claim(w.t, id), job.Outcome{State: job.Completed, Result: result()}))
	return id
}

// expire does what Redis does when the time of a record is over.
// expire lets a record run out, and nothing else.
func (w *tenantWorld) expire(id string) { w.must(w.rdb.Del(w.t.Context(), "{kaa}:job:"+id).Err()) }

func (w *tenantWorld) key() string {
	w.n++
	return fmt.Sprint("key-", w.n)
}

func (w *tenantWorld) session() string {
	w.t.Helper()
	return w.openSession(w.t, func(n *job.NewSession) {
		n.Caller, n.Candidates[0].Most = tenant, 1_000_000
		n.Session.Metadata = json.RawMessage(`{"a":"` + strings.Repeat("x", 10_000) + `"}`)
		n.Spec.Envs["B"] = strings.Repeat("y", 10_000)
	}).ID
}

// batch receives a batch of two jobs, of which one line is refused.
func (w *tenantWorld) batch(key string) string {
	w.t.Helper()
	ctx, id := w.t.Context(), job.NewBatchID()
	_, err := w.OpenBatch(ctx, job.NewBatch{
		ID: id, Caller: tenant, Writer: "w", ResultTTL: time.Hour, Skip: true, Name: strings.Repeat("n", 100), Defaults: []byte(strings.Repeat("d", 5000)),
		IdempotencyKey: key, Scope: tenant,
	})
	w.must(err)
	one := newJob(of(tenant))
	data, codes, err := w.PackBatch([]*job.NewJob{&one, nil})
	w.must(err)
	w.must(w.AddToBatch(ctx, job.BatchChunk{
		Batch: id, Writer: "w", To: job.BatchPlace{Lines: 2, Jobs: 2}, Data: data, Codes: codes, Refusals: []job.BatchRefusal{{Index: 1, Line: 2}},
	}))
	return id
}

// kinds are what a tenant can have recorded.
func (w *tenantWorld) kinds() map[string]func() {
	ctx := w.t.Context()
	inSessionOf := func(id string) func(*job.NewJob) {
		return func(n *job.NewJob) { inSession(id, "")(n); n.Caller = tenant }
	}
	return map[string]func(){
		"waiting":   func() { w.job() },
		"scheduled": func() { w.job(scheduled(time.Hour)) },
		"running":   func() { w.claim(w.t, w.job()) },
		"ended":     func() { w.ended() },
		"awaited":   func() { w.ended(func(n *job.NewJob) { n.Subscriber = "api" }) },
		"expired":   func() { w.expire(w.ended()) },
		"repeated": func() {
			w.expire(w.ended(func(n *job.NewJob) {
				n.IdempotencyKey, n.Scope, n.Fingerprint = w.key(), tenant, strings.Repeat("f", 64)
			}))
		},
		"webhook": func() {
			w.ended(hooked, func(n *job.NewJob) { n.Job.Webhook.URL += "/" + strings.Repeat("u", 2000) })
		},
		"delivered": func() {
			w.ended(hooked)
			for _, d := range w.take(w.t) {
				w.must(w.SettleHook(ctx, d, job.Report{State: job.WebhookDelivered}))
			}
		},
		"cancelled": func() {
			_, err := w.Cancel(ctx, w.job())
			w.must(err)
		},
		"removed": func() {
			_, err := w.Remove(ctx, w.ended())
			w.must(err)
		},
		"events": func() {
			id := w.job(withEvents)
			c := w.claim(w.t, id)
			w.must(w.AppendEvents(ctx, c, job.EventID{}, []job.Event{eventAt(1, 1), eventAt(1, 2)}))
			w.must(w.Finish(ctx, c, job.Outcome{State: job.Completed, Result: result()}))
		},
		"files": func() {
			id := w.job(bringing)
			w.must(w.RoomForInputs(ctx, id, tenant, job.Footprint(1)))
		},
		"session": func() { w.session() },
		"named session": func() {
			id := w.openSession(w.t, func(n *job.NewSession) {
				n.Caller, n.Candidates[0].Most, n.Session.Name, n.Session.Workdir = tenant, 1_000_000, strings.Repeat("n", 100)+w.key(), "/"+strings.Repeat("w", 500)
			}).ID
			change := job.SessionChange{Metadata: json.RawMessage(`{"a":"` + strings.Repeat("x", 10_000) + `"}`), MaxAge: 2 * time.Hour}
			w.must(w.ChangeSession(ctx, id, job.Viewer{Caller: tenant}, change))
		},
		"session's executions": func() {
			id := w.session()
			_, err := w.ObserveSession(ctx, id, tenant, job.Observation{})
			w.must(err)
			for range 5 {
				w.job(inSessionOf(id))
			}
		},
		"ended session": func() {
			id := w.session()
			w.job(inSessionOf(id))
			w.must(w.EndSession(ctx, id, job.SessionEnd{Reason: job.EndDeleted, Message: "why"}))
		},
		"forks": func() {
			w.must(w.ForkSession(ctx, w.session(), "r", 1_000_000, job.SessionBounds{}, []string{newID(), newID()}))
		},
		"volume": func() {
			id := w.openSession(w.t, func(n *job.NewSession) {
				n.Caller, n.Candidates[0].Most = tenant, 1_000_000
				n.Spec.Volume = strings.Repeat("v", 100) + w.key()
			}).ID
			v, err := w.TakeVolume(ctx, id, "r")
			w.must(err)
			for range 2 {
				n := job.Snapshot{ID: newID(), Bytes: 1 << 20, Entries: 100}
				w.must(w.RoomForSnapshot(ctx, *v, n.ID, 2<<20))
				w.must(w.SaveVolume(ctx, *v, n))
			}
			w.must(w.EndSession(ctx, id, job.SessionEnd{Reason: job.EndDeleted, Message: "why"}))
			if err := w.LeaveVolume(ctx, *v, strings.Repeat("e", 300), true); !errors.Is(err, job.ErrStale) { // the answer is asked for twice
				w.must(err)
			}
		},
		"batch": func() { w.batch(w.key()) },
		"ended batch": func() {
			id := w.batch("")
			w.must(w.CancelBatch(ctx, id))
			w.must(w.Fed(ctx, job.BatchProgress{ID: id}, 2, job.Cancelled))
		},
		"schedule": func() {
			sc := newSchedule(tenant, job.OverlapQueue)
			sc.Job.Code = strings.Repeat("z", 10_000)
			sc = w.addSchedule(w.t, sc)
			_, err := w.Fire(ctx, runOf(sc, 0), newJob(of(tenant)))
			w.must(err)
		},
	}
}

// held is what counts for the tenant.
func (w *tenantWorld) held() int64 {
	w.t.Helper()
	n, err := w.rdb.HGet(w.t.Context(), "{kaa}:bytes", tenant).Int64()
	if err != nil && err != redis.Nil { //nolint:errorlint // go-redis returns it as it is
		w.t.Fatal(err)
	}
	return n
}

// memory returns the bytes that Redis has for the keys of each kind that the page lists.
func (w *tenantWorld) memory(kinds testenv.KeyKinds) map[string]int64 {
	w.t.Helper()
	sizes := map[string]int64{}
	for _, key := range w.rdb.Keys(w.t.Context(), "*").Val() {
		kind := kinds.Of(key)
		if kind == "" {
			w.t.Errorf("docs/architecture/bounds.md does not list the key %s", key)
		}
		n, err := w.rdb.MemoryUsage(w.t.Context(), key, 0).Result()
		if err != nil && err != redis.Nil { //nolint:errorlint // it expires meanwhile
			w.t.Fatal(err)
		}
		sizes[kind] += n + tableBytes
	}
	return sizes
}

// tableBytes is the room of a key in Redis' table of keys, and in that of expiries.
const tableBytes = 64

// TestAllBytesCount: whatever a tenant has recorded, often, the keys that grow are of kinds that count, and Redis needs no more
// for them than a quarter above what counts: share_of relies on it.
func TestAllBytesCount(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	kinds := testenv.ReadKeyKinds(t)
	const times, fewBytes = 40, 1024 // some entries, but fewer than there were records
	for name := range (&tenantWorld{t: t}).kinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &tenantWorld{t: t, bundle: setup(t, store.Config{UsageTTL: time.Hour, MaxCallerBytes: 1 << 40})}
			w.rdb.AddHook(twice{})
			act := w.kinds()[name]
			look := func() (map[string]int64, int64) {
				if _, err := w.Sweep(t.Context(), 1000); err != nil {
					t.Fatal(err)
				}
				return w.memory(kinds), w.held()
			}
			for range times {
				act()
			}
			before, heldBefore := look()
			for range times {
				act()
			}
			after, held := look()
			grown := int64(0)
			for kind, size := range after {
				if more := size - before[kind]; kinds[kind].Counts {
					grown += more
				} else if more > fewBytes && !kinds[kind].Brief {
					t.Errorf("%s grew by %d bytes, and does not count", kind, more)
				}
			}
			counted := held - heldBefore
			t.Logf(name+": %d bytes each, counted are %d", grown/times, counted/times)
			if grown > counted*5/4+8192 {
				t.Errorf("it takes %d bytes of Redis, and counts %d", grown, counted)
			}
		})
	}
}
