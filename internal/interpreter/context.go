package interpreter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
	"github.com/kaa-run/kaa/internal/protocol"
	"github.com/kaa-run/kaa/internal/workdir"
)

// contexts are the other interpreters of a session: see Session.Context.
type contexts struct {
	// renewing is held for reading while a context is made, and while the session's own interpreter is
	// replaced.
	renewing sync.RWMutex

	mu     sync.Mutex
	closed bool
	making int
	all    map[*Session]struct{}
	done   sync.WaitGroup // those that are being made
}

// Context makes another interpreter in the session's sandbox: with its files, processes and limits, and
// with its own variables and modules. It begins in the directory cwd; "" is the session's own. It
// executes beside the session and its other contexts. Its end leaves them alone. The session's Close
// closes it. Its methods are those of a session; commands belong to the session. Context returns a
// job.RefusedError if there is no room, or no such directory.
func (s *Session) Context(ctx context.Context, cwd string) (*Session, error) {
	if s.contexts == nil {
		return nil, fmt.Errorf("make context on %s: %w", s.w.id, errors.ErrUnsupported)
	}
	if err := s.contexts.reserve(); err != nil {
		return nil, fmt.Errorf("make context on %s: %w", s.w.id, err)
	}
	defer s.contexts.done.Done()
	s.contexts.renewing.RLock()
	defer s.contexts.renewing.RUnlock()
	defer s.pausing.ask()()
	c, err := s.newContext(ctx, cwd)
	if keepErr := s.contexts.keep(c); keepErr != nil {
		err = errors.Join(keepErr, c.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("make context on %s: %w", s.w.id, err)
	}
	return c, nil
}

// reserve counts a context that is to be made.
func (c *contexts) reserve() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
	switch {
	case c.closed:
		return ErrClosed
	case len(c.all)+c.making >= job.MaxContexts:
		return &job.RefusedError{Code: job.FailTooManyContexts, Message: fmt.Sprintf("the session has %d contexts beside its own, and no more are possible; delete one first", job.MaxContexts)}
	}
	c.making++
	c.done.Add(1)
	return nil
}

// forget drops contexts that were closed. The caller holds mu.
func (c *contexts) forget() {
	for s := range c.all {
		if s.w.isClosing() {
			delete(c.all, s)
		}
	}
}

// keep enters a context that was made; nil if it was not.
func (c *contexts) keep(s *Session) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.making--
	switch {
	case s == nil:
		return nil
	case c.closed:
		return ErrClosed
	case c.all == nil:
		c.all = map[*Session]struct{}{}
	}
	c.all[s] = struct{}{}
	return nil
}

// close closes all contexts, and allows no others.
func (c *contexts) close() {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.closed = true
	all := c.all
	c.all = nil
	c.mu.Unlock()
	var closing sync.WaitGroup
	for s := range all {
		closing.Go(func() { _ = s.Close() }) // the session's own Close reports what goes wrong with the sandbox
	}
	closing.Wait()
	c.done.Wait()
}

