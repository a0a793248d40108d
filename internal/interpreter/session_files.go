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

// The files of a session. Its processes may change the directory at any moment, so what is
// told of it was so for a moment only; but nothing outside of it is touched, whatever they do.
// The paths of these methods have been checked or are what a search found. What cannot be done
// with the directory as it is now is a job.RefusedError.

// Put puts a file into the session's working directory; one that is there is replaced.
func (s *Session) Put(path string, content io.Reader) error {
	return s.inDirectory("put file", func(t *workdir.Tree) error {
		stamp, err := s.charge(t, path, s.within(t, content), func(r io.Reader) (workdir.Stamp, error) { return t.Write(path, r) })
		if err != nil {
			return workdir.Refused(path, err)
		}
		s.w.files.known.Put(path, stamp)
		return nil
	})
}

// within ends content for which there is no room, where no file system of the session's own
// does.
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

// Collect passes on the files that were created or changed since it was last called, as
// Worker.Collect does. To be called after each execution. A session that has no files costs
// nothing; one that has them is searched.
func (s *Session) Collect(ctx context.Context, most job.FileLimits, keep workdir.Keep) (job.FilesDropped, error) {
	w := s.w
	if !w.files.left || w.dirs.Top != "" && workdir.IsEmpty(w.dirs.Work) {
		w.files.known = nil
		return job.FilesDropped{}, nil
	}
	if !w.alive() {
		return w.Collect(ctx, most, keep)
	}
	dropped := job.FilesDropped{Incomplete: true, Reason: "the sandbox was lost with what was in it"}
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

// Files lists the regular files in the working directory, and reports whether that was all.
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

// ReadFile gives use a file's content, as long as it was when it was opened.
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

// RemoveFile deletes a file, a link as such, or an empty directory.
func (s *Session) RemoveFile(path string) error {
	return s.inDirectory("remove file", func(t *workdir.Tree) error {
		err := t.Remove(path)
		s.discharge(t)
		return workdir.Refused(path, err)
	})
}

// inDirectory does something to the working directory. job.ErrNotStarted: the interpreter has
// ended.
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
