package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// fakeCalls has answers of which no message came.
type fakeCalls struct {
	kept  []job.Reply
	taken []string
	err   error
}

func (f *fakeCalls) Replies(context.Context, []string) ([]job.Reply, error) {
	return slices.Clone(f.kept), f.err
}

func (f *fakeCalls) RepliesTaken(_ context.Context, id string, calls []string) error {
	if f.err != nil {
		return f.err
	}
	for _, call := range calls {
		f.taken = append(f.taken, id+" "+call)
		f.kept = slices.DeleteFunc(f.kept, func(p job.Reply) bool { return p.JobID == id && p.Call == call })
	}
	return nil
}

// TestReplies: an answer comes by its message or, if that was lost, from the store, which then drops it.
func TestReplies(t *testing.T) {
	t.Parallel()
	var calls fakeCalls
	r := New(Config{Calls: &calls, Log: slog.New(slog.DiscardHandler)})
	claim := func(id string, functions ...job.Function) job.Claim {
		return job.Claim{JobID: id, Spec: job.Spec{Functions: functions}}
	}
	r.cfg.Events = &fakeEvents{}
	e := r.track(claim("j", job.Function{Name: "f"}), func(error) {})
	defer e.feed.close()
	if plain := r.track(claim("plain"), func(error) {}); plain.replies != nil || plain.feed != nil {
		t.Errorf("an execution without functions: %+v", plain)
	}
	calls.kept = []job.Reply{{JobID: "j", Call: "1-1"}, {JobID: "j", Call: "1-2"}}
	r.Replied(calls.kept[0])
	r.Replied(job.Reply{JobID: "plain", Call: "1-1"})
	r.Replied(job.Reply{JobID: "gone", Call: "1-1"})
	calls.err = errors.New("no Redis")
	r.findReplies(t.Context())
	calls.err = nil
	for range 3 {
		r.findReplies(t.Context())
	}
	close(e.replies)
	var got []string
	for p := range e.replies {
		got = append(got, p.Call)
	}
	if fmt.Sprint(got) != "[1-1 1-1 1-2]" && fmt.Sprint(got) != "[1-1 1-2]" || len(calls.kept) > 0 {
		t.Errorf("the interpreter got %q; the store keeps %+v", got, calls.kept)
	}
}

// countedEvents counts the calls that are written, also if they are trimmed later.
type countedEvents struct {
	fakeEvents
	calls int
}

func (f *countedEvents) AppendEvents(ctx context.Context, c job.Claim, oldest job.EventID, events []job.Event) error {
	err := f.fakeEvents.AppendEvents(ctx, c, oldest, events)
	for _, e := range events {
		if err == nil && e.Type == job.EventCall {
			f.calls++
		}
	}
	return err
}

// TestFeedCalls: calls are written at once, and neither are they dropped while Redis does not answer
// nor replaced because they are large.
func TestFeedCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var store countedEvents
		f := newFeed(&store, job.Claim{JobID: "j", Attempt: 1}, 256<<10, slog.New(slog.DiscardHandler))
		synctest.Wait()
		time.Sleep(time.Second)
		call := func(n int) {
			e := job.NewEvent(job.EventCall, job.CallData{Type: job.EventCall, ID: job.CallID(1, n), Name: "f", Arguments: fmt.Appendf(nil, `"%s"`, bytes.Repeat([]byte("x"), 140<<10*(n%2)))})
			f.Event(e.Type, e.Data)
		}
		for n := range 4 {
			began := time.Now()
			call(n)
			synctest.Wait()
			if took := time.Since(began); took > 0 || store.calls != n+1 {
				t.Errorf("call %d is not written at once", n)
			}
		}
		store.fail(job.ErrUnavailable)
		f.Stream("stdout", bytes.Repeat([]byte("x"), 400<<10))
		call(4)
		f.Stream("stdout", bytes.Repeat([]byte("x"), 400<<10))
		time.Sleep(time.Second)
		store.fail(nil)
		finish(t, f)
		if store.calls != 5 {
			t.Errorf("%d calls were written", store.calls)
		}
	})
}
