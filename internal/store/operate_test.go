package store_test

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// TestClaimsOfPausedQueues: a task that a runner has already taken does not begin either, and uses up no
// attempt.
func TestClaimsOfPausedQueues(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	b.fleet(t, "r", 4, "default")
	id, due := b.create(t, newJob()), b.create(t, newJob(scheduled(-1)))
	other := b.create(t, newJob(func(n *job.NewJob) { n.Job.Queue = "other" }))
	for range 2 { // twice is once
		if err := b.PauseQueue(t.Context(), "default"); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{id, due} {
		if _, err := b.Claim(t.Context(), id, b.runner, "s"); !errors.Is(err, job.ErrPaused) {
			t.Errorf("claim: %v", err)
		}
	}
	b.expect(t, "paused", id, job.WaitPaused)
	b.claim(t, other)
	if paused, err := b.PausedQueues(t.Context()); err != nil || len(paused) != 1 || paused["default"].IsZero() {
		t.Errorf("%v, %v", paused, err)
	}
	for range 2 {
		if err := b.UnpauseQueue(t.Context(), "default"); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{id, due} {
		if c := b.claim(t, id); c.Attempt != 1 {
			t.Errorf("attempt %d", c.Attempt)
		}
	}
}

// TestPausedExecutionsOfSessions: operations go on, executions wait for the end of the pause, of which
// runners are told.
func TestPausedExecutionsOfSessions(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{})
	s := b.openSession(t)
	operation, second := b.create(t, newJob(inSession(s.ID, "fork"))), b.create(t, newJob(inSession(s.ID, "")))
	if err := b.PauseQueue(t.Context(), job.SessionQueue); err != nil {
		t.Fatal(err)
	}
	c, err := b.NextInSession(t.Context(), s.ID, job.LaneDefault, "r", true)
	if err != nil || c == nil || c.JobID != operation {
		t.Fatalf("%+v, %v", c, err)
	}
	if next, ask, err := b.FinishInSession(t.Context(), *c, job.Outcome{State: job.Completed, Data: []byte("1")}); next != nil || ask || err != nil {
		t.Errorf("behind the operation: %+v, %v, %v", next, ask, err)
	}
	if next, err := b.NextInSession(t.Context(), s.ID, job.LaneDefault, "r", true); next != nil || err != nil {
		t.Errorf("paused: %+v, %v", next, err)
	}
	if _, ready, err := b.SessionsOf(t.Context(), "r"); err != nil || len(ready) != 1 {
		t.Errorf("the runner would not ask again: %v, %v", ready, err)
	}
	heard := make(messages, 10)
	l, err := b.ListenRunner(t.Context(), "r", heard, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := b.UnpauseQueue(t.Context(), job.SessionQueue); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != "ready "+s.ID {
		t.Errorf("the runner is told %q", got)
	}
	if next, err := b.NextInSession(t.Context(), s.ID, job.LaneDefault, "r", true); err != nil || next == nil || next.JobID != second {
		t.Errorf("after the pause: %+v, %v", next, err)
	}
}

// TestDrainRunner: a runner is told of its drain, the list shows it, and a lost one is forgotten.
func TestDrainRunner(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{})
	heard := make(messages, 10)
	l, err := b.ListenRunner(t.Context(), b.runner, heard, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for _, on := range []bool{true, false, true} {
		if err := b.DrainRunner(t.Context(), b.runner, on); err != nil {
			t.Fatal(err)
		}
		if got := <-heard; got != "drain" {
			t.Errorf("told %q", got)
		}
		drained, err := b.Drained(t.Context(), b.runner)
		runners, listErr := b.Runners(t.Context())
		if err != nil || listErr != nil || drained != on || runners[0].Drained != on {
			t.Errorf("%v: %v, %v, %+v, %v", on, drained, err, runners, listErr)
		}
	}
	if err := b.DrainRunner(t.Context(), "unknown", true); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
	if err := b.Leave(t.Context(), b.runner); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.rescue(t); err != nil {
		t.Fatal(err)
	}
	if drained, err := b.Drained(t.Context(), b.runner); drained || err != nil {
		t.Errorf("of a lost runner: %v, %v", drained, err)
	}
}
