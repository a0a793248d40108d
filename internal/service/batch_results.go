package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

const (
	// endsAtOnce is how many ends of a batch are read at a time.
	endsAtOnce = 1024
	// resultsAtOnce bounds what a reader of results holds: 64 of 64 KiB, and one that is larger.
	resultsAtOnce = 64
)

// ResultsRequest says which results of a batch a caller wants.
type ResultsRequest struct {
	Order  job.BatchOrder
	Marks  job.BatchMarks
	Cursor string
	Follow bool // goes on until all jobs have ended
}

// Results returns the results of a batch one by one. It is for one goroutine, and to be closed.
type Results struct {
	s      *Service
	id     string
	r      ResultsRequest
	place  int64 // of the end that is read next
	ends   []job.BatchEnd
	ready  []job.BatchResult
	page   int // how many results are read next
	over   bool
	whole  bool // all jobs have ended
	look   bool
	looks  Looks
	wake   chan struct{}
	forget func()
	end    func()
	held   *job.Holding // the memory of the results that are ready
	one    *job.Holding // that of a large one
	// refusals are those of the batch, as far as they are kept.
	refusals map[int64]*job.BatchRefusal
	known    *job.Holding // their memory
	outage   Outage
}

// BatchResults begins to read the results of a batch of the caller. job.ErrBatchCursor: the cursor is not one of the
// batch in this order.
func (s *Service) BatchResults(ctx context.Context, c Caller, id string, r ResultsRequest) (*Results, error) {
	if err := c.may(access.Read); err != nil {
		return nil, err
	}
	end, err := s.cfg.Hub.beginStream(c.ID(), s.cfg.MaxSyncWaits)
	if err != nil {
		return nil, err
	}
	_, err = s.ownBatch(ctx, c, id)
	place := int64(0)
	if err == nil && r.Cursor != "" {
		if place, err = job.ParseBatchCursor(id, r.Order, r.Cursor); err != nil {
			err = fmt.Errorf("read results of batch: %w", err)
		}
	}
	if err != nil {
		end()
		return nil, err
	}
	return s.results(c.ID(), id, place, r, end), nil
}

// results begins to read results whose memory counts for a caller.
func (s *Service) results(caller, id string, place int64, r ResultsRequest, end func()) *Results {
	f := &Results{
		s: s, id: id, r: r, place: place, page: resultsAtOnce, look: true, wake: make(chan struct{}, 1), end: end, looks: Looks{seldom: lookAtBatch},
		held: s.cfg.Answers.For(caller), one: s.cfg.Answers.For(caller), known: s.cfg.Answers.For(caller),
	}
	f.forget = s.cfg.Notifier.ListenBatch(id, func() {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	})
	return f
}

// Close ends the reading.
func (f *Results) Close() {
	f.forget()
	f.looks.Stop()
	f.held.Release()
	f.one.Release()
	f.known.Release()
	f.end()
}

// Ready reports whether Next returns a result at once.
func (f *Results) Ready() bool { return len(f.ready) > 0 }

// cursor names the place after a number of ends.
func (f *Results) cursor(place int64) string { return job.BatchCursor(f.id, f.r.Order, place) }

// CursorAfter returns the cursor of a result.
func (f *Results) CursorAfter(r job.BatchResult) string { return f.cursor(r.Place + 1) }

// End returns the cursor after all that Next has looked at, and whether all jobs of the batch have ended and
// were looked at.
func (f *Results) End() (cursor string, whole bool) {
	place := f.place
	switch {
	case len(f.ready) > 0:
		place = f.ready[0].Place
	case len(f.ends) > 0:
		place = f.ends[0].Place
	}
	return f.cursor(place), f.whole && place == f.place
}

// Next returns the next result. ErrOver: there is none any more, or none yet that is not followed. ErrQuiet: none has
// come for that long.
func (f *Results) Next(ctx context.Context, quiet time.Duration) (job.BatchResult, error) {
	within, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	r, err := f.next(within)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = ErrQuiet
	}
	return r, err
}

