package runner_test

import (
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/runner"
)

// TestDrainIsFollowed: by a message at once, and without one within four heartbeats, there and back.
func TestDrainIsFollowed(t *testing.T) {
	t.Parallel()
	for _, told := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s, changes := new(fakeStore), 0
			r := runner.New(runner.Config{
				Self: job.Runner{ID: "r"}, Records: s, Registry: s, Workers: &fakeWorkers{}, Observer: noObserver{}, Log: slog.New(slog.DiscardHandler),
				DrainChanged: func() { changes++ },
			})
			if err := r.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			within := 8 * time.Second
			if told {
				within = 0
			}
			for _, want := range []bool{true, false} {
				s.mu.Lock()
				s.drained = want
				s.mu.Unlock()
				if told {
					r.DrainChanged()
				}
				<-time.After(within)
				synctest.Wait()
				if r.Drained() != want || r.Draining() != want {
					t.Errorf("told %v: drained is %v, draining %v", told, r.Drained(), r.Draining())
				}
			}
			if err := r.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if want := []string{"says that it drains", "joined", "left"}; changes != 2 || !slices.Equal(slices.Compact(s.did), want) {
				t.Errorf("told %v: %d changes, %q", told, changes, s.did)
			}
		})
	}
}
