package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// The files of a session are its live working directory, which is with its runner. So
// whatever is done with them is an operation. It runs beside the session's executions.

// SessionFiles lists files of a session, after a path and at most so many.
func (s *Service) SessionFiles(ctx context.Context, c Caller, session string, page job.SessionFilesPage) (job.SessionFiles, error) {
	if err := c.may(access.Sessions); err != nil {
		return job.SessionFiles{}, err
	}
	j, err := s.operation(ctx, c, session, job.Spec{Op: job.OpListFiles}, page)
	if err != nil {
		return job.SessionFiles{}, err
	}
	return sessionFiles(j)
}

// sessionFiles reads what a runner answers about files.
func sessionFiles(j job.Job) (job.SessionFiles, error) {
	var answer job.SessionFiles
	if err := json.Unmarshal(j.Data, &answer); err != nil {
		return answer, fmt.Errorf("decode the files of a session: %w", err)
	}
	return answer, nil
}

// OpenSessionFile opens a copy of a file of a session. The content is to be closed, which
// deletes the copy.
func (s *Service) OpenSessionFile(ctx context.Context, c Caller, session, path string) (job.SessionFile, io.ReadSeekCloser, error) {
	if err := c.may(access.Sessions); err != nil {
		return job.SessionFile{}, nil, err
	}
	j, err := s.operation(ctx, c, session, job.Spec{Op: job.OpReadFile}, job.SessionPath{Path: []byte(path)})
	if err != nil {
		return job.SessionFile{}, nil, err
	}
	var f job.SessionFile
	if err := json.Unmarshal(j.Data, &f); err != nil {
		return f, nil, fmt.Errorf("decode a file of a session: %w", err)
	}
	key := j.OutputKey(f.File)
	content, err := s.cfg.Blobs.Open(ctx, key)
	if err != nil {
		s.dropBlobs(ctx, j.ID, key)
		return f, nil, fileError(err)
	}
	return f, &dropped{content, func() { s.dropBlobs(ctx, j.ID, key) }}, nil
}

// dropped is a content that goes when it has been read.
type dropped struct {
	io.ReadSeekCloser
	drop func()
}

func (d *dropped) Close() error {
	defer d.drop()
	return d.ReadSeekCloser.Close()
}

// PutSessionFile stores what r has as it comes, and then has the session's runner fetch it: no
// process holds it in memory. A ReadError says that r has failed.
func (s *Service) PutSessionFile(ctx context.Context, c Caller, session, path string, r io.Reader) (job.SessionFile, error) {
	if err := c.may(access.Sessions); err != nil {
		return job.SessionFile{}, err
	}
	if err := s.cfg.Limits.AcceptPath(path); err != nil {
		return job.SessionFile{}, err
	}
	// A file for a session that does not live is refused before it arrives.
	if err := s.checkLive(ctx, c, session); err != nil {
		return job.SessionFile{}, err
	}
	id, size, err := s.upload(ctx, c, r)
	if err != nil {
		return job.SessionFile{}, err
	}
	files, err := s.putInSession(ctx, c, session, id, []job.Input{{Path: path, Size: size}}, nil)
	if err != nil {
		return job.SessionFile{}, err
	}
	return files[0], nil
}

// upload stores what r has as the first input of a new job. It returns the job's id.
func (s *Service) upload(ctx context.Context, c Caller, r io.Reader) (id string, size int64, err error) {
	if id, err = newID("job"); err != nil {
		return "", 0, err
	}
	body := &failing{r: r}
	key := job.InputKey(id, 0)
	counted := &roomy{r: body, room: func(size int64) error {
		return s.cfg.Files.RoomForInputs(ctx, id, c.ID(), job.Footprint(size))
	}}
	size, err = s.cfg.Blobs.Put(ctx, key, counted)
	if err == nil {
		err = counted.end()
	}
	if err != nil || counted.err != nil {
		s.dropBlobs(ctx, id, key)
	}
	switch {
	case counted.err != nil:
		return "", 0, counted.err
	case body.err != nil && ctx.Err() == nil:
		return "", 0, &ReadError{body.err}
	case err != nil:
		return "", 0, fileError(err)
	}
	return id, size, nil
}

// checkLive refuses what is for a session that is not there, or has ended.
func (s *Service) checkLive(ctx context.Context, c Caller, id string) error {
	if err := checkSession(id); err != nil {
		return err
	}
	se, err := s.cfg.Sessions.Session(ctx, id, c.owner())
	if err == nil && se.State == job.SessionEnded {
		err = &job.SessionEndedError{ID: id, SessionEnd: job.SessionEnd{Reason: se.Reason, Message: se.Message}}
	}
	return err
}

// ReadError says that the content which a caller sends could not be read to its end.
type ReadError struct{ Err error }

func (e *ReadError) Error() string { return "read what the caller sends: " + e.Err.Error() }
func (e *ReadError) Unwrap() error { return e.Err }

// failing remembers why reading has failed: it is a mistake of the caller and not of those who
// read.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

// PutSessionFiles puts files into a session, in their order; if one cannot be put there, those
// before it are there.
func (s *Service) PutSessionFiles(ctx context.Context, c Caller, session string, files []job.FileRequest) ([]job.SessionFile, error) {
	if err := c.may(access.Sessions); err != nil {
		return nil, err
	}
	inputs, contents, err := s.cfg.Limits.AcceptFiles(files)
	if err != nil {
		return nil, err
	}
	id, err := newID("job")
	if err != nil {
		return nil, err
	}
	return s.putInSession(ctx, c, session, id, inputs, contents)
}

// putInSession has files put into a session, with the job of that id.
func (s *Service) putInSession(ctx context.Context, c Caller, session, id string, files []job.Input, contents job.Contents) ([]job.SessionFile, error) {
	j, err := s.operationAs(ctx, c, session, job.NewJob{
		Job: job.Job{ID: id}, Spec: job.Spec{Op: job.OpPutFiles, Files: files}, Contents: contents,
	}, nil)
	if err != nil {
		return nil, err
	}
	found, err := sessionFiles(j)
	if err == nil && len(found.Files) != len(files) {
		err = io.ErrUnexpectedEOF
	}
	return found.Files, err
}

// RemoveSessionFile deletes a file of a session, or an empty directory.
func (s *Service) RemoveSessionFile(ctx context.Context, c Caller, session, path string) error {
	if err := c.may(access.Sessions); err != nil {
		return err
	}
	_, err := s.operation(ctx, c, session, job.Spec{Op: job.OpRemoveFile}, job.SessionPath{Path: []byte(path)})
	return err
}
