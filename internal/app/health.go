package app

import (
	"sync"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/queue"
	"github.com/kaa-run/kaa/internal/runner"
)

// runnerHealth keeps a runner from taking jobs while it can start no interpreter, or is drained.
type runnerHealth struct {
	mu     sync.Mutex
	pool   *interpreter.Pool
	runner *runner.Runner
	server *queue.Server
}

// watch begins to watch over a runner.
func (h *runnerHealth) watch(pool *interpreter.Pool, r *runner.Runner, server *queue.Server) {
	h.mu.Lock()
	h.pool, h.runner, h.server = pool, r, server
	h.mu.Unlock()
	h.changed()
}

// changed is called at each change of the pool's health, and of a drain. The runner takes jobs if it can
// start some runtimes, and is not drained; it passes on the jobs of the others one by one.
func (h *runnerHealth) changed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pool == nil {
		return
	}
	if h.able() != nil || h.runner.Drained() {
		h.server.Pause()
	} else {
		h.server.Resume()
	}
	h.runner.HealthChanged()
}

// able returns why no interpreter of any runtime can be started; nil if one can. It is called with
// mu held.
func (h *runnerHealth) able() error {
	var reason error
	for _, err := range h.pool.Health() {
		if err == nil {
			return nil
		}
		reason = err
	}
	return reason
}

// ready returns why the runner's interpreters are not ready; nil if they are.
func (h *runnerHealth) ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pool == nil {
		return nil
	}
	return h.able()
}
