package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// openBatch records a batch that waits for lines.
func (b *bundle) openBatch(t *testing.T) string {
	t.Helper()
	id := job.NewBatchID()
	known, err := b.OpenBatch(t.Context(), job.NewBatch{ID: id, Writer: "w", ResultTTL: time.Hour})
	if err != nil || known != "" {
		t.Fatal(known, err)
	}
	return id
}

func afterBatch(id string) func(*job.NewJob) {
	return func(n *job.NewJob) { n.Job.State, n.Job.After = job.Scheduled, id }
}

// dueIDs are the jobs whose tasks are to be enqueued now.
func (b *bundle) dueIDs(t *testing.T) (ids []string) {
	t.Helper()
	due, _, err := b.Due(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range due {
		ids = append(ids, task.JobID)
	}
	return ids
}

func (b *bundle) waitsForBatch(t *testing.T, id string) bool {
	t.Helper()
	why, err := b.WaitsFor(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return why == job.WaitBatch
}

// TestAfterBatch: a job is due at the end of the batch, however often that is told, and at once if the batch has ended.
func TestAfterBatch(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	batch := b.openBatch(t)
	n := newJob(afterBatch(batch))
	id, cancelled := b.create(t, n), b.create(t, newJob(afterBatch(batch)))
	b.create(t, n) // twice is once
	if state, err := b.Cancel(t.Context(), cancelled); err != nil || state != job.Cancelled {
		t.Fatal(state, err)
	}
	if left := b.rdb.SMembers(t.Context(), "{kaa}:batch:"+batch+":after").Val(); len(left) != 1 {
		t.Errorf("waiting: %v", left)
	}
	if _, err := b.Sweep(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if due := b.dueIDs(t); len(due) != 0 || !b.waitsForBatch(t, id) {
		t.Errorf("before the end: %v", due)
	}
	for range 2 {
		if err := b.CancelBatch(t.Context(), batch); err != nil && !errors.Is(err, job.ErrBatchEnded) {
			t.Fatal(err)
		}
		if due := b.dueIDs(t); len(due) != 1 || due[0] != id || b.waitsForBatch(t, id) {
			t.Errorf("after the end: %v", due)
		}
	}
	if c := b.claim(t, id); c.Attempt != 1 {
		t.Errorf("attempt %d", c.Attempt)
	}
	late := b.create(t, newJob(afterBatch(batch)))
	if due := b.dueIDs(t); len(due) != 1 || due[0] != late || b.waitsForBatch(t, late) {
		t.Errorf("after a batch that has ended: %v", due)
	}
	if keys := b.rdb.Keys(t.Context(), "{kaa}:batch*after*").Val(); len(keys) > 0 || b.rdb.Exists(t.Context(), "{kaa}:batches:awaited").Val() != 0 {
		t.Errorf("left: %v", keys)
	}
	if _, err := b.Create(t.Context(), newJob(afterBatch(job.NewBatchID()))); !errors.Is(err, job.ErrNoBatch) {
		t.Errorf("after no batch: %v", err)
	}
}

// TestAfterBatchIsRepaired: the sweep sees to jobs whose batch ended, expired or went without them.
func TestAfterBatchIsRepaired(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lose  func(b *bundle, batch string) error
		state job.State
		due   bool
	}{
		"an older process has ended it": {func(b *bundle, batch string) error {
			return b.rdb.HSet(t.Context(), "{kaa}:batch:"+batch, "state", "completed").Err()
		}, job.Scheduled, true},
		"it has expired": {func(b *bundle, batch string) error {
			b.rdb.Set(t.Context(), "{kaa}:gone:"+batch, "1", time.Hour)
			return b.rdb.Del(t.Context(), "{kaa}:batch:"+batch).Err()
		}, job.Scheduled, true},
		"an older process has deleted it": {func(b *bundle, batch string) error {
			return b.rdb.Del(t.Context(), "{kaa}:batch:"+batch).Err()
		}, job.Failed, false},
		"a bad line has deleted it": {func(b *bundle, batch string) error {
			return b.LeaveBatch(t.Context(), batch, "w", true)
		}, job.Failed, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, store.Config{})
			batch := b.openBatch(t)
			id := b.create(t, newJob(afterBatch(batch)))
			if err := c.lose(b, batch); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := b.Sweep(t.Context(), 10); err != nil {
					t.Fatal(err)
				}
			}
			j, due := b.get(t, id), b.dueIDs(t)
			if j.State != c.state || (len(due) == 1) != c.due || j.After != batch {
				t.Errorf("%s, due: %v", j.State, due)
			}
			if c.state == job.Failed && (j.Failure == nil || j.Failure.Code != job.FailBatchDeleted) {
				t.Errorf("failure: %+v", j.Failure)
			}
			if n := b.rdb.Exists(t.Context(), "{kaa}:batches:awaited", "{kaa}:batch:"+batch+":after").Val(); n != 0 {
				t.Errorf("%d keys are left", n)
			}
		})
	}
}

// TestAfterBatchIsBounded: the script that ends a batch has little to do.
func TestAfterBatchIsBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	batch := b.openBatch(t)
	ids := make([]any, 1000)
	for i := range ids {
		ids[i] = job.NewBatchID()
	}
	b.rdb.SAdd(t.Context(), "{kaa}:batch:"+batch+":after", ids...)
	var full *job.AwaitedError
	if _, err := b.Create(t.Context(), newJob(afterBatch(batch))); !errors.As(err, &full) || full.Limit != 1000 {
		t.Errorf("%v", err)
	}
}
