package runner_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/runner"
)

// oneChunk is a store with one batch of one chunk. Each round trip takes a millisecond.
type oneChunk struct {
	runner.Batches
	progress job.BatchProgress
	created  []int // jobs of each round trip
	fed      chan time.Time
}

func (o *oneChunk) OpenBatches(context.Context) ([]string, error) {
	return []string{o.progress.ID}, nil
}
func (o *oneChunk) StopFeeding(context.Context, string) error { return nil }
func (o *oneChunk) LeadFeeding(context.Context, string, time.Duration) (bool, error) {
	return true, nil
}

func (o *oneChunk) BatchProgress(context.Context, string) (job.BatchProgress, error) {
	return o.progress, nil
}

func (o *oneChunk) MendBatch(context.Context, job.BatchProgress, int) (int, error) { return 0, nil }
func (o *oneChunk) NextChunk(context.Context, job.BatchProgress) ([]job.NewJob, int, error) {
	return make([]job.NewJob, o.progress.Jobs), int(o.progress.Jobs), nil
}

func (o *oneChunk) CreateAll(_ context.Context, jobs []job.NewJob) []job.Created {
	time.Sleep(time.Millisecond)
	o.created = append(o.created, len(jobs))
	made := make([]job.Created, len(jobs))
	for i := range made {
		made[i].Enqueued = true
	}
	return made
}

func (o *oneChunk) Fed(_ context.Context, _ job.BatchProgress, count int, _ job.State) error {
	o.progress.Next += int64(count)
	o.fed <- time.Now()
	return nil
}

// TestFeederLeavesRedisToOthers: the feeder records few jobs in a round trip, and pauses in between unless few of the batch are ahead.
func TestFeederLeavesRedisToOthers(t *testing.T) {
	t.Parallel()
	for ahead, want := range map[int64]time.Duration{0: 4 * time.Millisecond, 1000: 8 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			store := &oneChunk{progress: job.BatchProgress{ID: "b", State: job.BatchRunning, Jobs: 50, Ahead: ahead}, fed: make(chan time.Time, 1)}
			f := runner.NewFeeder(runner.FeederConfig{Process: "p", Batches: store, Submitted: func(string) {}, Log: slog.New(slog.DiscardHandler)})
			began := time.Now()
			f.Start(t.Context())
			took := (<-store.fed).Sub(began)
			if err := f.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if took != want || len(store.created) != 4 || store.created[0] != 16 || store.created[3] != 2 {
				t.Errorf("with %d ahead it took %s, in round trips of %v; want %s", ahead, took, store.created, want)
			}
		})
	}
}
