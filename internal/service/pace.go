package service

import (
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// SlowestBody is how many bytes a second of a body or a message have to come, after its first moments: a client that sends a
// byte now and then would hold its request without end.
const SlowestBody = 8 << 10

// Pace is the time that a client has for a body or a message.
type Pace struct {
	Began    time.Time
	Patience time.Duration // for which nothing may come
	Read     int64         // bytes
}

// Due is when the next bytes have to be there.
func (p *Pace) Due() time.Time {
	steady := p.Began.Add(p.Patience + time.Duration(p.Read)*(time.Second/SlowestBody))
	if next := time.Now().Add(p.Patience); next.Before(steady) {
		return next
	}
	return steady
}

// InTime returns a reader of a message of a socket. late is called if the next bytes do not come in time, and has to end the reading. To
// be stopped.
func InTime(r io.Reader, patience time.Duration, late func()) (timed io.Reader, stop func()) {
	t := &inTime{Reader: r, pace: Pace{Began: time.Now(), Patience: patience}}
	t.late = time.AfterFunc(patience, func() {
		t.ended.Store(true)
		late()
	})
	return t, func() { t.late.Stop() }
}

var errTooSlow = errors.New("the message did not arrive in time")

type inTime struct {
	io.Reader
	pace Pace
	late *time.Timer
	// ended says that late was called. The end of a connection can look like the end of the message.
	ended atomic.Bool
}

func (t *inTime) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	t.pace.Read += int64(n)
	if t.ended.Load() {
		return 0, errTooSlow
	}
	if err == nil && t.late.Stop() {
		t.late.Reset(time.Until(t.pace.Due()))
	}
	return n, err //nolint:wrapcheck // of the connection
}
