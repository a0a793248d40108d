package service

import (
	"errors"
	"io"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	// roomStep is for how many bytes more than have come room is made at once.
	roomStep = 8 << 20
	// roomFor is how long it may be before room is asked for again: it is for a while only.
	roomFor = time.Minute
)

// roomy reserves room for the bytes that it reads before it passes them on, because the size is unknown.
type roomy struct {
	r    io.Reader
	room func(bytes int64) error // for so many in all
	err  error                   // of room

	read, had int64
	asked     time.Time
}

func (r *roomy) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.r.Read(p)
	r.read += int64(n)
	if r.read > r.had || time.Since(r.asked) > roomFor {
		more := max(r.had, r.read+roomStep)
		r.err = r.room(more)
		if _, full := errors.AsType[*job.FilesFullError](r.err); full && r.read > r.had {
			more = r.read
			r.err = r.room(more)
		}
		if r.err != nil {
			return 0, r.err
		}
		r.had, r.asked = more, time.Now()
	}
	return n, err
}

// end gives back the room that was made for more than has come.
func (r *roomy) end() error {
	if r.err == nil {
		r.err = r.room(r.read)
	}
	return r.err
}
