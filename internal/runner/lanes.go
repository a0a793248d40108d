package runner

import (
	"context"
	"errors"
	"log/slog"

	"github.com/kaa-run/kaa/internal/job"
)

// lane is a lane of a session. One goroutine serves it as long as it has something to do. Its jobs run one after the
// other. The goroutine that leaves a session which has ended last closes it.
type lane struct {
	name string
	se   *served

	// restarted is why the interpreter of the context was replaced, until an execution's result has reported it. Only the goroutine
	// that serves the lane uses it.
	restarted *job.SessionEnd

	// sessions.mu guards the fields below.
	serving bool                    // a goroutine claims and executes
	pending bool                    // there may be something to claim since that goroutine last asked
	job     string                  // the id of the job that is executed
	op      string                  // the operation that the job is; empty for code and commands
	awake   bool                    // the job has begun, and processes that were paused go on
	end     context.CancelCauseFunc // of that job, if it uses the sandbox beside the default lane
}

func (l *lane) isDefault() bool { return l.name == job.LaneDefault }

// laneLocked returns a lane of a session, a new one if the lane is not being served.
func (se *served) laneLocked(name string) *lane {
	if name == job.LaneDefault {
		return &se.main
	}
	l := se.aside[name]
	if l == nil {
		if se.aside == nil {
			se.aside = map[string]*lane{}
		}
		l = &lane{name: name, se: se}
		se.aside[name] = l
	}
	return l
}

func (s *sessions) ready(id, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.r.cfg.SessionRecords == nil {
		return
	}
	se := s.live[id]
	if se == nil && s.r.Draining() {
		return
	}
	if se == nil {
		se = s.newServed(id)
		s.live[id] = se
	}
	if se.over {
		return
	}
	l := se.laneLocked(name)
	l.pending = true
	if !l.serving {
		s.startServing(l)
	}
}

// startServing is called with mu held.
func (s *sessions) startServing(l *lane) {
	l.serving = true
	l.se.busy++
	s.serving++
	s.done.Go(func() { s.serve(l) })
}

func (s *sessions) end(id string, letEnd bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if se := s.live[id]; se != nil {
		s.endLocked(se, letEnd)
	}
}

func (s *sessions) endLocked(se *served, letEnd bool) {
	se.over, se.letEnd = true, letEnd
	switch {
	case se.busy == 0:
		s.startServing(&se.main)
	case se.paused: // what stands still does not end, and need not
		s.cutOffLocked(se, nil, letEnd)
		s.done.Go(func() { s.wake(s.ctx, se, nil) })
	case !letEnd:
		s.cutOffLocked(se, nil, false)
	}
}

// cutOffLocked ends the jobs of a session that has ended, but for that of a lane. drained: the store may have left their ends to this
// runner.
func (s *sessions) cutOffLocked(se *served, but *lane, drained bool) {
	cause := errLost
	if drained {
		cause = errDraining
	}
	if se.main.job != "" && &se.main != but {
		s.r.endJob(se.main.job, cause)
	}
	for _, l := range se.aside {
		if l.job != "" && l != but {
			s.r.endJob(l.job, cause)
		}
	}
}

// serve carries out the executions and operations of a lane until there are none. It closes
// the session if that has ended.
func (s *sessions) serve(l *lane) {
	if l.isDefault() {
		s.mend(l.se)
	}
	for s.goOn(l) {
		claim, err := s.claim(l)
		switch {
		case errors.Is(err, job.ErrSessionEnded):
			s.mu.Lock()
			l.se.over = true
			s.mu.Unlock()
		case err != nil:
			// lookAfter finds the session again, and giveBackForgotten a claim that was made.
			s.r.cfg.Log.WarnContext(s.ctx, "could not ask what a session has to do: will try again", slog.String("session_id", l.se.id), slog.Any("err", err))
			s.r.suspect()
		case claim == nil:
			s.wakeForNothing(s.ctx, l.se)
		}
		for first := true; claim != nil; first = false {
			var ask bool
			if claim, ask = s.execute(l, *claim, first); ask {
				s.mu.Lock()
				l.pending = true
				s.mu.Unlock()
			}
		}
	}
}

// goOn reports whether there may be something to claim. If not, it stops serving the lane.
func (s *sessions) goOn(l *lane) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	se := l.se
	if l.pending && !se.over {
		l.pending = false
		return true
	}
	if se.over && se.busy == 1 {
		s.mu.Unlock()
		_ = se.save(s.saving, true) // the record has the error
		se.Replace(nil)
		se.dropCheckpoints()
		s.mu.Lock()
	}
	s.stopServing(l)
	return false
}

// stopServing is called with mu held.
func (s *sessions) stopServing(l *lane) {
	se := l.se
	l.serving, l.pending = false, false
	delete(se.aside, l.name)
	se.busy--
	s.serving--
	close(s.changed)
	s.changed = make(chan struct{})
	if se.busy == 0 && se.interpreter == nil && len(se.checkpoints) == 0 && se.why == nil {
		delete(s.live, se.id)
	}
}

// ended returns why a session in whose default lane nothing is executed has ended; nil if it has not.
func (s *sessions) ended(id string) *job.SessionEnd {
	look := func() (i Interpreter, why *job.SessionEnd) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if se := s.live[id]; se != nil && !se.main.serving {
			return se.interpreter, se.why
		}
		return nil, nil
	}
	i, why := look()
	if i == nil || why != nil {
		return why
	}
	end := i.Alive()
	if again, why := look(); again != i { // the interpreter was closed meanwhile, for another reason
		return why
	}
	return end
}

// serves reports whether a goroutine claims or executes for a lane of a session now.
func (s *sessions) serves(id, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	se := s.live[id]
	if se == nil {
		return false
	}
	if name == job.LaneDefault {
		return se.main.serving
	}
	return se.aside[name] != nil
}
