package interpreter_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

// session opens a session that lives as long as the test.
func session(tb testing.TB, p *interpreter.Pool, spec job.SessionSpec) *interpreter.Session {
	tb.Helper()
	s, err := p.Session(tb.Context(), spec)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close session: %v", err)
		}
	})
	return s
}

// step executes in a session that is to go on.
func step(tb testing.TB, s *interpreter.Session, spec job.Spec, live ...job.Live) job.Result {
	tb.Helper()
	res, end := last(tb, s, spec, live...)
	if end != nil {
		tb.Fatalf("the session ended: %+v; result %+v", end, res)
	}
	return res
}

func last(tb testing.TB, s *interpreter.Session, spec job.Spec, live ...job.Live) (job.Result, *job.SessionEnd) {
	tb.Helper()
	if spec.Timeout == 0 {
		spec.Timeout = ample
	}
	res, end, err := s.Execute(tb.Context(), spec, append(live, job.Live{})[0])
	if err != nil {
		tb.Fatal(err)
	}
	return res, end
}

func TestSessionKeeps(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{Envs: map[string]string{"OF_SESSION": "stays"}})
		for _, tt := range []struct {
			name, code, outcome, stdout, stderr string
			spec                                job.Spec
		}{
			{name: "a variable", code: "x = 41"},
			{name: "its value", code: "x += 1\nprint(x)", stdout: "42\n"},
			{name: "an import", code: "import json as j"},
			{name: "the module", code: "print(j.dumps([x]))", stdout: "[42]\n"},
			{name: "the working directory", code: "import os\nos.mkdir('sub'); os.chdir('sub'); open('f', 'w').write('here')"},
			{name: "its file", code: "print(open('f').read(), os.path.basename(os.getcwd()))", stdout: "here sub\n"},
			{name: "an error", code: "1/0", outcome: "error 1 ZeroDivisionError"},
			{name: "after an error", code: "print(x)", stdout: "42\n"},
			{name: "exit", code: "import sys\nprint('bye')\nsys.exit(3)", outcome: "exit 3", stdout: "bye\n"},
			{name: "after exit", code: "print(x, file=sys.stderr)", stderr: "42\n"},
			{name: "a function", code: "def f():\n    raise ValueError(x)"},
			{name: "main", code: "class C: pass\nprint(C.__module__, __name__, f.__module__)", stdout: "__main__ __main__ __main__\n"},
			{name: "stdin", code: "print(input())", stdout: "one\n", spec: job.Spec{Stdin: "one\ntwo\n"}},
			{name: "stdin of another execution", code: "print(repr(sys.stdin.read()))", stdout: "''\n"},
			{name: "stdin again", code: "print(sys.stdin.read())", stdout: "ä\n", spec: job.Spec{Stdin: "ä"}},
			{name: "a variable of its environment", code: "print(os.environ['A'], os.environ['OF_SESSION'])", stdout: "b gone\n", spec: job.Spec{Envs: map[string]string{"A": "b", "OF_SESSION": "gone"}}},
			{name: "is undone", code: "print(os.environ.get('A'), os.environ['OF_SESSION'])", stdout: "None stays\n"},
			{name: "a child's output", code: "import subprocess\nsubprocess.run(['echo', 'child'])", stdout: "child\n"},
			{name: "a syntax error", code: "x = = 1", outcome: "error 1 SyntaxError"},
			{name: "a child that goes on", code: "import os\nif os.fork() == 0: raise SystemExit(0)\nprint(os.wait()[1])", stdout: "0\n"},
			{name: "signals are the code's", code: "import signal\nsignal.signal(signal.SIGINT, lambda *a: print('mine'))\nos.kill(os.getpid(), signal.SIGINT)", stdout: "mine\n"},
			{name: "and stay so", code: "os.kill(os.getpid(), signal.SIGINT)", stdout: "mine\n"},
			{name: "stdout that was replaced", code: "import io\nsys.stdout = io.StringIO()\nprint('lost')"},
			{name: "is the code's own doing", code: "sys.stdout = sys.__stdout__\nprint('back')", stdout: "back\n"},
		} {
			tt.spec.Code = tt.code
			res := step(t, s, tt.spec)
			want := tt.outcome
			if want == "" {
				want = "ok 0"
			}
			if got := outcome(res); !strings.HasPrefix(got, want) || res.Stdout != tt.stdout || res.Stderr != tt.stderr {
				t.Errorf("%s: %s, stdout %q, stderr %q; want %s, %q, %q", tt.name, got, res.Stdout, res.Stderr, want, tt.stdout, tt.stderr)
			}
		}
		res := step(t, s, job.Spec{Code: "\nf()"})
		if res.Error == nil || !strings.Contains(res.Error.Traceback, `line 2, in f`) || !strings.Contains(res.Error.Traceback, "raise ValueError(x)") {
			t.Errorf("a traceback through code of an earlier execution: %+v", res.Error)
		}
		step(t, s, job.Spec{Code: "import builtins\nlen = builtins.len = builtins.open = builtins.BaseException = None"})
		if res := step(t, s, job.Spec{Code: "print(len)"}); res.Stdout != "None\n" {
			t.Errorf("with replaced builtins: %+v", res)
		}
	})
}

