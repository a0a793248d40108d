package store_test

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// on opens a session on a runner of that name. Messages are not kept apart by database, so
// each test has its own.
func (b *bundle) on(t *testing.T, runner string) job.Session {
	t.Helper()
	if err := b.Beat(t.Context(), job.Runner{ID: runner}); err != nil {
		t.Fatal(err)
	}
	return b.openSession(t, func(n *job.NewSession) { n.Candidates[0].Runner = runner })
}

// TestObserveSession: an observer learns of all that is accepted, in order, whatever has
// become of it by the time he asks, and of the end.
func TestObserveSession(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	ctx := t.Context()
	s := b.on(t, "observed")
	if _, err := b.ObserveSession(ctx, s.ID, "other", job.Observation{}); !errors.Is(err, job.ErrNoSession) {
		t.Errorf("another's: %v", err)
	}
	running := b.create(t, newJob(inSession(s.ID, "")))
	c, err := b.NextInSession(ctx, s.ID, job.LaneDefault, "observed", true)
	if err != nil {
		t.Fatal(err)
	}
	b.create(t, newJob(inSession(s.ID, "restart")))
	waiting := b.create(t, newJob(inSession(s.ID, "")))
	if c.Events {
		t.Error("nobody watches, and yet events are wanted")
	}
	var o job.Observation
	look := func(want ...string) {
		t.Helper()
		var err error
		o, err = b.ObserveSession(ctx, s.ID, "me", o)
		if diff := cmp.Diff(want, o.Jobs); diff != "" || err != nil {
			t.Errorf("(-want +got)\n%s%v", diff, err)
		}
	}
	look(running, waiting)
	look()
	for _, id := range []string{running, waiting} {
		if b.rdb.HGet(ctx, "{kaa}:job:"+id, "events").Val() != "1" {
			t.Errorf("no events of %s", id)
		}
	}
	first, _ := b.create(t, newJob(inSession(s.ID, ""))), b.create(t, newJob(inSession(s.ID, "restart")))
	second := b.create(t, newJob(inSession(s.ID, "")))
	if b.rdb.HGet(ctx, "{kaa}:job:"+second, "events").Val() != "1" {
		t.Error("no events of what was accepted later")
	}
	if _, err := b.Cancel(ctx, first); err != nil {
		t.Fatal(err)
	}
	look(first, second)
	look()
	// He has been away for too long.
	b.rdb.HSet(ctx, "{kaa}:session:"+s.ID, "observed", "1")
	third := b.create(t, newJob(inSession(s.ID, "")))
	look(running, waiting, second, third)
	last := b.create(t, newJob(inSession(s.ID, "")))
	if err := b.CloseSession(ctx, s.ID, job.Viewer{Caller: "me"}, job.SessionEnd{Reason: job.EndDeleted, Message: "gone"}); err != nil {
		t.Fatal(err)
	}
	look(last)
	if diff := cmp.Diff(&job.SessionEnd{Reason: job.EndDeleted, Message: "gone"}, o.End); diff != "" {
		t.Error(diff)
	}
	look()
}

// TestGiveInput: the first answer to a request counts, also if it is sent twice.
func TestGiveInput(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{})
	again := redis.NewClient(b.rdb.Options())
	t.Cleanup(func() { _ = again.Close() })
	again.AddHook(twice{})
	repeating := store.New(again, store.Config{})
	ctx := t.Context()
	heard := make(messages, 10)
	l, err := b.ListenRunner(ctx, "asking", heard, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	s := b.on(t, "asking")
	id := b.create(t, newJob(inSession(s.ID, "")))
	<-heard // it is ready
	c, err := b.NextInSession(ctx, s.ID, job.LaneDefault, "asking", true)
	if err != nil {
		t.Fatal(err)
	}
	give := func(request int, caller string) error {
		return repeating.GiveInput(ctx, s.ID, caller, job.Answer{JobID: id, Request: request, Text: "a  b\n+"})
	}
	if err := give(1, "me"); !errors.Is(err, job.ErrNoInput) {
		t.Errorf("before it asks: %v", err)
	}
	ask := job.NewEvent(job.EventInput, job.InputData{Type: job.EventInput, Request: 1, Prompt: `"request":7`})
	ask.ID = job.EventID{Attempt: 1, Seq: 100}
	if err := repeating.AppendEvents(ctx, *c, job.EventID{}, []job.Event{ask}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		request int
		caller  string
		want    error
	}{{2, "me", job.ErrNoInput}, {7, "me", job.ErrNoInput}, {1, "other", job.ErrNotFound}, {1, "me", nil}, {1, "me", job.ErrNoInput}} {
		if err := give(tt.request, tt.caller); !errors.Is(err, tt.want) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	want := job.Answer{JobID: id, Request: 1, Text: "a  b\n+"}
	if m := <-heard; m != fmt.Sprintf("answered %+v", want) {
		t.Errorf("the runner is told %q", m)
	}
	all, err := b.Answers(ctx, []string{newID(), id})
	if diff := cmp.Diff([]job.Answer{want}, all); diff != "" || err != nil {
		t.Errorf("answers (-want +got)\n%s%v", diff, err)
	}
	if err := b.AppendEvents(ctx, *c, job.EventID{}, []job.Event{ask}); err != nil {
		t.Fatal(err)
	}
	if err := give(1, "me"); !errors.Is(err, job.ErrNoInput) {
		t.Errorf("the event came twice: %v", err)
	}
}
