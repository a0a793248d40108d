package interpreter_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestWatchdogProcessorTime: without control groups it is that of all processes together, of
// those too that nobody waits for.
func TestWatchdogProcessorTime(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		pool := watchedPool(t, withLevel(level), func(c *interpreter.Config) { c.Size = 1 })
		quota := job.Quota{MemoryBytes: 256 << 20, CPUs: 64, CPUTime: 500 * time.Millisecond, Processes: 50, OpenFiles: 100, FileBytes: 1 << 20, DiskBytes: 1 << 20, OutputBytes: 1000}
		for name, code := range map[string]string{
			"children":                       "import os\nfor _ in range(6):\n    if not os.fork():\n        while True: pass\nos.wait()",
			"one after the other":            "import os, time\nwhile True:\n    if not os.fork():\n        end = time.process_time() + 0.2\n        while time.process_time() < end: pass\n        os._exit(0)\n    os.wait()",
			"children that nobody waits for": "import os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwhile True:\n    if not os.fork():\n        end = time.process_time() + 0.2\n        while time.process_time() < end: pass\n        os._exit(0)\n    try: os.wait()\n    except ChildProcessError: pass",
			"orphans":                        "import os, time\nwhile True:\n    if not os.fork():\n        if os.fork(): os._exit(0)\n        end = time.process_time() + 0.2\n        while time.process_time() < end: pass\n        os._exit(0)\n    os.wait()\n    time.sleep(0.3)",
		} {
			res := execute(t, pool, job.Spec{Code: code, Quota: quota})
			if got := outcome(res); !strings.Contains(got, "CPULimitExceeded") {
				t.Errorf("%s: %s", name, got)
			}
		}
	})
}

// TestWatchdogShare: without control groups, all processes together get no more than their
// share of the processors.
func TestWatchdogShare(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	const code = `
import os, signal, time
begun, before = time.monotonic(), os.times()
stopped = os.fork()
if not stopped:
    signal.pause()
os.kill(stopped, signal.SIGSTOP)
os.waitpid(stopped, os.WUNTRACED)
pids = []
for _ in range(3):
    pid = os.fork()
    if not pid:
        while time.monotonic() < begun + 2: pass
        os._exit(0)
    pids.append(pid)
for pid in pids:
    os.waitpid(pid, 0)
print(sum(os.times()[:4]) / (time.monotonic() - begun), open('/proc/%d/stat' % stopped).read().split()[2])
os.kill(stopped, signal.SIGKILL)
`
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		pool := watchedPool(t, withLevel(level), func(c *interpreter.Config) { c.Size = 1 })
		quota := job.Quota{MemoryBytes: 256 << 20, CPUs: 0.2, Processes: 50, OpenFiles: 100, FileBytes: 1 << 20, DiskBytes: 1 << 20, OutputBytes: 1000}
		for range 2 { // and the one after it starts as ever
			res := execute(t, pool, job.Spec{Code: code, Quota: quota})
			words := strings.Fields(res.Stdout)
			if len(words) != 2 {
				t.Fatalf("%s, %+v", outcome(res), res)
			}
			if share, err := strconv.ParseFloat(words[0], 64); err != nil || share > 0.3 || words[1] != "T" {
				t.Errorf("a share of %s, what the code had stopped is %s", words[0], words[1])
			}
		}
	})
}

// TestWatchdogShareInterrupted: what stands still is interrupted and killed in time.
func TestWatchdogShareInterrupted(t *testing.T) {
	t.Parallel()
	pool := watchedPool(t, func(c *interpreter.Config) { c.Size = 1 })
	quota := job.Quota{MemoryBytes: 256 << 20, CPUs: 0.05, Processes: 50, OpenFiles: 100, FileBytes: 1 << 20, DiskBytes: 1 << 20, OutputBytes: 1000}
	res := execute(t, pool, job.Spec{Code: "import signal, sys\nsignal.signal(signal.SIGINT, lambda *_: sys.exit(print('in time')))\nwhile True: pass", Quota: quota, Timeout: time.Second})
	if res.Status != job.StatusInterrupted || res.Stdout != "in time\n" {
		t.Errorf("%s, %+v", outcome(res), res)
	}
	s := session(t, pool, job.SessionSpec{Quota: quota})
	step(t, s, job.Spec{Code: "x = 1"})
	step(t, s, job.Spec{Code: "while True: pass", Timeout: time.Second})
	says(t, s, "print(x)", "1\n")
}
