package interpreter

import (
	"context"
	"errors"
	"fmt"

	"github.com/kaa-run/kaa/internal/job"
)

// Renew returns a session with a fresh interpreter and the files of this one, in the same sandbox
// and within the same limits. It first ends the old interpreter. It closes the old session in any
// case, also after an error. Contexts and commands go on, and belong to the new session, unless the
// sandbox has ended with the old interpreter.
func (s *Session) Renew(ctx context.Context) (*Session, error) {
	s.contexts.renewing.Lock()
	defer s.contexts.renewing.Unlock()
	old := s.w
	if s.commands.begun() {
		_, _ = old.beginForkGroup() // else they end with the interpreter; an error means that they have
	}
	if f := old.forkGroup(); f != nil {
		return s.renewIn(ctx, f)
	}
	if err := old.bequeath(); err != nil {
		return nil, errors.Join(fmt.Errorf("renew session on %s: %w", old.id, err), s.cutOff())
	}
	err := s.cutOff()
	w, forkErr := old.stock.inherit(ctx, old, s.quota)
	if err = errors.Join(err, forkErr); err != nil {
		return nil, fmt.Errorf("renew session on %s: %w", old.id, err)
	}
	_ = w.stdin.Close()
	fresh := s.succeededBy(w, newCommands(), &contexts{})
	if err = w.begin(); err == nil {
		err = w.limit(s.quota)
		w.executing.Done()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("renew session on %s: %w", w.id, err), fresh.Close())
	}
	return fresh, nil
}

// renewIn renews a session in a fork group.
func (s *Session) renewIn(ctx context.Context, f *forkGroup) (*Session, error) {
	old := s.w
	if err := f.hold(); err != nil {
		return nil, errors.Join(fmt.Errorf("renew session on %s: %w", old.id, err), s.cutOff())
	}
	f.count(1) // the old one is not the last
	old.guest = true
	err := s.cutOff()
	w, spawnErr := f.spawn(ctx, old.stock, old.dirName)
	if f.count(-1) == 0 {
		err = errors.Join(err, f.giveBack(old.stock))
	}
	if err = errors.Join(err, spawnErr); err != nil {
		return nil, fmt.Errorf("renew session on %s: %w", old.id, err)
	}
	w.guest = false
	fresh := s.succeededBy(w, s.commands, s.contexts)
	if w.dirName != "" {
		err = w.enter(ctx, "")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("renew session on %s: %w", w.id, err), fresh.Close())
	}
	return fresh, nil
}

// succeededBy returns a session like this one with another worker.
func (s *Session) succeededBy(w *Worker, commands *commands, others *contexts) *Session {
	w.files.known, w.files.left = s.w.files.known, true
	fresh := &Session{w: w, quota: s.quota, envs: s.envs, origin: s.origin, pausing: s.pausing, commands: commands, contexts: others}
	fresh.oomKills.Store(w.oomKills)
	w.place = s.w.place
	commands.s.Store(fresh)
	return fresh
}

// cutOff closes the session like Close, but does not let the interpreter shut down.
func (s *Session) cutOff() error {
	s.closeOnce.Do(func() { s.closeErr = s.w.Close() })
	return s.closeErr
}

// bequeath makes Close leave the slot and the files to another worker.
func (w *Worker) bequeath() error {
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
