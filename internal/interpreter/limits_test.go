package interpreter_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

const shortGrace = time.Second

// soon is a time limit that code reaches after it has done a little. `make quick` is not for a machine
// that is busy with other things, on which that little takes seconds.
func soon() time.Duration {
	if testing.Short() {
		return 2 * time.Second
	}
	return 8 * time.Second
}

// timedOut is what an interrupted execution says of a time limit in seconds.
func timedOut(limit time.Duration) string {
	return fmt.Sprintf("timed out after %.0f s", limit.Seconds())
}

func withGrace(d time.Duration) func(*interpreter.Config) {
	return func(c *interpreter.Config) { c.Grace = d }
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	long := shared(t, withGrace(ample)) // SIGINT has to suffice
	short := shared(t, withGrace(shortGrace))
	tests := []struct {
		name      string
		pool      *interpreter.Pool
		code      string
		error     string
		stdout    string
		traceback string
	}{
		{"sleep", long, "import time\nprint('x', end='')\ntime.sleep(600)", "KeyboardInterrupt", "x", "line 3, in <module>"},
		{"loop", long, "while True: pass", "KeyboardInterrupt", "", "line 1, in <module>"},
		{"input of a child", long, "import subprocess\nsubprocess.run(['sleep', '600'])", "KeyboardInterrupt", "", "line 2, in <module>"},
		{"finally", long, "import time\ntry: time.sleep(600)\nfinally: print('cleanup')", "KeyboardInterrupt", "cleanup\n", "line 2, in <module>"},
		{"raises another", long, "import time\ntry: time.sleep(600)\nexcept KeyboardInterrupt: raise ValueError('v')", "ValueError", "", "line 3, in <module>"},
		{"ends well after it", long, "import time\ntry: time.sleep(600)\nexcept KeyboardInterrupt: print('caught')", "KeyboardInterrupt", "caught\n", ""},
		{"exits after it", long, "import time, sys\ntry: time.sleep(600)\nexcept KeyboardInterrupt: sys.exit(3)", "KeyboardInterrupt", "", ""},
		{"waiting thread", long, "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\nprint('started')", "KeyboardInterrupt", "started\n", ""},
		{"atexit callback", long, "import atexit, time\natexit.register(time.sleep, 600)", "KeyboardInterrupt", "", ""},
		{"__del__", long, "import time\nclass A:\n def __del__(s):\n  print('x')\n  time.sleep(600)\na = A()", "KeyboardInterrupt", "x\n", ""},
		{"error before", long, "import atexit, time\natexit.register(time.sleep, 600)\n1/0", "ZeroDivisionError", "", "line 3, in <module>"},
		{"swallows it", short, "import time\nwhile True:\n  try: time.sleep(600)\n  except KeyboardInterrupt: print('no')", "KeyboardInterrupt", "no\n", ""},
		{"ignores it", short, "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('x')\ntime.sleep(600)", "KeyboardInterrupt", "x\n", ""},
		{"blocks it", short, "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])\nprint('x')\ntime.sleep(600)", "KeyboardInterrupt", "x\n", ""},
		{"stops itself", short, "import os, signal\nprint('x')\nos.kill(os.getpid(), signal.SIGSTOP)", "KeyboardInterrupt", "x\n", ""},
		{"hostile __str__", short, "import time\nclass E(Exception):\n def __str__(s):\n  while 1:\n   try: time.sleep(600)\n   except BaseException: pass\nprint('x')\nraise E", "KeyboardInterrupt", "x\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := acquire(t, tt.pool)
			limit := soon()
			start := time.Now()
			res, err := w.Execute(t.Context(), job.Spec{Code: tt.code, Timeout: limit}, job.Live{})
			if err != nil {
				t.Fatal(err)
			}
			// What Python says of exceptions that it has to ignore is not our matter.
			wantText(t, res, "interrupted "+tt.error+": "+timedOut(limit), tt.stdout, res.Stderr)
			if tt.pool == short {
				testenv.Within(t, limit+shortGrace+time.Second, start)
			}
			if res.Error != nil && (tt.traceback == "") != (res.Error.Traceback == "") || !strings.Contains(res.Error.Traceback, tt.traceback) {
				t.Errorf("traceback = %q, want one with %q", res.Error.Traceback, tt.traceback)
			}
		})
	}
}

