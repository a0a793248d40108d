package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// ErrRerunEarly means that a job has not ended, so it cannot run again.
var ErrRerunEarly = errors.New("the job has not ended, so it cannot run again")

// Rerun submits the request of a job that has ended again, as a new job of the caller. It has to be within what the caller's
// key may now. With an idempotency key repeated calls make one job. job.ErrRequestGone: the request was not kept.
func (s *Service) Rerun(ctx context.Context, c Caller, id, idempotencyKey string) (job.Created, error) {
	if err := c.may(access.Execute); err != nil {
		return job.Created{}, err
	}
	of, err := s.visible(ctx, c, id, s.cfg.Lookup.Summary)
	if err != nil {
		return job.Created{}, err
	}
	if !of.State.Terminal() {
		return job.Created{}, fmt.Errorf("run job again: %w", ErrRerunEarly)
	}
	n, err := s.cfg.Lookup.Request(ctx, of)
	if err != nil {
		return job.Created{}, err
	}
	if n, err = s.acceptAgain(ctx, c, n, time.Now()); err != nil {
		return job.Created{}, err
	}
	if n.Job.ID, err = newID("job"); err != nil {
		return job.Created{}, err
	}
	n.Job.RerunOf = id
	if idempotencyKey != "" {
		n.IdempotencyKey, n.Scope, n.Fingerprint = idempotencyKey, c.idempotencyScope(), "rerun:"+id
	}
	if err := s.copyInputs(ctx, id, n); err != nil {
		return job.Created{}, err
	}
	created := s.submit(ctx, []job.NewJob{n})[0]
	return created, created.Err
}

// Request returns what a job of the caller asked for, as far as it is kept. ErrNotOwner: the caller may only see the job. job.ErrRequestGone: it
// was not kept.
func (s *Service) Request(ctx context.Context, c Caller, id string) (job.NewJob, error) {
	if err := c.may(access.Read); err != nil {
		return job.NewJob{}, err
	}
	of, err := s.visible(ctx, c, id, s.cfg.Lookup.Summary)
	if err != nil {
		return job.NewJob{}, err
	}
	if !c.viewer().Owns(of.Owner) {
		return job.NewJob{}, fmt.Errorf("read request of job: %w", ErrNotOwner)
	}
	return s.cfg.Lookup.Request(ctx, of)
}

// acceptAgain checks a request that was accepted before for its caller now.
func (s *Service) acceptAgain(ctx context.Context, c Caller, n job.NewJob, now time.Time) (job.NewJob, error) {
	own := c.limits()
	limits := s.cfg.Limits.For(own)
	limits.Tenant = c.Tenant
	var err error
	n.Spec.Runtime, _ = job.SplitPackages(n.Spec.Runtime)
	if n.Spec.Runtime, err = own.Runtime(n.Spec.Runtime); err != nil {
		return job.NewJob{}, err
	}
	if name := n.Spec.Runtime; name != "" {
		if limits.Runtimes, err = s.runtimes.known(ctx, name, now); err != nil {
			return job.NewJob{}, err
		}
	}
	if n, err = limits.AcceptAgain(n, now); err != nil {
		return job.NewJob{}, err
	}
	n.Caller, n.MostWaiting, n.MostRunning = c.ID(), own.MostWaiting(), own.MostRunning()
	n.Job.Owner = c.ID()
	return n, nil
}

// copyInputs copies the files that came with a job for one that runs it again, before that is recorded. They have room of
// their own, since the other job may expire first.
func (s *Service) copyInputs(ctx context.Context, of string, n job.NewJob) error {
	if len(n.Spec.Files) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, putTime)
	defer cancel()
	if err := s.cfg.Files.RoomForInputs(ctx, n.Job.ID, n.Caller, footprint(n.Spec.Files)); err != nil {
		return err
	}
	for i := range n.Spec.Files {
		if err := s.copyBlob(ctx, job.InputKey(n.Job.ID, i), job.InputKey(of, i)); err != nil {
			s.dropInputs(ctx, n)
			return err
		}
	}
	return nil
}

func (s *Service) copyBlob(ctx context.Context, to, from string) error {
	content, err := s.cfg.Blobs.Open(ctx, from)
	if errors.Is(err, job.ErrNoFile) {
		return fmt.Errorf("copy a file of the job: %w: %w", job.ErrRequestGone, err)
	}
	if err != nil {
		return fileError(err)
	}
	defer func() { _ = content.Close() }()
	if _, err := s.cfg.Blobs.Put(ctx, to, content); err != nil {
		return fileError(err)
	}
	return nil
}
