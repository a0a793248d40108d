package service

import (
	"context"
	"errors"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// namedTries bounds how often a session is looked for that ended when it was found.
const namedTries = 5

// EnsureSession returns the caller's live session of a name. If there is none, it opens one as r says, and
// made is true. Of several calls at once, one opens it.
func (s *Service) EnsureSession(ctx context.Context, c Caller, name string, r job.SessionRequest) (se job.Session, made bool, err error) {
	if err := c.may(access.Sessions); err != nil {
		return job.Session{}, false, err
	}
	for range namedTries {
		se, err = s.open(ctx, c, r, name)
		named, ok := errors.AsType[*job.NamedError](err)
		if !ok {
			return se, err == nil, err
		}
		CallOf(ctx).SessionID = named.ID
		se, err = s.cfg.Sessions.Session(ctx, named.ID, c.viewer())
		if err == nil && se.State != job.SessionEnded {
			return se, false, nil
		}
		if err != nil && !errors.Is(err, job.ErrNoSession) {
			return job.Session{}, false, err
		}
	}
	return job.Session{}, false, job.ErrUnavailable
}

// SessionNamed returns the caller's live session of a name.
func (s *Service) SessionNamed(ctx context.Context, c Caller, name string) (job.Session, error) {
	if err := c.may(access.Read); err != nil {
		return job.Session{}, err
	}
	id, err := s.cfg.Sessions.SessionNamed(ctx, c.ID(), name)
	if err != nil {
		return job.Session{}, err
	}
	CallOf(ctx).SessionID = id
	return s.session(ctx, c, id)
}

// CloseSessionNamed ends the caller's live session of a name, as CloseSession does. The name is free then.
func (s *Service) CloseSessionNamed(ctx context.Context, c Caller, name string) (job.Session, error) {
	if err := c.may(access.Sessions); err != nil {
		return job.Session{}, err
	}
	id, err := s.cfg.Sessions.SessionNamed(ctx, c.ID(), name)
	if err != nil {
		return job.Session{}, err
	}
	CallOf(ctx).SessionID = id
	return s.CloseSession(ctx, c, id)
}
