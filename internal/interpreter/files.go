package interpreter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/sandboxfs"
	"github.com/kaa-run/kaa/internal/workdir"
)

// files is the runner's view of a worker's working directory. Only the fields that opening guards are safe
// for concurrent use.
type files struct {
	opening sync.Mutex
	tree    *workdir.Tree            // guarded by opening; nil until it is needed
	system  *sandboxfs.FS            // guarded by opening; nil until it is needed
	wrote   map[string]workdir.Stamp // guarded by opening; files that were written beside executions

	known  workdir.Known // files that need not be collected
	left   bool          // the code may have left some
	script script
}

func (f *files) close() {
	f.opening.Lock()
	defer f.opening.Unlock()
	if f.system != nil {
		f.system.Close()
		f.system = nil
	}
	if f.tree != nil {
		f.tree.Close()
		f.tree = nil
	}
}

// openedDir is a slot's answer to the command D.
type openedDir struct {
	file *os.File
	err  error
}

func (s *slot) answerDir(m process.Message, file *os.File) {
	answer := openedDir{file: file}
	if file == nil {
		answer.err = errors.New(m.Error)
	}
	select {
	case s.dirs <- answer:
	default: // no call waits for the answer
		if file != nil {
			_ = file.Close()
		}
	}
}

// openWork makes the slot open the working directory, which is in the slot's mount namespace.
func (s *slot) openWork(command string) (*os.File, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	if err := s.link.Write([]byte(command)); err != nil {
		return nil, err
	}
	select {
	case answer := <-s.dirs:
		return answer.file, answer.err
	case <-s.gone:
		return nil, ErrClosed
	case <-time.After(slotAnswerTimeout):
		s.kill() // the next call would take a late answer for its own
		return nil, os.ErrDeadlineExceeded
	}
}

// hasEnded reports whether err is what asking a slot ends with whose process has just ended,
// which listen may not have noticed.
func hasEnded(err error) bool {
	return errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, ErrClosed)
}

// workTree returns the worker's directory.
func (w *Worker) workTree() (*workdir.Tree, error) {
	w.files.opening.Lock()
	defer w.files.opening.Unlock()
	if w.files.tree != nil {
		return w.files.tree, nil
	}
	var dir *os.File
	var err error
	switch f := w.forkGroup(); {
	case f != nil:
		dir, err = f.openWork(w)
	case w.pool.cfg.Sandbox == sandbox.Strict:
		dir, err = w.slot.openWork("D")
	default:
		dir, err = workdir.OpenDir(unix.AT_FDCWD, w.dirs.Work)
	}
	if err == nil {
		w.files.tree, err = workdir.New(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open the working directory: %w", err)
	}
	return w.files.tree, nil
}

// hold makes Close wait until the returned function is called.
func (w *Worker) hold() (func(), error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, ErrClosed
	}
	w.executing.Add(1)
	return w.executing.Done, nil
}

// Put puts a file into the working directory, before Execute. job.Limits.Accept has checked the
// path.
func (w *Worker) Put(path string, content io.Reader) error {
	release, err := w.hold()
	if err != nil {
		return fmt.Errorf("put file on %s: %w", w.id, err)
	}
	defer release()
	t, err := w.workTree()
	if err != nil && (!w.slot.running() || hasEnded(err)) {
		err = errors.Join(job.ErrNotStarted, err) // the caller can try another worker
	}
	if err != nil {
		return fmt.Errorf("put file on %s: %w", w.id, err)
	}
	s, err := t.Write(path, content)
	if w.dirs.Top != "" && process.IsFull(err) {
		// The machine's file system, not the sandbox's own: elsewhere there may be room.
		err = startError(process.BlameDisk(err))
	}
	if err != nil {
		return fmt.Errorf("put file on %s: %w", w.id, err)
	}
	w.files.known.Put(path, s)
	w.files.script.put(path)
	return nil
}

// Collect passes on each file that the code created or changed, after Execute and before Close. It
// counts files beyond the limits. Several goroutines call keep. Nearly always the code has touched
// no file, and then Collect does nothing.
func (w *Worker) Collect(ctx context.Context, most job.FileLimits, keep workdir.Keep) (job.FilesDropped, error) {
	if !w.files.left || w.dirs.Top != "" && workdir.IsEmpty(w.dirs.Work) {
		return job.FilesDropped{}, nil
	}
	release, err := w.hold()
	if err != nil {
		return job.FilesDropped{}, fmt.Errorf("collect files of %s: %w", w.id, err)
	}
	defer release()
	ctx, cancel := w.untilClose(ctx)
	defer cancel()
	w.endProcesses()
	if w.end != nil && w.pool.cfg.Sandbox == sandbox.Strict && !w.end.Touched {
		return job.FilesDropped{}, nil
	}
	t, err := w.workTree()
	if err == nil {
		err = t.Abandoned()
	}
	if err != nil {
		lost := job.FilesDropped{Incomplete: true, Reason: "the sandbox was lost with its files"}
		return lost, fmt.Errorf("collect files of %s: %w", w.id, err)
	}
	c := &workdir.Collection{
		Tree: t, Keep: keep, Known: w.files.known,
		Skip: func(f workdir.Found) bool { return w.files.script.left(t, f) },
	}
	return c.Collect(ctx, most)
}

// untilClose returns a context that also ends when the worker is to be closed.
func (w *Worker) untilClose(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-w.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
