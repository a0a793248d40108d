package interpreter_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

// offer has a pool keep workers of a set with one module, which they import ahead.
func offer(t *testing.T, pool *interpreter.Pool, module string) {
	t.Helper()
	if _, _, control := pool.Sandbox(); !strings.HasPrefix(control, "cgroup") {
		t.Skip("no control groups here, so nothing is imported ahead")
	}
	dir := t.TempDir()
	for path := dir; path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "heavy.py"), []byte(module), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := pool.OfferSet(warmSet, "", dir, []string{"heavy"}); err != nil {
		t.Fatal(err)
	}
}

const warmSet = "@warm"

// awaitWarm waits until a worker of the set has imported the module.
func awaitWarm(t *testing.T, pool *interpreter.Pool) {
	t.Helper()
	testenv.Eventually(t, "a parked worker has imported the module", func() bool {
		warm, _, _ := pool.Warm(warmSet)
		return warm == 1
	})
}

// of returns an execution with the set.
func (w warmPool) of(code string) job.Result {
	w.t.Helper()
	return w.with(job.Spec{Code: code, Timeout: testenv.Timeout})
}

type warmPool struct {
	*interpreter.Pool
	t *testing.T
}

func (w warmPool) with(spec job.Spec) job.Result {
	w.t.Helper()
	worker, err := w.Acquire(w.t.Context(), warmSet)
	if err != nil {
		w.t.Fatal(err)
	}
	result, err := worker.Execute(w.t.Context(), spec, job.Live{})
	if err = errors.Join(err, worker.Close()); err != nil {
		w.t.Fatal(err)
	}
	return result
}

// A parked worker imports the modules of its set, which shows in nothing else. Each execution has one of its own.
func TestWarm(t *testing.T) {
	t.Parallel()
	pool := warmPool{newPool(t, func(c *interpreter.Config) { c.Size = 8 }), t}
	offer(t, pool.Pool, `
import sys, threading
print("noise")
print("noise", file=sys.stderr)
count = 0
data = bytearray(64 << 20)
marker = []
`)
	for range 3 {
		awaitWarm(t, pool.Pool)
		res := pool.of(`
import sys
print("heavy" in sys.modules)
import gc, heavy, os, threading
heavy.count += 1
print(heavy.count, os.listdir("/work"), threading.active_count(), "rehearsal" in sys.modules, any(o is heavy.marker for o in gc.get_objects()))
`)
		if res.Stdout != "True\n1 [] 1 False False\n" || res.Stderr != "" || res.Error != nil {
			t.Fatalf("%+v", res)
		}
	}
	awaitWarm(t, pool.Pool)
	if warm, parked, unable := pool.Warm(warmSet); warm != 1 || parked > 2 || unable {
		t.Errorf("%d of %d parked workers have imported the module; unable: %t", warm, parked, unable)
	}
	// An execution with less memory than the worker holds gets another one, which has imported nothing.
	const look = "import sys; print('heavy' in sys.modules)"
	worker, err := pool.Acquire(t.Context(), warmSet)
	if err != nil {
		t.Fatal(err)
	}
	small := worker.Quota()
	small.MemoryBytes = 64 << 20
	_, err = worker.Execute(t.Context(), job.Spec{Code: "1", Timeout: time.Minute, Quota: small}, job.Live{})
	if !errors.Is(err, job.ErrNotStarted) {
		t.Errorf("with less memory: %v", err)
	}
	if err := worker.Close(); err != nil {
		t.Error(err)
	}
	if res := pool.with(job.Spec{Code: look, Timeout: testenv.Timeout, Quota: small}); res.Stdout != "False\n" {
		t.Errorf("then: %+v", res)
	}
	s, err := pool.Session(t.Context(), job.SessionSpec{Runtime: warmSet, Quota: small})
	if err != nil {
		t.Fatal(err)
	}
	res, _, err := s.Execute(t.Context(), job.Spec{Code: look, Timeout: testenv.Timeout}, job.Live{})
	if err = errors.Join(err, s.Close()); err != nil || res.Stdout != "False\n" {
		t.Errorf("a session with less memory: %+v, %v", res, err)
	}
}

// A module that does what it should not while its worker is parked ends that worker. Executions with the set go on.
func TestWarmHostile(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	for name, module := range map[string]string{
		"fails":          "1/0",
		"exits":          "raise SystemExit",
		"ends":           "import os; os._exit(0)",
		"is large":       "data = bytearray(300 << 20)\nfor i in range(0, len(data), 4096): data[i] = 1",
		"goes on":        "import threading\ndef burn():\n  while True: pass\nthreading.Thread(target=burn, daemon=True).start()",
		"leaves another": "import os\nif os.fork() == 0:\n  while True: pass",
		"speaks":         "import os\nos.write(1000, b'{\"type\":\"status\",\"id\":\"x\"}\\n')",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := warmPool{newPool(t, func(c *interpreter.Config) { c.Size = 1 }), t}
			offer(t, pool.Pool, module)
			testenv.Eventually(t, "a worker has ended for it", func() bool {
				_, _, unable := pool.Warm(warmSet)
				return unable
			})
			if res := pool.of("import sys; print('heavy' in sys.modules)"); res.Stdout != "False\n" {
				t.Errorf("%+v", res)
			}
		})
	}
}

// The processor time for modules is not that of the execution.
func TestWarmCPULimit(t *testing.T) {
	t.Parallel()
	q := job.Quota{CPUTime: 2 * time.Second}
	plain := interpreter.CPULimit(q, 0)
	for ahead, more := range map[time.Duration]int64{0: 0, time.Millisecond: 1, 1500 * time.Millisecond: 2} {
		if got := interpreter.CPULimit(q, ahead.Microseconds()); got != plain+more {
			t.Errorf("after %s: %d s, want %d", ahead, got, plain+more)
		}
	}
	if got := interpreter.CPULimit(job.Quota{}, 5000); got != 0 {
		t.Errorf("without a limit: %d", got)
	}
}

// A module whose import does not end keeps no caller waiting: others get another worker, also more than are parked.
func TestWarmHangs(t *testing.T) {
	t.Parallel()
	pool := warmPool{newPool(t, func(c *interpreter.Config) { c.Size, c.StartTimeout = 1, time.Hour }), t}
	offer(t, pool.Pool, "import time\nwhile True: time.sleep(1)")
	testenv.Eventually(t, "a worker imports it", func() bool { return pool.Importing(warmSet) })
	for range 4 {
		if res := pool.of("import sys; print('heavy' in sys.modules)"); res.Stdout != "False\n" {
			t.Errorf("%+v", res)
		}
	}
	if !pool.Importing(warmSet) {
		t.Error("the import has ended")
	}
	if !pool.WithdrawSet(warmSet) {
		t.Error("the set cannot be withdrawn")
	}
}
