package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBlame: what a script says is blamed on the part that it names, but not if the machine
// has too little of something.
func TestBlame(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ layer, text, part string }{
		{"namespaces", "clone: [Errno 11] Resource temporarily unavailable", "processes"},
		{"process supervision", "clone: [Errno 11] Resource temporarily unavailable", "processes"},
		{"namespaces", "clone: [Errno 12] Cannot allocate memory", "memory"},
		{"namespaces", "clone: [Errno 1] Operation not permitted", "namespaces"},
		{"landlock", "landlock_create_ruleset: [Errno 38] Function not implemented", "landlock"},
		{"landlock", "openat: [Errno 24] Too many open files", "open files"},
		{"", "OSError: [Errno 11] Resource temporarily unavailable", "processes"},
		{"", "RuntimeError: preload x: it is broken", "interpreter"},
	} {
		if got := PartOf(fmt.Errorf("start: %w", blame(tt.layer, tt.text))); got != tt.part {
			t.Errorf("%s: %s is blamed on %q, want %q", tt.layer, tt.text, got, tt.part)
		}
	}
}

// TestWhichNamespace: the one that fails is named, and those that do not are not.
func TestWhichNamespace(t *testing.T) {
	t.Parallel()
	all := &syscall.SysProcAttr{}
	for _, ns := range cloneLayers {
		all.Cloneflags |= ns.flag
	}
	for i, bad := range cloneLayers {
		err := whichNamespace(Request{Argv: []string{"python"}, Attr: all}, unix.ENOSPC, func(req Request) error {
			if req.Attr.Cloneflags&bad.flag != 0 {
				return unix.ENOSPC
			}
			return nil
		})
		layer, ok := errors.AsType[*LayerError](err)
		if !ok || layer.Layer != bad.layer || len(layer.Held) != i {
			t.Errorf("%s fails: %v", bad.layer, err)
		}
	}
	err := whichNamespace(Request{Argv: []string{"python"}, Attr: all}, unix.EPERM, func(Request) error { return nil })
	if PartOf(err) != "namespaces" {
		t.Errorf("none fails alone: %v", err)
	}
}

// TestWhyNoProcess: real ones.
func TestWhyNoProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct{ name, python, dir, part string }{
		{"missing", filepath.Join(dir, "none"), dir, "interpreter"},
		{"not executable", write("plain", "#!/bin/sh\n", 0o600), dir, "interpreter"},
		{"of another machine", write("odd", "\x7fELF?", 0o700), dir, "interpreter"},
		{"its own interpreter is missing", write("script", "#!/nowhere/python\n", 0o700), dir, "interpreter"},
		{"directory is gone", "/bin/true", filepath.Join(dir, "none"), "work directory"},
	} {
		attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
		_, err := startProcess(Request{Argv: []string{tt.python}, Dir: tt.dir, Attr: attr})
		if err == nil || PartOf(err) != tt.part || strings.Contains(err.Error(), "sysctl") || strings.Contains(err.Error(), "namespace") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
