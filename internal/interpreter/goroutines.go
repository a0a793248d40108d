package interpreter

import "sync/atomic"

// goroutines are those that an execution has beside its own. Unlike for a WaitGroup,
// one can wait for the last of them together with other things without one more goroutine.
type goroutines struct {
	running atomic.Int64  // and one, for as long as there may be more
	done    chan struct{} // closed when none is left
}

func newGoroutines() *goroutines {
	g := &goroutines{done: make(chan struct{})}
	g.begin()
	return g
}

// begin counts one more, which ends with end.
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

// last says, once, that only those that run now may begin more. The result is closed
// when none is left.
func (g *goroutines) last() <-chan struct{} {
	g.end()
	return g.done
}
