package interpreter_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// roomy is more than a test leaves.
var roomy = job.FileLimits{Files: 100, Bytes: 10 << 20}

// collected executes code on a worker and returns the files that it left, by path, with
// the beginning of what is in them.
func collected(t *testing.T, w *interpreter.Worker, spec job.Spec, most job.FileLimits) (map[string]string, job.FilesDropped, job.Result) {
	t.Helper()
	if spec.Timeout == 0 {
		spec.Timeout = ample
	}
	res, err := w.Execute(t.Context(), spec, job.Live{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	files := map[string]string{}
	dropped, err := w.Collect(t.Context(), most, func(f job.Found, content io.Reader) error {
		text, err := io.ReadAll(content)
		if int64(len(text)) != f.Size {
			t.Errorf("%s: %d bytes, announced as %d", f.Path, len(text), f.Size)
		}
		mu.Lock()
		defer mu.Unlock()
		files[f.Path] = string(text[:min(len(text), 20)])
		return err
	})
	if err != nil {
		t.Errorf("Collect: %v", err)
	}
	return files, dropped, res
}

func put(t *testing.T, w *interpreter.Worker, files map[string]string) {
	t.Helper()
	for path, content := range files {
		if err := w.Put(path, strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFiles: code finds what was put there, and what it creates or changes is collected,
// with odd names and all; what it left alone is not.
func TestFiles(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		w := acquire(t, shared(t, withLevel(level)))
		put(t, w, map[string]string{"data/deep/in.csv": "a,b\n", "helper.py": "answer = 42\n", "same size": "old", "gone": "x"})
		files, dropped, res := collected(t, w, job.Spec{Code: `
import os, helper
print(helper.answer, open("data/deep/in.csv").read(), end="")
with open("same size", "r+") as f: f.write("new")
os.mkdir("out")
for name in (b"out/plain", "out/ümläut \n".encode(), b"out/\xff\xfe", b"out/100%\\", b"-", b"out/..x"):
    with open(name, "wb") as f: f.write(b"made")
os.remove("gone")
os.mkdir("empty")
open("nothing", "w").close()
`}, roomy)
		wantText(t, res, "ok 0", "42 a,b\n", "")
		want := map[string]string{
			"same size": "new", "out/plain": "made", "out/ümläut \n": "made", "out/\xff\xfe": "made", "out/100%\\": "made",
			"-": "made", "out/..x": "made", "nothing": "",
		}
		if diff := cmp.Diff(want, files); diff != "" || dropped != (job.FilesDropped{}) {
			t.Errorf("dropped %v, files (-want +got):\n%s", dropped, diff)
		}
	})
}

// TestFilesCostNothing: at strict the slot is not asked after a program that has left
// nothing, which would take longer than the program.
func TestFilesCostNothing(t *testing.T) {
	t.Parallel()
	p := shared(t)
	for code, want := range map[string]bool{
		"print(42)":                          false,
		"open('/tmp/x', 'w').close()":        false,
		"open('x', 'w').close()":             true,
		"import os; os.mkdir('x')":           true,
		"import os; os._exit(0)":             true, // nobody says so
		"open('x', 'w').close()\n0/0":        true,
		"import sys\nsys.stdout.write('x');": false,
	} {
		w := acquire(t, p)
		if _, err := w.Execute(t.Context(), job.Spec{Code: code, Timeout: ample}, job.Live{}); err != nil {
			t.Fatal(err)
		}
		if w.MayHaveLeft() != want {
			t.Errorf("%q: the slot is asked: %v, want %v", code, !want, want)
		}
	}
}

// TestHostileFiles: nothing outside is read, nothing hangs, and what was made hard to
// read is read all the same.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	outside := t.TempDir() + "/secret"
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		w := acquire(t, shared(t, withLevel(level)))
		files, dropped, res := collected(t, w, job.Spec{Code: fmt.Sprintf(`
import os, socket
for target in ("/etc/passwd", %q, "/proc/self/environ", "/", "..", "real"):
    os.symlink(target, "link" + str(len(os.listdir("."))))
os.mkfifo("fifo")
try: socket.socket(socket.AF_UNIX).bind("socket")
except OSError: pass  # not at every level
open("real", "w").write("real")
os.link("real", "hard")
os.makedirs("shut/in")
open("shut/in/file", "w").write("found")
os.chmod("shut/in/file", 0)
os.chmod("shut/in", 0)
os.chmod("shut", 0)
os.mkdir("__pycache__")
open("__pycache__/x.pyc", "w").close()
with open("sparse", "wb") as f: f.truncate(100 << 20)
open("l" * 250, "w").close()
here = os.getcwd()
for i in range(200):
    os.mkdir("dir" * 20)
    os.chdir("dir" * 20)
    open("f", "w").close()
os.chmod(here, 0)
`, outside)}, roomy)
		wantText(t, res, "ok 0", "", "")
		deep := 0
		for path := range files {
			if strings.HasSuffix(path, "/f") {
				deep++
				delete(files, path)
			}
		}
		want := map[string]string{"real": "real", "hard": "real", "shut/in/file": "found", strings.Repeat("l", 250): ""}
		if diff := cmp.Diff(want, files); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
		if deep < 10 || deep > 17 {
			t.Errorf("%d files of the deep directory: want those with paths up to 1024 bytes", deep)
		}
		if dropped.Count != 1 || dropped.Bytes != 100<<20 || !dropped.Incomplete || dropped.Reason == "" {
			t.Errorf("dropped: %+v, want the sparse one, and that there may be more", dropped)
		}
	})
}

