package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// isCommand reports whether a job is a command of a session.
func isCommand(j job.Job, session string) bool {
	return j.InSession && j.SessionID == session && j.Queue == job.SessionQueue && j.Lane == job.Beside(j.ID)
}

// Command returns a command of a session, once it has ended or after wait. One that runs has its output so far.
func (s *Service) Command(ctx context.Context, c Caller, session, id string, wait time.Duration) (job.Job, error) {
	j, err := s.Job(ctx, c, id, wait)
	if err == nil && !isCommand(j, session) {
		return job.Job{}, fmt.Errorf("look for command: %w", job.ErrNotFound)
	}
	if err == nil && j.State == job.Running {
		j.SoFar, err = s.outputSoFar(ctx, id)
	}
	return j, err
}

// Commands returns the commands of a session that wait or run, oldest first.
func (s *Service) Commands(ctx context.Context, c Caller, session string) ([]job.Job, error) {
	if err := c.may(access.Read); err != nil {
		return nil, err
	}
	se, err := s.session(ctx, c, session)
	if err != nil || se.State == job.SessionEnded {
		return nil, err
	}
	ids, err := s.cfg.Commands.CommandsOf(ctx, session)
	if err != nil {
		return nil, err
	}
	slices.Sort(ids)
	all := make([]job.Job, 0, len(ids))
	for _, id := range ids {
		j, err := s.visible(ctx, c, id, s.cfg.Lookup.Summary)
		switch {
		case errors.Is(err, job.ErrNotFound), errors.Is(err, job.ErrGone):
		case err != nil:
			return nil, err
		case isCommand(j, session):
			all = append(all, j)
		}
	}
	return all, nil
}

const (
	// pidWait is how long the start of a command in the background waits for its process, and pidLook makes up for a lost message.
	pidWait = 5 * time.Second
	pidLook = 500 * time.Millisecond
)

// StartCommand submits a command of a session that runs in the background, and returns it once it has a process id or has ended, or after a
// few seconds. After these it is still to start.
func (s *Service) StartCommand(ctx context.Context, c Caller, sub Submission) (job.Created, error) {
	sub.Request.Background = true
	created, err := s.Submit(ctx, c, sub)
	if err != nil {
		return created, err
	}
	end, err := s.cfg.Hub.beginCall(c.ID(), s.cfg.MaxSyncWaits)
	if err != nil { // too many wait: this one need not
		return created, nil
	}
	defer end()
	wake := make(chan struct{}, 1)
	quiet := s.cfg.Notifier.Listen(created.Job.ID, func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	defer quiet()
	over, look := time.NewTimer(pidWait), time.NewTicker(pidLook)
	defer over.Stop()
	defer look.Stop()
	for {
		j, err := s.cfg.Lookup.Summary(ctx, created.Job.ID)
		if err == nil {
			created.Job = j
		}
		if err != nil || j.PID != 0 || j.State.Terminal() {
			return created, nil //nolint:nilerr // it is recorded
		}
		select {
		case <-wake:
		case <-look.C:
		case <-over.C:
			return created, nil
		case <-s.cfg.Draining:
			return created, nil
		case <-ctx.Done():
			return created, nil
		}
	}
}

// EndCommand ends a command with all processes that it has started. It reports whether the command has ended by then.
func (s *Service) EndCommand(ctx context.Context, c Caller, session, id string) (j job.Job, ended bool, err error) {
	if err := s.ownCommand(ctx, c, session, id); err != nil {
		return job.Job{}, false, err
	}
	return s.Cancel(ctx, c, id)
}

// TellCommand sends input, a signal or a size to a command.
func (s *Service) TellCommand(ctx context.Context, c Caller, session, id string, m job.CommandMessage) error {
	if err := c.may(access.Execute); err != nil {
		return err
	}
	if err := checkSession(session); err != nil {
		return err
	}
	if !IsID(id) {
		return fmt.Errorf("look for command: %w", job.ErrNotFound)
	}
	if err := job.CheckMessage(m); err != nil {
		return err
	}
	return s.cfg.Commands.TellCommand(ctx, session, c.ID(), id, m)
}

// ownCommand refuses what is not a command of the session that the caller may end.
func (s *Service) ownCommand(ctx context.Context, c Caller, session, id string) error {
	if err := c.may(access.Execute); err != nil {
		return err
	}
	if !IsID(id) {
		return fmt.Errorf("look for command: %w", job.ErrNotFound)
	}
	j, err := s.visible(ctx, c, id, s.cfg.Lookup.Summary)
	if err == nil && !isCommand(j, session) {
		err = fmt.Errorf("look for command: %w", job.ErrNotFound)
	}
	return err
}

// FollowCommand is Follow for a command of a session.
func (s *Service) FollowCommand(ctx context.Context, c Caller, session, id string, after job.EventID) (*Follower, error) {
	if err := c.may(access.Read); err != nil {
		return nil, err
	}
	if !IsID(id) {
		return nil, fmt.Errorf("look for command: %w", job.ErrNotFound)
	}
	j, err := s.visible(ctx, c, id, s.cfg.Lookup.Summary)
	if err == nil && !isCommand(j, session) {
		err = fmt.Errorf("look for command: %w", job.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return s.Follow(ctx, c, id, after)
}
