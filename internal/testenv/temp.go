package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// storePrefix begins the names of the directories of blob.DefaultURL.
const storePrefix = "kaa-blobs-"

// InTempDir runs the tests of a package with a directory of their own for temporary files, also of the processes that they start.
// It returns the exit code, which is not 0 if a Kaa left a store in the directory.
func InTempDir(run func() int) int {
	dir, err := newTempDir()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := run()
	// A test that failed half-way leaves files, too: they are not the cause.
	if err := dir.remove(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

type tempDir struct{ path string }

// newTempDir makes the directory and sets TMPDIR to it. Its mode is that of /tmp, because the users of sandboxes have to get through it.
// The name is short: paths of sockets may have 107 bytes.
func newTempDir() (tempDir, error) {
	path, err := os.MkdirTemp("", "kaa")
	if err == nil {
		err = errors.Join(os.Chmod(path, 0o777|os.ModeSticky), os.Setenv("TMPDIR", path))
	}
	if err != nil {
		return tempDir{}, fmt.Errorf("testenv: a directory for temporary files: %w", err)
	}
	return tempDir{path}, nil
}

// mostEnding bounds the attempts to remove the directory: processes that were killed at the end of the tests may still be ending.
const mostEnding = 100

// remove removes the directory, and returns an error if a Kaa keeps files there that nothing removes. Other remains, of processes
// that were killed, are no fault, and neither is a process that still writes there.
func (d tempDir) remove() error {
	stores, err := filepath.Glob(filepath.Join(d.path, storePrefix+"*"))
	for range mostEnding {
		if os.RemoveAll(d.path) == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err == nil && len(stores) > 0 {
		err = fmt.Errorf("testenv: the tests left %s: a Kaa with a Redis of the tests keeps its files there unless it is given KAA_BLOB_URL", strings.Join(stores, ", "))
	}
	return err
}