func TestSessionInterrupt(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	s := session(t, shared(t, withGrace(ample)), job.SessionSpec{}) // SIGINT has to suffice
	step(t, s, job.Spec{Code: "x = 1"})
	for i := range 2 {
		res := step(t, s, job.Spec{Code: "import time\nprint('begun')\nwhile True: time.sleep(0.01)", Timeout: soon()})
		if res.Status != job.StatusInterrupted || res.Stdout != "begun\n" || res.Error == nil || res.Error.Value != timedOut(soon()) {
			t.Fatalf("%+v", res)
		}
		// The interrupt must not reach the next one.
		if res := step(t, s, job.Spec{Code: "x += 1\nprint(x)"}); res.Status != job.StatusOK || res.Stdout != itoa(i+2)+"\n" {
			t.Fatalf("%+v %+v", res, res.Error)
		}
	}
	// One that comes when the code has just ended, or not begun.
	for range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		_, end, err := s.Execute(ctx, job.Spec{Code: "pass", Timeout: time.Minute}, job.Live{})
		cancel()
		if end != nil || err != nil {
			t.Fatalf("%+v %v", end, err)
		}
		if res := step(t, s, job.Spec{Code: "print(1)"}); res.Stdout != "1\n" || res.Status != job.StatusOK {
			t.Fatalf("%+v %+v", res, res.Error)
		}
	}
	// One that is still on its way when the code has ended.
	step(t, s, job.Spec{Code: "import time"})
	for range 300 {
		step(t, s, job.Spec{Code: "time.sleep(0.002)", Timeout: 2100 * time.Microsecond})
		if res := step(t, s, job.Spec{Code: "for _ in range(3000): pass"}); res.Status != job.StatusOK {
			t.Fatalf("%+v %+v", res, res.Error)
		}
	}
	s = session(t, shared(t, withGrace(shortGrace)), job.SessionSpec{})
	res, end := last(t, s, job.Spec{Code: "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('deaf')\nimport time\ntime.sleep(600)", Timeout: soon()})
	if res.Status != job.StatusInterrupted || res.Stdout != "deaf\n" || end == nil || end.Reason != job.EndKilled {
		t.Errorf("%+v, end %+v", res, end)
	}
	if _, end, err := s.Execute(t.Context(), job.Spec{Code: "1"}, job.Live{}); err == nil || end == nil {
		t.Errorf("executes after its end: %v %v", end, err)
	}
}

func TestSessionEnds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, code string
		spec       job.SessionSpec
		reason     job.EndReason
		status     job.Status
	}{
		{"os._exit", "import os\nprint('x')\nos._exit(4)", job.SessionSpec{}, job.EndCrashed, job.StatusExit},
		{"a crash", "import ctypes\nctypes.string_at(0)", job.SessionSpec{}, job.EndCrashed, job.StatusExit},
		{"memory", "x = bytearray(200 << 20)\nimport time; time.sleep(600)", job.SessionSpec{Quota: job.Quota{MemoryBytes: 64 << 20}}, job.EndMemory, job.StatusExit},
		{"processor time", "while True: pass", job.SessionSpec{Quota: job.Quota{CPUTime: 100 * time.Millisecond}}, job.EndCPU, job.StatusExit},
		{"a frame that is none", "import os\nfor fd in range(3, 2000):\n    try: os.write(fd, b'nonsense\\n')\n    except OSError: pass\nimport time; time.sleep(600)", job.SessionSpec{}, job.EndCrashed, job.StatusExit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := session(t, shared(t), tt.spec)
			step(t, s, job.Spec{Code: "x = 1"})
			res, end := last(t, s, job.Spec{Code: tt.code})
			if end == nil || end.Reason != tt.reason || res.Status != tt.status {
				t.Errorf("%+v %+v, end %+v", res, res.Error, end)
			}
			if s.Alive() == nil {
				t.Error("it lives")
			}
		})
	}
}

