package interpreter_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
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

// awaitLine waits for the first line that a command writes.
func awaitLine(tb testing.TB, c *interpreter.Command) {
	tb.Helper()
	text, err := bufio.NewReader(c.Stdout()).ReadString('\n')
	if err != nil {
		tb.Fatalf("read a line: %v, %q", err, text)
	}
}

func TestCommandSignals(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{})
	for _, name := range []string{"INT", "sigterm", "KILL", "HUP", "USR2", "RTMIN+3", "PIPE", "XFSZ"} {
		c := command(t, s, line("echo begun; sleep 1000 | sleep 1000"))
		awaitLine(t, c)
		if err := c.Signal(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want := strings.TrimPrefix(strings.ToUpper(name), "SIG")
		if end := wait(t, c); end.Signal != want || end.ExitCode != -1 {
			t.Errorf("%s: %+v", name, end)
		}
		if _, err := io.ReadAll(c.Stdout()); err != nil { // the whole group has ended
			t.Errorf("%s: %v", name, err)
		}
		if err := c.Signal(name); !errors.Is(err, job.ErrCommandEnded) {
			t.Errorf("%s after the end: %v", name, err)
		}
	}
	c := command(t, s, line("trap 'echo caught; exit 4' USR1; echo begun; while :; do sleep 0.01; done"))
	awaitLine(t, c)
	if err := c.Signal("NONESUCH"); !errors.Is(err, job.ErrInvalid) {
		t.Errorf("no signal: %v", err)
	}
	if err := c.Signal("USR1"); err != nil {
		t.Error(err)
	}
	if stdout, _, end := output(t, c, ""); stdout != "caught\n" || end.ExitCode != 4 {
		t.Errorf("%q, %+v", stdout, end)
	}
	if err := c.Resize(job.TerminalSize{}); !errors.Is(err, job.ErrNoTerminal) {
		t.Errorf("resize of pipes: %v", err)
	}
}

// leaves starts processes that leave their parents, process group and session, and says when all are
// there.
const leaves = `
import os, sys, signal, time
def leave(depth):
    for ignored in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(ignored, signal.SIG_IGN)
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    if depth:
        leave(depth - 1)
    else:
        os.write(1, b'left\n')
    time.sleep(1000)
    os._exit(0)
for depth in range(4):
    leave(depth)
`

// left returns how many processes of leaves are there, as another command sees them.
func left(tb testing.TB, s *interpreter.Session) int {
	tb.Helper()
	c := command(tb, s, line(`for f in /proc/[0-9]*/cmdline; do tr '\0' ' ' 2>/dev/null < $f; echo; done | grep -c '^[^ ]*python3 -[c] # leaves'`))
	stdout, _, _ := output(tb, c, "")
	n, err := strconv.Atoi(strings.TrimSpace(stdout))
	if err != nil {
		tb.Fatalf("count: %q", stdout)
	}
	return n
}

func TestCommandKill(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		other := command(t, s, line("read a; echo $a"))
		for _, last := range []string{"time.sleep(1000)", "os._exit(0)"} {
			c := command(t, s, job.Command{Argv: []string{"python3", "-c", "# leaves\n" + leaves + last}})
			out := bufio.NewReader(c.Stdout())
			for range 4 {
				if text, err := out.ReadString('\n'); text != "left\n" {
					t.Fatalf("%q, %v", text, err)
				}
			}
			if last == "os._exit(0)" {
				wait(t, c)
			}
			if level == sandbox.Strict {
				if n := left(t, s); n < 5 {
					t.Errorf("%d processes before the kill; want more", n)
				}
			}
			if err := c.Kill(); err != nil {
				t.Fatal(err)
			}
			if _, err := out.ReadByte(); !errors.Is(err, io.EOF) { // nobody has the pipe
				t.Errorf("after the kill: %v", err)
			}
			if level == sandbox.Strict {
				if n := left(t, s); n != 0 {
					t.Errorf("%d processes after the kill", n)
				}
			}
		}
		if stdout, _, _ := output(t, other, "alive\n"); stdout != "alive\n" {
			t.Errorf("another command: %q", stdout)
		}
		says(t, s, "print(1)", "1\n")
	})
}

// TestCommandChaser: processes that fork and end as fast as they can do not escape.
func TestCommandChaser(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		c := command(t, s, job.Command{Argv: []string{"python3", "-c", `
import os
for _ in range(3):
    if not os.fork():
        while True:
            if os.fork():
                os._exit(0)
            try:
                os.setsid()
            except OSError:
                pass
os.write(1, b'begun\n')
`}})
		awaitLine(t, c)
		if err := c.Kill(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c.Stdout()); err != nil {
			t.Error(err)
		}
		says(t, s, "print(1)", "1\n")
	})
}

