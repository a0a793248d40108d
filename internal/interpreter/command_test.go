package interpreter_test

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// command starts a command that lives as long as the test.
func command(tb testing.TB, s *interpreter.Session, spec job.Command) *interpreter.Command {
	tb.Helper()
	c, err := s.Start(tb.Context(), spec)
	if err != nil {
		tb.Fatalf("start %+v: %v", spec, err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Errorf("close command: %v", err)
		}
	})
	return c
}

// wait waits for the end of a command's first process.
func wait(tb testing.TB, c *interpreter.Command) job.CommandEnd {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), ample)
	defer cancel()
	end, err := c.Wait(ctx)
	if err != nil {
		tb.Fatalf("wait: %v", err)
	}
	return end
}

// output gives a command its input and returns what it writes.
func output(tb testing.TB, c *interpreter.Command, input string) (stdout, stderr string, end job.CommandEnd) {
	tb.Helper()
	var all sync.WaitGroup
	all.Go(func() {
		_, _ = io.WriteString(c.Stdin(), input)
		_ = c.Stdin().Close()
	})
	read := func(r io.Reader, text *string) {
		data, err := io.ReadAll(r)
		if err != nil {
			tb.Errorf("read: %v", err)
		}
		*text = string(data)
	}
	all.Go(func() { read(c.Stdout(), &stdout) })
	if c.Stderr() != nil {
		all.Go(func() { read(c.Stderr(), &stderr) })
	}
	all.Wait()
	return stdout, stderr, wait(tb, c)
}

func line(text string) job.Command { return job.Command{Line: text} }

func TestCommands(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{Envs: map[string]string{"OF_SESSION": "s", "BOTH": "session"}})
		step(t, s, job.Spec{Code: "import os\nos.mkdir('sub')\nopen('sub/f', 'w').write('here')\nopen('script', 'w').write('#!/bin/sh\\necho ran $1')\nos.chmod('script', 0o755)\nopen('plain', 'w').write('x')"})
		for _, tt := range []struct {
			name           string
			spec           job.Command
			input          string
			stdout, stderr string
			exit           int
			signal         string
		}{
			{name: "a line", spec: line("echo out; echo err >&2; exit 3"), stdout: "out\n", stderr: "err\n", exit: 3},
			{name: "input", spec: line("cat"), input: "a\nb\x00\xff", stdout: "a\nb\x00\xff"},
			{name: "arguments", spec: job.Command{Argv: []string{"printf", "%s|", "a b", "", "*"}}, stdout: "a b||*|"},
			{name: "a path", spec: job.Command{Argv: []string{"./script", "1"}}, stdout: "ran 1\n"},
			{name: "a relative directory", spec: job.Command{Line: "cat f", Cwd: "sub"}, stdout: "here"},
			{name: "an absolute directory", spec: job.Command{Line: "pwd; echo $PWD", Cwd: "/usr"}, stdout: "/usr\n/usr\n"},
			{name: "variables", spec: job.Command{Line: "echo $OF_SESSION $BOTH $A $USER $LOGNAME; test $HOME = $PWD", Envs: map[string]string{"BOTH": "command", "A": "ä b"}}, stdout: "s command ä b user user\n"},
			{name: "no variable stays", spec: line("echo $A"), stdout: "\n"},
			{name: "its own end", spec: line("kill -USR1 $$"), exit: -1, signal: "USR1"},
			{name: "no such program in a line", spec: line("nonesuch 2>/dev/null"), exit: 127},
			{name: "the runtime's Python", spec: line("python3 -c 'import sys; print(sys.version_info[0])'"), stdout: "3\n"},
			{name: "a pipe", spec: line("seq 3 | tac | tr -d '\\n'"), stdout: "321"},
			{name: "signals and mask are as usual", spec: line("grep -E 'Sig(Blk|Ign)' /proc/self/status | tr -d '\\t\\n'; umask"), stdout: "SigBlk:0000000000000000SigIgn:00000000000000000022\n"},
			{name: "descriptors", spec: line("ls /proc/self/fd | wc -l"), stdout: "4\n"},
		} {
			c := command(t, s, tt.spec)
			stdout, stderr, end := output(t, c, tt.input)
			if stdout != tt.stdout || stderr != tt.stderr || end.ExitCode != tt.exit || end.Signal != tt.signal {
				t.Errorf("%s: stdout %q, stderr %q, %+v", tt.name, stdout, stderr, end)
			}
		}
		for _, tt := range []struct {
			name  string
			spec  job.Command
			part  job.CommandPart
			errno syscall.Errno
		}{
			{"no such program", job.Command{Argv: []string{"nonesuch"}}, job.CommandProgram, syscall.ENOENT},
			{"no such path", job.Command{Argv: []string{"/nonesuch"}}, job.CommandProgram, syscall.ENOENT},
			{"no program", job.Command{Argv: []string{"./plain"}}, job.CommandProgram, syscall.EACCES},
			{"a directory", job.Command{Argv: []string{"./sub"}}, job.CommandProgram, syscall.EACCES},
			{"a zero", job.Command{Argv: []string{"echo", "\x00"}}, job.CommandProgram, syscall.EINVAL},
			{"a long argument", job.Command{Argv: []string{"echo", strings.Repeat("x", 200<<10)}}, job.CommandProgram, syscall.E2BIG},
			{"too much", job.Command{Argv: []string{"echo", strings.Repeat("x", 3<<20)}}, job.CommandProgram, syscall.E2BIG},
			{"no such directory", job.Command{Line: "true", Cwd: "nonesuch"}, job.CommandDirectory, syscall.ENOENT},
			{"no directory", job.Command{Line: "true", Cwd: "plain"}, job.CommandDirectory, syscall.ENOTDIR},
		} {
			c, err := s.Start(t.Context(), tt.spec)
			refused, ok := errors.AsType[*job.CommandError](err)
			if !ok || refused.Part != tt.part || refused.Errno != tt.errno {
				t.Errorf("%s: %v, %v", tt.name, c, err)
			}
		}
		says(t, s, "print(open('sub/f').read())", "here\n")
	})
}

func BenchmarkCommand(b *testing.B) {
	for _, bm := range []struct {
		name string
		spec job.Command
	}{{"argv", job.Command{Argv: []string{"true"}}}, {"line", line("true")}} {
		b.Run(bm.name, func(b *testing.B) {
			s := session(b, shared(b), job.SessionSpec{})
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				c, err := s.Start(b.Context(), bm.spec)
				if err != nil {
					b.Fatal(err)
				}
				wait(b, c)
				took = append(took, time.Since(began))
				b.StopTimer()
				if err := c.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			reportMedian(b, took)
		})
	}
}

func reportMedian(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
}

// BenchmarkBareCommand is the same without a sandbox: what a service does that starts programs itself.
func BenchmarkBareCommand(b *testing.B) {
	for name, argv := range map[string][]string{"argv": {"true"}, "line": {"bash", "-c", "true"}} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				if err := exec.CommandContext(b.Context(), argv[0], argv[1:]...).Run(); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			reportMedian(b, took)
		})
	}
}
