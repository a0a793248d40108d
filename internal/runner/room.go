package runner

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/kaa-run/kaa/internal/job"
)

// Room counts what the files of callers take, where blobs are.
type Room interface {
	// RoomForOutputs says what the files take that an attempt leaves, all of them together, before
	// they are stored. It fails with a job.FilesFullError if there is no room for them.
	RoomForOutputs(ctx context.Context, c job.Claim, bytes int64) error
}

// roomStep is how much more than it needs an execution asks for, so that many small files
// are few round trips. Its end says what its files take.
const roomStep = 1 << 20

// room is what the files of one execution may take.
type room struct {
	of    Room // nil if there is no bound
	claim job.Claim

	mu        sync.Mutex
	used, had int64
}

// take makes room for a file. It is called before that is stored.
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

// give gives back the room of a file that was not stored.
func (r *room) give(size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used -= job.Footprint(size)
}

// close gives back what an end without files does not.
func (r *room) close(ctx context.Context, files int) error {
	if files > 0 || r.had == 0 {
		return nil
	}
	return r.of.RoomForOutputs(ctx, r.claim, 0)
}

// put stores a file that an execution left, if there is room for it.
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
