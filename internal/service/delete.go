package service

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// Delete deletes a job that has ended, with its result, events and files, as if it had never been.
// ErrNotOwner: the caller may only see it. job.ErrUnfinished: it has not ended.
func (s *Service) Delete(ctx context.Context, c Caller, id string) error {
	if err := c.may(access.Execute); err != nil {
		return err
	}
	j, err := s.visible(ctx, c, id, s.cfg.Lookup.Summary)
	if err != nil {
		return err
	}
	if !c.viewer().Owns(j.Owner) {
		return fmt.Errorf("delete job: %w", ErrNotOwner)
	}
	hasBlobs, err := s.cfg.Records.Remove(ctx, id)
	if err != nil {
		return err
	}
	if hasBlobs {
		s.deleteFiles(ctx, id)
	}
	return nil
}

// deleteFiles deletes the files of a job without a record. The cleaner finds those that stay.
func (s *Service) deleteFiles(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putTime)
	defer cancel()
	err := s.cfg.Blobs.DeleteAll(ctx, job.KeyPrefix(id))
	if err == nil {
		err = s.cfg.Files.ForgetBlobs(ctx, id)
	}
	if err != nil {
		s.cfg.Log.WarnContext(ctx, "files of a deleted job are left to the cleaner", slog.String("job_id", id), slog.Any("err", err))
	}
}