func (s *Session) newContext(ctx context.Context, cwd string) (*Session, error) {
	f, err := s.w.beginForkGroup()
	if err == nil {
		err = f.hold()
	}
	if err != nil {
		return nil, s.endedOr(err)
	}
	w, err := f.spawn(ctx, s.w.stock, s.w.dirName)
	if err != nil {
		return nil, s.endedOr(err)
	}
	c := &Session{w: w, quota: s.quota, envs: s.envs, origin: s.origin, pausing: s.pausing, commands: newCommands()}
	w.place = s.w.place
	c.oomKills.Store(w.oomKills)
	if w.dirName != "" || w.place != "" || cwd != "" {
		err = w.enter(ctx, cwd)
	}
	if err == nil {
		err = c.lookAround(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// endedOr returns job.ErrNotStarted with an error if the sandbox has ended.
func (s *Session) endedOr(err error) error {
	if hasEnded(err) || !s.w.slot.running() {
		return errors.Join(job.ErrNotStarted, err)
	}
	return err
}

// lookAround records the files with which a context begins, because none of its executions has made them.
func (s *Session) lookAround(ctx context.Context) error {
	return s.inDirectory("look at files", func(t *workdir.Tree) error {
		files, _ := t.Search(ctx)
		s.w.files.left = len(files) > 0
		for _, f := range files {
			s.w.files.known.Put(f.Path, f.Stamp)
		}
		return nil
	})
}

// hold makes the slot go on while the group has no members. Further calls do nothing.
func (f *forkGroup) hold() error {
	f.asking.Lock()
	defer f.asking.Unlock()
	if f.held {
		return nil
	}
	_, err := f.askLocked("H")
	f.held = err == nil
	return err
}

// letGo undoes hold.
func (f *forkGroup) letGo() {
	f.asking.Lock()
	defer f.asking.Unlock()
	if f.held {
		f.held = false
		_, _ = f.askLocked("Q") // after an error the slot is ended
	}
}

// spawn makes the slot fork a fresh worker as a member, with the work directory name.
func (f *forkGroup) spawn(ctx context.Context, st *stock, name string) (*Worker, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make session id: %w", err)
	}
	chans, err := process.OpenChannels(st.pool.owners.HostID(f.slot.owner))
	if err != nil {
		return nil, err
	}
	w := f.newMember(st, id.String(), name, chans)
	w.guest = true
	err = f.bring(w, chans)
	if err == nil {
		_ = w.stdin.Close() // executions get their standard input as a file
		err = w.awaitReady(ctx, st.pool.cfg.StartTimeout)
	}
	if err == nil && !st.pool.track(w) {
		err = ErrClosed
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// bring makes the slot fork the process of a new worker.
func (f *forkGroup) bring(w *Worker, chans *process.Channels) error {
	f.asking.Lock()
	defer f.asking.Unlock()
	f.slot.mu.Lock()
	f.open++
	f.joining = w
	f.slot.mu.Unlock()
	m, err := f.askLocked("W", chans.Theirs...)
	chans.CloseTheirs()
	f.slot.mu.Lock()
	joined := f.joining == nil
	f.joining = nil
	f.slot.mu.Unlock()
	if m.File != nil {
		defer m.File.Close()
	}
	if !joined {
		close(w.exited)
	}
	switch {
	case err != nil:
		return fmt.Errorf("fork worker: %w", err)
	case m.Type == "refused":
		return &job.RefusedError{Message: fmt.Sprintf("the kernel refuses another process: %s; perhaps there are as many as the session may have", syscall.Errno(m.Errno))}
	case !joined || m.File == nil:
		return errors.New("fork worker: no process came with the answer")
	}
	pid, err := process.PIDOf(m.File)
	w.pid.Store(int64(pid))
	return err
}

// enter has a worker go to its work directory, and from there to cwd.
func (w *Worker) enter(ctx context.Context, cwd string) error {
	const id = "enter"
	if err := w.send(protocol.Command{ID: id, Cmd: "enter", To: []string{w.home(), cwd}}); err != nil {
		return fmt.Errorf("send command: %w", err)
	}
	if err := w.control.SetReadDeadline(time.Now().Add(w.pool.cfg.StartTimeout)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = w.control.SetReadDeadline(time.Unix(1, 0)) })
	m, err := w.frames.Next()
	stop()
	switch {
	case err != nil:
		return fmt.Errorf("enter directory: %w", err)
	case m.Type == protocol.Refused && m.ID == id:
		return &job.RefusedError{Message: "the context cannot begin in this directory: " + m.Error}
	case m.Type != protocol.Ready:
		return fmt.Errorf("%w: %s is out of place", protocol.ErrFrame, m.Type)
	}
	return w.control.SetReadDeadline(time.Time{})
}
