package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/testenv"
)

func withEvents(n *job.NewJob) { n.Events = true }

// eventAt is an event of 10 bytes that ends there.
func eventAt(attempt int, seq uint64) job.Event {
	return job.Event{
		ID: job.EventID{Attempt: attempt, Seq: seq}, Type: job.EventStream, Size: 10,
		Data: json.RawMessage(fmt.Sprintf(`{"type":"stream","text":"%d-%d"}`, attempt, seq)),
	}
}

// ids lists the events that there are of a job.
func (b *bundle) ids(t *testing.T, id string) []string {
	t.Helper()
	events, err := b.Events(t.Context(), id, job.EventID{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, e := range events {
		ids = append(ids, e.ID.String())
	}
	return ids
}

func TestAppendEvents(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	again := redis.NewClient(b.rdb.Options())
	t.Cleanup(func() { _ = again.Close() })
	again.AddHook(twice{}) // the script may run twice
	repeating := store.New(again, store.Config{})
	ctx := t.Context()
	id := b.create(t, newJob(withEvents, attempts(3)))
	c := b.claim(t, id)
	if !c.Events {
		t.Error("the claim does not say that events are wanted")
	}
	write := func(c job.Claim, oldest job.EventID, events ...job.Event) error {
		return repeating.AppendEvents(ctx, c, oldest, events)
	}
	if err := write(c, job.EventID{}, eventAt(1, 10), eventAt(1, 20), eventAt(1, 30)); err != nil {
		t.Fatal(err)
	}
	if err := write(c, job.EventID{Attempt: 1, Seq: 20}, eventAt(1, 40)); err != nil {
		t.Fatal(err)
	}
	want := []job.Event{eventAt(1, 20), eventAt(1, 30), eventAt(1, 40)}
	if got, err := b.Events(ctx, id, job.EventID{}, 10); err != nil || !cmp.Equal(got, want) {
		t.Errorf("events %v, %s", err, cmp.Diff(want, got))
	}
	if got, err := b.Events(ctx, id, job.EventID{Attempt: 1, Seq: 20}, 1); err != nil || !cmp.Equal(got, want[1:2]) {
		t.Errorf("one after the first: %v, %s", err, cmp.Diff(want[1:2], got))
	}

	if _, err := b.GiveBack(ctx, c, job.Failure{Code: job.FailDrained}); err != nil {
		t.Fatal(err)
	}
	if err := write(c, job.EventID{}, eventAt(1, 50)); !errors.Is(err, job.ErrStale) {
		t.Errorf("of a job that was given back: %v", err)
	}
	second := b.claim(t, id)
	if !second.Events {
		t.Error("the second claim does not say that events are wanted")
	}
	if err := write(c, job.EventID{}, eventAt(1, 60)); !errors.Is(err, job.ErrStale) {
		t.Errorf("of an old claim: %v", err)
	}
	if err := write(second, job.EventID{Attempt: 1, Seq: 40}, eventAt(2, 10)); err != nil {
		t.Fatal(err)
	}
	if err := b.Finish(ctx, second, job.Outcome{State: job.Completed, Result: result()}); err != nil {
		t.Fatal(err)
	}
	if err := write(second, job.EventID{}, eventAt(2, 20)); !errors.Is(err, job.ErrStale) {
		t.Errorf("after the end: %v", err)
	}
	if got, want := b.ids(t, id), []string{"1-40", "2-10", job.EndID(2).String()}; !cmp.Equal(got, want) {
		t.Errorf("in the end %s", cmp.Diff(want, got))
	}
	if err := write(job.Claim{JobID: "nobody"}, job.EventID{}, eventAt(1, 1)); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("of no job: %v", err)
	}
}

// TestEveryEndIsAnEvent: the script that settles a job writes its last event, whyever it
// settles, and only if somebody has asked for events.
func TestEveryEndIsAnEvent(t *testing.T) {
	t.Parallel()
	lapse := func(ctx context.Context, b *bundle, what string) error {
		if err := b.rdb.Del(ctx, "{kaa}:"+what).Err(); err != nil {
			return err
		}
		lapsed, err := b.Lapsed(ctx, "")
		if err != nil {
			return err
		}
		_, _, err = b.Rescue(ctx, lapsed...)
		return err
	}
	finish := func(to job.State) func(context.Context, *bundle, job.Claim) error {
		return func(ctx context.Context, b *bundle, c job.Claim) error {
			return b.Finish(ctx, c, job.Outcome{State: to, Result: result()})
		}
	}
	for name, tt := range map[string]struct {
		claimed bool
		end     func(context.Context, *bundle, job.Claim) error
	}{
		"completed": {true, finish(job.Completed)},
		"cancelled": {true, finish(job.Cancelled)},
		"given back": {true, func(ctx context.Context, b *bundle, c job.Claim) error {
			_, err := b.GiveBack(ctx, c, job.Failure{})
			return err
		}},
		"runner lost":     {true, func(ctx context.Context, b *bundle, _ job.Claim) error { return lapse(ctx, b, "runner:"+b.runner) }},
		"waiter lost":     {false, func(ctx context.Context, b *bundle, _ job.Claim) error { return lapse(ctx, b, "waiter:api") }},
		"rejected":        {false, func(ctx context.Context, b *bundle, c job.Claim) error { return b.Reject(ctx, c.JobID, job.Failure{}) }},
		"waiting, cancel": {false, func(ctx context.Context, b *bundle, c job.Claim) error { _, err := b.Cancel(ctx, c.JobID); return err }},
		"waiting, abandon": {false, func(ctx context.Context, b *bundle, c job.Claim) error {
			_, err := b.Abandon(ctx, c.JobID, job.Failure{})
			return err
		}},
	} {
		for _, wanted := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", wanted ", wanted), func(t *testing.T) {
				t.Parallel()
				b := setup(t, store.Config{})
				id := b.create(t, newJob(func(n *job.NewJob) { n.Events, n.Subscriber = wanted, "api" }))
				c := job.Claim{JobID: id}
				if tt.claimed {
					c = b.claim(t, id)
				}
				if err := tt.end(t.Context(), b, c); err != nil {
					t.Fatal(err)
				}
				j := b.get(t, id)
				var want []string
				if wanted {
					want = []string{job.EndID(j.Attempt).String()}
				}
				if got := b.ids(t, id); !j.State.Terminal() || !cmp.Equal(got, want) {
					t.Errorf("state %s, events %v, want %v", j.State, got, want)
				}
				if wanted {
					if ttl := b.rdb.PTTL(t.Context(), "{kaa}:events:"+id).Val(); ttl <= 0 || ttl > time.Hour {
						t.Errorf("the events expire in %s", ttl)
					}
				}
			})
		}
	}
}

