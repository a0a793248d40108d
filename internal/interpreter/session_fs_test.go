package interpreter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// inFiles calls do with a session's file system.
func inFiles(t *testing.T, s *interpreter.Session, do func(ctx context.Context, f job.FileSystem) error) {
	t.Helper()
	if err := s.InFiles(t.Context(), do); err != nil {
		t.Fatal(err)
	}
}

// readOf is a file's content, or the code of the refusal.
func readOf(f job.FileSystem, path string) string {
	var text []byte
	err := f.Read(path, 0, -1, func(_ job.Entry, _, _ int64, content io.Reader) (err error) {
		text, err = io.ReadAll(content)
		return err
	})
	if refused, ok := errors.AsType[*job.RefusedError](err); ok {
		return "refused: " + string(refused.Code)
	}
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// busy begins an execution that goes on until the returned function is called.
func busy(t *testing.T, s *interpreter.Session, code string) func() job.Result {
	t.Helper()
	done := make(chan job.Result, 1)
	go func() {
		res, _, err := s.Execute(t.Context(), job.Spec{Code: code + "\nimport time, os\nopen('begun', 'w').close()\nwhile not os.path.exists('stop'): time.sleep(.005)", Timeout: time.Minute}, job.Live{})
		if err != nil {
			t.Error(err)
		}
		done <- res
	}()
	inFiles(t, s, func(_ context.Context, f job.FileSystem) error {
		for deadline := time.Now().Add(ample); readOf(f, "begun") != ""; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				return errors.New("the code does not begin")
			}
		}
		return nil
	})
	return func() job.Result {
		inFiles(t, s, func(ctx context.Context, f job.FileSystem) error {
			_, err := f.Write(ctx, "stop", job.WriteOptions{}, strings.NewReader(""))
			return err
		})
		return <-done
	}
}

// TestFilesBesideExecution: while code runs, its caller sees and changes the same files that the code has, and
// they belong to the user of the code. What the caller wrote is none of the code's results.
func TestFilesBesideExecution(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		stop := busy(t, s, `
import os, tempfile
os.makedirs("d"); open("d/f", "w").write("of code")
tmp = os.environ.get("TMPDIR", "/tmp"); open(tmp + "/t", "w").write("in tmp")
os.symlink(os.getcwd() + "/d/f", "absolute");os.symlink(tmp + "/t", "over")
print(os.getcwd(), flush=True)`)
		inFiles(t, s, func(ctx context.Context, f job.FileSystem) error {
			for path, want := range map[string]string{"d/f": "of code", "/work/d/f": "of code", "/tmp/t": "in tmp", "/etc/passwd": "refused: file_access_denied", "none": "refused: file_not_found"} {
				if level != sandbox.Strict && path == "/etc/passwd" {
					want = "refused: file_not_found"
				}
				if got := readOf(f, path); got != want {
					t.Errorf("%s: %q, want %q", path, got, want)
				}
			}
			if level == sandbox.Strict && (readOf(f, "absolute") != "of code" || readOf(f, "over") != "in tmp") {
				t.Error("links are not those of the code")
			}
			_, err := f.Write(ctx, "new/of/caller", job.WriteOptions{Mode: 0o755}, strings.NewReader("of caller"))
			if e, statErr := f.Stat("new/of/caller"); statErr != nil || e.Owner != "user" || e.Mode != "0755" {
				t.Errorf("%+v, %v", e, statErr)
			}
			return err
		})
		res := stop()
		wantOK(t, res)
		if diff := cmp.Diff(map[string]string{"d/f": "of code", "begun": ""}, gathered(t, s)); diff != "" {
			t.Error(diff)
		}
		res = step(t, s, job.Spec{Code: "f = open('new/of/caller', 'a'); f.write('!'); f.close(); print(open('new/of/caller').read())"})
		wantText(t, res, "ok 0", "of caller!\n", "")
		if diff := cmp.Diff(map[string]string{"new/of/caller": "of caller!"}, gathered(t, s)); diff != "" {
			t.Error(diff)
		}
		inFiles(t, s, func(ctx context.Context, f job.FileSystem) error { return f.Remove(ctx, "new", true) })
		wantText(t, step(t, s, job.Spec{Code: "import os; print(sorted(os.listdir()))"}), "ok 0", "['absolute', 'begun', 'd', 'over', 'stop']\n", "")
	})
}

