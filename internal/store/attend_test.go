package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

func awaited(by string) func(*job.NewJob) { return func(n *job.NewJob) { n.Subscriber = by } }

// TestUnattended: the jobs of a process that is not there any more are ended, in
// whatever state they are; no others.
func TestUnattended(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	queued := b.create(t, newJob(awaited("dead")))
	running := b.create(t, newJob(awaited("dead")))
	claim := b.claim(t, running)
	ended := b.create(t, newJob(awaited("dead")))
	if err := b.Finish(t.Context(), b.claim(t, ended), job.Outcome{State: job.Completed, Result: result()}); err != nil {
		t.Fatal(err)
	}
	others := []string{b.create(t, newJob()), b.create(t, newJob(awaited("alive")))}

	if rescued, lapsed, err := b.rescue(t); err != nil || lapsed || len(rescued) != 0 {
		t.Fatalf("all are alive: %v, %t, %v", rescued, lapsed, err)
	}
	if err := b.rdb.Del(t.Context(), "{kaa}:waiter:dead").Err(); err != nil { // as if its lease had lapsed
		t.Fatal(err)
	}
	rescued, lapsed, err := b.rescue(t)
	if err != nil || lapsed || len(rescued) != 2 {
		t.Fatalf("rescued %v, a runner lapsed: %t, %v", rescued, lapsed, err)
	}
	for _, r := range rescued {
		if want := map[string]job.State{queued: job.Cancelled, running: job.Running}[r.JobID]; !r.Unattended || r.State != want {
			t.Errorf("rescued %+v", r)
		}
	}
	if j := b.get(t, queued); j.State != job.Cancelled || j.Failure == nil || j.Failure.Code != job.FailWaiterLost {
		t.Errorf("the queued job: %+v", j)
	}
	if cancelled, _, _, err := b.Revoked(t.Context(), []job.Claim{claim}); err != nil || len(cancelled) != 1 {
		t.Errorf("the running job is not to be cancelled: %v", err)
	}
	if j := b.get(t, ended); j.State != job.Completed {
		t.Errorf("the ended job: %+v", j)
	}
	for _, id := range others {
		if j := b.get(t, id); j.State != job.Queued {
			t.Errorf("a job of somebody else: %+v", j)
		}
	}
	if keys := b.rdb.Keys(t.Context(), "{kaa}:waiter:dead*").Val(); len(keys) != 0 {
		t.Errorf("left: %v", keys)
	}
}

// TestLapses: who has lapsed is told apart, since a lost runner costs more.
func TestLapses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name           string
		gone           []string
		lapsed, waiter bool
	}{
		{"nobody", nil, false, false},
		{"runner", []string{"{kaa}:runner:runner-1"}, true, false},
		{"waiter", []string{"{kaa}:waiter:w"}, false, true},
		{"both", []string{"{kaa}:runner:runner-1", "{kaa}:waiter:w"}, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, store.Config{})
			id := b.create(t, newJob(awaited("w")))
			if len(tt.gone) > 0 {
				b.rdb.Del(t.Context(), tt.gone...)
			}
			_, lapsed, err := b.rescue(t)
			if err != nil || lapsed != tt.lapsed || (b.get(t, id).State == job.Cancelled) != tt.waiter {
				t.Errorf("lapsed %t, %v; the job is %s", lapsed, err, b.get(t, id).State)
			}
		})
	}
}

// TestAttend: a lease lasts as long as it is renewed.
func TestAttend(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{RunnerTTL: time.Hour})
	id := b.create(t, newJob(awaited("w")))
	const lease = "{kaa}:waiter:w"
	b.rdb.PExpire(t.Context(), lease, time.Minute) // most of it is over
	if err := b.Attend(t.Context(), "w"); err != nil {
		t.Fatal(err)
	}
	if left := b.rdb.PTTL(t.Context(), lease).Val(); left <= time.Minute {
		t.Errorf("renewed, it lasts %s more", left)
	}
	if _, _, err := b.rescue(t); err != nil || b.get(t, id).State != job.Queued {
		t.Errorf("attended, and its job is %s (%v)", b.get(t, id).State, err)
	}
	b.rdb.Del(t.Context(), lease) // it is over
	if _, _, err := b.rescue(t); err != nil || b.get(t, id).State != job.Cancelled {
		t.Errorf("not attended, and its job is %s (%v)", b.get(t, id).State, err)
	}
	// One that comes back is known again.
	if err := b.Attend(t.Context(), "w"); err != nil || !b.rdb.SIsMember(t.Context(), "{kaa}:waiters", "waiter:w").Val() {
		t.Errorf("not registered again: %v", err)
	}
}

// TestLapsedWithAListThatIsOld: a process whose lease lapses after the list was read is found, and one that was
// written off is not found again.
func TestLapsedWithAListThatIsOld(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{KeepLeased: time.Hour})
	if err := b.Beat(t.Context(), job.Runner{ID: "dies"}); err != nil {
		t.Fatal(err)
	}
	looks := func(want ...string) {
		t.Helper()
		if lapsed, err := b.Lapsed(t.Context(), b.runner); err != nil || !slices.Equal(lapsed, want) {
			t.Fatalf("lapsed: %v, %v, want %v", lapsed, err, want)
		}
	}
	looks()
	if err := b.Leave(t.Context(), "dies"); err != nil { // as if its heartbeat had lapsed
		t.Fatal(err)
	}
	looks("dies")
	if _, runner, err := b.Rescue(t.Context(), "dies"); err != nil || !runner {
		t.Fatalf("a runner was rescued: %t, %v", runner, err)
	}
	looks()
}
