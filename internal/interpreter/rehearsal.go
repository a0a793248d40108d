package interpreter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	goruntime "runtime"
	"slices"
	"time"

	"github.com/kaa-run/kaa/internal/protocol"
)

const (
	// quietTime is the time without an Acquire before a rehearsal step, so that calls in close
	// succession do not pay for rehearsals.
	quietTime = 20 * time.Millisecond
	// restTime is the pause between two steps while processors are busy. It doubles after each
	// step that had to wait, up to longestRest.
	restTime    = 10 * time.Millisecond
	longestRest = 640 * time.Millisecond
	// longStep is the duration above which a step must have waited for a processor.
	longStep = 5 * time.Millisecond
	// firstInability is how long a runtime does without rehearsals after one has failed, because each costs a worker. It
	// doubles with each that fails, up to lastInability.
	firstInability = time.Minute
	lastInability  = time.Hour
)

// rehearse makes parked workers rehearse the preloaded modules. One worker of the pool takes one
// step at a time, while the pool has nothing else to do. It returns when the pool is closed.
func (p *Pool) rehearse() {
	var pause time.Duration
	rest := restTime
	for p.pause(pause) {
		if pause = p.unquiet(); pause > 0 {
			continue
		}
		st, w := p.nextToRehearse()
		if w == nil {
			select {
			case <-p.unrehearsed:
			case <-p.life.Done():
			}
			continue
		}
		began := time.Now()
		if without, err := st.step(w); err != nil && p.life.Err() == nil {
			p.cfg.Log.Warn("interpreter: rehearsal failed; this runtime does without for a while",
				slog.String("runtime", st.name), slog.Duration("for", without), slog.Any("err", err))
		}
		switch {
		case time.Since(began) > longStep:
			pause, rest = rest, min(2*rest, longestRest)
		case int(p.executing.Load()) >= goruntime.NumCPU():
			pause, rest = restTime, restTime
		default:
			rest = restTime
		}
	}
}

// pause returns false when the pool is closed.
func (p *Pool) pause(d time.Duration) bool {
	if d > 0 {
		select {
		case <-time.After(d):
		case <-p.life.Done():
		}
	}
	return p.life.Err() == nil
}

// unquiet returns the least time to wait before the next step.
func (p *Pool) unquiet() time.Duration {
	if pause := quietTime - time.Since(time.Unix(0, p.handedOut.Load())); pause > 0 {
		return pause
	}
	for _, st := range p.stocks {
		if st.isMaking() {
			return restTime
		}
	}
	return 0
}

// nextToRehearse finds and marks the worker for the next step: the oldest with steps left.
func (p *Pool) nextToRehearse() (*stock, *Worker) {
	for _, st := range p.stocks {
		if w := st.beginStep(); w != nil {
			return st, w
		}
	}
	return nil, nil
}

func (st *stock) isMaking() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.starting > 0 || len(st.waiting) > 0
}

func (st *stock) beginStep() *Worker {
	st.mu.Lock()
	defer st.mu.Unlock()
	i := slices.IndexFunc(st.parked, func(w *Worker) bool { return w.rehearsals > 0 && w.alive() })
	if i < 0 || st.closed || st.unable > 0 && time.Now().Before(st.ableAt) {
		return nil
	}
	st.rehearsing = st.parked[i]
	over := make(chan struct{})
	st.rehearsing.stepping.Store(&over)
	return st.rehearsing
}

// step makes w, which beginStep has chosen, take one step. After an error it ends w, which the stock
// then replaces, and returns how long the runtime does without rehearsals.
func (st *stock) step(w *Worker) (without time.Duration, err error) {
	left, err := w.rehearse()
	if err != nil {
		w.endProcesses() // it also ends a slot that does not answer
	}
	return st.endStep(w, left, err), err
}

// endStep notes the end of a step. A step fails because of its module, then each later worker would be lost too, or because
// of the host, which may recover.
func (st *stock) endStep(w *Worker, left int, err error) (without time.Duration) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.rehearsing, w.rehearsals = nil, left
	switch {
	case err != nil:
		without = min(firstInability<<min(st.unable, 10), lastInability)
		st.unable, st.ableAt = st.unable+1, time.Now().Add(without)
		time.AfterFunc(without, st.wakeSteps)
	case left == 0:
		st.unable = 0
	}
	close(*w.stepping.Load())
	return without
}

// rehearse makes a parked worker take one step and returns the number of steps left.
func (w *Worker) rehearse() (int, error) {
	if err := w.send(protocol.Command{Cmd: "rehearse"}); err != nil {
		return 0, fmt.Errorf("rehearse: %w", err)
	}
	err := w.control.SetReadDeadline(time.Now().Add(w.pool.cfg.StartTimeout))
	if err != nil {
		return 0, fmt.Errorf("rehearse: %w", err)
	}
	f, err := w.frames.Next()
	if err == nil && f.Type != protocol.Rehearsed {
		err = fmt.Errorf("%w: %s instead of rehearsed", protocol.ErrFrame, f.Type)
	}
	if err = errors.Join(err, w.control.SetReadDeadline(time.Time{})); err != nil {
		return 0, fmt.Errorf("rehearse: %w", err)
	}
	return f.Rehearsals, nil
}

// awaitStep waits for the end of a step that w was taking when it was handed out.
func (w *Worker) awaitStep(ctx context.Context) error {
	over := w.stepping.Load()
	if over == nil {
		return nil
	}
	select {
	case <-*over:
		return nil
	default:
	}
	select {
	case <-*over:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wakeSteps has a parked worker take its steps.
func (st *stock) wakeSteps() {
	if st.imports == nil {
		st.pool.wakeRehearsal()
		return
	}
	select {
	case st.cold <- struct{}{}:
	default:
	}
}

func (p *Pool) wakeRehearsal() {
	select {
	case p.unrehearsed <- struct{}{}:
	default:
	}
}
