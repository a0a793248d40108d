package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// putTime bounds the storing of the files that come with a request.
const putTime = 30 * time.Second

// file finds a file that a job of the caller left, by its path.
func (s *Service) file(ctx context.Context, c Caller, id, path string) (job.Job, job.File, error) {
	j, err := s.visible(ctx, c, id, s.cfg.Lookup.Get)
	if err != nil {
		return j, job.File{}, err
	}
	if j.Result != nil {
		if i, ok := job.FindFile(j.Result.Files, path); ok {
			return j, j.Result.Files[i], nil
		}
	}
	if !j.State.Terminal() {
		return j, job.File{}, fmt.Errorf("find file: %w", ErrNotEnded)
	}
	return j, job.File{}, fmt.Errorf("find file: %w", job.ErrNoFile)
}

// OpenFile opens a file that a job left. The content is to be closed.
func (s *Service) OpenFile(ctx context.Context, c Caller, id, path string) (job.Job, job.File, io.ReadSeekCloser, error) {
	if err := c.may(access.Files); err != nil {
		return job.Job{}, job.File{}, nil, err
	}
	j, f, err := s.file(ctx, c, id, path)
	if err != nil {
		return j, f, nil, err
	}
	content, err := s.cfg.Blobs.Open(ctx, j.OutputKey(f))
	if err != nil {
		return j, f, nil, fileError(err)
	}
	return j, f, content, nil
}

// DeleteFile deletes a file that a job left.
func (s *Service) DeleteFile(ctx context.Context, c Caller, id, path string) error {
	if err := c.may(access.Files); err != nil {
		return err
	}
	j, f, err := s.file(ctx, c, id, path)
	if err != nil {
		return err
	}
	key := j.OutputKey(f)
	if err := s.cfg.Files.DropFile(ctx, j.ID, key, f.Size); err != nil {
		return err
	}
	if err := s.cfg.Blobs.Delete(ctx, key); err != nil {
		// It goes with the job.
		s.cfg.Log.WarnContext(ctx, "delete the content of a file", slog.String("job_id", j.ID), slog.Any("err", err))
	}
	return nil
}

// fileError distinguishes a blob store that does not answer from a job store that does not.
func fileError(err error) error {
	if errors.Is(err, job.ErrUnavailable) {
		return fmt.Errorf("%w: %w", ErrFileStore, err)
	}
	return err
}

// record records jobs, after the files that come with them: so a runner finds those.
func (s *Service) record(ctx context.Context, drafts []job.NewJob) []job.Created {
	out := make([]job.Created, len(drafts))
	ready, places := make([]job.NewJob, 0, len(drafts)), make([]int, 0, len(drafts))
	for i, n := range drafts {
		if err := s.putInputs(ctx, n); err != nil {
			out[i].Err = err
			continue
		}
		ready, places = append(ready, n), append(places, i)
	}
	created := s.cfg.Records.CreateAll(ctx, ready)
	for _, n := range ready {
		clear(n.Contents) // they are stored; a caller may wait for an hour from here on
	}
	for i, c := range created {
		out[places[i]] = c
		// In doubt they stay: the job may have been recorded all the same.
		if c.Replayed || c.Err != nil && !errors.Is(c.Err, job.ErrUnavailable) {
			s.dropInputs(ctx, ready[i])
		}
	}
	return out
}

func (s *Service) putInputs(ctx context.Context, n job.NewJob) error {
	if len(n.Contents) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, putTime)
	defer cancel()
	if err := s.cfg.Files.RoomForInputs(ctx, n.Job.ID, n.Caller, footprint(n.Spec.Files)); err != nil {
		return err
	}
	for i, content := range n.Contents {
		if _, err := s.cfg.Blobs.Put(ctx, job.InputKey(n.Job.ID, i), bytes.NewReader(content)); err != nil {
			s.dropInputs(ctx, n)
			return fileError(err)
		}
	}
	return nil
}

// footprint is the room of files in the blob store.
func footprint(files []job.Input) int64 {
	var bytes int64
	for _, f := range files {
		bytes += job.Footprint(f.Size)
	}
	return bytes
}

// dropInputs deletes the files that came with a job that was not recorded. The cleaner finds the
// rest as orphans.
func (s *Service) dropInputs(ctx context.Context, n job.NewJob) {
	if len(n.Spec.Files) == 0 {
		return
	}
	keys := make([]string, len(n.Spec.Files))
	for i := range keys {
		keys[i] = job.InputKey(n.Job.ID, i)
	}
	s.dropBlobs(ctx, n.Job.ID, keys...)
}

// dropBlobs deletes all blobs of a job, in the background: they were for one request only. The
// cleaner finds the rest.
func (s *Service) dropBlobs(ctx context.Context, id string, keys ...string) {
	s.cfg.Background.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putTime)
		defer cancel()
		err := s.cfg.Blobs.Delete(ctx, keys...)
		if err == nil {
			err = s.cfg.Files.ForgetBlobs(ctx, id)
		}
		if err != nil {
			s.cfg.Log.WarnContext(ctx, "delete files that were for one request", slog.String("job_id", id), slog.Any("err", err))
		}
	})
}
