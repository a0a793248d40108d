package service

import (
	"context"
	"errors"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

const (
	// savedWithin is how long the opening of a session waits for the files of the session that had its volume before, and savedLook the
	// period in which it looks.
	savedWithin = 20 * time.Second
	savedLook   = 100 * time.Millisecond
)

// openSaved opens a session. If its volume is that of a session that has just ended, it waits until the files are saved.
func (s *Service) openSaved(ctx context.Context, n job.NewSession) (job.Session, error) {
	for began := time.Now(); ; {
		se, err := s.cfg.Sessions.OpenSession(ctx, n)
		used, ok := errors.AsType[*job.VolumeInUseError](err)
		if !ok || !used.Saving || time.Since(began) > savedWithin {
			return se, err
		}
		select {
		case <-ctx.Done():
			return se, err
		case <-time.After(savedLook):
		}
	}
}

// Volumes lists the caller's volumes in the order of their names.
func (s *Service) Volumes(ctx context.Context, c Caller, cursor string, limit int) (all []job.Volume, next string, err error) {
	if err := c.may(access.Read); err != nil {
		return nil, "", err
	}
	return s.cfg.Sessions.Volumes(ctx, c.ID(), cursor, limit)
}

// Volume returns a volume of the caller.
func (s *Service) Volume(ctx context.Context, c Caller, name string) (job.Volume, error) {
	if err := c.may(access.Read); err != nil {
		return job.Volume{}, err
	}
	return s.cfg.Sessions.Volume(ctx, c.ID(), name)
}

// DeleteVolume deletes a volume of the caller that no session uses.
func (s *Service) DeleteVolume(ctx context.Context, c Caller, name string) error {
	if err := c.may(access.Sessions); err != nil {
		return err
	}
	return s.cfg.Sessions.DropVolume(ctx, c.ID(), name)
}
