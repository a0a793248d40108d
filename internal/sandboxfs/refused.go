package sandboxfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// errOutside: the path leads to none of the sandbox's writable directories.
var errOutside = errors.New("outside of the directories of the session")

// errIrregular: the operation is for ordinary files.
var errIrregular = errors.New("no ordinary file")

// refused words what the present state of the files does not allow.
func (f *FS) refused(name string, err error) error {
	is := func(targets ...error) bool {
		for _, target := range targets {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}
	shown, _ := job.EscapePath(name)
	say := func(code job.FailureCode, format string) error {
		return &job.RefusedError{Code: code, Message: fmt.Sprintf(format, shown)}
	}
	if _, already := errors.AsType[*job.RefusedError](err); already || err == nil {
		return err
	}
	switch {
	case is(context.Canceled, context.DeadlineExceeded):
		return err
	case is(errOutside):
		return &job.RefusedError{Code: job.FailFileDenied, Message: fmt.Sprintf("%q is not in a directory that the session may change; its files are below %s and /tmp", shown, f.cfg.Work)}
	case is(unix.ENOSPC, unix.EDQUOT, unix.EFBIG):
		return NoRoom()
	case is(errIrregular, unix.ENXIO, unix.ENODEV):
		return say(job.FailRefused, "%q is a pipe, a socket or a device, and no ordinary file")
	case is(errNoAttributes):
		return say(job.FailRefused, "%q cannot have attributes: the file system of the sandbox keeps none; leave them out")
	case is(fs.ErrNotExist):
		return say(job.FailNoFile, "the session has no %q; check the path, or make the directories that are missing")
	case is(unix.EISDIR):
		return say(job.FailIsDirectory, "%q is a directory; name a file")
	case is(unix.ENOTEMPTY):
		return say(job.FailNotEmpty, "the directory %q is not empty; remove it with its entries (recursive)")
	case is(fs.ErrExist):
		return say(job.FailFileExists, "%q exists already; remove it, choose another name, or have it replaced")
	case is(unix.ENOTDIR):
		return say(job.FailNotDirectory, "%q, or a part of its path, is no directory")
	case is(unix.ELOOP):
		return say(job.FailRefused, "%q cannot be reached: a part of it is a link of /proc, or links lead in a circle")
	case is(fs.ErrPermission):
		return say(job.FailFileDenied, "the user of the code may not do that with %q; change the mode of the file, or of the directories on the way")
	case is(unix.EBUSY):
		return say(job.FailRefused, "%q is in use by the sandbox itself, such as its working directory; choose what is in it")
	case is(unix.EINVAL):
		return say(job.FailRefused, "%q cannot be moved or copied into itself, or has a name that the file system does not take")
	case is(unix.EAGAIN, unix.ENAMETOOLONG, unix.EMLINK, unix.EXDEV):
		return say(job.FailRefused, "%q cannot be reached: its path is too long, or the code changes it all the time")
	}
	return err
}

// NoRoom says that a file has no room.
func NoRoom() error {
	return &job.RefusedError{Code: job.FailDisk, Message: "there is no room for it: the session has as many files, or bytes in them, as it may (limits.diskBytes), or no memory left for them (limits.memoryBytes)"}
}
