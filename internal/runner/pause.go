package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Pausable is an interpreter whose sandbox can be stopped.
type Pausable interface {
	// Pause stops all processes of the sandbox. A job.RefusedError says why they cannot be; then they go on.
	Pause() error
	// Resume lets them go on. It does nothing if they are not stopped.
	Resume() error
}

// pause stops a session's processes, and has the store note that. A session without an interpreter has none. Commands and
// executions of contexts that are under way stop with it, and keep their claims.
func (s *sessions) pause(ctx context.Context, se *Session, args json.RawMessage) (any, *job.SessionEnd, error) {
	var a job.PauseArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, nil, fmt.Errorf("decode arguments: %w", err)
	}
	for began := time.Now(); ; {
		end, err := s.halt(ctx, se, a)
		if err == nil {
			break
		}
		refused, ok := errors.AsType[*job.RefusedError](err)
		if !ok || !refused.Passing || time.Since(began) > passWait {
			return nil, end, err
		}
		select {
		case <-time.After(passLook):
		case <-ctx.Done():
			return nil, nil, err
		}
	}
	_ = se.save(ctx, false) // the session is paused anyway, and its record has the error
	return struct{}{}, nil, nil
}

const (
	// passWait is how long a pause waits for short operations and for jobs that have just begun, and passLook how often it looks.
	passWait = 2 * time.Second
	passLook = 10 * time.Millisecond
)

// halt stops the processes, and has the store note that. end is not nil if the session has ended.
func (s *sessions) halt(ctx context.Context, se *Session, a job.PauseArgs) (end *job.SessionEnd, err error) {
	frozen, err := se.stop()
	if err != nil {
		if _, refused := errors.AsType[*job.RefusedError](err); refused {
			return nil, err
		}
		return se.attached().Alive(), err
	}
	if err := s.r.cfg.SessionRecords.HaltSession(ctx, se.claim, a, frozen); err != nil {
		s.wake(ctx, se.served, nil)
		return nil, err
	}
	return nil, nil //nolint:nilnil // it is halted
}

// resume has nothing to do: each claim of a paused session wakes it first.
func resume(context.Context, *Session, json.RawMessage) (any, *job.SessionEnd, error) {
	return struct{}{}, nil, nil
}

// stop stops the session's processes, and records that. It returns the jobs of other lanes that stand still with them. A
// job that begins afterwards is none of these: wake lets the processes go on, and the store refuses the pause because of it.
func (se *served) stop() (frozen []string, err error) {
	se.pausing.Lock()
	defer se.pausing.Unlock()
	i := se.attached()
	if frozen, err = se.freezable(i != nil); err != nil {
		return nil, err
	}
	if i != nil {
		p, ok := i.(Pausable)
		if !ok {
			return nil, &job.RefusedError{Message: "this runner cannot pause a session"}
		}
		if err := p.Pause(); err != nil {
			return nil, err
		}
	}
	se.setPaused(true)
	return frozen, nil
}

// freezable returns the jobs of other lanes than the default one. A job.RefusedError says that one of them needs the processes now.
func (se *served) freezable(started bool) (jobs []string, err error) {
	se.of.mu.Lock()
	defer se.of.mu.Unlock()
	for _, l := range se.aside {
		switch {
		case l.job == "":
		case !started, !l.awake, l.op != "" && l.op != job.OpWatchFiles:
			return nil, &job.RefusedError{Passing: true, Message: "an operation or a command of the session is just beginning, or an operation runs: on files or contexts, say; try again when it has ended"}
		default:
			jobs = append(jobs, l.job)
		}
	}
	return jobs, nil
}

// setPaused is called with pausing held.
func (se *served) setPaused(paused bool) {
	se.of.mu.Lock()
	defer se.of.mu.Unlock()
	se.paused = paused
}

// wake lets the processes of a paused session go on. Each lane calls it before it does anything; l is nil if there is none.
func (s *sessions) wake(ctx context.Context, se *served, l *lane) {
	se.pausing.Lock()
	defer se.pausing.Unlock()
	if l != nil {
		s.mu.Lock()
		l.awake = true
		s.mu.Unlock()
	}
	if !se.paused {
		return
	}
	se.setPaused(false)
	p, ok := se.attached().(Pausable)
	if !ok {
		return
	}
	if err := p.Resume(); err != nil { // the next use finds that its processes have ended
		s.r.cfg.Log.WarnContext(ctx, "processes of a paused session do not go on", slog.String("session_id", se.id), slog.Any("err", err))
	}
}

// wakeForNothing lets a session go on that a job was to wake, which was cancelled before it was claimed.
func (s *sessions) wakeForNothing(ctx context.Context, se *served) {
	se.pausing.Lock()
	stopped := se.paused
	se.pausing.Unlock()
	if !stopped {
		return
	}
	paused, err := s.r.cfg.SessionRecords.IsPaused(ctx, se.id)
	if err == nil && !paused {
		s.wake(ctx, se, nil)
	}
}
