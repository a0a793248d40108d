package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// TestHaltBesideLanes: a session is paused with the jobs that stand still, and with no others.
func TestHaltBesideLanes(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{})
	must(t, b.Beat(t.Context(), job.Runner{ID: "laned", Lanes: true}))
	for _, tt := range []struct {
		name    string
		running []string // lanes with a running job each
		waiting []string // lanes with a waiting job each
		frozen  []string // lanes
		refused bool
	}{
		{name: "alone"},
		{name: "one", running: []string{"a"}, frozen: []string{"a"}},
		{name: "two", running: []string{"a", "b"}, frozen: []string{"b", "a"}},
		{name: "one that has ended since", frozen: []string{"a"}},
		{name: "one that has begun since", running: []string{"a", "b"}, frozen: []string{"a"}, refused: true},
		{name: "one that waits behind another", running: []string{"a"}, waiting: []string{"a"}, frozen: []string{"a"}, refused: true},
		{name: "one that waits", waiting: []string{"a"}, refused: true},
		{name: "one that waits in the default lane", waiting: []string{job.LaneDefault}, refused: true},
	} {
		id := newID()
		_, err := b.OpenSession(t.Context(), job.NewSession{
			Session: job.Session{ID: id, IdleTimeout: time.Hour, MaxAge: time.Hour}, Caller: "me", Candidates: []job.Candidate{{Runner: "laned", Most: 100, Runtime: "python"}},
		})
		must(t, err)
		accept := func(lane, op string) string {
			n := newJob()
			inSession(id, op)(&n)
			n.Job.Lane = lane
			_, err := b.Create(t.Context(), n)
			must(t, err)
			return n.Job.ID
		}
		claim := func(lane string) job.Claim {
			c, err := b.NextInSession(t.Context(), id, lane, "laned", true)
			must(t, err)
			return *c
		}
		frozen := []string{}
		of := map[string]string{"a": "gone", "b": "gone"}
		for _, lane := range tt.running {
			of[lane] = accept(lane, "")
			claim(lane)
		}
		for _, lane := range tt.frozen {
			frozen = append(frozen, of[lane])
		}
		accept(job.LaneDefault, job.OpPause)
		c := claim(job.LaneDefault)
		for _, lane := range tt.waiting {
			accept(lane, "")
		}
		err = b.HaltSession(t.Context(), c, job.PauseArgs{Most: time.Hour}, frozen)
		refused, ok := errors.AsType[*job.RefusedError](err)
		if ok != tt.refused || ok && !refused.Passing || !ok && err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.refused {
			continue
		}
		_, _, err = b.FinishInSession(t.Context(), c, completed)
		must(t, err)
		se, err := b.Session(t.Context(), id, job.Viewer{Caller: "me"})
		if err != nil || se.State != job.SessionPaused {
			t.Errorf("%s: it is %s, %v", tt.name, se.State, err)
		}
		for _, lane := range tt.running {
			if j := b.get(t, of[lane]); j.State != job.Running {
				t.Errorf("%s: the job of lane %s is %s", tt.name, lane, j.State)
			}
		}
	}
}
