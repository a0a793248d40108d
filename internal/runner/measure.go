package runner

import (
	"context"
	"encoding/json"

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