func TestCommandRelease(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{})
	c := command(t, s, line("(sleep 1000; : later) >/dev/null 2>&1 & echo $!"))
	stdout, _, end := output(t, c, "")
	if end.ExitCode != 0 {
		t.Errorf("%+v", end)
	}
	if err := c.Release(); err != nil {
		t.Error(err)
	}
	pid := strings.TrimSpace(stdout)
	if _, _, end := output(t, command(t, s, line("kill -0 "+pid)), ""); end.ExitCode != 0 {
		t.Errorf("a process of a released command is not there: %+v", end)
	}
}

// TestCommandSessionEnd: the end of the session ends all, and everything that waits.
func TestCommandSessionEnd(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		pool := shared(t, withLevel(level))
		for name, end := range map[string]func(*interpreter.Session){
			"close":   func(*interpreter.Session) {},
			"crash":   func(s *interpreter.Session) { last(t, s, job.Spec{Code: "import os\nos._exit(1)"}) },
			"by code": func(s *interpreter.Session) { last(t, s, job.Spec{Code: "import os, signal\nos.kill(os.getpid(), 9)"}) },
		} {
			s, err := pool.Session(t.Context(), job.SessionSpec{})
			if err != nil {
				t.Fatal(err)
			}
			c := command(t, s, job.Command{Argv: []string{"python3", "-c", leaves + "time.sleep(1000)"}})
			awaitLine(t, c)
			term := command(t, s, job.Command{Line: "echo begun; sleep 1000", Terminal: &job.TerminalSize{Columns: 80, Rows: 24}})
			awaitLine(t, term)
			var all sync.WaitGroup
			all.Go(func() { _, _ = io.Copy(io.Discard, c.Stdout()) })
			all.Go(func() { _, _ = io.Copy(io.Discard, term.Stdout()) })
			all.Go(func() { <-c.Ended(); <-term.Ended() })
			end(s)
			if err := s.Close(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			all.Wait()
			if _, err := s.Start(t.Context(), line("true")); !errors.Is(err, interpreter.ErrClosed) {
				t.Errorf("%s: start after the end: %v", name, err)
			}
		}
	})
}

func TestCommandsAtOnce(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{Quota: job.Quota{Processes: 300}})
	release := command(t, s, line("mkfifo gate; echo made; exec 3<>gate; sleep 1000"))
	awaitLine(t, release)
	var all sync.WaitGroup
	executed := make(chan job.Result, 1)
	all.Go(func() {
		res, _, _ := s.Execute(t.Context(), job.Spec{Code: "print(open('gate').readline(), end='')", Timeout: ample}, job.Live{})
		executed <- res
	})
	for i := range 100 {
		all.Go(func() {
			c := command(t, s, line("echo "+strconv.Itoa(i)+"; cat"))
			if stdout, _, end := output(t, c, "input"); stdout != fmt.Sprintf("%d\ninput", i) || end.ExitCode != 0 {
				t.Errorf("%d: %q, %+v", i, stdout, end)
			}
		})
	}
	output(t, command(t, s, line("echo open > gate")), "")
	all.Wait()
	if res := <-executed; res.Stdout != "open\n" {
		t.Errorf("the execution: %+v", res)
	}
}

func TestCommandLimits(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{Quota: job.Quota{Processes: 8, OpenFiles: 64, FileBytes: 1 << 20}})
		for _, tt := range []struct{ name, line, want string }{
			{"open files", "ulimit -n", "64\n"},
			{"size of a file", "head -c 2000000 /dev/zero > big; stat -c %s big", "1048576\n"},
		} {
			if stdout, _, _ := output(t, command(t, s, line(tt.line)), ""); stdout != tt.want {
				t.Errorf("%s: %q", tt.name, stdout)
			}
		}
		var held []*interpreter.Command
		var refused *job.CommandError
		for len(held) < 20 {
			c, err := s.Start(t.Context(), job.Command{Argv: []string{"sleep", "1000"}})
			if err != nil {
				refused, _ = errors.AsType[*job.CommandError](err)
				break
			}
			held = append(held, c)
		}
		if refused == nil || refused.Part != job.CommandPlace || refused.Errno != syscall.EAGAIN {
			t.Errorf("after %d commands: %+v", len(held), refused)
		}
		for _, c := range held {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, _, end := output(t, command(t, s, line("true")), ""); end.ExitCode != 0 {
			t.Errorf("afterwards: %+v", end)
		}
	})
}

