package app

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// headerTime is how long the first request's header of a connection may take.
	headerTime = 5 * time.Second
	// mostBytes is the number of bytes in which the first header has to end. net/http allows as
	// many.
	mostBytes = mostHeader + 4<<10
	// mostRefused is the number of connections that stay for refusalTime after an answer, so that
	// clients that still send can read it. Others are reset.
	mostRefused = 64
	mostDrained = 1 << 20
	refusalTime = 500 * time.Millisecond
)

// arrivals are the connections whose first header has not arrived yet. net/http takes 50 KB and
// 100 µs of processor time for a connection, even for one that never sends a whole request. So it
// gets a connection only when there is something for it to do. Until then a connection takes the
// bytes that have arrived, in a buffer that others use again.
type arrivals struct {
	begin   sync.Once
	ready   chan *connection
	over    chan struct{} // closed when the listener has ended with err
	err     error
	refused chan struct{} // holds mostRefused
}

func newArrivals() arrivals {
	return arrivals{ready: make(chan *connection), over: make(chan struct{}), refused: make(chan struct{}, mostRefused)}
}

// Accept returns the next connection that net/http is to serve.
func (l *connections) Accept() (net.Conn, error) {
	l.begin.Do(func() { go l.receive() })
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.over:
		return nil, l.err
	}
}

// receive accepts connections until the listener ends. It closes a connection beyond the limit if
// all others are busy with requests.
func (l *connections) receive() {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			l.err = err
			close(l.over)
			return
		}
		c := &connection{Conn: conn, of: l}
		if !l.admit(c) {
			_ = conn.Close()
			continue
		}
		go c.arrive()
	}
}

// arrive waits for the header of the first request and passes the connection on.
func (c *connection) arrive() {
	switch c.readHeader() {
	case headerWhole:
		c.of.mu.Lock()
		c.move(nil)
		c.of.mu.Unlock()
	case headerUnclear:
	case headerTooLarge:
		c.early.drop()
		c.refuse(headerRefusal())
		return
	case headerMissing, headerPart:
		c.early.drop()
		_ = c.Close()
		return
	}
	select {
	case c.of.ready <- c:
	case <-c.of.over:
		c.early.drop()
		_ = c.Close()
	}
}

type headerState int

const (
	headerMissing  headerState = iota // and no longer expected
	headerPart                        // the rest is expected
	headerWhole                       // with or without a part of the body
	headerUnclear                     // net/http decides what the bytes are
	headerTooLarge                    // it does not end within mostBytes
)

// earlyBytes are the first bytes of a connection, which net/http has not read yet.
type earlyBytes struct {
	buf        *[mostBytes]byte // of buffers; nil if there are none
	begin, end int
}

var buffers = sync.Pool{New: func() any { return new([mostBytes]byte) }} //nolint:gochecknoglobals // of all listeners

// readHeader reads until it is clear what becomes of the first header.
func (c *connection) readHeader() headerState {
	socket, ok := c.Conn.(syscall.Conn)
	if !ok {
		return headerUnclear
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return headerMissing
	}
	_ = c.SetReadDeadline(time.Now().Add(headerTime))
	state := headerPart
	err = raw.Read(func(fd uintptr) bool {
		for more := true; more && state == headerPart; {
			state, more = c.early.read(int(fd))
		}
		if c.early.end > 0 && state != headerWhole {
			c.of.begun(c)
		}
		return state != headerPart
	})
	if err != nil {
		return headerMissing // too late, or others needed the room
	}
	return state
}

// read reads the bytes that have arrived at a socket. more reports whether there may be more.
func (e *earlyBytes) read(fd int) (state headerState, more bool) {
	if e.buf == nil {
		e.buf, _ = buffers.Get().(*[mostBytes]byte)
	}
	n, err := unix.Read(fd, e.buf[e.end:])
	switch {
	case errors.Is(err, unix.EINTR):
		return headerPart, true
	case errors.Is(err, unix.EAGAIN):
		if e.end == 0 {
			e.drop()
		}
		return headerPart, false
	case err != nil, n == 0 && e.end == 0:
		return headerMissing, false
	case n == 0:
		return headerUnclear, false
	}
	before := e.end
	e.end += n
	return stateOf(e.buf[:e.end], before), e.end < mostBytes
}

// stateOf reports what the first bytes of a connection are. The header did not end within as many
// bytes as seen.
func stateOf(text []byte, seen int) headerState {
	// A header ends with an empty line. The newline before it may be among the bytes seen.
	rest := text[max(0, seen-len("\n\r")):]
	if bytes.Contains(rest, []byte("\n\r\n")) || bytes.Contains(rest, []byte("\n\n")) {
		return headerWhole
	}
	if len(text) == mostBytes {
		return headerTooLarge
	}
	// Bytes that are no HTTP may never have an empty line. TLS begins with 0x16.
	first := text[0] | ' '
	line, _, found := bytes.Cut(text, []byte("\n"))
	if first < 'a' || first > 'z' || found && !bytes.Contains(line, []byte(" HTTP/1.")) {
		return headerUnclear
	}
	return headerPart
}

// take copies bytes to p. When it has copied all, there are none any more.
func (e *earlyBytes) take(p []byte) int {
	n := copy(p, e.buf[e.begin:e.end])
	if e.begin += n; e.begin == e.end {
		e.drop()
	}
	return n
}

func (e *earlyBytes) drop() {
	if e.buf != nil {
		buffers.Put(e.buf)
	}
	*e = earlyBytes{}
}

// headerRefusal is the answer to a header that is too large.
var headerRefusal = sync.OnceValue(func() []byte { //nolint:gochecknoglobals // a constant
	return problemAnswer(http.StatusRequestHeaderFieldsTooLarge, "")
})

// refuse answers and closes a connection. The kernel resets a connection that is closed before all
// its bytes are read, and the client could lose the answer. So the connection stays for a moment.
func (c *connection) refuse(answer []byte) {
	defer func() { _ = c.Close() }()
	if _, err := c.write(answer); err != nil {
		return
	}
	closer, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || closer.CloseWrite() != nil {
		return
	}
	select {
	case c.of.refused <- struct{}{}:
		defer func() { <-c.of.refused }()
		_ = c.SetReadDeadline(time.Now().Add(refusalTime))
		_, _ = io.CopyN(io.Discard, c.Conn, mostDrained)
	default:
	}
}
