package interpreter_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

// A numpy of which only one step works. It counts, and does what it is told in a worker.
const fakeNumpy = `
import os
zygote, calls = os.getpid(), 0
class Array:
    def reshape(self, *shape): return self
def arange(n):
    global calls
    calls += 1
    if os.getpid() != zygote: in_worker()
    return Array()
def in_worker(): pass
`

func withNumpy(t *testing.T, more string) func(*interpreter.Config) {
	t.Helper()
	return preloaded(venv(t, map[string]string{"numpy": fakeNumpy + more}), "numpy")
}

// awaitRehearsals waits until all that is parked has rehearsed.
func awaitRehearsals(t *testing.T, p *interpreter.Pool, size int) {
	t.Helper()
	testenv.Eventually(t, "all rehearsed", func() bool {
		return p.Rehearsals() == interpreter.Rehearsals{Parked: size}
	})
}

// Parked workers rehearse by themselves, come to an end, and nothing of it can be seen.
func TestParkedWorkersRehearse(t *testing.T) {
	t.Parallel()
	pool := newPool(t, withNumpy(t, ""), func(c *interpreter.Config) { c.Size = 3 })
	awaitRehearsals(t, pool, 3)
	for range 3 {
		res := execute(t, pool, job.Spec{Code: `
import gc, linecache, numpy, threading
print(sorted(set(globals()) - {"gc", "linecache", "numpy", "threading"}))
print([name for name in linecache.cache if "rehearsal" in name], threading.active_count())
print([o for o in gc.get_objects() if type(o) is numpy.Array or type(o).__name__ == "Rehearsal"])
print(getattr(numpy, "__warningregistry__", {}), numpy.calls)`})
		lines := strings.Split(res.Stdout, "\n")
		if res.Stderr != "" || len(lines) != 5 || lines[1] != "[] 1" || lines[2] != "[]" || !strings.HasPrefix(lines[3], "{} ") {
			t.Fatalf("%s, stderr %q", res.Stdout, res.Stderr)
		}
		if strings.Contains(lines[0], "np") || strings.Contains(lines[0], "rehears") {
			t.Errorf("the namespace has %s", lines[0])
		}
	}
	awaitRehearsals(t, pool, 3)
	before := execute(t, pool, job.Spec{Code: "import numpy\nprint(numpy.calls)"}).Stdout
	awaitRehearsals(t, pool, 3)
	if after := execute(t, pool, job.Spec{Code: "import numpy\nprint(numpy.calls)"}).Stdout; after != before {
		t.Errorf("one worker has taken %s steps, the other %s", before, after)
	}
}

