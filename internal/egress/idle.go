package egress

import (
	"sync/atomic"
	"time"
)

const (
	// idleTime is how long a connection may be without any byte in either direction, whatever is awaited on it.
	idleTime = 15 * time.Minute
	// idleInside is the same for the connection of a client. It is longer, so that the client is still there for the answer that says that
	// its destination is silent.
	idleInside = idleTime + 30*time.Second
	// idleStep is how exactly the time is kept: a clock that is set for each byte would cost more than the byte.
	idleStep = time.Second
)

// idle is the clock of a connection. Bytes in either direction set it anew: a client that sends a large body for an hour receives nothing meanwhile.
type idle struct {
	set  func(time.Time) // gives the connection its next end
	last atomic.Int64    // when that was done, in Unix nanoseconds
}

// start sets the clock for the first time.
func (i *idle) start(set func(time.Time)) {
	i.set = set
	i.moved(1)
}

// moved notes that n bytes have passed.
func (i *idle) moved(n int) {
	if i.set == nil || n <= 0 {
		return
	}
	now, last := time.Now(), i.last.Load()
	if now.UnixNano()-last >= int64(idleStep) && i.last.CompareAndSwap(last, now.UnixNano()) {
		i.set(now)
	}
}

// watch lets a deadline follow the bytes of a connection to a destination. The transport sets none of its own.
func (o *outside) watch() {
	o.idle.start(func(now time.Time) { _ = o.SetDeadline(now.Add(idleTime)) })
}

// watch lets a timer follow the bytes of a client's connection. The server of HTTP sets and removes deadlines of that connection: for the header of a
// request and for the pause before the next one. It has none for a body that does not come and an answer that the client does not read.
func (c *inside) watch() {
	c.timer = time.AfterFunc(idleInside, func() { _ = c.Conn.Close() })
	c.idle.start(func(time.Time) { c.timer.Reset(idleInside) })
}
