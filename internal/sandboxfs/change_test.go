package sandboxfs_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

// sh runs a script in a directory.
func sh(t *testing.T, dir, script string, user *syscall.Credential) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "sh", "-euc", "umask 022\n"+script)
	c.Dir, c.SysProcAttr = dir, &syscall.SysProcAttr{Credential: user}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// TestChange: directories, moves, copies, removals and modes; each step begins where the one before ended.
func TestChange(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.put(t, "a/f", "f")
	tr.code(t, `ln -s f a/link; ln -s /outside out; mkdir full; touch full/x; mkfifo pipe`)
	ctx := t.Context()
	entry := func(e job.Entry, err error) (string, error) {
		if err != nil {
			return "", err
		}
		return e.RawPath() + " " + e.Mode, nil
	}
	none := func(err error) (string, error) { return "", err }
	for _, tt := range []struct {
		name string
		do   func() (string, error)
		want string
	}{
		{"make", func() (string, error) { return entry(tr.MakeDir("n/m", 0o750, true)) }, "/work/n/m 0750"},
		{"make again", func() (string, error) { return entry(tr.MakeDir("n/m", 0o750, true)) }, "refused:file_exists"},
		{"make over a file", func() (string, error) { return entry(tr.MakeDir("a/f", 0o750, true)) }, "refused:file_exists"},
		{"make without parents", func() (string, error) { return entry(tr.MakeDir("p/q", 0o755, false)) }, "refused:file_not_found"},
		{"make outside", func() (string, error) { return entry(tr.MakeDir("/new", 0o755, true)) }, "refused:file_access_denied"},
		{"make outside by a link", func() (string, error) { return entry(tr.MakeDir("out/new/x", 0o755, true)) }, "refused:file_access_denied"},
		{"move", func() (string, error) { return entry(tr.Move(ctx, "a/f", "n/g", false, false)) }, "/work/n/g 0644"},
		{"move what is gone", func() (string, error) { return entry(tr.Move(ctx, "a/f", "n/g", true, false)) }, "refused:file_not_found"},
		{"move onto", func() (string, error) { return entry(tr.Move(ctx, "n/g", "full/x", false, false)) }, "refused:file_exists"},
		{"move and replace", func() (string, error) { return entry(tr.Move(ctx, "n/g", "full/x", true, false)) }, "/work/full/x 0644"},
		{"move with parents", func() (string, error) { return entry(tr.Move(ctx, "full/x", "r/s/t", false, true)) }, "/work/r/s/t 0644"},
		{"move into itself", func() (string, error) { return entry(tr.Move(ctx, "r", "r/s/u", false, true)) }, "refused:refused"},
		{"move out", func() (string, error) { return entry(tr.Move(ctx, "r", "out/r", false, true)) }, "refused:file_access_denied"},
		{"move in", func() (string, error) { return entry(tr.Move(ctx, "/outside/secret", "s", false, true)) }, "refused:file_access_denied"},
		{"move a link as such", func() (string, error) { return entry(tr.Move(ctx, "out", "out3", false, true)) }, "/work/out3 0777"},
		{"copy a tree", func() (string, error) { return entry(tr.Copy(ctx, "r", "/tmp/r", false, false)) }, "/tmp/r 0755"},
		{"copy again", func() (string, error) { return entry(tr.Copy(ctx, "r", "/tmp/r", false, false)) }, "refused:file_exists"},
		{"copy over", func() (string, error) { return entry(tr.Copy(ctx, "r", "/tmp/r", true, false)) }, "/tmp/r 0755"},
		{"copy into itself", func() (string, error) { return entry(tr.Copy(ctx, "r", "r/in", false, false)) }, "/work/r/in 0755"},
		{"copy a file", func() (string, error) { return entry(tr.Copy(ctx, "r/s/t", "one", false, false)) }, "/work/one 0644"},
		{"copy a link", func() (string, error) { return entry(tr.Copy(ctx, "a/link", "two", false, false)) }, "/work/two 0777"},
		{"copy a pipe", func() (string, error) { return entry(tr.Copy(ctx, "pipe", "three", false, false)) }, "refused:refused"},
		{"copy from outside", func() (string, error) { return entry(tr.Copy(ctx, "out3/secret", "four", false, false)) }, "refused:file_access_denied"},
		{"chmod", func() (string, error) { return entry(tr.Chmod("one", 0o755)) }, "/work/one 0755"},
		{"chmod outside", func() (string, error) { return entry(tr.Chmod("out3", 0o777)) }, "refused:file_access_denied"},
		{"remove a directory", func() (string, error) { return none(tr.Remove(ctx, "r", false)) }, "refused:directory_not_empty"},
		{"remove a tree", func() (string, error) { return none(tr.Remove(ctx, "r", true)) }, ""},
		{"remove again", func() (string, error) { return none(tr.Remove(ctx, "r", true)) }, "refused:file_not_found"},
		{"remove a link", func() (string, error) { return none(tr.Remove(ctx, "out3", true)) }, ""},
		{"remove outside", func() (string, error) { return none(tr.Remove(ctx, "/outside", true)) }, "refused:file_access_denied"},
		{"remove all", func() (string, error) { return none(tr.Remove(ctx, "/work", true)) }, "refused:file_access_denied"},
		{"remove the root", func() (string, error) { return none(tr.Remove(ctx, "/", true)) }, "refused:file_access_denied"},
	} {
		got, err := tt.do()
		if err != nil {
			got = codeOf(err)
		}
		if tt.name == "chmod outside" && os.Geteuid() != 0 { // the code's user owns it here; in a sandbox it is on another file system
			tr.make(t, "chmod 0 outside")
			continue
		}
		if got != tt.want {
			t.Errorf("%s: %s (%v), want %s", tt.name, got, err, tt.want)
		}
	}
	if got, err := tr.get(t, "/tmp/r/s/t"); got != "f" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	tr.checkOutside(t)
}

