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
	"github.com/kaa-run/kaa/internal/sandbox"
)

// files is what a worker's side of its working directory is known of here. It is used
// by one call at a time.
type files struct {
	tree   *tree // opened when it is needed
	known  known // files that need not be collected
	left   bool  // the code may have left some
	script script
}

func (f *files) close() {
	if f.tree != nil {
		f.tree.close()
		f.tree = nil
	}
}

// workDir is a slot's answer to a D.
type workDir struct {
	file *os.File
	err  error
}

func (s *slot) answerDir(m message, file *os.File) {
	answer := workDir{file: file}
	if file == nil {
		answer.err = errors.New(m.Error)
	}
	select {
	case s.dirs <- answer:
	default: // nobody asked
		if file != nil {
			_ = file.Close()
		}
	}
}

// openWork has the slot, which is where the directory is, open it. One call at a time.
func (s *slot) openWork(command string, limit time.Duration) (*os.File, error) {
	if err := s.link.write([]byte(command)); err != nil {
		return nil, err
	}
	select {
	case answer := <-s.dirs:
		return answer.file, answer.err
	case <-s.gone:
		return nil, ErrClosed
	case <-time.After(limit):
		s.kill() // a late answer would be taken for another's
		return nil, os.ErrDeadlineExceeded
	}
}

// workTree returns the worker's directory.
func (w *Worker) workTree() (*tree, error) {
	if w.files.tree != nil {
		return w.files.tree, nil
	}
	var dir *os.File
	var err error
	switch f := w.kin(); {
	case f != nil:
		dir, err = f.openWork(w)
	case w.pool.cfg.Sandbox == sandbox.Strict:
		dir, err = w.slot.openWork("D", lastResort)
	default:
		dir, err = openDir(unix.AT_FDCWD, w.dirs.work)
	}
	if err == nil {
		w.files.tree, err = newTree(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open the working directory: %w", err)
	}
	return w.files.tree, nil
}

// hold keeps Close waiting until the result is called.
func (w *Worker) hold() (func(), error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, ErrClosed
	}
	w.executing.Add(1)
	return w.executing.Done, nil
}

// Put puts a file into the working directory, before Execute. The path has been
// checked: job.Limits.Accept does.
func (w *Worker) Put(path string, content io.Reader) error {
	release, err := w.hold()
	if err != nil {
		return fmt.Errorf("put file on %s: %w", w.id, err)
	}
	defer release()
	t, err := w.workTree()
	if err != nil && !w.slot.running() {
		err = errors.Join(job.ErrNotStarted, err) // another worker can have it
	}
	if err != nil {
		return fmt.Errorf("put file on %s: %w", w.id, err)
	}
	s, err := t.write(path, content)
	if err != nil {
		return fmt.Errorf("put file on %s: %w", w.id, err)
	}
	w.files.known.put(path, s)
	w.files.script.put(path)
	return nil
}

// Keep stores a file that is collected.
type Keep = func(f job.Found, content io.Reader) error

// keepers is how many files are stored at once: a store may be far away.
const keepers = 8

// Collect passes on each file that the code created or changed, after Execute and before
// Close; what is beyond the limits is counted. keep is called by several goroutines. If
// the code has touched nothing, as nearly always, nothing is done.
func (w *Worker) Collect(ctx context.Context, most job.FileLimits, keep Keep) (job.FilesDropped, error) {
	if !w.files.left || w.dirs.top != "" && isEmpty(w.dirs.work) {
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
	if w.end != nil && w.pool.cfg.Sandbox == sandbox.Strict && !w.end.touched {
		return job.FilesDropped{}, nil
	}
	t, err := w.workTree()
	if err == nil {
		err = t.bury()
	}
	if err != nil {
		lost := job.FilesDropped{Incomplete: true, Reason: "the sandbox was lost with what was in it"}
		return lost, fmt.Errorf("collect files of %s: %w", w.id, err)
	}
	c := &collection{tree: t, keep: keep, known: w.files.known, script: w.files.script}
	c.collect(ctx, most)
	return c.dropped, c.err
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

// isEmpty reports whether a directory is known to be empty.
func isEmpty(path string) bool {
	dir, err := os.Open(path)
	if err != nil {
		return false
	}
	defer dir.Close()
	_, err = dir.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

// collect looks for files and stores those within the limits.
func (c *collection) collect(ctx context.Context, most job.FileLimits) {
	all, complete := c.tree.search(ctx)
	if !complete {
		c.dropped.Incomplete = true
		c.dropped.Reason = "there was too much to look at all of it"
	}
	files := make(chan found)
	var storing sync.WaitGroup
	for range min(keepers, len(all)) {
		storing.Go(func() {
			for f := range files {
				c.store(ctx, f)
			}
		})
	}
	for _, f := range all {
		if c.known.has(c.tree, f) || c.script.left(c.tree, f) {
			continue
		}
		switch {
		case most.Files <= 0:
			c.drop(f, "the limit of files that are kept is reached")
		case f.stamp.size > most.Bytes:
			c.drop(f, "the limit of bytes that are kept is reached")
		case len(f.path) > maxPath:
			c.drop(f, fmt.Sprintf("its path is longer than %d bytes", maxPath))
		default:
			most.Files--
			most.Bytes -= f.stamp.size
			files <- f
		}
	}
	close(files)
	storing.Wait()
	c.found = all
}

// collection is the state of one.
type collection struct {
	tree   *tree
	keep   Keep
	known  known
	script script  // its zero is none
	found  []found // all that there are

	mu      sync.Mutex
	dropped job.FilesDropped
	err     error // the first that was ours
	// sums, if it is not nil, gets what was read of each file.
	sums map[uint64]uint64
}

func (c *collection) drop(f found, reason string) { c.leave(f, reason, false) }

// leave counts a file that is not kept; full says that there is no room for it beside others that are.
func (c *collection) leave(f found, reason string, full bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropped.Count++
	c.dropped.Bytes += f.stamp.size
	if c.dropped.Reason == "" {
		c.dropped.Reason, c.dropped.Full = reason, full
	}
	if c.dropped.First == "" {
		c.dropped.First = job.NewFile(f.path, 0, "").Path
	}
}

func (c *collection) store(ctx context.Context, f found) {
	if ctx.Err() != nil {
		c.drop(f, "there was no time left to keep it")
		return
	}
	file, now, err := c.tree.open(f.path)
	if err != nil {
		c.drop(f, "it could not be read")
		return
	}
	defer file.Close()
	size := min(f.stamp.size, now.size) // it may have grown, and was counted as it was
	sum := newSum()
	err = c.keep(job.Found{Path: f.path, Size: size}, io.TeeReader(io.LimitReader(file, size), sum))
	if full, ok := errors.AsType[*job.FilesFullError](err); ok {
		c.leave(f, full.Error(), true)
		return
	}
	if err != nil {
		c.drop(f, "it could not be stored")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	if c.sums != nil && err == nil {
		c.sums[nameOf(f.path)] = sum.Sum64()
	}
}
