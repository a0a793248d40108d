package service

import (
	"context"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// Queues counts the jobs of each queue, and shows its pause: those of the caller's tenant, or all of them.
func (s *Service) Queues(ctx context.Context, c Caller) ([]job.QueueStats, error) {
	if err := c.may(access.Read); err != nil {
		return nil, err
	}
	all, err := s.cfg.Fleet.Queues(ctx, s.cfg.Limits.Queues, c.viewer())
	if err == nil {
		err = s.withPauses(ctx, all)
	}
	return all, err
}

// Runners lists the runners that are alive. They are the operator's: a tenant has no use for their
// names and layers.
func (s *Service) Runners(ctx context.Context, c Caller) ([]job.Runner, error) {
	if err := s.mayWatch(c); err != nil {
		return nil, err
	}
	return s.cfg.Fleet.Runners(ctx)
}

// History returns what queues and runners did in the last time, the oldest first. It is the operator's as the runners are: it counts the jobs of all
// tenants.
func (s *Service) History(ctx context.Context, c Caller, last time.Duration) ([]job.Sample, error) {
	if err := s.mayWatch(c); err != nil {
		return nil, err
	}
	now := time.Now()
	return s.cfg.Fleet.Samples(ctx, now.Add(-last), now)
}

// mayWatch refuses a caller that may not see the runners.
func (s *Service) mayWatch(c Caller) error {
	if c.Tenant != "" {
		return c.may(access.Admin)
	}
	return c.may(access.Read)
}

// Runtimes lists what a request may name as its runtime.
func (s *Service) Runtimes(ctx context.Context, c Caller) ([]job.Runtime, error) {
	if err := c.may(access.Read); err != nil {
		return nil, err
	}
	runners, err := s.cfg.Fleet.Runners(ctx)
	return c.limits().OfRuntimes(job.Runtimes(runners)), err
}

// Ready reports whether jobs can be accepted: ErrStopping if the process is about to stop, and the
// reason if that is its records.
func (s *Service) Ready(ctx context.Context) error {
	if s.cfg.Unfit != nil {
		if err := s.cfg.Unfit(); err != nil {
			return err
		}
	}
	select {
	case <-s.cfg.Draining:
		return ErrStopping
	default:
		return s.cfg.Fleet.Ready(ctx)
	}
}
