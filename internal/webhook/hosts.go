package webhook

import (
	"sync"
	"time"
)

const (
	// After badAfter failures in a row a host is skipped for restFor.
	badAfter = 5
	restFor  = 30 * time.Second
	// maxHosts bounds the number of remembered hosts. Beyond it all of them are dropped.
	maxHosts = 4096
)

// hosts remembers the hosts that do not answer, for each owner of webhooks. Each of their webhooks would take a place for
// the whole timeout, and a thousand of them all places for minutes.
type hosts struct {
	mu  sync.Mutex
	bad map[string]*health
}

type health struct {
	failures int
	restTill time.Time
}

func newHosts() *hosts { return &hosts{bad: make(map[string]*health)} }

// mayTry reports whether a host may be called. After a rest one call may go out. The others may
// when it has been answered, or when the following rest is over.
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
