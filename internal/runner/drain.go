package runner

import (
	"context"
	"log/slog"
)

// A runner can be drained while it lives: it takes nothing new, what runs may end, and its sessions
// end as at its stop. It stays so until an operator resumes it. The store has what is asked for; a
// message makes the runner look, and it looks every drainLook-th heartbeat as well.

// drainLook is the number of heartbeats after which a runner looks whether it is to be drained.
const drainLook = 4

// DrainChanged makes the runner look soon whether it is to be drained.
func (r *Runner) DrainChanged() {
	r.mu.Lock()
	r.drainDoubt = true
	r.mu.Unlock()
	r.HealthChanged()
}

// Drained reports whether an operator lets the runner take nothing new.
func (r *Runner) Drained() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.drained
}

// followDrain does what is asked for of a drain, if that may have changed. It reports whether the
// runner has to announce that it takes jobs again.
func (r *Runner) followDrain(ctx context.Context, look bool) (resumed bool) {
	r.mu.Lock()
	look = look || r.drainDoubt
	r.drainDoubt = false
	r.mu.Unlock()
	if !look {
		return false
	}
	asked, err := r.cfg.Registry.Drained(ctx, r.cfg.Self.ID)
	if err != nil {
		r.mu.Lock()
		r.drainDoubt = true
		r.mu.Unlock()
		if ctx.Err() == nil {
			r.cfg.Log.WarnContext(ctx, "could not look for a drain: will try again", slog.Any("err", err))
		}
		return false
	}
	r.mu.Lock()
	changed := r.drained != asked
	r.drained = asked
	r.mu.Unlock()
	if !changed {
		return false
	}
	r.cfg.Log.InfoContext(ctx, "an operator has changed whether jobs are taken", slog.Bool("drained", asked))
	if r.cfg.DrainChanged != nil {
		r.cfg.DrainChanged()
	}
	if !asked {
		return true
	}
	if err := r.DrainSessions(ctx); err != nil && ctx.Err() == nil {
		r.cfg.Log.WarnContext(ctx, "sessions were not ended: will try again", slog.Any("err", err)) // lookAfter does
	}
	return false
}

// refuse ends sessions that were opened on a drained runner before all processes knew of the drain.
func (s *sessions) refuse(ctx context.Context, all []string) {
	if len(all) == 0 || !s.r.Drained() {
		return
	}
	if err := s.r.DrainSessions(ctx); err != nil && ctx.Err() == nil {
		s.r.cfg.Log.WarnContext(ctx, "sessions of a drained runner were not ended: will try again", slog.Any("err", err))
	}
}
