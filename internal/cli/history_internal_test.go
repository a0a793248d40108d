package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
)

// TestHistory: lines are found again by the next interpreter, in a file of bounded size that only its owner may read.
func TestHistory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	environ := app.Environment{"XDG_STATE_HOME=" + dir}
	path := filepath.Join(dir, "kaa", "history")
	open := func() *history {
		t.Helper()
		h, err := openHistory(environ)
		if err != nil || h.file == nil {
			t.Fatalf("%v", err)
		}
		t.Cleanup(h.close)
		return h
	}
	h := open()
	for _, line := range []string{"x = 1", "x = 1", "", "  x", "bell\a", "wrong \xff"} {
		h.Add(line)
	}
	h.answering = true
	h.Add("my password")
	if h.Len() != 2 || h.At(0) != "  x" || h.At(1) != "x = 1" {
		t.Errorf("%q", h.lines)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "x = 1\n  x\n" {
		t.Errorf("%v: %q", err, text)
	}
	// What others have written there is no line of a terminal.
	if err := os.WriteFile(path, []byte("\x1b[2Jgone\nkept\n"+strings.Repeat("x", mostTyped+1)+"\nlast without an end"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if h = open(); h.Len() != 2 || h.At(1) != "kept" {
		t.Errorf("%q", h.lines)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	line := strings.Repeat("y", 1000)
	for i := range 2 * mostHistory / len(line) {
		h.Add(line + string(rune('a'+i%26)))
	}
	if h.Len() != mostLines {
		t.Errorf("%d lines", h.Len())
	}
	h = open()
	h.Add("after")
	if info, err := os.Stat(path); err != nil || info.Size() > mostHistory {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
	if h = open(); h.At(0) != "after" || !strings.HasPrefix(h.At(h.Len()-1), line) {
		t.Errorf("%q … %q", h.At(0), h.At(h.Len()-1))
	}
	if left, err := filepath.Glob(filepath.Join(dir, "kaa", ".*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestNoHistory: a person may do without, and without a file there is a history all the same.
func TestNoHistory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		environ app.Environment
		fails   bool
	}{
		"switched off":    {app.Environment{"HOME=" + dir, "KAA_HISTORY="}, false},
		"no home":         {app.Environment{}, false},
		"a directory":     {app.Environment{"KAA_HISTORY=" + dir}, true},
		"below no folder": {app.Environment{"KAA_HISTORY=/dev/null/history"}, true},
	} {
		h, err := openHistory(tt.environ)
		if (err != nil) != tt.fails || h.file != nil {
			t.Errorf("%s: %v", name, err)
		}
		if h.Add("x"); h.Len() != 1 || h.At(0) != "x" {
			t.Errorf("%s: %q", name, h.lines)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
