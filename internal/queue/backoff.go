package queue

import "time"

const (
	minDelay = 100 * time.Millisecond
	maxDelay = time.Second
	// logEvery keeps a Redis that is down for an hour from filling the log.
	logEvery = 30 * time.Second
)

// delayAfter is the pause after a number of failures in a row: 100 ms, doubling, 1 s.
func delayAfter(failures int) time.Duration {
	if failures <= 0 {
		return 0
	}
	return min(minDelay<<min(failures-1, 10), maxDelay)
}

// backoff counts failures in a row. It is for one goroutine.
type backoff struct {
	failures int
	logged   time.Time
}

func (b *backoff) failed()              { b.failures++ }
func (b *backoff) delay() time.Duration { return delayAfter(b.failures) }

// reset returns the number of failures.
func (b *backoff) reset() int {
	n := b.failures
	b.failures = 0
	return n
}

func (b *backoff) shouldLog() bool {
	if now := time.Now(); b.logged.IsZero() || now.Sub(b.logged) >= logEvery {
		b.logged = now
		return true
	}
	return false
}
