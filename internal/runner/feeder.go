package runner

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Batches are the store's methods for feeding batches.
type Batches interface {
	// OpenBatches returns the batches that have not ended, oldest first.
	OpenBatches(ctx context.Context) ([]string, error)
	// LeadFeeding reports whether a process is the one that feeds batches, for period after the last
	// call. StopFeeding lets another one do it at once.
	LeadFeeding(ctx context.Context, process string, period time.Duration) (bool, error)
	StopFeeding(ctx context.Context, process string) error
	// BatchProgress returns how far a batch is. job.ErrNoBatch: it is gone.
	BatchProgress(ctx context.Context, id string) (job.BatchProgress, error)
	// NextChunk returns those jobs of the next chunk that have no record and have not ended, and the
	// number of its indexes. job.ErrChunkLost: it cannot be read.
	NextChunk(ctx context.Context, p job.BatchProgress) ([]job.NewJob, int, error)
	// CancelChunks ends the jobs without a record of the next chunks, and returns the number of these chunks.
	CancelChunks(ctx context.Context, p job.BatchProgress) (int, error)
	CreateAll(ctx context.Context, jobs []job.NewJob) []job.Created
	// Fed says that the next chunk is in records. With to, those of its jobs that have no record end
	// in that state.
	Fed(ctx context.Context, p job.BatchProgress, count int, to job.State) error
	// Unended returns the jobs that were fed and have not ended.
	Unended(ctx context.Context, p job.BatchProgress, most int) ([]string, error)
	// CancelAll cancels jobs. One that has ended is no error.
	CancelAll(ctx context.Context, ids []string) error
	// GiveUpBatch ends the receiving of a batch.
	GiveUpBatch(ctx context.Context, id string, f job.Failure) error
	// MendBatch counts jobs that have ended without being counted.
	MendBatch(ctx context.Context, p job.BatchProgress, most int) (int, error)
	Enqueued(ctx context.Context, tasks ...job.Task) error
}

// FeederConfig are the parts and bounds of a Feeder.
type FeederConfig struct {
	Process string // its name
	Batches Batches
	Enqueue Enqueue
	// Submitted is called for each job that was recorded, with its queue.
	Submitted func(queue string)
	Log       *slog.Logger
	// Ahead is how many jobs of a batch may have a record and not have ended; 4,000.
	Ahead int
	// ReceiveWithin is how long nothing may come of a batch that is being received; 1 h.
	ReceiveWithin time.Duration
}

const (
	// feedEvery is the time between two looks while there are batches, and idleFeed the time if there
	// are none. A message announces work.
	feedEvery = time.Second
	idleFeed  = 20 * time.Second
	// feedLease is how long the process that feeds may be silent.
	feedLease = 5 * time.Second
	// feedAtOnce is how many jobs are recorded in one round trip. Beyond feedHurry jobs with a record there is a pause after each,
	// as long as the round trip, and feedPause at most.
	feedAtOnce = 16
	feedHurry  = 500
	feedPause  = 20 * time.Millisecond
	// mostMended is how many jobs of a batch are looked up at once.
	mostMended = 256
)

// Feeder makes records of the jobs of batches, some thousands ahead of those that run. Each API process has
// one, and one of them works at a time. It may die at any step: a job's id follows from its batch and
// its index, so what it did is found done.
type Feeder struct {
	cfg  FeederConfig
	wake chan struct{}
	stop context.CancelFunc
	done sync.WaitGroup
}

// NewFeeder returns a feeder that has not started yet.
func NewFeeder(cfg FeederConfig) *Feeder {
	cfg.Ahead = cmp.Or(cfg.Ahead, 4000)
	cfg.ReceiveWithin = cmp.Or(cfg.ReceiveWithin, time.Hour)
	return &Feeder{cfg: cfg, wake: make(chan struct{}, 1)}
}

// Start begins to feed; Close ends it.
func (f *Feeder) Start(ctx context.Context) {
	ctx, f.stop = context.WithCancel(context.WithoutCancel(ctx))
	f.done.Go(func() { f.run(ctx) })
}

// Close ends the feeding, waits for it, and lets another process go on.
func (f *Feeder) Close(ctx context.Context) error {
	f.stop()
	f.done.Wait()
	return f.cfg.Batches.StopFeeding(ctx, f.cfg.Process)
}

// Due makes the feeder look at once. It never blocks.
func (f *Feeder) Due() {
	select {
	case f.wake <- struct{}{}:
	default: // a look is due already
	}
}

