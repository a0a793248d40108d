package runner

import (
	"context"
	"encoding/json"
	"log/slog"

	"github.com/kaa-run/kaa/internal/job"
)

// Measurable is an interpreter whose sandbox can be measured.
type Measurable interface {
	// Measure returns what the sandbox uses now.
	Measure(ctx context.Context) (job.SessionMeasure, error)
}

// measure returns what the sandbox of a session uses. A session that has executed nothing has none, which uses nothing.
func measure(ctx context.Context, s *Session, _ json.RawMessage) (any, *job.SessionEnd, error) {
	i := s.attached()
	m, ok := i.(Measurable)
	if !ok {
		return job.SessionMeasure{}, nil, nil
	}
	used, err := m.Measure(ctx)
	if err != nil {
		return nil, i.Alive(), err
	}
	return used, nil, nil
}

// Weighable is an interpreter that knows how much memory its sandbox uses now.
type Weighable interface{ MemoryBytes() int64 }

// weighSessions notes how much memory each session uses. The note outlives the next one by little, so that a runner
// that has lost its last session sends nothing.
func (r *Runner) weighSessions(ctx context.Context) {
	bytes := make(map[string]int64)
	for id, i := range r.sessions.interpreters() {
		if w, ok := i.(Weighable); ok {
			bytes[id] = w.MemoryBytes()
		}
	}
	if len(bytes) == 0 || ctx.Err() != nil {
		return
	}
	if err := r.cfg.Registry.SessionsUse(ctx, r.cfg.Self.ID, bytes, 3*lookEvery*r.cfg.HeartbeatEvery); err != nil && ctx.Err() == nil {
		r.cfg.Log.WarnContext(ctx, "the memory of sessions was not noted: will try again", slog.Any("err", err))
	}
}

// interpreters returns the interpreters of the sessions that have one.
func (s *sessions) interpreters() map[string]Interpreter {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]Interpreter, len(s.live))
	for id, se := range s.live {
		if se.interpreter != nil && !se.over {
			all[id] = se.interpreter
		}
	}
	return all
}
