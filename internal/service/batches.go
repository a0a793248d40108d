package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// BatchRequest is what a caller says about a batch as a whole.
type BatchRequest struct {
	Name      string
	Skip      bool     // leave bad lines out; else one refuses the batch
	ResultTTL *float64 // seconds
	Hook      *job.BatchHookRequest
	Keep      bool // its lines stay as long as its record, so that some may run again
	Archive   bool // its results are to be written as one object
	rerun     job.BatchRerun
	// Defaults are the dialect's own; a request that goes on with the batch gets them back.
	Defaults []byte
	// Sum is the state of the hash of the input before its first byte.
	Sum            []byte
	IdempotencyKey string
}

const (
	// batchMemory is about what a request that sends a batch holds: the lines of a chunk in several
	// forms.
	batchMemory = 8 << 20
	// leaveTime bounds what is done when a request stops sending.
	leaveTime = 5 * time.Second
)

// ErrNoBatchJobs means that the batch has no line with a job.
var ErrNoBatchJobs = errors.New("the batch has no jobs")

// TooManyJobsError says that a batch has more jobs than it may.
type TooManyJobsError struct{ Limit int64 }

func (e *TooManyJobsError) Error() string {
	return fmt.Sprintf("a batch has at most %d jobs", e.Limit)
}

// BatchWriter takes a batch, chunk by chunk. One request uses it, and calls Close or Leave in the end.
type BatchWriter struct {
	ID string
	// Skip and Defaults are those of the request that began the batch.
	Skip     bool
	Defaults []byte
	// Place is what the batch has already.
	Place job.BatchPlace
	// Complete: it takes no more.
	Complete bool

	s      *Service
	caller Caller
	writer string
	held   *Held
	known  map[string]bool // digests of codes that are stored
	done   bool
}

// BatchLimits are the bounds of batches.
func (s *Service) BatchLimits() job.BatchLimits { return s.cfg.BatchLimits }

// BeginBatch begins a batch, or goes on with the one that its idempotency key has begun.
func (s *Service) BeginBatch(ctx context.Context, c Caller, r BatchRequest) (*BatchWriter, error) {
	if err := c.may(access.Execute); err != nil {
		return nil, err
	}
	ttl, hook, err := s.cfg.Limits.AcceptBatch(r.Name, r.ResultTTL, r.Hook, r.Archive)
	if err != nil {
		return nil, err
	}
	w, err := s.batchWriter(c)
	if err != nil {
		return nil, err
	}
	w.ID = job.NewBatchID()
	n := job.NewBatch{
		ID: w.ID, Caller: c.ID(), Name: r.Name, Skip: r.Skip, ResultTTL: ttl, Defaults: r.Defaults, Sum: r.Sum, Writer: w.writer, Most: s.cfg.BatchLimits.Open,
		Keep: r.Keep, Archive: r.Archive, Rerun: r.rerun, Hook: hook,
	}
	if r.Hook != nil {
		n.HookSecret = r.Hook.Secret
	}
	if r.IdempotencyKey != "" {
		n.IdempotencyKey, n.Scope = r.IdempotencyKey, c.idempotencyScope()
	}
	known, err := s.cfg.Batches.OpenBatch(ctx, n)
	if err != nil {
		return nil, w.abandon(err)
	}
	if known != "" {
		return s.resume(ctx, w, known, true)
	}
	w.Skip, w.Defaults, w.Place.Sum = r.Skip, r.Defaults, r.Sum
	return w, nil
}

// ResumeBatch goes on with a batch of the caller.
func (s *Service) ResumeBatch(ctx context.Context, c Caller, id string) (*BatchWriter, error) {
	if err := c.may(access.Execute); err != nil {
		return nil, err
	}
	if _, err := s.ownBatch(ctx, c, id); err != nil {
		return nil, err
	}
	w, err := s.batchWriter(c)
	if err != nil {
		return nil, err
	}
	return s.resume(ctx, w, id, false)
}

