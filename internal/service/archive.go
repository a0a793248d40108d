package service

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

const (
	// archiveLease is how long a process that writes an archive may be silent. It says that it goes on every third of that.
	archiveLease = 45 * time.Second
	// The pauses between attempts double from the first to the last.
	firstArchivePause, lastArchivePause = 5 * time.Second, 10 * time.Minute
	// archiveLook is the longest time between two looks: announcements may be lost.
	archiveLook = 30 * time.Second
	// archivePatience is how long a reader of results may find none that it has memory for.
	archivePatience = time.Minute
)

// Errors of archives.
var (
	// ErrNoArchive: the batch was sent without a wish for one.
	ErrNoArchive = errors.New("the batch has no archive")
	// ErrArchiveWaits: it is not written yet.
	ErrArchiveWaits = errors.New("the archive of the batch is not written yet")
)

// OpenArchive opens the archive of a batch of the caller. The content is to be closed.
func (s *Service) OpenArchive(ctx context.Context, c Caller, id string) (job.Batch, io.ReadSeekCloser, error) {
	if err := c.may(access.Read); err != nil {
		return job.Batch{}, nil, err
	}
	b, err := s.ownBatch(ctx, c, id)
	switch {
	case err != nil:
		return b, nil, err
	case b.Archive == nil:
		return b, nil, ErrNoArchive
	case b.Archive.State != job.ArchiveWritten:
		return b, nil, ErrArchiveWaits
	}
	content, err := s.cfg.Blobs.Open(ctx, job.ArchiveKey(id, b.Archive.Token))
	if err != nil {
		return b, nil, fileError(err)
	}
	return b, content, nil
}

// ResultWriter writes a result of a batch as a line.
type ResultWriter func(w io.Writer, batch string, r job.BatchResult) error

// ArchiveObserver counts attempts to write an archive, by their outcome: written, retry, or left to another process.
type ArchiveObserver interface {
	Archived(outcome string, bytes int64, took time.Duration)
}

// Archiver writes the archives of batches that have ended, one at a time. Every API process has one. The store decides
// which of them writes an archive. Another one takes over when that process is silent.
type Archiver struct {
	service *Service
	line    ResultWriter
	observe ArchiveObserver
	log     *slog.Logger
	wake    chan struct{}
	stop    context.CancelFunc
	done    sync.WaitGroup
	last    string // the owner of the archive before
}

// NewArchiver returns an archiver that has not started yet.
func NewArchiver(line ResultWriter, observe ArchiveObserver, log *slog.Logger) *Archiver {
	return &Archiver{line: line, observe: observe, log: log, wake: make(chan struct{}, 1)}
}

// Start begins to write the archives of a service; Close ends it.
func (a *Archiver) Start(ctx context.Context, s *Service) {
	a.service = s
	ctx, a.stop = context.WithCancel(context.WithoutCancel(ctx))
	a.done.Go(func() {
		for ctx.Err() == nil {
			a.sleep(ctx, a.next(ctx))
		}
	})
}

// Due makes the archiver look at once. It never blocks.
func (a *Archiver) Due() {
	select {
	case a.wake <- struct{}{}:
	default: // a look is due already
	}
}

// Close ends the writing and waits for it. An archive under way is given to another process. It may be called twice.
func (a *Archiver) Close() {
	if a.stop != nil {
		a.stop()
	}
	a.done.Wait()
}

func (a *Archiver) sleep(ctx context.Context, pause time.Duration) {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-a.wake:
	case <-t.C:
	}
}

// next writes an archive that is due, and returns how long to wait for another one.
func (a *Archiver) next(ctx context.Context) time.Duration {
	token, err := newID("archive")
	if err != nil {
		return retryPause
	}
	c, pause, err := a.service.cfg.Archives.TakeArchive(ctx, token, a.last, archiveLease)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			a.log.WarnContext(ctx, "could not look for archives of batches that are due: will try again", slog.Any("err", err))
		}
		return time.Second
	case c == nil && pause < 0:
		return archiveLook
	case c == nil:
		return min(pause, archiveLook)
	}
	a.last = c.Owner
	log := a.log.With(slog.String("batch_id", c.Batch), slog.Int("attempt", c.Attempt))
	start := time.Now()
	n, err := a.write(ctx, *c)
	outcome := "retry"
	switch {
	case err == nil:
		outcome = "written"
		log.InfoContext(ctx, "archive of a batch written", slog.Int64("bytes", n.Bytes), slog.Int64("results", n.Results), slog.Duration("took", time.Since(start)))
	case errors.Is(err, job.ErrStale), errors.Is(err, job.ErrNoBatch):
		outcome = "left"
		log.InfoContext(ctx, "archive of a batch left: another process writes it, or the batch is gone")
		a.drop(ctx, *c, errors.Is(err, job.ErrNoBatch))
	default:
		a.leave(ctx, log, *c, err)
	}
	a.observe.Archived(outcome, n.Bytes, time.Since(start))
	return 0
}

