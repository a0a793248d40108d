package runner

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/kaa-run/kaa/internal/job"
)

// This file restores and saves the volumes of sessions: see job.Volume. A snapshot is written and then recorded in one step, so a volume
// has the snapshot before until the new one is whole. The store refuses the snapshot of a runner that was taken for lost once another
// session uses the volume.

// Volumes are the store's methods for volumes.
type Volumes interface {
	// TakeVolume returns the volume of a session; nil if it has none. job.ErrStale: the session has ended, or is another runner's.
	TakeVolume(ctx context.Context, session, runner string) (*job.HeldVolume, error)
	// RoomForSnapshot counts the bytes of a snapshot before they are written. It fails with a job.FilesFullError if there is no
	// room for them. For all three, job.ErrStale means that the volume is another session's now.
	RoomForSnapshot(ctx context.Context, v job.HeldVolume, id string, bytes int64) error
	SaveVolume(ctx context.Context, v job.HeldVolume, n job.Snapshot) error
	// LeaveVolume notes why files were not saved, if they were not, and whether the runner saves no more.
	LeaveVolume(ctx context.Context, v job.HeldVolume, why string, leaves bool) error
}

const (
	// saveMost bounds one save, and one restore. The store waits longer for the files of a session that has ended.
	saveMost = 2 * time.Minute
	// noteTime bounds the call that notes the end of a save.
	noteTime = 5 * time.Second
	// savesAtOnce is the number of sessions that a runner saves at once. Each needs some MiB of memory.
	savesAtOnce = 2
	// maxWhy bounds the reason of a failure in the records.
	maxWhy = 300
	// saveWindow bounds the memory of compression, and of decompression.
	saveWindow = 1 << 20
)

// volume is the volume of a session that the runner serves.
type volume struct {
	// saving is held while files are restored or saved. It guards the next fields.
	saving sync.Mutex
	held   *job.HeldVolume // nil unless the sandbox has the files of the volume
	mark   uint64          // the fingerprint of the files that are saved; 0 if it is unknown

	// sessions.mu guards the next fields.
	saveAt time.Time // when the next periodic save is due; zero if none is
	begun  bool      // a periodic save is under way
}

// restore puts the files of the session's volume into a sandbox in which no code has run.
func (se *served) restore(ctx context.Context, i Interpreter) error {
	records := se.of.r.cfg.Volumes
	if se.spec.Volume == "" || records == nil {
		return nil
	}
	v := &se.volume
	v.saving.Lock()
	defer v.saving.Unlock()
	held, err := records.TakeVolume(ctx, se.id, se.of.r.cfg.Self.ID)
	if err == nil && held == nil {
		return nil // a fork has none
	}
	v.mark = 0
	if err == nil && held.Snapshot != "" {
		v.mark, err = se.fetch(ctx, i, *held)
	}
	if err != nil {
		if held != nil {
			se.note(ctx, *held, "", true)
		}
		return se.notRestored(ctx, err)
	}
	v.held = held
	se.of.mu.Lock()
	v.saveAt = time.Now().Add(se.of.r.cfg.SaveEvery)
	se.of.mu.Unlock()
	return nil
}

// fetch restores a snapshot, and returns the fingerprint of the files.
func (se *served) fetch(ctx context.Context, i Interpreter, held job.HeldVolume) (mark uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, saveMost)
	defer cancel()
	content, err := se.of.r.cfg.Blobs.Open(ctx, job.SnapshotKey(held.Snapshot))
	if err != nil {
		return 0, err
	}
	source := &storeReader{r: content}
	defer content.Close()
	z, err := zstd.NewReader(source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8*saveWindow))
	if err != nil {
		return 0, fmt.Errorf("read a snapshot: %w", err)
	}
	defer z.Close()
	err = i.InFiles(ctx, func(ctx context.Context, f job.FileSystem) error {
		err := f.Restore(ctx, z)
		if err == nil {
			mark, err = f.Fingerprint(ctx)
		}
		return err
	})
	return mark, errors.Join(err, source.err)
}

// notRestored words why a session's files are not there. The session goes on, and its next job tries again.
func (se *served) notRestored(ctx context.Context, err error) error {
	name := se.spec.Volume
	refused, isRefused := errors.AsType[*job.RefusedError](err)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("restore the files of a volume: %w", err)
	case isRefused && refused.Code == job.FailDisk:
		return &job.RefusedError{Code: job.FailDisk, Message: fmt.Sprintf("the files of the volume %q have no room in the session; open one with larger limits.diskBytes and limits.memoryBytes", name)}
	case errors.Is(err, job.ErrNoFile):
		return &job.RefusedError{Code: job.FailFiles, Message: fmt.Sprintf("the files of the volume %q are gone from where they were kept; delete the volume to begin with an empty one", name)}
	case errors.Is(err, job.ErrUnavailable), errors.Is(err, errStore):
		return &job.RefusedError{Code: job.FailFiles, Message: fmt.Sprintf("the files of the volume %q cannot be read now, so nothing was executed; try again", name)}
	case errors.Is(err, job.ErrStale):
		return &job.RefusedError{Message: "the session has ended, and its files are kept as they are"}
	}
	se.of.r.cfg.Log.WarnContext(ctx, "files of a volume were not restored", slog.String("session_id", se.id), slog.Any("err", err))
	return &job.RefusedError{Code: job.FailFiles, Message: fmt.Sprintf("the files of the volume %q could not be put in place, so nothing was executed; they are kept as they are, and the next call tries again", name)}
}

// note has the store record why files were not saved, and whether the runner saves no more.
func (se *served) note(ctx context.Context, held job.HeldVolume, why string, leaves bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	err := untilAnswered(ctx, func() error { return se.of.r.cfg.Volumes.LeaveVolume(ctx, held, why, leaves) })
	if err != nil && !errors.Is(err, job.ErrStale) {
		se.of.r.cfg.Log.WarnContext(ctx, "the end of a save was not noted", slog.String("session_id", se.id), slog.Any("err", err))
	}
}

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
	select {
	case s.saves <- struct{}{}:
		defer func() { <-s.saves }()
	case <-ctx.Done():
		return n, ctx.Err()
	}
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
