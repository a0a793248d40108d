package workdir

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// Write puts a file there, with the directories that it needs. It is written under another name
// and then moved. So it replaces an old entry of any kind except a directory, without following
// it, and without a change for processes that have it open. A file is there as a whole or not at
// all.
func (t *Tree) Write(name string, content io.Reader) (Stamp, error) {
	for i := range len(name) {
		if name[i] == '/' {
			if err := t.mkdir(name[:i]); err != nil {
				return Stamp{}, err
			}
		}
	}
	parent, err := t.at(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return Stamp{}, err
	}
	defer parent.Close()
	at, other := int(parent.Fd()), ".kaa-"+rand.Text()
	fd, err := unix.Openat(at, other, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return Stamp{}, &os.PathError{Op: "create", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	s, err := t.fill(f, content, func() error { return unix.Renameat(at, other, at, path.Base(name)) })
	if err != nil {
		err = &os.PathError{Op: "write", Path: name, Err: errors.Join(err, ignoreNotExist(unix.Unlinkat(at, other, 0)))}
	}
	return s, errors.Join(err, f.Close())
}

// fill writes a new file, moves it to its place and returns its stamp there.
func (t *Tree) fill(f *os.File, content io.Reader, move func() error) (Stamp, error) {
	if t.foreign {
		if err := f.Chown(t.uid, t.gid); err != nil {
			return Stamp{}, err
		}
	}
	if _, err := io.Copy(f, content); err != nil {
		return Stamp{}, err
	}
	// Clocks of file systems are coarse: a change may come within the same tick.
	past := unix.NsecToTimeval(time.Now().Add(-time.Second).UnixNano())
	if err := unix.Futimes(int(f.Fd()), []unix.Timeval{past, past}); err != nil {
		return Stamp{}, err
	}
	var before, after unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &before)
	if err == nil {
		err = move()
	}
	if err == nil {
		err = unix.Fstat(int(f.Fd()), &after) // a move is a change, too
	}
	if err != nil {
		return Stamp{}, err
	}
	if s := stampOf(&after); s.data == before.Mtim && s.Size == before.Size {
		return s, nil
	}
	return Stamp{}, nil // live code was faster: the entry there is its own
}

// mkdir makes a directory unless there is one. A new one is given to the owner by a
// descriptor: live code may have put something else in its place.
func (t *Tree) mkdir(name string) error {
	parent, err := t.at(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer parent.Close()
	err = unix.Mkdirat(int(parent.Fd()), path.Base(name), 0o755)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "mkdir", Path: name, Err: err}
	}
	if !t.foreign {
		return nil
	}
	dir, err := t.at(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Chown(t.uid, t.gid)
}

// Remove deletes a file, a link as such, or an empty directory.
func (t *Tree) Remove(name string) error {
	parent, err := t.at(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer parent.Close()
	err = unix.Unlinkat(int(parent.Fd()), path.Base(name), 0)
	if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EPERM) {
		err = unix.Unlinkat(int(parent.Fd()), path.Base(name), unix.AT_REMOVEDIR)
	}
	if err != nil {
		return &os.PathError{Op: "remove", Path: name, Err: err}
	}
	return nil
}
