package app

import (
	"container/list"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/app/config"
)

const (
	// mostHeads is how many connections may be in the middle of a request's header. Honest
	// clients send one at once; each that is not at its end takes some 50 KB.
	mostHeads = 512
	// writePiece is how much of an answer has to be taken within slowestWrite.
	writePiece   = 32 << 10
	slowestWrite = 30 * time.Second
	// mostHeader is the size of a request's line and header.
	mostHeader = 16 << 10
)

// maxConnections is how many connections the API has at most: those of all who may wait, which
// are of four kinds, and more. The process needs open files for other things, too.
func maxConnections(c *config.Config) int {
	const more, unbounded = 1024, 16384
	n := c.MaxConnections
	switch {
	case n > 0:
	case c.MaxSyncWaits == 0:
		n = unbounded
	default:
		n = 4*c.MaxSyncWaits + more
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err == nil && files.Cur < unix.RLIM_INFINITY {
		n = min(n, int(files.Cur/4*3)) //nolint:gosec // it is small
	}
	return n
}

// maxRequests leaves some connections for requests that are on their way.
func maxRequests(c *config.Config) int64 { return int64(maxConnections(c) - maxConnections(c)/8) }

// connections bounds the connections of an HTTP server. Where there are too many, the one that
// has waited for its request longest is closed: an honest client's takes no time. Requests that
// are being handled are bounded by the API, by caller.
type connections struct {
	net.Listener
	most int // 0 is no limit

	mu   sync.Mutex
	open int
	// Those without a request, the oldest first: idle ones have sent nothing yet, and
	// heads have begun.
	idle, heads *list.List
}

func newConnections(lis net.Listener, most int) *connections {
	return &connections{Listener: lis, most: most, idle: list.New(), heads: list.New()}
}

// connection is one of them.
type connection struct {
	net.Conn
	of     *connections
	closed atomic.Bool
	quiet  atomic.Bool // it is among the idle ones
	wrote  atomic.Bool // an answer has begun since it was idle

	// Guarded by of.mu.
	in    *list.List
	place *list.Element
}

// Accept returns the next connection. What is beyond the bound even so, because all are
// busy, is closed.
func (l *connections) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err //nolint:wrapcheck // net/http compares it
		}
		c := &connection{Conn: conn, of: l}
		if l.admit(c) {
			return c, nil
		}
		_ = conn.Close()
	}
}

// admit takes a connection on.
func (l *connections) admit(c *connection) bool {
	l.mu.Lock()
	var last *connection
	if l.most > 0 && l.open >= l.most {
		if last = first(l.idle); last == nil {
			last = first(l.heads)
		}
		if last == nil {
			l.mu.Unlock()
			return false
		}
		last.move(nil)
	}
	l.open++
	c.move(l.idle)
	l.mu.Unlock()
	if last != nil {
		_ = last.Close()
	}
	return true
}

func first(of *list.List) *connection {
	e := of.Front()
	if e == nil {
		return nil
	}
	c, _ := e.Value.(*connection)
	return c
}

// move puts a connection at the end of a list, or into none. It is called with mu held.
func (c *connection) move(to *list.List) {
	if c.in != nil {
		c.in.Remove(c.place)
	}
	if c.in = to; to != nil {
		c.place = to.PushBack(c)
	}
	c.quiet.Store(to != nil && to == c.of.idle)
}

// changed is the server's ConnState.
func (l *connections) changed(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*connection)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case c.closed.Load():
	case state == http.StateIdle:
		c.wrote.Store(false)
		c.move(l.idle)
	case state == http.StateActive, state == http.StateHijacked:
		c.move(nil)
	}
}

// begun is called when the first bytes of a request are there.
func (l *connections) begun(c *connection) {
	l.mu.Lock()
	var last *connection
	if c.in == l.idle {
		if l.heads.Len() >= mostHeads {
			last = first(l.heads)
			last.move(nil)
		}
		c.move(l.heads)
	}
	l.mu.Unlock()
	if last != nil {
		_ = last.Close()
	}
}

func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.quiet.Load() {
		c.of.begun(c)
	}
	return n, err //nolint:wrapcheck // net/http compares it
}

// Write has a deadline that follows what the client takes: one who takes nothing would hold a
// request, and all that is to be answered, for ever.
//
// What a handler writes is never looked at: its first piece has the fields of a header that net/http's own
// answers lack, and what follows may be anything.
func (c *connection) Write(p []byte) (n int, err error) {
	if !c.wrote.Swap(true) {
		if problem, own := problemInPlaceOf(p); own {
			_, err := c.write(problem)
			return len(p), err
		}
	}
	return c.write(p)
}

func (c *connection) write(p []byte) (n int, err error) {
	for first := true; first || len(p) > 0; first = false {
		piece := p[:min(len(p), writePiece)]
		_ = c.SetWriteDeadline(time.Now().Add(slowestWrite))
		wrote, err := c.Conn.Write(piece)
		n += wrote
		if err != nil {
			return n, err //nolint:wrapcheck // net/http compares it
		}
		p = p[len(piece):]
	}
	return n, nil
}

// ReadFrom does the same for files, which the kernel sends by itself.
func (c *connection) ReadFrom(r io.Reader) (n int64, err error) {
	const piece = 4 * writePiece
	for {
		_ = c.SetWriteDeadline(time.Now().Add(slowestWrite))
		wrote, err := io.CopyN(c.Conn, r, piece)
		n += wrote
		if err == io.EOF { //nolint:errorlint // CopyN's own
			return n, nil
		}
		if err != nil {
			return n, err //nolint:wrapcheck // net/http compares it
		}
	}
}

func (c *connection) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.of.mu.Lock()
		c.move(nil)
		c.of.open--
		c.of.mu.Unlock()
	}
	return c.Conn.Close() //nolint:wrapcheck // nothing to add
}
