package interpreter_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(withSharedPools{m})) }

// python is an interpreter that starts fast: no version manager's shim.
func python() string {
	if path := os.Getenv("KAA_TEST_PYTHON"); path != "" {
		return path
	}
	if _, err := os.Stat("/usr/bin/python3"); err == nil {
		return "/usr/bin/python3"
	}
	return "python3"
}

// ample is the limit for what should happen soon, on a machine that is busy.
const ample = testenv.Timeout

// testWriter sends logs to the test that caused them.
type testWriter struct{ tb testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.tb.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func runtimeOf(python string) []interpreter.RuntimeConfig {
	return []interpreter.RuntimeConfig{{Python: python}}
}

// plain are the tricks that KAA_PLAIN switches off.
func plain() []string {
	switch all := []string{interpreter.PlainMachineCode, interpreter.PlainPages, interpreter.PlainBallast, interpreter.PlainFonts}; testenv.Plain() {
	case "true":
		return all
	case "false":
		return nil
	default:
		return slices.DeleteFunc(all, func(name string) bool { return !slices.Contains(strings.Split(testenv.Plain(), ","), name) })
	}
}

// plainMemory reports whether KAA_PLAIN switches the sharing of preloaded memory off.
func plainMemory() bool {
	return testenv.Plain() == "true" || slices.Contains(strings.Split(testenv.Plain(), ","), "share")
}

// newPool starts a pool that ends with the test.
func newPool(tb testing.TB, change ...func(*interpreter.Config)) *interpreter.Pool {
	tb.Helper()
	p := unstartedPool(tb, change...)
	ctx, cancel := context.WithTimeout(tb.Context(), ample)
	defer cancel()
	if err := p.Start(ctx); err != nil {
		tb.Fatalf("Start: %v", err)
	}
	return p
}

func unstartedPool(tb testing.TB, change ...func(*interpreter.Config)) *interpreter.Pool {
	tb.Helper()
	cfg := interpreter.Config{Runtimes: runtimeOf(python()), Dir: tb.TempDir(), StartTimeout: ample, Plain: plain(), PlainMemory: plainMemory()}
	if testing.Verbose() {
		cfg.Log = slog.New(slog.NewTextHandler(testWriter{tb}, nil))
	}
	for _, f := range change {
		f(&cfg)
	}
	p, err := interpreter.New(tb.Context(), cfg)
	if err != nil {
		tb.Fatalf("New: %v", err)
	}
	tb.Cleanup(func() {
		if err := closePool(p, cfg.Dir); err != nil {
			tb.Error(err)
		}
	})
	return p
}

// closePool ends a pool and looks at what it leaves in its directory, which is nothing.
func closePool(p *interpreter.Pool, dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), ample)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		return fmt.Errorf("close pool: %w", err)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("left in the pool's directory: %v", entries)
	}
	return nil
}

func acquire(tb testing.TB, p *interpreter.Pool) *interpreter.Worker {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), ample)
	defer cancel()
	w, err := p.Acquire(ctx, "")
	if err != nil {
		tb.Fatalf("Acquire: %v", err)
	}
	tb.Cleanup(func() {
		if err := w.Close(); err != nil {
			tb.Errorf("Worker.Close: %v", err)
		}
	})
	return w
}

// execute runs spec on a fresh worker, which is closed at once.
func execute(tb testing.TB, p *interpreter.Pool, spec job.Spec, live ...job.Live) job.Result {
	tb.Helper()
	if spec.Timeout == 0 {
		spec.Timeout = ample
	}
	w := acquire(tb, p)
	res, err := w.Execute(tb.Context(), spec, append(live, job.Live{})[0])
	if err != nil {
		tb.Fatalf("Execute: %v", err)
	}
	if err := w.Close(); err != nil {
		tb.Errorf("Worker.Close: %v", err)
	}
	return res
}

func run(tb testing.TB, code string) job.Result {
	tb.Helper()
	return execute(tb, shared(tb), job.Spec{Code: code})
}

// outcome is a result without what differs from run to run.
func outcome(res job.Result) string {
	var b strings.Builder
	b.WriteString(string(res.Status))
	if res.ExitCode != nil {
		b.WriteString(" " + strconv.Itoa(*res.ExitCode))
	}
	if res.Error != nil {
		b.WriteString(" " + res.Error.Name + ": " + res.Error.Value)
	}
	return b.String()
}