func (f *Feeder) run(ctx context.Context) {
	for ctx.Err() == nil {
		pause := feedEvery
		some, err := f.look(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			f.cfg.Log.WarnContext(ctx, "batches were not fed: will try again", slog.Any("err", err))
		case !some:
			pause = idleFeed
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-f.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// look does what is to be done now. some: there are batches.
func (f *Feeder) look(ctx context.Context) (some bool, err error) {
	ids, err := f.cfg.Batches.OpenBatches(ctx)
	if err != nil || len(ids) == 0 {
		return false, err
	}
	// Batches take turns, a chunk each, so a long one does not keep the others waiting.
	for len(ids) > 0 {
		mine, err := f.cfg.Batches.LeadFeeding(ctx, f.cfg.Process, feedLease)
		if err != nil || !mine {
			return true, err
		}
		var next []string
		for _, id := range ids {
			more, err := f.step(ctx, id)
			switch {
			case errors.Is(err, job.ErrNoBatch):
			case errors.Is(err, job.ErrFull), errors.Is(err, job.ErrStoreFull): // there will be room
			case err != nil:
				return true, err
			case more:
				next = append(next, id)
			}
		}
		ids = next
	}
	return true, nil
}

// step does one thing for a batch. more: there is another one to do now.
func (f *Feeder) step(ctx context.Context, id string) (more bool, err error) {
	p, err := f.cfg.Batches.BatchProgress(ctx, id)
	if err != nil {
		return false, err
	}
	switch p.State {
	case job.BatchReceiving:
		if time.Since(p.ReceivedAt) > f.cfg.ReceiveWithin {
			return true, f.giveUp(ctx, p)
		}
		if !p.Skip {
			return false, nil // a line that is still to come may refuse it
		}
		return f.feed(ctx, p)
	case job.BatchRunning:
		if n, err := f.cfg.Batches.MendBatch(ctx, p, mostMended); err != nil {
			return false, err
		} else if n > 0 {
			f.cfg.Log.WarnContext(ctx, "jobs of a batch had ended without being counted", slog.String("batch_id", p.ID), slog.Int("jobs", n))
		}
		return f.feed(ctx, p)
	case job.BatchCancelling:
		return f.cancel(ctx, p)
	case job.BatchCompleted, job.BatchCancelled, job.BatchFailed:
	}
	return false, nil
}

func (f *Feeder) giveUp(ctx context.Context, p job.BatchProgress) error {
	err := f.cfg.Batches.GiveUpBatch(ctx, p.ID, job.Failure{
		Code: job.FailIncomplete, Message: "nothing more of the batch came for " + f.cfg.ReceiveWithin.String(),
	})
	if errors.Is(err, job.ErrBatchEnded) {
		return nil
	}
	return err
}

// feed records the jobs of the next chunk, if the batch has not enough ahead.
func (f *Feeder) feed(ctx context.Context, p job.BatchProgress) (more bool, err error) {
	if p.Next >= p.Jobs || p.Ahead >= int64(f.cfg.Ahead) {
		return false, nil
	}
	jobs, count, err := f.cfg.Batches.NextChunk(ctx, p)
	if errors.Is(err, job.ErrChunkLost) {
		f.cfg.Log.ErrorContext(ctx, "a part of a batch is lost: its jobs fail", slog.String("batch_id", p.ID), slog.Int64("first", p.Next), slog.Int("jobs", count), slog.Any("err", err))
		return count > 0, f.cfg.Batches.Fed(ctx, p, count, job.Failed)
	}
	if err != nil {
		return false, err
	}
	if err := f.create(ctx, p, jobs); err != nil {
		return false, err
	}
	return true, f.cfg.Batches.Fed(ctx, p, count, "")
}

// create records jobs. Where enough jobs of the batch have a record, the feeder leaves Redis to others for as long as it has used it.
func (f *Feeder) create(ctx context.Context, p job.BatchProgress, jobs []job.NewJob) error {
	for some := range slices.Chunk(jobs, feedAtOnce) {
		began := time.Now()
		if err := f.record(ctx, f.cfg.Batches.CreateAll(ctx, some)); err != nil {
			return err
		}
		if p.Ahead >= feedHurry {
			wait(ctx, min(time.Since(began), feedPause))
		}
	}
	return nil
}

// record enqueues jobs that were recorded, and returns the first error of one that was not.
func (f *Feeder) record(ctx context.Context, created []job.Created) (failed error) {
	var enqueued []job.Task
	for _, c := range created {
		switch {
		case errors.Is(c.Err, job.ErrBatchStopped): // it has ended, or the batch is being cancelled
			continue
		case c.Err != nil:
			if failed == nil {
				failed = c.Err
			}
			continue
		}
		f.cfg.Submitted(c.Job.Queue)
		if c.Held || c.Enqueued {
			continue
		}
		if err := f.cfg.Enqueue(ctx, c.Job.Task()); err != nil {
			f.cfg.Log.WarnContext(ctx, "task was not enqueued: left to the outbox", slog.String("job_id", c.Job.ID), slog.Any("err", err))
			continue
		}
		enqueued = append(enqueued, c.Job.Task())
	}
	if len(enqueued) > 0 {
		if err := f.cfg.Batches.Enqueued(ctx, enqueued...); err != nil {
			f.cfg.Log.WarnContext(ctx, "enqueueing was not confirmed: left to the outbox", slog.Any("err", err))
		}
	}
	return failed
}

// cancel ends the jobs of a batch: those without a record chunk by chunk, then those with one.
func (f *Feeder) cancel(ctx context.Context, p job.BatchProgress) (more bool, err error) {
	if p.Next < p.Jobs {
		chunks, err := f.cfg.Batches.CancelChunks(ctx, p)
		return chunks > 0, err
	}
	ids, err := f.cfg.Batches.Unended(ctx, p, 0)
	if err != nil || len(ids) == 0 {
		return false, err
	}
	// The newest first: an older one that ends makes room for one that is held, which then would be enqueued.
	slices.Reverse(ids)
	if err := f.cfg.Batches.CancelAll(ctx, ids); err != nil {
		return false, err
	}
	_, err = f.cfg.Batches.MendBatch(ctx, p, mostMended)
	return false, err
}
