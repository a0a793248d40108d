package cli_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
	"github.com/kaa-run/kaa/internal/testenv"
)

// openTerminal returns both ends of a terminal: that of a person, and that of a program.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	theirs, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK)
	if errno != 0 {
		t.Fatal(errno)
	}
	person, program = os.NewFile(uintptr(fd), "person"), os.NewFile(theirs, "program")
	t.Cleanup(func() { _, _ = person.Close(), program.Close() })
	return person, program
}

func settings(t *testing.T, f *os.File) (s unix.Termios) {
	t.Helper()
	conn, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Control(func(fd uintptr) {
		got, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		if err != nil {
			t.Error(err)
			return
		}
		s = *got
	}); err != nil {
		t.Fatal(err)
	}
	return s
}

func resize(t *testing.T, f *os.File, columns, rows uint16) {
	t.Helper()
	conn, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Control(func(fd uintptr) {
		if err := unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
			t.Error(err)
		}
	})
}

// TestExecTerminal: `kaa exec -t` is a terminal in the session: keys, sizes, and the exit code.
func TestExecTerminal(t *testing.T) {
	t.Parallel()
	url := start(t)
	person, program := openTerminal(t)
	resize(t, person, 91, 37)
	before := settings(t, program)
	out, resized, ended := new(testenv.Buffer), make(chan os.Signal), make(chan error, 1)
	go func() {
		ended <- cli.Exec(t.Context(), app.Process{Environ: app.Environment{"KAA_URL=" + url}, Stdout: out, Stderr: io.Discard},
			cli.ExecOptions{Program: []string{"bash", "--norc", "-i"}, Envs: []string{"PS1=> "}, Stdin: program, Terminal: true, Resized: resized})
	}()
	sees := func(text string) {
		t.Helper()
		testenv.Eventually(t, text, func() bool {
			select {
			case err := <-ended:
				ended <- err
				if !strings.Contains(out.String(), text) {
					t.Fatalf("ended before %q: %v, %q", text, err, out)
				}
			default:
			}
			return strings.Contains(out.String(), text)
		})
	}
	types := func(keys string) {
		t.Helper()
		if _, err := person.WriteString(keys); err != nil {
			t.Fatal(err)
		}
	}
	sees("> ")
	if now := settings(t, program); now.Lflag&(unix.ECHO|unix.ICANON|unix.ISIG) != 0 {
		t.Errorf("the terminal is not raw: %+v", now)
	}
	types("stty size\r")
	sees("37 91")
	resize(t, person, 101, 33)
	resized <- syscall.SIGWINCH
	testenv.Eventually(t, "the new size", func() bool {
		types("stty size\r")
		return strings.Contains(out.String(), "33 101")
	})
	types("sh -c 'echo o\"\"n; exec sleep 1000'\r")
	sees("on\r\n")
	types("\x03") // not a signal to this process
	types("echo $?; exit 7\r")
	sees("130")
	var exit cli.ExitError
	if err := <-ended; !errors.As(err, &exit) || exit != 7 {
		t.Errorf("%v, want 7: %q", err, out)
	}
	if after := settings(t, program); after != before {
		t.Errorf("the terminal is not as it was: %+v, was %+v", after, before)
	}
	if left := get(t, url+"/v1/sessions?state=live"); strings.Contains(left, `"id"`) {
		t.Errorf("the session is left: %s", left)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url) //nolint:noctx // the server is this test's
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestExecInput: with -i standard input reaches the command as it comes, as bytes; and a signal ends the command.
func TestExecInput(t *testing.T) {
	t.Parallel()
	url := start(t)
	type ran struct {
		in        *os.File // to its standard input
		out, errs *testenv.Buffer
		signals   chan os.Signal
		ended     chan error
	}
	begin := func(program ...string) ran {
		in, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r := ran{w, new(testenv.Buffer), new(testenv.Buffer), make(chan os.Signal), make(chan error, 1)}
		go func() {
			defer in.Close()
			r.ended <- cli.Exec(t.Context(), app.Process{Environ: app.Environment{"KAA_URL=" + url}, Stdout: r.out, Stderr: r.errs},
				cli.ExecOptions{Program: program, Stdin: in, Input: true, Signals: r.signals})
		}()
		return r
	}
	r := begin("sh", "-c", "echo on; read line; echo got $line; echo err >&2; cat; exit 3")
	testenv.Eventually(t, "its output", func() bool { return strings.Contains(r.out.String(), "on\n") })
	_, _ = r.in.WriteString("a\n")
	testenv.Eventually(t, "an answer to its input", func() bool { return strings.Contains(r.out.String(), "got a\n") })
	_, _ = r.in.WriteString("\xff\x00")
	_ = r.in.Close()
	var exit cli.ExitError
	if err := <-r.ended; !errors.As(err, &exit) || exit != 3 || r.out.String() != "on\ngot a\n\xff\x00" || !strings.Contains(r.errs.String(), "err\n") {
		t.Errorf("%v, %q, %q", err, r.out, r.errs)
	}
	r = begin("sh", "-c", "echo on; exec sleep 1000")
	testenv.Eventually(t, "its output", func() bool { return strings.Contains(r.out.String(), "on\n") })
	r.signals <- syscall.SIGINT
	if err := <-r.ended; !errors.As(err, &exit) || exit != 130 {
		t.Errorf("after a signal: %v", err)
	}
	_ = r.in.Close()
	if err := <-begin("no-such-program").ended; !errors.As(err, &exit) || exit != 127 {
		t.Errorf("no program: %v", err)
	}
}
