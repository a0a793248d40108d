package app

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// TestBudgetsAreLent: a stage has what earlier ones left, up to a bound, and all end within the sum of the budgets.
func TestBudgetsAreLent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		takes := func(d time.Duration) func(context.Context) error {
			return func(ctx context.Context) error {
				select {
				case <-time.After(d):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		log := slog.New(slog.DiscardHandler)
		began := time.Now()
		if err := drain(t.Context(), log, []stage{{"quick", 30 * time.Second, takes(0)}, {"slow", time.Second, takes(4 * time.Second)}}); err != nil {
			t.Error(err)
		}
		if err := drain(t.Context(), log, []stage{{"quick", 30 * time.Second, takes(0)}, {"hangs", time.Second, takes(time.Hour)}}); err == nil {
			t.Error("a stage that hangs is no error")
		}
		if err := drain(t.Context(), log, []stage{{"hangs", time.Second, takes(time.Hour)}, {"slow", time.Second, takes(2 * time.Second)}}); err == nil {
			t.Error("a stage has time that none has left")
		}
		if took := time.Since(began); took != 4*time.Second+6*time.Second+2*time.Second {
			t.Errorf("%s", took)
		}
	})
}
