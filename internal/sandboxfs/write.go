package sandboxfs

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// tempPrefix begins the names of files that are being written.
const tempPrefix = ".kaa-"

// Write writes a file under another name and then moves it to its place. So the old file is replaced
// in one step, and stays if content breaks off; code that has it open keeps it. If the path
// is a link, the file that it leads to is replaced.
func (f *FS) Write(ctx context.Context, name string, o job.WriteOptions, content io.Reader) (job.Entry, error) {
	name = f.clean(name)
	var e job.Entry
	place, err := f.placeOf(name, !o.Exact)
	if err == nil {
		e, err = f.writeAt(ctx, place, o, content)
		place.close()
	}
	return e, f.refused(name, err)
}

// place is where a file is to be: a name in an open directory.
type place struct {
	dir  *os.File
	base string
	path string // absolute
}

func (p place) close() { _ = p.dir.Close() }

func (p place) fd() int { return int(p.dir.Fd()) }

const maxLinks = 40 // as the kernel

// placeOf finds where a file of that path is, or is to be. It follows links, also one that leads to no
// file yet.
func (f *FS) placeOf(name string, mk bool) (p place, err error) {
	err = f.as(func() error {
		for range maxLinks {
			dir, base, err := f.parent(name, mk)
			if err != nil {
				return err
			}
			buffer := make([]byte, unix.PathMax)
			n, err := unix.Readlinkat(int(dir.Fd()), base, buffer)
			if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) { // no link, or nothing
				p = place{dir, base, name}
				return nil
			}
			_ = dir.Close()
			if err != nil {
				return err
			}
			target := strings.TrimRight(string(buffer[:n]), "/")
			if !strings.HasPrefix(target, "/") {
				above, _ := split(name)
				target = above + "/" + target
			}
			name = target
		}
		return unix.ELOOP
	})
	return p, err
}

// writeAt writes a file to its place.
func (f *FS) writeAt(ctx context.Context, p place, o job.WriteOptions, content io.Reader) (e job.Entry, err error) {
	if err = job.CheckAttributes(o.Attributes); err != nil {
		return e, err
	}
	temp := tempPrefix + rand.Text()
	var file *os.File
	mode := o.Mode
	err = f.as(func() error {
		var old unix.Stat_t
		switch err := unix.Fstatat(p.fd(), p.base, &old, unix.AT_SYMLINK_NOFOLLOW); {
		case err == nil && old.Mode&unix.S_IFMT == unix.S_IFDIR:
			return unix.EISDIR
		case err == nil && o.Keep:
			return unix.EEXIST
		case err == nil && old.Mode&unix.S_IFMT == unix.S_IFREG:
			// The directory would allow it. But a program that opens the file for writing is refused.
			if err := unix.Faccessat(p.fd(), p.base, unix.W_OK, unix.AT_EACCESS|unix.AT_SYMLINK_NOFOLLOW); errors.Is(err, unix.EACCES) {
				return err
			}
			if mode == 0 {
				mode = old.Mode & 0o777
			}
		}
		fd, err := unix.Openat(p.fd(), temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err == nil {
			file = os.NewFile(uintptr(fd), p.base)
		}
		return err
	})
	if err != nil {
		return e, err
	}
	defer file.Close()
	if mode == 0 {
		mode = 0o644
	}
	_, err = f.fill(ctx, file, content)
	var st unix.Stat_t
	untouched := false
	err = f.as(func() error {
		if err == nil {
			st, untouched, err = f.finish(p, file, temp, mode, o)
		}
		if err != nil {
			_ = unix.Unlinkat(p.fd(), temp, 0) // the code may have moved it
		}
		return err
	})
	if err != nil {
		return e, err
	}
	name := path.Clean(p.path)
	if untouched {
		f.wrote(name, &st)
	}
	e = f.describe(name, &st)
	showAttributes(&e, o.Attributes, false)
	return e, nil
}

// finish gives a written file its mode and attributes and moves it to its place. It reports whether the code has left it as
// it was written.
func (f *FS) finish(p place, file *os.File, temp string, mode uint32, o job.WriteOptions) (st unix.Stat_t, untouched bool, err error) {
	fd := int(file.Fd())
	if err := setAttributes(fd, o.Attributes); err != nil { // before the mode, which may not allow it
		return st, false, err
	}
	if err := unix.Fchmod(fd, mode); err != nil {
		return st, false, err
	}
	// Clocks of file systems are coarse: the code may change it within the same tick.
	past := unix.NsecToTimeval(time.Now().Add(-time.Second).UnixNano())
	if err := unix.Futimes(fd, []unix.Timeval{past, past}); err != nil {
		return st, false, err
	}
	flags := uint(0)
	if o.Keep {
		flags = unix.RENAME_NOREPLACE
	}
	if err := unix.Renameat2(p.fd(), temp, p.fd(), p.base, flags); err != nil {
		return st, false, err
	}
	err = unix.Fstat(fd, &st)
	return st, st.Mtim.Nano() == past.Nano(), err
}
