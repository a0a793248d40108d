package app

import (
	"sync"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/queue"
	"github.com/kaa-run/kaa/internal/runner"
)

// runnerHealth has a runner take no jobs while it can start no interpreter.
type runnerHealth struct {
	mu     sync.Mutex
	pool   *interpreter.Pool
	runner *runner.Runner
	server *queue.Server
}

// watch begins to look after a runner.
func (h *runnerHealth) watch(pool *interpreter.Pool, r *runner.Runner, server *queue.Server) {
	h.mu.Lock()
	h.pool, h.runner, h.server = pool, r, server
	h.mu.Unlock()
	h.changed()
}

// changed is told of each change of the pool's health. What can be started of some runtimes is
// reason enough to take jobs: those of the others are passed on one by one.
func (h *runnerHealth) changed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pool == nil {
		return
	}
	if h.able() != nil {
		h.server.Pause()
	} else {
		h.server.Resume()
	}
	h.runner.HealthChanged()
}

// able is nil unless no interpreter of any runtime can be started, else why that is. Called
// with mu held.
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

// ready is the readiness of a runner's interpreters.
func (h *runnerHealth) ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pool == nil {
		return nil
	}
	return h.able()
}
