package store_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// openSession opens one on the runner "r", which it registers.
func (b *bundle) openSession(t *testing.T, change ...func(*job.NewSession)) job.Session {
	t.Helper()
	if err := b.Beat(t.Context(), job.Runner{ID: "r"}); err != nil {
		t.Fatal(err)
	}
	n := job.NewSession{
		Session: job.Session{ID: newID(), IdleTimeout: time.Minute, MaxAge: time.Hour, Metadata: json.RawMessage(`{"a":1}`)},
		Spec:    job.SessionSpec{Runtime: "py", Envs: map[string]string{"A": "b"}, Quota: job.Quota{CPUs: 2}},
		Caller:  "me", Candidates: []job.Candidate{{Runner: "r", Most: 2, Runtime: "python"}},
	}
	for _, c := range change {
		c(&n)
	}
	s, err := b.OpenSession(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// inSession makes a job an execution of a session, or an operation on it.
func inSession(id, op string) func(*job.NewJob) {
	return func(n *job.NewJob) {
		n.Job.Queue, n.Job.SessionID, n.Job.InSession, n.Caller, n.Subscriber = job.SessionQueue, id, true, "me", "creator"
		if op != "" {
			n.Job.Queue, n.Spec.Op = job.OperationQueue, op
		}
	}
}

// TestSessionClaims: what a runner gets of a session, and what its operations answer.
func TestSessionClaims(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{})
	told := make(chan *job.Result, 10)
	l, err := b.ListenFinished(t.Context(), "creator", func(_ string, r *job.Result) { told <- r }, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	heard := make(messages, 10)
	m, err := b.ListenRunner(t.Context(), "r", heard, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()

	s := b.openSession(t)
	got, err := b.Session(t.Context(), s.ID, job.Viewer{Caller: "me"})
	if diff := cmp.Diff(s, got); diff != "" || err != nil {
		t.Errorf("session (-opened +got):\n%s%v", diff, err)
	}
	first := b.create(t, newJob(inSession(s.ID, "")))
	second := b.create(t, newJob(inSession(s.ID, "fork")))
	if what := <-heard; what != "ready "+s.ID || len(heard) > 0 {
		t.Errorf("the runner is told %q, and %d more", what, len(heard))
	}
	c, err := b.NextInSession(t.Context(), s.ID, job.LaneDefault, "r", false)
	if err != nil || c.JobID != first || c.Attempt != 1 || c.Spec.Code != "print(1)" || c.Session.Envs["A"] != "b" || c.Session.Quota.CPUs != 2 {
		t.Fatalf("%+v %v", c, err)
	}
	if again, err := b.NextInSession(t.Context(), s.ID, job.LaneDefault, "r", true); err != nil || again.JobID != first || again.Session.Envs != nil {
		t.Errorf("again: %+v %v", again, err)
	}
	next, ask, err := b.FinishInSession(t.Context(), *c, job.Outcome{State: job.Completed, Result: result()})
	if err != nil || ask || next == nil || next.JobID != second || next.Spec.Op != "fork" {
		t.Fatalf("%+v %v %v", next, ask, err)
	}
	if r := <-told; r == nil {
		t.Error("the result of an execution does not come with the message")
	}
	last, ask, err := b.FinishInSession(t.Context(), *next, job.Outcome{State: job.Completed, Data: json.RawMessage(`{"ids":[1]}`)})
	if err != nil || ask || last != nil {
		t.Errorf("%+v %v %v", last, ask, err)
	}
	if r := <-told; r != nil {
		t.Errorf("what an operation answers is taken for a result: %+v", r)
	}
	j, err := b.Get(t.Context(), second)
	if err != nil || string(j.Data) != `{"ids":[1]}` || j.Result != nil || !j.InSession {
		t.Errorf("%+v %v", j, err)
	}
	jobs, _, err := b.List(t.Context(), job.Filter{Limit: 10, Viewer: job.Viewer{Caller: "me"}})
	if err != nil || len(jobs) != 1 || jobs[0].ID != first || jobs[0].Owner != "me" {
		t.Errorf("listed: %+v %v", jobs, err)
	}
}

// TestSessionOrder: it is that of acceptance, whatever the ids say: clocks of API processes
// differ.
func TestSessionOrder(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	s := b.openSession(t)
	var news []job.NewJob
	for range 5 {
		news = append(news, newJob(inSession(s.ID, "")))
	}
	var accepted, claimed []string
	for _, n := range slices.Backward(news) {
		accepted = append(accepted, b.create(t, n))
	}
	c, err := b.NextInSession(t.Context(), s.ID, job.LaneDefault, "r", true)
	for c != nil && err == nil {
		claimed = append(claimed, c.JobID)
		c, _, err = b.FinishInSession(t.Context(), *c, job.Outcome{State: job.Completed, Result: result()})
	}
	if diff := cmp.Diff(accepted, claimed); diff != "" || err != nil {
		t.Errorf("claimed (-accepted +claimed):\n%s%v", diff, err)
	}
}

// TestSessionPlaces: where a session is put, and whom it may push out.
func TestSessionPlaces(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{MaxCallerSessions: 3, EvictAfter: time.Millisecond})
	if err := b.Beat(t.Context(), job.Runner{ID: "other"}); err != nil {
		t.Fatal(err)
	}
	both := func(n *job.NewSession) {
		n.Candidates = []job.Candidate{{Runner: "gone", Most: 9}, {Runner: "r", Most: 1, Runtime: "a"}, {Runner: "other", Most: 2, Runtime: "b"}}
	}
	runners := map[string]int{}
	var sessions []job.Session
	for range 3 {
		sessions = append(sessions, b.openSession(t, both))
		runners[sessions[len(sessions)-1].Runner]++
		<-time.After(2 * time.Millisecond) // by Redis's clock, which counts milliseconds
	}
	if diff := cmp.Diff(map[string]int{"r": 1, "other": 2}, runners); diff != "" {
		t.Errorf("runners (-want +got):\n%s", diff)
	}
	n := job.NewSession{Session: job.Session{ID: newID(), IdleTimeout: time.Minute, MaxAge: time.Hour}, Caller: "me"}
	both(&n)
	var full *job.SessionsFullError
	if _, err := b.OpenSession(t.Context(), n); !errors.As(err, &full) || !full.OfCaller || full.Limit != 3 {
		t.Errorf("a fourth of one caller: %v", err)
	}
	// Busy sessions stay; of the idle ones, the one that was used longest ago goes.
	b.create(t, newJob(inSession(sessions[0].ID, "")))
	<-time.After(5 * time.Millisecond)
	n.Caller = "another"
	if _, err := b.OpenSession(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	for i, want := range []job.SessionState{job.SessionBusy, job.SessionEnded, job.SessionIdle} {
		if s, err := b.Session(t.Context(), sessions[i].ID, job.Viewer{Caller: "me"}); err != nil || s.State != want {
			t.Errorf("session %d: %+v %v, want %s", i, s, err, want)
		}
	}
	n.Session.ID, n.Candidates = newID(), []job.Candidate{{Runner: "gone", Most: 9}}
	if _, err := b.OpenSession(t.Context(), n); !errors.Is(err, job.ErrNoRunner) {
		t.Errorf("on a runner that is gone: %v", err)
	}
	// What the caller knows of runners may be older than the drain of one.
	b.beat(t, job.Runner{ID: "drains", Draining: true})
	n.Session.ID, n.Candidates = newID(), []job.Candidate{{Runner: "drains", Most: 9}}
	if _, err := b.OpenSession(t.Context(), n); !errors.Is(err, job.ErrNoRunner) {
		t.Errorf("on a runner that drains: %v", err)
	}
}

// TestSessionsOverdue: anybody's look ends them.
func TestSessionsOverdue(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	idle := b.openSession(t, func(n *job.NewSession) { n.Session.IdleTimeout = time.Millisecond })
	old := b.openSession(t, func(n *job.NewSession) { n.Session.MaxAge = time.Millisecond })
	<-time.After(5 * time.Millisecond)
	if _, err := b.Sweep(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]job.EndReason{idle.ID: job.EndIdle, old.ID: job.EndAge} {
		if s, err := b.Session(t.Context(), id, job.Viewer{Caller: "me"}); err != nil || s.Reason != want || s.EndedAt.IsZero() {
			t.Errorf("%+v %v, want %s", s, err, want)
		}
	}
}
