package interpreter

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/workdir"
)

// The files of a session. Several goroutines may use them at once, also beside an execution; Collect belongs to the one
// that executes. The session's processes may change the directory at any moment, so results may
// be outdated at once. But these methods touch nothing outside the directory, whatever the processes
// do. Their paths have been checked, or a search has found them. They return a job.RefusedError for
// an operation that the present state of the directory does not allow.

// Put puts a file into the session's working directory. It replaces an existing file.
func (s *Session) Put(path string, content io.Reader) error {
	return s.inDirectory("put file", func(t *workdir.Tree) error {
		stamp, err := s.charge(t, path, s.within(t, content), func(r io.Reader) (workdir.Stamp, error) { return t.Write(path, r) })
		if err != nil {
			return workdir.Refused(path, err)
		}
		s.w.files.note(path, stamp)
		return nil
	})
}

// within bounds content by the session's free disk space. At the strict level the session's own file
// system does that.
func (s *Session) within(t *workdir.Tree, content io.Reader) io.Reader {
	if s.w.pool.cfg.Sandbox == sandbox.Strict {
		return content
	}
	room := s.quota.DiskBytes
	files, _ := t.Search(context.Background())
	for _, f := range files {
		room -= f.Stamp.Size
	}
	return &workdir.Bounded{R: content, Room: room}
}

// Collect passes on the files created or changed since the last call, as Worker.Collect does. The
// caller calls it after each execution. It searches the directory only if the session has files.
func (s *Session) Collect(ctx context.Context, most job.FileLimits, keep workdir.Keep) (job.FilesDropped, error) {
	w := s.w
	w.files.knowWritten()
	if !w.files.left || w.dirs.Top != "" && workdir.IsEmpty(w.dirs.Work) {
		w.files.known = nil
		return job.FilesDropped{}, nil
	}
	if !w.alive() {
		return w.Collect(ctx, most, keep)
	}
	dropped := job.FilesDropped{Incomplete: true, Reason: "the sandbox was lost with its files"}
	err := s.inDirectory("collect files", func(t *workdir.Tree) error {
		ctx, cancel := w.untilClose(ctx)
		defer cancel()
		c := &workdir.Collection{Tree: t, Keep: keep, Known: w.files.known}
		var err error
		w.files.known, dropped, err = c.CollectLive(ctx, most)
		return err
	})
	return dropped, err
}

// Files lists the regular files in the working directory, and reports whether the list is complete.
func (s *Session) Files(ctx context.Context) (files []job.Found, all bool, err error) {
	err = s.inDirectory("list files", func(t *workdir.Tree) error {
		var some []workdir.Found
		some, all = t.Search(ctx)
		files = make([]job.Found, len(some))
		for i, f := range some {
			files[i] = job.Found{Path: f.Path, Size: f.Stamp.Size, Modified: f.Stamp.Modified()}
		}
		return nil
	})
	return files, all, err
}

// ReadFile calls use with a file's content, up to the length that the file had when it was opened.
func (s *Session) ReadFile(path string, use func(f job.Found, content io.Reader) error) error {
	return s.inDirectory("read file", func(t *workdir.Tree) error {
		file, now, err := t.Open(path)
		if err != nil {
			return workdir.Refused(path, err)
		}
		defer file.Close()
		f := job.Found{Path: path, Size: now.Size, Modified: now.Modified()}
		return use(f, io.LimitReader(file, now.Size))
	})
}

// RemoveFile deletes a file, a link but not its target, or an empty directory.
func (s *Session) RemoveFile(path string) error {
	return s.inDirectory("remove file", func(t *workdir.Tree) error {
		err := t.Remove(path)
		s.discharge(t)
		return workdir.Refused(path, err)
	})
}

// inDirectory calls do with the working directory. It returns job.ErrNotStarted if the interpreter
// has ended.
func (s *Session) inDirectory(what string, do func(t *workdir.Tree) error) error {
	release, err := s.w.hold()
	if err != nil {
		return fmt.Errorf("%s in session %s: %w", what, s.w.id, err)
	}
	defer release()
	t, err := s.w.workTree()
	if err != nil && (!s.w.alive() || hasEnded(err)) {
		err = errors.Join(job.ErrNotStarted, err)
	}
	if err == nil {
		err = do(t)
	}
	if err != nil {
		return fmt.Errorf("%s in session %s: %w", what, s.w.id, err)
	}
	return nil
}
