package interpreter_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

// The defects of an earlier worker design, by letters. Defect e is a matter of time: see
// BenchmarkExecute.

func TestDefectAOutputOfChildrenIsCaptured(t *testing.T) {
	t.Parallel()
	res := run(t, `
import os, subprocess, ctypes
subprocess.run(["echo", "child"])
os.write(1, b"raw\n")
ctypes.CDLL(None).printf(b"from C\n")
print("python")
subprocess.run("echo err >&2", shell=True)
`)
	wantText(t, res, "ok 0", "child\nraw\nfrom C\npython\n", "err\n")
}

func TestDefectBForgedFramesAreOutput(t *testing.T) {
	t.Parallel()
	forged := `{"type":"status","status":"ok","exitCode":0}` + "\n"
	res := run(t, `
import os
os.write(1, b'{"type":"status","status":"ok","exitCode":0}\n')
os.write(2, b'{"type":"status","status":"ok","exitCode":0}\n')
raise ValueError("still here")
`)
	wantText(t, res, "error 1 ValueError: still here", forged, forged)
}

func TestDefectCInputReadsTheCallersText(t *testing.T) {
	t.Parallel()
	pool := shared(t)
	tests := []struct{ name, code, stdin, outcome, stdout string }{
		{"EOF without stdin", "input()", "", "error 1 EOFError: EOF when reading a line", ""},
		{"one line", "print(input('? ')[::-1])", "abc\n", "ok 0", "? cba\n"},
		{"no newline at the end", "print(input()); print(input())", "a\nb", "ok 0", "a\nb\n"},
		{"all", "import sys; print(len(sys.stdin.read()))", strings.Repeat("x", 1<<20), "ok 0", "1048576\n"},
		{"not read", "print(1)", strings.Repeat("x", 1<<20), "ok 0", "1\n"},
		{"closed", "import os; os.close(0); print(1)", strings.Repeat("x", 1<<20), "ok 0", "1\n"},
		{"by a child", "import subprocess; subprocess.run(['cat'])", "é\x00\n", "ok 0", "é\x00\n"},
		{"odd bytes", "import sys; print(ascii(sys.stdin.read()))", "\xff\n", "ok 0", "'\\udcff\\n'\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := execute(t, pool, job.Spec{Code: tt.code, Stdin: tt.stdin})
			wantText(t, res, tt.outcome, tt.stdout, "")
		})
	}
}

func TestDefectDHugeWrites(t *testing.T) {
	t.Parallel()
	start := time.Now()
	res := run(t, `print("x"*50_000_000)`)
	testenv.Within(t, 15*time.Second, start)
	if res.Status != job.StatusOK || res.Truncated == nil {
		t.Fatalf("got %s, truncated %v", outcome(res), res.Truncated)
	}
	const budget = 1 << 20
	if want := int64(50_000_001 - budget); res.Truncated.Stdout != want || res.Truncated.Stderr != 0 {
		t.Errorf("truncated = %+v, want %d of stdout", *res.Truncated, want)
	}
	if !strings.Contains(res.Stdout, "\n... [48951425 bytes dropped] ...\n") || !strings.HasSuffix(res.Stdout, "x\n") {
		t.Errorf("no marker or no end in %d bytes", len(res.Stdout))
	}
}

// Output is drained without being kept.
func TestDefectHOutputIsBounded(t *testing.T) { //nolint:paralleltest // it measures the memory of the process
	pool := newPool(t, func(c *interpreter.Config) { c.Quota.OutputBytes = 1000 })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	res := execute(t, pool, job.Spec{Code: `
import os
chunk = b"0123456789" * 100_000
for _ in range(300): os.write(1, chunk)
os.write(2, b"e" * 1001)
print("end")
`})
	runtime.ReadMemStats(&after)
	if res.Status != job.StatusOK || res.Truncated == nil {
		t.Fatalf("got %s, truncated %v", outcome(res), res.Truncated)
	}
	if res.Truncated.Stdout < 290_000_000 || res.Truncated.Stderr != 1 {
		t.Errorf("truncated = %+v", *res.Truncated)
	}
	if len(res.Stdout) > 1100 || !strings.HasPrefix(res.Stdout, "0123") || !strings.HasSuffix(res.Stdout, "end\n") {
		t.Errorf("stdout = %d bytes", len(res.Stdout))
	}
	if grown := int64(after.Sys) - int64(before.Sys); grown > 100<<20 {
		t.Errorf("the runner grew by %d bytes", grown)
	}
}

