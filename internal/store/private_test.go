package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// TestPrivateListings: what a session executes is listed for its owner and for who may see all, in
// every state, on whole pages, and is forgotten with its record.
func TestPrivateListings(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	s := b.openSession(t)
	public := b.create(t, newJob())
	private := []string{b.create(t, newJob(inSession(s.ID, ""))), b.create(t, newJob(inSession(s.ID, "")))}
	b.create(t, newJob(inSession(s.ID, job.OpRestart)))
	mine, other, all := job.Viewer{Caller: "me"}, job.Viewer{Caller: "other"}, job.Viewer{All: true}
	check := func(when string, f job.Filter, want int) {
		t.Helper()
		f.Limit = 10
		jobs, next, err := b.List(t.Context(), f)
		if err != nil || len(jobs) != want || next != "" {
			t.Errorf("%s, %+v: %d jobs, next %q, %v; want %d", when, f, len(jobs), next, err, want)
		}
	}
	check("waiting", job.Filter{Viewer: mine}, 3)
	check("waiting", job.Filter{Viewer: all}, 3)
	check("waiting", job.Filter{Viewer: other}, 1)
	check("waiting", job.Filter{Viewer: other, Queue: job.SessionQueue}, 0)
	check("a listing that is not his", job.Filter{Viewer: other, Queue: "sessions:of:me"}, 0)
	for _, v := range []job.Viewer{mine, other, all} {
		check("operations", job.Filter{Viewer: v, Queue: job.OperationQueue}, 0)
	}
	// Strangers' pages are as full as if there were nothing private.
	jobs, next, err := b.List(t.Context(), job.Filter{Viewer: other, Limit: 1})
	if err != nil || len(jobs) != 1 || jobs[0].ID != public || next != "" {
		t.Errorf("a page: %+v, next %q, %v", jobs, next, err)
	}

	c, err := b.NextInSession(t.Context(), s.ID, job.LaneDefault, "r", false)
	if err != nil {
		t.Fatal(err)
	}
	check("running", job.Filter{Viewer: mine, State: job.Running}, 1)
	check("running", job.Filter{Viewer: other, State: job.Running}, 0)
	if _, _, err := b.FinishInSession(t.Context(), *c, job.Outcome{State: job.Completed, Result: result()}); err != nil {
		t.Fatal(err)
	}
	check("ended", job.Filter{Viewer: mine, State: job.Completed}, 1)
	if err := b.CloseSession(t.Context(), s.ID, other, job.SessionEnd{Reason: job.EndDeleted}); !errors.Is(err, job.ErrNoSession) {
		t.Errorf("a stranger ends the session: %v", err)
	}
	if err := b.CloseSession(t.Context(), s.ID, all, job.SessionEnd{Reason: job.EndDeleted}); err != nil {
		t.Errorf("who may do so cannot end the session: %v", err)
	}
	check("failed", job.Filter{Viewer: mine, State: job.Failed}, 1)
	check("failed", job.Filter{Viewer: other, State: job.Failed}, 0)

	// The tombstone says whose it was.
	for _, id := range private {
		b.expire(t, id)
	}
	var gone *job.PrivateGoneError
	if _, err := b.Get(t.Context(), private[0]); !errors.As(err, &gone) || gone.Owner != "me" || !errors.Is(err, job.ErrGone) {
		t.Errorf("after its end: %v", err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := b.Sweep(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
		n, err := b.rdb.ZCard(t.Context(), "{kaa}:jobs:sessions:of:me:completed").Result()
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%d are listed yet, %v", n, err)
		}
		if n == 0 {
			return
		}
	}
}