// TestFileLimits: what is beyond them is counted, and a search ends however much there is.
func TestFileLimits(t *testing.T) {
	t.Parallel()
	p := shared(t)
	for name, c := range map[string]struct {
		code  string
		most  job.FileLimits
		kept  int
		count int
		bytes int64
		all   bool
	}{
		"number": {`for i in range(10): open(f"{i}", "w").write("xx")`, job.FileLimits{Files: 7, Bytes: 1000}, 7, 3, 6, true},
		"none":   {`open("x", "w").write("xx")`, job.FileLimits{}, 0, 1, 2, true},
		"bytes": {`
open("a", "w").write("x" * 60)
open("b", "w").write("x" * 60)
open("c", "w").write("x" * 40)`, job.FileLimits{Files: 10, Bytes: 100}, 2, 1, 60, true},
		"entries": {`for i in range(30_000): open(f"{i}", "w").close()`, job.FileLimits{Files: 5, Bytes: 100}, 0, 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files, dropped, res := collected(t, acquire(t, p), job.Spec{Code: c.code}, c.most)
			wantText(t, res, "ok 0", "", "")
			if len(files) != c.kept || dropped.Count != c.count || dropped.Bytes != c.bytes || dropped.Incomplete == c.all {
				t.Errorf("kept %d, dropped %+v; want %d, %d of %d bytes, all seen: %v", len(files), dropped, c.kept, c.count, c.bytes, c.all)
			}
		})
	}
}

// TestFilesAfterAnyEnd: files are there however the code ended, and what it left running
// does not change them.
func TestFilesAfterAnyEnd(t *testing.T) {
	t.Parallel()
	begin := "import os, time, signal, subprocess\nopen('f', 'w').write('left')\n"
	ends := map[string]string{
		"exit":      "os._exit(3)",
		"crash":     "os.kill(os.getpid(), signal.SIGSEGV)",
		"exception": "1/0",
		"timeout":   "signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: time.sleep(1)",
		"daemon": `
subprocess.Popen(["/bin/sh", "-c", "setsid sh -c 'while :; do echo more >> daemon; done' & sleep 1000"])
while not os.path.exists("daemon"): pass`,
	}
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		p := shared(t, withLevel(level), withGrace(50*time.Millisecond))
		for name, end := range ends {
			spec := job.Spec{Code: begin + end}
			if name == "timeout" {
				spec.Timeout = 2 * time.Second
			}
			w := acquire(t, p)
			files, _, _ := collected(t, w, spec, roomy)
			if files["f"] != "left" {
				t.Errorf("%s: files %v, want f", name, files)
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}
		res := execute(t, p, job.Spec{Code: "import os; print(os.listdir())"})
		wantText(t, res, "ok 0", "[]\n", "")
	})
}

// TestCollectInTime: nothing is kept for longer than the caller allows, and Close need not wait
// for it.
func TestCollectInTime(t *testing.T) {
	t.Parallel()
	w := acquire(t, shared(t))
	if _, err := w.Execute(t.Context(), job.Spec{Code: "for i in range(20): open(str(i), 'w').close()", Timeout: ample}, job.Live{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var once sync.Once
	dropped, err := w.Collect(ctx, roomy, func(job.Found, io.Reader) error {
		once.Do(cancel)
		<-ctx.Done()
		return nil
	})
	if err != nil || dropped.Count < 20-8 || dropped.Reason == "" {
		t.Errorf("dropped %+v, %v; want those that had not begun to be stored", dropped, err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := w.Put("x", strings.NewReader("")); err == nil {
		t.Error("a closed worker takes a file")
	}
}
