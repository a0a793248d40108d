package interpreter_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

// gathered are the files that a session's last execution left, with what is in them.
func gathered(t *testing.T, s *interpreter.Session) map[string]string {
	t.Helper()
	var mu sync.Mutex
	files := map[string]string{}
	dropped, err := s.Collect(t.Context(), roomy, func(f job.Found, content io.Reader) error {
		text, err := io.ReadAll(content)
		mu.Lock()
		defer mu.Unlock()
		files[f.Path] = string(text)
		return err
	})
	if err != nil || dropped != (job.FilesDropped{}) {
		t.Errorf("collect: %+v, %v", dropped, err)
	}
	return files
}

// inside lists a session's files with what is in them.
func inside(t *testing.T, s *interpreter.Session) map[string]string {
	t.Helper()
	found, all, err := s.Files(t.Context())
	if err != nil || !all {
		t.Errorf("list: all %v, %v", all, err)
	}
	files := map[string]string{}
	for _, f := range found {
		err := s.ReadFile(f.Path, func(now job.Found, content io.Reader) error {
			text, err := io.ReadAll(content)
			files[f.Path] = string(text)
			if now.Size != int64(len(text)) || now.Modified.IsZero() || now.Modified != f.Modified {
				t.Errorf("%s: listed as %+v, read as %+v", f.Path, f, now)
			}
			return err
		})
		if err != nil {
			t.Errorf("read %s: %v", f.Path, err)
		}
	}
	return files
}

// TestSessionFiles: files come and stay, and each execution tells of those that it changed.
func TestSessionFiles(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		if err := s.Put("data/in.csv", strings.NewReader("a,b")); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			code string
			put  map[string]string
			want map[string]string
		}{
			{code: "import os; print(open('data/in.csv').read())"},
			{code: "for i in range(3): open(f'f{i}', 'w').write('old')", want: map[string]string{"f0": "old", "f1": "old", "f2": "old"}},
			{code: "x = 1"},
			{code: "open('f1', 'w').write('new')", want: map[string]string{"f1": "new"}},
			{code: "open('f1', 'w').write('neW')", want: map[string]string{"f1": "neW"}},
			{code: "x = 1"},
			{code: "open('f2', 'w').write('old')", want: map[string]string{"f2": "old"}},
			{code: "os.remove('f0'); os.rename('f1', 'data/g')", want: map[string]string{"data/g": "neW"}},
			{code: "x = open('data/in.csv').read(); assert x == 'c', x", put: map[string]string{"data/in.csv": "c", "f2": "put"}},
			{code: "os.chdir('data'); open('h', 'w').write('here')", want: map[string]string{"data/h": "here"}},
			{code: "1/0"},
			{code: "import shutil\nfor n in os.listdir('..'): shutil.rmtree('../' + n, ignore_errors=True)\nos.remove('../f2')"},
			{code: "x = 1"},
		} {
			for path, content := range tt.put {
				if err := s.Put(path, strings.NewReader(content)); err != nil {
					t.Error(err)
				}
			}
			res := step(t, s, job.Spec{Code: tt.code})
			if res.Status != job.StatusOK && !strings.HasPrefix(tt.code, "1/0") {
				t.Errorf("%s: %+v", tt.code, res)
			}
			if got := gathered(t, s); !maps.Equal(tt.want, got) {
				t.Errorf("after %q: %v, want %v", tt.code, got, tt.want)
			}
		}
		if left := inside(t, s); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		step(t, s, job.Spec{Code: "os.chdir('..')"})
	})
}

// TestSessionFilesAtItsEnd: what the last execution left is collected, too.
func TestSessionFilesAtItsEnd(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		step(t, s, job.Spec{Code: "open('a', 'w').write('first')"})
		if diff := cmp.Diff(map[string]string{"a": "first"}, gathered(t, s)); diff != "" {
			t.Error(diff)
		}
		if _, end := last(t, s, job.Spec{Code: "import os; open('b', 'w').write('last'); os._exit(1)"}); end == nil {
			t.Error("the session goes on")
		}
		if diff := cmp.Diff(map[string]string{"b": "last"}, gathered(t, s)); diff != "" {
			t.Error(diff)
		}
	})
}