func TestCommandMemory(t *testing.T) {
	t.Parallel()
	for name, groups := range map[string]bool{"control groups": true, "watchdog": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := shared(t)
			if !groups {
				pool = watchedPool(t, func(c *interpreter.Config) { c.Size = 1 })
			}
			s := session(t, pool, job.SessionSpec{Quota: job.Quota{MemoryBytes: 64 << 20}})
			c := command(t, s, job.Command{Argv: []string{"python3", "-c", "x = bytearray(512 << 20)\nprint(len(x))\nimport time\ntime.sleep(1000)"}})
			ctx, cancel := context.WithTimeout(t.Context(), ample)
			defer cancel()
			end, err := c.Wait(ctx)
			if !groups {
				if ended := s.Alive(); err == nil && end.Signal == "" || ended == nil || ended.Reason != job.EndMemory {
					t.Errorf("%+v, %v; the session: %+v", end, err, ended)
				}
				return
			}
			if ended := s.Alive(); ended != nil && ended.Reason == job.EndMemory && os.Geteuid() != 0 {
				return // there are no groups for an ordinary user here
			}
			if err != nil || !end.OutOfMemory || end.Signal != "KILL" {
				t.Errorf("%+v, %v", end, err)
			}
			says(t, s, "print(1)", "1\n")
		})
	}
}

// TestCommandsOfForks: a fork has commands of its own, and not those of its origin.
func TestCommandsOfForks(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		of := command(t, s, line("echo begun; read a; echo $a"))
		awaitLine(t, of)
		says(t, s, "open('f', 'w').write('origin')", "")
		one := fork(t, s, 1)[0]
		says(t, one, "open('f', 'w').write('fork')", "")
		for want, member := range map[string]*interpreter.Session{"origin": s, "fork": one} {
			if stdout, _, _ := output(t, command(t, member, line("cat f; test $PWD = $HOME && echo .")), ""); stdout != want+".\n" {
				t.Errorf("%s: %q", want, stdout)
			}
		}
		kept := command(t, one, job.Command{Argv: []string{"python3", "-c", leaves + "time.sleep(1000)"}})
		awaitLine(t, kept)
		if err := one.Close(); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadAll(kept.Stdout()); err != nil {
			t.Error(err)
		}
		if stdout, _, end := output(t, of, "alive\n"); stdout != "alive\n" || end.ExitCode != 0 {
			t.Errorf("the origin's: %q, %+v", stdout, end)
		}
		says(t, s, "print(1)", "1\n")
	})
}

// TestCommandFlow: bytes pass unchanged, at the pace of the slowest, and cost no memory.
func TestCommandFlow(t *testing.T) {
	t.Parallel()
	size := int64(4 << 20)
	if testenv.IsLong() {
		size = 1 << 30
	}
	s := session(t, shared(t), job.SessionSpec{})
	c := command(t, s, line("tee /dev/stderr"))
	var all sync.WaitGroup
	all.Go(func() {
		n, err := io.CopyN(c.Stdin(), new(pattern), size)
		if n != size || err != nil {
			t.Errorf("wrote %d: %v", n, err)
		}
		_ = c.Stdin().Close()
	})
	for _, r := range []io.Reader{c.Stdout(), c.Stderr()} {
		all.Go(func() {
			var got patternChecker
			if n, err := io.Copy(&got, r); n != size || err != nil || got.wrong {
				t.Errorf("read %d: %v, wrong: %v", n, err, got.wrong)
			}
		})
	}
	all.Wait()
	wait(t, c)

	full := command(t, s, line("yes"))
	_ = full.Stdin().Close()
	began := time.Now()
	for { // it waits for a reader
		state, _, _ := output(t, command(t, s, line(fmt.Sprintf("cut -d' ' -f3 /proc/%d/stat", full.PID()))), "")
		if strings.TrimSpace(state) == "S" {
			break
		}
		if time.Since(began) > ample {
			t.Fatalf("yes is in state %q", state)
		}
	}
}

// pattern is endless, and none of its parts is where another one is.
type pattern struct{ at int64 }

func (p *pattern) Read(data []byte) (int, error) {
	for i := range data {
		data[i] = p.next()
	}
	return len(data), nil
}

func (p *pattern) next() byte {
	p.at++
	return byte(p.at ^ p.at>>8 ^ p.at>>16)
}

type patternChecker struct {
	pattern

	wrong bool
}

func (p *patternChecker) Write(data []byte) (int, error) {
	for _, b := range data {
		p.wrong = p.wrong || b != p.next()
	}
	return len(data), nil
}