// TestFilesHostile: code tries to lead its caller's calls out of its directories, with everything that a file
// system has, while they are under way.
func TestFilesHostile(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	secret := outside + "/secret"
	if err := writeSecret(secret); err != nil {
		t.Fatal(err)
	}
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		if level == sandbox.None {
			t.Skip("the code may do there what its caller may not")
		}
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		stop := busy(t, s, fmt.Sprintf(`
import os, shutil, threading
outside = %q
os.makedirs("a/sub"); open("a/f", "w").write("inside"); open("a/sub/f", "w").write("inside")
os.symlink("/proc/self/root" + outside, "proc");os.symlink("/proc/%%d/environ" %% os.getpid(), "environ")
os.symlink("/dev/mem", "device");os.symlink("/usr/lib", "lib");os.symlink("/" + "../" * 30 + outside, "up");os.symlink("/", "root")
os.mkfifo("fifo")
for n in range(300): os.makedirs("deep/" + "d/" * (n + 1), exist_ok=True)
def swap(code):
    steps = [compile(step, "swap", "exec") for step in code.split(";")]
    while not os.path.exists("stop"):
        for step in steps:
            try: exec(step)
            except OSError: pass
for code in (
    "os.rename('a', 'c');os.symlink(outside, 'a');os.remove('a');os.symlink('/', 'a');os.remove('a');os.path.isdir('c') and shutil.rmtree('a', True);os.rename('c', 'a')", # the caller may have made a
    "os.rename('a/f', 'a/h');os.symlink(outside + '/secret', 'a/f');os.remove('a/f');os.mkfifo('a/f');os.remove('a/f');os.rename('a/h', 'a/f')",
    "os.rename('a/sub', 'a/dir');os.symlink('../../../..' + outside, 'a/sub');os.remove('a/sub');os.rename('a/dir', 'a/sub')",
    "open('again', 'w').write('inside');os.replace('again', 'a/f')", # the others may have removed it
): threading.Thread(target=swap, args=(code,), daemon=True).start()
`, outside))
		got := map[string]int{}
		inFiles(t, s, func(ctx context.Context, f job.FileSystem) error {
			for _, path := range []string{"proc", "proc/secret", "environ", "device", "lib/os-release", "up/secret", "root" + secret, secret, "/proc/1/environ", "/etc/hostname", "/dev/null", "fifo", "/usr/bin/env"} {
				if text := readOf(f, path); !strings.HasPrefix(text, "refused: ") {
					t.Errorf("%s: %.100q", path, text)
				}
			}
			for _, path := range []string{"/x", "/etc/x", "/dev/x", "/usr/x", "lib/x", "/proc/self/x", "root/x", "/run/x", "/var/tmp/x"} {
				if _, err := f.Write(ctx, path, job.WriteOptions{Exact: true}, strings.NewReader("x")); err == nil {
					t.Errorf("wrote %s", path)
				}
			}
			deadline := time.Now().Add(ample)
			for n := 0; n < 200 || (got["inside"] == 0 || got["put"] == 0) && time.Now().Before(deadline); n++ {
				for _, path := range []string{"a/f", "a/sub/f", "a/secret", "a/sub/secret", "a" + secret} {
					got[readOf(f, path)]++
				}
				for _, path := range []string{"a/new", "a/sub/secret", "a/f2", "a/sub/n/e/w"} {
					if _, err := f.Write(ctx, path, job.WriteOptions{Exact: true}, strings.NewReader("put")); err == nil {
						got["put"]++
					}
					_, _ = f.Chmod(path, 0o600)
					_ = f.Remove(ctx, path, true)
				}
				_, _ = f.List(ctx, "a", job.EntryListing{Depth: 5, Limit: 100})
				_, _ = f.Copy(ctx, "a", "copy", true, false)
				got[readOf(f, "copy/f")]++
				_ = f.Remove(ctx, "copy", true)
				var tarred bytes.Buffer
				_ = f.Pack(ctx, "a", 1<<20, &tarred)
				if bytes.Contains(tarred.Bytes(), []byte("secret of the machine")) {
					got["packed"]++
				}
			}
			return nil
		})
		wantOK(t, stop())
		for text := range got {
			if !strings.HasPrefix(text, "refused: ") && text != "inside" && text != "put" && text != "" {
				t.Errorf("got %.100q", text)
			}
		}
		if got["inside"] == 0 || got["put"] == 0 {
			t.Errorf("%v; the race does not happen", got)
		}
	})
	checkSecret(t, outside)
}

