package interpreter_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// another makes a context that lives as long as the test.
func another(tb testing.TB, s *interpreter.Session, cwd string) *interpreter.Session {
	tb.Helper()
	c, err := s.Context(tb.Context(), cwd)
	if err != nil {
		tb.Fatalf("make context: %v", err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Errorf("close context: %v", err)
		}
	})
	return c
}

// TestContextIsFresh: a context has the session's files, variables of the environment and limits, and
// none of its variables and modules.
func TestContextIsFresh(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{Envs: map[string]string{"A": "b"}})
		says(t, s, "import os\nx = 1\nos.mkdir('sub')\nopen('sub/f', 'w').write('here')\nos.chdir('sub')\nos.environ['B'] = 'c'\nos.sep = 'mine'", "")
		a, b := another(t, s, ""), another(t, s, "sub")
		const look = "import os\nprint('x' in globals(), os.environ['A'], os.environ.get('B'), os.sep, os.path.relpath(os.getcwd(), os.environ['HOME']))"
		says(t, a, look, "False b None / .\n")
		says(t, b, look, "False b None / sub\n")
		says(t, a, "x = 2\nopen('g', 'w').write(open('sub/f').read())", "")
		says(t, b, "x = 3\nprint(open('../g').read(), open('f').read())", "here here\n")
		says(t, s, "print(x, open('../g').read())", "1 here\n")
		says(t, a, "print(x)", "2\n")
		says(t, b, "print(x, os.getppid() == 1 or os.getppid() > 0, os.getpid() == os.getpgid(0))", "3 True True\n")
		// A later one.
		says(t, another(t, a2(t, s), ""), "import os\nprint(sorted(os.listdir()))", "['g', 'sub']\n")
	})
}

// a2 returns the session itself; contexts have no contexts.
func a2(tb testing.TB, s *interpreter.Session) *interpreter.Session {
	tb.Helper()
	c := another(tb, s, "")
	if _, err := c.Context(tb.Context(), ""); !errors.Is(err, errors.ErrUnsupported) {
		tb.Errorf("a context of a context: %v", err)
	}
	return s
}

// TestContextsAtOnce: executions of different contexts run beside each other, also those that have begun
// before the first context.
func TestContextsAtOnce(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		const wait = "import os, time\nwhile not os.path.exists(%q):\n    time.sleep(0.005)\nopen(%q, 'w').close()\nprint('after', %q)"
		var all sync.WaitGroup
		all.Go(func() { says(t, s, fmt.Sprintf(wait, "from-a", "from-s", "from-a"), "after from-a\n") })
		a := another(t, s, "")
		b := another(t, s, "")
		all.Go(func() { says(t, a, fmt.Sprintf(wait, "from-b", "from-a", "from-b"), "after from-b\n") })
		says(t, b, "open('from-b', 'w').close()", "")
		all.Wait()
		says(t, b, "import os\nprint(sorted(os.listdir()))", "['from-a', 'from-b', 'from-s']\n")
	})
}

// TestContextsEndApart: the end of one interpreter, in any way, leaves the others, the files and the commands.
func TestContextsEndApart(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		kept := another(t, s, "")
		says(t, kept, "x = 7", "")
		c := command(t, s, line("echo up; read x; echo $x"))
		for name, code := range map[string]string{
			"os._exit":       "import os\nos._exit(3)",
			"a crash":        "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
			"closed control": "import os\nfor fd in range(3, 2000):\n    try:\n        os.close(fd)\n    except OSError:\n        pass\nos._exit(0)",
			"forged frames":  "import os\nos.write(1000, b'garbage\\n' * 9)\nimport time\ntime.sleep(60)",
			"does not end":   "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True:\n    time.sleep(1)",
		} {
			dying := another(t, s, "")
			spec := job.Spec{Code: code}
			if name == "does not end" {
				spec.Timeout = 100 * time.Millisecond
			}
			_, end := last(t, dying, spec)
			if end == nil {
				t.Errorf("%s: the context goes on", name)
			}
			if dying.Alive() == nil {
				t.Errorf("%s: the context is alive", name)
			}
			says(t, kept, "print(x)", "7\n")
		}
		says(t, s, "print(1)", "1\n")
		if stdout, _, _ := output(t, c, "still\n"); stdout != "up\nstill\n" {
			t.Errorf("the command says %q", stdout)
		}
		// And the session's own.
		if _, end := last(t, s, job.Spec{Code: "import os\nos._exit(1)"}); end == nil {
			t.Error("the session's interpreter goes on")
		}
		says(t, kept, "print(x)", "7\n")
		says(t, another(t, s, ""), "print(2)", "2\n")
	})
}

// TestContextInterrupt: a caller that goes away interrupts its own context only, and the variables stay.
func TestContextInterrupt(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{})
	a, b := another(t, s, ""), another(t, s, "")
	says(t, a, "x = 5", "")
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan job.Result, 1)
	go func() {
		res, _, _ := a.Execute(ctx, job.Spec{Code: "import time\nopen('begun', 'w').close()\ntime.sleep(60)"}, job.Live{})
		ran <- res
	}()
	says(t, b, "import os, time\ny = 6\nwhile not os.path.exists('begun'):\n    time.sleep(0.005)", "")
	cancel()
	if res := <-ran; res.Status != job.StatusInterrupted {
		t.Errorf("%s", outcome(res))
	}
	says(t, a, "print(x)", "5\n")
	says(t, b, "print(y)", "6\n")
	says(t, s, "print(1)", "1\n")
}

// TestContextRefusals: what cannot be had is data, and the session goes on.
func TestContextRefusals(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{})
	says(t, s, "open('file', 'w').close()", "")
	refused := func(cwd, want string) {
		t.Helper()
		_, err := s.Context(t.Context(), cwd)
		if e, ok := errors.AsType[*job.RefusedError](err); !ok || !strings.Contains(e.Message, want) {
			t.Errorf("%q: %v, want %q", cwd, err, want)
		}
	}
	refused("missing", "No such file or directory")
	refused("file", "Not a directory")
	refused("/root", "No such file or directory")
	for range job.MaxContexts {
		another(t, s, "")
	}
	refused("", "no more are possible")
	says(t, s, "print(1)", "1\n")
}

// BenchmarkContext makes a context and executes in it.
func BenchmarkContext(b *testing.B) {
	s := session(b, newPool(b), job.SessionSpec{})
	step(b, s, job.Spec{Code: "x = 1"})
	first, err := s.Context(b.Context(), "") // it makes the fork group
	if err != nil {
		b.Fatal(err)
	}
	defer first.Close()
	for _, bm := range []struct {
		name string
		runs bool
	}{{"new", false}, {"new and print", true}} {
		b.Run(bm.name, func(b *testing.B) {
			for b.Loop() {
				c, err := s.Context(b.Context(), "")
				if err != nil {
					b.Fatal(err)
				}
				if bm.runs {
					step(b, c, job.Spec{Code: "print(42)"})
				}
				b.StopTimer()
				if err := c.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