func TestDefectFNoProcessIsLeft(t *testing.T) {
	t.Parallel()
	const preamble = `
import subprocess, sys, time
def say(pid): os.write(1, b"%d\n" % pid)
`
	tests := []struct {
		name, code string
		timeout    time.Duration
		pids       int
		outcome    string
	}{
		{"child at the end", `say(subprocess.Popen(["sleep", "600"]).pid)`, 0, 1, "ok 0"},
		{"setsid nohup", `subprocess.run("setsid nohup sleep 600 & echo $!", shell=True)`, 0, 1, "ok 0"},
		{"setsid of its own", `say(subprocess.Popen(["sleep", "600"], start_new_session=True).pid)`, 0, 1, "ok 0"},
		{"double fork", `
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        say(os.getpid())
        os.write(w, b"x")
        time.sleep(600)
    os._exit(0)
os.wait()
os.read(r, 1)
`, 0, 1, "ok 0"},
		{"tree of sessions", `
r, w = os.pipe()
for depth in range(4):
    if os.fork(): break
    os.setsid()
if depth == 0: [os.read(r, 1) for _ in range(4)]
else:
    say(os.getpid())
    os.write(w, b"x")
    time.sleep(600)
`, 0, 4, "ok 0"},
		{"after a timeout", `
say(subprocess.Popen(["sleep", "600"], start_new_session=True).pid)
time.sleep(600)`, soon(), 1, "interrupted KeyboardInterrupt: " + timedOut(soon())},
		{"ignores signals", `
say(subprocess.Popen(["sh", "-c", "trap '' INT TERM HUP; while :; do sleep 1; done"], start_new_session=True).pid)`, 0, 1, "ok 0"},
		{"a sub-reaper", `
import ctypes
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
subprocess.run("setsid nohup sleep 600 & echo $!", shell=True)`, 0, 1, "ok 0"},
		{"CLONE_PARENT", `
import ctypes
libc = ctypes.CDLL(None)
pid = libc.syscall(56 if os.uname().machine == "x86_64" else 220, 0x8000 | 17, 0, 0, 0, 0)
if pid == 0:
    time.sleep(600)
say(pid)`, 0, 1, "ok 0"},
		{"after os._exit", `
say(subprocess.Popen(["sleep", "600"], start_new_session=True).pid)
os._exit(5)`, 0, 1, "exit 5"},
		{"stopped", `
import signal
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
child.send_signal(signal.SIGSTOP)
say(child.pid)`, 0, 1, "ok 0"},
	}
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		pool := shared(t, withLevel(level))
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				w := acquire(t, pool)
				if tt.timeout == 0 {
					tt.timeout = ample
				}
				start := time.Now()
				res, err := w.Execute(t.Context(), job.Spec{Code: sayNamespace + preamble + tt.code, Timeout: tt.timeout}, job.Live{})
				if err != nil {
					t.Fatal(err)
				}
				wantGone(t, res.Stdout, tt.pids)
				if got := outcome(res); got != tt.outcome {
					t.Errorf("outcome = %q, want %q; stderr: %s", got, tt.outcome, res.Stderr)
				}
				testenv.Within(t, 15*time.Second, start)
			})
		}
	})
}

func TestDefectGExitCode(t *testing.T) {
	t.Parallel()
	res := run(t, "import sys; sys.exit(3)")
	wantText(t, res, "exit 3", "", "")
}
