package service

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// The file system of a session is with its runner, too. Unlike the operations on its working directory, these run
// beside executions.

// SessionFS does one thing with the file system of a session that moves no content.
func (s *Service) SessionFS(ctx context.Context, c Caller, session string, r job.FSRequest) (job.FSAnswer, error) {
	if err := c.may(access.Sessions); err != nil {
		return job.FSAnswer{}, err
	}
	j, err := s.operation(ctx, c, session, job.Spec{Op: job.OpFileSystem}, r)
	if err != nil {
		return job.FSAnswer{}, err
	}
	return fsAnswer(j)
}

func fsAnswer(j job.Job) (a job.FSAnswer, err error) {
	if err = json.Unmarshal(j.Data, &a); err != nil {
		err = fmt.Errorf("decode the answer about files of a session: %w", err)
	}
	return a, err
}

// ReadSessionFS reads a part of a file of a session, or a directory as an archive. The content is a copy; it is to be
// closed, which deletes it.
func (s *Service) ReadSessionFS(ctx context.Context, c Caller, session string, r job.FSRequest) (job.FSAnswer, io.ReadSeekCloser, error) {
	if err := c.may(access.Sessions); err != nil {
		return job.FSAnswer{}, nil, err
	}
	j, err := s.operation(ctx, c, session, job.Spec{Op: job.OpReadFileSystem}, r)
	if err != nil {
		return job.FSAnswer{}, nil, err
	}
	a, err := fsAnswer(j)
	if err != nil {
		return a, nil, err
	}
	key := job.OutputKey(j.ID, j.Attempt, job.ContentName)
	content, err := s.cfg.Blobs.Open(ctx, key)
	if err != nil {
		s.dropBlobs(ctx, j.ID, key)
		return a, nil, fileError(err)
	}
	return a, &dropped{content, func() { s.dropBlobs(ctx, j.ID, key) }}, nil
}

// WriteSessionFS stores the content as it comes, and then has the session's runner write it. A ReadError means that
// the content has failed.
func (s *Service) WriteSessionFS(ctx context.Context, c Caller, session string, r job.FSRequest, content io.Reader) (job.FSAnswer, error) {
	if err := c.may(access.Sessions); err != nil {
		return job.FSAnswer{}, err
	}
	if err := s.checkLive(ctx, c, session); err != nil { // else the caller would send everything first
		return job.FSAnswer{}, err
	}
	id, size, err := s.upload(ctx, c, content)
	if err != nil {
		return job.FSAnswer{}, err
	}
	j, err := s.operationAs(ctx, c, session, job.NewJob{
		Job: job.Job{ID: id}, Spec: job.Spec{Op: job.OpFileSystem, Files: []job.Input{{Path: job.ContentName, Size: size}}},
	}, r)
	if err != nil {
		return job.FSAnswer{}, err
	}
	return fsAnswer(j)
}
