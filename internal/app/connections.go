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
	// mostHeads is the number of connections that may be in the middle of a request's header.
	// Honest clients send a header at once. Each incomplete header takes 20 KB, or 50 KB if it is
	// not the first one of its connection.
	mostHeads = 512
	// writePiece is the number of bytes of an answer that a client has to take within
	// slowestWrite.
	writePiece   = 32 << 10
	slowestWrite = 30 * time.Second
	// mostHeader bounds the size of a request's line and header.
	mostHeader = 16 << 10
)

// maxConnections returns the maximal number of connections of the API. It suffices for all
// callers that may wait, which are of four kinds, and for some more. The process needs open files
// for other things, too.
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

// maxRequests returns the maximal number of concurrent requests. It leaves some connections for
// requests that are still arriving.
func maxRequests(c *config.Config) int64 { return int64(maxConnections(c) - maxConnections(c)/8) }

// connections bounds the connections of an HTTP server. If there are too many, it closes the one
// that has waited longest for its request, because an honest client sends its request at once. The
// API bounds the requests that are being handled, by caller.
type connections struct {
	net.Listener
	most int // 0 means no limit

	mu   sync.Mutex
	open int
	// The connections without a request, the oldest first: idle ones have sent nothing yet,
	// heads have sent a part of a header.
	idle, heads *list.List

	arrivals
}

func newConnections(lis net.Listener, most int) *connections {
	return &connections{Listener: lis, most: most, idle: list.New(), heads: list.New(), arrivals: newArrivals()}
}

// connection is one connection of connections.
type connection struct {
	net.Conn
	of     *connections
	closed atomic.Bool
	quiet  atomic.Bool // the connection is in of.idle
	wrote  atomic.Bool // an answer has begun since the connection was idle
	early  earlyBytes  // one goroutine at a time uses them

	// of.mu guards the fields below.
	in    *list.List
	place *list.Element
}

// admit adds a connection, in place of another one if there are too many. It reports whether it
// did.
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

// move moves a connection to the end of a list, or out of all lists if to is nil. It is called
// with mu held.
func (c *connection) move(to *list.List) {
	if c.in != nil {
		c.in.Remove(c.place)
	}
	if c.in = to; to != nil {
		c.place = to.PushBack(c)
	}
	c.quiet.Store(to != nil && to == c.of.idle)
}

// changed is the server's ConnState, for the connections of all its listeners.
func (l *connections) changed(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*connection)
	if !ok {
		return
	}
	l = c.of
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

// begun is called when the first bytes of a request have arrived.
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
	if c.early.buf != nil {
		return c.early.take(p), nil
	}
	n, err := c.Conn.Read(p)
	if n > 0 && c.quiet.Load() {
		c.of.begun(c)
	}
	return n, err //nolint:wrapcheck // net/http compares it
}

// Write gives each piece of p a deadline of its own. A client that takes nothing would otherwise
// hold a request and its answer in memory permanently.
//
// Write replaces answers of net/http itself with problem documents. It never changes the output of
// a handler: the first piece of that has header fields that net/http's own answers lack, and later
// pieces are not looked at.
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

// ReadFrom sends a file, which the kernel copies. Each piece has a deadline, too.
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
