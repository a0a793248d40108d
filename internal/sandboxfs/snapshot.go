package sandboxfs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// The bounds of one snapshot.
const (
	maxSaved = 100_000 // entries; a sandbox's own file system has 65,536 at most
	// savedAtOnce is the number of entries that are described at once, so that a large directory takes little memory.
	savedAtOnce = 256
)

// Snapshot writes the working directory as a tar stream for Restore: files with their holes, directories, symbolic
// and hard links, with modes and times. It leaves out pipes, sockets and devices, and counts what it could not
// read. It also leaves out what is not the code's. Each file is as it was at some moment of the call. If the code has taken the right to read
// an entry from itself, the entry has this right while it is read.
func (f *FS) Snapshot(ctx context.Context, to io.Writer) (job.TreeStats, error) {
	s := &saver{f: f, ctx: ctx, to: tar.NewWriter(to), links: map[inode]string{}}
	err := s.top(f.cfg.Work)
	if err == nil {
		err = s.to.Close()
	}
	return s.stats, f.refused(f.cfg.Work, err)
}

// inode is a file, whatever its names are.
type inode struct{ dev, ino uint64 }

// saver writes one snapshot.
type saver struct {
	f     *FS
	ctx   context.Context
	to    *tar.Writer
	links map[inode]string // the first names of files that have several
	seen  int
	stats job.TreeStats
}

func (s *saver) top(name string) error {
	found, st, err := s.at(name)
	if err != nil {
		return err
	}
	defer found.Close()
	return s.through(found, &st, "", 1)
}

func (s *saver) at(name string) (found *os.File, st unix.Stat_t, err error) {
	err = s.f.as(func() error {
		found, st, err = s.f.at(name, true)
		return err
	})
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = errors.Join(unix.ENOTDIR, found.Close())
	}
	return found, st, err
}

// through saves what is in a directory that was opened by its path only.
func (s *saver) through(found *os.File, st *unix.Stat_t, rel string, level int) error {
	var dir *os.File
	back := func() {}
	err := s.f.as(func() (err error) {
		back = grant(found, st, 0o700)
		dir, err = reopen(found, unix.O_RDONLY|unix.O_DIRECTORY)
		return err
	})
	defer func() { _ = s.f.as(func() error { back(); return nil }) }()
	if err != nil {
		s.stats.Skipped++
		return nil //nolint:nilerr // it is counted
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxSaved - s.seen + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		s.stats.Skipped++
	}
	if s.seen += len(names); s.seen > maxSaved {
		return errTooManySaved
	}
	slices.Sort(names)
	for some := range slices.Chunk(names, savedAtOnce) {
		for _, i := range s.describe(dir, some) {
			if err := s.one(dir, rel+i.base, i, level); err != nil {
				return err
			}
		}
	}
	return nil
}

var errTooManySaved error = &job.RefusedError{Code: job.FailTooLarge, Message: fmt.Sprintf("the working directory has more than %d entries, or is deeper than %d levels, or has paths of more than %d bytes", maxSaved, maxDepth, maxNameInTar)}

// grant gives the owner of an entry these rights, if it has taken them from itself. The returned function takes them
// away again.
func grant(found *os.File, st *unix.Stat_t, rights uint32) (back func()) {
	mode := st.Mode & 0o7777
	if mode&rights == rights || chmod(found, mode|rights) != nil {
		return func() {}
	}
	return func() { _ = chmod(found, mode) }
}

func (s *saver) describe(dir *os.File, names []string) (items []item) {
	_ = s.f.as(func() error {
		for _, base := range names {
			i := item{base: base}
			if unix.Fstatat(int(dir.Fd()), base, &i.st, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue // it is gone
			}
			if i.st.Mode&unix.S_IFMT == unix.S_IFLNK {
				buffer := make([]byte, unix.PathMax)
				if n, err := unix.Readlinkat(int(dir.Fd()), base, buffer); err == nil {
					i.target = string(buffer[:n])
				}
			}
			items = append(items, i)
		}
		return nil
	})
	return items
}

func (s *saver) one(dir *os.File, rel string, i item, level int) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if int(i.st.Uid) != s.f.uid {
		return nil // a directory around a mount: the interpreter is installed below the working directory
	}
	if len(rel) >= maxNameInTar {
		return errTooManySaved
	}
	h := &tar.Header{Name: rel, Mode: int64(i.st.Mode & 0o7777), ModTime: time.Unix(i.st.Mtim.Unix()), Format: tar.FormatPAX}
	switch i.st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return s.file(dir, i, h)
	case unix.S_IFLNK:
		if i.target == "" {
			return nil
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, i.target
		s.stats.Entries++
		return s.to.WriteHeader(h)
	case unix.S_IFDIR:
		return s.directory(dir, i, h, level)
	}
	s.stats.Skipped++
	return nil
}

