package e2b

import "sync"

// mostCounted is how many sessions the executions of are counted.
const mostCounted = 10000

// counts count the executions of sessions at this process.
type counts struct {
	mu  sync.Mutex
	all map[string]int
}

// next counts an execution.
func (c *counts) next(session string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || len(c.all) >= mostCounted {
		c.all = map[string]int{} // that of a live session begins anew: better than memory without bound
	}
	c.all[session]++
	return c.all[session]
}
