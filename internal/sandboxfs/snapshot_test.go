package sandboxfs_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// listing describes all of a working directory, with the system's find as the judge.
const listing = `find . -mindepth 1 ! -type p -printf '%P %y %m %n %s %T@ %l\n' | sort; find . -type f -readable -exec sha1sum {} + | sort`

func (tr *tree) list(t *testing.T) string {
	t.Helper()
	out := tr.top + "/tmp/listing"
	tr.code(t, "chmod -f 700 closed || true; ("+listing+") > ../tmp/listing; chmod -f 500 closed || true")
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestSnapshot: what is restored is what was saved: modes, links, times, holes and odd names.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	from, to := newTree(t), newTree(t)
	from.code(t, `echo one > plain; chmod 751 plain; touch -d '2001-02-03 04:05:06.789012345' plain
		mkdir -p a/b/c; ln plain a/hard; ln -s /etc/passwd out; ln -s ../../../.. a/up; ln -s nowhere dangling
		printf x > "$(printf 'odd-\377\n')"; printf %0200d 1 > $(printf %0200d 2)
		mkdir -p a/$(printf %0200d 3)/$(printf %0200d 4); echo deep > a/$(printf %0200d 3)/$(printf %0200d 4)/x
		truncate -s 9M hole; echo middle | dd of=hole bs=1 seek=5000000 conv=notrunc status=none
		echo s > secret; chmod 0 secret; mkdir closed; echo in > closed/in; chmod 500 closed; touch -d 2002-02-02 a closed; mkfifo pipe; chmod 1777 a/b; : > empty`)
	var b bytes.Buffer
	stats, err := from.Snapshot(t.Context(), &b)
	if err != nil || stats.Skipped != 1 || b.Len() > 1<<20 {
		t.Fatalf("%+v of %d bytes: %v", stats, b.Len(), err)
	}
	if err := to.Restore(t.Context(), bytes.NewReader(b.Bytes())); err != nil {
		t.Fatal(err)
	}
	before := from.list(t)
	if diff := cmp.Diff(before, to.list(t)); diff != "" || !strings.Contains(before, "hard f 751 2 ") {
		t.Errorf("restored (-want +got):\n%s\nof:\n%s", diff, before)
	}
	if held := allocated(t, to.top+"/work/hole"); held > 1<<20 {
		t.Errorf("the file with holes takes %d bytes", held)
	}
	again := newTree(t)
	again.most = 1000
	if err := again.Restore(t.Context(), bytes.NewReader(b.Bytes())); refusalOf(err) != job.FailDisk {
		t.Errorf("without room: %v", err)
	}
	if err := newTree(t).Restore(t.Context(), bytes.NewReader(b.Bytes()[:b.Len()/2+100])); err == nil {
		t.Error("half of a snapshot was restored")
	}
}

// TestSnapshotOfMounts: directories of root in the working directory, around what is mounted there, are no part of a snapshot. The next
// sandbox has them, too.
func TestSnapshotOfMounts(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make directories of another user")
	}
	from, to := newTree(t), newTree(t)
	for _, tr := range []*tree{from, to} {
		tr.make(t, "mkdir -p work/around/mounted; echo library > work/around/mounted/file")
	}
	from.code(t, "mkdir own; echo text > own/file")
	var b bytes.Buffer
	stats, err := from.Snapshot(t.Context(), &b)
	if err != nil || stats.Entries != 2 || stats.Skipped != 0 {
		t.Errorf("%+v, %v", stats, err)
	}
	if err := to.Restore(t.Context(), &b); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(to.top + "/work/own/file"); string(text) != "text\n" {
		t.Errorf("%q, %v", text, err)
	}
}

func refusalOf(err error) job.FailureCode {
	if refused, ok := errors.AsType[*job.RefusedError](err); ok {
		return refused.Code
	}
	return ""
}

// allocated is the room that a file takes.
func allocated(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// TestRestoreStaysInside: a snapshot that hostile code could have forged reaches nothing outside of the working directory.
func TestRestoreStaysInside(t *testing.T) {
	t.Parallel()
	dir := func(name string) tarEntry {
		return tarEntry{h: tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}}
	}
	sparse := func(length, parts string) tarEntry {
		e := file("x", "ab")
		e.h.PAXRecords = map[string]string{"KAA.length": length, "KAA.parts": parts}
		return e
	}
	for name, entries := range map[string][]tarEntry{
		"above":             {file("../outside/new", "x")},
		"absolute":          {file("/outside/new", "x")},
		"through a link":    {linkTo("../outside"), file("l/new", "x")},
		"an absolute link":  {linkTo("/outside"), file("l/new", "x")},
		"a device":          {{h: tar.Header{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}},
		"hard link out":     {{h: tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "../outside/secret"}}},
		"hard link by link": {linkTo("../outside"), {h: tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "l/secret"}}},
		"mode by link":      {dir("d"), linkTo("../outside"), dir("l")},
		"too long a part":   {sparse("2", "0,3")},
		"parts that wrap":   {sparse("10", "9223372036854775807,2")},
		"parts backwards":   {sparse("10", "5,1;1,1")},
		"a wrong part":      {sparse("10", "a,b")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newTree(t)
			for i := range entries {
				entries[i].h.Format = tar.FormatPAX
			}
			if err := tr.Restore(t.Context(), paxArchive(t, entries...)); err == nil {
				t.Error("it was restored")
			}
			tr.make(t, "chmod 700 outside; test \"$(ls outside)\" = secret && test $(stat -c %h outside/secret) = 1")
		})
	}
}

// paxArchive is archive in the form of snapshots.
func paxArchive(t *testing.T, entries ...tarEntry) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.h
		if h.Typeflag == 0 {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(e.content))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// TestSnapshotIsBounded: too many entries, levels or bytes of a path are a refusal.
func TestSnapshotIsBounded(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"levels": `python3 -c "
import os
for i in range(201):
    os.mkdir('d'); os.chdir('d')"`,
		"paths": `python3 -c "
import os
for i in range(20):
    os.mkdir('d' * 250); os.chdir('d' * 250)"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newTree(t)
			tr.code(t, script)
			if _, err := tr.Snapshot(t.Context(), io.Discard); refusalOf(err) != job.FailTooLarge {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestFingerprint: it changes with every change.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.code(t, "mkdir d; echo 1 > d/a; echo 2 > b")
	known := map[uint64]string{}
	for _, change := range []string{"true", "echo 3 > b", "chmod 600 b", "touch -d 2001-01-01 b", "mv b c", "ln c e", "ln -s c l", "rm d/a", "mkdir d/d"} {
		tr.code(t, change)
		var sum uint64
		for sum == 0 {
			var err error
			if sum, err = tr.Fingerprint(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if before, same := known[sum]; same {
			t.Errorf("%s: as after %s", change, before)
		}
		known[sum] = change
		again, err := tr.Fingerprint(t.Context())
		if err != nil || again != sum {
			t.Errorf("%s: %d, then %d: %v", change, sum, again, err)
		}
	}
}
