package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// TestSessionShares: callers who share the runners get no more sessions than are left for the
// others, by opening or by copying.
func TestSessionShares(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	of := func(caller string, shares bool) func(*job.NewSession) {
		return func(n *job.NewSession) {
			n.Caller, n.Shares, n.Candidates = caller, shares, []job.Candidate{{Runner: "r", Most: 8, Runtime: "python"}}
		}
	}
	// fill opens all that a caller gets, and tells for how many, and whose the limit was.
	fill := func(caller string) (n int, ofCaller bool) {
		for {
			draft := job.NewSession{Session: job.Session{ID: newID(), IdleTimeout: time.Hour, MaxAge: time.Hour}}
			of(caller, true)(&draft)
			_, err := b.OpenSession(t.Context(), draft)
			if err == nil {
				n++
				continue
			}
			full, ok := errors.AsType[*job.SessionsFullError](err)
			if !ok || n > 8 {
				t.Fatalf("after %d: %v", n, err)
			}
			return n, full.OfCaller
		}
	}
	one := b.openSession(t, of("copies", true))
	copies := func(n int) (ids []string) {
		for range n {
			ids = append(ids, newID())
		}
		return ids
	}
	if err := b.ForkSession(t.Context(), one.ID, "r", 8, job.SessionBounds{}, copies(4)); !errors.Is(err, job.ErrTooManySessions) {
		t.Errorf("five sessions of eight by copying: %v", err)
	}
	own := copies(2)
	if err := b.ForkSession(t.Context(), one.ID, "r", 8, job.SessionBounds{}, own); err != nil {
		t.Errorf("three sessions of eight by copying: %v", err)
	}
	if err := b.ForkSession(t.Context(), own[0], "r", 8, job.SessionBounds{}, copies(2)); !errors.Is(err, job.ErrTooManySessions) {
		t.Errorf("five sessions of eight by copies of copies: %v", err)
	}
	got := map[string]int{"copies": 3}
	for _, caller := range []string{"a", "b", "c", "d"} {
		n, ofCaller := fill(caller)
		got[caller] = n
		if ofCaller != (caller == "a" || caller == "b") {
			t.Errorf("%s gets %d, by a limit of its own: %v", caller, n, ofCaller)
		}
	}
	if diff := cmp.Diff(map[string]int{"copies": 3, "a": 3, "b": 1, "c": 1, "d": 0}, got); diff != "" {
		t.Errorf("sessions (-want +got):\n%s", diff)
	}
}

// TestSessionSharesEvict: where all is taken, callers push out their own sessions, and those of
// callers that have more; never those of callers that have as few.
func TestSessionSharesEvict(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{EvictAfter: time.Millisecond})
	var opened []job.Session
	var callers []string
	open := func(caller string) {
		opened = append(opened, b.openSession(t, func(n *job.NewSession) {
			n.Caller, n.Shares, n.Candidates = caller, true, []job.Candidate{{Runner: "r", Most: 4, Runtime: "python"}}
		}))
		callers = append(callers, caller)
		<-time.After(5 * time.Millisecond) // by Redis's clock
	}
	for _, caller := range []string{"a", "a", "b", "c"} { // all that there are
		open(caller)
	}
	for _, caller := range []string{"c", "a", "d", "d"} {
		open(caller)
	}
	var got string
	for i, s := range opened {
		now, err := b.Session(t.Context(), s.ID, job.Viewer{Caller: callers[i]})
		if err != nil {
			t.Fatal(err)
		}
		got += callers[i] + ":" + string(now.State) + " "
	}
	const want = "a:ended a:ended b:idle c:ended c:idle a:idle d:ended d:idle "
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
