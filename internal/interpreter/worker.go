package interpreter

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lastResort bounds the wait for things that cannot fail to happen unless the
// kernel refuses to end a process.
const lastResort = time.Second

// Worker is one Python process. It serves one Execute, and must be closed.
type Worker struct {
	id      string
	pool    *Pool
	dirs    dirs
	proc    *process
	control *os.File
	frames  *frameReader
	stdin   *os.File // our ends of the code's descriptors
	stdout  *os.File
	stderr  *os.File

	mu        sync.Mutex
	used      bool
	closed    bool
	executing sync.WaitGroup

	closing   chan struct{} // closed when Close begins
	closeOnce sync.Once
	closeErr  error
}

// SessionID names the interpreter.
func (w *Worker) SessionID() string { return w.id }

// Close kills at once whatever is left of the worker and removes its directory.
// It makes a concurrent Execute return. It is idempotent, and returns when all is
// done.
func (w *Worker) Close() error {
	w.closeOnce.Do(func() {
		w.mu.Lock()
		w.closed = true
		close(w.closing)
		w.mu.Unlock()

		w.endProcesses()
		w.executing.Wait() // it reads from our ends of the pipes
		w.closeFiles()
		if err := w.dirs.remove(); err != nil {
			w.closeErr = fmt.Errorf("close worker %s: %w", w.id, err)
		}
		w.pool.forget(w)
	})
	return w.closeErr
}

// begin takes the one execution.
func (w *Worker) begin() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return fmt.Errorf("execute on %s: %w", w.id, ErrClosed)
	case w.used:
		return fmt.Errorf("execute on %s: %w", w.id, ErrUsed)
	}
	w.used = true
	w.executing.Add(1)
	return nil
}

// endProcesses kills the worker's process group, the worker, and then everything
// that descends from it. When it returns, nothing of that is left.
func (w *Worker) endProcesses() {
	w.proc.kill()
	select {
	case <-w.proc.exited:
	case <-time.After(10 * lastResort): // freeing much memory takes time
		w.pool.cfg.Log.Error("interpreter: worker survives SIGKILL", slog.String("session_id", w.id), slog.Int("pid", w.proc.pid))
	}
	if err := sweep(lastResort); err != nil {
		w.pool.cfg.Log.Error("interpreter: sweep", slog.String("session_id", w.id), slog.Any("err", err))
	}
}

func (w *Worker) closeFiles() {
	for _, f := range []*os.File{w.control, w.stdin, w.stdout, w.stderr} {
		if err := f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			w.pool.cfg.Log.Warn("interpreter: close", slog.String("session_id", w.id), slog.Any("err", err))
		}
	}
}
