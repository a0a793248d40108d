package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"
)

// The common group of a runner is locked while the runner lives; the kernel releases the lock
// when the process ends in any way. A process id would show less: runners that share a parent
// need not see each other's processes.

// Names of runners' groups, with the number of the process, and of the groups in them.
var (
	runnerGroup = regexp.MustCompile(`^kaa-([0-9]+)-[0-9]+$`)
	slotGroup   = regexp.MustCompile(`^[0-9]+$`)
)

// lockGroup locks a group that no other process has locked.
func lockGroup(dir string) (*os.File, error) {
	lock, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock control group: %w", err), lock.Close())
	}
	if _, err := os.Lstat(dir); err != nil { // it was removed meanwhile
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// removeLeftovers removes the groups of runners that were killed, and nothing else. One that still
// has processes stays: the kernel refuses.
func removeLeftovers(base string) {
	old, _ := filepath.Glob(filepath.Join(base, "kaa-*"))
	for _, dir := range old {
		match := runnerGroup.FindStringSubmatch(filepath.Base(dir))
		if match == nil {
			continue
		}
		if _, err := os.Stat("/proc/" + match[1]); err == nil {
			continue // a runner without a lock, of an older Kaa, may live
		}
		lock, err := lockGroup(dir)
		if err != nil {
			continue
		}
		children, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, child := range children {
			if slotGroup.MatchString(filepath.Base(child)) {
				_ = os.Remove(child)
			}
		}
		_ = os.Remove(dir)
		_ = lock.Close()
	}
}
