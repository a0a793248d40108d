package runner

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/kaa-run/kaa/internal/job"
)

// Room counts the blob storage that the files of callers take.
type Room interface {
	// RoomForOutputs reserves bytes for all files together that an attempt leaves, before they are
	// stored. It fails with a job.FilesFullError if there is no room for them.
	RoomForOutputs(ctx context.Context, c job.Claim, bytes int64) error
}

// roomStep is the number of bytes that an execution reserves beyond its need, so that many small
// files take few round trips. The end of the execution records the real need.
const roomStep = 1 << 20

// room is the storage that is reserved for the files of one execution.
type room struct {
	of    Room // nil if files are not limited
	claim job.Claim

	mu        sync.Mutex
	used, had int64
}

// take reserves room for a file. It is called before the file is stored.
func (r *room) take(ctx context.Context, size int64) error {
	if r.of == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	need := r.used + job.Footprint(size)
	if need > r.had {
		had := need + roomStep
		err := r.of.RoomForOutputs(ctx, r.claim, had)
		if _, full := errors.AsType[*job.FilesFullError](err); full {
			had = need
			err = r.of.RoomForOutputs(ctx, r.claim, had)
		}
		if err != nil {
			return err
		}
		r.had = had
	}
	r.used = need
	return nil
}

// give releases the room of a file that was not stored.
func (r *room) give(size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used -= job.Footprint(size)
}

// close releases the reservation if the execution has no files: the record of its end does not.
func (r *room) close(ctx context.Context, files int) error {
	if files > 0 || r.had == 0 {
		return nil
	}
	return r.of.RoomForOutputs(ctx, r.claim, 0)
}

// put stores a file that an execution left, if the storage has room for it.
func (r *Runner) put(ctx context.Context, room *room, f job.Found, content io.Reader) (int64, error) {
	if err := room.take(ctx, f.Size); err != nil {
		return 0, err
	}
	n, err := r.cfg.Blobs.Put(ctx, job.OutputKey(room.claim.JobID, room.claim.Attempt, f.Path), content)
	if err != nil {
		room.give(f.Size)
	}
	return n, err
}