// TestSessionFilesRefused: what stands in the way is told, and nothing is followed.
func TestSessionFilesRefused(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	if err := os.WriteFile(outside+"/secret", []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{Quota: job.Quota{DiskBytes: 1 << 20}})
		step(t, s, job.Spec{Code: fmt.Sprintf(`
import os
os.symlink(%q, "out")
os.symlink(%q, "link")
os.symlink("/etc", "etc")
os.mkdir("dir"); open("dir/f", "w").write("in it")
os.mkfifo("fifo")
os.mkdir("shut"); os.chmod("shut", 0)
f = open("mine", "w+"); f.write("mine"); f.flush()
keep = os.open("fifo", os.O_RDWR)
`, outside, outside+"/secret")})
		big := strings.NewReader(strings.Repeat("x", 2<<20))
		for _, tt := range []struct {
			path string
			do   string
			code job.FailureCode
		}{
			{"out/secret", "read", ""},
			{"link", "read", ""},
			{"etc/passwd", "read", ""},
			{"fifo", "read", job.FailNoFile},
			{"dir", "read", job.FailNoFile},
			{"none", "read", job.FailNoFile},
			{"../x", "read", ""},
			{"/etc/passwd", "read", ""},
			{".", "read", job.FailNoFile},
			{"dir/..", "read", ""},
			{"out/new", "put", ""},
			{"etc/new", "put", ""},
			{"dir", "put", ""},
			{"mine/x", "put", ""},
			{"out/a/b", "put", ""},
			{"../x", "put", ""},
			{"out/secret", "remove", ""},
			{"dir", "remove", ""},
			{"none", "remove", job.FailNoFile},
			{"..", "remove", ""},
			{"dir/..", "remove", ""},
			{"big", "put big", job.FailDisk},
		} {
			var err error
			switch tt.do {
			case "read":
				err = s.ReadFile(tt.path, func(job.Found, io.Reader) error { t.Errorf("read %s", tt.path); return nil })
			case "put":
				err = s.Put(tt.path, strings.NewReader("x"))
			case "put big":
				err = s.Put(tt.path, big)
			case "remove":
				err = s.RemoveFile(tt.path)
			}
			refused, ok := errors.AsType[*job.RefusedError](err)
			if !ok && !strings.Contains(tt.path, "..") || ok && tt.code != "" && refused.Code != tt.code {
				t.Errorf("%s %s: %v, want it refused with %q", tt.do, tt.path, err, tt.code)
			}
		}
		// What is a link or special is replaced itself.
		for _, path := range []string{"link", "fifo", "mine", "etc"} {
			if err := s.Put(path, strings.NewReader("put")); err != nil {
				t.Error(err)
			}
		}
		if err := s.RemoveFile("out"); err != nil {
			t.Error(err)
		}
		res := step(t, s, job.Spec{Code: "f.seek(0); print(f.read(), sorted(os.listdir()))\nos.chmod('shut', 0o700)"})
		wantText(t, res, "ok 0", "mine ['dir', 'etc', 'fifo', 'link', 'mine', 'shut']\n", "")
		want := map[string]string{"dir/f": "in it", "link": "put", "fifo": "put", "mine": "put", "etc": "put"}
		if diff := cmp.Diff(want, inside(t, s)); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
		secret, err := os.ReadFile(outside + "/secret")
		if entries, _ := os.ReadDir(outside); err != nil || string(secret) != "secret" || len(entries) != 1 {
			t.Errorf("outside: %q, %v, %v", secret, err, entries)
		}
	})
}

// TestSessionFilesRace: code that swaps directories and files for links all the time gets
// nothing of what is outside, and nothing there is changed.
func TestSessionFilesRace(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	outside := t.TempDir()
	for _, name := range []string{"f", "g", "sub"} {
		path := outside + "/" + name
		if name == "sub" {
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
			path += "/f"
		}
		if err := os.WriteFile(path, []byte("secret"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		step(t, s, job.Spec{Code: fmt.Sprintf(`
import os, threading
os.makedirs("a/sub"); open("a/f", "w").write("inside"); open("a/sub/f", "w").write("inside")
os.symlink(%q, "b")
stop = False
def swap(code):
    while not stop:
        try: exec(code)
        except OSError: pass
for code in (
    "os.rename('a', 'c'); os.rename('b', 'a'); os.rename('a', 'b'); os.rename('c', 'a')",
    "os.rename('a/f', 'a/h'); os.symlink(%q, 'a/f'); os.remove('a/f'); os.rename('a/h', 'a/f')",
    "os.mkdir('a/g'); os.rmdir('a/g'); os.symlink('..', 'a/g'); os.remove('a/g'); os.mkfifo('a/g'); os.remove('a/g')",
): threading.Thread(target=swap, args=(compile(code, "swap", "exec"),), daemon=True).start()
`, outside, outside+"/f")})
		var mu sync.Mutex
		got := map[string]int{}
		for i := range 400 {
			for _, path := range []string{"a/f", "a/sub/f", "b/f", "a/g"} {
				err := s.ReadFile(path, func(_ job.Found, content io.Reader) error {
					text, err := io.ReadAll(content)
					got[string(text)]++
					return err
				})
				if _, refused := errors.AsType[*job.RefusedError](err); err != nil && !refused {
					t.Fatal(err)
				}
			}
			for _, path := range []string{"a/new", "a/sub/new", "b/new", "a/g", "a/n/e/w"} {
				if err := s.Put(path, strings.NewReader("put")); err != nil {
					if _, refused := errors.AsType[*job.RefusedError](err); !refused {
						t.Fatal(err)
					}
				}
				_ = s.RemoveFile(path)
			}
			if i%20 == 0 {
				// What vanishes meanwhile is counted as dropped.
				_, err := s.Collect(t.Context(), roomy, func(_ job.Found, content io.Reader) error {
					text, err := io.ReadAll(content)
					mu.Lock()
					defer mu.Unlock()
					got[string(text)]++
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		step(t, s, job.Spec{Code: "stop = True"})
		delete(got, "inside")
		delete(got, "put")
		delete(got, "") // being written
		if len(got) > 0 {
			t.Errorf("got %v", got)
		}
	})
	for _, path := range []string{"f", "g", "sub/f"} {
		if text, err := os.ReadFile(outside + "/" + path); err != nil || string(text) != "secret" {
			t.Errorf("outside: %s is %q, %v", path, text, err)
		}
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 3 {
		t.Errorf("outside: %v, %v", entries, err)
	}
}
