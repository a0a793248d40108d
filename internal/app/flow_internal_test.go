package app

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

// TestFlow: counts go into the sample of their time once, also if Redis was away meanwhile, and are given up with their samples.
func TestFlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got := map[int64]map[string]job.QueueCount{}
		var away atomic.Bool // read by the flow's goroutine
		f := newFlow(0, func(_ context.Context, counts map[int64]map[string]job.QueueCount) error {
			if away.Load() {
				return errors.New("away")
			}
			for number, queues := range counts {
				for q, c := range queues {
					if _, twice := got[number][q]; twice {
						t.Errorf("sample %d gets %+v of %s, too", number, c, q)
					}
					if got[number] == nil {
						got[number] = map[string]job.QueueCount{}
					}
					got[number][q] = c
				}
			}
			return nil
		}, slog.New(slog.DiscardHandler))
		f.start(t.Context())
		f.start(t.Context()) // by the other part of the process
		begin := job.SampleNumber(time.Now())
		away.Store(true)
		f.count("default", job.QueueCount{Accepted: 1})
		f.count(job.OperationQueue, job.QueueCount{Accepted: 1})
		time.Sleep(2 * job.SamplesFor)
		f.count("default", job.QueueCount{Accepted: 2})
		f.count("low", job.QueueCount{Ended: 1, Failed: 1, Waited: time.Second, Took: time.Minute})
		time.Sleep(job.SampleEvery)
		f.count("default", job.QueueCount{Accepted: 3})
		away.Store(false)
		if err := f.close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := f.close(t.Context()); err != nil {
			t.Fatal(err)
		}
		later := begin + int64(2*job.SamplesFor/job.SampleEvery)
		want := map[int64]map[string]job.QueueCount{
			later:     {"default": {Accepted: 2}, "low": {Ended: 1, Failed: 1, Waited: time.Second, Took: time.Minute}},
			later + 1: {"default": {Accepted: 3}},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("counts (-want +got):\n%s", diff)
		}
	})
}
