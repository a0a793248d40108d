package interpreter

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"
)

const (
	// maxTries is how many spawns in a row may fail before those who wait are told.
	maxTries = 3
	// The pause after a failed spawn doubles from the first to the last of these.
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// match gives parked workers to those who wait, in the order of their coming.
// The caller holds mu.
func (p *Pool) match() {
	for len(p.waiting) > 0 {
		// A dead one stays for watch, which may not have come to it yet.
		i := slices.IndexFunc(p.parked, func(w *Worker) bool { return w.proc.alive() })
		if i < 0 {
			break
		}
		wt := p.waiting[0]
		p.waiting = p.waiting[1:]
		if wt.take {
			wt.reply <- offer{worker: p.parked[i]}
			p.parked = slices.Delete(p.parked, i, i+1)
		} else {
			wt.reply <- offer{}
		}
	}
	if p.needsMore() {
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

func (p *Pool) needsMore() bool {
	return !p.closed && len(p.parked)+p.starting < p.cfg.Size
}

// refill spawns workers whenever fewer than wanted are parked. As many of it run
// at once as there may be spawns at once.
func (p *Pool) refill() {
	for p.claimSpawn() {
		w, err := p.spawn(p.life)
		pause := p.spawned(w, err)
		if pause > 0 {
			select {
			case <-time.After(pause):
			case <-p.life.Done():
			}
		}
	}
}

// claimSpawn waits until there is something to spawn. It returns false when the
// pool is closed.
func (p *Pool) claimSpawn() bool {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return false
		}
		if p.needsMore() {
			p.starting++
			p.mu.Unlock()
			return true
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-p.life.Done():
		}
	}
}

// spawned parks a new worker or tells of the failure. It returns how long to
// pause before the next try.
func (p *Pool) spawned(w *Worker, err error) time.Duration {
	p.mu.Lock()
	p.starting--
	if err == nil && !p.closed {
		p.failures = 0
		p.parked = append(p.parked, w)
		p.all[w] = struct{}{}
		p.wg.Go(func() { p.watch(w) })
		p.match()
		p.mu.Unlock()
		return 0
	}
	if p.closed {
		p.mu.Unlock()
		if w != nil {
			_ = w.Close()
		}
		return 0
	}
	defer p.mu.Unlock()
	p.failures++
	p.cfg.Log.Error("interpreter: spawn", slog.Any("err", err), slog.Int("failures", p.failures))
	// One that hung has used up the patience of those who wait.
	if p.failures >= maxTries || errors.Is(err, os.ErrDeadlineExceeded) {
		p.tell(fmt.Errorf("%w: %w", ErrStart, err))
	}
	return min(firstPause<<min(p.failures-1, 10), lastPause)
}

// tell answers everybody who waits with err. The caller holds mu.
func (p *Pool) tell(err error) {
	for _, wt := range p.waiting {
		wt.reply <- offer{err: err}
	}
	p.waiting = nil
}

// watch closes a worker that ends while it is parked, and has it replaced.
func (p *Pool) watch(w *Worker) {
	<-w.proc.exited
	p.mu.Lock()
	i := slices.Index(p.parked, w)
	if i >= 0 {
		p.parked = slices.Delete(p.parked, i, i+1)
	}
	lost := i >= 0 && !p.closed
	p.mu.Unlock()
	if !lost {
		return
	}
	p.cfg.Log.Warn("interpreter: parked worker died", slog.String("session_id", w.id), slog.Int("pid", w.proc.pid))
	if err := w.Close(); err != nil {
		p.cfg.Log.Warn("interpreter: close", slog.Any("err", err))
	}
	p.mu.Lock()
	p.match()
	p.mu.Unlock()
}
