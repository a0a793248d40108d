package app

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/runner"
	"github.com/kaa-run/kaa/internal/telemetry"
)

// flow counts what a process accepts and executes, and adds it to the samples of the fleet. A process that does nothing
// sends nothing, and an execution costs no command of its own.
type flow struct {
	every time.Duration
	add   func(ctx context.Context, counts map[int64]map[string]job.QueueCount) error
	log   *slog.Logger

	mu     sync.Mutex
	counts map[int64]map[string]job.QueueCount
	begun  sync.Once
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// flowEvery is the usual period in which counts are added.
const flowEvery = job.SampleEvery / 2

func newFlow(every time.Duration, add func(context.Context, map[int64]map[string]job.QueueCount) error, log *slog.Logger) *flow {
	return &flow{every: cmp.Or(every, flowEvery), add: add, log: log, counts: map[int64]map[string]job.QueueCount{}}
}

// start adds what was counted in each period, until close. API and runner of one process have one flow, and both start and close it.
func (f *flow) start(ctx context.Context) {
	f.begun.Do(func() {
		ctx, f.stop = context.WithCancel(context.WithoutCancel(ctx))
		f.done.Go(func() {
			t := time.NewTicker(f.every)
			defer t.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-t.C:
					f.flush(ctx)
				}
			}
		})
	})
}

// close adds what is left.
func (f *flow) close(ctx context.Context) error {
	f.stop()
	f.done.Wait()
	f.flush(ctx)
	return nil
}

// flush adds the counts. Those that Redis does not take are kept until their samples have expired.
func (f *flow) flush(ctx context.Context) {
	f.mu.Lock()
	counts := f.counts
	f.counts = map[int64]map[string]job.QueueCount{}
	f.mu.Unlock()
	err := f.add(ctx, counts)
	if err == nil {
		return
	}
	f.log.DebugContext(ctx, "counts of the fleet's samples were not written: will try again", slog.Any("err", err))
	f.mu.Lock()
	defer f.mu.Unlock()
	oldest := job.SampleNumber(time.Now().Add(-job.SamplesFor))
	for number, queues := range counts {
		for q, c := range queues {
			if number >= oldest {
				f.countLocked(number, q, c)
			}
		}
	}
}

func (f *flow) countLocked(number int64, queue string, more job.QueueCount) {
	queues := f.counts[number]
	if queues == nil {
		queues = map[string]job.QueueCount{}
		f.counts[number] = queues
	}
	c := queues[queue]
	queues[queue] = job.QueueCount{
		Accepted: c.Accepted + more.Accepted, Ended: c.Ended + more.Ended, Failed: c.Failed + more.Failed, Waited: c.Waited + more.Waited, Took: c.Took + more.Took,
	}
}

func (f *flow) count(queue string, more job.QueueCount) {
	if queue == job.OperationQueue {
		return // operations on sessions are no jobs of a caller
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.countLocked(job.SampleNumber(time.Now()), queue, more)
}

// submitted counts a job that was accepted.
func (s *shared) submitted(queue string) {
	s.metrics.Submitted(queue)
	s.flow.count(queue, job.QueueCount{Accepted: 1})
}

// sample writes down what the queues and the runners have now.
func (s *shared) sample(ctx context.Context) error {
	return s.store.Sample(ctx, time.Now(), append(s.cfg.Queues.Names(), job.SessionQueue))
}

// executions observes the executions of a runner, for its metrics and for the samples.
type executions struct {
	*telemetry.Metrics
	flow *flow
}

var _ runner.Observer = executions{}

// Executed counts an execution that has ended.
func (e executions) Executed(c job.Claim, o job.Outcome, took time.Duration) {
	e.Metrics.Executed(c, o, took)
	count := job.QueueCount{Ended: 1, Waited: c.Waited, Took: took}
	if o.State == job.Failed || o.Result != nil && o.Result.Status != job.StatusOK {
		count.Failed = 1
	}
	e.flow.count(c.Queue, count)
}
