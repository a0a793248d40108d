package sandboxfs_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

// watched is a watch that is under way.
type watched struct {
	events chan job.FileEvent
	done   chan error
	stop   context.CancelFunc
}

func (tr *tree) watch(t *testing.T, name string, recursive bool) *watched {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	w := &watched{events: make(chan job.FileEvent, 100_000), done: make(chan error, 1), stop: stop}
	ready := make(chan struct{})
	go func() {
		w.done <- tr.Watch(ctx, name, recursive, func() { close(ready) }, func(events []job.FileEvent) error {
			for _, e := range events {
				w.events <- e
			}
			return nil
		})
	}()
	select {
	case <-ready:
	case err := <-w.done:
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return w
}

// until returns the events up to the one of that path, as text. How many events are reported of one change of a content depends
// on the time that it takes: only the first of them is returned.
func (w *watched) until(t *testing.T, path string) string {
	t.Helper()
	var all []string
	for {
		select {
		case e := <-w.events:
			if e.Path == path && e.Type == job.FileCreated {
				return strings.Join(all, " ")
			}
			text := e.Type + ":" + e.Path
			if e.Directory {
				text += "/"
			}
			if e.Type != job.FileWritten || len(all) == 0 || all[len(all)-1] != text {
				all = append(all, text)
			}
		case err := <-w.done:
			t.Fatalf("%s: the watch has ended: %v", all, err)
		case <-time.After(testenv.Timeout):
			t.Fatalf("only %s", all)
		}
	}
}

// TestWatch: what code and callers do is reported in its order.
func TestWatch(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.code(t, "mkdir -p d/sub/deep; touch d/f")
	flat, deep := tr.watch(t, "d", false), tr.watch(t, "d", true)
	for i, tt := range []struct {
		code       string
		flat, deep string
	}{
		{"touch d/new", "create:new chmod:new", "create:new chmod:new"},
		{"echo x > d/f", "write:f", "write:f"},
		{"chmod 700 d/f", "chmod:f", "chmod:f"},
		{"mv d/f d/g", "rename:f create:g", "rename:f create:g"},
		{"mv d/g d/sub/g", "rename:g", "rename:g create:sub/g"},
		{"rm d/new", "remove:new", "remove:new"},
		{"echo x > d/sub/deep/f", "", "create:sub/deep/f write:sub/deep/f"},
		{"mv d/sub d/other", "rename:sub/ create:other/", "rename:sub/ create:other/ create:other/deep/ create:other/deep/f create:other/g"},
		{"chmod 700 d/other/g", "", "chmod:other/g"},
		{"mv d/other /tmp/x; chmod 755 /tmp/x/deep; mv /tmp/x d/sub", "", ""},
		{"", "", ""},
		{"rm -r d/sub", "remove:sub/", ""},
	} {
		if strings.Contains(tt.code, "/tmp/x") {
			tt.code = strings.ReplaceAll(tt.code, "/tmp/x", "../tmp/x")
			tt.flat, tt.deep = "rename:other/ create:sub/", "rename:other/ create:sub/ create:sub/deep/ create:sub/deep/f create:sub/g"
		}
		if tt.code == "" { // from outside
			tr.put(t, "d/put", "new")
			tt.flat, tt.deep = "create:put write:put", "create:put write:put"
		}
		mark := "mark" + strings.Repeat("x", i)
		tr.code(t, tt.code+"\nmkdir d/"+mark)
		gotFlat, gotDeep := flat.until(t, mark), deep.until(t, mark)
		if gotFlat != tt.flat || tt.deep != "" && gotDeep != tt.deep {
			t.Errorf("%s: flat %q, want %q; deep %q, want %q", tt.code, gotFlat, tt.flat, gotDeep, tt.deep)
		}
	}
	flat.stop()
	if err := <-flat.done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	tr.code(t, "rm -r d")
	select {
	case err := <-deep.done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testenv.Timeout):
		t.Fatal("the watch of a directory that is gone goes on")
	}
	var last job.FileEvent
	for len(deep.events) > 0 {
		last = <-deep.events
	}
	if diff := gocmp.Diff(job.FileEvent{Type: job.FileRemoved, Path: ".", Directory: true}, last); diff != "" {
		t.Error(diff)
	}
}

// TestWatchRefused: what cannot be watched, and more watches than a session may have.
func TestWatchRefused(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.code(t, "touch f; ln -s /outside out")
	nothing := func([]job.FileEvent) error { return nil }
	for name, want := range map[string]string{"f": "refused:not_a_directory", "no": "refused:file_not_found", "out": "refused:file_access_denied", "/": "refused:file_access_denied"} {
		if err := tr.Watch(t.Context(), name, true, func() {}, nothing); name != "out" && codeOf(err) != want || err == nil {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	for range 16 {
		tr.watch(t, "", false)
	}
	if err := tr.Watch(t.Context(), "", true, func() {}, nothing); codeOf(err) != "refused:refused" {
		t.Error(err)
	}
}

// TestWatchHostile: code that changes more than can be told, and moves directories out of the tree and back, gets
// bounded work, and events of nothing outside.
func TestWatchHostile(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.code(t, "mkdir d")
	w := tr.watch(t, "d", true)
	tr.code(t, `
python3 -c '
import os
for i in range(40000): open("d/f%d" % (i % 7), "w").close()
for i in range(200):
    os.makedirs("d/a/b/c", exist_ok=True); os.rename("d/a", "../tmp/a%d" % i); os.symlink("../../tmp/a%d" % i, "d/l%d" % i)
'; touch ../tmp/a1/b/hidden; touch d/l1/b/hidden; mkdir d/mark`)
	all := w.until(t, "mark")
	if strings.Contains(all, "hidden") {
		t.Error("a file outside of the directory was reported")
	}
	if !strings.Contains(all, "create:l1") {
		t.Error("the end is missing")
	}
	if left, err := os.ReadDir(tr.top + "/tmp"); err != nil || len(left) != 200 {
		t.Errorf("%d, %v", len(left), err)
	}
}
