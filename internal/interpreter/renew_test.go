package interpreter_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

// watchedPool is one without control groups.
func watchedPool(t *testing.T, change ...func(*interpreter.Config)) *interpreter.Pool {
	t.Helper()
	pool := unstartedPool(t, change...)
	if err := pool.WithoutGroups(); err != nil {
		t.Fatal(err)
	}
	if err := pool.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return pool
}

// TestSessionRenew: after too much memory there is a fresh interpreter among the same files.
func TestSessionRenew(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	for control, pool := range map[string]func(*testing.T, ...func(*interpreter.Config)) *interpreter.Pool{
		"groups": func(t *testing.T, change ...func(*interpreter.Config)) *interpreter.Pool {
			t.Helper()
			return newPool(t, change...)
		},
		"watchdog": watchedPool,
	} {
		t.Run(control, func(t *testing.T) {
			t.Parallel()
			atEachLevel(t, func(t *testing.T, level sandbox.Level) {
				t.Helper()
				renewals(t, pool(t, withLevel(level)))
			})
		})
	}
}

func renewals(t *testing.T, p *interpreter.Pool) {
	t.Helper()
	s := session(t, p, job.SessionSpec{
		Quota: job.Quota{MemoryBytes: 96 << 20, Processes: 20, DiskBytes: 20 << 20}, Envs: map[string]string{"OF_SESSION": "stays"},
	})
	step(t, s, job.Spec{Code: "import os, tempfile\nx = 1\nos.mkdir('d')\nopen('d/kept', 'w').write('kept')\nos.symlink('d/kept', 'link')\nopen(tempfile.gettempdir() + '/t', 'w').write('t')"})
	gathered(t, s)
	for range 2 {
		res, end := last(t, s, job.Spec{Code: "open('late', 'w').write('late')\nheld = bytearray(300 << 20)\nimport time; time.sleep(600)"})
		if end == nil || end.Reason != job.EndMemory || res.Error == nil || res.Error.Name != "MemoryLimitExceeded" {
			t.Fatalf("%+v %+v %+v", res, res.Error, end)
		}
		fresh, err := s.Renew(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := fresh.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		if err := s.Close(); err != nil {
			t.Errorf("close the one before: %v", err)
		}
		s = fresh
		says(t, s, "print('x' in globals(), os.environ['OF_SESSION'] if 'os' in globals() else 'fresh')", "False fresh\n")
		says(t, s, "import os, tempfile\nprint(os.environ['OF_SESSION'], open('link').read(), open('late').read(), open(tempfile.gettempdir() + '/t').read())", "stays kept late t\n")
		if diff := cmp.Diff(map[string]string{"d/kept": "kept", "late": "late"}, inside(t, s)); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
		says(t, s, "try: open('big', 'w').write('x' * (30 << 20))\nexcept OSError as e: print(e.strerror)\nelse: print('fits')\nos.unlink('big')", diskWord(p))
	}
	step(t, s, job.Spec{Code: "y = 1"})
	copied := fork(t, s, 1)[0]
	renewBeside(t, s)
	renewBeside(t, copied)
}

// renewBeside renews a session beside a fork, a context and a command of its.
func renewBeside(t *testing.T, s *interpreter.Session) {
	t.Helper()
	copied, other := fork(t, s, 1)[0], another(t, s, "")
	says(t, other, "z = 1\nopen('beside', 'w').write('b')", "")
	c := command(t, s, line("read x; echo $x"))
	fresh, err := s.Renew(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fresh.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	says(t, fresh, "print('y' in globals(), open('beside').read())\nimport os\nprint(os.getcwd() == os.environ['HOME'])", "False b\nTrue\n")
	says(t, other, "print(z)", "1\n")
	says(t, copied, "print(y)", "1\n")
	if stdout, _, _ := output(t, c, "still\n"); stdout != "still\n" {
		t.Errorf("the command says %q", stdout)
	}
	says(t, another(t, fresh, ""), "print(open('beside').read())", "b\n")
	output(t, command(t, fresh, line("true")), "")
}

// diskWord is what comes of 30 MB where there may be 20.
func diskWord(p *interpreter.Pool) string {
	if level, _, _ := p.Sandbox(); level == sandbox.Strict {
		return "No space left on device\n"
	}
	return "fits\n"
}

// TestSessionRenewOfClosed: what has been closed is not renewed.
func TestSessionRenewOfClosed(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{})
	step(t, s, job.Spec{Code: "x = 1"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Renew(t.Context()); !errors.Is(err, interpreter.ErrClosed) {
		t.Errorf("Renew after Close: %v", err)
	}
}
