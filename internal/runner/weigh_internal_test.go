package runner

import (
	"context"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

type weighed struct {
	Interpreter
	bytes int64
}

func (w weighed) MemoryBytes() int64 { return w.bytes }

type notedUse struct {
	Registry
	used map[string]int64
}

func (n *notedUse) SessionsUse(_ context.Context, _ string, used map[string]int64, _ time.Duration) error {
	n.used = used
	return nil
}

// TestWeighSessions: the memory of each session with an interpreter is noted, and nothing if there is none.
func TestWeighSessions(t *testing.T) {
	t.Parallel()
	n := new(notedUse)
	r := New(Config{Self: job.Runner{ID: "r"}, Registry: n, Log: slog.New(slog.DiscardHandler)})
	r.sessions.live["without"] = &served{}
	r.sessions.live["over"] = &served{interpreter: weighed{bytes: 1}, over: true}
	r.sessions.live["of another kind"] = &served{interpreter: struct{ Interpreter }{}}
	if r.weighSessions(t.Context()); n.used != nil {
		t.Errorf("noted %v", n.used)
	}
	r.sessions.live["one"] = &served{interpreter: weighed{bytes: 7}}
	if r.weighSessions(t.Context()); !maps.Equal(n.used, map[string]int64{"one": 7}) {
		t.Errorf("noted %v", n.used)
	}
}
