package service

import (
	"context"
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// Errors of reruns.
var (
	// ErrLinesGone: the lines of a batch were not kept, or have expired.
	ErrLinesGone = errors.New("the lines of the batch are gone")
	// ErrNothingToRerun: no job of the batch ended so.
	ErrNothingToRerun = errors.New("no job of the batch has ended so")
)

// RerunBatch makes a batch of those jobs of an ended batch of the caller that ended with one of these marks. It may die
// at any step: with an idempotency key it goes on after the last chunk that is recorded, as the ends of the jobs do not change any more.
func (s *Service) RerunBatch(ctx context.Context, c Caller, id string, marks job.BatchMarks, idempotencyKey string) (b job.Batch, replayed bool, err error) {
	if err := c.may(access.Execute); err != nil {
		return job.Batch{}, false, err
	}
	of, err := s.ownBatch(ctx, c, id)
	switch {
	case err != nil:
		return job.Batch{}, false, err
	case !of.State.Terminal():
		return job.Batch{}, false, job.ErrBatchUnended
	case !of.Keep:
		return job.Batch{}, false, ErrLinesGone
	}
	sum, err := sha256.New().(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return job.Batch{}, false, fmt.Errorf("begin rerun: %w", err)
	}
	ttl := of.ResultTTL.Seconds()
	r := BatchRequest{
		Name: of.Name, ResultTTL: &ttl, Keep: true, rerun: job.BatchRerun{Of: id, Marks: marks}, Defaults: []byte("{}"), Sum: sum, IdempotencyKey: idempotencyKey,
	}
	w, err := s.BeginBatch(ctx, c, r)
	if err != nil {
		return job.Batch{}, false, err
	}
	defer w.Leave(ctx, false)
	if b, err = s.cfg.Batches.Batch(ctx, w.ID); err != nil {
		return job.Batch{}, false, err
	}
	if b.Rerun != r.rerun {
		return job.Batch{}, false, job.ErrIdempotencyMismatch
	}
	if replayed = w.Complete; !replayed {
		err = s.copyJobs(ctx, w, of, marks)
	}
	if err == nil {
		b, err = w.Close(ctx)
	}
	switch {
	case errors.Is(err, job.ErrChunkLost):
		err = ErrLinesGone
	case errors.Is(err, ErrNoBatchJobs):
		err = ErrNothingToRerun
	}
	if errors.Is(err, ErrLinesGone) {
		w.Leave(ctx, true)
	}
	return b, replayed, err
}

// copyJobs adds the jobs. The number of lines of the new batch is the index in the other one up to which it has them.
func (s *Service) copyJobs(ctx context.Context, w *BatchWriter, of job.Batch, marks job.BatchMarks) error {
	firsts, err := s.cfg.Batches.KeptChunks(ctx, of.ID)
	if err != nil {
		return err
	}
	if len(firsts) == 0 {
		return ErrLinesGone
	}
	for i, first := range firsts {
		if first < w.Place.Lines {
			continue
		}
		after := of.Counts.Jobs
		if i+1 < len(firsts) {
			after = firsts[i+1]
		}
		jobs, err := s.cfg.Batches.KeptJobs(ctx, of.ID, first, marks)
		if err != nil {
			return err
		}
		if len(jobs) == 0 {
			continue
		}
		all := make([]*job.NewJob, len(jobs))
		for i := range jobs {
			all[i] = &jobs[i]
		}
		to := w.Place
		to.Lines, to.Jobs = after, to.Jobs+int64(len(all))
		if err := w.Add(ctx, to, all, nil); err != nil {
			return err
		}
	}
	return nil
}