// A worker that is lent while it takes a step takes the command next, as one that was idle:
// its code, its session, and the signals that are for them.
func TestLentWhileItRehearses(t *testing.T) {
	t.Parallel()
	// A step lasts so long that it is seen on a busy machine, too.
	const slow = "import time\ndef in_worker(): time.sleep(3)\n"
	for _, tt := range []struct{ name, code, want, stdout string }{
		{"code", "print(40 + 2)", "ok 0", "42\n"},
		{"error", "1/0", "error 1 ZeroDivisionError: division by zero", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			pool := newPool(t, withNumpy(t, slow), withLevel(sandbox.None), func(c *interpreter.Config) { c.Dir = dir })
			testenv.Eventually(t, "a step", func() bool { return pool.Rehearsals().Taken })
			for _, pid := range workersUnder(t, dir) {
				_ = syscall.Kill(pid, syscall.SIGINT) // it is for nobody yet
			}
			res, err := acquire(t, pool).Execute(t.Context(), job.Spec{Code: tt.code, Timeout: ample}, job.Live{})
			if err != nil {
				t.Fatal(err)
			}
			wantText(t, res, tt.want, tt.stdout, "")
		})
	}
	t.Run("interrupt", func(t *testing.T) {
		t.Parallel()
		pool := newPool(t, withNumpy(t, slow), withLevel(sandbox.None))
		testenv.Eventually(t, "a step", func() bool { return pool.Rehearsals().Taken })
		code, begun := announced(t)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { begun(); cancel() }()
		res, err := acquire(t, pool).Execute(ctx, job.Spec{Code: code, Timeout: ample}, job.Live{})
		if err != nil || res.Status != job.StatusInterrupted || res.Error == nil || !strings.Contains(res.Error.Traceback, "while True: pass") {
			t.Errorf("%+v, %v", res, err)
		}
	})
	t.Run("session", func(t *testing.T) {
		t.Parallel()
		pool := newPool(t, withNumpy(t, slow))
		testenv.Eventually(t, "a step", func() bool { return pool.Rehearsals().Taken })
		s, err := pool.Session(t.Context(), job.SessionSpec{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		for _, want := range []string{"1\n", "2\n"} {
			res, _, err := s.Execute(t.Context(), job.Spec{Code: "x = globals().get('x', 0) + 1\nprint(x)", Timeout: ample}, job.Live{})
			if err != nil || res.Stdout != want {
				t.Errorf("%+v, %v", res, err)
			}
		}
	})
}

// A worker that does not survive its rehearsal is not lent, and costs no other.
func TestRehearsalThatFails(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]string{
		"it ends":   "def in_worker(): os._exit(1)\n",
		"it raises": "def in_worker(): raise ValueError\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := newPool(t, withNumpy(t, more), func(c *interpreter.Config) { c.Size = 2 })
			want := interpreter.Rehearsals{Parked: 2}
			testenv.Eventually(t, "parked and calm", func() bool {
				got := pool.Rehearsals()
				if want.Unable = name == "it ends"; want.Unable {
					got.Left = 0
				}
				return got == want
			})
			for range 3 {
				res, err := acquire(t, pool).Execute(t.Context(), job.Spec{Code: "print(1)", Timeout: ample}, job.Live{})
				for errors.Is(err, job.ErrNotStarted) { // it ended just when it was lent: a runner takes another
					res, err = acquire(t, pool).Execute(t.Context(), job.Spec{Code: "print(1)", Timeout: ample}, job.Live{})
				}
				if err != nil {
					t.Fatal(err)
				}
				wantText(t, res, "ok 0", "1\n", "")
			}
		})
	}
}

// What a parked worker has executed touches what plain programs touch, so that these need not
// wait for copies of pages.
func TestPagesAreCopiedBeforeACommand(t *testing.T) {
	t.Parallel()
	testenv.Tricky(t)                                              // without shared memory there are a few more
	const faults = "__import__('resource').getrusage(0).ru_minflt" // the zygote has it
	for _, code := range []string{"print(42)\nprint(" + faults + ")", "40 + 2\ndisplay(42)\nprint(" + faults + ")"} {
		w := acquire(t, newPool(t)) // who waits gets one that has executed nothing
		before := faultsOfWorker(t, w)
		res, err := w.Execute(t.Context(), job.Spec{Code: code}, job.Live{})
		if err != nil {
			t.Fatal(err)
		}
		after, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(res.Stdout, "42\n")))
		if err != nil {
			t.Fatalf("%s: %v", outcome(res), err)
		}
		if after-before > 20 {
			t.Errorf("%s: %d page faults before the command, %d after it", code, before, after)
		}
	}
}

// faultsOfWorker is how many page faults a parked worker has had.
func faultsOfWorker(t *testing.T, w *interpreter.Worker) int {
	t.Helper()
	slot := strconv.Itoa(w.SlotPID())
	children, err := os.ReadFile("/proc/" + slot + "/task/" + slot + "/children")
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(children)) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, fields, _ := strings.Cut(string(stat), ") ")
	n, err := strconv.Atoi(strings.Fields(fields)[7])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Each library that is installed takes all of its steps, and pyplot knows nothing of them.
func TestStepsOfLibraries(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	const program = `
import sys
sys.path.insert(0, "../python")
import importlib, os
import matplotlib.pyplot, rehearsal
for name, _, _ in rehearsal.LIBRARIES:
    try:
        importlib.import_module(name)
    except ImportError:
        assert name.startswith("sklearn"), name  # which the tests' libraries need not have
r = rehearsal.Rehearsal()
r.prepare()
print(len(r.steps) - sum(len(steps) for name, _, steps in rehearsal.LIBRARIES if name in sys.modules), matplotlib.pyplot.get_fignums(), len(os.listdir("/proc/self/task")))`
	cmd := exec.CommandContext(t.Context(), testenv.LibsPython(t), "-I", "-B", "-c", program)
	cmd.Env = append(os.Environ(), "OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1", "MPLCONFIGDIR="+t.TempDir())
	out, err := cmd.Output()
	if err != nil || string(out) != "0 [] 1\n" {
		t.Errorf("%s, %v", out, err)
	}
}
