package testenv

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// ofKaa begins the names of what Kaa and its tests make below the directory for temporary files.
const ofKaa = "kaa-"

// InTempDir runs the tests of a package with a directory of their own for temporary files, also of the processes that they start.
// It returns the exit code, which is not 0 if Kaa or a test left something in the directory.
func InTempDir(run func() int) int {
	dir, err := newTempDir()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := run()
	// What a test that failed half-way has left is not the cause.
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

// mostEnding is how long processes that were killed at the end of the tests may take to end, and to remove what they have made.
const mostEnding = 5 * time.Second

// remove removes the directory, and returns an error if Kaa or a test has left something there. What programs of others left
// when they were killed is no fault.
func (d tempDir) remove() error {
	var left []string
	var err error
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		left, err = d.leftByKaa()
		if err == nil && len(left) == 0 {
			err = os.RemoveAll(d.path)
		}
		if err == nil && len(left) == 0 || time.Since(began) > mostEnding {
			break
		}
	}
	if err = errors.Join(err, os.RemoveAll(d.path)); err != nil {
		return fmt.Errorf("testenv: %w", err)
	}
	if len(left) > 0 {
		return fmt.Errorf("testenv: the tests left %s in TMPDIR: a Kaa with a Redis of the tests keeps files there unless it is given KAA_BLOB_URL", strings.Join(left, ", "))
	}
	return nil
}

// leftByKaa returns the names of what Kaa and its tests have made and not removed.
func (d tempDir) leftByKaa() (names []string, err error) {
	entries, err := os.ReadDir(d.path)
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ofKaa) {
			names = append(names, entry.Name())
		}
	}
	return names, err
}