// TestFollow: a runner is told that somebody follows a job of its, and finds it too.
func TestFollow(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{})
	ctx := t.Context()
	told := make(messages, 10)
	l, err := b.ListenRunner(ctx, b.runner, told, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })

	waiting := b.create(t, newJob())
	if state, err := b.Follow(ctx, waiting); err != nil || state != job.Queued {
		t.Errorf("waiting: %s, %v", state, err)
	}
	if c := b.claim(t, waiting); !c.Events {
		t.Error("the claim does not know of the follower")
	}
	id := b.create(t, newJob())
	c := b.claim(t, id)
	if c.Events {
		t.Error("nobody has asked for events")
	}
	for range 2 { // the second changes nothing
		if state, err := b.Follow(ctx, id); err != nil || state != job.Running {
			t.Errorf("running: %s, %v", state, err)
		}
	}
	if _, err := b.Cancel(ctx, id); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"watched " + id, "cancelled " + id} {
		if got := <-told; got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	if _, _, watched, err := b.Revoked(ctx, []job.Claim{c}); err != nil || len(watched) != 1 {
		t.Errorf("found %v, %v", watched, err)
	}
	if err := b.Finish(ctx, c, job.Outcome{State: job.Cancelled, Result: result()}); err != nil {
		t.Fatal(err)
	}
	if state, err := b.Follow(ctx, id); err != nil || state != job.Cancelled {
		t.Errorf("ended: %s, %v", state, err)
	}
	if _, err := b.Follow(ctx, "nobody"); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
}

// TestEventNotifier: a follower of a job is woken once the subscription works, and at every event and the end.
func TestEventNotifier(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	notifier := b.NewEventNotifier(slog.New(slog.DiscardHandler))
	t.Cleanup(notifier.Close)
	subscribers := func(id string) int64 {
		return b.rdb.PubSubNumSub(t.Context(), "{kaa}:events:"+id).Val()["{kaa}:events:"+id]
	}
	id := b.create(t, newJob(withEvents))
	c := b.claim(t, id)
	woken := make(chan string, 10)
	forget := notifier.Listen(id, func() { woken <- "first" })
	if got := <-woken; got != "first" {
		t.Errorf("woken for %s", got)
	}
	forgetOther := notifier.Listen(id, func() { woken <- "second" })
	for range 2 {
		if err := b.AppendEvents(t.Context(), c, job.EventID{}, []job.Event{eventAt(1, 10)}); err != nil {
			t.Fatal(err)
		}
		if got := <-woken + <-woken; !strings.Contains(got, "first") || !strings.Contains(got, "second") {
			t.Errorf("woken for %s", got)
		}
	}
	forgetOther()
	if err := b.Finish(t.Context(), c, job.Outcome{State: job.Completed, Result: result()}); err != nil {
		t.Fatal(err)
	}
	if got := <-woken; got != "first" {
		t.Errorf("woken for %s", got)
	}
	forget()
	testenv.Eventually(t, "nobody subscribes", func() bool { return subscribers(id) == 0 })
	if n := len(woken); n != 0 {
		t.Errorf("woken %d more times", n)
	}
}
