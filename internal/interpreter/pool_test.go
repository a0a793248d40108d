package interpreter_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestPoolKeepsWorkersParked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pool := newPool(t, func(c *interpreter.Config) { c.Size = 3; c.Dir = dir; c.Sandbox = sandbox.None })
	testenv.Eventually(t, "3 parked", func() bool { return len(workersUnder(t, dir)) == 3 })
	w := acquire(t, pool)
	testenv.Eventually(t, "3 parked and 1 lent", func() bool { return len(workersUnder(t, dir)) == 4 })
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(workersUnder(t, dir)); n != 3 {
		t.Errorf("%d processes, want 3", n)
	}
}

func TestEveryWorkerIsFresh(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(c *interpreter.Config) { c.Size = 4 })
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			res := execute(t, pool, job.Spec{Code: "print('seen' in globals()); seen = 1"})
			mu.Lock()
			defer mu.Unlock()
			if seen[res.SessionID] || res.Stdout != "False\n" {
				t.Errorf("session %s, stdout %q", res.SessionID, res.Stdout)
			}
			seen[res.SessionID] = true
		})
	}
	wg.Wait()
}

// A worker that was killed while it was parked is replaced, not lent.
func TestDeadWorkerIsNeverLent(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	dir := t.TempDir()
	pool := newPool(t, func(c *interpreter.Config) { c.Size = 2; c.Dir = dir; c.Sandbox = sandbox.None })
	for range 20 {
		// One that is killed earlier is a failed start, and enough of those are told.
		testenv.Eventually(t, "2 parked", func() bool {
			pids := workersUnder(t, dir)
			return len(pids) == 2 && ready(t, pids[0]) && ready(t, pids[1])
		})
		for _, pid := range workersUnder(t, dir) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				continue // it was still starting, or has been reaped
			}
			testenv.Eventually(t, "dead", func() bool { return processGone(pid) })
		}
		res, err := acquire(t, pool).Execute(t.Context(), job.Spec{Code: "print(1)", Timeout: ample}, job.Live{})
		if errors.Is(err, job.ErrNotStarted) {
			continue // it died between being lent and being used, and that is told
		}
		if err != nil {
			t.Fatal(err)
		}
		wantText(t, res, "ok 0", "1\n", "")
	}
}

// A signal meant for others does not spoil a parked worker.
func TestParkedWorkerIgnoresSIGINT(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pool := newPool(t, func(c *interpreter.Config) { c.Dir = dir; c.Sandbox = sandbox.None })
	w := acquire(t, pool)
	for _, pid := range workersUnder(t, dir) {
		// The group of a worker that is not in its session yet is the test's own.
		if sid, err := sessionOf(pid); err == nil && sid == pid {
			if ready(t, pid) {
				_ = syscall.Kill(pid, syscall.SIGINT)
			}
		}
	}
	res, err := w.Execute(t.Context(), job.Spec{Code: "print(1)", Timeout: ample}, job.Live{})
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, res, "ok 0", "1\n", "")
}

// ready reports whether the worker ignores SIGINT, which it does once it has come far.
func ready(t *testing.T, pid int) bool {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "status"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(status), "SigIgn:\t")
	text, _, _ := strings.Cut(rest, "\n")
	mask, err := strconv.ParseUint(text, 16, 64) // it may ignore others, as below nohup
	return err == nil && mask&(1<<(syscall.SIGINT-1)) != 0
}

