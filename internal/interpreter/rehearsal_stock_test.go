package interpreter_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
)

// stockOfOne is a stock with one simulated worker parked.
func stockOfOne(t *testing.T) *interpreter.Stock {
	t.Helper()
	var stock *interpreter.Stock
	cfg := interpreter.Config{Log: slog.New(slog.DiscardHandler), StartTimeout: time.Minute}
	stock = interpreter.NewStock(t.Context(), cfg, 1, func(context.Context) (*interpreter.Worker, error) { return stock.NewWorker(), nil })
	stock.Start()
	synctest.Wait()
	return stock
}

// A call that gets the worker that takes a step waits for its end, but no longer than it wants to. The worker is for the next call then.
func TestCallThatDoesNotAwaitAStep(t *testing.T) {
	t.Parallel()
	for name, failed := range map[string]error{"the step succeeds": nil, "the step fails": errors.New("chance")} {
		synctest.Test(t, func(t *testing.T) {
			stock := stockOfOne(t)
			defer stock.Close()
			w := stock.BeginStep()
			begun := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if _, err := stock.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 10*time.Second {
				t.Errorf("%s: %v after %s", name, err, time.Since(begun))
			}
			if failed != nil {
				w.Over()
			}
			stock.EndStep(w, 0, failed)
			next, err := stock.Acquire(t.Context())
			if err != nil || !next.Alive() || (next == w) != (failed == nil) {
				t.Errorf("%s: the next call: the same worker %v, %v", name, next == w, err)
			}
		})
	}
}

// A runtime whose rehearsals fail does without for a while, longer each time, and then tries again.
func TestRehearsalsAfterAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stock := stockOfOne(t)
		defer stock.Close()
		fail := func(within time.Duration) {
			t.Helper()
			w := stock.BeginStep()
			if w == nil {
				t.Fatal("no step is to be taken")
			}
			for len(stock.Woken()) > 0 {
				<-stock.Woken()
			}
			w.Over()
			stock.EndStep(w, 0, errors.New("chance"))
			synctest.Wait()
			for len(stock.Woken()) > 0 { // for the next worker
				<-stock.Woken()
			}
			begun := time.Now()
			if stock.BeginStep() != nil {
				t.Fatal("a step right after one that failed")
			}
			<-stock.Woken()
			if took := time.Since(begun); took != within {
				t.Errorf("the next step after %s, want %s", took, within)
			}
		}
		fail(time.Minute)
		fail(2 * time.Minute)
		w := stock.BeginStep()
		stock.EndStep(w, 1, nil)
		fail(4 * time.Minute) // a rehearsal has not succeeded before its last step
		for range 10 {
			w = stock.BeginStep()
			w.Over()
			stock.EndStep(w, 0, errors.New("chance"))
			time.Sleep(time.Hour)
			synctest.Wait()
		}
		fail(time.Hour)
		w = stock.BeginStep()
		stock.EndStep(w, 0, nil)
		if _, err := stock.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		time.Sleep(refill)
		synctest.Wait()
		fail(time.Minute)
	})
}

// refill is longer than a stock waits before it replaces a worker.
const refill = time.Second