// wantText compares a result with the outcome and the output that a test expects.
func wantText(tb testing.TB, res job.Result, wantOutcome, wantStdout, wantStderr string) {
	tb.Helper()
	if got := outcome(res); got != wantOutcome {
		tb.Errorf("outcome = %.500q, want %q", got, wantOutcome)
	}
	if res.Stdout != wantStdout {
		tb.Errorf("stdout = %.500q, want %.500q", res.Stdout, wantStdout)
	}
	if res.Stderr != wantStderr {
		tb.Errorf("stderr = %.500q, want %.500q", res.Stderr, wantStderr)
	}
	if tb.Failed() && res.Error != nil {
		tb.Logf("traceback:\n%.2000s", res.Error.Traceback)
	}
}

// processGone reports whether no process has the pid, or only one that is dead.
func processGone(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

// pidsIn returns the pids that the lines of out consist of.
func pidsIn(tb testing.TB, out string) []int {
	tb.Helper()
	var pids []int
	for field := range strings.FieldsSeq(out) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			tb.Fatalf("no pid in output: %q", out)
		}
		pids = append(pids, pid)
	}
	return pids
}

// wantGone fails if one of the processes that wrote its pid to out is left. The first
// line of out is what sayNamespace printed: in a namespace other than ours pids mean
// nothing here, and nobody at all may be left in it.
func wantGone(tb testing.TB, out string, n int) {
	tb.Helper()
	namespace, out, _ := strings.Cut(out, "\n")
	pids := pidsIn(tb, out)
	if len(pids) != n {
		tb.Fatalf("got %d pids, want %d: %q", len(pids), n, out)
	}
	if ours, err := os.Readlink("/proc/self/ns/pid"); err != nil || ours != namespace {
		// Execute does not wait for the kernel to be done with what it kills.
		testenv.Eventually(tb, "no process is left", func() bool { return len(holders(namespace, pids)) == 0 })
		return
	}
	for _, pid := range pids {
		if !processGone(pid) {
			tb.Errorf("process %d is left", pid)
		}
	}
}

// holders lists the processes that have one of these numbers in a pid namespace. Others
// may be there by now: the next worker of the slot, parked.
func holders(namespace string, pids []int) []string {
	var found []string
	links, _ := filepath.Glob("/proc/[0-9]*/ns/pid")
	for _, link := range links {
		status, _ := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(link)), "status"))
		_, numbers, _ := strings.Cut(string(status), "NSpid:")
		numbers, _, _ = strings.Cut(numbers, "\n")
		inside := slices.ContainsFunc(pids, func(pid int) bool { return strings.HasSuffix(numbers, "\t"+itoa(pid)) })
		if got, err := os.Readlink(link); err == nil && got == namespace && inside {
			found = append(found, string(status))
		}
	}
	return found
}

