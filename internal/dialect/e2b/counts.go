package e2b

import (
	"strings"
	"sync"
)

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

// pids are the process ids of commands that this process has seen. Others are asked for.
type pids struct {
	mu  sync.Mutex
	all map[string]int // by session and command
}

func (p *pids) note(session string, pid int, command string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil || len(p.all) >= mostCounted {
		p.all = map[string]int{}
	}
	p.all[session+command] = pid
}

func (p *pids) of(session, command string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[session+command]
}

// last returns the command that had a process id last, among those that are noted; empty if there is none.
func (p *pids) last(session string, pid int) (command string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, of := range p.all {
		if id, ok := strings.CutPrefix(key, session); ok && of == pid && id > command { // ids of commands begin with their time
			command = id
		}
	}
	return command
}

// watched counts the watches of this process by session.
type watched struct {
	mu  sync.Mutex
	all map[string]int
}

func (w *watched) add(session string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[string]int{}
	}
	if w.all[session] += n; w.all[session] <= 0 {
		delete(w.all, session)
	}
}

func (w *watched) has(session string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all[session] > 0
}
