package store_test

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// openLaned opens a session on a runner that knows lanes.
func (b *bundle) openLaned(t *testing.T) job.Session {
	t.Helper()
	s := b.openSession(t)
	if err := b.Beat(t.Context(), job.Runner{ID: "r", Lanes: true}); err != nil {
		t.Fatal(err)
	}
	return s
}

// inLane makes a job one of a lane of a session.
func inLane(session, lane string) func(*job.NewJob) {
	return func(n *job.NewJob) {
		inSession(session, "")(n)
		n.Job.Lane = lane
	}
}

// TestLanes: the jobs of a lane are claimed in their order, and beside those of other lanes. The runner is told of each lane.
func TestLanes(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{})
	heard := make(messages, 10)
	m, err := b.ListenRunner(t.Context(), "r", heard, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	s := b.openLaned(t)
	code := b.create(t, newJob(inSession(s.ID, "")))
	first := b.create(t, newJob(inLane(s.ID, "a")))
	second := b.create(t, newJob(inLane(s.ID, "a")))
	beside := b.create(t, newJob(inLane(s.ID, job.LaneBeside)))
	for _, want := range []string{"ready " + s.ID, "ready " + s.ID + " a", "ready " + s.ID + " *" + beside} {
		if what := <-heard; what != want {
			t.Errorf("the runner is told %q, want %q", what, want)
		}
	}
	if now, err := b.Session(t.Context(), s.ID, job.Viewer{Caller: "me"}); err != nil || now.Waiting != 4 || now.State != job.SessionBusy {
		t.Errorf("%+v, %v", now, err)
	}
	claims := map[string]*job.Claim{}
	for lane, want := range map[string]string{job.LaneDefault: code, "a": first, job.Beside(beside): beside} {
		for range 2 { // the answer was lost
			c, err := b.NextInSession(t.Context(), s.ID, lane, "r", false)
			if err != nil || c == nil || c.JobID != want || c.Lane != lane || c.Session.Envs["A"] != "b" {
				t.Fatalf("lane %q: %+v, %v; want %s", lane, c, err, want)
			}
			claims[lane] = c
		}
	}
	held, err := b.Held(t.Context(), "r")
	if err != nil || len(held) != 3 {
		t.Errorf("held %+v, %v", held, err)
	}
	for _, c := range held {
		if claims[c.Lane] == nil || claims[c.Lane].JobID != c.JobID {
			t.Errorf("held %+v", c)
		}
	}
	done := job.Outcome{State: job.Completed, Result: result()}
	for lane, want := range map[string]string{job.LaneDefault: "", "a": second, job.Beside(beside): ""} {
		next, ask, err := b.FinishInSession(t.Context(), *claims[lane], done)
		if got := idOf(next); got != want || ask || err != nil {
			t.Errorf("lane %q goes on with %q, %t, %v; want %q", lane, got, ask, err, want)
		}
	}
	if j := b.get(t, beside); j.State != job.Completed || j.Lane != job.Beside(beside) {
		t.Errorf("%+v", j)
	}
	if now, err := b.Session(t.Context(), s.ID, job.Viewer{Caller: "me"}); err != nil || now.Waiting != 0 || now.State != job.SessionBusy {
		t.Errorf("while one lane executes: %+v, %v", now, err)
	}
}

func idOf(c *job.Claim) string {
	if c == nil {
		return ""
	}
	return c.JobID
}

