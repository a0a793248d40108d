package interpreter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// tree is a working directory, by a descriptor of it. What is in it is the code's, and
// while the code lives it may change at any moment: so nothing is opened by a path that
// the kernel would take out of it, by "..", a link or a mount, and what was opened is
// looked at before it is used. It takes openat2 (Linux 5.6).
type tree struct {
	dir *os.File
	// dead: no process is left that could change it. Then modes may be changed, to read
	// what the code has made unreadable.
	dead bool
	// uid and gid are whose new files are to be, if not this process's.
	uid, gid int
	given    bool
}

// newTree takes over the descriptor.
func newTree(dir *os.File) (*tree, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return nil, errors.Join(fmt.Errorf("look at the working directory: %w", err), dir.Close())
	}
	return &tree{dir: dir, uid: int(st.Uid), gid: int(st.Gid), given: int(st.Uid) != os.Geteuid()}, nil
}

func (t *tree) close() { _ = t.dir.Close() }

// bury notes that all processes are gone, and makes the directory readable.
func (t *tree) bury() error {
	t.dead = true
	return unix.Fchmod(int(t.dir.Fd()), 0o700)
}

// at opens a path below the directory; "." is itself. What is opened may be anything but
// a symbolic link.
func (t *tree) at(name string, flags int) (*os.File, error) {
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

// readable opens a path to be read, whatever its mode is if nobody is left who could mind.
func (t *tree) readable(name string, flags int) (*os.File, error) {
	f, err := t.at(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|flags)
	if !errors.Is(err, fs.ErrPermission) || !t.dead {
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

// open opens a regular file to be read.
func (t *tree) open(name string) (*os.File, stamp, error) {
	f, err := t.readable(name, 0)
	if err != nil {
		return nil, stamp{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, stamp{}, errors.Join(err, f.Close())
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, stamp{}, errors.Join(&os.PathError{Op: "open", Path: name, Err: errNoRegular}, f.Close())
	}
	return f, stampOf(&st), nil
}

var errNoRegular = errors.New("not a regular file")

// stamp tells whether a file was changed: the time of its last change cannot be set, and
// that of its content is one that no change leaves.
type stamp struct {
	inode         uint64
	size          int64
	changed, data unix.Timespec
}

func stampOf(st *unix.Stat_t) stamp { return stamp{st.Ino, st.Size, st.Ctim, st.Mtim} }

// found is a regular file in a tree.
type found struct {
	path  string
	stamp stamp
}

// The bounds of a search. With their help it ends, whatever is there.
const (
	maxSeen = 20_000 // entries of directories
	maxPath = 1024   // bytes of a path; deeper is not looked
)

// ignored is made by importing what was put there, and of no use to anybody.
const ignored = "__pycache__"

// search lists the regular files, those nearer to the top first, and reports whether
// that was all of them. Links, pipes, sockets and devices are none.
func (t *tree) search(ctx context.Context) (files []found, all bool) {
	all = true
	seen := 0
	for todo := []string{"."}; len(todo) > 0; todo = todo[1:] {
		dir, err := t.readable(todo[0], unix.O_DIRECTORY)
		if errors.Is(err, unix.EXDEV) {
			continue // an interpreter that lives there
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
				files = append(files, found{name, stampOf(&st)})
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
