package packages

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// TestPreloads: of the modules to import ahead those count that a set has, in the operator's order.
func TestPreloads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, path := range []string{"numpy/__init__.py", "matplotlib/pyplot.py", "single.py", "empty/data.txt"} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := &Manager{cfg: Config{Preload: []string{"single", "matplotlib.pyplot", "none", "empty", "numpy"}}}
	if got, want := m.preloads(dir), []string{"single", "matplotlib.pyplot", "numpy"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
