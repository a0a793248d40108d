package cli_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
)

// BenchmarkForward measures a connection through `kaa forward`, from its begin until the first answer of the server and its end.
func BenchmarkForward(b *testing.B) {
	url := start(b)
	session := serving(b, url)
	ctx, cancel := context.WithCancel(b.Context())
	at, done := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		done <- cli.Forward(ctx, app.Process{Environ: app.Environment{"KAA_URL=" + url}, Stdout: io.Discard, Stderr: io.Discard}, cli.ForwardOptions{
			Session: session, Ports: []string{"0:8000"}, Listening: func(_ int, a net.Addr) { at <- a },
		})
	}()
	address := (<-at).String()
	for b.Loop() {
		conn, err := new(net.Dialer).DialContext(b.Context(), "tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = fmt.Fprintln(conn, "hello")
		if line, err := bufio.NewReader(conn).ReadString('\n'); line != "HELLO\n" {
			b.Fatalf("%q %v", line, err)
		}
		_ = conn.Close()
	}
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}

// serving opens a session in which echoServer listens.
func serving(tb testing.TB, url string) (session string) {
	tb.Helper()
	c := client.New(url, "")
	s, err := c.OpenSession(tb.Context(), client.SessionBody{})
	if err != nil {
		tb.Fatal(err)
	}
	server, err := c.DialCommand(tb.Context(), s.ID)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = server.Close() })
	if err := server.Send(tb.Context(), map[string]any{"type": "start", "argv": []string{"python3", "-c", echoServer}}); err != nil {
		tb.Fatal(err)
	}
	for {
		data, _, err := server.Read(tb.Context())
		if err != nil {
			tb.Fatal(err)
		}
		if strings.Contains(string(data), "listens") {
			return s.ID
		}
	}
}
