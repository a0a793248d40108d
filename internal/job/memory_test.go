package job_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// TestHold: a caller has at most half, all have at most all, and who waits goes on when
// somebody lets go.
func TestHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := job.NewMemory(100)
		hold := func(caller string, n int64) (release func(), err error) {
			h := m.For(caller)
			return h.Release, job.Hold(h.In(t.Context()), n)
		}
		first, err := hold("a", 1000) // counts as much as one may have
		if err != nil || m.Held() != 50 {
			t.Fatalf("%v, %d held", err, m.Held())
		}
		if _, err := hold("a", 1); !errors.Is(err, job.ErrNoMemory) {
			t.Errorf("beyond the half: %v", err)
		}
		second, err := hold("b", 40)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := hold("c", 11); !errors.Is(err, job.ErrNoMemory) {
			t.Errorf("beyond all: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := job.Hold(m.For("c").In(ctx), 11); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("of a caller who leaves: %v", err)
		}
		go func() {
			time.Sleep(time.Second)
			first()
			first() // is nothing
		}()
		third, err := hold("c", 11)
		if err != nil {
			t.Errorf("after somebody has let go: %v", err)
		}
		h := m.For("d")
		if err := job.Hold(h.In(t.Context()), 40); err != nil {
			t.Error(err)
		}
		job.Let(h.In(t.Context()), 15)
		if m.Held() != 40+11+25 {
			t.Errorf("%d held", m.Held())
		}
		h.Release()
		second()
		third()
		if m.Held() != 0 {
			t.Errorf("%d held in the end", m.Held())
		}
	})
}

// TestHoldWithoutLimit: so do those who were given no memory.
func TestHoldWithoutLimit(t *testing.T) {
	t.Parallel()
	var none *job.Memory
	tight := job.NewMemory(10)
	first, second := tight.For("a").In(t.Context()), tight.For("a").In(t.Context())
	if !job.TryHold(t.Context(), 1<<60) || !job.TryHold(first, 5) || job.TryHold(second, 1) || tight.Held() != 5 {
		t.Errorf("tried for more than there is: %d held", tight.Held())
	}
	for _, ctx := range []context.Context{t.Context(), job.NewMemory(0).For("a").In(t.Context()), none.For("a").In(t.Context())} {
		if err := job.Hold(ctx, 1<<60); err != nil {
			t.Error(err)
		}
		job.Let(ctx, 1)
	}
}

// TestHoldInOneRequest: one request holds one thing more than its caller may at most, and what it holds apart is given back.
func TestHoldInOneRequest(t *testing.T) {
	t.Parallel()
	m := job.NewMemory(100)
	h := m.For("a")
	ctx := h.In(t.Context())
	for _, step := range []struct {
		n, held int64
		full    bool
	}{{30, 30, false}, {30, 50, false}, {0, 50, false}, {1, 50, true}} {
		if err := job.Hold(ctx, step.n); errors.Is(err, job.ErrNoMemory) != step.full || m.Held() != step.held {
			t.Errorf("%d more: %v, %d held", step.n, err, m.Held())
		}
	}
	if job.TryHold(ctx, 1) || !job.TryHold(ctx, 0) || m.Held() != 50 {
		t.Errorf("a request that holds its half tried for more: %d held", m.Held())
	}
	if err := job.HoldAtLeast(ctx, 1000); err != nil || m.Held() != 50 {
		t.Errorf("at least 1000: %v, %d held", err, m.Held())
	}
	job.Let(ctx, 40)
	if err := job.HoldAtLeast(ctx, 20); err != nil || m.Held() != 20 {
		t.Errorf("at least 20 beside 10: %v, %d held", err, m.Held())
	}
	if err := job.HoldAtLeast(ctx, 5); err != nil || m.Held() != 20 {
		t.Errorf("at least 5 beside 20: %v, %d held", err, m.Held())
	}
	for range 3 { // which are more than the half together
		apart, release := job.HoldApart(ctx)
		if err := job.Hold(apart, 25); err != nil || m.Held() != 45 {
			t.Errorf("apart: %v, %d held", err, m.Held())
		}
		release()
	}
	apart, release := job.HoldApart(t.Context())
	if err := job.Hold(apart, 1<<60); err != nil {
		t.Error(err)
	}
	release()
	if h.Release(); m.Held() != 0 {
		t.Errorf("%d held in the end", m.Held())
	}
}
