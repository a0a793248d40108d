package process

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/workdir"
)

// PrivateDir is a directory that one process has for itself. A lock on it says that the
// process lives: the kernel lets go of it when the process ends, however that happens, and
// then the next one removes what was left.
type PrivateDir struct {
	Path string
	lock *os.File
}

// MakePrivateDir makes the directory in parent, with a name that begins with prefix, and
// locks it.
func MakePrivateDir(parent, prefix string) (PrivateDir, error) {
	for {
		path, err := os.MkdirTemp(parent, prefix) // 0700
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			return PrivateDir{}, fmt.Errorf("make private directory: %w", err)
		}
		lock, err := lockDir(path)
		if err == nil {
			return PrivateDir{Path: path, lock: lock}, nil
		}
		// A starting process took it for a left-over before it was locked.
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.EWOULDBLOCK) {
			return PrivateDir{}, errors.Join(fmt.Errorf("lock private directory: %w", err), workdir.RemoveTree(path))
		}
	}
}

// Remove deletes the directory with all that is in it.
func (d PrivateDir) Remove() error {
	return errors.Join(workdir.RemoveTree(d.Path), d.lock.Close())
}

// lockDir locks a directory of ours that nobody else has locked.
func lockDir(path string) (*os.File, error) {
	dir, err := workdir.OpenDir(unix.AT_FDCWD, path)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		// It may have been removed between the opening and the lock.
		_, err = os.Lstat(path)
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

// RemoveLeftovers removes the directories of pools in parent whose process was
// killed. What cannot be removed is logged: it is no reason not to start.
func RemoveLeftovers(parent, prefix string, log *slog.Logger) {
	if parent == "" {
		parent = os.TempDir()
	}
	paths, err := filepath.Glob(filepath.Join(parent, prefix+"*"))
	if err != nil { // a parent with a bracket in its name
		return
	}
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() {
			continue
		}
		if !OwnedByUs(info) {
			continue
		}
		lock, err := lockDir(path)
		if err != nil {
			continue // in use, or gone by now
		}
		if err := (PrivateDir{Path: path, lock: lock}).Remove(); err != nil {
			log.Warn("interpreter: a left-over directory was not removed", slog.String("path", path), slog.Any("err", err))
		}
	}
}

// OwnedByUs reports whether a file belongs to the user of this process.
func OwnedByUs(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Getuid()
}
