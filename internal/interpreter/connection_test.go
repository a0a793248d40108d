package interpreter_test

import (
	"bytes"
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

// follower is attached to a connection with a port.
type follower struct {
	input, control chan job.StoredMessage
	done           chan struct{} // closed when the connection has ended
	result         job.Result

	mu       sync.Mutex
	out, err bytes.Buffer
}

func (f *follower) Started(int) {}
func (f *follower) Finish()     {}
func (f *follower) Stream(kind string, p []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if kind == job.OutputStderr {
		f.err.Write(p)
	} else {
		f.out.Write(p)
	}
}

func (f *follower) said() (stdout, stderr string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out.String(), f.err.String()
}

func (f *follower) send(text string) {
	f.input <- job.StoredMessage{CommandMessage: job.CommandMessage{Data: []byte(text)}}
}

func (f *follower) eof() { f.input <- job.StoredMessage{CommandMessage: job.CommandMessage{EOF: true}} }

// connects begins a connection with a port of a session. Where the runner does not connect, a program says so.
func connects(ctx context.Context, t *testing.T, s *interpreter.Session, port int, silence time.Duration) *follower {
	t.Helper()
	f := &follower{input: make(chan job.StoredMessage), control: make(chan job.StoredMessage), done: make(chan struct{})}
	spec := job.Spec{Timeout: ample, Command: &job.Command{Argv: []string{"echo", "a program"}, Input: true, Port: &job.PortOf{Number: port, Silence: silence}}}
	live := job.Live{Bytes: f, Messages: &job.CommandMessages{Input: f.input, Control: f.control, Taken: func(job.StoredMessage) {}}}
	go func() {
		defer close(f.done)
		res, err := s.Run(ctx, spec, live)
		if f.result = res; err != nil {
			t.Errorf("port %d: %v", port, err)
		}
	}()
	t.Cleanup(func() { <-f.done })
	return f
}

// listening starts a server in a session that sends back, in capital letters, what a connection has sent until its end. It returns its port.
func listening(t *testing.T, s *interpreter.Session, family string) int {
	t.Helper()
	res := step(t, s, job.Spec{Code: `
import socket, threading
def serve(listener):
    while True:
        c = listener.accept()[0]
        threading.Thread(target=answer, args=(c,), daemon=True).start()
def answer(c):
    while data := c.recv(65536): c.sendall(data.upper())
    c.close()
def listen(family, host):
    listener = socket.socket(family)
    listener.bind((host, 0))
    listener.listen(100)
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    return listener.getsockname()[1]
print(listen(` + family + `))
`})
	port, err := strconv.Atoi(strings.TrimSpace(res.Stdout))
	if err != nil {
		t.Fatal(res.Stdout, res.Stderr)
	}
	return port
}

// TestConnection: the runner connects with servers in the sandbox, by IPv4 and IPv6, and passes on all bytes in both directions, and both ends.
func TestConnection(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{})
	for _, family := range []string{"socket.AF_INET, '127.0.0.1'", "socket.AF_INET6, '::1'", "socket.AF_INET, '0.0.0.0'"} {
		port := listening(t, s, family)
		f := connects(t.Context(), t, s, port, ample)
		f.send("hello")
		testenv.Eventually(t, "an answer before the end of the input", func() bool { out, _ := f.said(); return out == "HELLO" })
		large := strings.Repeat("abc", 1<<20)
		f.send(large)
		f.eof()
		<-f.done
		if out, said := f.said(); out != "HELLO"+strings.ToUpper(large) || said != "+" || f.result.Status != job.StatusOK {
			t.Errorf("%s: %d bytes, %q, %+v", family, len(out), said, f.result)
		}
	}
}

// TestConnectionIsRefused: a port at which nothing of the sandbox listens is closed, also when the machine's own listens there.
func TestConnectionIsRefused(t *testing.T) {
	t.Parallel()
	outside, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = outside.Close() }()
	port := outside.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // it is one
	s := session(t, shared(t), job.SessionSpec{})
	f := connects(t.Context(), t, s, port, ample)
	<-f.done
	if out, said := f.said(); out != "" || said != "connection refused\n" || f.result.ExitCode == nil || *f.result.ExitCode != 1 {
		t.Errorf("%q, %q, %+v", out, said, f.result)
	}
	// Where the network is the machine's, the runner does not connect: code may not, or it is the program's to do.
	for _, level := range []sandbox.Level{sandbox.Basic, sandbox.None} {
		f := connects(t.Context(), t, session(t, shared(t, withLevel(level)), job.SessionSpec{}), port, ample)
		<-f.done
		if out, _ := f.said(); out != "a program\n" {
			t.Errorf("%s: %q", level, out)
		}
	}
}

// TestConnectionEnds: a connection ends with its caller's patience, a signal, a silence and the session, whatever the server does.
func TestConnectionEnds(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{})
	port := listening(t, s, "socket.AF_INET, '127.0.0.1'")
	reached := func(f *follower) func() bool {
		return func() bool { _, said := f.said(); return said == "+" }
	}
	interrupted := func(name string, f *follower, why string) {
		t.Helper()
		<-f.done
		if f.result.Status != job.StatusInterrupted || f.result.Error == nil || !strings.Contains(f.result.Error.Value, why) {
			t.Errorf("%s: %+v, %+v", name, f.result, f.result.Error)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	f := connects(ctx, t, s, port, ample)
	testenv.Eventually(t, "the connection", reached(f))
	cancel()
	interrupted("cancel", f, "cancelled")

	f = connects(t.Context(), t, s, port, ample)
	f.control <- job.StoredMessage{CommandMessage: job.CommandMessage{Signal: "INT"}}
	interrupted("signal", f, "cancelled")

	interrupted("silence", connects(t.Context(), t, s, port, time.Millisecond), "no byte has passed")

	// A server that reads nothing: what is sent to it waits, and does not keep the connection from its end.
	full := step(t, s, job.Spec{Code: `
deaf = socket.socket()
deaf.bind(('127.0.0.1', 0))
deaf.listen(0)
print(deaf.getsockname()[1])
`})
	silent, err := strconv.Atoi(strings.TrimSpace(full.Stdout))
	if err != nil {
		t.Fatal(full.Stderr)
	}
	ctx, cancel = context.WithCancel(t.Context())
	f = connects(ctx, t, s, silent, ample)
	testenv.Eventually(t, "the connection", reached(f))
	f.send(strings.Repeat("x", 64<<20)) // more than the kernel takes
	cancel()
	interrupted("deaf server", f, "cancelled")

	// Its queue is full, so no further connection comes about: the kernel goes on asking for it.
	step(t, s, job.Spec{Code: `
def asking():
    at = ':%04X' % deaf.getsockname()[1]
    return sum(line.split()[2].endswith(at) and line.split()[3] == '02' for line in open('/proc/net/tcp'))
kept = []
while not asking():
    kept.append(socket.socket())
    kept[-1].setblocking(False)
    kept[-1].connect_ex(deaf.getsockname())
own = asking()
`})
	ctx, cancel = context.WithCancel(t.Context())
	f = connects(ctx, t, s, silent, ample)
	testenv.Eventually(t, "the connection to be asked for", func() bool {
		return step(t, s, job.Spec{Code: "print(asking() > own)"}).Stdout == "True\n"
	})
	cancel()
	interrupted("full queue", f, "cancelled")

	f = connects(t.Context(), t, s, port, ample)
	testenv.Eventually(t, "the connection", reached(f))
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	interrupted("the session's end", f, "")
}
