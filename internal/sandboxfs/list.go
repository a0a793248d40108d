package sandboxfs

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// The bounds of a search, which make it end in any directory.
const (
	maxSeen  = 100_000 // entries of directories
	maxDepth = 200     // levels, each of which needs a descriptor
)

// List describes the entries below a directory, in the order depth-first and by name.
func (f *FS) List(ctx context.Context, name string, o job.EntryListing) (job.Entries, error) {
	name = f.clean(name)
	found := job.Entries{Entries: []job.Entry{}}
	size := 0
	w := &walker{f: f, ctx: ctx, depth: o.Depth, after: strings.TrimPrefix(strings.TrimPrefix(o.After, name), "/")}
	w.visit = func(dir *os.File, rel, base string, st *unix.Stat_t) error {
		if len(found.Entries) == o.Limit || size > maxListing {
			found.More = true
			return errEnough
		}
		e := f.describe(join(name, rel), st)
		if e.Type == job.EntryLink {
			f.describeLink(&e, e.RawPath(), int(dir.Fd()), base)
		}
		f.describeAttributes(&e, st, ofChild(dir, base))
		size += len(e.Path) + len(e.Target)
		for name, value := range e.Attributes {
			size += len(name) + len(value)
		}
		found.Entries = append(found.Entries, e)
		return nil
	}
	err := f.as(func() error { return w.walk(name) })
	if errors.Is(err, errEnough) {
		err = nil
	}
	found.Incomplete = w.incomplete
	return found, f.refused(name, err)
}

// maxListing bounds the bytes of paths and attributes in a listing, because the listing goes through Redis.
const maxListing = 256 << 10

var errEnough = errors.New("enough")

func join(dir, rel string) string { return strings.TrimRight(dir, "/") + "/" + rel }

// walker goes through a tree. It is used once.
type walker struct {
	f     *FS
	ctx   context.Context
	depth int    // levels
	after string // only entries after this path are visited
	// visit is called for each entry with its directory, its path below the top, and its name.
	visit func(dir *os.File, rel, base string, st *unix.Stat_t) error

	seen       int
	incomplete bool
}

// walk begins at a directory. A link at its end is followed.
func (w *walker) walk(top string) error {
	found, st, err := w.f.at(top, true)
	if err != nil {
		return err
	}
	defer found.Close()
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return unix.ENOTDIR
	}
	dir, err := reopen(found, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	return w.enter(dir, "", 1)
}

// enter goes through an open directory, which it closes.
func (w *walker) enter(dir *os.File, rel string, level int) error {
	defer dir.Close()
	return w.read(dir, rel, level)
}

func (w *walker) read(dir *os.File, rel string, level int) error {
	names, err := dir.Readdirnames(max(1, maxSeen-w.seen))
	if err != nil && !errors.Is(err, io.EOF) {
		w.incomplete = true
	}
	if w.seen += len(names); w.seen >= maxSeen {
		w.incomplete = true
	}
	slices.Sort(names)
	for _, base := range names {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		child := base
		if rel != "" {
			child = rel + "/" + base
		}
		if err := w.one(dir, child, base, level); err != nil {
			return err
		}
	}
	return nil
}

// one visits an entry, and goes through it if it is a directory.
func (w *walker) one(dir *os.File, rel, base string, level int) error {
	order := compare(rel, w.after)
	if order <= 0 && rel != w.after && !strings.HasPrefix(w.after, rel+"/") {
		return nil // it and all below it were visited for an earlier page
	}
	var st unix.Stat_t
	if unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return nil // it is gone
	}
	if order > 0 {
		if err := w.visit(dir, rel, base, &st); err != nil {
			return err
		}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || level >= w.depth || !w.f.inside(&st) {
		return nil
	}
	if level >= maxDepth || w.seen >= maxSeen {
		w.incomplete = true
		return nil
	}
	child, err := w.f.child(dir, base)
	if err != nil {
		w.incomplete = true
		return nil //nolint:nilerr // it is gone, or the user of the code may not read it
	}
	return w.enter(child, rel, level+1)
}

// child opens a directory in another for reading, and follows no link.
func (f *FS) child(dir *os.File, base string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	child := os.NewFile(uintptr(fd), base)
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && !f.inside(&st) {
		err = errOutside
	}
	if err != nil {
		_ = child.Close()
		return nil, err
	}
	return child, nil
}

// compare orders paths depth-first: by name, level after level.
func compare(a, b string) int {
	if a == b {
		return 0
	}
	return slices.CompareFunc(strings.Split(a, "/"), strings.Split(b, "/"), strings.Compare)
}
