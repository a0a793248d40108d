package jupyter

import "sync"

// mostCounted bounds the kernels whose executions a process counts.
const mostCounted = 10_000

// counts has what a process knows of kernels by itself.
type counts struct {
	mu       sync.Mutex
	executed map[string]int // the number of the last execution
	sockets  map[string]int
}

// next is the number of the next execution of a kernel.
func (c *counts) next(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.executed == nil {
		c.executed = map[string]int{}
	}
	if _, known := c.executed[id]; !known && len(c.executed) >= mostCounted {
		for other := range c.executed { // any one: it counts from 1 again
			delete(c.executed, other)
			break
		}
	}
	c.executed[id]++
	return c.executed[id]
}

func (c *counts) last(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.executed[id]
}

func (c *counts) reset(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.executed, id)
}

// connect counts a connection until the function that it returns is called.
func (c *counts) connect(id string) (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sockets == nil {
		c.sockets = map[string]int{}
	}
	c.sockets[id]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.sockets[id]--; c.sockets[id] <= 0 {
			delete(c.sockets, id)
		}
	}
}

func (c *counts) connections(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sockets[id]
}

func (c *counts) allConnections() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := 0
	for _, n := range c.sockets {
		all += n
	}
	return all
}