// open opens an entry of a directory by its path only, if it is still of the kind that it was.
func (s *saver) open(dir *os.File, i item) (found *os.File, st unix.Stat_t, err error) {
	err = s.f.as(func() error {
		found, err = openIn(dir, i.base, unix.O_PATH|unix.O_NOFOLLOW, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_XDEV)
		if err != nil {
			return err
		}
		if err = unix.Fstat(int(found.Fd()), &st); err == nil && (!s.f.inside(&st) || st.Mode&unix.S_IFMT != i.st.Mode&unix.S_IFMT) {
			err = errIrregular
		}
		if err != nil {
			_ = found.Close()
		}
		return err
	})
	return found, st, err
}

func (s *saver) directory(dir *os.File, i item, h *tar.Header, level int) error {
	found, st, err := s.open(dir, i)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		s.stats.Skipped++
		return nil //nolint:nilerr // it is counted
	}
	defer found.Close()
	rel := h.Name + "/"
	h.Typeflag, h.Name = tar.TypeDir, rel
	s.stats.Entries++
	if err := s.to.WriteHeader(h); err != nil {
		return err
	}
	if level >= maxDepth {
		return errTooManySaved
	}
	return s.through(found, &st, rel, level+1)
}

// file saves a file up to the length that it has now, or its other name.
func (s *saver) file(dir *os.File, i item, h *tar.Header) error {
	found, st, err := s.open(dir, i)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var file *os.File
	if err == nil {
		defer found.Close()
		err = s.f.as(func() (err error) {
			back := grant(found, &st, 0o400)
			file, err = reopen(found, unix.O_RDONLY|unix.O_NONBLOCK)
			back()
			return err
		})
	}
	if err != nil {
		s.stats.Skipped++
		return nil //nolint:nilerr // it is counted
	}
	defer file.Close()
	if st.Nlink > 1 {
		id := inode{st.Dev, st.Ino}
		if first, known := s.links[id]; known {
			h.Typeflag, h.Linkname = tar.TypeLink, first
			s.stats.Entries++
			return s.to.WriteHeader(h)
		}
		s.links[id] = h.Name
	}
	parts := holes(file, &st)
	h.Typeflag, h.Size = tar.TypeReg, parts.bytes()
	parts.note(h, st.Size)
	s.stats.Entries++
	s.stats.Bytes += h.Size
	if err := s.to.WriteHeader(h); err != nil {
		return err
	}
	for _, part := range parts {
		if err := s.copy(file, part); err != nil {
			return err
		}
	}
	return nil
}

// copy copies a part of a file. A part that has been cut off meanwhile is zeros.
func (s *saver) copy(file *os.File, part extent) error {
	buffer := buffers.Get().(*[]byte) //nolint:forcetypeassert // the pool has nothing else
	defer buffers.Put(buffer)
	for from := io.NewSectionReader(file, part.at, part.length); part.length > 0; {
		n, err := io.ReadFull(from, (*buffer)[:min(part.length, chunk)])
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if err != nil {
			clear((*buffer)[n:])
			n = int(min(part.length, chunk))
		}
		if _, err := s.to.Write((*buffer)[:n]); err != nil {
			return err
		}
		part.length -= int64(n)
		if err := s.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// tick is longer than the steps of the clock with which file systems stamp changes. A change within the same step may look the same.
const tick = 20 * time.Millisecond

// Fingerprint returns a number that changes with the working directory, for this process. It is 0 if the directory
// could not be looked at as a whole, or changes just now.
func (f *FS) Fingerprint(ctx context.Context) (uint64, error) {
	for range 2 {
		began := time.Now()
		sum, newest, err := f.fingerprint(ctx)
		if err != nil || sum == 0 || began.Sub(newest) > tick {
			return sum, f.refused(f.cfg.Work, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(tick):
		}
	}
	return 0, ctx.Err()
}

// fingerprint also returns the time of the last change.
func (f *FS) fingerprint(ctx context.Context) (_ uint64, newest time.Time, err error) {
	var sum maphash.Hash
	sum.SetSeed(fingerprints)
	w := &walker{f: f, ctx: ctx, depth: maxDepth, visit: func(_ *os.File, rel, _ string, st *unix.Stat_t) error {
		if at := time.Unix(st.Ctim.Unix()); at.After(newest) {
			newest = at
		}
		_, err := fmt.Fprintln(&sum, rel, st.Ino, st.Mode, st.Size, st.Nlink, st.Mtim.Nano(), st.Ctim.Nano())
		return err
	}}
	err = f.as(func() error { return w.walk(f.cfg.Work) })
	if err != nil || w.incomplete {
		return 0, newest, err
	}
	return max(1, sum.Sum64()), newest, nil
}

var fingerprints = maphash.MakeSeed() //nolint:gochecknoglobals // a constant of the process