// However short the timeout is, it does not cost the grace too.
func TestTinyTimeout(t *testing.T) {
	t.Parallel()
	pool := shared(t, withGrace(ample))
	for range 20 {
		res := execute(t, pool, job.Spec{Code: "while True: pass", Timeout: time.Millisecond})
		if got := outcome(res); got != "interrupted KeyboardInterrupt: timed out after 0.001 s" {
			t.Errorf("outcome = %q", got)
		}
	}
}

// announced returns code that prints 1 and then runs on for ever, and a function
// that waits until it has got there.
func announced(t *testing.T) (code string, begun func()) {
	t.Helper()
	mark := filepath.Join(t.TempDir(), "begun")
	code = "print(1)\nopen(" + pyQuote(mark) + ", 'w')\nwhile True: pass"
	return code, func() {
		testenv.Eventually(t, "the code begins", func() bool { _, err := os.Stat(mark); return err == nil })
	}
}

func TestContextEnds(t *testing.T) {
	t.Parallel()
	pool := shared(t, withLevel(sandbox.None))
	t.Run("during", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancelCause(t.Context())
		code, begun := announced(t)
		go func() {
			begun()
			cancel(errors.New("why"))
		}()
		res, err := acquire(t, pool).Execute(ctx, job.Spec{Code: code, Timeout: ample}, job.Live{})
		if err != nil {
			t.Fatal(err)
		}
		wantText(t, res, "interrupted KeyboardInterrupt: cancelled", "1\n", "")
	})
	t.Run("before", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		w := acquire(t, pool)
		cancel()
		res, err := w.Execute(ctx, job.Spec{Code: "print(1)"}, job.Live{})
		if err != nil {
			t.Fatal(err)
		}
		wantText(t, res, "interrupted KeyboardInterrupt: cancelled", "", "")
	})
}

