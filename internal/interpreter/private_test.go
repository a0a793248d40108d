package interpreter_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
)

// TestLeftoversOfKilledPools: a pool removes what one that was killed left, and
// nothing of one that lives.
func TestLeftoversOfKilledPools(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	leftover := filepath.Join(dir, "kaa-interpreter-123", "session", "work")
	if err := os.MkdirAll(leftover, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(leftover, "secret"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(dir, "outside")
	if err := os.Mkdir(outside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "kaa-interpreter-link")); err != nil {
		t.Fatal(err)
	}
	var pools []*interpreter.Pool
	for range 2 {
		p, err := interpreter.New(t.Context(), interpreter.Config{Runtimes: []interpreter.RuntimeConfig{{Python: python()}}, Dir: dir, StartTimeout: ample})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		}()
		pools = append(pools, p)
	}
	if _, err := os.Lstat(filepath.Join(dir, "kaa-interpreter-123")); !os.IsNotExist(err) {
		t.Errorf("the left-over is still there: %v", err)
	}
	if _, err := os.Lstat(outside); err != nil {
		t.Errorf("a link was followed: %v", err)
	}
	if err := pools[0].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	res := execute(t, pools[0], job.Spec{Code: "open('x', 'w').write('1'); print(open('x').read())"})
	if res.Stdout != "1\n" {
		t.Errorf("the first pool's directory is damaged: %+v", res)
	}
}
