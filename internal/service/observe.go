package service

import (
	"context"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// BeginSocket counts a client that observes a session until end is called.
func (s *Service) BeginSocket(c Caller, session string) (end func(), err error) {
	if err := c.may(access.Read); err != nil {
		return nil, err
	}
	return s.cfg.Hub.beginSocket(session, c.ID(), s.cfg.MaxSyncWaits)
}

// ListenSession calls wake, which does not block, when something was accepted for a session or
// it has ended, until forget is called. Wakes can be lost.
func (s *Service) ListenSession(id string, wake func()) (forget func()) {
	return s.cfg.Notifier.ListenSession(id, wake)
}

// ObserveFirst begins to observe what a live session of the caller executes.
func (s *Service) ObserveFirst(ctx context.Context, c Caller, session string) (job.Observation, error) {
	if err := c.may(access.Read); err != nil {
		return job.Observation{}, err
	}
	if err := checkSession(session); err != nil {
		return job.Observation{}, err
	}
	o, err := s.cfg.Observers.ObserveSession(ctx, session, c.ID(), job.Observation{})
	if err == nil && o.End != nil {
		err = &job.SessionEndedError{ID: session, SessionEnd: *o.End}
	}
	return o, err
}

// Observe returns what the session was given to execute since the observation before. It is to
// be called every minute at least.
func (s *Service) Observe(ctx context.Context, c Caller, session string, before job.Observation) (job.Observation, error) {
	if err := c.may(access.Read); err != nil {
		return job.Observation{}, err
	}
	return s.cfg.Observers.ObserveSession(ctx, session, c.ID(), before)
}

// GiveInput answers what an execution of a session asks for.
func (s *Service) GiveInput(ctx context.Context, c Caller, session string, a job.Answer) error {
	if err := c.may(access.Execute); err != nil {
		return err
	}
	if !IsID(a.JobID) {
		return job.ErrNoInput
	}
	return s.cfg.Observers.GiveInput(ctx, session, c.ID(), a)
}

// GiveReply answers a call of an execution of the caller's to one of its functions. session may name the
// session of the execution.
func (s *Service) GiveReply(ctx context.Context, c Caller, session string, p job.Reply) error {
	if err := c.may(access.Execute); err != nil {
		return err
	}
	if !IsID(p.JobID) {
		return job.ErrNotFound
	}
	return s.cfg.Observers.GiveReply(ctx, session, c.ID(), p)
}

// SubmitObserved submits an execution of a session for a client that observes the session.
// It calls accepted with the id of the job before the job may begin.
func (s *Service) SubmitObserved(ctx context.Context, c Caller, r job.Request, accepted func(id string)) (job.Job, error) {
	if err := c.may(access.Execute); err != nil {
		return job.Job{}, err
	}
	draft, err := s.draft(ctx, c, Submission{Request: r}, time.Now())
	if err != nil {
		return job.Job{}, err
	}
	accepted(draft.Job.ID)
	return s.submitForCaller(ctx, draft)
}
