package webhook

import (
	"sync"
	"time"
)

const (
	// badAfter failures in a row a host is left alone for restFor.
	badAfter = 5
	restFor  = 30 * time.Second
	// maxHosts bounds what is remembered; beyond it everything is forgotten.
	maxHosts = 4096
)

// hosts remembers which hosts do not answer. Each of their webhooks would take a
// slot for the whole timeout, and a thousand of them all slots for minutes.
type hosts struct {
	mu  sync.Mutex
	bad map[string]*health
}

type health struct {
	failures int
	restTill time.Time
}

func newHosts() *hosts { return &hosts{bad: make(map[string]*health)} }

// mayTry reports whether a host may be asked. After a rest one may, and the others
// when it has been answered or the rest that follows is over.
func (h *hosts) mayTry(host string, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.bad[host]
	if b == nil || b.failures < badAfter {
		return true
	}
	if now.Before(b.restTill) {
		return false
	}
	b.restTill = now.Add(restFor)
	return true
}

func (h *hosts) failed(host string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.bad[host]
	if b == nil {
		if len(h.bad) >= maxHosts {
			clear(h.bad)
		}
		b = new(health)
		h.bad[host] = b
	}
	b.failures++
	b.restTill = now.Add(restFor)
}

func (h *hosts) answered(host string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.bad, host)
}
