package store_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// callEvents are events of calls of an attempt, from seq on.
func callEvents(attempt int, seq uint64, t job.EventType, calls ...string) (events []job.Event) {
	for _, id := range calls {
		e := job.NewEvent(t, job.CallData{Type: t, ID: id, Name: "f", Arguments: []byte(`{"callId":"1-9"}`)})
		seq++
		e.ID = job.EventID{Attempt: attempt, Seq: seq}
		events = append(events, e)
	}
	return events
}

// TestGiveReply: several calls are open at once, and the first answer to each counts, also if it is sent
// twice. An answer stays until its runner has it.
func TestGiveReply(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{EventBytes: 1 << 20})
	again := redis.NewClient(b.rdb.Options())
	t.Cleanup(func() { _ = again.Close() })
	again.AddHook(twice{})
	repeating := store.New(again, store.Config{EventBytes: 1 << 20})
	ctx := t.Context()
	heard := make(messages, 10)
	l, err := b.ListenRunner(ctx, b.runner, heard, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	id := b.create(t, newJob(of("me"), func(n *job.NewJob) { n.Job.MaxAttempts = 2 }))
	c := b.claim(t, id)
	give := func(call, caller, session string) error {
		return repeating.GiveReply(ctx, session, caller, job.Reply{JobID: id, Call: call, Text: `{"value": "` + call + `  +"}`})
	}
	if err := give("1-1", "me", ""); !errors.Is(err, job.ErrNoCall) {
		t.Errorf("before the call: %v", err)
	}
	for _, events := range [][]job.Event{callEvents(1, 0, job.EventCall, "1-1", "1-2", "1-3"), callEvents(1, 10, job.EventCallEnd, "1-3")} {
		if err := repeating.AppendEvents(ctx, c, job.EventID{}, events); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		call, caller, session string
		want                  error
	}{
		{"1-9", "me", "", job.ErrNoCall},
		{"1-3", "me", "", job.ErrNoCall},
		{"", "me", "", job.ErrNoCall},
		{"1-1", "other", "", job.ErrNotFound},
		{"1-1", "", "", job.ErrNotFound},
		{"1-1", "me", "a-session", job.ErrNotFound},
		{"1-2", "me", "", nil},
		{"1-1", "me", "", nil},
		{"1-2", "me", "", job.ErrNoCall},
		{"1-1", "me", "", job.ErrNoCall},
	} {
		if err := give(tt.call, tt.caller, tt.session); !errors.Is(err, tt.want) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	want := []job.Reply{{JobID: id, Call: "1-1", Text: `{"value": "1-1  +"}`}, {JobID: id, Call: "1-2", Text: `{"value": "1-2  +"}`}}
	for _, p := range slices.Backward(want) {
		if m := next(t, heard); m != fmt.Sprintf("replied %+v", p) {
			t.Errorf("the runner is told %q", m)
		}
	}
	kept := func() (all []job.Reply) {
		t.Helper()
		all, err := b.Replies(ctx, []string{newID(), id})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	less := cmp.Transformer("byCall", func(all []job.Reply) map[string]job.Reply {
		by := map[string]job.Reply{}
		for _, p := range all {
			by[p.Call] = p
		}
		return by
	})
	if diff := cmp.Diff(want, kept(), less); diff != "" {
		t.Errorf("answers (-want +got)\n%s", diff)
	}
	if err := b.RepliesTaken(ctx, id, []string{"1-1"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want[1:], kept(), less); diff != "" {
		t.Errorf("after one was taken (-want +got)\n%s", diff)
	}
	if err := give("1-1", "me", ""); !errors.Is(err, job.ErrNoCall) {
		t.Errorf("after it was taken: %v", err)
	}

	// The next attempt has calls of its own.
	if _, err := b.GiveBack(ctx, c, job.Failure{Code: job.FailRunnerLost}); err != nil {
		t.Fatal(err)
	}
	if all := kept(); len(all) > 0 {
		t.Errorf("after the attempt: %+v", all)
	}
	c = b.claim(t, id)
	if err := b.AppendEvents(ctx, c, job.EventID{}, callEvents(2, 0, job.EventCall, "2-1")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(give("2-1", "me", "")); err != nil {
		t.Error(err)
	}
	if err := give("1-2", "me", ""); !errors.Is(err, job.ErrNoCall) {
		t.Errorf("a call of the attempt before: %v", err)
	}
	if err := b.Finish(ctx, c, job.Outcome{State: job.Completed, Result: result()}); err != nil {
		t.Fatal(err)
	}
	if n, err := b.rdb.Exists(ctx, "{kaa}:calls:"+id).Result(); n != 0 || err != nil {
		t.Errorf("after the end there are %d keys, %v", n, err)
	}
	if err := give("2-1", "me", ""); !errors.Is(err, job.ErrNoCall) {
		t.Errorf("after the end: %v", err)
	}
}

func next(t *testing.T, heard messages) string {
	t.Helper()
	select {
	case m := <-heard:
		return m
	case <-time.After(time.Minute):
		t.Fatal("the runner is told nothing")
		return ""
	}
}

// TestBytesOfReplies: answers count in the bytes of the caller.
func TestBytesOfReplies(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{EventBytes: 1 << 20, MaxCallerBytes: 1 << 30})
	id := b.create(t, newJob(of("a")))
	if err := b.AppendEvents(t.Context(), b.claim(t, id), job.EventID{}, callEvents(1, 0, job.EventCall, "1-1")); err != nil {
		t.Fatal(err)
	}
	held := func() int {
		n, err := b.rdb.HGet(t.Context(), "{kaa}:bytes", "a").Int()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := held()
	if err := b.GiveReply(t.Context(), "", "a", job.Reply{JobID: id, Call: "1-1", Text: strings.Repeat("x", 10_000)}); err != nil {
		t.Fatal(err)
	}
	if more := held() - before; more < 10_000 || more > 10_100 {
		t.Errorf("the answer counts %d bytes", more)
	}
}
