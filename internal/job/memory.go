package job

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// ErrNoMemory means that the process holds its maximum of bytes, and that no room became free
// while the caller waited.
var ErrNoMemory = errors.New("the process holds as many bytes of results as it may")

// holdDelay is the longest wait for other requests to release memory.
const holdDelay = 10 * time.Second

// Memory bounds the bytes that the requests of a process hold at once of large things whose size
// only Redis knows, such as results. One caller has at most half of it.
type Memory struct {
	most int64 // 0 is no limit

	mu   sync.Mutex
	held int64
	of   map[string]int64 // by caller
	free chan struct{}    // closed when a request releases memory
}

// NewMemory returns a Memory of so many bytes; 0 is no limit.
func NewMemory(most int64) *Memory {
	return &Memory{most: most, of: make(map[string]int64), free: make(chan struct{})}
}

// Held is the number of bytes in use.
func (m *Memory) Held() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held
}

// take takes n bytes, or returns a channel to wait on if there are not as many.
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

// Holding is the part of a Memory that one request holds.
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

// Release releases all of it. It may be called again.
func (h *Holding) Release() { h.let(math.MaxInt64) }

func (h *Holding) let(n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n = min(n, h.n); n > 0 {
		h.of.give(h.caller, n)
		h.n -= n
	}
}

// holdingOf returns the holding of ctx; nil if nothing bounds it.
func holdingOf(ctx context.Context) *Holding {
	h, ok := ctx.Value(holdingKey{}).(*Holding)
	if !ok || h.of == nil || h.of.most == 0 {
		return nil
	}
	return h
}

// part is as much of n bytes as a holding may still take; false if it holds all that a caller may. One thing that is larger than
// that takes what is left: it could never be answered otherwise.
func (h *Holding) part(n int64) (int64, bool) {
	left := h.of.most/2 - h.n
	return min(n, left), n <= 0 || left > 0
}

// Hold takes n more bytes for the request of ctx. It waits for them, for holdDelay at most, and
// then returns ErrNoMemory. More bytes than a caller may still have count as those. A request that holds the maximum of a caller
// already gets ErrNoMemory at once: it would wait for itself.
func Hold(ctx context.Context, n int64) error {
	h := holdingOf(ctx)
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	n, ok := h.part(n)
	if !ok {
		return fmt.Errorf("one request holds all that its caller may: %w", ErrNoMemory)
	}
	return h.wait(ctx, n)
}

// HoldAtLeast takes as many bytes as are missing to n: what the request of ctx holds already is a part of the n bytes, or is dropped
// for them.
func HoldAtLeast(ctx context.Context, n int64) error {
	h := holdingOf(ctx)
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.wait(ctx, min(n, h.of.most/2)-h.n)
}

// wait takes n bytes as soon as there are as many. The caller has locked the holding.
func (h *Holding) wait(ctx context.Context, n int64) error {
	if n <= 0 {
		return nil
	}
	over := time.NewTimer(holdDelay)
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

// TryHold is Hold without waiting. It reports whether there were as many bytes.
func TryHold(ctx context.Context, n int64) bool {
	h := holdingOf(ctx)
	if h == nil {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	n, ok := h.part(n)
	if !ok || n > 0 && h.of.take(h.caller, n) != nil {
		return false
	}
	h.n += max(0, n)
	return true
}

// HoldApart returns a context with a holding of its own for the same caller, and a function that releases it. A request that does many
// things one after the other, such as a socket, takes one for each: what it holds of one does not last.
func HoldApart(ctx context.Context) (context.Context, func()) {
	h := holdingOf(ctx)
	if h == nil {
		return ctx, func() {}
	}
	own := h.of.For(h.caller)
	return own.In(ctx), own.Release
}

// Let releases n bytes of those held.
func Let(ctx context.Context, n int64) {
	if h, ok := ctx.Value(holdingKey{}).(*Holding); ok {
		h.let(n)
	}
}
