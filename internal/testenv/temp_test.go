package testenv_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/testenv"
)

// leave are tests that make a file and leave it behind. They fail if it has the name failing.
func leave(name string) int {
	path := filepath.Join(os.TempDir(), name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		_, _ = fmt.Fprintln(os.Stdout, err)
		return 2
	}
	_, _ = fmt.Fprintln(os.Stdout, path)
	if name == "failing" {
		return 3
	}
	return 0
}

// TestInTempDir: the store of a Kaa is found, and everything is removed in any case.
func TestInTempDir(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]int{"kaa-blobs-0-1234": 1, "kaa-shared-1234": 0, "failing": 3} {
		out, err := testenv.Child(t, name, testenv.Fit, nil).CombinedOutput()
		path, said, _ := strings.Cut(string(out), "\n")
		if got := testenv.ExitCode(err); got != code || strings.Contains(said, "left "+path) != (code == 1) {
			t.Errorf("%s: exit code %d, want %d: %s", name, got, code, said)
		}
		if dir := filepath.Dir(path); filepath.Dir(dir) != os.TempDir() {
			t.Errorf("%s was made in %s", name, dir)
		} else if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s: the directory %s is there still: %v", name, dir, err)
		}
	}
}