// leave gives an archive back that could not be written.
func (a *Archiver) leave(ctx context.Context, log *slog.Logger, c job.ArchiveClaim, why error) {
	a.drop(ctx, c, true)
	pause := min(firstArchivePause<<min(c.Attempt-1, 10), lastArchivePause)
	if ctx.Err() != nil {
		pause = 0 // this process stops
	} else {
		log.WarnContext(ctx, "archive of a batch not written: will try again", slog.Duration("pause", pause), slog.Any("err", why))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	if err := a.service.cfg.Archives.LeaveArchive(ctx, c, pause, archiveReason(why)); err != nil {
		log.WarnContext(ctx, "an archive of a batch stays leased for a while", slog.Any("err", err))
	}
}

// archiveReason says for a caller why an archive is not written.
func archiveReason(err error) string {
	if full, ok := errors.AsType[*job.FilesFullError](err); ok {
		return fmt.Sprintf("there is no room for it in the blob store: %d bytes are in use, of %d", full.Held, full.Limit)
	}
	if errors.Is(err, ErrFileStore) {
		return "the blob store does not answer"
	}
	return "it could not be written, for a reason that is in the log"
}

// drop deletes what an attempt has written. With forget its bytes count no more; else they are those of the process that
// has taken over. The cleaner finds the rest.
func (a *Archiver) drop(ctx context.Context, c job.ArchiveClaim, forget bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putTime)
	defer cancel()
	err := a.service.cfg.Blobs.Delete(ctx, c.Key())
	if err == nil && forget {
		err = a.service.cfg.Files.ForgetBlobs(ctx, c.Batch)
	}
	if err != nil {
		a.log.WarnContext(ctx, "delete an archive that was not written to its end", slog.String("batch_id", c.Batch), slog.Any("err", err))
	}
}

// write writes an archive while it has the lease.
func (a *Archiver) write(ctx context.Context, c job.ArchiveClaim) (job.BatchArchive, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var renewals sync.WaitGroup
	defer renewals.Wait()
	defer cancel(nil)
	renewals.Go(func() { a.renew(ctx, c, cancel) })
	if c.Attempt > 1 {
		// A process that died may have left some. One that is only slow fails.
		if err := a.service.cfg.Blobs.DeleteAll(ctx, job.ArchivePrefix(c.Batch)); err != nil {
			return job.BatchArchive{}, fileError(err)
		}
	}
	n, err := a.put(ctx, c)
	if err == nil {
		err = a.service.cfg.Archives.ArchiveWritten(ctx, c, n)
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return n, err
}

// renew keeps the lease until ctx ends. It ends the attempt if another process has got the archive.
func (a *Archiver) renew(ctx context.Context, c job.ArchiveClaim, lost context.CancelCauseFunc) {
	t := time.NewTicker(archiveLease / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		err := a.service.cfg.Archives.LeaveArchive(ctx, c, archiveLease, "")
		if errors.Is(err, job.ErrStale) || errors.Is(err, job.ErrNoBatch) {
			lost(err)
			return
		}
	}
}

// put streams the lines into the blob store. They are made as they are read, so the archive is never in memory.
func (a *Archiver) put(ctx context.Context, c job.ArchiveClaim) (job.BatchArchive, error) {
	var n job.BatchArchive
	var failed error // of the results
	from, to := io.Pipe()
	made := make(chan struct{})
	go func() {
		defer close(made)
		failed = a.lines(ctx, to, c, &n)
		_ = to.CloseWithError(failed)
	}()
	counted := &roomy{r: from, room: func(bytes int64) error {
		return a.service.cfg.Files.RoomForInputs(ctx, c.Batch, c.Owner, job.Footprint(bytes))
	}}
	size, err := a.service.cfg.Blobs.Put(ctx, c.Key(), counted)
	_ = from.CloseWithError(io.ErrClosedPipe)
	<-made
	if err == nil {
		err = counted.end()
	}
	n.Bytes = size
	switch {
	case counted.err != nil:
		return n, counted.err
	case failed != nil && !errors.Is(failed, io.ErrClosedPipe):
		return n, failed
	case err != nil:
		return n, fileError(err)
	}
	return n, nil
}

// lines writes all results of a batch, compressed.
func (a *Archiver) lines(ctx context.Context, w io.Writer, c job.ArchiveClaim, n *job.BatchArchive) error {
	packed, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	results := a.service.results(c.Owner, c.Batch, 0, ResultsRequest{Order: job.BySubmission}, func() {})
	defer results.Close()
	waited := time.Now()
	for {
		r, err := results.next(ctx)
		switch {
		case err == nil:
		case !errors.Is(err, ErrOver):
			return err
		default:
			if _, whole := results.End(); whole {
				return packed.Close() //nolint:wrapcheck // of the pipe
			}
			if time.Since(waited) > archivePatience {
				return fmt.Errorf("write archive: %w", job.ErrUnavailable)
			}
			// There was no memory for the next results.
			results.look = true
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(retryPause):
			}
			continue
		}
		waited = time.Now()
		n.Results++
		if r.Expired {
			n.Expired++
		}
		if err := a.line(packed, c.Batch, r); err != nil {
			return err
		}
	}
}
