package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// TestEarlierAttempts: a job shows the attempts that its runners could not finish, also after its end, and gives their bytes back with its own.
func TestEarlierAttempts(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	id := b.create(t, newJob(attempts(3), func(n *job.NewJob) { n.Caller = "c" }))
	before := b.rdb.HGet(t.Context(), "{kaa}:bytes", "c").Val()
	var want []job.PastAttempt
	for i, reason := range []job.FailureCode{job.FailDrained, job.FailRunnerLost} {
		claim := b.claim(t, id)
		started := b.get(t, id).StartedAt
		if state, err := b.GiveBack(t.Context(), claim, job.Failure{Code: reason}); err != nil || state != job.Queued {
			t.Fatal(state, err)
		}
		want = append(want, job.PastAttempt{Attempt: i + 1, StartedAt: started, Runner: b.runner, Reason: reason})
	}
	check := func(when string) {
		t.Helper()
		j := b.get(t, id)
		if diff := cmp.Diff(want, j.Earlier, cmpopts.IgnoreFields(job.PastAttempt{}, "EndedAt")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		for _, a := range j.Earlier {
			if a.EndedAt.Before(a.StartedAt) || time.Since(a.EndedAt) > time.Hour {
				t.Errorf("%s: attempt %d ended at %s", when, a.Attempt, a.EndedAt)
			}
		}
	}
	check("queued")
	if held := b.rdb.HGet(t.Context(), "{kaa}:bytes", "c").Val(); held == before {
		t.Errorf("the lines count nothing: %s bytes", held)
	}
	if err := b.Finish(t.Context(), b.claim(t, id), job.Outcome{State: job.Completed, Result: result()}); err != nil {
		t.Fatal(err)
	}
	check("completed")
	if _, err := b.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if held := b.rdb.HGet(t.Context(), "{kaa}:bytes", "c").Val(); held != "" {
		t.Errorf("%s bytes are left", held)
	}
}

// TestRequestOfAJob: it is there while the job waits and runs, and later as long as it is kept.
func TestRequestOfAJob(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	n := newJob(func(n *job.NewJob) { n.Caller = "c" })
	id := b.create(t, n)
	read := func(when string) {
		t.Helper()
		got, err := b.Request(t.Context(), b.get(t, id))
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if diff := cmp.Diff(n.Spec, got.Spec); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	read("queued")
	c := b.claim(t, id)
	read("running")
	if err := b.Finish(t.Context(), c, job.Outcome{State: job.Completed, Result: result()}); err != nil {
		t.Fatal(err)
	}
	read("completed")
	waited := b.create(t, newJob(func(n *job.NewJob) { n.Caller, n.Subscriber = "c", "api" }))
	if err := b.Finish(t.Context(), b.claim(t, waited), job.Outcome{State: job.Completed, Result: result()}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Request(t.Context(), b.get(t, waited)); !errors.Is(err, job.ErrRequestGone) {
		t.Errorf("of a synchronous execution: %v", err)
	}
}
