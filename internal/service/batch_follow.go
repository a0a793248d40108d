package service

import (
	"context"
	"errors"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// BatchFollower shows the progress of a batch. It is for one goroutine, and to be closed.
type BatchFollower struct {
	s      *Service
	id     string
	wake   chan struct{}
	forget func()
	end    func()
	last   job.Batch // that was returned; of no state before the first
	next   *job.Batch
	outage Outage
	looks  Looks
}

// FollowBatch begins to follow a batch of the caller.
func (s *Service) FollowBatch(ctx context.Context, c Caller, id string) (*BatchFollower, error) {
	if err := c.may(access.Read); err != nil {
		return nil, err
	}
	end, err := s.cfg.Hub.beginStream(c.ID(), s.cfg.MaxSyncWaits)
	if err != nil {
		return nil, err
	}
	b, err := s.ownBatch(ctx, c, id)
	if err != nil {
		end()
		return nil, err
	}
	f := &BatchFollower{s: s, id: id, wake: make(chan struct{}, 1), end: end, next: &b, looks: Looks{seldom: lookAtBatch}}
	f.forget = s.cfg.Notifier.ListenBatch(id, func() {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	})
	return f, nil
}

// Close ends the following.
func (f *BatchFollower) Close() {
	f.forget()
	f.looks.Stop()
	f.end()
}

// Next returns the batch when it has gone on, once a second at most, and ErrOver after it has ended. ErrQuiet: it has
// not gone on for that long.
func (f *BatchFollower) Next(ctx context.Context, quiet time.Duration) (job.Batch, error) {
	if f.last.State.Terminal() {
		return job.Batch{}, ErrOver
	}
	if f.next != nil {
		f.last, f.next = *f.next, nil
		return f.last, nil
	}
	over := time.NewTimer(quiet)
	defer over.Stop()
	for {
		select {
		case <-f.wake:
			f.looks.Soon()
		case <-f.looks.Due():
			f.looks.Seldomer()
		case <-over.C:
			return job.Batch{}, ErrQuiet
		case <-f.s.cfg.Draining:
			return job.Batch{}, ErrStopping
		case <-ctx.Done():
			return job.Batch{}, ctx.Err()
		}
		b, err := f.s.cfg.Batches.Batch(ctx, f.id)
		if errors.Is(err, job.ErrGone) {
			return job.Batch{}, ErrBatchGone
		}
		if err != nil {
			if err := f.outage.Bear(ctx, err); err != nil {
				return job.Batch{}, err
			}
			continue
		}
		f.outage.Over()
		if b.State == f.last.State && b.Lines == f.last.Lines && b.Counts.Running == f.last.Counts.Running && b.Counts.Ended() == f.last.Counts.Ended() {
			continue
		}
		f.last = b
		f.looks.Soon()
		return b, nil
	}
}
