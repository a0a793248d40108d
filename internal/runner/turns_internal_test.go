package runner

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
)

// TestTurns: callers take turns, one that gives up costs nothing, and no turn is lost.
func TestTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns, order := newTurns(2), make(chan string, 20)
		must := func(err error) {
			if err != nil {
				t.Error(err)
			}
		}
		must(turns.take(t.Context(), "large"))
		must(turns.take(t.Context(), "large"))
		wait := func(ctx context.Context, caller string) {
			go func() {
				if err := turns.take(ctx, caller); err != nil {
					order <- "gave up"
					return
				}
				order <- caller
			}()
			synctest.Wait()
		}
		for range 3 {
			wait(t.Context(), "large")
		}
		ctx, giveUp := context.WithCancel(t.Context())
		wait(ctx, "small")
		wait(t.Context(), "small")
		wait(ctx, "other")
		giveUp()
		synctest.Wait()
		for range 4 {
			turns.give()
			synctest.Wait()
		}
		close(order)
		var got []string
		for caller := range order {
			got = append(got, caller)
		}
		want := []string{"gave up", "gave up", "large", "small", "large", "large"}
		if !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		turns.give()
		turns.give()
		if turns.free != 2 || len(turns.order) != 0 || len(turns.waiting) != 0 {
			t.Errorf("left: %+v", turns)
		}
		// A turn that comes while its caller gives up goes to the next.
		must(turns.take(t.Context(), "a"))
		must(turns.take(t.Context(), "a"))
		late, end := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- turns.take(late, "b") }()
		synctest.Wait()
		end()
		turns.give()
		if err := <-done; err == nil {
			turns.give()
		} else if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		turns.give()
		if turns.free != 2 {
			t.Errorf("%d are free, want 2", turns.free)
		}
	})
}
