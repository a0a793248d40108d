package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// TestCommandMessages: they come in their order, stay until they are taken, and have a bound. Others than the owner, and other
// jobs than commands, get none.
func TestCommandMessages(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{})
	ctx := t.Context()
	s := b.openLaned(t)
	id := b.create(t, newJob(inLane(s.ID, job.LaneBeside)))
	code := b.create(t, newJob(inSession(s.ID, "")))
	c, err := b.NextInSession(ctx, s.ID, job.Beside(id), "r", true)
	if err != nil {
		t.Fatal(err)
	}
	sent := []job.CommandMessage{
		{Data: []byte("a\x00\xff")}, {Signal: "TERM"}, {Size: &job.TerminalSize{Columns: 80, Rows: 24}}, {Data: []byte("b")}, {EOF: true},
	}
	before := b.held(t)
	for _, m := range sent {
		if err := b.TellCommand(ctx, s.ID, "me", id, m); err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
	}
	if held := b.held(t) - before; held < int64(len(sent)*job.CommandMessageCost) {
		t.Errorf("messages that wait count %d bytes", held)
	}
	if err := b.TellCommand(ctx, s.ID, "me", id, job.CommandMessage{Data: []byte("c")}); !errors.Is(err, job.ErrInputEnded) {
		t.Errorf("input after its end: %v", err)
	}
	for name, err := range map[string]error{
		"another caller":  b.TellCommand(ctx, s.ID, "other", id, sent[1]),
		"another session": b.TellCommand(ctx, "other", "me", id, sent[1]),
		"code":            b.TellCommand(ctx, s.ID, "me", code, sent[1]),
	} {
		if !errors.Is(err, job.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := b.CommandMessages(ctx, id, "")
	if err != nil || len(got) != len(sent) {
		t.Fatalf("%+v, %v", got, err)
	}
	var ids []string
	for i, m := range got {
		ids = append(ids, m.ID)
		if !cmp.Equal(m.CommandMessage, sent[i]) {
			t.Errorf("message %d is %+v, want %+v", i, m, sent[i])
		}
	}
	if rest, err := b.CommandMessages(ctx, id, ids[2]); err != nil || len(rest) != 2 {
		t.Errorf("after the third: %+v, %v", rest, err)
	}
	for range 2 {
		if err := b.TookMessages(ctx, id, ids); err != nil {
			t.Fatal(err)
		}
	}
	if rest, err := b.CommandMessages(ctx, id, ""); err != nil || len(rest) != 0 {
		t.Errorf("after all were taken: %+v, %v", rest, err)
	}
	if held := b.held(t) - before; held != 0 {
		t.Errorf("messages that were taken count %d bytes", held)
	}
	if cost := b.rdb.HGet(ctx, "{kaa}:job:"+id, "told_cost").Val(); cost != "0" {
		t.Errorf("the messages that wait cost %q", cost)
	}
	if of, err := b.CommandsOf(ctx, s.ID); err != nil || !slices.Equal(of, []string{id}) {
		t.Errorf("commands: %v, %v", of, err)
	}
	if _, _, err := b.FinishInSession(ctx, *c, job.Outcome{State: job.Completed, Result: &job.Result{Status: job.StatusOK}}); err != nil {
		t.Fatal(err)
	}
	if err := b.TellCommand(ctx, s.ID, "me", id, sent[1]); !errors.Is(err, job.ErrCommandEnded) {
		t.Errorf("after the end: %v", err)
	}
}

// TestResizeWithoutTerminal: only the owner of a command learns that it has none.
func TestResizeWithoutTerminal(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	ctx := t.Context()
	s := b.openLaned(t)
	size := job.CommandMessage{Size: &job.TerminalSize{Columns: 80, Rows: 24}}
	with := func(c *job.Command) func(*job.NewJob) {
		return func(n *job.NewJob) { inLane(s.ID, job.LaneBeside)(n); n.Spec.Command = c }
	}
	pipes := b.create(t, newJob(with(&job.Command{Line: `echo '"terminal":{"columns":80}'`})))
	terminal := b.create(t, newJob(with(&job.Command{Line: "sh", Terminal: size.Size})))
	if err := b.TellCommand(ctx, s.ID, "me", pipes, size); !errors.Is(err, job.ErrNoTerminal) {
		t.Errorf("pipes: %v", err)
	}
	if err := b.TellCommand(ctx, s.ID, "other", pipes, size); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("another caller: %v", err)
	}
	if err := b.TellCommand(ctx, s.ID, "me", terminal, size); err != nil {
		t.Errorf("a terminal: %v", err)
	}
}

func TestCommandMessagesAreBounded(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{})
	ctx := t.Context()
	s := b.openLaned(t)
	id := b.create(t, newJob(inLane(s.ID, job.LaneBeside)))
	large := job.CommandMessage{Data: []byte(strings.Repeat("x", job.MaxCommandInput))}
	sent := 0
	var err error
	for ; err == nil && sent < 100; sent++ {
		err = b.TellCommand(ctx, s.ID, "me", id, large)
	}
	if !errors.Is(err, job.ErrInputFull) || sent > job.MaxCommandWaiting/job.MaxCommandInput+1 {
		t.Errorf("%d messages: %v", sent, err)
	}
	all, err := b.CommandMessages(ctx, id, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.TookMessages(ctx, id, []string{all[0].ID}); err != nil {
		t.Fatal(err)
	}
	if err := b.TellCommand(ctx, s.ID, "me", id, large); err != nil {
		t.Errorf("after one was taken: %v", fmt.Sprint(err))
	}
	if err := b.EndSession(ctx, s.ID, job.SessionEnd{Reason: job.EndDeleted}); err != nil {
		t.Fatal(err)
	}
	if left, held := b.rdb.Exists(ctx, "{kaa}:job:"+id+":messages").Val(), b.held(t); left != 0 || held >= int64(job.MaxCommandInput) {
		t.Errorf("after the end: %d streams, %d bytes", left, held)
	}
}

// held returns the bytes that count for the caller of the tests.
func (b *bundle) held(t *testing.T) int64 {
	t.Helper()
	n, err := b.rdb.HGet(t.Context(), "{kaa}:bytes", "me").Int64()
	if err != nil {
		t.Fatal(err)
	}
	return n
}
