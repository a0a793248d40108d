package interpreter_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

// What was written just before a sudden end arrives, 10,000 times.
func TestLongOutputBeforeTheEnd(t *testing.T) { //nolint:paralleltest // it keeps the machine busy
	testenv.Long(t)
	const tries = 10_000
	// On the way through both of Python's layers, past them, and by another process.
	const write = `
import os, signal, subprocess, sys, time
print('a', end=''); sys.stderr.write('b'); sys.stdout.buffer.write(b'c')
sys.stdout.write('d' * 50000)
if FORK and not os.fork(): os.write(1, b'f'); os._exit(0)
if FORK: os.wait()
os.write(1, b'z')
`
	ends := []struct {
		name, code, outcome string
		limit               time.Duration
		cancel              bool
		quota               job.Quota
		waits               string // the line at which a signal must find it
	}{
		{name: "os._exit", code: "os._exit(3)", outcome: "exit 3"},
		{name: "SIGKILL", code: "os.kill(os.getpid(), 9)", outcome: "exit 137"},
		{name: "SIGKILL of all", code: "if not os.fork():\n  os.kill(-1, 9); os._exit(0)\nos.wait(); time.sleep(9)", outcome: "exit 137"},
		{name: "crash", code: "import ctypes; ctypes.string_at(0)", outcome: "exit 139"},
		{
			name: "timeout", code: "while True: time.sleep(600)", waits: "time.sleep(600)",
			outcome: "interrupted KeyboardInterrupt: timed out after 0.5 s", limit: 500 * time.Millisecond,
		},
		{
			name: "timeout, SIGINT ignored", code: "signal.signal(2, signal.SIG_IGN)\nwhile True: time.sleep(600)",
			outcome: "interrupted KeyboardInterrupt: timed out after 0.5 s", limit: 500 * time.Millisecond,
		},
		{name: "out of memory", code: "x = bytearray(1 << 30)", outcome: "exit 137 MemoryLimitExceeded", quota: job.Quota{MemoryBytes: 48 << 20}},
		{name: "exception", code: "1/0", outcome: "error 1 ZeroDivisionError: division by zero"},
		{name: "end", outcome: "ok 0"},
		{name: "cancel", code: "while True: pass", waits: "while True: pass", outcome: "interrupted KeyboardInterrupt: cancelled", cancel: true},
	}
	var ran, early, lost atomic.Int64
	pool := newPool(t, withGrace(shortGrace), func(c *interpreter.Config) { c.Size = 8 })
	for _, end := range ends { //nolint:paralleltest // as above
		t.Run(end.name, func(t *testing.T) {
			try := func(i int) (counts bool) {
				spec := job.Spec{Code: fmt.Sprintf("FORK = %d\n", i%2) + write + end.code, Timeout: end.limit}
				if end.quota != (job.Quota{}) {
					spec.Quota = fillQuota(end.quota)
				}
				ctx := t.Context()
				if end.cancel {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeoutCause(ctx, 500*time.Millisecond, context.Canceled)
					defer cancel()
				}
				w := acquire(t, pool)
				res, err := w.Execute(ctx, spec, job.Live{})
				if closeErr := w.Close(); err != nil || closeErr != nil {
					t.Error(err, closeErr)
				}
				if res.Status == job.StatusInterrupted && res.Error.Traceback != "" && (end.waits == "" || !strings.Contains(res.Error.Traceback, end.waits)) {
					early.Add(1) // a busy machine: the code had not come so far
					return false
				}
				ran.Add(1)
				want := 50003 + i%2
				if !strings.HasPrefix(outcome(res), end.outcome) || len(res.Stdout) != want || res.Stderr != "b" {
					lost.Add(1)
					t.Errorf("%s: %d bytes of stdout, want %d; stderr %q; %+v", outcome(res), len(res.Stdout), want, res.Stderr, res.Error)
				}
				return true
			}
			var next atomic.Int64
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for !t.Failed() && int(next.Load()) < tries/len(ends) {
						if i := int(next.Add(1)); !try(i) {
							next.Add(-1)
						}
					}
				})
			}
			wg.Wait()
		})
	}
	t.Logf("%d tries, %d lost something; %d more were interrupted before they had written", ran.Load(), lost.Load(), early.Load())
}

// fillQuota makes a quota of which only some of the limits are given whole.
func fillQuota(q job.Quota) job.Quota {
	d := job.Quota{
		MemoryBytes: 512 << 20, CPUs: 1, Processes: 128, OpenFiles: 1024,
		FileBytes: 256 << 20, DiskBytes: 256 << 20, OutputBytes: 1 << 20, ResultBytes: 8 << 20,
	}
	if q.MemoryBytes != 0 {
		d.MemoryBytes = q.MemoryBytes
	}
	return d
}

// TestPythons runs the tests of this package with each interpreter that
// KAA_TEST_PYTHONS names, with colons between them.
func TestPythons(t *testing.T) { //nolint:paralleltest // it keeps the machine busy
	testenv.Long(t)
	pythons := strings.FieldsFunc(os.Getenv("KAA_TEST_PYTHONS"), func(r rune) bool { return r == ':' })
	if len(pythons) == 0 {
		t.Skip("KAA_TEST_PYTHONS names no interpreter")
	}
	for _, python := range pythons { //nolint:paralleltest // as above
		t.Run(python, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.short", "-test.timeout", "10m")
			cmd.Env = append(os.Environ(), "KAA_TEST_PYTHON="+python, "KAA_TEST_LONG=")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, tail(out))
			}
			cmd = exec.CommandContext(t.Context(), python, "-m", "unittest", "discover", "-p", "test_*.py")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("unittest: %v\n%s", err, tail(out))
			}
		})
	}
}

func tail(out []byte) []byte { return out[max(0, len(out)-4000):] }
