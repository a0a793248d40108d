package egress

import (
	"io"
	"net"
	"sync"
	"time"
)

const pipeBytes = 64 << 10

// pool has buffers for bytes on their way.
var pool = sync.Pool{New: func() any { b := make([]byte, pipeBytes); return &b }} //nolint:gochecknoglobals // has no state

// buffers gives the pool's buffers to ReverseProxy.
type buffers struct{}

func (buffers) Get() []byte  { return *pool.Get().(*[]byte) } //nolint:forcetypeassert // it has no others
func (buffers) Put(b []byte) { pool.Put(&b) }

// pipe passes bytes on in both directions until both are at their end, or nothing has come for idleTime.
func pipe(in, out net.Conn) {
	alive := func() {
		end := time.Now().Add(idleTime)
		_ = in.SetDeadline(end)
		_ = out.SetDeadline(end)
	}
	alive()
	var done sync.WaitGroup
	done.Go(func() { oneWay(out, in, alive) })
	oneWay(in, out, alive)
	done.Wait()
}

// oneWay copies from one connection to another. After an error neither is of use.
func oneWay(to, from net.Conn, alive func()) {
	b := buffers{}.Get()
	defer buffers{}.Put(b)
	last := time.Now()
	for {
		n, err := from.Read(b)
		if n > 0 {
			if now := time.Now(); now.Sub(last) > time.Second {
				last = now
				alive()
			}
			if _, writeErr := to.Write(b[:n]); writeErr != nil {
				err = writeErr
			}
		}
		switch {
		case err == io.EOF: //nolint:errorlint // a connection returns it bare
			if closeWrite(to) == nil {
				return
			}
			fallthrough
		case err != nil:
			_ = to.Close()
			_ = from.Close()
			return
		}
	}
}

// closeWrite ends one direction of a connection.
func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}