func TestStartAndAcquireTellWhyPythonDoesNotStart(t *testing.T) {
	t.Parallel()
	// It answers the question about its version, but then does not run the script.
	dir := t.TempDir()
	fake := filepath.Join(dir, "python3")
	script := "#!/bin/sh\ncase \" $* \" in *' -c '*) printf '3.9.9\\n%s' " + fake + ";; *) echo broken installation >&2; exit 1;; esac\n"
	if err := os.WriteFile(fake, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	pool := unstartedPool(t, func(c *interpreter.Config) { c.Runtimes = runtimeOf(fake) })
	want := []job.Runtime{{Name: "python3.9", Version: "3.9.9", Modules: []string{}, Default: true}}
	if diff := cmp.Diff(want, pool.Runtimes()); diff != "" {
		t.Errorf("runtimes (-want +got):\n%s", diff)
	}
	ctx, cancel := context.WithTimeout(t.Context(), ample)
	defer cancel()
	err := pool.Start(ctx)
	if !errors.Is(err, job.ErrNoWorker) || !strings.Contains(err.Error(), "broken installation") {
		t.Errorf("Start: %v", err)
	}
	if _, err = pool.Acquire(ctx, ""); !errors.Is(err, job.ErrNoWorker) {
		t.Errorf("Acquire: %v", err)
	}
}

func TestAWorkerThatHangsAtItsStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fake := filepath.Join(dir, "python3")
	script := "#!/bin/sh\ncase \" $* \" in *' -c '*) printf '3.9.9\\n%s' " + fake + ";; *) echo thinking >&2; sleep 600;; esac\n"
	if err := os.WriteFile(fake, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	pool := unstartedPool(t, func(c *interpreter.Config) { c.Runtimes = runtimeOf(fake); c.StartTimeout = 2 * time.Second })
	err := pool.Start(t.Context())
	if !errors.Is(err, job.ErrNoWorker) || !strings.Contains(err.Error(), "thinking") {
		t.Errorf("Start: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fake := func(name, script string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	of := func(python string) interpreter.Config { return interpreter.Config{Runtimes: runtimeOf(python)} }
	tests := []struct {
		name string
		cfg  interpreter.Config
		want string
	}{
		{"no such Python", of("no-such-python"), "no-such-python"},
		{"failing Python", of(fake("failing", "echo why >&2; exit 1")), "it said: why"},
		{"old Python", of(fake("old", `printf '3.7.16\n/usr/bin/python3.7'`)), "version 3.7.16, need 3.8 or later"},
		{"no Python at all", of(fake("none", "echo hello")), "answered"},
		{"hanging Python", interpreter.Config{Runtimes: runtimeOf(fake("hanging", "exec sleep 600")), StartTimeout: 100 * time.Millisecond}, "hanging"},
		{"no directory", interpreter.Config{Runtimes: runtimeOf(python()), Dir: filepath.Join(dir, "absent")}, "private directory"},
		{"negative size", interpreter.Config{Size: -1}, "must not be negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := interpreter.New(t.Context(), tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestCloseOfThePool(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pool := newPool(t, func(c *interpreter.Config) { c.Size = 3; c.Dir = dir; c.Grace = ample; c.Sandbox = sandbox.None })
	w := acquire(t, pool)
	code, begun := announced(t)
	executed := make(chan error, 1)
	go func() {
		_, err := w.Execute(context.Background(), job.Spec{Code: code}, job.Live{})
		executed <- err
	}()
	begun()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := pool.Close(context.Background()); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	wg.Wait()
	if err := <-executed; !errors.Is(err, interpreter.ErrClosed) {
		t.Errorf("Execute: %v, want ErrClosed", err)
	}
	if _, err := pool.Acquire(t.Context(), ""); !errors.Is(err, interpreter.ErrClosed) {
		t.Errorf("Acquire: %v, want ErrClosed", err)
	}
	if err := pool.Start(t.Context()); !errors.Is(err, interpreter.ErrClosed) {
		t.Errorf("Start: %v, want ErrClosed", err)
	}
	if pids := workersUnder(t, dir); len(pids) > 0 {
		t.Errorf("left: %v", pids)
	}
}

// Start, Acquire and Close in any order and at any moment end cleanly.
func TestCloseAtAnyMoment(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	for i := range 20 {
		pool := unstartedPool(t, func(c *interpreter.Config) { c.Size = 2 })
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*3*time.Millisecond)
		var wg sync.WaitGroup
		wg.Go(func() { _ = pool.Start(ctx) })
		wg.Go(func() {
			if w, err := pool.Acquire(ctx, ""); err == nil {
				_, _ = w.Execute(ctx, job.Spec{Code: "print(1)"}, job.Live{})
				_ = w.Close()
			}
		})
		<-ctx.Done()
		if err := pool.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
		wg.Wait()
		cancel()
	}
}

func TestAcquireEndsWithItsContext(t *testing.T) {
	t.Parallel()
	pool := unstartedPool(t) // nothing will be parked
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := pool.Acquire(ctx, ""); !errors.Is(err, why) {
		t.Errorf("Acquire: %v, want the cause", err)
	}
}

// Processes that other code of this process starts are none of the sweep's.
func TestOtherChildrenAreNotTouched(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	other := exec.CommandContext(ctx, "sleep", "600")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	pool := newPool(t, withLevel(sandbox.None))
	stop := make(chan struct{})
	var runs atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() { // and os/exec can still wait for its own
		for {
			select {
			case <-stop:
				return
			default:
			}
			if out, err := exec.CommandContext(ctx, "sh", "-c", "exit 3").Output(); err == nil || len(out) > 0 {
				t.Errorf("exit code lost: %v", err)
			} else if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 3 {
				t.Errorf("exit code lost: %v", err)
			}
			runs.Add(1)
		}
	})
	for range 20 {
		res := execute(t, pool, job.Spec{Code: sayNamespace + "import subprocess\nsubprocess.run('setsid nohup sleep 600 & echo $!', shell=True)"})
		wantGone(t, res.Stdout, 1)
	}
	close(stop)
	wg.Wait()
	if processGone(other.Process.Pid) {
		t.Error("the other process was killed")
	}
	cancel()
	_ = other.Wait()
}

// Two pools of one process do not kill each other's newborns and orphans.
func TestPoolsShareTheProcess(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	var wg sync.WaitGroup
	for _, level := range []sandbox.Level{sandbox.None, sandbox.None, sandbox.Strict} {
		pool := newPool(t, withLevel(level), func(c *interpreter.Config) { c.Size = 2 })
		for range 4 {
			wg.Go(func() {
				for range 8 {
					res := execute(t, pool, job.Spec{Code: sayNamespace + `
import subprocess
p = subprocess.Popen("setsid sh -c 'echo $$; exec sleep 600' & wait", shell=True, stdout=subprocess.PIPE)
line = p.stdout.readline().decode()
subprocess.run("setsid true & setsid true", shell=True)
assert p.poll() is None
print(line, end="")`})
					if res.Status != job.StatusOK {
						t.Errorf("%s: %s", outcome(res), res.Stderr)
						continue
					}
					wantGone(t, res.Stdout, 1)
				}
			})
		}
	}
	wg.Wait()
}

// Processes that multiply in sessions of their own are ended too.
func TestForkBomb(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		res := execute(t, newPool(t, withLevel(level), withGrace(10*time.Millisecond)), job.Spec{Timeout: 8 * time.Second, Code: sayNamespace + `
import os, time
for depth in range(5):
    if os.fork() == 0: os.setsid()
os.write(1, b"%d\n" % os.getpid())
while True: time.sleep(1)
`})
		if res.Status != job.StatusInterrupted {
			t.Errorf("outcome = %s", outcome(res))
		}
		wantGone(t, res.Stdout, 32)
	})
}
