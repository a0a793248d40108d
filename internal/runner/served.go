package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/kaa-run/kaa/internal/job"
)

// served is a session that this runner serves. It has an interpreter from its first execution on.
type served struct {
	id   string
	of   *sessions
	spec job.SessionSpec
	// restarted is why the interpreter was replaced, until an execution's result has reported it.
	// Only the default lane uses it.
	restarted *job.SessionEnd
	// opening has room for one that opens the interpreter, or moves the session to another runner.
	opening chan struct{}
	// adding has room for one that copies packages into the sandbox.
	adding chan struct{}

	volume volume

	// pausing is held while the processes are stopped or go on again.
	pausing sync.Mutex
	paused  bool // the processes are stopped; to change it takes pausing and sessions.mu, to read it one of them

	// sessions.mu guards the fields below. Only the default lane changes interpreter and checkpoints, but for the first
	// interpreter, which any lane opens.
	interpreter Interpreter
	checkpoints []checkpoint // the oldest first
	contexts    []*other     // those beside the session's own, the oldest first
	known       bool         // spec is known
	main        lane
	aside       map[string]*lane // the other lanes that are being served
	busy        int              // how many lanes are being served
	making      bool             // the session is a fork that is being made
	over        bool             // the session has ended: nothing is to be claimed any more
	letEnd      bool             // the current executions may finish
	moved       bool             // the session lives on another runner now
	// why is the end to be written to the store; nil if the store has it. The session stays in
	// sessions.live until then: else its next execution would get a fresh interpreter.
	why *job.SessionEnd
	// broken is why the interpreter has ended between executions, if it is to be replaced.
	broken *job.SessionEnd
	// alone is not nil while the interpreter is being replaced; it is closed at the end of that.
	alone chan struct{}
	// users is how many jobs of other lanes than the default one use the sandbox. unused, if not nil, is closed when none
	// does.
	users  int
	unused chan struct{}
}

func (s *sessions) newServed(id string) *served {
	se := &served{id: id, of: s, opening: make(chan struct{}, 1), adding: make(chan struct{}, 1)}
	se.main.se = se
	return se
}

// ID returns the session's id.
func (se *served) ID() string { return se.id }

// Spec returns the specification of the session's interpreters.
func (se *served) Spec() job.SessionSpec { return se.spec }

// errMoved: the session lives on another runner, and so do its claims.
var errMoved = errors.New("the session lives on another runner")

// Interpreter returns the session's interpreter, a new one if it has none. Lanes that call it at the
// same time get the same one. A job.RefusedError says why the files of its volume cannot be there.
func (se *served) Interpreter(ctx context.Context) (Interpreter, error) {
	select {
	case se.opening <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for interpreter of session: %w", context.Cause(ctx))
	}
	defer func() { <-se.opening }()
	se.of.mu.Lock()
	i, moved := se.interpreter, se.moved
	se.of.mu.Unlock()
	if moved {
		return nil, errMoved
	}
	if i != nil {
		return i, nil
	}
	if err := se.of.r.awaitPackages(ctx, se.spec); err != nil {
		return nil, fmt.Errorf("install packages of session: %w", err)
	}
	i, err := se.of.r.cfg.Interpreters.Open(ctx, se.spec)
	if err != nil {
		return nil, fmt.Errorf("start interpreter of session: %w", err)
	}
	if err := se.restore(ctx, i); err != nil {
		if closeErr := i.Close(); closeErr != nil {
			se.of.r.cfg.Log.ErrorContext(ctx, "interpreter of a session was not closed as it should", slog.String("session_id", se.id), slog.Any("err", closeErr))
		}
		return nil, err
	}
	se.attach(i)
	return i, nil
}

// attached returns the session's interpreter; nil if it has none.
func (se *served) attached() Interpreter {
	se.of.mu.Lock()
	defer se.of.mu.Unlock()
	return se.interpreter
}

func (se *served) attach(i Interpreter) {
	se.of.mu.Lock()
	defer se.of.mu.Unlock()
	se.interpreter = i
}

// Replace closes the session's interpreter and gives the session another; nil for a fresh one
// when it is needed. Only operations of the default lane may call it, between Alone and its end.
func (se *served) Replace(i Interpreter) {
	se.of.mu.Lock()
	for _, c := range se.contexts {
		c.end()
	}
	se.contexts = nil // they end with the interpreter
	se.of.mu.Unlock()
	if before := se.attached(); before != nil {
		if err := before.Close(); err != nil {
			se.of.r.cfg.Log.Error("interpreter of a session was not closed as it should", slog.String("session_id", se.id), slog.Any("err", err))
		}
	}
	se.attach(i)
}

// errReplaced: the sandbox that a job used beside the default lane is being replaced.
var errReplaced = errors.New("the interpreter of the session is being replaced")

// Alone ends the jobs that use the session's sandbox in other lanes, and lets none begin until the
// function that it returns is called. Only the default lane may call it. An operation that replaces the sandbox does: what ran in
// it could not go on, and would use half of each.
func (se *served) Alone() (end func()) {
	s := se.of
	s.mu.Lock()
	se.alone = make(chan struct{})
	unused := make(chan struct{})
	if se.users == 0 {
		close(unused)
	} else {
		se.unused = unused
	}
	for _, l := range se.aside {
		if l.end != nil {
			l.end(errReplaced)
		}
	}
	s.mu.Unlock()
	<-unused
	return se.resume
}

// pause lets no job of another lane than the default one begin to use the sandbox until the function that it returns is
// called. Those that use it go on. Only the default lane may call it.
func (se *served) pause() (end func()) {
	s := se.of
	s.mu.Lock()
	defer s.mu.Unlock()
	se.alone = make(chan struct{})
	return se.resume
}

func (se *served) resume() {
	s := se.of
	s.mu.Lock()
	defer s.mu.Unlock()
	close(se.alone)
	se.alone = nil
}

// enter lets a job of another lane than the default one use the sandbox, until leave. It returns an error if ctx ends
// before the sandbox can be used.
func (l *lane) enter(ctx context.Context, end context.CancelCauseFunc) error {
	s := l.se.of
	for {
		s.mu.Lock()
		alone := l.se.alone
		if alone == nil {
			l.end = end
			l.se.users++
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		select {
		case <-alone:
		case <-ctx.Done():
			return fmt.Errorf("wait for the sandbox of a session: %w", context.Cause(ctx))
		}
	}
}

func (l *lane) leave() {
	s := l.se.of
	s.mu.Lock()
	defer s.mu.Unlock()
	l.end = nil
	if l.se.users--; l.se.users == 0 && l.se.unused != nil {
		close(l.se.unused)
		l.se.unused = nil
	}
}
