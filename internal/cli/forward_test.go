package cli_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
	"github.com/kaa-run/kaa/internal/testenv"
)

// echoServer answers each line in capitals, and ends at the end of its input.
const echoServer = `
import socketserver
class H(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile: self.wfile.write(line.upper())
        self.wfile.write(b'over')
with socketserver.ThreadingTCPServer(('127.0.0.1', 8000), H) as s:
    print('listens', flush=True)
    s.serve_forever()
`

// TestForward: connections to a port of this machine reach one of the session, in both directions, with the end of either side.
func TestForward(t *testing.T) {
	t.Parallel()
	url := start(t)
	session := serving(t, url)
	ctx, cancel := context.WithCancel(t.Context())
	errs, at, done := new(testenv.Buffer), make(chan net.Addr, 2), make(chan error, 1)
	go func() {
		done <- cli.Forward(ctx, app.Process{Environ: app.Environment{"KAA_URL=" + url}, Stdout: io.Discard, Stderr: errs}, cli.ForwardOptions{
			Session: session, Ports: []string{"0:8000", "0:8001"}, Listening: func(_ int, a net.Addr) { at <- a },
		})
	}()
	one, err := new(net.Dialer).DialContext(t.Context(), "tcp", (<-at).String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintln(one, "hello")
	in := bufio.NewReader(one)
	if line, err := in.ReadString('\n'); line != "HELLO\n" {
		t.Fatalf("%q %v %s", line, err, errs)
	}
	_ = one.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(in); string(rest) != "over" || err != nil {
		t.Errorf("after the end of the input: %q %v", rest, err)
	}
	_ = one.Close()
	closed, err := new(net.Dialer).DialContext(t.Context(), "tcp", (<-at).String())
	if err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(closed); len(rest) > 0 || err != nil {
		t.Errorf("where nothing listens: %q %v", rest, err)
	}
	_ = closed.Close()
	testenv.Eventually(t, "the reason to be shown", func() bool {
		return strings.Contains(strings.ToLower(errs.String()), "port 8001: nothing listens there: connection refused")
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, ports := range []string{"x", "0", "65536:1", "1:", "3128", "-1:80"} {
		if err := cli.Forward(t.Context(), app.Process{Environ: app.Environment{"KAA_URL=" + url}}, cli.ForwardOptions{Session: session, Ports: []string{ports}}); err == nil || !strings.Contains(err.Error(), ports) {
			t.Errorf("%s: %v", ports, err)
		}
	}
}