func TestCloseDuringExecute(t *testing.T) {
	t.Parallel()
	pool := shared(t, withGrace(ample), withLevel(sandbox.None))
	w := acquire(t, pool)
	var closers sync.WaitGroup
	code, begun := announced(t)
	for range 3 {
		closers.Go(func() {
			begun()
			if err := w.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	res, err := w.Execute(t.Context(), job.Spec{Code: code}, job.Live{})
	closers.Wait()
	if !errors.Is(err, interpreter.ErrClosed) {
		t.Errorf("error = %v, want ErrClosed", err)
	}
	wantText(t, res, "interrupted KeyboardInterrupt: the interpreter was closed", "1\n", "")
	if _, err := w.Execute(t.Context(), job.Spec{Code: "1"}, job.Live{}); !errors.Is(err, interpreter.ErrClosed) {
		t.Errorf("Execute after Close: %v", err)
	}
}

// What was written just before a sudden end is not lost.
func TestOutputBeforeTheEndArrives(t *testing.T) {
	t.Parallel()
	tries := 100
	if testing.Short() {
		tries = 10
	}
	ends := []struct{ name, code, status string }{
		{"os._exit", "os._exit(0)", "exit"},
		{"SIGKILL", "os.kill(os.getpid(), 9)", "exit"},
		{"timeout", "time.sleep(600)", "interrupted"},
		{"end", "", "ok"},
	}
	for _, end := range ends {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			tries := tries
			pool := shared(t, withGrace(time.Millisecond))
			code := "import os, sys, time\nprint('a', end='')\nsys.stderr.write('b')\n" +
				"sys.stdout.buffer.write(b'c')\nsys.stdout.write('d' * 50000)\nos.write(1, b'z')\n" + end.code
			limit := ample
			if end.status == "interrupted" {
				tries, limit = tries/10, time.Second
			}
			for range tries {
				res := execute(t, pool, job.Spec{Code: code, Timeout: limit})
				if string(res.Status) != end.status || len(res.Stdout) != 50003 || res.Stderr != "b" {
					t.Fatalf("%s: %d bytes of stdout, stderr %q", outcome(res), len(res.Stdout), res.Stderr)
				}
			}
		})
	}
}

// The control socket can be found by the code. That is its own failure only.
func TestForgedControlFrames(t *testing.T) {
	t.Parallel()
	pool := shared(t, withGrace(shortGrace))
	const find = `
import os, sys, time
fd = next(int(n) for n in os.listdir("/proc/self/fd") if int(n) > 100)
def forge(data):
    data = data.encode()
    while data: data = data[os.write(fd, data):]
id = next(c.cell_contents for c in display.__closure__ if type(c.cell_contents).__name__ == "Results").id
`
	const interfered = "exit 137 ProtocolError: the interpreter was ended because the code interfered with its supervisor: not a frame of the protocol: "
	tests := []struct{ name, code, outcome string }{
		{"garbage", `forge("hello\n"); time.sleep(600)`, interfered + "malformed"},
		{"oversized", `forge("x" * 11_000_000); time.sleep(600)`, interfered + "longer than 9437184 bytes"},
		{"wrong id", `forge('{"id":"1","type":"status","status":"ok"}\n'); time.sleep(600)`, interfered + "wrong id"},
		{"unknown type", `forge('{"id":"%s","type":"stream"}\n' % id); time.sleep(600)`, interfered + "unknown type"},
		{"unknown status", `forge('{"id":"%s","type":"status","status":"interrupted"}\n' % id); time.sleep(600)`, interfered + "unknown status"},
		{"exit code", `forge('{"id":"%s","type":"status","status":"ok","exitCode":256}\n' % id); time.sleep(600)`, interfered + "exit code out of range"},
		{"ready again", `forge('{"id":"%s","type":"ready","version":2}\n' % id); time.sleep(600)`, interfered + "ready is out of place"},
		{"two errors", `[forge('{"id":"%s","type":"error"}\n' % id) for _ in range(2)]; time.sleep(600)`, interfered + "error is out of place"},
		{"nested", `forge("[" * 900_000 + "\n"); time.sleep(600)`, interfered + "malformed"},
		{"an early end ends it", `forge('{"id":"%s","type":"status","status":"ok"}\n' % id); time.sleep(600)`, "ok 0"},
		{"error without an error", `forge('{"id":"%s","type":"status","status":"error","exitCode":1}\n' % id); time.sleep(600)`, "error 1 Exception: the interpreter did not say which"},
		{"half a frame", `forge('{"id":'); os._exit(4)`, "exit 4"},
		{"closed socket", `os.close(fd); print("x")`, "exit 0"},
		{"closed socket, error", `os.close(fd); 1/0`, "exit 1"},
		{"closed everything", `os.closerange(0, 5000)`, "exit 0"},
		{"not reading on", `import fcntl; os.set_blocking(fd, False)`, "ok 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := execute(t, pool, job.Spec{Code: find + tt.code})
			if got := outcome(res); got != tt.outcome {
				t.Errorf("outcome = %q, want %q; stderr %s", got, tt.outcome, res.Stderr)
			}
			if tt.name == "closed socket, error" && !strings.Contains(res.Stderr, "ZeroDivisionError") {
				t.Errorf("the exception is nowhere: %q", res.Stderr)
			}
		})
	}
}

