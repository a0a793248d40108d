package service

import (
	"context"

	"github.com/kaa-run/kaa/internal/job"
)

// Queues counts the jobs of each queue.
func (s *Service) Queues(ctx context.Context) ([]job.QueueStats, error) {
	return s.cfg.Fleet.Queues(ctx, s.cfg.Limits.Queues)
}

// Runners lists the runners that are alive.
func (s *Service) Runners(ctx context.Context) ([]job.Runner, error) {
	return s.cfg.Fleet.Runners(ctx)
}

// Ready reports whether jobs can be accepted: ErrStopping if the process is about to stop.
func (s *Service) Ready(ctx context.Context) error {
	select {
	case <-s.cfg.Draining:
		return ErrStopping
	default:
		return s.cfg.Fleet.Ready(ctx)
	}
}
