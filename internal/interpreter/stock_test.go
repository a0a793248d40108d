package interpreter_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
)

// trial is a run of a stock with simulated workers, in which chance decides.
type trial struct {
	chance *rand.Rand // guarded by mu
	stock  *interpreter.Stock
	mu     sync.Mutex
	calm   bool // nothing fails any more
	ended  map[*interpreter.Worker]bool
}

// upTo returns a duration below most.
func (tr *trial) upTo(most time.Duration) time.Duration {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return time.Duration(tr.chance.Int64N(int64(most)))
}

// oneIn reports true once in n times, until the trial is calm.
func (tr *trial) oneIn(n int) bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return !tr.calm && tr.chance.IntN(n) == 0
}

// spawn takes a while; and fails, takes long or makes a worker that ends at once, now and then.
func (tr *trial) spawn(ctx context.Context) (*interpreter.Worker, error) {
	takes := tr.upTo(10 * time.Millisecond)
	if tr.oneIn(20) {
		takes = tr.upTo(10 * time.Second)
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if tr.oneIn(4) {
		return nil, errors.New("chance")
	}
	w := tr.stock.NewWorker()
	if tr.oneIn(10) {
		tr.end(w)
	}
	return w, nil
}

// end ends a worker, if it has not ended.
func (tr *trial) end(w *interpreter.Worker) {
	tr.mu.Lock()
	again := tr.ended[w]
	tr.ended[w] = true
	tr.mu.Unlock()
	if !again {
		w.Over()
	}
}

// call acquires workers, with more or less patience, and ends each after a while.
func (tr *trial) call(t *testing.T) {
	t.Helper()
	for range 30 {
		time.Sleep(tr.upTo(20 * time.Millisecond))
		ctx, cancel := context.WithTimeout(t.Context(), tr.upTo(30*time.Millisecond))
		w, err := tr.stock.Acquire(ctx)
		cancel()
		if err == nil {
			time.Sleep(tr.upTo(10 * time.Millisecond))
			tr.end(w)
		}
	}
}

// kill ends parked workers.
func (tr *trial) kill() {
	for range 30 {
		time.Sleep(tr.upTo(20 * time.Millisecond))
		for _, w := range tr.stock.Parked() {
			if tr.oneIn(3) {
				tr.end(w)
			}
		}
	}
}

// A stock comes to rest with all its workers parked, whatever has happened before.
func TestStockIsFullAtRest(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			size := 1 + int(seed%5)
			tr := &trial{chance: rand.New(rand.NewPCG(seed, 0)), ended: map[*interpreter.Worker]bool{}}
			cfg := interpreter.Config{Log: slog.New(slog.DiscardHandler), StartTimeout: time.Minute}
			tr.stock = interpreter.NewStock(t.Context(), cfg, size, tr.spawn)
			defer tr.stock.Close()
			tr.stock.Start()
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() { tr.call(t) })
			}
			wg.Go(tr.kill)
			wg.Wait()
			tr.mu.Lock()
			tr.calm = true
			tr.mu.Unlock()
			time.Sleep(time.Minute) // of the bubble: the slowest spawn and pause are shorter

			parked, alive := tr.stock.Parked(), 0
			for _, w := range parked {
				if w.Alive() {
					alive++
				}
			}
			starting, waiting := tr.stock.Pending()
			if len(parked) != size || alive != size || starting != 0 || waiting != 0 {
				t.Errorf("seed %d: %d parked, %d of them alive, %d starting, %d calls wait; want %d parked", seed, len(parked), alive, starting, waiting, size)
			}
		})
	}
}

// The end of the pool ends the start of its first workers, which is not one of their failures.
func TestStockEndsWhileItStarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := interpreter.Config{Log: slog.New(slog.DiscardHandler), StartTimeout: time.Minute}
		stock := interpreter.NewStock(t.Context(), cfg, 2, func(ctx context.Context) (*interpreter.Worker, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		stock.Start()
		synctest.Wait()
		stock.End()
		synctest.Wait() // the stock is not closed yet
		stock.Close()
	})
}
