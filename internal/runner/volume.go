package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