// workersUnder returns the processes whose working directory is in dir.
func workersUnder(tb testing.TB, dir string) []int {
	tb.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		tb.Fatal(err)
	}
	var pids []int
	for _, link := range links {
		if cwd, err := os.Readlink(link); err == nil && strings.HasPrefix(cwd, dir+"/") {
			pid, err := strconv.Atoi(strings.Split(link, "/")[2])
			if err != nil {
				tb.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// withLevel sets the sandbox level; tests that look at the code from outside, by its
// pids and files, use sandbox.None.
func withLevel(l sandbox.Level) func(*interpreter.Config) {
	return func(c *interpreter.Config) { c.Sandbox = l }
}

// atEachLevel runs f at every level in make test-long. Otherwise it runs all tests at the default, about a third
// also at basic, and a third at none.
func atEachLevel(t *testing.T, f func(t *testing.T, level sandbox.Level)) {
	t.Helper()
	levels := []sandbox.Level{sandbox.Strict, sandbox.Basic, sandbox.None}
	if !testenv.IsLong() {
		levels = []sandbox.Level{levels[0], levels[len(t.Name())%3]}
		levels = slices.Compact(levels)
	}
	for _, level := range levels {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			f(t, level)
		})
	}
}

// sayNamespace is code whose output wantGone understands.
const sayNamespace = "import os\nprint(os.readlink('/proc/self/ns/pid'))\n"

func TestStatuses(t *testing.T) {
	t.Parallel()
	pool := shared(t)
	tests := []struct {
		name, code              string
		outcome, stdout, stderr string
	}{
		{"ok", "print(42)", "ok 0", "42\n", ""},
		{"both streams", "import sys\nprint('o')\nprint('e', file=sys.stderr)", "ok 0", "o\n", "e\n"},
		{"error", "1/0", "error 1 ZeroDivisionError: division by zero", "", ""},
		{"output before an error", "print('x'); [][1]", "error 1 IndexError: list index out of range", "x\n", ""},
		{"own KeyboardInterrupt", "raise KeyboardInterrupt('k')", "error 130 KeyboardInterrupt: k", "", ""},
		{"interrupts itself", "import os, signal\nos.kill(os.getpid(), signal.SIGINT)", "error 130 KeyboardInterrupt: ", "", ""},
		{"GeneratorExit", "raise GeneratorExit", "error 1 GeneratorExit: ", "", ""},
		{"sys.exit()", "import sys\nsys.exit()", "exit 0", "", ""},
		{"sys.exit(None)", "import sys\nsys.exit(None)", "exit 0", "", ""},
		{"sys.exit(0)", "import sys\nsys.exit(0)", "exit 0", "", ""},
		{"sys.exit(True)", "import sys\nsys.exit(True)", "exit 1", "", ""},
		{"sys.exit of a string", "import sys\nsys.exit('no\\ud800 way')", "exit 1", "", "no\\ud800 way\n"},
		{"sys.exit of an object", "import sys\nsys.exit([1])", "exit 1", "", "[1]\n"},
		{"sys.exit of an object without str", "import sys\nclass A:\n def __str__(s): 1/0\nsys.exit(A())", "exit 1", "", ""},
		{"sys.exit(256+7)", "import sys\nsys.exit(263)", "exit 7", "", ""},
		{"sys.exit(-1)", "import sys\nsys.exit(-1)", "exit 255", "", ""},
		{"sys.exit of a huge int", "import sys\nsys.exit(2**100+5)", "exit 255", "", ""},
		{"subclass of SystemExit", "class E(SystemExit): pass\nraise E(4)", "exit 4", "", ""},
		{"quit", "quit(2)", "exit 2", "", ""},
		{"os._exit(0)", "import os\nprint('x')\nos._exit(0)", "exit 0", "x\n", ""},
		{"os._exit(9)", "import os\nos._exit(9)", "exit 9", "", ""},
		{"SIGSEGV", "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "exit 139 SIGSEGV: the interpreter was ended by SIGSEGV (segmentation fault)", "", ""},
		{"SIGKILL", "import os, signal\nos.kill(os.getpid(), 9)", "exit 137 SIGKILL: the interpreter was ended by SIGKILL (killed)", "", ""},
		{"abort", "import os\nos.abort()", "exit 134 SIGABRT: the interpreter was ended by SIGABRT (aborted)", "", ""},
		{"real-time signal", "import os\nos.kill(os.getpid(), 40)", "exit 168 signal 40: the interpreter was ended by signal 40 (signal 40)", "", ""},
		{"MemoryError", "x = bytearray(1 << 62)", "error 1 MemoryError: ", "", ""},
		{"RecursionError", "def f(): f()\ntry: f()\nexcept RecursionError: print('caught')\nraise ValueError('x')", "error 1 ValueError: x", "caught\n", ""},
		{"empty code", "", "ok 0", "", ""},
		{"no newline at the end", "if 1:\n  print(1)", "ok 0", "1\n", ""},
		{"CRLF", "if 1:\r\n  print('''a\r\nb''')\r\n", "ok 0", "a\nb\n", ""},
		{"last value is not printed", "1+1", "ok 0", "", ""},
		{"crash in an atexit callback", "import atexit, os\natexit.register(os._exit, 3)\n1/0", "exit 3 ZeroDivisionError: division by zero", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantText(t, execute(t, pool, job.Spec{Code: tt.code}), tt.outcome, tt.stdout, tt.stderr)
		})
	}
}

func TestResultIsComplete(t *testing.T) {
	t.Parallel()
	w := acquire(t, shared(t))
	before := time.Now()
	res, err := w.Execute(t.Context(), job.Spec{Code: "import time; time.sleep(0.05); raise ValueError('v')", Timeout: ample}, job.Live{})
	if err != nil {
		t.Fatal(err)
	}
	if res.SessionID == "" || res.SessionID != w.SessionID() {
		t.Errorf("session id %q, worker's %q", res.SessionID, w.SessionID())
	}
	if most := float64(time.Since(before).Microseconds()) / 1000; res.DurationMs < 50 || res.DurationMs > most {
		t.Errorf("duration %v ms, want between 50 and %v", res.DurationMs, most)
	}
	if res.Truncated != nil || res.JobID != "" || res.QueuedMs != 0 {
		t.Errorf("unexpected fields in %+v", res)
	}
	if _, err := w.Execute(t.Context(), job.Spec{Code: "1"}, job.Live{}); !errors.Is(err, interpreter.ErrUsed) {
		t.Errorf("second Execute: %v, want ErrUsed", err)
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

// sessionOf returns the session id of a process.
func sessionOf(pid int) (int, error) { return unix.Getsid(pid) }