func TestSessionLimitsEachExecution(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{Quota: job.Quota{CPUTime: 400 * time.Millisecond, OutputBytes: 100}})
	for range 4 {
		res := step(t, s, job.Spec{Code: "import time\nt = time.process_time()\nwhile time.process_time() - t < 0.15: pass\nprint('x' * 300)"})
		if res.Status != job.StatusOK || res.CPUMs < 100 || res.CPUMs > 390 || res.Truncated == nil || res.Truncated.Stdout < 150 {
			t.Errorf("%+v", res)
		}
	}
	if res := step(t, s, job.Spec{Code: "print('x' * 300)", Quota: job.Quota{OutputBytes: 1000}}); len(res.Stdout) != 301 {
		t.Errorf("%+v", res)
	}
	if res := step(t, s, job.Spec{Code: "'x' * 300", Quota: job.Quota{ResultBytes: 500}}); len(res.Results[0].Data["text/plain"]) > 250 {
		t.Errorf("%+v", res)
	}
}

// TestSessionBackground: what is written between executions comes with the next.
func TestSessionBackground(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{})
	res := step(t, s, job.Spec{Code: `
import os, threading
r, w = os.pipe()
def later():
    os.read(r, 1)
    print("from behind")
    done.set()
done = threading.Event()
threading.Thread(target=later).start()
print("at once")`})
	if res.Stdout != "at once\n" {
		t.Errorf("%+v", res)
	}
	res = step(t, s, job.Spec{Code: "os.write(w, b'x'); done.wait(); print('now')"})
	if res.Stdout != "from behind\nnow\n" {
		t.Errorf("%+v", res)
	}
	res = step(t, s, job.Spec{Code: "import subprocess\np = subprocess.Popen(['sh', '-c', 'echo a; sleep 60'])\nimport time\nprint('b\\n', end='')"})
	within(t, res, "b\n")
}

func within(t *testing.T, res job.Result, text string) {
	t.Helper()
	if !strings.Contains(res.Stdout, text) {
		t.Errorf("%q is not in %+v", text, res)
	}
}

// TestSessionMemoryBetweenExecutions: its limit holds then, too.
func TestSessionMemoryBetweenExecutions(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{Quota: job.Quota{MemoryBytes: 64 << 20}})
	step(t, s, job.Spec{Code: "import threading\ndef fill():\n    global x\n    x = b'x' * (200 << 20)\nthreading.Timer(0.1, fill).start()"})
	testenv.Eventually(t, "it has ended", func() bool {
		end := s.Alive()
		return end != nil && end.Reason == job.EndMemory
	})
}

// TestSessionCloseInOrder: at the end of the session atexit runs and threads are joined.
func TestSessionCloseInOrder(t *testing.T) {
	t.Parallel()
	p := shared(t, withLevel(sandbox.None))
	s := session(t, p, job.SessionSpec{})
	path := t.TempDir() + "/end"
	step(t, s, job.Spec{Code: "import atexit\natexit.register(lambda: open(" + pyQuote(path) + ", 'w').write('done'))"})
	step(t, s, job.Spec{Code: "pass"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if text := readFile(t, path); text != "done" {
		t.Errorf("atexit left %q", text)
	}
}

func BenchmarkSession(b *testing.B) {
	s := session(b, newPool(b), job.SessionSpec{})
	step(b, s, job.Spec{Code: "x = 0"})
	for b.Loop() {
		step(b, s, job.Spec{Code: "x += 1\nprint(x)"})
	}
}

func readFile(tb testing.TB, path string) string {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// TestSessionLeavesNothing: what a session has started ends with it.
func TestSessionLeavesNothing(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level), withGrace(200*time.Millisecond)), job.SessionSpec{})
		res := step(t, s, job.Spec{Code: sayNamespace + `
import subprocess, time
def start(*argv, **more):
    print(subprocess.Popen(argv, **more).pid, flush=True)
start("sleep", "1000")
start("sleep", "1000", start_new_session=True)
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        os.write(w, b"x")
        time.sleep(1000)
    os._exit(0)
os.wait()
os.read(r, 1)`})
		step(t, s, job.Spec{Code: "import threading\nthreading.Thread(target=time.sleep, args=(1000,)).start()"})
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		wantGone(t, res.Stdout, 3)
	})
}

// TestSessionForgedEnd: code that claims to have ended hurts its own session at most.
func TestSessionForgedEnd(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t, withGrace(200*time.Millisecond)), job.SessionSpec{})
	step(t, s, job.Spec{Code: "import os, time"})
	res := step(t, s, job.Spec{Code: `
for fd in range(3, 2000):
    try: os.write(fd, b'{"id":"2","type":"status","status":"ok","exitCode":0}\n')
    except OSError: pass
time.sleep(1000)`})
	if res.Status != job.StatusOK {
		t.Errorf("%+v", res)
	}
	res, end := last(t, s, job.Spec{Code: "print(1)", Timeout: 100 * time.Millisecond})
	if res.Status != job.StatusInterrupted || end == nil || end.Reason != job.EndKilled {
		t.Errorf("%+v, end %+v", res, end)
	}
}