func (s *Service) resume(ctx context.Context, w *BatchWriter, id string, byKey bool) (*BatchWriter, error) {
	b, err := s.cfg.Batches.Batch(ctx, id)
	if byKey && (errors.Is(err, job.ErrNoBatch) || errors.Is(err, job.ErrGone)) {
		err = job.ErrReplayGone // the key outlives the record
	}
	if err != nil {
		return nil, w.abandon(err)
	}
	w.ID, w.Skip, w.Defaults = id, b.Skip, b.Defaults
	var state job.BatchState
	if w.Place, state, err = s.cfg.Batches.ResumeBatch(ctx, id, w.writer); err != nil {
		return nil, w.abandon(err)
	}
	w.Complete = state != job.BatchReceiving
	return w, nil
}

func (s *Service) batchWriter(c Caller) (*BatchWriter, error) {
	writer, err := newID("writer")
	if err != nil {
		return nil, err
	}
	w := &BatchWriter{s: s, caller: c, writer: writer, held: s.HoldBody(c), known: make(map[string]bool)}
	most := int64(batchMemory)
	if all := s.cfg.BodyMemory; all > 0 {
		most = min(most, all/8)
	}
	if err := w.held.Hold(most); err != nil {
		return nil, err
	}
	return w, nil
}

// abandon gives up before the batch is this request's.
func (w *BatchWriter) abandon(err error) error {
	w.held.Release()
	w.done = true
	return err
}

// Draft checks what a line asks for, which came at now.
func (w *BatchWriter) Draft(ctx context.Context, r job.Request, now time.Time) (*job.NewJob, error) {
	if err := job.CheckBatchItem(r); err != nil {
		return nil, err
	}
	n, err := w.s.accept(ctx, w.caller, Submission{Request: r}, now)
	if err != nil {
		return nil, err
	}
	n.Spec.Trace = job.TraceOf(ctx)
	return &n, nil
}

// Add records a chunk: jobs, nil where a line describes none. to is the place after it.
func (w *BatchWriter) Add(ctx context.Context, to job.BatchPlace, jobs []*job.NewJob, refusals []job.BatchRefusal) error {
	if limit := w.s.cfg.BatchLimits.Jobs; to.Jobs > limit {
		return &TooManyJobsError{limit}
	}
	data, codes, err := w.s.cfg.Batches.PackBatch(jobs)
	if err != nil {
		return err
	}
	sent := make([]string, 0, len(codes))
	for digest := range codes {
		if w.known[digest] {
			delete(codes, digest)
		} else {
			sent = append(sent, digest)
		}
	}
	err = w.s.cfg.Batches.AddToBatch(ctx, job.BatchChunk{
		Batch: w.ID, Caller: w.caller.ID(), Writer: w.writer, From: w.Place, To: to, Data: data, Codes: codes, Refusals: refusals,
	})
	if err != nil {
		return err
	}
	const mostKnown = 10_000
	for _, digest := range sent {
		if len(w.known) < mostKnown {
			w.known[digest] = true
		}
	}
	w.Place = to
	return nil
}

// Close says that all lines were received, and returns the batch.
func (w *BatchWriter) Close(ctx context.Context) (job.Batch, error) {
	if w.Place.Jobs == 0 {
		w.Leave(ctx, true)
		return job.Batch{}, ErrNoBatchJobs
	}
	if !w.Complete {
		if err := w.s.cfg.Batches.CloseBatch(ctx, w.ID, w.writer, w.Place.Lines); err != nil {
			w.Leave(ctx, false)
			return job.Batch{}, err
		}
	}
	w.held.Release()
	w.done = true
	return w.s.cfg.Batches.Batch(ctx, w.ID)
}

