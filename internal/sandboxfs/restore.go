package sandboxfs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Restore puts a snapshot into the working directory, in which no code has run yet. The entries are those of hostile code, so the same
// rules hold as for an archive of a caller: no name leads out of the directory, by ".." or through a link.
func (f *FS) Restore(ctx context.Context, content io.Reader) error {
	r := &restorer{unpacker: unpacker{f: f, ctx: ctx, name: f.cfg.Work, most: math.MaxInt64}}
	err := f.as(func() (err error) {
		r.dir, err = f.directory(f.cfg.Work, false)
		return err
	})
	if err != nil {
		return f.refused(f.cfg.Work, err)
	}
	defer r.dir.Close()
	defer r.release()
	if err = r.restore(content); err == nil {
		err = r.settle()
	}
	return f.refused(r.last, err)
}

type restorer struct {
	unpacker
	last string // the path of the last entry
	// reserved is the room that was reserved, of which written bytes are used. A reservation for each file would cost more than
	// small files do.
	reserved, written int64
	// dirs get their modes and times at the end, because entries are put into them.
	dirs []*tar.Header
}

func (r *restorer) restore(content io.Reader) error {
	in := tar.NewReader(content)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			// A compressed stream may have a checksum at its end.
			_, err = io.Copy(io.Discard, io.LimitReader(content, chunk))
			return err
		}
		if err == nil {
			err = r.ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("read a snapshot: %w", err)
		}
		rel, ok := nameInTar(h.Name)
		if r.entries++; !ok || rel == "." || r.entries > maxSaved {
			return fmt.Errorf("read a snapshot: entry %d has a wrong name, or is one too many", r.entries)
		}
		h.Name, r.last = rel, join(r.name, rel)
		if err := r.entry(h, in); err != nil {
			return err
		}
	}
}

func (r *restorer) entry(h *tar.Header, content io.Reader) error {
	mode := uint32(h.Mode) & 0o7777 //nolint:gosec // of the permissions only
	switch h.Typeflag {
	case tar.TypeDir:
		r.dirs = append(r.dirs, &tar.Header{Name: h.Name, Mode: h.Mode, ModTime: h.ModTime})
		return r.directory(h.Name, mode)
	case tar.TypeReg:
		return r.regular(h, mode, content)
	case tar.TypeSymlink:
		return r.in(h.Name, func(dir *os.File, base string) error {
			if err := linkAt(dir, base, h.Linkname, true); err != nil {
				return err
			}
			return unix.UtimesNanoAt(int(dir.Fd()), base, times(h.ModTime), unix.AT_SYMLINK_NOFOLLOW)
		})
	case tar.TypeLink:
		return r.hardLink(h.Name, h.Linkname)
	}
	return fmt.Errorf("read a snapshot: entry %d is of a wrong type", r.entries)
}

func times(t time.Time) []unix.Timespec {
	at := unix.NsecToTimespec(t.UnixNano())
	return []unix.Timespec{at, at}
}

// regular makes a file.
func (r *restorer) regular(h *tar.Header, mode uint32, content io.Reader) error {
	parts, length, err := partsOf(h)
	if err != nil {
		return err
	}
	var file *os.File
	err = r.in(h.Name, func(dir *os.File, base string) error {
		const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
		fd, err := unix.Openat(int(dir.Fd()), base, flags, 0o600)
		if errors.Is(err, unix.EEXIST) && unix.Unlinkat(int(dir.Fd()), base, 0) == nil {
			fd, err = unix.Openat(int(dir.Fd()), base, flags, 0o600)
		}
		if err == nil {
			file = os.NewFile(uintptr(fd), base)
		}
		return err
	})
	if err != nil {
		return err
	}
	defer file.Close()
	for _, part := range parts {
		if _, err := file.Seek(part.at, io.SeekStart); err != nil {
			return err
		}
		if err := r.fill(file, content, part.length); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	err = r.f.as(func() error {
		if err := unix.Ftruncate(int(file.Fd()), length); err != nil {
			return err
		}
		return finishRestored(file, mode, h.ModTime, &st)
	})
	if err == nil {
		r.f.wrote(r.last, &st)
	}
	return err
}

// fill copies a part of a file.
func (r *restorer) fill(file *os.File, content io.Reader, length int64) error {
	buffer := buffers.Get().(*[]byte) //nolint:forcetypeassert // the pool has nothing else
	defer buffers.Put(buffer)
	for length > 0 {
		n, err := io.ReadFull(content, (*buffer)[:min(length, chunk)])
		if err != nil {
			return fmt.Errorf("read a snapshot: %w", err)
		}
		if err := r.reserve(int64(n)); err != nil {
			return err
		}
		if _, err := file.Write((*buffer)[:n]); err != nil {
			return err
		}
		length -= int64(n)
		if err := r.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// reserve reserves room for n more bytes, and for more at the same time if there is some.
func (r *restorer) reserve(n int64) error {
	const step = 4 << 20
	r.written += n
	if r.written <= r.reserved {
		return nil
	}
	more := r.written - r.reserved
	if err := r.f.grow(more + step); err == nil {
		r.reserved += more + step
		return nil
	}
	err := r.f.grow(more)
	if err == nil {
		r.reserved += more
	}
	return err
}

func (r *restorer) release() {
	if r.f.cfg.Settle != nil {
		r.f.cfg.Settle(r.reserved)
	}
}

func finishRestored(file *os.File, mode uint32, at time.Time, st *unix.Stat_t) error {
	fd := int(file.Fd())
	if err := unix.Fchmod(fd, mode); err != nil {
		return err
	}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, own(file), times(at), 0); err != nil {
		return err
	}
	return unix.Fstat(fd, st)
}

// settle gives the directories their modes and times, the inner ones first.
func (r *restorer) settle() error {
	for _, h := range slices.Backward(r.dirs) {
		r.last = join(r.name, h.Name)
		err := r.in(h.Name, func(dir *os.File, _ string) error {
			made, err := openIn(dir, path.Base(h.Name), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, beneath)
			if err != nil {
				return err
			}
			defer made.Close()
			if err := chmod(made, uint32(h.Mode)&0o7777); err != nil { //nolint:gosec // of the permissions only
				return err
			}
			return unix.UtimesNanoAt(unix.AT_FDCWD, own(made), times(h.ModTime), 0)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
