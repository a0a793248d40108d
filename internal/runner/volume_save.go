package runner

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/kaa-run/kaa/internal/job"
)

// This file saves the files of sessions that have volumes.

// The outcomes of saves, for Config.Saved.
const (
	SaveDone      = "saved"
	SaveUnchanged = "unchanged"
	SaveFailed    = "failed"
)

// save saves the session's files, if it has a volume and they have changed. The record of the session says why they are not
// saved, and the error is a job.RefusedError that says the same. With last the runner saves them no more.
func (se *served) save(ctx context.Context, last bool) error {
	v := &se.volume
	v.saving.Lock()
	defer v.saving.Unlock()
	if v.held == nil {
		return nil
	}
	held, i := *v.held, se.attached()
	if last {
		v.held = nil
	}
	if i == nil {
		if last { // an operation that was to replace the interpreter has failed
			se.note(ctx, held, notSaved(job.ErrNotStarted), true)
		}
		return nil
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, saveMost)
	defer cancel()
	n, err := se.snapshot(ctx, i, held)
	if last && errors.Is(err, job.ErrUnavailable) { // it is the last chance
		err = untilAnswered(ctx, func() error {
			n, err = se.snapshot(ctx, i, held)
			return err
		})
	}
	se.of.saved(n, err, time.Since(began))
	log := se.of.r.cfg.Log.With(slog.String("session_id", se.id), slog.Duration("duration", time.Since(began)))
	switch {
	case errors.Is(err, job.ErrStale):
		v.held = nil
		log.WarnContext(ctx, "files of a session are not saved: its volume is another session's")
		return &job.RefusedError{Message: "the session has ended, and another one uses its volume"}
	case err != nil && !last && se.attached() != i:
		return nil // the interpreter was closed meanwhile, after a save
	case err != nil:
		why := notSaved(err)
		why = why[:min(len(why), maxWhy)]
		log.WarnContext(ctx, "files of a session were not saved", slog.Any("err", err))
		se.note(ctx, held, why, last)
		code := job.FailFiles
		if full, ok := errors.AsType[*job.FilesFullError](err); ok {
			code = full.Code()
		}
		return &job.RefusedError{Code: code, Message: why}
	case n.ID != "":
		log.DebugContext(ctx, "saved the files of a session", slog.Int64("bytes", n.Bytes), slog.Int("entries", n.Entries), slog.Int("skipped", n.Skipped))
	}
	if last {
		se.note(ctx, held, "", true)
	}
	return nil
}

// saved counts an attempt to save.
func (s *sessions) saved(n job.Snapshot, err error, took time.Duration) {
	switch {
	case s.r.cfg.Saved == nil:
	case err != nil:
		s.r.cfg.Saved(SaveFailed, took)
	case n.ID == "":
		s.r.cfg.Saved(SaveUnchanged, took)
	default:
		s.r.cfg.Saved(SaveDone, took)
	}
}

// forsake ends the saves of a sandbox whose files are saved.
func (se *served) forsake(ctx context.Context) {
	v := &se.volume
	v.saving.Lock()
	defer v.saving.Unlock()
	if v.held != nil {
		se.note(ctx, *v.held, "", true)
		v.held = nil
	}
}

// notSaved words why files were not saved.
func notSaved(err error) string {
	if refused, ok := errors.AsType[*job.RefusedError](err); ok {
		return "the files could not be saved: " + refused.Message
	}
	full, isFull := errors.AsType[*job.FilesFullError](err)
	switch {
	case isFull && full.All:
		return "the files could not be saved: " + full.Error()
	case isFull:
		return "the files could not be saved: " + full.Error() + "; delete volumes and jobs with files that are not needed any more"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "the files could not be saved: there was not enough time"
	case errors.Is(err, job.ErrUnavailable):
		return "the files could not be saved: the place where they are kept does not answer"
	case errors.Is(err, job.ErrNotStarted):
		return "the files could not be saved: the sandbox had ended"
	}
	return "the files could not be saved, because of a fault of the runner"
}

