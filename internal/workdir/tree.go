package workdir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Tree is an open working directory. Hostile code may change it at any moment. So a path is
// opened by openat2 (Linux 5.6), which refuses to leave the directory by "..", a link or a
// mount, and an opened file is checked before it is used.
type Tree struct {
	dir *os.File
	// abandoned: no process is left that could change the directory. Then modes may be changed,
	// to read files that the code has made unreadable.
	abandoned atomic.Bool
	// uid and gid own new files if foreign is set; otherwise this process does.
	uid, gid int
	foreign  bool
}

// New takes over the descriptor of a working directory.
func New(dir *os.File) (*Tree, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return nil, errors.Join(fmt.Errorf("look at the working directory: %w", err), dir.Close())
	}
	return &Tree{dir: dir, uid: int(st.Uid), gid: int(st.Gid), foreign: int(st.Uid) != os.Geteuid()}, nil
}

// Dir is the directory. The tree goes on owning it.
func (t *Tree) Dir() *os.File { return t.dir }

// Close closes the directory.
func (t *Tree) Close() { _ = t.dir.Close() }

// Abandoned declares that the last process that could change the directory has ended. It makes
// the directory readable.
func (t *Tree) Abandoned() error {
	t.abandoned.Store(true)
	return unix.Fchmod(int(t.dir.Fd()), 0o700)
}

// at opens a path below the directory; "." is the directory itself. The opened file may be of
// any kind except a symbolic link.
func (t *Tree) at(name string, flags int) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_NOFOLLOW | unix.O_CLOEXEC), //nolint:gosec // flags are not negative
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	const tries = 100 // the kernel gives up when something is moved meanwhile
	for range tries {
		fd, err := unix.Openat2(int(t.dir.Fd()), name, &how)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), name), nil
		case !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN):
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
	}
	return nil, &os.PathError{Op: "open", Path: name, Err: unix.EAGAIN}
}

// readable opens a path to be read; of an abandoned tree, whatever its mode is.
func (t *Tree) readable(name string, flags int) (*os.File, error) {
	f, err := t.at(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|flags)
	if !errors.Is(err, fs.ErrPermission) || !t.abandoned.Load() {
		return f, err
	}
	parent, err := t.at(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	var st unix.Stat_t
	if err := unix.Fstatat(int(parent.Fd()), path.Base(name), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, err
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return nil, fs.ErrPermission
	}
	if err := unix.Fchmodat(int(parent.Fd()), path.Base(name), 0o700, 0); err != nil {
		return nil, err
	}
	return t.at(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|flags)
}

// Open opens a regular file to be read.
func (t *Tree) Open(name string) (*os.File, Stamp, error) {
	f, err := t.readable(name, 0)
	if err != nil {
		return nil, Stamp{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, Stamp{}, errors.Join(err, f.Close())
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, Stamp{}, errors.Join(&os.PathError{Op: "open", Path: name, Err: ErrNotRegular}, f.Close())
	}
	return f, stampOf(&st), nil
}

// ErrNotRegular is the reason why Open refuses a directory, a pipe, a socket or a device.
var ErrNotRegular = errors.New("not a regular file")

// Stamp shows whether a file was changed. Code can set the time of its content, but not the time
// of its last change.
type Stamp struct {
	inode         uint64
	Size          int64
	changed, data unix.Timespec
}

// StampOf returns the stamp of a file.
func StampOf(st *unix.Stat_t) Stamp { return stampOf(st) }

func stampOf(st *unix.Stat_t) Stamp { return Stamp{st.Ino, st.Size, st.Ctim, st.Mtim} }

// Modified is the time of the last change of the content, which code can set.
func (s Stamp) Modified() time.Time { return time.Unix(s.data.Unix()).UTC() }

// Used is the number of bytes in use on the directory's file system.
func (t *Tree) Used() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(t.dir.Fd()), &st); err != nil {
		return 0, err
	}
	return int64(st.Blocks-st.Bfree) * st.Bsize, nil //nolint:gosec // a size fits
}

// Found is a regular file in a tree.
type Found struct {
	Path  string
	Stamp Stamp
}

// The bounds of a search, which make it end in any directory.
const (
	maxSeen = 20_000 // entries of directories
	maxPath = 1024   // bytes of a path; deeper entries are skipped
)

// ignored is made by importing files of the directory, and is useless to callers.
const ignored = "__pycache__"

// Search lists the regular files, those nearer to the top first, and reports whether the list is
// complete. It leaves out links, pipes, sockets and devices.
func (t *Tree) Search(ctx context.Context) (files []Found, all bool) {
	all = true
	seen := 0
	for todo := []string{"."}; len(todo) > 0; todo = todo[1:] {
		dir, err := t.readable(todo[0], unix.O_DIRECTORY)
		if errors.Is(err, unix.EXDEV) {
			continue // an interpreter in that directory
		}
		if err != nil {
			all = false
			continue
		}
		names, err := dir.Readdirnames(maxSeen + 1 - seen)
		seen += len(names)
		if err != nil && !errors.Is(err, io.EOF) || seen > maxSeen || ctx.Err() != nil {
			_ = dir.Close()
			return files, false
		}
		slices.Sort(names)
		fd, above := int(dir.Fd()), todo[0]+"/"
		if todo[0] == "." {
			above = ""
		}
		for _, base := range names {
			var st unix.Stat_t
			if err := unix.Fstatat(fd, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				continue // it is gone
			}
			name := above + base
			switch st.Mode & unix.S_IFMT {
			case unix.S_IFREG:
				files = append(files, Found{name, stampOf(&st)})
			case unix.S_IFDIR:
				if base == ignored {
					continue
				}
				if len(name) > maxPath {
					all = false
					continue
				}
				todo = append(todo, name)
			}
		}
		_ = dir.Close()
	}
	return files, all
}
