package store_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// TestCancelAll: jobs are cancelled many in a round trip, whatever state they are in.
func TestCancelAll(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	count := new(trips)
	b.rdb.AddHook(count)
	ids, _ := b.createMany(t, 40)
	claim := b.claim(t, ids[0])
	if err := b.Finish(t.Context(), b.claim(t, ids[1]), job.Outcome{State: job.Completed, Result: &job.Result{Status: job.StatusOK}}); err != nil {
		t.Fatal(err)
	}
	b.create(t, newJob()) // and another job
	if _, err := b.Cancel(t.Context(), ids[2]); err != nil {
		t.Fatal(err)
	}
	all := append(slices.Clone(ids), newID())
	for range 2 {
		if got := count.count(func() {
			if err := b.CancelAll(t.Context(), all); err != nil {
				t.Error(err)
			}
		}); got != 4 { // the last one is looked up by itself
			t.Errorf("%d round trips for %d jobs", got, len(all))
		}
	}
	for i, id := range ids {
		want := job.Cancelled
		switch i {
		case 0:
			want = job.Running
		case 1:
			want = job.Completed
		}
		if j := b.get(t, id); j.State != want || j.CancelRequested != (i == 0) {
			t.Errorf("job %d is %s, cancel requested %t", i, j.State, j.CancelRequested)
		}
	}
	if err := b.Finish(t.Context(), claim, job.Outcome{State: job.Cancelled}); err != nil {
		t.Error(err)
	}
}

// TestCancelChunks: the jobs of several chunks end in a round trip without being recorded; one that has a record is left to CancelAll.
func TestCancelChunks(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{TombstoneTTL: time.Hour})
	ctx := t.Context()
	id := job.NewBatchID()
	if _, err := b.OpenBatch(ctx, job.NewBatch{ID: id, Caller: "@acme", Writer: "w", ResultTTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	one := &job.NewJob{Job: job.Job{Queue: "default", MaxAttempts: 1, Timeout: time.Second, ResultTTL: time.Hour}, Spec: job.Spec{Code: "1"}}
	data, codes, err := b.PackBatch([]*job.NewJob{one, one})
	if err != nil {
		t.Fatal(err)
	}
	const chunks = 40
	for i := range int64(chunks) {
		if err := b.AddToBatch(ctx, job.BatchChunk{
			Batch: id, Writer: "w", From: job.BatchPlace{Lines: 2 * i, Jobs: 2 * i}, To: job.BatchPlace{Lines: 2*i + 2, Jobs: 2*i + 2}, Data: data, Codes: codes,
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.CloseBatch(ctx, id, "w", 2*chunks); err != nil {
		t.Fatal(err)
	}
	progress := func() job.BatchProgress {
		t.Helper()
		p, err := b.BatchProgress(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	// The feeder of a process that died has recorded one of the first chunk, and noted nothing.
	next, _, err := b.NextChunk(ctx, progress())
	if err != nil {
		t.Fatal(err)
	}
	if c := b.CreateAll(ctx, next[:1])[0]; c.Err != nil {
		t.Fatal(c.Err)
	}
	if err := b.CancelBatch(ctx, id); err != nil {
		t.Fatal(err)
	}
	if _, err := b.CancelChunks(ctx, job.BatchProgress{ID: job.NewBatchID(), Jobs: 5}); !errors.Is(err, job.ErrNoBatch) {
		t.Errorf("no batch: %v", err)
	}
	first := progress()
	count := new(trips) // Redis has the script by now
	b.rdb.AddHook(count)
	for _, want := range []int{32, 8, 0} {
		p := progress()
		if took := count.count(func() {
			if n, err := b.CancelChunks(ctx, p); err != nil || n != want {
				t.Errorf("%d chunks, %v; want %d", n, err, want)
			}
		}); took != int64(1+want/4) {
			t.Errorf("%d chunks take %d round trips", want, took)
		}
	}
	if _, err := b.CancelChunks(ctx, first); err != nil { // by another feeder, late
		t.Error(err)
	}
	if batch, err := b.Batch(ctx, id); err != nil || batch.Counts.Cancelled != 2*chunks-1 || batch.State != job.BatchCancelling {
		t.Errorf("%+v, %v", batch, err)
	}
	left, err := b.Unended(ctx, progress(), 0)
	if err != nil || len(left) != 1 {
		t.Fatal(left, err)
	}
	if err := b.CancelAll(ctx, left); err != nil {
		t.Fatal(err)
	}
	if batch, err := b.Batch(ctx, id); err != nil || batch.Counts.Cancelled != 2*chunks || batch.State != job.BatchCancelled {
		t.Errorf("%+v, %v", batch, err)
	}
}
