package runner

import (
	"context"
	"errors"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

// fakeRoom has room for so many bytes.
type fakeRoom struct {
	most, held int64
	asked      int
	err        error
}

func (f *fakeRoom) RoomForOutputs(_ context.Context, _ job.Claim, bytes int64) error {
	f.asked++
	if f.err != nil {
		return f.err
	}
	if bytes > f.most {
		return &job.FilesFullError{Held: f.held, Limit: f.most}
	}
	f.held = bytes
	return nil
}

// TestRoomInSteps: many small files take few round trips, all of the room can be used, and the room
// of files that were not stored is released.
func TestRoomInSteps(t *testing.T) {
	t.Parallel()
	small, large := job.Footprint(1), job.Footprint(2*roomStep)
	most := large + 10*small
	f := &fakeRoom{most: most}
	r := &room{of: f}
	take := func(size int64, fits bool) {
		t.Helper()
		err := r.take(t.Context(), size)
		if _, full := errors.AsType[*job.FilesFullError](err); full == fits || err != nil && !full {
			t.Errorf("take %d: %v", size, err)
		}
	}
	for range 10 {
		take(1, true)
	}
	if f.asked != 1 {
		t.Errorf("ten small files asked %d times", f.asked)
	}
	take(2*roomStep, true)
	take(1, false)
	r.give(2 * roomStep)
	take(roomStep, true)
	if err := r.close(t.Context(), 1); err != nil || f.held != most {
		t.Errorf("with files, whose end says what they take: %v, %d are held", err, f.held)
	}
	if err := r.close(t.Context(), 0); err != nil || f.held != 0 {
		t.Errorf("without files: %v, %d are held", err, f.held)
	}
	f.err = job.ErrUnavailable
	if err := (&room{of: f}).take(t.Context(), 1); !errors.Is(err, job.ErrUnavailable) {
		t.Error(err)
	}
	none := &room{}
	if err := errors.Join(none.take(t.Context(), 1<<40), none.close(t.Context(), 0)); err != nil {
		t.Error(err)
	}
}