// Leave stops sending before the end, so that another request may go on. With drop, the batch is deleted. It
// does nothing after Close.
func (w *BatchWriter) Leave(ctx context.Context, drop bool) {
	if w.done {
		return
	}
	_ = w.abandon(nil)
	if w.Complete {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	if err := w.s.cfg.Batches.LeaveBatch(ctx, w.ID, w.writer, drop); err != nil {
		w.s.cfg.Log.WarnContext(ctx, "a batch that is sent no more can be continued in a while only", slog.String("batch_id", w.ID), slog.Any("err", err))
	}
}

// GiveUp ends the batch, as it cannot be received to its end. The lines before run if bad ones are left out.
func (w *BatchWriter) GiveUp(ctx context.Context, why string) {
	if !w.Skip {
		w.Leave(ctx, true)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	if err := w.s.cfg.Batches.GiveUpBatch(ctx, w.ID, job.Failure{Code: job.FailIncomplete, Message: why}); err != nil {
		w.s.cfg.Log.WarnContext(ctx, "a batch that cannot be received waits for more", slog.String("batch_id", w.ID), slog.Any("err", err))
	}
	w.Leave(ctx, false)
}

// ownBatch looks a batch up for the caller. Another's batch is answered as one that never was.
func (s *Service) ownBatch(ctx context.Context, c Caller, id string) (job.Batch, error) {
	if !job.IsBatchID(id) {
		return job.Batch{}, fmt.Errorf("look for batch: %w", job.ErrNoBatch)
	}
	b, err := s.cfg.Batches.Batch(c.viewer().In(ctx), id)
	if gone, ok := errors.AsType[*job.PrivateGoneError](err); ok && !c.viewer().Knew(gone.Owner, false) || err == nil && !c.viewer().SeesBatch(b) {
		return job.Batch{}, fmt.Errorf("look for batch: %w", job.ErrNoBatch)
	}
	if errors.Is(err, job.ErrGone) {
		err = fmt.Errorf("look for batch: %w", ErrBatchGone)
	}
	return b, err
}

// ErrBatchGone means that the record of the batch has expired.
var ErrBatchGone = errors.New("the batch has expired")

// Batch returns a batch of the caller, and the first of its lines that were refused.
func (s *Service) Batch(ctx context.Context, c Caller, id string) (job.Batch, []job.BatchRefusal, error) {
	if err := c.may(access.Read); err != nil {
		return job.Batch{}, nil, err
	}
	b, err := s.ownBatch(ctx, c, id)
	if err != nil || b.Counts.Refused == 0 {
		return b, nil, err
	}
	refusals, err := s.cfg.Batches.Refusals(ctx, id, mostRefusals)
	return b, refusals, err
}

// mostRefusals is how many refused lines are shown with a batch.
const mostRefusals = 100

// Batches lists the batches that the caller may see, newest first.
func (s *Service) Batches(ctx context.Context, c Caller, f job.BatchFilter) (batches []job.Batch, next string, err error) {
	if err := c.may(access.Read); err != nil {
		return nil, "", err
	}
	f.Viewer = c.viewer()
	return s.cfg.Batches.Batches(ctx, f)
}

// CancelBatch asks for the end of a batch of the caller: waiting jobs never run, and running ones are interrupted.
func (s *Service) CancelBatch(ctx context.Context, c Caller, id string) (job.Batch, error) {
	if err := c.may(access.Execute); err != nil {
		return job.Batch{}, err
	}
	if _, err := s.ownBatch(ctx, c, id); err != nil {
		return job.Batch{}, err
	}
	if err := s.cfg.Batches.CancelBatch(ctx, id); err != nil {
		return job.Batch{}, err
	}
	return s.ownBatch(ctx, c, id)
}

// DeleteBatch deletes the record of a batch that has ended. Its jobs stay until they expire.
func (s *Service) DeleteBatch(ctx context.Context, c Caller, id string) error {
	if err := c.may(access.Execute); err != nil {
		return err
	}
	b, err := s.ownBatch(ctx, c, id)
	if err != nil {
		return err
	}
	if !c.viewer().Owns(b.Owner) {
		return fmt.Errorf("delete batch: %w", job.ErrNoBatch)
	}
	return s.cfg.Batches.RemoveBatch(ctx, id)
}
