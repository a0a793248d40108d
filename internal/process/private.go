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

// PrivateDir is a directory that belongs to one process. The process holds a lock on it while it
// lives. The kernel releases the lock when the process ends, in whatever way. A later process
// then removes the directory.
type PrivateDir struct {
	Path string
	lock *os.File
}

// MakePrivateDir makes a directory in parent whose name begins with prefix, and locks it.
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
		// A process that was starting removed the directory before it was locked here.
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.EWOULDBLOCK) {
			return PrivateDir{}, errors.Join(fmt.Errorf("lock private directory: %w", err), workdir.RemoveTree(path))
		}
	}
}

// Remove deletes the directory and everything in it, and releases the lock.
func (d PrivateDir) Remove() error {
	return errors.Join(workdir.RemoveTree(d.Path), d.lock.Close())
}

// lockDir locks a directory of this user. It fails if another process has locked it.
func lockDir(path string) (*os.File, error) {
	dir, err := workdir.OpenDir(unix.AT_FDCWD, path)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		// Another process may have removed it between the opening and the lock.
		_, err = os.Lstat(path)
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

// RemoveLeftovers removes the directories in parent that belonged to pools of killed processes.
// It only logs a directory that it cannot remove, because the pool can start without that.
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
			continue // in use, or already removed
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
