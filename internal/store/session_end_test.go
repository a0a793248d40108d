package store_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// pausing opens a session whose end has come, and which is to be paused then.
func (b *bundle) pausing(t *testing.T) job.Session {
	t.Helper()
	return b.openSession(t, func(n *job.NewSession) {
		n.EndsIn, n.Session.AtEnd = time.Millisecond, &job.PauseArgs{Most: time.Minute, AutoResume: true}
	})
}

func (b *bundle) session(t *testing.T, id string) job.Session {
	t.Helper()
	se, err := b.Session(t.Context(), id, job.Viewer{Caller: "me"})
	must(t, err)
	return se
}

// looked has the runner look after its sessions until one of them has something to do.
func (b *bundle) looked(t *testing.T, id string) {
	t.Helper()
	for {
		_, ready, err := b.SessionsOf(t.Context(), "r")
		must(t, err)
		if len(ready) > 0 || b.session(t, id).State != job.SessionIdle {
			return
		}
	}
}

// paused has the runner do what pauses a session, and returns the session.
func (b *bundle) paused(t *testing.T, id string) job.Session {
	t.Helper()
	c, err := b.NextInSession(t.Context(), id, job.LaneDefault, "r", true)
	must(t, err)
	var args job.PauseArgs
	must(t, json.Unmarshal(c.Spec.Args, &args))
	if c.Spec.Op != job.OpPause || args.Most != time.Minute || !args.AutoResume {
		t.Fatalf("claimed: %+v", c.Spec)
	}
	must(t, b.HaltSession(t.Context(), *c, args, nil))
	_, _, err = b.FinishInSession(t.Context(), *c, completed)
	must(t, err)
	return b.session(t, id)
}

// TestPauseAtEnd: a session whose end has come is paused, and its resume sets the end again.
func TestPauseAtEnd(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{})
	se := b.pausing(t)
	b.looked(t, se.ID)
	if se = b.paused(t, se.ID); se.State != job.SessionPaused || !se.EndsAt.IsZero() || !se.AutoResume || se.AtEnd == nil {
		t.Fatalf("paused: %+v", se)
	}
	// An end that is set during the pause comes after it.
	must(t, b.ChangeSession(t.Context(), se.ID, job.Viewer{Caller: "me"}, job.SessionChange{EndsIn: time.Millisecond}))
	for b.session(t, se.ID).EndsAt != (time.Time{}) {
		_, _, err := b.SessionsOf(t.Context(), "r")
		must(t, err)
	}
	must(t, b.ChangeSession(t.Context(), se.ID, job.Viewer{Caller: "me"}, job.SessionChange{EndsIn: time.Minute}))
	b.create(t, newJob(inSession(se.ID, "")))
	if se = b.session(t, se.ID); se.State != job.SessionBusy || !se.PausedAt.IsZero() || time.Until(se.EndsAt) <= 0 || se.EndsAt.Before(se.ResumedAt.Add(time.Minute)) {
		t.Errorf("resumed: %+v", se)
	}
}

// TestPauseAtEndInterrupts: what the session's interpreter executes is cancelled, so that the pause can follow.
func TestPauseAtEndInterrupts(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{})
	se := b.pausing(t)
	id := b.create(t, newJob(inSession(se.ID, "")))
	c, err := b.NextInSession(t.Context(), se.ID, job.LaneDefault, "r", true)
	must(t, err)
	for b.rdb.HGet(t.Context(), "{kaa}:job:"+id, "cancel").Val() == "" {
		_, _, err := b.SessionsOf(t.Context(), "r")
		must(t, err)
	}
	next, _, err := b.FinishInSession(t.Context(), *c, job.Outcome{State: job.Cancelled})
	if err != nil || next == nil || next.Spec.Op != job.OpPause {
		t.Fatalf("after it: %+v %v", next, err)
	}
	if se = b.paused(t, se.ID); se.State != job.SessionPaused {
		t.Errorf("it is %s", se.State)
	}
}

// TestNoPauseAtEnd: a session that cannot be paused ends after some time, and so does one whose pause was called off.
func TestNoPauseAtEnd(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{})
	for name, change := range map[string]func(id string){
		"never paused": func(id string) { // the time since the first try is over
			must(t, b.rdb.HSet(t.Context(), "{kaa}:session:"+id, "ending", "1").Err())
			must(t, b.rdb.ZAdd(t.Context(), "{kaa}:sessions", zAt(id)).Err())
		},
		"called off": func(id string) {
			must(t, b.ChangeSession(t.Context(), id, job.Viewer{Caller: "me"}, job.SessionChange{NoPause: true}))
		},
	} {
		se := b.pausing(t)
		b.looked(t, se.ID)
		change(se.ID)
		for b.session(t, se.ID).State != job.SessionEnded {
			_, _, err := b.SessionsOf(t.Context(), "r")
			must(t, err)
		}
		if se = b.session(t, se.ID); se.Reason != job.EndSet {
			t.Errorf("%s: %+v", name, se)
		}
	}
}

// zAt is an entry of the sessions that are due.
func zAt(id string) redis.Z { return redis.Z{Score: 1, Member: id} }
