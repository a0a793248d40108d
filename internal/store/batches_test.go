package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// TestFeedingTwice: a feeder that dies between two steps makes no job twice, and none whose record is gone
// again.
func TestFeedingTwice(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{TombstoneTTL: time.Hour, IdempotencyTTL: time.Hour})
	s, rdb := b.Store, b.rdb
	ctx := t.Context()
	id := job.NewBatchID()
	if _, err := s.OpenBatch(ctx, job.NewBatch{ID: id, Caller: "@acme", Writer: "w", ResultTTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	jobs := make([]*job.NewJob, 3)
	for i := range jobs {
		jobs[i] = &job.NewJob{Job: job.Job{Queue: "default", MaxAttempts: 1, Timeout: time.Second, ResultTTL: time.Hour}, Spec: job.Spec{Code: "1"}}
	}
	data, codes, err := s.PackBatch(jobs)
	if err != nil {
		t.Fatal(err)
	}
	chunk := job.BatchChunk{Batch: id, Writer: "w", To: job.BatchPlace{Lines: 3, Jobs: 3}, Data: data, Codes: codes}
	for range 2 { // go-redis may repeat it
		if err := s.AddToBatch(ctx, chunk); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := s.CloseBatch(ctx, id, "w", 3); err != nil {
			t.Fatal(err)
		}
	}
	feed := func() []job.Created {
		p, err := s.BatchProgress(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		next, count, err := s.NextChunk(ctx, p)
		if err != nil || count != 3 {
			t.Fatal(count, err)
		}
		return s.CreateAll(ctx, next)
	}
	for _, c := range feed() {
		if c.Err != nil {
			t.Fatal(c.Err)
		}
	}
	first := job.BatchJobID(id, 0)
	if _, err := s.Cancel(ctx, first); err != nil {
		t.Fatal(err)
	}
	rdb.Del(ctx, "{kaa}:job:"+first) // it has expired
	if again := feed(); len(again) != 2 {
		t.Errorf("%d jobs are fed again", len(again))
	}
	one := job.NewJob{Job: job.Job{ID: first, State: job.Queued, Queue: "default", MaxAttempts: 1}, Caller: "@acme"}
	if _, err := s.Create(ctx, one); !errors.Is(err, job.ErrBatchStopped) {
		t.Errorf("a job that has ended is recorded again: %v", err)
	}
	batch, err := s.Batch(ctx, id)
	if err != nil || batch.Counts.Waiting != 2 || batch.Counts.Cancelled != 1 {
		t.Errorf("%+v, %v", batch.Counts, err)
	}
	p, err := s.BatchProgress(ctx, id)
	if err != nil || p.Ahead != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	for range 2 {
		if err := s.Fed(ctx, p, 3, ""); err != nil {
			t.Fatal(err)
		}
	}
	// An older process ends a job without counting it.
	second := job.BatchJobID(id, 1)
	rdb.HSet(ctx, "{kaa}:job:"+second, "state", "completed", "result", `{"status":"ok"}`)
	if p, err = s.BatchProgress(ctx, id); err != nil {
		t.Fatal(err)
	}
	if n, err := s.MendBatch(ctx, p, 10); n != 1 || err != nil {
		t.Errorf("%d jobs are counted: %v", n, err)
	}
	if _, err := s.Cancel(ctx, job.BatchJobID(id, 2)); err != nil {
		t.Fatal(err)
	}
	if batch, err = s.Batch(ctx, id); err != nil || batch.State != job.BatchCompleted || batch.Counts.Statuses[job.StatusOK] != 1 || batch.Counts.Cancelled != 2 {
		t.Errorf("%+v, %v", batch, err)
	}
}
