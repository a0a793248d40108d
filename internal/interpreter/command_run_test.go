package interpreter_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

func TestExecuteCommand(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		pool := shared(t, withLevel(level))
		argv := func(argv ...string) *job.Command { return &job.Command{Argv: argv} }
		line := func(text string) *job.Command { return &job.Command{Line: text} }
		for _, tt := range []struct {
			name           string
			spec           job.Spec
			status         job.Status
			exit           int // -1 for none
			failure        string
			signal         string
			stdout, stderr string
		}{
			{name: "a line", spec: job.Spec{Command: line("echo out; echo err >&2")}, status: job.StatusOK, stdout: "out\n", stderr: "err\n"},
			{name: "its exit code", spec: job.Spec{Command: line("exit 3")}, status: job.StatusExit, exit: 3},
			{name: "its signal", spec: job.Spec{Command: line("kill -TERM $$")}, status: job.StatusExit, exit: 143, failure: "SIGTERM", signal: "SIGTERM"},
			{name: "a real-time signal", spec: job.Spec{Command: line("kill -40 $$")}, status: job.StatusExit, exit: 168, failure: "SIGRTMIN+6", signal: "SIGRTMIN+6"},
			{name: "arguments", spec: job.Spec{Command: argv("printf", "%s|", "a b", "*")}, status: job.StatusOK, stdout: "a b|*|"},
			{name: "input", spec: job.Spec{Command: line("cat; echo $A"), Stdin: "in\n", Envs: map[string]string{"A": "ä"}}, status: job.StatusOK, stdout: "in\nä\n"},
			{name: "input that it does not read", spec: job.Spec{Command: line("true"), Stdin: strings.Repeat("x", 1<<20)}, status: job.StatusOK},
			{name: "the code is for others", spec: job.Spec{Code: "print(1)", Command: line("true")}, status: job.StatusOK},
			{name: "no such program in a line", spec: job.Spec{Command: line("nonesuch 2>/dev/null")}, status: job.StatusExit, exit: 127},
			{name: "no such program", spec: job.Spec{Command: argv("nonesuch")}, status: job.StatusExit, exit: 127, failure: "FileNotFoundError"},
			{name: "no program", spec: job.Spec{Command: argv("/etc/passwd")}, status: job.StatusExit, exit: 126, failure: "PermissionError"},
			{name: "no such directory", spec: job.Spec{Command: &job.Command{Line: "true", Cwd: "nonesuch"}}, status: job.StatusExit, exit: 126, failure: "FileNotFoundError"},
			{name: "a long argument", spec: job.Spec{Command: argv("echo", strings.Repeat("x", 200<<10))}, status: job.StatusExit, exit: 126, failure: "OSError"},
			{
				name: "others have its output open", spec: job.Spec{Command: line("sleep 1000 & setsid sleep 1000 & echo done")},
				status: job.StatusOK, stdout: "done\n",
			},
			{
				name: "it handles the interrupt", spec: job.Spec{Command: line("trap 'echo caught; exit 5' INT; while :; do sleep 0.01; done"), Timeout: 300 * time.Millisecond},
				status: job.StatusInterrupted, exit: -1, failure: "KeyboardInterrupt", stdout: "caught\n",
			},
			{
				name: "it ignores the interrupt", spec: job.Spec{Command: line("trap '' INT; echo on; setsid sleep 1000 & wait"), Timeout: 300 * time.Millisecond},
				status: job.StatusInterrupted, exit: -1, failure: "KeyboardInterrupt", stdout: "on\n",
			},
			{
				name: "processor time", spec: job.Spec{Command: line("while :; do :; done"), Quota: job.Quota{CPUTime: 200 * time.Millisecond}},
				status: job.StatusExit, exit: 137, failure: "CPULimitExceeded",
			},
		} {
			if tt.spec.Quota != (job.Quota{}) {
				tt.spec.Quota = tt.spec.Quota.Or(job.StandardQuota())
			}
			res := execute(t, pool, tt.spec)
			failure, exit := "", -1
			if res.Error != nil {
				failure = res.Error.Name
			}
			if res.ExitCode != nil {
				exit = *res.ExitCode
			}
			if res.Status != tt.status || exit != tt.exit || failure != tt.failure || res.Signal != tt.signal || res.Stdout != tt.stdout || res.Stderr != tt.stderr {
				t.Errorf("%s: %s, exit code %d, %+v, signal %q, stdout %q, stderr %q", tt.name, res.Status, exit, res.Error, res.Signal, res.Stdout, res.Stderr)
			}
		}
	})
}

// TestExecuteCommandMeasures: the output is bounded as that of code, and the measures are those of the
// command.
func TestExecuteCommandMeasures(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		res := execute(t, shared(t, withLevel(level)), job.Spec{Command: &job.Command{Line: "head -c 30000000 /dev/zero | tr '\\0' 'x'; echo end"}})
		if res.Status != job.StatusOK || res.Truncated == nil || !strings.HasSuffix(res.Stdout, "xend\n") || res.Truncated.Stdout < 1<<20 {
			t.Errorf("%s, %+v, %d bytes", res.Status, res.Truncated, len(res.Stdout))
		}
		if res.DurationMs <= 0 || res.CPUMs <= 0 || res.PeakMemoryBytes <= 0 {
			t.Errorf("%v ms, %v ms of processor time, %d bytes", res.DurationMs, res.CPUMs, res.PeakMemoryBytes)
		}
	})
}

func TestExecuteCommandMemory(t *testing.T) {
	t.Parallel()
	for name, pool := range map[string]*interpreter.Pool{
		"control groups": shared(t), "watchdog": watchedPool(t, func(c *interpreter.Config) { c.Size = 1 }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			quota := job.Quota{MemoryBytes: 128 << 20}.Or(job.StandardQuota())
			res := execute(t, pool, job.Spec{Quota: quota, Command: &job.Command{Line: "python3 -c 'x = bytearray(512 << 20); import time; time.sleep(1000)'"}})
			if res.Status != job.StatusExit || res.Error == nil || res.Error.Name != "MemoryLimitExceeded" || *res.ExitCode != 137 {
				t.Errorf("%s, %+v", res.Status, res.Error)
			}
		})
	}
}

// TestExecuteCommandFiles: files come and go as with code, and nothing of a daemon stays.
func TestExecuteCommandFiles(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		w := acquire(t, shared(t, withLevel(level)))
		put(t, w, map[string]string{"sub/in.txt": "in"})
		spec := job.Spec{Command: &job.Command{
			Line: "cat in.txt > out.txt; cp out.txt ..; (setsid sh -c 'while :; do echo x >> /dev/null; done' >/dev/null 2>&1 &)", Cwd: "sub",
		}}
		files, _, res := collected(t, w, spec, roomy)
		if want := map[string]string{"sub/out.txt": "in", "out.txt": "in"}; res.Status != job.StatusOK || !cmp.Equal(files, want) {
			t.Errorf("%s, %+v, stderr %q: files %v", res.Status, res.Error, res.Stderr, files)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		<-w.Exited()
	})
}

func BenchmarkExecuteCommand(b *testing.B) {
	p := newPool(b)
	for b.Loop() {
		execute(b, p, job.Spec{Command: &job.Command{Line: "true"}})
	}
}
