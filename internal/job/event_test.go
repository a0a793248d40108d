package job_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

func TestEventIDs(t *testing.T) {
	t.Parallel()
	ordered := []job.EventID{{}, job.EndID(0), {Attempt: 1, Seq: 1}, {Attempt: 1, Seq: 10}, job.EndID(1), {Attempt: 2, Seq: 2}, job.EndID(2)}
	for i, id := range ordered {
		if read, err := job.ParseEventID(id.String()); err != nil || read != id {
			t.Errorf("%s is read as %s, %v", id, read, err)
		}
		for k, other := range ordered {
			if got := id.Compare(other); (got < 0) != (i < k) || (got == 0) != (i == k) {
				t.Errorf("%s to %s: %d", id, other, got)
			}
		}
	}
	if !job.EndID(3).Ends() || (job.EventID{Attempt: 1, Seq: 1 << 62}).Ends() {
		t.Error("which id ends")
	}
	for _, bad := range []string{"", "1", "-", "1-", "-1", "a-1", "1--1", "1-18446744073709551616", "99999999999-1", "1-1-1", " 1-1"} {
		if id, err := job.ParseEventID(bad); err == nil {
			t.Errorf("%q is read as %s", bad, id)
		}
	}
}

// notes is a sink that keeps what it gets.
type notes []string

func (n *notes) Stream(name string, p []byte) {
	if len(p) > 0 {
		*n = append(*n, fmt.Sprintf("%s %q", name, p))
	}
}

func (n *notes) Skipped(name string, bytes int64) {
	*n = append(*n, fmt.Sprintf("%s skips %d", name, bytes))
}

func (n *notes) Event(e job.EventType, data json.RawMessage) {
	*n = append(*n, fmt.Sprintf("%s %s", e, data))
}

// TestTap: whenever it is opened, the sink gets everything once.
func TestTap(t *testing.T) {
	t.Parallel()
	for _, opened := range []string{"at first", "before", "in between", "after"} {
		t.Run(opened, func(t *testing.T) {
			t.Parallel()
			var tap job.Tap
			var got notes
			var kept bytes.Buffer
			open := func(when string) {
				if when == opened {
					tap.Open(&got)
				}
			}
			open("at first")
			var shown []job.Event
			show := func() {
				e := job.Event{Type: job.EventDisplay, Data: json.RawMessage(`{}`)}
				tap.Show(func() bool { shown = append(shown, e); return true }, func() job.Event { return e })
			}
			tap.Attach(func(s job.Sink) {
				s.Stream("stdout", kept.Bytes())
				for _, e := range shown {
					s.Event(e.Type, e.Data)
				}
			})
			w := tap.Tee("stdout", &kept)
			open("before")
			_, _ = w.Write([]byte("a"))
			show()
			open("in between")
			_, _ = w.Write([]byte("b"))
			open("after")
			tap.Close()
			_, _ = w.Write([]byte("c"))
			show()
			tap.Open(new(notes))
			want := notes{`stdout "a"`, "display {}", `stdout "b"`}
			if opened == "after" {
				want = notes{`stdout "ab"`, "display {}"}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if kept.String() != "abc" {
				t.Errorf("kept %q", &kept)
			}
		})
	}
}

// TestNoTap: most executions have one that nobody opens, others none at all.
func TestNoTap(t *testing.T) {
	t.Parallel()
	var tap *job.Tap
	var b bytes.Buffer
	tap.Attach(func(job.Sink) { t.Error("replayed") })
	kept := false
	tap.Show(func() bool { kept = true; return true }, func() job.Event {
		t.Error("its event was made")
		return job.Event{}
	})
	if !kept {
		t.Error("it was not kept")
	}
	if w := tap.Tee("stdout", &b); w != &b {
		t.Errorf("writes to %T", w)
	}
}
