package workdir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// Dirs are the private directories of one worker that has no file systems of its own.
type Dirs struct {
	Top, Work, Tmp string
}

// leastRoom is how much a file system must have left for another worker: with less, programs fail
// that would not fail elsewhere.
const leastRoom = 64 << 10

// hasRoom is an error if the file system that path is on is full. Directories alone may still be
// made there.
func hasRoom(path string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	// Some file systems have no numbers of blocks, or of files.
	if fs.Blocks > 0 && fs.Bavail*uint64(fs.Bsize) < leastRoom || fs.Files > 0 && fs.Ffree == 0 { //nolint:gosec // a size
		return &os.PathError{Op: "use", Path: path, Err: unix.ENOSPC}
	}
	return nil
}

// MakeDirs makes them for a worker of the user owner; 0 is this process's own.
func MakeDirs(parent, id string, owner int) (Dirs, error) {
	if err := hasRoom(parent); err != nil {
		return Dirs{}, fmt.Errorf("make private directory: %w", err)
	}
	top := filepath.Join(parent, id)
	d := Dirs{Top: top, Work: filepath.Join(top, "work"), Tmp: filepath.Join(top, "tmp")}
	for _, path := range []string{d.Top, d.Work, d.Tmp} {
		if err := os.Mkdir(path, 0o700); err != nil {
			return d, errors.Join(fmt.Errorf("make private directory: %w", err), RemoveTree(top))
		}
	}
	if owner == 0 {
		return d, nil
	}
	err := os.Chmod(d.Top, 0o711) //nolint:gosec // to be passed through
	for _, path := range []string{d.Work, d.Tmp} {
		err = errors.Join(err, os.Chown(path, owner, owner))
	}
	if err != nil {
		return d, errors.Join(fmt.Errorf("give away private directory: %w", err), RemoveTree(top))
	}
	return d, nil
}

// Remove deletes everything that the code left.
func (d Dirs) Remove() error {
	if d.Top == "" {
		return nil // the worker's file systems were its own
	}
	// Nearly always both are empty, and these three calls are all it takes.
	_ = unix.Rmdir(d.Work)
	_ = unix.Rmdir(d.Tmp)
	err := unix.Rmdir(d.Top)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return RemoveTree(d.Top)
}

// RemoveTree deletes the directory top and its contents. Unlike os.RemoveAll it works with
// directories that their owner may not read. It needs two descriptors at most for any depth of
// the tree, because it moves each directory up to top before it empties it. It follows no
// symbolic link. Nothing else may change the tree meanwhile; the processes that could are dead.
func RemoveTree(top string) error {
	root, err := OpenDir(unix.AT_FDCWD, top)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", top, err)
	}
	defer root.Close()
	// The code cannot have guessed these names.
	r := remover{root: root, prefix: uuid.NewString() + "-"}
	err = r.empty(root)
	for err == nil && len(r.todo) > 0 {
		name := r.todo[len(r.todo)-1]
		r.todo = r.todo[:len(r.todo)-1]
		err = r.removeDir(name)
	}
	if err == nil {
		err = unix.Rmdir(top)
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", top, err)
	}
	return nil
}

type remover struct {
	root   *os.File
	prefix string
	moved  int
	todo   []string // directories that are children of root by now
}

func (r *remover) removeDir(name string) error {
	dir, err := OpenDir(int(r.root.Fd()), name)
	if err != nil {
		return err
	}
	err = r.empty(dir)
	if closeErr := dir.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return unix.Unlinkat(int(r.root.Fd()), name, unix.AT_REMOVEDIR)
}

// empty deletes the files of dir and moves its directories up to the root.
func (r *remover) empty(dir *os.File) error {
	const batch = 1000
	for {
		entries, err := dir.ReadDir(batch)
		for _, entry := range entries {
			if err := r.drop(dir, entry); err != nil {
				return err
			}
		}
		if err != nil || len(entries) == 0 {
			return ignoreEOF(err)
		}
	}
}

func (r *remover) drop(dir *os.File, entry os.DirEntry) error {
	fd, name := int(dir.Fd()), entry.Name()
	if !entry.IsDir() {
		return ignoreNotExist(unix.Unlinkat(fd, name, 0))
	}
	if dir == r.root {
		r.todo = append(r.todo, name)
		return nil
	}
	// To move a directory its owner must be allowed to write to it.
	if err := unix.Fchmodat(fd, name, 0o700, 0); err != nil {
		return err
	}
	r.moved++
	to := r.prefix + strconv.Itoa(r.moved)
	if err := unix.Renameat(fd, name, int(r.root.Fd()), to); err != nil {
		return err
	}
	r.todo = append(r.todo, to)
	return nil
}

// OpenDir opens a directory, with the permission to change it, without following
// a link.
func OpenDir(at int, name string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(at, name, flags, 0)
	if errors.Is(err, fs.ErrPermission) {
		var st unix.Stat_t
		if err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return nil, err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return nil, unix.ENOTDIR
		}
		if err := unix.Fchmodat(at, name, 0o700, 0); err != nil {
			return nil, err
		}
		fd, err = unix.Openat(at, name, flags, 0)
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Fchmod(fd, 0o700); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
