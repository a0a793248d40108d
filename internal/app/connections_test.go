package app

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener of connections within the process.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (p pipes) Close() error { close(p); return nil }
func (pipes) Addr() net.Addr { return &net.TCPAddr{} }

// visitor is the other side of a connection.
type visitor struct {
	net.Conn
	gone atomic.Bool // the server has closed it
}

// crowd is a server, and the connections of its clients.
type crowd struct {
	lis     pipes
	server  *http.Server
	clients []*visitor
	busy    chan struct{} // requests for /busy are answered when it is closed
}

func newCrowd(most int) *crowd {
	c := &crowd{lis: make(pipes), busy: make(chan struct{})}
	conns := newConnections(c.lis, most)
	c.server = &http.Server{ConnState: conns.changed, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/busy" {
			<-c.busy
		}
	})}
	go func() { _ = c.server.Serve(conns) }()
	return c
}

// send opens connections that send something.
func (c *crowd) send(n int, text string) {
	for range n {
		near, far := net.Pipe()
		c.lis <- far
		synctest.Wait()
		one := &visitor{Conn: near}
		go func() { _, _ = io.WriteString(one, text) }()
		go func() {
			_, _ = io.Copy(io.Discard, one)
			one.gone.Store(true)
		}()
		synctest.Wait()
		c.clients = append(c.clients, one)
	}
}

// open tells which connections are, with an x for each that is closed.
func (c *crowd) open() string {
	var b strings.Builder
	for _, one := range c.clients {
		if one.gone.Load() {
			b.WriteByte('x')
		} else {
			b.WriteByte('o')
		}
	}
	return b.String()
}

func (c *crowd) close() {
	close(c.busy)
	for _, conn := range c.clients {
		_ = conn.Close()
	}
	_ = c.server.Close()
}

// TestConnectionsAreBounded: where there are too many connections, those go that have waited for
// their request longest, and none that has one.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	const whole, half, busy = "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nHost:", "GET /busy HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, tt := range map[string]struct {
		sent []string
		want string
	}{
		"all fit":                    {[]string{busy, "", half, whole}, "oooo"},
		"the oldest goes":            {[]string{"", "", "", "", ""}, "xoooo"},
		"idle ones go":               {[]string{whole, busy, whole, busy, busy}, "xoooo"},
		"idle ones go before others": {[]string{half, "", half, busy, busy}, "oxooo"},
		"one half sent goes":         {[]string{half, half, busy, busy, busy}, "xoooo"},
		"all are busy":               {[]string{busy, busy, busy, busy, busy}, "oooox"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(4)
				defer c.close()
				for _, text := range tt.sent {
					c.send(1, text)
				}
				if got := c.open(); got != tt.want {
					t.Errorf("open: %s, want %s", got, tt.want)
				}
				for _, one := range c.clients {
					_ = one.Close()
				}
				c.clients = nil
				synctest.Wait()
				c.send(1, whole) // who has gone takes no place
				if name != "all are busy" && c.open() != "o" {
					t.Error("a connection after all others is closed")
				}
			})
		})
	}
}

// TestHalfSentHeaders: of those there are so many and no more, however many connections may be
// open.
func TestHalfSentHeaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(10 * mostHeads)
		defer c.close()
		c.send(mostHeads+3, "GET / HTTP/1.1\r\nHost:")
		if got, want := c.open(), "xxx"+strings.Repeat("o", mostHeads); got != want {
			t.Errorf("open: %s", got)
		}
	})
}

// TestSlowReaders: who takes nothing of an answer is cut off, who takes it slowly is not.
func TestSlowReaders(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("x", 10*writePiece)
	for name, send := range map[string]func(c *connection) error{
		"text": func(c *connection) error { _, err := c.Write([]byte(content)); return err },
		"file": func(c *connection) error { _, err := c.ReadFrom(strings.NewReader(content)); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for pause, want := range map[time.Duration]error{slowestWrite / 20: nil, 2 * slowestWrite: os.ErrDeadlineExceeded} {
				synctest.Test(t, func(t *testing.T) {
					near, far := net.Pipe()
					c := &connection{Conn: far, of: newConnections(nil, 0)}
					defer func() { _ = c.Close() }()
					read := make(chan int64)
					go func() {
						var n int64
						for err := error(nil); err == nil; {
							time.Sleep(pause)
							var some int64
							some, err = io.CopyN(io.Discard, near, writePiece)
							n += some
						}
						read <- n
					}()
					began := time.Now()
					if err := send(c); !errors.Is(err, want) || want != nil && time.Since(began) > 2*slowestWrite {
						t.Errorf("one who pauses for %s: %v after %s, want %v", pause, err, time.Since(began), want)
					}
					_ = c.Close()
					if n := <-read; want == nil && n != int64(len(content)) {
						t.Errorf("%d bytes of %d have come", n, len(content))
					}
				})
			}
		})
	}
}
