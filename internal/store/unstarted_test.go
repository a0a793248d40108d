package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// TestUnclaim: a claim that is taken back uses up no attempt and no time in the queue, and is
// worth nothing any more; a cancel that came meanwhile is kept.
func TestUnclaim(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	id := b.create(t, newJob())
	queued := b.get(t, id).QueuedAt
	c := b.claim(t, id)
	for range 2 { // sent twice
		if state, err := b.Unclaim(t.Context(), c); state != job.Queued || err != nil {
			t.Fatalf("%s, %v", state, err)
		}
	}
	if j := b.get(t, id); j.Attempt != 0 || !j.QueuedAt.Equal(queued) || !j.StartedAt.IsZero() {
		t.Errorf("it is %+v", j)
	}
	b.checkIndex(t, id, job.Queued)
	if err := b.Finish(t.Context(), c, job.Outcome{State: job.Completed, Result: result()}); !errors.Is(err, job.ErrStale) {
		t.Errorf("a claim that was taken back ends the job: %v", err)
	}
	again := b.claim(t, id)
	if again.Attempt != 1 {
		t.Errorf("the next attempt is number %d", again.Attempt)
	}
	if _, err := b.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if state, err := b.Unclaim(t.Context(), again); state != job.Cancelled || err != nil {
		t.Errorf("after a cancel: %s, %v", state, err)
	}
	b.checkIndex(t, id, job.Cancelled)
}

// TestUnstarted: a job fails when it could not be started for so long, counted from the first
// time.
func TestUnstarted(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	id := b.create(t, newJob())
	f := job.Failure{Code: job.FailStart, Message: "m"}
	for _, after := range []time.Duration{time.Hour, 0} {
		if state, _, err := b.Unstarted(t.Context(), id, after, f); state != job.Queued || err != nil {
			t.Fatalf("after %s: %s, %v", after, state, err)
		}
	}
	if err := b.rdb.HIncrBy(t.Context(), "{kaa}:job:"+id, "unstarted_at", -time.Minute.Milliseconds()).Err(); err != nil {
		t.Fatal(err)
	}
	state, since, err := b.Unstarted(t.Context(), id, 0, f)
	if state != job.Queued || since < time.Minute || err != nil {
		t.Errorf("never: %s after %s, %v", state, since, err)
	}
	if state, _, err := b.Unstarted(t.Context(), id, time.Minute, f); state != job.Failed || err != nil {
		t.Errorf("after a minute: %s, %v", state, err)
	}
	if j := b.get(t, id); j.Failure == nil || *j.Failure != f {
		t.Errorf("it failed with %+v", j.Failure)
	}
}

// TestMoveSession: a session moves with all that it has to do, in its order, to a runner that
// lives and has room.
func TestMoveSession(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	full, dead, drains, other := uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString()
	for _, r := range []string{full, other} {
		if err := b.Beat(t.Context(), job.Runner{ID: r}); err != nil {
			t.Fatal(err)
		}
	}
	b.beat(t, job.Runner{ID: drains, Draining: true})
	session := uuid.NewString()
	_, err := b.OpenSession(t.Context(), job.NewSession{
		Session: job.Session{ID: session, IdleTimeout: time.Minute, MaxAge: time.Hour}, Candidates: []job.Candidate{{Runner: b.runner, Most: 1, Runtime: "py"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for range 3 {
		n := newJob()
		n.Job.Queue, n.Job.SessionID, n.Job.InSession = job.SessionQueue, session, true
		ids = append(ids, b.create(t, n))
	}
	c, err := b.NextInSession(t.Context(), session, job.LaneDefault, b.runner, false)
	if err != nil || c == nil || c.JobID != ids[0] {
		t.Fatalf("claimed %+v, %v", c, err)
	}
	if moved, err := b.MoveSession(t.Context(), *c, []job.Candidate{{Runner: full}, {Runner: dead, Most: 9}, {Runner: drains, Most: 9}, {Runner: b.runner, Most: 9}}); moved || err != nil {
		t.Fatalf("it moved to nobody: %t, %v", moved, err)
	}
	for range 2 { // sent twice
		if moved, err := b.MoveSession(t.Context(), *c, []job.Candidate{{Runner: full}, {Runner: other, Most: 1}}); !moved || err != nil {
			t.Fatalf("%t, %v", moved, err)
		}
	}
	if _, err := b.NextInSession(t.Context(), session, job.LaneDefault, b.runner, false); !errors.Is(err, job.ErrSessionEnded) {
		t.Errorf("its old runner still has it: %v", err)
	}
	if moved, err := b.MoveSession(t.Context(), job.Claim{JobID: ids[0], Runner: dead, SessionID: session, Attempt: 1}, []job.Candidate{{Runner: full, Most: 9}}); !errors.Is(err, job.ErrStale) {
		t.Errorf("somebody else moved it: %t, %v", moved, err)
	}
	for _, id := range ids {
		c, err := b.NextInSession(t.Context(), session, job.LaneDefault, other, false)
		if err != nil || c == nil || c.JobID != id || c.Attempt != 1 {
			t.Fatalf("claimed %+v, %v, want %s", c, err, id)
		}
		if _, _, err := b.FinishInSession(t.Context(), *c, job.Outcome{State: job.Failed}); err != nil {
			t.Fatal(err)
		}
		b.checkOneListing(t, id, job.Failed)
	}
}

// checkOneListing checks that a job is in the listing of its state and in no other.
func (b *bundle) checkOneListing(t *testing.T, id string, state job.State) {
	t.Helper()
	for _, s := range job.States() {
		in := b.rdb.ZScore(t.Context(), "{kaa}:jobs:"+job.SessionQueue+":"+string(s), id).Err() == nil
		if in != (s == state) {
			t.Errorf("%s is in the listing of %s: %t", id, s, in)
		}
	}
}
