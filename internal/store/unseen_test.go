package store_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// TestUnseenTakesTheSameSteps: a record of another tenant takes as many round trips as one that never was, and is not read further. So neither
// the time of the answer nor a large result says that it exists.
func TestUnseenTakesTheSameSteps(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{TombstoneTTL: time.Hour})
	count := new(trips)
	b.rdb.AddHook(count)
	queued := b.create(t, newJob(of("@acme")))
	large := b.create(t, newJob(of("@acme")))
	if err := b.Finish(t.Context(), b.claim(t, large), job.Outcome{State: job.Completed, Result: &job.Result{Status: job.StatusOK, Stdout: strings.Repeat("a", 1<<20)}}); err != nil {
		t.Fatal(err)
	}
	gone := b.create(t, newJob(of("@acme")))
	if _, err := b.Cancel(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	b.rdb.Del(t.Context(), "{kaa}:job:"+gone) // it has expired
	batch := b.openBatchOf(t, job.NewBatch{Caller: "@acme", ResultTTL: time.Hour})
	ended := b.endedBatch(t, "@acme", false)
	reads := map[string]func(id string) error{
		"get": func(id string) error { _, err := b.Get(job.Viewer{Caller: "@rival"}.In(t.Context()), id); return err },
		"summary": func(id string) error {
			_, err := b.Summary(job.Viewer{Caller: "@rival"}.In(t.Context()), id)
			return err
		},
		"batch": func(id string) error { _, err := b.Batch(job.Viewer{Caller: "@rival"}.In(t.Context()), id); return err },
	}
	never := job.NewBatchID()
	for name, c := range map[string]struct {
		kind, id, never string
		gone            bool
	}{
		"a job that waits": {"get", queued, newID(), false}, "one with a large result": {"get", large, newID(), false}, "its summary": {"summary", large, newID(), false},
		"one that has expired": {"get", gone, newID(), true}, "one of a batch, without a record": {"get", job.BatchJobID(batch, 0), job.BatchJobID(never, 0), false},
		"one of a batch that was cancelled": {"summary", job.BatchJobID(ended, 0), job.BatchJobID(never, 0), false},
		"a batch":                           {"batch", batch, never, false}, "a batch that has ended": {"batch", ended, never, true},
	} {
		var err error
		took := count.count(func() { err = reads[c.kind](c.id) })
		if want := count.count(func() { _ = reads[c.kind](c.never) }); took != want {
			t.Errorf("%s takes %d round trips, and one that never was %d", name, took, want)
		}
		switch hidden := (*job.PrivateGoneError)(nil); {
		case c.gone && errors.As(err, &hidden) && hidden.Owner == "@acme": // the service hides it
		case !c.gone && (errors.Is(err, job.ErrNotFound) || errors.Is(err, job.ErrNoBatch)):
		default:
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, v := range []job.Viewer{{Caller: "@acme"}, {All: true}} {
		if j, err := b.Get(v.In(t.Context()), large); err != nil || len(j.Result.Stdout) != 1<<20 {
			t.Errorf("for %+v: %v", v, err)
		}
		if _, err := b.Batch(v.In(t.Context()), batch); err != nil {
			t.Errorf("the batch for %+v: %v", v, err)
		}
		if j, err := b.Get(v.In(t.Context()), job.BatchJobID(batch, 0)); err != nil || !j.Unfed {
			t.Errorf("its job for %+v: %+v, %v", v, j, err)
		}
	}
}
