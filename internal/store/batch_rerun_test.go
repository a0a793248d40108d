package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// TestKeptLinesCount: lines that are kept stay among the bytes of the caller until the batch is deleted.
func TestKeptLinesCount(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	id := job.NewBatchID()
	if _, err := b.OpenBatch(t.Context(), job.NewBatch{ID: id, Writer: "w", ResultTTL: time.Hour, Keep: true}); err != nil {
		t.Fatal(err)
	}
	n := newJob()
	data, codes, err := b.PackBatch([]*job.NewJob{&n})
	if err != nil {
		t.Fatal(err)
	}
	to := job.BatchPlace{Lines: 1, Jobs: 1}
	if err := b.AddToBatch(t.Context(), job.BatchChunk{Batch: id, Writer: "w", To: to, Data: data, Codes: codes}); err != nil {
		t.Fatal(err)
	}
	if err := b.CloseBatch(t.Context(), id, "w", 1); err != nil {
		t.Fatal(err)
	}
	held := func() int64 {
		n, err := b.rdb.HGet(t.Context(), "{kaa}:bytes", "*").Int64()
		if err != nil && !errors.Is(err, redis.Nil) {
			t.Fatal(err)
		}
		return n
	}
	before := held()
	if err := b.CancelBatch(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.Fed(t.Context(), job.BatchProgress{ID: id}, 1, job.Cancelled); err != nil {
			t.Fatal(err)
		}
	}
	jobs, err := b.KeptJobs(t.Context(), id, 0, job.MarksOf([]job.State{job.Cancelled}, nil))
	if err != nil || len(jobs) != 1 || jobs[0].Spec.Code != n.Spec.Code || held() != before+256 { // of its tombstone
		t.Errorf("%+v, %v; %d bytes, before the end %d", jobs, err, held(), before)
	}
	if err := b.RemoveBatch(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if keys := b.rdb.Keys(t.Context(), "{kaa}:batch:*").Val(); len(keys) > 0 || held() != 0 {
		t.Errorf("left: %v, %d bytes", keys, held())
	}
}
