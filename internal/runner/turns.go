package runner

import (
	"context"
	"slices"
	"sync"
)

// turns lets a few things be done at once. Callers that wait take turns, so a caller with many sessions makes the others wait for one of
// them each time, and not for all.
type turns struct {
	mu      sync.Mutex
	free    int
	order   []string                   // callers that wait, the next one first
	waiting map[string][]chan struct{} // by caller; closed when it is its turn
}

func newTurns(atOnce int) *turns { return &turns{free: atOnce, waiting: map[string][]chan struct{}{}} }

// take waits for a turn of a caller. Without an error the caller has to give it back.
func (t *turns) take(ctx context.Context, caller string) error {
	t.mu.Lock()
	if t.free > 0 { // then nothing waits
		t.free--
		t.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	if len(t.waiting[caller]) == 0 {
		t.order = append(t.order, caller)
	}
	t.waiting[caller] = append(t.waiting[caller], turn)
	t.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.waiting[caller], turn)
	if i < 0 { // it came meanwhile
		t.passOn()
		return ctx.Err()
	}
	if t.waiting[caller] = slices.Delete(t.waiting[caller], i, i+1); len(t.waiting[caller]) == 0 {
		delete(t.waiting, caller)
		t.order = slices.DeleteFunc(t.order, func(c string) bool { return c == caller })
	}
	return ctx.Err()
}

// give gives a turn back.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.passOn()
}

// passOn gives a turn to the next caller. Its caller holds mu.
func (t *turns) passOn() {
	if len(t.order) == 0 {
		t.free++
		return
	}
	caller := t.order[0]
	t.order = slices.Delete(t.order, 0, 1)
	turn, rest := t.waiting[caller][0], t.waiting[caller][1:]
	if len(rest) == 0 {
		delete(t.waiting, caller)
	} else {
		t.waiting[caller] = rest
		t.order = append(t.order, caller)
	}
	close(turn)
}
