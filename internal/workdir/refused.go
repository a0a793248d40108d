package workdir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// Refused words what the directory's own state does not allow.
func Refused(path string, err error) error {
	is := func(targets ...error) bool {
		for _, target := range targets {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}
	say := func(format string) error { return &job.RefusedError{Message: fmt.Sprintf(format, path)} }
	switch {
	case err == nil:
		return nil
	case is(unix.ENOSPC, unix.EDQUOT):
		return NoRoom()
	case is(fs.ErrNotExist, ErrNotRegular, unix.ENXIO):
		return &job.RefusedError{Code: job.FailNoFile, Message: fmt.Sprintf("the session has no file %q", path)}
	case is(unix.EISDIR):
		return say("%q is a directory")
	case is(unix.ENOTEMPTY):
		return say("the directory %q is not empty")
	case is(unix.ENOTDIR, unix.ELOOP, unix.EXDEV):
		return say("%q cannot be reached: a part of it is a link or no directory")
	case is(fs.ErrPermission):
		return say("the code has made %q, or a directory on the way, inaccessible")
	case is(unix.EAGAIN, unix.ENAMETOOLONG):
		return say("%q cannot be reached")
	}
	return err
}

// NoRoom says that a file has no room.
func NoRoom() error {
	return &job.RefusedError{Code: job.FailDisk, Message: "there is no room for it: the session has as many files, or bytes in them, as it may (limits.diskBytes), or no memory left for them (limits.memoryBytes)"}
}

// Bounded is a reader that fails when it has more bytes than there is room for.
type Bounded struct {
	R    io.Reader
	Room int64
}

// Read fails with NoRoom beyond the bound.
func (b *Bounded) Read(p []byte) (int, error) {
	n, err := b.R.Read(p)
	if b.Room -= int64(n); b.Room < 0 {
		return 0, NoRoom()
	}
	return n, err
}
