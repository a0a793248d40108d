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