// snapshot saves the files unless they are as they were. The answer has no id then.
func (se *served) snapshot(ctx context.Context, i Interpreter, held job.HeldVolume) (n job.Snapshot, err error) {
	s := se.of
	if err := s.saves.take(ctx, held.Caller); err != nil {
		return n, err
	}
	defer s.saves.give()
	var mark uint64
	err = i.InFiles(ctx, func(ctx context.Context, f job.FileSystem) (err error) {
		mark, err = f.Fingerprint(ctx)
		return err
	})
	if err != nil || mark != 0 && mark == se.volume.mark {
		return n, err
	}
	if n, err = se.write(ctx, i, held); err == nil {
		err = untilAnswered(ctx, func() error { return s.r.cfg.Volumes.SaveVolume(ctx, held, n) })
	}
	if err != nil && !errors.Is(err, job.ErrStale) {
		// The blob, if there is one, is the cleaner's.
		_ = s.r.cfg.Volumes.RoomForSnapshot(context.WithoutCancel(ctx), held, n.ID, 0)
	}
	if err == nil {
		se.volume.mark = mark
	}
	return n, err
}

// write writes a snapshot into the blob store.
func (se *served) write(ctx context.Context, i Interpreter, held job.HeldVolume) (n job.Snapshot, err error) {
	n.ID = strings.ToLower(rand.Text())
	out, in := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := pack(ctx, i, in, &n)
		_ = in.CloseWithError(err)
		packed <- err
	}()
	counted := &growingSnapshot{r: out, take: func(bytes int64) error {
		return se.of.r.cfg.Volumes.RoomForSnapshot(ctx, held, n.ID, bytes)
	}}
	bytes, err := se.of.r.cfg.Blobs.Put(ctx, job.SnapshotKey(n.ID), counted)
	_ = out.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // ends pack, if it goes on
	if packErr := <-packed; packErr != nil && !errors.Is(packErr, io.ErrClosedPipe) {
		err = packErr
	}
	if counted.err != nil {
		err = counted.err
	}
	n.Bytes = bytes
	return n, err
}

// pack writes the files of a session as a compressed snapshot.
func pack(ctx context.Context, i Interpreter, to io.Writer, n *job.Snapshot) error {
	z, err := zstd.NewWriter(to, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(saveWindow), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return fmt.Errorf("write a snapshot: %w", err)
	}
	err = i.InFiles(ctx, func(ctx context.Context, f job.FileSystem) error {
		stats, err := f.Snapshot(ctx, z)
		n.Entries, n.Skipped = stats.Entries, stats.Skipped
		return err
	})
	if closeErr := z.Close(); err == nil && closeErr != nil {
		err = closeErr
	}
	return err
}

// growingSnapshot takes room for a snapshot as it is read.
type growingSnapshot struct {
	r         io.Reader
	take      func(bytes int64) error
	read, had int64
	err       error
}

// snapshotStep is the most that is reserved beyond what a snapshot needs.
const snapshotStep = 16 << 20

func (g *growingSnapshot) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	if g.read += int64(n); g.read > g.had {
		had := job.Footprint(g.read + min(snapshotStep, g.read))
		err := g.take(had)
		if _, full := errors.AsType[*job.FilesFullError](err); full {
			had = job.Footprint(g.read)
			err = g.take(had)
		}
		if err != nil {
			g.err = err
			return 0, err
		}
		g.had = had
	}
	return n, err
}

// saveDue begins the periodic saves that are due. A session that executes something has some time to come to a quiet moment, then it is
// saved anyway.
func (s *sessions) saveDue(now time.Time) {
	every := s.r.cfg.SaveEvery
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, se := range s.live {
		if at := se.volume.saveAt; at.IsZero() || now.Before(at) || se.busy > 0 && now.Before(at.Add(every)) {
			continue
		}
		s.saveSoonLocked(se)
	}
}

// saveSoonLocked begins a save beside what the session does.
func (s *sessions) saveSoonLocked(se *served) {
	if se.volume.begun || se.interpreter == nil || s.closed {
		return
	}
	se.volume.begun = true
	s.done.Go(func() {
		_ = se.save(s.saving, false) // the record has the error
		s.mu.Lock()
		defer s.mu.Unlock()
		se.volume.begun, se.volume.saveAt = false, time.Now().Add(s.r.cfg.SaveEvery)
	})
}

// SaveAtEnd bounds the saves of sessions that are left when the runner has interrupted its executions.
const SaveAtEnd = 10 * time.Second
