package interpreter_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

// impatientPool returns a pool that gives a process that does not answer up soon. On a busy machine
// it may give up others too, but then starts them again.
func impatientPool(t *testing.T, level sandbox.Level, size int) *interpreter.Pool {
	t.Helper()
	pool := unstartedPool(t, withLevel(level), func(c *interpreter.Config) { c.Size, c.StartTimeout = size, 4*time.Second })
	_ = pool.Start(t.Context())
	awaitParked(t, pool, size)
	return pool
}

// awaitParked waits until as many workers are parked as the pool wants.
func awaitParked(t *testing.T, pool *interpreter.Pool, size int) {
	t.Helper()
	testenv.Eventually(t, fmt.Sprint(size, " parked"), func() bool { return parked(pool) == size })
}

func parked(pool *interpreter.Pool) int {
	n := 0
	for _, of := range pool.Parked() {
		n += of
	}
	return n
}

// stop stops a process that is this pool's and cannot have been reaped.
func stop(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

// A pool has all its workers again although a process stands still from which it needs an answer.
func TestProcessThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	tests := []struct {
		name string
		stop func(t *testing.T, w *interpreter.Worker)
	}{
		{"zygote", func(t *testing.T, w *interpreter.Worker) {
			t.Helper()
			stop(t, parentOf(w.SlotPID()))
		}},
		{"slot without a worker", func(t *testing.T, w *interpreter.Worker) {
			t.Helper()
			if _, err := w.Execute(t.Context(), job.Spec{Code: "1", Timeout: ample}, job.Live{}); err != nil {
				t.Fatal(err)
			}
			<-w.Exited()
			stop(t, w.SlotPID())
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}},
		{"slot with a worker", func(t *testing.T, w *interpreter.Worker) {
			t.Helper()
			stop(t, w.SlotPID())
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, level := range []sandbox.Level{sandbox.Strict, sandbox.None} {
		for _, tt := range tests {
			t.Run(tt.name+" at "+string(level), func(t *testing.T) {
				t.Parallel()
				pool := impatientPool(t, level, 1)
				w := acquire(t, pool)
				awaitParked(t, pool, 1)
				tt.stop(t, w)
				acquire(t, pool)
				awaitParked(t, pool, 1)
				wantText(t, execute(t, pool, job.Spec{Code: "print(1)"}), "ok 0", "1\n", "")
			})
		}
	}
}

// A session goes on, and its files are there, although its slot gets no processor for a while.
func TestSlotThatWaits(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	for _, forked := range []bool{false, true} {
		t.Run(fmt.Sprint("forked ", forked), func(t *testing.T) {
			t.Parallel()
			s := session(t, shared(t), job.SessionSpec{})
			if forked {
				fork(t, s, 1)
			}
			wantOK(t, step(t, s, job.Spec{Code: "open('f', 'w').write('kept')"}))
			stop(t, s.SlotPID())
			time.AfterFunc(2500*time.Millisecond, func() { _ = syscall.Kill(s.SlotPID(), syscall.SIGCONT) })
			inFiles(t, s, func(_ context.Context, f job.FileSystem) error {
				if got := readOf(f, "/work/f"); got != "kept" {
					t.Errorf("the file has %q", got)
				}
				return nil
			})
			wantText(t, step(t, s, job.Spec{Code: "print(open('f').read())"}), "ok 0", "kept\n", "")
		})
	}
}

// A pool has all its workers again after any of its processes have been killed or stopped at any
// moment.
func TestProcessesThatEndAtAnyMoment(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	for _, level := range []sandbox.Level{sandbox.Strict, sandbox.None} {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			const size, callers, rounds = 3, 3, 6
			pool := impatientPool(t, level, size)
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for range rounds {
						w, err := pool.Acquire(t.Context(), "")
						if err != nil { // no worker can be started at the moment
							continue
						}
						harm := make(chan struct{})
						go func() {
							defer close(harm)
							harmOne(w.SlotPID())
						}()
						_, _ = w.Execute(t.Context(), job.Spec{Code: "import subprocess\nsubprocess.run('true')", Timeout: time.Second}, job.Live{})
						<-harm
						if err := w.Close(); err != nil {
							t.Errorf("Close: %v", err)
						}
					}
				})
			}
			wg.Wait()
			awaitParked(t, pool, size)
			for range 2 * size { // a stopped one may be among them, and is found by its use
				if w, err := pool.Acquire(t.Context(), ""); err == nil {
					_, _ = w.Execute(t.Context(), job.Spec{Code: "1", Timeout: time.Second}, job.Live{})
					_ = w.Close()
				}
			}
			awaitParked(t, pool, size)
			wantText(t, execute(t, pool, job.Spec{Code: "print(1)"}), "ok 0", "1\n", "")
		})
	}
}

// A session goes on although its interpreter has not read an execution when that is interrupted: the interpreter waits for a processor.
func TestSessionInterruptBeforeTheRead(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t, withGrace(ample)), job.SessionSpec{})
	step(t, s, job.Spec{Code: "x = 1"})
	worker := childrenOf(s.SlotPID())
	if len(worker) != 1 {
		t.Fatalf("processes of the slot: %v", worker)
	}
	stop(t, worker[0])
	time.AfterFunc(time.Second, func() { _ = syscall.Kill(worker[0], syscall.SIGCONT) })
	res := step(t, s, job.Spec{Code: "import time\ntime.sleep(600)", Timeout: time.Millisecond})
	if res.Status != job.StatusInterrupted {
		t.Errorf("%+v", res)
	}
	if res := step(t, s, job.Spec{Code: "print(x)"}); res.Stdout != "1\n" {
		t.Errorf("the next: %+v %+v", res, res.Error)
	}
}

// harmOne kills or stops a slot, its zygote, or one of the processes below either, after a while.
func harmOne(slot int) {
	zygote := parentOf(slot)
	victims := append(childrenOf(slot), slot)
	if others := childrenOf(zygote); zygote > 1 && zygote != os.Getpid() && len(others) > 0 {
		other := others[rand.IntN(len(others))]
		victims = append(append(victims, childrenOf(other)...), other, zygote)
	}
	victim := victims[rand.IntN(len(victims))]
	time.Sleep(rand.N(5 * time.Millisecond)) // anywhere in the execution
	number := syscall.SIGKILL
	if rand.IntN(4) == 0 {
		number = syscall.SIGSTOP
	}
	_ = syscall.Kill(victim, number) // it may have ended
}

// parentOf returns the parent of a process; 0 if it has ended.
func parentOf(pid int) int {
	status, _ := os.ReadFile("/proc/" + itoa(pid) + "/status")
	_, rest, _ := strings.Cut(string(status), "PPid:\t")
	line, _, _ := strings.Cut(rest, "\n")
	parent, _ := strconv.Atoi(line)
	return parent
}

// childrenOf returns the children of a process with one thread.
func childrenOf(pid int) []int {
	text, _ := os.ReadFile("/proc/" + itoa(pid) + "/task/" + itoa(pid) + "/children")
	var pids []int
	for field := range strings.FieldsSeq(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			pids = append(pids, child)
		}
	}
	return pids
}
