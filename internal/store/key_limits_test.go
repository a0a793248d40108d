package store_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

func running(most int) func(*job.NewJob) { return func(n *job.NewJob) { n.MostRunning = most } }

// TestConcurrencyOfKey: no more jobs of a caller run than the key of the next one allows, on whichever queue, with
// slots left to others and without. Each end lets one follow; another caller is not concerned.
func TestConcurrencyOfKey(t *testing.T) {
	t.Parallel()
	for name, reserve := range map[string]string{"alone": "", "shared": store.ReserveAuto} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, store.Config{Reserve: reserve, OutboxDelay: time.Hour})
			b.fleet(t, "r", 16, "default", "low")
			ids, held := b.createMany(t, 6, of("@a"), running(2))
			if held != 4 {
				t.Errorf("%d of 6 are held, want 4", held)
			}
			low, held := b.createMany(t, 1, of("@a"), onLow, running(2))
			if held != 0 {
				t.Error("the first on another queue is held; claims decide")
			}
			claims := []job.Claim{b.start(t, ids[0], "r"), b.start(t, ids[1], "r")}
			b.refused(t, low[0], "r")
			if why, err := b.WaitsFor(t.Context(), ids[2]); err != nil || why != job.WaitKey {
				t.Errorf("the next one waits for %q, %v", why, err)
			}
			if other, held := b.createMany(t, 3, of("@b"), running(3)); held != 0 {
				t.Errorf("%d of another caller are held", held)
			} else {
				b.start(t, other[0], "r")
			}
			b.end(t, claims[0])
			due := b.due(t)
			if want := []string{ids[2], low[0]}; len(due) == 0 || slices.ContainsFunc(due, func(id string) bool { return !slices.Contains(want, id) }) {
				t.Errorf("due after an end: %v, want some of %v", due, want)
			}
			b.start(t, due[0], "r")
			b.refused(t, ids[3], "r")
			// A key of the same caller that allows more.
			more, _ := b.createMany(t, 1, of("@a"), onHigh, running(3))
			b.start(t, more[0], "r")
			// And one without a limit.
			unbounded, _ := b.createMany(t, 1, of("@a"), onHigh)
			b.start(t, unbounded[0], "r")
		})
	}
}

func onHigh(n *job.NewJob) { n.Job.Queue = "high" }

// TestConcurrencyDrains: all jobs of a key with a limit run, one after the other, and nothing is left behind.
func TestConcurrencyDrains(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{Reserve: store.ReserveAuto, OutboxDelay: time.Millisecond})
	b.fleet(t, "r", 16, "default")
	ids, _ := b.createMany(t, 7, of("@a"), running(1))
	for left := slices.Clone(ids); len(left) > 0; {
		<-time.After(2 * time.Millisecond)
		due := b.due(t)
		if len(due) != 1 {
			t.Fatalf("due: %v, of %v", due, left)
		}
		claim := b.start(t, due[0], "r")
		for _, id := range left {
			if id != due[0] {
				b.refused(t, id, "r")
				break
			}
		}
		b.end(t, claim)
		left = slices.DeleteFunc(left, func(id string) bool { return id == due[0] })
	}
	b.noneLeft(t)
	if n := b.rdb.Exists(t.Context(), "{kaa}:running:@a").Val(); n != 0 {
		t.Error("jobs count as running that have ended")
	}
}

// TestSessionsOfKey: the sessions of a caller are compared with the limit of the key that opens or forks
// another one.
func TestSessionsOfKey(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{MaxCallerSessions: 4})
	open := func(caller string, most int) (string, *job.SessionsFullError) {
		t.Helper()
		n := job.NewSession{
			Session: job.Session{ID: newID(), IdleTimeout: time.Minute, MaxAge: time.Hour}, Caller: caller, SessionBounds: job.SessionBounds{MostOwn: most},
			Candidates: []job.Candidate{{Runner: "r", Most: 20, Runtime: "python"}},
		}
		_, err := b.OpenSession(t.Context(), n)
		full, _ := errors.AsType[*job.SessionsFullError](err)
		if err != nil && full == nil {
			t.Fatal(err)
		}
		return n.Session.ID, full
	}
	b.beat(t, job.Runner{ID: "r"})
	open("@a", 2)
	for i, tt := range []struct {
		caller string
		most   int
		want   *job.SessionsFullError
	}{
		{"@a", 2, nil},
		{"@a", 2, &job.SessionsFullError{OfCaller: true, OfKey: true, Used: 2, Limit: 2}},
		{"@b", 2, nil},
		{"@a", 3, nil},
		{"@a", 9, nil},
		{"@a", 9, &job.SessionsFullError{OfCaller: true, Used: 4, Limit: 4}},
	} {
		if _, full := open(tt.caller, tt.most); !cmp.Equal(tt.want, full) {
			t.Errorf("%d: %+v, want %+v", i, full, tt.want)
		}
	}
	second, _ := open("@c", 0)
	for i, tt := range []struct {
		most, copies int
		want         *job.SessionsFullError
	}{
		{2, 2, &job.SessionsFullError{OfCaller: true, OfKey: true, Used: 1, Limit: 2}},
		{2, 1, nil},
		{2, 1, &job.SessionsFullError{OfCaller: true, OfKey: true, Used: 2, Limit: 2}},
		{0, 3, &job.SessionsFullError{OfCaller: true, Used: 2, Limit: 4}},
		{0, 2, nil},
	} {
		ids := make([]string, tt.copies)
		for i := range ids {
			ids[i] = newID()
		}
		err := b.ForkSession(t.Context(), second, "r", 20, job.SessionBounds{MostOwn: tt.most}, ids)
		if full, _ := errors.AsType[*job.SessionsFullError](err); !cmp.Equal(tt.want, full) {
			t.Errorf("fork %d: %v, want %+v", i, err, tt.want)
		}
	}
}
