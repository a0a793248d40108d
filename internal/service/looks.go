package service

import (
	"cmp"
	"math/rand/v2"
	"time"
)

const (
	// lookEvery is how soon one who waits looks again, in case the message was lost that was to wake it.
	lookEvery = time.Second
	// lookSeldom is how rarely it looks when nothing has happened for a while.
	lookSeldom = 10 * time.Second
	// lookAtBatch is the same for batches: no message reports that one has gone on, only that it has ended.
	lookAtBatch = 4 * time.Second
)

// Looks are the times at which one who waits for a message looks without one, since messages can be lost. While nothing happens
// the times between them double, from a second to ten. Thousands of idle connections would otherwise keep Redis busy. The times
// are spread by a fifth, because those who began to wait at the same time would look at the same time. The zero value is ready. It
// is for one goroutine, and to be stopped.
type Looks struct {
	timer  *time.Timer
	every  time.Duration
	seldom time.Duration // 0 means lookSeldom
}

// Due gets a value when it is time to look. Seldomer or Soon is called after that.
func (l *Looks) Due() <-chan time.Time {
	if l.timer == nil {
		l.every = lookEvery
		l.timer = time.NewTimer(spread(l.every))
	}
	return l.timer.C
}

// Seldomer is called after a look that Due has asked for.
func (l *Looks) Seldomer() { l.after(min(2*l.every, cmp.Or(l.seldom, lookSeldom))) }

// Soon is called when something has happened, and when a look has to be repeated soon.
func (l *Looks) Soon() { l.after(lookEvery) }

func (l *Looks) after(every time.Duration) {
	l.every = every
	if l.timer != nil {
		l.timer.Reset(spread(every))
	}
}

// Stop ends the looks. They may begin again.
func (l *Looks) Stop() {
	if l.timer != nil {
		l.timer.Stop()
	}
	l.timer = nil
}

// spread returns d, or up to a fifth more or less.
func spread(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()*2-1)*float64(d/5)) //nolint:gosec // not a secret
}
