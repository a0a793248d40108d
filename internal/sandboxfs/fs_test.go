package sandboxfs_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandboxfs"
)

// tree is a directory that stands for a sandbox's root.
type tree struct {
	*sandboxfs.FS
	top   string
	grown int64
	most  int64 // bytes that Grow grants; 0 is no limit
	wrote []string
}

// codeUser is a user that this process is not, if it is root.
const codeUser = 54321

func newTree(t *testing.T) *tree {
	t.Helper()
	tr := &tree{top: t.TempDir()}
	tr.make(t, "mkdir -p work tmp outside; echo secret > outside/secret; chmod 0 outside; chmod 755 .")
	if os.Geteuid() == 0 {
		tr.make(t, fmt.Sprintf("chown %d:%d work tmp", codeUser, codeUser))
		for dir := filepath.Dir(tr.top); dir != os.TempDir() && strings.HasPrefix(dir, os.TempDir()); dir = filepath.Dir(dir) {
			_ = os.Chmod(dir, 0o755)
		}
	} else {
		t.Cleanup(func() { // else it could not be removed
			if out, err := exec.Command("chmod", "-R", "u+rwx", tr.top).CombinedOutput(); err != nil { //nolint:noctx // the test's context has ended
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	root, err := os.OpenFile(tr.top, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	tr.FS, err = sandboxfs.New(sandboxfs.Config{
		Root: root, Work: "/work", Places: []string{"/work", "/tmp"}, Alias: tr.top,
		Grow: func(n int64) error {
			if tr.grown += n; tr.most > 0 && tr.grown > tr.most {
				return sandboxfs.NoRoom()
			}
			return nil
		},
		Wrote: func(path string, _ *unix.Stat_t) { tr.wrote = append(tr.wrote, path) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	return tr
}

// make runs shell commands in the root.
func (tr *tree) make(t *testing.T, script string) {
	t.Helper()
	sh(t, tr.top, script, nil)
}

// code runs shell commands as the code of the sandbox does.
func (tr *tree) code(t *testing.T, script string) {
	t.Helper()
	var user *syscall.Credential
	if os.Geteuid() == 0 {
		user = &syscall.Credential{Uid: codeUser, Gid: codeUser}
	}
	sh(t, tr.top+"/work", script, user)
}

// checkOutside fails if anything was changed outside of the places.
func (tr *tree) checkOutside(t *testing.T) {
	t.Helper()
	if text := sh(t, tr.top, "ls; stat -c %a outside; chmod 700 outside; cat outside/secret; ls outside", nil); text != "outside\ntmp\nwork\n0\nsecret\nsecret\n" {
		t.Errorf("outside: %s", text)
	}
}

func (tr *tree) put(t *testing.T, name, content string) {
	t.Helper()
	if _, err := tr.Write(t.Context(), name, job.WriteOptions{}, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

func (tr *tree) get(t *testing.T, name string) (string, error) {
	t.Helper()
	var text []byte
	err := tr.Read(name, 0, -1, func(_ job.Entry, _, _ int64, content io.Reader) (err error) {
		text, err = io.ReadAll(content)
		return err
	})
	return string(text), err
}

// codeOf is the code of a refusal.
func codeOf(err error) string {
	if refused, ok := errors.AsType[*job.RefusedError](err); ok {
		return "refused:" + string(cmp.Or(refused.Code, job.FailRefused))
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// TestPaths: each path leads to a file of the sandbox's own directories, or to a refusal.
func TestPaths(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.put(t, "a/b/file", "in it")
	tr.code(t, `
		ln -s a/b/file link; ln -s /work/a/b/file absolute; ln -s a/../a/b/file dots; ln -s /../../../../work/a/b/file up
		ln -s /outside/secret out; ln -s ../outside/secret out2; ln -s / root; ln -s circle circle; ln -s /tmp over
		ln -s nothing dangling; mkfifo pipe; ln -s a/b dir; echo tmp > ../tmp/file
		mkdir shut; echo x > shut/file; chmod 0 shut; echo x > closed; chmod 0 closed
	`)
	denied, irregular, missing := "refused:file_access_denied", "refused:refused", "refused:file_not_found"
	for name, want := range map[string]string{
		"a/b/file": "in it", "/work/a/b/file": "in it", "/work//a/./b/../b/file": "in it", "link": "in it", "absolute": "in it", "dots": "in it",
		"up": "in it", "dir/file": "in it", "root/work/link": "in it", "over/file": "tmp\n", "/tmp/file": "tmp\n", "../tmp/file": "tmp\n",
		tr.top + "/work/link": "in it", "/work/../../../../../../work/link": "in it",
		"out": denied, "out2": denied, "/outside/secret": denied, "root/outside/secret": denied, "/etc/passwd": missing, "root/etc/passwd": missing,
		"circle": irregular, "pipe": irregular, "dangling": missing, "nothing": missing, "link/x": "refused:not_a_directory",
		"a/b": "refused:is_a_directory", "/work": "refused:is_a_directory", "/": "refused:is_a_directory", "/outside": "refused:is_a_directory", "shut/file": denied, "closed": denied,
		strings.Repeat("x/", 2000) + "y": missing, strings.Repeat("x", 300): irregular,
	} {
		got, err := tr.get(t, name)
		if err != nil {
			got = codeOf(err)
		}
		if got != want {
			t.Errorf("read %.40s: %s (%v), want %s", name, got, err, want)
		}
	}
}

// TestWrite: a file is replaced as a whole, with its directories, for the code's user.
func TestWrite(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.code(t, `ln -s sub/target link; ln -s /tmp/far far; mkdir dir; echo old > old; chmod 751 old; ln -s /outside/secret out; ln -s /outside/new new; mkdir shut; chmod 555 shut; echo x > locked; chmod 444 locked`)
	for _, tt := range []struct {
		name string
		o    job.WriteOptions
		want string // path where it is, or a refusal
		mode string
	}{
		{name: "x/y/z", want: "work/x/y/z", mode: "0644"},
		{name: "/tmp/a", o: job.WriteOptions{Mode: 0o600}, want: "tmp/a", mode: "0600"},
		{name: "old", want: "work/old", mode: "0751"},
		{name: "link", want: "work/sub/target", mode: "0644"},
		{name: "far", want: "tmp/far", mode: "0644"},
		{name: "old", o: job.WriteOptions{Keep: true}, want: "refused:file_exists"},
		{name: "locked", want: "refused:file_access_denied"},
		{name: "locked", o: job.WriteOptions{Mode: 0o644}, want: "refused:file_access_denied"},
		{name: "q/w", o: job.WriteOptions{Exact: true}, want: "refused:file_not_found"},
		{name: "dir", want: "refused:is_a_directory"},
		{name: "old/x", want: "refused:not_a_directory"},
		{name: "out", want: "refused:file_access_denied"},
		{name: "new", want: "refused:file_access_denied"},
		{name: "/outside/new", want: "refused:file_access_denied"},
		{name: "/new", want: "refused:file_access_denied"},
		{name: "/", want: "refused:file_access_denied"},
		{name: "shut/x", want: "refused:file_access_denied"},
		{name: "bytes\xff", want: "work/bytes\xff", mode: "0644"},
	} {
		e, err := tr.Write(t.Context(), tt.name, tt.o, strings.NewReader("new"))
		if strings.HasPrefix(tt.want, "refused:") {
			if codeOf(err) != tt.want {
				t.Errorf("write %q: %v, want %s", tt.name, err, tt.want)
			}
			continue
		}
		text, readErr := os.ReadFile(tr.top + "/" + tt.want)
		if err != nil || readErr != nil || string(text) != "new" || e.Mode != tt.mode || e.RawPath() != "/"+tt.want || e.Owner != "user" {
			t.Errorf("write %q: %+v, %v; %s, %v", tt.name, e, err, text, readErr)
		}
	}
	tr.checkOutside(t)
	if left, _ := filepath.Glob(tr.top + "/*/.kaa-*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if !slices.Contains(tr.wrote, "/work/sub/target") {
		t.Errorf("wrote %q", tr.wrote)
	}
}

// TestWriteBreaksOff: the old file stays, and nothing is left.
func TestWriteBreaksOff(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		content io.Reader
		most    int64
		want    string
	}{
		"the content fails": {content: io.MultiReader(strings.NewReader("new"), failing{broken}), want: "broken"},
		"there is no room":  {content: bytes.NewReader(make([]byte, 20<<20)), most: 10 << 20, want: "refused:disk_full"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newTree(t)
			tr.put(t, "f", "old")
			tr.grown, tr.most = 0, tt.most
			if _, err := tr.Write(t.Context(), "f", job.WriteOptions{}, tt.content); codeOf(err) != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if text, err := tr.get(t, "f"); text != "old" || err != nil {
				t.Errorf("%s, %v", text, err)
			}
			if found, _ := os.ReadDir(tr.top + "/work"); len(found) != 1 {
				t.Errorf("%v", found)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestStat: all that an entry tells.
func TestStat(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.put(t, "d/f", "12345")
	tr.code(t, `ln -s d/f link; ln -s d dir; ln -s /outside/secret out; mkfifo pipe; chmod 700 d`)
	for name, want := range map[string]job.Entry{
		"d/f":  {Path: "/work/d/f", Type: "file", Size: 5, Mode: "0644"},
		"d":    {Path: "/work/d", Type: "directory", Mode: "0700"},
		"link": {Path: "/work/link", Type: "link", Size: 3, Mode: "0777", Target: "d/f", TargetType: "file"},
		"dir":  {Path: "/work/dir", Type: "link", Size: 1, Mode: "0777", Target: "d", TargetType: "directory"},
		"out":  {Path: "/work/out", Type: "link", Size: 15, Mode: "0777", Target: "/outside/secret"},
		"pipe": {Path: "/work/pipe", Type: "pipe", Mode: "0644"},
	} {
		got, err := tr.Stat(name)
		if err != nil || got.Modified.IsZero() || got.Changed.IsZero() || got.Accessed.IsZero() || got.Owner != "user" || got.Group != "user" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if want.Type == "directory" {
			got.Size = 0
		}
		got.Modified, got.Changed, got.Accessed, got.Owner, got.Group = want.Modified, want.Changed, want.Accessed, "", ""
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for name, want := range map[string]string{"no": "refused:file_not_found", "out/x": "refused:file_access_denied", "link/x": "refused:not_a_directory", "/": "refused:file_access_denied"} {
		if _, err := tr.Stat(name); codeOf(err) != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

// TestList: depth-first and by name, page after page.
func TestList(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.code(t, `mkdir -p a/b/c a.x e; touch a/1 a/b/2 a/b/c/3 a.x/4 b; ln -s a e/link; ln -s /outside e/out; touch "$(printf 'z\377')"`)
	all := []string{"/work/a", "/work/a/1", "/work/a/b", "/work/a/b/2", "/work/a/b/c", "/work/a/b/c/3", "/work/a.x", "/work/a.x/4", "/work/b", "/work/e", "/work/e/link", "/work/e/out", "/work/z\xff"}
	for limit := 1; limit < len(all)+2; limit++ {
		var got []string
		o := job.EntryListing{Depth: 10, Limit: limit}
		for more := true; more; {
			page, err := tr.List(t.Context(), "/work", o)
			if err != nil || page.Incomplete || len(page.Entries) == 0 {
				t.Fatalf("%+v, %v", page, err)
			}
			for _, e := range page.Entries {
				got = append(got, e.RawPath())
			}
			o.After, more = got[len(got)-1], page.More
		}
		if diff := gocmp.Diff(all, got); diff != "" {
			t.Errorf("by %d: %s", limit, diff)
		}
	}
	for depth, want := range map[int]int{1: 5, 2: 10, 3: 12, 4: 13} {
		page, err := tr.List(t.Context(), "", job.EntryListing{Depth: depth, Limit: 100})
		if err != nil || len(page.Entries) != want {
			t.Errorf("depth %d: %d entries, %v", depth, len(page.Entries), err)
		}
	}
	for name, want := range map[string]string{"b": "refused:not_a_directory", "no": "refused:file_not_found", "e/out": "refused:file_access_denied", "/": "refused:file_access_denied"} {
		if _, err := tr.List(t.Context(), name, job.EntryListing{Depth: 1, Limit: 9}); codeOf(err) != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tr.List(cancelled, "", job.EntryListing{Depth: 1, Limit: 9}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
