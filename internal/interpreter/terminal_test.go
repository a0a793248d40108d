package interpreter_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// screen is what a person at a terminal does and sees.
type screen struct {
	tb   testing.TB
	c    *interpreter.Command
	seen string // and not expected yet
	all  string
}

func openScreen(tb testing.TB, s *interpreter.Session, spec job.Command) *screen {
	tb.Helper()
	spec.Terminal = &job.TerminalSize{Columns: 100, Rows: 30}
	c := command(tb, s, spec)
	if !c.HasTerminal() || c.Stderr() != nil {
		tb.Error("it has no terminal")
	}
	return &screen{tb: tb, c: c}
}

func (s *screen) types(text string) {
	s.tb.Helper()
	if _, err := io.WriteString(s.c.Stdin(), text); err != nil {
		s.tb.Fatalf("type %q: %v", text, err)
	}
}

// shows waits until the terminal shows a text.
func (s *screen) shows(text string) {
	s.tb.Helper()
	late := time.AfterFunc(ample, func() { _ = s.c.Kill() }) // then it says what it has waited for
	defer late.Stop()
	buf := make([]byte, 4096)
	for {
		if _, after, ok := strings.Cut(s.seen, text); ok {
			s.seen = after
			return
		}
		n, err := s.c.Stdout().Read(buf)
		s.seen += string(buf[:n])
		s.all += string(buf[:n])
		if err != nil {
			s.tb.Fatalf("wait for %q: %v; it shows %q", text, err, s.seen)
		}
	}
}

// says types a line and waits for what it gives.
func (s *screen) says(line, want string) {
	s.tb.Helper()
	s.types(line + "\n")
	s.shows(want)
}

func (s *screen) ends() job.CommandEnd {
	s.tb.Helper()
	late := time.AfterFunc(ample, func() { _ = s.c.Kill() })
	rest, err := io.ReadAll(s.c.Stdout())
	s.all += string(rest)
	if !late.Stop() || err != nil {
		s.tb.Errorf("the rest of the terminal: %v; it shows %q", err, s.seen+string(rest))
	}
	return wait(s.tb, s.c)
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		const ready = "echo rea''dy; "
		for _, tt := range []struct {
			name string
			do   func(*screen)
			line string
			end  job.CommandEnd
		}{
			{"its name", func(*screen) {}, "tty > name; case $(cat name) in /dev/pts/*|not*) exit 5;; esac", job.CommandEnd{ExitCode: 5}},
			{"its size", func(x *screen) {
				x.shows("30 100\r\n")
				if err := x.c.Resize(job.TerminalSize{Columns: 120, Rows: 50}); err != nil {
					t.Error(err)
				}
				x.shows("changed\r\n50 120\r\n")
			}, "trap 'echo changed; stty size; exit 3' WINCH; stty size; while :; do sleep 0.01; done", job.CommandEnd{ExitCode: 3}},
			{"Control-C", func(x *screen) { x.shows("ready"); x.types("\x03"); x.shows("^C") }, ready + "sleep 1000", job.CommandEnd{ExitCode: -1, Signal: "INT"}},
			{"Control-backslash", func(x *screen) { x.shows("ready"); x.types("\x1c") }, "exec sh -c '" + `echo re""ady; read a` + "'", job.CommandEnd{ExitCode: -1, Signal: "QUIT"}},
			{"the end of input", func(x *screen) { x.types("a\n"); x.shows("a\r\na\r\n"); _ = x.c.Stdin().Close() }, "cat", job.CommandEnd{}},
			{"raw bytes", func(x *screen) { x.shows("ready\r\n"); x.types("\x03\x04\n\xff"); x.shows("\x03\x04\n\xff") }, "stty raw -echo; " + "printf 'rea''dy\\r\\n'; head -c 4", job.CommandEnd{}},
			{"erased characters", func(x *screen) { x.types("aä\x7f\x7fb\n"); x.shows("got b.\r\n") }, "read a; echo got $a.", job.CommandEnd{}},
			{"its own variable", func(x *screen) { x.shows("xterm-256color") }, "echo $TERM", job.CommandEnd{}},
		} {
			x := openScreen(t, s, line(tt.line))
			tt.do(x)
			end := x.ends()
			if end.ExitCode != tt.end.ExitCode || end.Signal != tt.end.Signal {
				t.Errorf("%s: %+v", tt.name, end)
			}
		}
	})
}

func TestTerminalShell(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{})
	x := openScreen(t, s, job.Command{Argv: []string{"bash", "--norc", "-i"}, Envs: map[string]string{"PS1": "$ "}})
	x.says("tty; ls -l $(tty) | cut -c1-10; id -un", "/dev/pts/0\r\ncrw--w----\r\nuser\r\n")
	x.says("echo out > /dev/stdout; echo tty > /dev/tty", "out\r\n")
	x.shows("tty\r\n")
	x.says("sh -c 'echo beg''un; read a; echo got $a; read b'", "begun\r\n")
	x.types("\x1a") // Control-Z
	x.shows("Stopped")
	x.says("jobs", "Stopped")
	x.says("sleep 1000 & jobs", "Running")
	x.types("fg 1\nline\n") // whoever reads it has the terminal
	x.shows("got line\r\n")
	x.types("\x03")
	x.shows("$ ") // what was typed before may be lost
	x.says("echo code $?", "code 130\r\n")
	x.says("echo beg''un | cat; cat | cat; echo aft''er", "begun\r\n")
	x.types("line\n")
	x.shows("line\r\nline\r\n")
	x.types("\x04")
	x.shows("after\r\n")
	x.says("python3 -q", ">>> ")
	x.says("import sys; print(6 * 7, sys.stdin.isatty())", "42 True\r\n")
	x.shows(">>> ")
	x.types("\x04")
	x.shows("$ ")
	x.says("echo back", "back\r\n")
	x.says("kill %2; wait; echo no''ne", "none\r\n")
	x.types("exit 7\n")
	if end := x.ends(); end.ExitCode != 7 {
		t.Errorf("%+v", end)
	}
}

// TestTerminalHangup: a closed terminal hangs up.
func TestTerminalHangup(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		note := command(t, s, line("mkfifo hup; echo made; cat hup"))
		awaitLine(t, note)
		x := openScreen(t, s, line("trap 'echo hung up > hup; exit' HUP; echo rea''dy; while :; do sleep 0.01; done"))
		x.shows("ready")
		if err := x.c.Release(); err != nil {
			t.Error(err)
		}
		rest, err := io.ReadAll(note.Stdout())
		if err != nil || !strings.HasSuffix(string(rest), "hung up\n") {
			t.Errorf("%q, %v", rest, err)
		}
		if _, err := x.c.Stdout().Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("a closed terminal: %v", err)
		}
	})
}

// TestTerminalMost: the terminals of a session are bounded, and come back.
func TestTerminalMost(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{Quota: job.Quota{Processes: 200}})
	var open []*interpreter.Command
	var refused *job.CommandError
	for refused == nil && len(open) < 100 {
		c, err := s.Start(t.Context(), job.Command{Argv: []string{"sleep", "1000"}, Terminal: &job.TerminalSize{}})
		if err == nil {
			open = append(open, c)
			continue
		}
		var ok bool
		if refused, ok = errors.AsType[*job.CommandError](err); !ok {
			t.Fatal(err)
		}
	}
	if refused == nil || refused.Part != job.CommandPlace || len(open) != 64 {
		t.Errorf("%d terminals, then %+v", len(open), refused)
	}
	for _, c := range open {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if end := openScreen(t, s, line("true")).ends(); end.ExitCode != 0 {
		t.Errorf("%+v", end)
	}
}