// TestRemoveDeep: a tree that is deeper than paths and descriptors go is removed, as is one with many
// entries.
func TestRemoveDeep(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	tr := newTree(t)
	tr.code(t, `mkdir deep; cd deep; python3 -c '
import os
for i in range(1500):
    os.mkdir("d" * 50); os.chdir("d" * 50); open("f", "w").close()
'; cd ..; mkdir wide; cd wide; seq 3000 | xargs touch`)
	for _, name := range []string{"deep", "wide"} {
		if err := tr.Remove(t.Context(), name, true); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(tr.top + "/work"); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestPart: parts of files, also of one with a large hole.
func TestPart(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.put(t, "f", "0123456789")
	tr.code(t, `truncate -s 100G hole`)
	for _, tt := range []struct {
		name           string
		offset, length int64
		want           string
		at             int64
	}{
		{"f", 0, -1, "0123456789", 0},
		{"f", 3, 4, "3456", 3},
		{"f", 8, 100, "89", 8},
		{"f", -3, -1, "789", 7},
		{"f", -30, 2, "01", 0},
		{"f", 20, 5, "", 10},
		{"hole", -4, -1, "\x00\x00\x00\x00", 100<<30 - 4},
	} {
		err := tr.Read(tt.name, tt.offset, tt.length, func(_ job.Entry, offset, length int64, content io.Reader) error {
			text, err := io.ReadAll(content)
			if string(text) != tt.want || offset != tt.at || length != int64(len(tt.want)) {
				t.Errorf("%+v: %q at %d, %d", tt, text, offset, length)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestNotAsRoot: what the user of the code may not do, a runner that is root does not do for its
// caller either; and the runner is itself again afterwards.
func TestNotAsRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("this process is no other user than the code")
	}
	tr := newTree(t)
	tr.make(t, `echo hidden > work/root; chmod 600 work/root; mkdir work/dir; echo x > work/dir/f; chmod 700 work/dir; mknod work/null c 1 3; chmod 666 work/null`)
	for name, do := range map[string]func() error{
		"read":  func() error { _, err := tr.get(t, "root"); return err },
		"enter": func() error { _, err := tr.get(t, "dir/f"); return err },
		"list":  func() error { _, err := tr.List(t.Context(), "dir", job.EntryListing{Depth: 1, Limit: 1}); return err },
		"write": func() error {
			_, err := tr.Write(t.Context(), "dir/g", job.WriteOptions{}, strings.NewReader(""))
			return err
		},
		"chmod":  func() error { _, err := tr.Chmod("root", 0o644); return err },
		"remove": func() error { return tr.Remove(t.Context(), "dir", true) },
		"pack":   func() error { return tr.Pack(t.Context(), "dir", 1<<20, io.Discard) },
		"watch": func() error {
			return tr.Watch(t.Context(), "dir", true, func() {}, func([]job.FileEvent) error { return nil })
		},
	} {
		if err := do(); codeOf(err) != "refused:file_access_denied" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := tr.get(t, "null"); codeOf(err) != "refused:refused" {
		t.Errorf("a device: %v", err)
	}
	uid, _ := unix.SetfsuidRetUid(-1)
	if text, err := os.ReadFile(tr.top + "/work/root"); uid != 0 || string(text) != "hidden\n" || err != nil {
		t.Errorf("%d, %s, %v", uid, text, err)
	}
	if err := errors.Join(os.Remove(tr.top+"/work/dir/f"), os.Remove(tr.top+"/work/root")); err != nil {
		t.Error(err)
	}
}