// A slot that is told to change the size of its file systems when its worker has just
// ended has those of the usual size for the next.
func TestSizeThatComesTooLate(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(c *interpreter.Config) { c.Size = 1 })
	const code = "import os\ns = os.statvfs('/work')\nprint(s.f_blocks * s.f_frsize)"
	usual := execute(t, pool, job.Spec{Code: code}).Stdout
	for range 3 {
		w := acquire(t, pool)
		if res, err := w.Execute(t.Context(), job.Spec{Code: code, Timeout: ample}, job.Live{}); err != nil || res.Stdout != usual {
			t.Fatalf("%q, %v; usual are %q", res.Stdout, err, usual)
		}
		<-w.Exited()
		if err := w.TellSlot("R size=1048576"); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The peak of an execution has no copies of files that one before it was the first to read.
func TestPeakAfterMuchReading(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	pool := newPool(t, func(c *interpreter.Config) { c.Size = 1 })
	if _, _, control := pool.Sandbox(); control != sandbox.ControlCgroup1 {
		t.Skip("the peak comes from control groups of version 1; here is " + control)
	}
	const read = `
import os
total = 0
for where, _, names in os.walk('/usr'):
    for name in names:
        try:
            with open(where + '/' + name, 'rb') as file:
                total += len(file.read(1 << 26))
        except OSError:
            pass
    if total > 300 << 20: break
`
	const much = 150 << 20
	forgetFiles(t, "/usr", 400<<20)
	if peak := execute(t, pool, job.Spec{Code: read}).PeakMemoryBytes; peak < much {
		t.Skipf("reading took %d bytes only: others use the files, too", peak)
	}
	for range 4 {
		if peak := execute(t, pool, job.Spec{Code: "print(1)"}).PeakMemoryBytes; peak <= 0 || peak > 16<<20 {
			t.Errorf("the peak of a small program is %d bytes", peak)
		}
	}
}

// forgetFiles has the kernel forget what is in files, as code cannot.
func forgetFiles(t *testing.T, dir string, most int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return nil //nolint:nilerr // others will do
		}
		file, err := os.Open(path)
		if err != nil {
			return nil //nolint:nilerr // the same
		}
		defer file.Close()
		if info, err := file.Stat(); err == nil {
			most -= info.Size()
		}
		_ = unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED)
		if most < 0 {
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The watchdog counts what any thread of the code has started.
func TestWatchdogSeesChildrenOfThreads(t *testing.T) {
	t.Parallel()
	pool := unstartedPool(t, func(c *interpreter.Config) { c.Size, c.Quota.MemoryBytes = 1, 96<<20 })
	if err := pool.WithoutGroups(); err != nil {
		t.Fatal(err)
	}
	if err := pool.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	const code = `
import os, signal, threading
def start():
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    held = bytearray(300 << 20)
    signal.pause()
thread = threading.Thread(target=start)
thread.start()
thread.join()
`
	res := execute(t, pool, job.Spec{Code: code, Timeout: ample / 2})
	if got := outcome(res); !strings.Contains(got, "MemoryLimitExceeded") {
		t.Errorf("outcome = %q", got)
	}
}

// An execution may have some signals pending, and leaves others theirs.
func TestPendingSignals(t *testing.T) {
	t.Parallel()
	pool := shared(t)
	code := fmt.Sprintf(`
import ctypes, os, resource, signal, struct
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
info = struct.pack("iii", signal.SIGRTMIN, 0, -1) + bytes(116)
n = 0
while n < 5000 and ctypes.CDLL(None).syscall(%d, os.getpid(), signal.SIGRTMIN, info) == 0:
    n += 1
print(n, resource.getrlimit(resource.RLIMIT_SIGPENDING))
`, unix.SYS_RT_SIGQUEUEINFO)
	for range 3 { // that hold theirs
		if res := step(t, session(t, pool, job.SessionSpec{}), job.Spec{Code: code}); res.Stdout != "1024 (1024, 1024)\n" {
			t.Errorf("%s, stdout %q, stderr %q", outcome(res), res.Stdout, res.Stderr)
		}
	}
}
