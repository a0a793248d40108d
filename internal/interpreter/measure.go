package interpreter

import (
	"context"
	"fmt"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
)

// measureTime is how long the processor time of a sandbox is measured.
const measureTime = 200 * time.Millisecond

// Measure returns what the sandbox of the session uses now. Forks of a session have one sandbox together.
func (s *Session) Measure(ctx context.Context) (job.SessionMeasure, error) {
	release, err := s.w.hold()
	if err != nil {
		return job.SessionMeasure{}, fmt.Errorf("measure session %s: %w", s.w.id, err)
	}
	defer release()
	began, used := time.Now(), s.cpuMicros()
	select {
	case <-time.After(measureTime):
	case <-ctx.Done():
		return job.SessionMeasure{}, ctx.Err()
	}
	m := job.SessionMeasure{CPUPercent: float64(s.cpuMicros()-used) / float64(time.Since(began).Microseconds()) * 100, MemoryBytes: s.MemoryBytes()}
	t, err := s.w.workTree()
	if err == nil {
		m.DiskBytes, err = t.Used()
	}
	if err != nil {
		return m, fmt.Errorf("measure files of session %s: %w", s.w.id, err)
	}
	return m, nil
}

// MemoryBytes returns the memory that the sandbox of the session uses now; 0 if it has ended.
func (s *Session) MemoryBytes() int64 {
	release, err := s.w.hold()
	if err != nil {
		return 0
	}
	defer release()
	if s.w.slot.group == nil {
		return s.w.slot.memory()
	}
	return s.w.slot.group.Held()
}

func (s *Session) cpuMicros() int64 {
	if s.w.slot.group == nil {
		return process.CPUOfChildren(s.w.slot.pid)
	}
	return s.w.slot.group.CPUMicros()
}
