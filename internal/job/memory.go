package job

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// ErrNoMemory means that the process holds as much as it may, and went on doing so for a while.
var ErrNoMemory = errors.New("the process holds as many bytes of results as it may")

// holdPatience is how long somebody waits until others have let go.
const holdPatience = 10 * time.Second

// Memory bounds what the requests of a process hold at once of things that are large and that
// only Redis knows the size of, such as results. One caller has at most half of it.
type Memory struct {
	most int64 // 0 is no limit

	mu   sync.Mutex
	held int64
	of   map[string]int64 // by caller
	free chan struct{}    // closed when somebody lets go
}

// NewMemory returns one of so many bytes; 0 is no limit.
func NewMemory(most int64) *Memory {
	return &Memory{most: most, of: make(map[string]int64), free: make(chan struct{})}
}

// Held is how many bytes are in use.
func (m *Memory) Held() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held
}

// take returns a channel to wait on if there is not as much.
func (m *Memory) take(caller string, n int64) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held+n > m.most || m.of[caller]+n > m.most/2 {
		return m.free
	}
	m.held += n
	m.of[caller] += n
	return nil
}

func (m *Memory) give(caller string, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held -= n
	if m.of[caller] -= n; m.of[caller] <= 0 {
		delete(m.of, caller)
	}
	close(m.free)
	m.free = make(chan struct{})
}

// Holding is what one request holds, of a Memory.
type Holding struct {
	of     *Memory
	caller string

	mu sync.Mutex
	n  int64
}

// For returns the holding of a request of a caller. A nil Memory has no limit.
func (m *Memory) For(caller string) *Holding { return &Holding{of: m, caller: caller} }

type holdingKey struct{}

// In returns a context whose calls of Hold count for this holding.
func (h *Holding) In(ctx context.Context) context.Context {
	return context.WithValue(ctx, holdingKey{}, h)
}

// Release lets all go. It may be called again.
func (h *Holding) Release() { h.let(math.MaxInt64) }

func (h *Holding) let(n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n = min(n, h.n); n > 0 {
		h.of.give(h.caller, n)
		h.n -= n
	}
}

// Hold says that n more bytes are to be held for the request that ctx is of. It waits for them, for
// a while; then it is ErrNoMemory. What is larger than all that one may have counts as much as that.
func Hold(ctx context.Context, n int64) error {
	h, ok := ctx.Value(holdingKey{}).(*Holding)
	if !ok || h.of == nil || h.of.most == 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n = min(n, h.of.most/2-h.n); n <= 0 {
		return nil
	}
	over := time.NewTimer(holdPatience)
	defer over.Stop()
	for {
		free := h.of.take(h.caller, n)
		if free == nil {
			h.n += n
			return nil
		}
		select {
		case <-free:
		case <-over.C:
			return ErrNoMemory
		case <-ctx.Done():
			return fmt.Errorf("wait for memory: %w", ctx.Err())
		}
	}
}

// TryHold is Hold that does not wait; it reports whether there was as much.
func TryHold(ctx context.Context, n int64) bool {
	h, ok := ctx.Value(holdingKey{}).(*Holding)
	if !ok || h.of == nil || h.of.most == 0 {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n = min(n, h.of.most/2-h.n); n <= 0 {
		return true
	}
	if h.of.take(h.caller, n) != nil {
		return false
	}
	h.n += n
	return true
}

// Let says that n bytes of those are not held any more.
func Let(ctx context.Context, n int64) {
	if h, ok := ctx.Value(holdingKey{}).(*Holding); ok {
		h.let(n)
	}
}