// TestFilesAreCharged: what is written from outside counts for the session's disk and memory, wherever it
// is, and no longer once it is gone.
func TestFilesAreCharged(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		const disk, memory, each = 48 << 20, 160 << 20, 10 << 20
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{Quota: job.Quota{DiskBytes: disk, MemoryBytes: memory}})
		stop := busy(t, s, "")
		inFiles(t, s, func(ctx context.Context, f job.FileSystem) error {
			for range 2 {
				written := 0
				for _, dir := range []string{"/work/", "/tmp/"} {
					for n := range 100 {
						_, err := f.Write(ctx, dir+fmt.Sprint("f", n), job.WriteOptions{}, bytes.NewReader(make([]byte, each)))
						if refused, ok := errors.AsType[*job.RefusedError](err); ok && refused.Code == job.FailDisk {
							break
						}
						if err != nil {
							return err
						}
						written += each
					}
				}
				if written < 2*each || written > 2*disk {
					t.Errorf("%d MiB were written", written>>20)
				}
				for _, dir := range []string{"/work/", "/tmp/"} {
					for n := range 100 {
						_ = f.Remove(ctx, dir+fmt.Sprint("f", n), false)
					}
				}
				// The runner looks each second at what is on the disk.
				err := errors.New("not tried")
				for deadline := time.Now().Add(ample); err != nil && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
					_, err = f.Write(ctx, "/work/again", job.WriteOptions{}, bytes.NewReader(make([]byte, each)))
				}
				if err != nil {
					return fmt.Errorf("after the files were removed: %w", err)
				}
				_ = f.Remove(ctx, "/work/again", false)
			}
			return nil
		})
		wantOK(t, stop())
		res := step(t, s, job.Spec{Code: "print(len(bytearray(60 << 20)))"})
		wantText(t, res, "ok 0", fmt.Sprintln(60<<20), "")
	})
}

// TestFilesEnd: the end of the session ends the calls that are under way, and others are refused.
func TestFilesEnd(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s, err := shared(t, withLevel(level)).Session(t.Context(), job.SessionSpec{})
		if err != nil {
			t.Fatal(err)
		}
		ready, done := make(chan struct{}), make(chan error, 1)
		go func() {
			done <- s.InFiles(t.Context(), func(ctx context.Context, f job.FileSystem) error {
				return f.Watch(ctx, "/work", true, func() { close(ready) }, func([]job.FileEvent) error { return nil })
			})
		}()
		<-ready
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := s.InFiles(t.Context(), func(context.Context, job.FileSystem) error { return nil }); !errors.Is(err, interpreter.ErrClosed) {
			t.Error(err)
		}
	})
}

// TestFilesOfForks: a fork has its own working directory, as its code has.
func TestFilesOfForks(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		step(t, s, job.Spec{Code: "open('f', 'w').write('old')"})
		inFiles(t, s, func(_ context.Context, f job.FileSystem) error { _, err := f.Stat("f"); return err })
		forks, err := s.Fork(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		fork := forks[0]
		defer fork.Close()
		inFiles(t, fork, func(ctx context.Context, f job.FileSystem) error {
			_, err := f.Write(ctx, "f", job.WriteOptions{}, strings.NewReader("new"))
			return err
		})
		for _, one := range []struct {
			s    *interpreter.Session
			want string
		}{{s, "old"}, {fork, "new"}} {
			wantText(t, step(t, one.s, job.Spec{Code: "print(open('f').read())"}), "ok 0", one.want+"\n", "")
			inFiles(t, one.s, func(_ context.Context, f job.FileSystem) error {
				if got := readOf(f, "f"); got != one.want {
					t.Errorf("%s, want %s", got, one.want)
				}
				return nil
			})
		}
	})
}

func writeSecret(path string) error {
	return os.WriteFile(path, []byte("secret of the machine"), 0o644)
}

func checkSecret(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile(dir + "/secret")
	entries, _ := os.ReadDir(dir)
	if err != nil || string(text) != "secret of the machine" || len(entries) != 1 {
		t.Errorf("outside: %s, %v, %v", text, err, entries)
	}
}

func wantOK(t *testing.T, res job.Result) {
	t.Helper()
	if res.Status != job.StatusOK {
		t.Errorf("%+v", res)
	}
}

// TestFilesOfPlace: the path that a session has chosen for its working directory leads to the same files.
func TestFilesOfPlace(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t, withLevel(sandbox.Strict)), job.SessionSpec{Workdir: "/home/user"})
	step(t, s, job.Spec{Code: "open('f', 'w').write('x'); import os; os.symlink('/home/user/f', 'link')"})
	inFiles(t, s, func(ctx context.Context, f job.FileSystem) error {
		for _, path := range []string{"f", "/home/user/f", "/work/f", "link", "/home/user/../user/link"} {
			if got := readOf(f, path); got != "x" {
				t.Errorf("%s: %s", path, got)
			}
		}
		for _, path := range []string{"/home/x", "/home/user2/x", "/home"} {
			if _, err := f.Write(ctx, path, job.WriteOptions{}, strings.NewReader("x")); err == nil {
				t.Errorf("wrote %s", path)
			}
		}
		_, err := f.Write(ctx, "g", job.WriteOptions{}, strings.NewReader("of caller"))
		return err
	})
	wantText(t, step(t, s, job.Spec{Code: "print(open('/home/user/g').read())"}), "ok 0", "of caller\n", "")
	if diff := cmp.Diff(map[string]string{"f": "x"}, gathered(t, s)); diff != "" {
		t.Error(diff)
	}
}
