package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

// TestBatchItemsKeepLimits: a job of a batch gets its record later, with the limit of the key that sent it.
func TestBatchItemsKeepLimits(t *testing.T) {
	t.Parallel()
	s := New(nil, Config{})
	n := job.NewJob{
		Job:  job.Job{Queue: "default", State: job.Queued, MaxAttempts: 2, Timeout: time.Second, ResultTTL: time.Minute, Runtime: "py"},
		Spec: job.Spec{Code: "1", Timeout: time.Second}, Caller: "@acme", MostRunning: 3,
	}
	data, _, err := s.PackBatch([]*job.NewJob{&n})
	if err != nil {
		t.Fatal(err)
	}
	items, err := s.unpackItems(string(data))
	if err != nil || len(items) != 1 {
		t.Fatalf("%d items, %v", len(items), err)
	}
	got, err := decodeItem(items[0], "id", "@acme")
	n.Job.ID, n.Job.Owner = "id", "@acme"
	if diff := cmp.Diff(n, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