// TestLanesAreBounded: a session has so many lanes with something to do, and what waits in them counts for its depth.
func TestLanesAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	s := b.openLaned(t)
	for range job.MaxLanes - 1 {
		b.create(t, newJob(inLane(s.ID, job.LaneBeside)))
	}
	last := b.create(t, newJob(inLane(s.ID, "a")))
	b.create(t, newJob(inLane(s.ID, "a")))
	b.create(t, newJob(inSession(s.ID, "")))
	_, err := b.Create(t.Context(), newJob(inLane(s.ID, job.LaneBeside)))
	if full, ok := errors.AsType[*job.LanesError](err); !ok || full.Busy != job.MaxLanes || full.Limit != job.MaxLanes {
		t.Errorf("one lane too many: %v", err)
	}
	if now, err := b.Session(t.Context(), s.ID, job.Viewer{Caller: "me"}); err != nil || now.Waiting != job.MaxLanes+2 {
		t.Errorf("%+v, %v", now, err)
	}
	if _, err := b.Cancel(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Create(t.Context(), newJob(inLane(s.ID, job.LaneBeside))); !errors.Is(err, job.ErrTooManyLanes) {
		t.Errorf("a lane that still has something: %v", err)
	}
}

// TestLanesOfOldRunner: a runner that knows no lanes gets operations in the order of everything, and nothing else.
func TestLanesOfOldRunner(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	s := b.openSession(t)
	if _, err := b.Create(t.Context(), newJob(inLane(s.ID, job.LaneBeside))); !errors.Is(err, job.ErrOldRunner) {
		t.Errorf("code: %v", err)
	}
	first := b.create(t, newJob(inSession(s.ID, "")))
	second := b.create(t, newJob(inSession(s.ID, "list_files"), func(n *job.NewJob) { n.Job.Lane = job.LaneBeside }))
	c, err := b.NextInSession(t.Context(), s.ID, job.LaneDefault, "r", false)
	if err != nil || c.JobID != first {
		t.Fatalf("%+v, %v", c, err)
	}
	c, _, err = b.FinishInSession(t.Context(), *c, job.Outcome{State: job.Completed, Result: result()})
	if err != nil || idOf(c) != second {
		t.Errorf("%+v, %v; want the operation", c, err)
	}
}

// TestLanesAfterOldEnd: an older process that ends a session knows nothing of its lanes. The jobs in these end all the same.
func TestLanesAfterOldEnd(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	s := b.openLaned(t)
	running, waiting := b.create(t, newJob(inLane(s.ID, "a"))), b.create(t, newJob(inLane(s.ID, "a")))
	if _, err := b.NextInSession(t.Context(), s.ID, "a", "r", false); err != nil {
		t.Fatal(err)
	}
	b.rdb.HSet(t.Context(), "{kaa}:session:"+s.ID, "state", "ended", "reason", "deleted", "message", "m")
	if _, err := b.Sweep(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{running, waiting} {
		if j := b.get(t, id); j.State != job.Failed || j.Failure.Code != job.FailSessionEnded || j.Failure.Reason != job.EndDeleted {
			t.Errorf("%+v %+v", j, j.Failure)
		}
	}
	for _, pattern := range []string{"{kaa}:session:*:jobs*", "{kaa}:session:*:lanes", "{kaa}:sessions:laned"} {
		if left := b.rdb.Keys(t.Context(), pattern).Val(); len(left) > 0 {
			t.Errorf("there is still %v", left)
		}
	}
}

// TestObserveLanes: an observer learns of the executions of all lanes.
func TestObserveLanes(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	s := b.openLaned(t)
	running := b.create(t, newJob(inLane(s.ID, job.LaneBeside)))
	if _, err := b.NextInSession(t.Context(), s.ID, job.Beside(running), "r", false); err != nil {
		t.Fatal(err)
	}
	code := b.create(t, newJob(inSession(s.ID, "")))
	waiting := b.create(t, newJob(inLane(s.ID, "a")))
	o, err := b.ObserveSession(t.Context(), s.ID, "me", job.Observation{})
	if diff := cmp.Diff([]string{running, code, waiting}, o.Jobs); diff != "" || err != nil {
		t.Errorf("(-want +got)\n%s%v", diff, err)
	}
	later := b.create(t, newJob(inLane(s.ID, "b")))
	o, err = b.ObserveSession(t.Context(), s.ID, "me", o)
	if diff := cmp.Diff([]string{later}, o.Jobs); diff != "" || err != nil {
		t.Errorf("(-want +got)\n%s%v", diff, err)
	}
}
