package egress

import (
	"io"
	"net"
	"sync"
	"time"
)

const (
	pipeBytes = 64 << 10
	// mostMoved bounds the bytes that the kernel moves at once. Between such moves they are counted, and the limit of idle time begins anew.
	mostMoved = 256 << 10
	// leastMoved is what makes such a move cheaper than a copy.
	leastMoved = 16 << 10
)

// pool has buffers for bytes on their way.
var pool = sync.Pool{New: func() any { b := make([]byte, pipeBytes); return &b }} //nolint:gochecknoglobals // has no state

// buffers gives the pool's buffers to ReverseProxy.
type buffers struct{}

func (buffers) Get() []byte  { return *pool.Get().(*[]byte) } //nolint:forcetypeassert // it has no others
func (buffers) Put(b []byte) { pool.Put(&b) }

// pipe passes bytes on in both directions until both are at their end, or nothing has come for idleTime.
func pipe(in *inside, out *outside) {
	alive := func() {
		in.idle.moved(1) // what the kernel moves passes neither Read nor Write
		end := time.Now().Add(idleTime)
		_ = in.SetDeadline(end)
		_ = out.SetDeadline(end)
	}
	alive()
	var done sync.WaitGroup
	done.Go(func() { oneWay(out, in, alive, func() (int64, error) { return out.moveFrom(in) }) })
	oneWay(in, out, alive, func() (int64, error) { return out.moveTo(in) })
	done.Wait()
}

// oneWay copies from one connection to another. After an error neither is of use. When bytes come faster than one buffer takes them, move
// passes on what waits without a copy.
func oneWay(to, from net.Conn, alive func(), move func() (int64, error)) {
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
		for n == len(b) && err == nil {
			var moved int64
			if moved, err = move(); moved == 0 {
				break
			}
			if now := time.Now(); now.Sub(last) > time.Second {
				last = now
				alive()
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

// moveTo moves what has come from the destination to the client; 0 if that is too little.
func (o *outside) moveTo(in *inside) (int64, error) {
	n, err := move(in.Conn, o.Conn)
	if n > 0 && !o.count.add(o.index, 0, n) && err == nil {
		err = errBytes
	}
	return n, err
}

// moveFrom is moveTo in the other direction.
func (o *outside) moveFrom(in *inside) (int64, error) {
	if in.reader.Buffered() > 0 {
		return 0, nil
	}
	n, err := move(o.Conn, in.Conn)
	if n > 0 && !o.count.add(o.index, n, 0) && err == nil {
		err = errBytes
	}
	return n, err
}

// move has the kernel move bytes that wait in one socket to another one (splice). It waits until some have come: fewer than leastMoved are left there.
func move(to, from net.Conn) (int64, error) {
	source, ok := from.(*net.TCPConn)
	target, both := to.(*net.TCPConn)
	if !ok || !both {
		return 0, nil
	}
	waiting := min(queued(source), mostMoved)
	if waiting < leastMoved {
		return 0, nil
	}
	return target.ReadFrom(&io.LimitedReader{R: source, N: waiting})
}

// closeWrite ends one direction of a connection.
func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}
