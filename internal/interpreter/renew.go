package interpreter

import (
	"context"
	"errors"
	"fmt"

	"github.com/kaa-run/kaa/internal/job"
)

// errInForkGroup: the session is in a fork group, so no other worker can begin in its slot.
var errInForkGroup = errors.New("it shares its sandbox with copies")

// Renew returns a session with a fresh interpreter and the files of this one, in the same sandbox
// and within the same limits. It first ends the old interpreter. It closes the old session in any
// case, also after an error.
func (s *Session) Renew(ctx context.Context) (*Session, error) {
	old := s.w
	if err := old.bequeath(); err != nil {
		return nil, errors.Join(fmt.Errorf("renew session on %s: %w", old.id, err), s.cutOff())
	}
	err := s.cutOff()
	w, forkErr := old.stock.inherit(ctx, old, s.quota)
	if err = errors.Join(err, forkErr); err != nil {
		return nil, fmt.Errorf("renew session on %s: %w", old.id, err)
	}
	w.files.known, w.files.left = old.files.known, true
	_ = w.stdin.Close()
	fresh := &Session{w: w, quota: s.quota, envs: s.envs}
	fresh.oomKills.Store(w.oomKills)
	if err = w.begin(); err == nil {
		err = w.limit(s.quota)
		w.executing.Done()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("renew session on %s: %w", w.id, err), fresh.Close())
	}
	return fresh, nil
}

// cutOff closes the session like Close, but does not let the interpreter shut down.
func (s *Session) cutOff() error {
	s.closeOnce.Do(func() { s.closeErr = s.w.Close() })
	return s.closeErr
}

// bequeath makes Close leave the slot and the files to another worker.
func (w *Worker) bequeath() error {
	if w.forkGroup() != nil {
		return errInForkGroup
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	w.heir = true
	return nil
}

// inherit makes a worker in the slot of a closed worker, for which bequeath was called.
func (st *stock) inherit(ctx context.Context, old *Worker, q job.Quota) (*Worker, error) {
	p, s := st.pool, old.slot
	if old.end == nil || !s.running() {
		p.closeSlot(s)
		return nil, errors.Join(errors.New("the sandbox has ended"), old.dirs.Remove())
	}
	w, err := st.forkWorker(s, "X ", q, old.dirs)
	if err != nil {
		p.closeSlot(s)
		return nil, err
	}
	if err := w.awaitReady(ctx, p.cfg.StartTimeout); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	if !p.track(w) {
		return nil, errors.Join(ErrClosed, w.Close())
	}
	return w, nil
}
