package store_test

import (
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// TestNetworkOwner: a runner learns whose code has a network or packages, of jobs and of sessions, whatever was in the request.
func TestNetworkOwner(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{TombstoneTTL: time.Minute})
	b.beat(t, job.Runner{ID: b.runner})
	network := &job.Network{Allow: []string{"a.example"}, Owner: "@other"}
	owned := func(what string, n *job.Network) {
		t.Helper()
		if n == nil || n.Owner != "@mine" || len(n.Allow) != 1 {
			t.Errorf("the network of a %s: %+v", what, n)
		}
	}
	of := func(n *job.NewJob) { n.Caller, n.Spec.Network = "@mine", network }
	id := b.create(t, newJob(of))
	if spec, err := b.Packages(t.Context(), id); err != nil || spec.Owner != "@mine" {
		t.Errorf("the packages of a job: %+v, %v", spec, err)
	}
	owned("job", b.claim(t, id).Spec.Network)

	se := job.NewSession{
		Session: job.Session{ID: newID(), IdleTimeout: time.Minute, MaxAge: time.Hour}, Caller: "@mine", Spec: job.SessionSpec{Network: network},
		Candidates: []job.Candidate{{Runner: b.runner, Most: 1, Runtime: "python"}},
	}
	if _, err := b.OpenSession(t.Context(), se); err != nil {
		t.Fatal(err)
	}
	b.create(t, newJob(func(n *job.NewJob) { n.Caller, n.Job.InSession, n.Job.SessionID = "@mine", true, se.Session.ID }))
	c, err := b.NextInSession(t.Context(), se.Session.ID, "", b.runner, false)
	if err != nil || c == nil {
		t.Fatal(c, err)
	}
	owned("session", c.Session.Network)
	if c.Session.Owner != "@mine" {
		t.Errorf("the session is of %q", c.Session.Owner)
	}
	if network.Owner != "@other" {
		t.Error("the request was changed")
	}
}