func (f *Results) next(ctx context.Context) (job.BatchResult, error) {
	f.one.Release()
	for len(f.ready) == 0 {
		if f.look {
			err := f.outage.Bear(ctx, f.read(ctx))
			if err != nil {
				return job.BatchResult{}, fmt.Errorf("read results of batch %s: %w", f.id, err)
			}
			continue
		}
		if f.over {
			return job.BatchResult{}, ErrOver
		}
		select {
		case <-f.wake:
			f.looks.Soon()
		case <-f.looks.Due():
			f.looks.Seldomer()
		case <-f.s.cfg.Draining:
			return job.BatchResult{}, ErrStopping
		case <-ctx.Done():
			return job.BatchResult{}, ctx.Err()
		}
		f.look = true
	}
	r := f.ready[0]
	if r.Large {
		j, err := f.s.cfg.Lookup.Get(f.one.In(ctx), job.BatchJobID(f.id, r.Index))
		switch {
		case errors.Is(err, job.ErrGone), errors.Is(err, job.ErrNotFound):
			r.Expired, r.Job = true, job.Job{}
		case err != nil:
			return job.BatchResult{}, fmt.Errorf("read results of batch %s: %w", f.id, err)
		default:
			r.Job = j
		}
	}
	f.ready = f.ready[1:]
	return r, nil
}

// read looks for results. None may be ready after it.
func (f *Results) read(ctx context.Context) error {
	f.held.Release() // the caller has got those that were ready
	if len(f.ends) == 0 {
		return f.readEnds(ctx)
	}
	page := f.ends[:min(f.page, len(f.ends))]
	results, fits, err := f.fetch(ctx, page)
	switch {
	case err != nil:
		return err
	case !fits && f.page > 1:
		f.page = max(1, f.page/4)
		return nil
	case !fits:
		f.look = false // with the next look
		f.looks.Soon()
		return nil
	}
	f.outage.Over()
	f.page = min(resultsAtOnce, 2*f.page)
	f.ends = f.ends[len(page):]
	f.ready = results
	f.looks.Soon()
	return nil
}

// readEnds looks for jobs that have ended.
func (f *Results) readEnds(ctx context.Context) error {
	b, err := f.s.cfg.Batches.BatchEnds(ctx, f.id, f.r.Order, f.place, endsAtOnce)
	if err != nil {
		return batchGone(err)
	}
	f.outage.Over()
	f.place += int64(len(b.Ends))
	for _, e := range b.Ends {
		if f.r.Marks.Has(e.Mark) {
			f.ends = append(f.ends, e)
		}
	}
	f.whole = b.Over
	f.over = b.Over || len(b.Ends) < endsAtOnce && !f.r.Follow
	f.look = len(f.ends) > 0 || len(b.Ends) == endsAtOnce
	return nil
}

// batchGone makes the error of a batch of one of a record.
func batchGone(err error) error {
	switch {
	case errors.Is(err, job.ErrGone):
		return fmt.Errorf("look for batch: %w", ErrBatchGone)
	case errors.Is(err, job.ErrNotFound):
		return fmt.Errorf("look for batch: %w", job.ErrNoBatch)
	}
	return err
}

// fetch reads results that this reader may hold. As with events, only some readers at once have results of unknown
// size, and those of a slow one count for its caller.
func (f *Results) fetch(ctx context.Context, ends []job.BatchEnd) (results []job.BatchResult, fits bool, err error) {
	select {
	case f.s.fetches <- struct{}{}:
		defer func() { <-f.s.fetches }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	results, size, err := f.s.cfg.Batches.BatchResults(ctx, f.id, ends)
	if err != nil {
		return nil, false, err
	}
	if !job.TryHold(f.held.In(ctx), size) {
		return nil, false, nil
	}
	for i := range results {
		if results[i].Mark == job.MarkRefused {
			if results[i].Refusal, err = f.refusal(ctx, results[i].Index); err != nil {
				return nil, false, err
			}
		}
	}
	return results, true, nil
}

// refusal returns what is known of a line that describes no job; nil if it is not kept.
func (f *Results) refusal(ctx context.Context, index int64) (*job.BatchRefusal, error) {
	if r := f.refusals[index]; r != nil || len(f.refusals) == job.MaxBatchRefusals {
		return r, nil
	}
	all, err := f.s.cfg.Batches.Refusals(ctx, f.id, job.MaxBatchRefusals)
	if err != nil {
		return nil, err
	}
	f.known.Release()
	size := int64(0)
	f.refusals = make(map[int64]*job.BatchRefusal, len(all))
	for i := range all {
		f.refusals[all[i].Index] = &all[i]
		size += int64(len(all[i].Message)) + 64
	}
	if err := job.Hold(f.known.In(ctx), size); err != nil {
		return nil, err
	}
	return f.refusals[index], nil
}
