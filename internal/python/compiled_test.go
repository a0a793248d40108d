package python_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/kaa-run/kaa/internal/python"
)

func TestKeep(t *testing.T) {
	t.Parallel()
	const name = "test-of-keep.compiled"
	first, second := t.TempDir(), t.TempDir()
	if err := python.Write(first); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(first, name)); err == nil {
		t.Fatal("it is there before Keep")
	}
	data := bytes.Repeat([]byte("x"), 1000)
	if err := os.WriteFile(filepath.Join(first, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
	python.Keep(first)
	if err := python.Write(second); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(second, name)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("it is %.20q, %v", got, err)
	}
	third := t.TempDir()
	if err := os.MkdirAll(filepath.Join(third, name, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := python.Write(third); err != nil {
		t.Errorf("it cannot be written: %v; it is only quicker with it", err)
	}
}
