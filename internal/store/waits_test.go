package store_test

import (
	"errors"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// expect checks the reason why a job waits.
func (b *bundle) expect(t *testing.T, why, id string, want job.Wait) {
	t.Helper()
	if got, err := b.WaitsFor(t.Context(), id); err != nil || got != want {
		t.Errorf("%s: waits for %q, %v; want %q", why, got, err, want)
	}
}

// TestWaitsForRunners: without a runner for its queue nothing else matters to a job.
func TestWaitsForRunners(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{Window: 1})
	ids, _ := b.createMany(t, 2, of("a"))
	b.expect(t, "no runner", ids[0], job.WaitRunner)
	b.expect(t, "no runner, and held", ids[1], job.WaitRunner)
	b.fleet(t, "other", 4, "low")
	b.expect(t, "a runner of another queue", ids[0], job.WaitRunner)
	b.beat(t, job.Runner{ID: "draining", Concurrency: 4, Queues: []string{"default"}, Draining: true})
	b.expect(t, "a runner that takes no jobs", ids[0], job.WaitRunner)
	b.fleet(t, "r", 4, "default")
	b.expect(t, "a runner of its queue", ids[0], job.WaitSlot)
}

// TestWaitsForOwnJobs: a held job waits for those of its key, an admitted one for a slot.
func TestWaitsForOwnJobs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		config store.Config
	}{
		{"behind its window", store.Config{Window: 2}},
		{"beyond its share", store.Config{Reserve: "2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, tt.config)
			b.fleet(t, "r", 4, "default")
			ids, _ := b.createMany(t, 3, of("a"))
			b.expect(t, "the first", ids[0], job.WaitSlot)
			b.expect(t, "the third", ids[2], job.WaitKey)
			other, _ := b.createMany(t, 1, of("b"))
			b.expect(t, "one of another key", other[0], job.WaitSlot)
			first, second := b.start(t, ids[0], "r"), b.start(t, ids[1], "r")
			b.expect(t, "a running one", ids[0], "")
			b.end(t, first)
			b.end(t, second)
			b.expect(t, "an ended one", ids[0], "")
			b.expect(t, "the third, with nothing before it", ids[2], job.WaitSlot)
		})
	}
}

// TestWaitsForOther: executions of sessions, jobs that are not queued, and those that are not there.
func TestWaitsForOther(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	s := b.openSession(t)
	b.expect(t, "an execution of a session", b.create(t, newJob(inSession(s.ID, ""))), job.WaitSession)
	b.expect(t, "a job that is not due", b.create(t, newJob(scheduled(1<<40))), "")
	if why, err := b.WaitsFor(t.Context(), "018f0000-0000-7000-8000-000000000000"); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("a job that is not there: %q, %v", why, err)
	}
}
