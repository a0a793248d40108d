package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/job/jobtest"
	"github.com/kaa-run/kaa/internal/store"
)

// TestMoves runs every operation on a job in every state and compares what it
// did with what the operation should do, and with the model.
func TestMoves(t *testing.T) {
	t.Parallel()
	into := map[job.State]func(*testing.T, *bundle) string{
		job.Scheduled: func(t *testing.T, b *bundle) string { t.Helper(); return b.create(t, newJob(scheduled(time.Hour))) },
		job.Queued:    func(t *testing.T, b *bundle) string { t.Helper(); return b.create(t, newJob()) },
		job.Running: func(t *testing.T, b *bundle) string {
			t.Helper()
			id := b.create(t, newJob())
			b.claim(t, id)
			return id
		},
	}
	for _, end := range []job.State{job.Completed, job.Cancelled, job.Failed} {
		into[end] = func(t *testing.T, b *bundle) string {
			t.Helper()
			id := b.create(t, newJob())
			if err := b.Finish(t.Context(), b.claim(t, id), job.Outcome{State: end, Result: result()}); err != nil {
				t.Fatal(err)
			}
			return id
		}
	}
	failure := job.Failure{Code: job.FailDrained, Message: "m"}
	claimOf := func(b *bundle, id string) job.Claim { return job.Claim{JobID: id, Attempt: 1, Runner: b.runner} }
	finish := func(to job.State) func(context.Context, *bundle, string) error {
		return func(ctx context.Context, b *bundle, id string) error {
			return b.Finish(ctx, claimOf(b, id), job.Outcome{State: to, Result: result()})
		}
	}
	type moves map[job.State]job.State // from → to; a state that is not named stays
	operations := []struct {
		name  string
		run   func(context.Context, *bundle, string) error
		moves moves
	}{
		{"claim", func(ctx context.Context, b *bundle, id string) error {
			_, err := b.Claim(ctx, id, b.runner, "other")
			return err
		}, moves{job.Queued: job.Running}},
		{"complete", finish(job.Completed), moves{job.Running: job.Completed}},
		{"finish cancelled", finish(job.Cancelled), moves{job.Running: job.Cancelled}},
		{"finish failed", finish(job.Failed), moves{job.Running: job.Failed}},
		{"give back", func(ctx context.Context, b *bundle, id string) error {
			_, err := b.GiveBack(ctx, claimOf(b, id), failure)
			return err
		}, moves{job.Running: job.Failed}},
		{
			"reject", func(ctx context.Context, b *bundle, id string) error { return b.Reject(ctx, id, failure) },
			moves{job.Scheduled: job.Failed, job.Queued: job.Failed},
		},
		{"take back", func(ctx context.Context, b *bundle, id string) error {
			_, err := b.Unclaim(ctx, claimOf(b, id))
			return err
		}, moves{job.Running: job.Queued}},
		{
			"not started for long", func(ctx context.Context, b *bundle, id string) error {
				_, _, err := b.Unstarted(ctx, id, time.Nanosecond, failure)
				return err
			},
			moves{job.Scheduled: job.Failed, job.Queued: job.Failed},
		},
		{"not started", func(ctx context.Context, b *bundle, id string) error {
			_, _, err := b.Unstarted(ctx, id, 0, failure)
			return err
		}, nil},
		{
			"cancel", func(ctx context.Context, b *bundle, id string) error { _, err := b.Cancel(ctx, id); return err },
			moves{job.Scheduled: job.Cancelled, job.Queued: job.Cancelled},
		},
		{
			"abandon", func(ctx context.Context, b *bundle, id string) error {
				_, err := b.Abandon(ctx, id, failure)
				return err
			},
			moves{job.Scheduled: job.Cancelled, job.Queued: job.Cancelled},
		},
		{
			"enqueued", func(ctx context.Context, b *bundle, id string) error {
				return b.Enqueued(ctx, job.Task{JobID: id, Attempt: 1})
			},
			moves{job.Scheduled: job.Queued},
		},
		{"rescue", func(ctx context.Context, b *bundle, _ string) error {
			if err := b.Leave(ctx, b.runner); err != nil {
				return err
			}
			_, _, err := b.Rescue(ctx, b.runner)
			return err
		}, moves{job.Running: job.Failed}},
	}
	for _, op := range operations {
		for _, from := range job.States() {
			t.Run(op.name+" "+string(from), func(t *testing.T) {
				t.Parallel()
				b := setup(t, store.Config{})
				id := into[from](t, b)
				err := op.run(t.Context(), b, id)
				want, moves := op.moves[from]
				if !moves {
					want = from
				}
				got := b.get(t, id).State
				if got != want {
					t.Errorf("state = %s (err %v), want %s", got, err, want)
				}
				if got != from && !jobtest.CanMove(from, got) {
					t.Errorf("%s → %s is not a legal move", from, got)
				}
				if moves && err != nil {
					t.Errorf("err = %v", err)
				}
				b.checkIndex(t, id, want)
			})
		}
	}
}

// twice makes every script run twice, as after a lost connection.
type twice struct{}

func (twice) DialHook(next redis.DialHook) redis.DialHook { return next }

func (twice) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (twice) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" || cmd.Name() == "eval" { // the latter if Redis does not know the script yet
			_ = next(ctx, redis.NewCmd(ctx, cmd.Args()...))
		}
		return next(ctx, cmd)
	}
}

// TestScriptsMayRunTwice: go-redis repeats a command whose answer was lost.
func TestScriptsMayRunTwice(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	b.rdb.AddHook(twice{})
	ctx := t.Context()
	if state, err := b.Cancel(ctx, b.create(t, newJob())); err != nil || state != job.Cancelled {
		t.Errorf("cancel: %s, %v", state, err)
	}
	if state, err := b.Abandon(ctx, b.create(t, newJob()), job.Failure{Code: job.FailQueueTimeout}); err != nil || state != job.Cancelled {
		t.Errorf("abandon: %s, %v", state, err)
	}
	back := b.claim(t, b.create(t, newJob(attempts(2))))
	if _, err := b.GiveBack(ctx, back, job.Failure{Code: job.FailDrained}); !errors.Is(err, job.ErrStale) {
		t.Errorf("give back: %v", err)
	}
	if j := b.get(t, back.JobID); j.State != job.Queued || j.Attempt != 1 {
		t.Errorf("given back: %+v", j)
	}
	c := b.claim(t, b.create(t, newJob()))
	if c.Attempt != 1 {
		t.Errorf("claim is attempt %d", c.Attempt)
	}
	if err := b.Finish(ctx, c, job.Outcome{State: job.Completed, Result: result()}); err != nil {
		t.Errorf("finish: %v", err)
	}
}

// checkIndex checks that a job is in its state's listing and in no other, and that
// it counts for its caller if it waits.
func (b *bundle) checkIndex(t *testing.T, id string, state job.State) {
	t.Helper()
	want := ""
	if state == job.Scheduled || state == job.Queued {
		want = "1"
	}
	if got := b.rdb.HGet(t.Context(), "{kaa}:waiting", "anonymous").Val(); got != want {
		t.Errorf("in state %s, %q jobs are counted as waiting", state, got)
	}
	for _, s := range job.States() {
		jobs, _, err := b.List(t.Context(), job.Filter{State: s, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		if in := len(jobs) == 1 && jobs[0].ID == id; in != (s == state) {
			t.Errorf("in the listing of %s: %t", s, in)
		}
	}
}
