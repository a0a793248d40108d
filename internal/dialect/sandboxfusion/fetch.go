package sandboxfusion

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// opener opens a file that code has left; a nil content says that there is none.
type opener func(path string) (size int64, content io.ReadCloser, err error)

// fetchJob reads the wanted files that a job has left. One that came with it and was not changed is as it came.
func (d *Dialect) fetchJob(r *http.Request, j job.Job, f files) (found map[string]string, release func(), err error) {
	return d.fetch(r, f, func(path string) (int64, io.ReadCloser, error) {
		_, file, content, err := d.parts.Service.OpenFile(r.Context(), service.CallerOf(r.Context()), j.ID, path)
		if errors.Is(err, job.ErrNoFile) {
			return 0, nil, nil
		}
		return file.Size, content, err
	})
}

// fetchSession reads the wanted files of a session. If it has ended, they are gone.
func (d *Dialect) fetchSession(r *http.Request, session string, f files) (found map[string]string, release func(), err error) {
	return d.fetch(r, f, func(path string) (int64, io.ReadCloser, error) {
		file, content, err := d.parts.Service.OpenSessionFile(r.Context(), service.CallerOf(r.Context()), session, path)
		switch code := dialect.FailureOf(err); {
		case errors.Is(err, job.ErrSessionEnded), code == job.FailNoFile, code == job.FailIsDirectory, code == job.FailNotDirectory, code == job.FailSessionEnded:
			return 0, nil, nil
		}
		return file.Size, content, err
	})
}

// fetch reads files, whose bytes count as those of bodies until release is called. What is not there is left out.
func (d *Dialect) fetch(r *http.Request, f files, open opener) (found map[string]string, release func(), err error) {
	s := d.parts.Service
	held := s.HoldBody(service.CallerOf(r.Context()))
	found = map[string]string{}
	left := s.Limits().MaxInputBytes
	came := make(map[string]string, len(f.Files))
	for name, text := range f.Files {
		if text != nil {
			came[cleaned(name)] = *text
		}
	}
	for _, name := range f.Fetch {
		size, content, err := open(cleaned(name))
		if err != nil {
			return nil, held.Release, err
		}
		if content == nil {
			if text, ok := came[cleaned(name)]; ok {
				found[name] = text
			}
			continue
		}
		if left -= size; left < 0 {
			_ = content.Close()
			return nil, held.Release, dialect.NewFault(http.StatusRequestEntityTooLarge, "file_too_large",
				"fetch_files has more than %d bytes in all; fetch less", s.Limits().MaxInputBytes)
		}
		if err := held.Hold(2 * size); err != nil {
			_ = content.Close()
			return nil, held.Release, err
		}
		data, err := io.ReadAll(io.LimitReader(content, size))
		_ = content.Close()
		if err != nil {
			return nil, held.Release, err
		}
		found[name] = base64.StdEncoding.EncodeToString(data)
	}
	return found, held.Release, nil
}
