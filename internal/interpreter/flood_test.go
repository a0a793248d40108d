package interpreter_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

// Lines that come fast have a buffer. All of them arrive, in their place among the rest, and
// neither a fork nor the next execution of a session finds the thread that passes them on.
func TestFlood(t *testing.T) {
	t.Parallel()
	const code = `
import os, signal, subprocess, sys
def flood():
    for i in range(3000):
        print("line", i)
flood()
print("error", file=sys.stderr)
flood()
pid = os.fork()
if pid == 0:
    print("in the child")
    os._exit(0)
os.waitpid(pid, 0)
print(len(os.listdir("/proc/self/task")), sys.stdout.line_buffering)
flood()
display("shown")
flood()
subprocess.run(["echo", "from a program"])
def handle(*_):
    print("handled")
signal.signal(signal.SIGUSR1, handle)
flood()
os.kill(os.getpid(), signal.SIGUSR1)
flood()
_ = sys.stdout.write("no line")`
	var lines strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&lines, "line %d\n", i)
	}
	flood := lines.String()
	want := flood + "{error\n}" + flood + "in the child\n1 True\n" + flood + "['shown']" + flood + "from a program\n" + flood + "handled\n" + flood + "no line"
	check := func(t *testing.T, res job.Result) {
		t.Helper()
		if got := listed(t, res); got != want {
			gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
			for i, line := range wantLines {
				if i >= len(gotLines) || gotLines[i] != line {
					t.Fatalf("line %d of %d is %q, want %q; %+v", i, len(wantLines), gotLines[min(i, len(gotLines)-1):min(i+3, len(gotLines))], line, res.Error)
				}
			}
			t.Errorf("%d lines, want %d", len(gotLines), len(wantLines))
		}
	}
	limits := job.Quota{OutputBytes: 4 << 20}
	t.Run("script", func(t *testing.T) {
		t.Parallel()
		quota := job.Quota{MemoryBytes: 512 << 20, CPUs: 1, Processes: 128, OpenFiles: 1024, FileBytes: 1 << 20, DiskBytes: 1 << 20, OutputBytes: limits.OutputBytes, ResultBytes: 1 << 20}
		check(t, execute(t, shared(t), job.Spec{Code: code, Timeout: ample, Quota: quota}))
	})
	t.Run("session", func(t *testing.T) {
		t.Parallel()
		s := session(t, shared(t), job.SessionSpec{})
		for range 2 {
			check(t, step(t, s, job.Spec{Code: code, Timeout: ample, Quota: limits}))
			if res := step(t, s, job.Spec{Code: "import os\nlen(os.listdir('/proc/self/task'))", Timeout: ample}); string(res.Results[0].Data["text/plain"]) != `"1"` {
				t.Errorf("threads after it: %s", res.Results[0].Data["text/plain"])
			}
		}
	})
	t.Run("no thread to be had", func(t *testing.T) {
		t.Parallel()
		quota := job.Quota{MemoryBytes: 512 << 20, CPUs: 1, Processes: 1, OpenFiles: 1024, FileBytes: 1 << 20, DiskBytes: 1 << 20, OutputBytes: limits.OutputBytes, ResultBytes: 1 << 20}
		res := execute(t, shared(t), job.Spec{Code: "for i in range(3000):\n    print('line', i)", Timeout: ample, Quota: quota})
		if res.Stdout != flood || res.Stderr != "" {
			t.Errorf("%d bytes, stderr %q", len(res.Stdout), res.Stderr)
		}
	})
}
