package interpreter

import "sync/atomic"

// goroutines counts the helper goroutines of an execution. Unlike a WaitGroup, it has a channel, so
// that a select can wait for the last of them without another goroutine.
type goroutines struct {
	running atomic.Int64  // their number, plus one until last is called
	done    chan struct{} // closed when all have ended
}

func newGoroutines() *goroutines {
	g := &goroutines{done: make(chan struct{})}
	g.begin()
	return g
}

// begin counts a goroutine, which calls end at its end.
func (g *goroutines) begin() { g.running.Add(1) }

func (g *goroutines) end() {
	if g.running.Add(-1) == 0 {
		close(g.done)
	}
}

// Go runs f in a goroutine.
func (g *goroutines) Go(f func()) {
	g.begin()
	go func() {
		defer g.end()
		f()
	}()
}

// last must be called once. After that only goroutines of this count may begin others. The returned
// channel is closed when all have ended.
func (g *goroutines) last() <-chan struct{} {
	g.end()
	return g.done
}
