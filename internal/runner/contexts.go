package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// This file has the contexts of a session: other interpreters in the sandbox of its own. Each has a lane of its id. They end
// with the sandbox. A context whose interpreter has ended gets a fresh one with its next execution, which reports that.

// other is a context beside the session's own.
type other struct {
	job.Context
	// interpreter is nil after it has ended, until the next execution. Only the context's lane sets it. sessions.mu guards it.
	interpreter Interpreter
	// life ends when the session has the context no longer.
	life context.Context
	end  context.CancelFunc
}

// contextOperations are the operations on the contexts of a session. Package job defines their arguments and answers.
func contextOperations() map[string]Operation {
	return map[string]Operation{
		job.OpMakeContext: makeContext, job.OpListContexts: listContexts, job.OpRestartContext: restartContext, job.OpDeleteContext: deleteContext,
	}
}

func makeContext(ctx context.Context, s *Session, args json.RawMessage) (any, *job.SessionEnd, error) {
	a, err := contextArgs(args)
	if err != nil {
		return nil, nil, err
	}
	c := &other{Context: job.Context{ID: a.ID, Cwd: a.Cwd, Language: a.Language, CreatedAt: time.Now().UTC()}}
	end, err := s.openContext(ctx, c)
	if err != nil {
		return nil, end, err
	}
	c.life, c.end = context.WithCancel(context.Background())
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.contexts = append(s.contexts, c)
	return c.Context, nil, nil
}

func listContexts(_ context.Context, s *Session, _ json.RawMessage) (any, *job.SessionEnd, error) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	all := []job.Context{{ID: job.DefaultContext, Busy: s.main.job != ""}}
	for _, c := range s.contexts {
		one := c.Context
		one.Busy = s.aside[c.ID] != nil && s.aside[c.ID].job != ""
		all = append(all, one)
	}
	return all, nil, nil
}

func restartContext(ctx context.Context, s *Session, args json.RawMessage) (any, *job.SessionEnd, error) {
	a, err := contextArgs(args)
	if err != nil {
		return nil, nil, err
	}
	if a.ID == job.DefaultContext {
		return s.restartOwn(ctx)
	}
	c := s.context(a.ID)
	if c == nil {
		return nil, nil, errNoContext()
	}
	s.closeContext(c)
	end, err := s.openContext(ctx, c)
	return c.Context, end, err
}

// restartOwn replaces the session's own interpreter. Files, processes and contexts stay.
func (s *Session) restartOwn(ctx context.Context) (any, *job.SessionEnd, error) {
	if before := s.attached(); before != nil {
		defer s.pause()()
		fresh, err := before.Renew(context.WithoutCancel(ctx)) // cut off it would be lost
		if err != nil {
			return nil, &job.SessionEnd{Reason: job.EndCrashed, Message: "its interpreter could not be replaced"}, err
		}
		s.attach(fresh)
	}
	return job.Context{ID: job.DefaultContext}, nil, nil
}

func deleteContext(_ context.Context, s *Session, args json.RawMessage) (any, *job.SessionEnd, error) {
	a, err := contextArgs(args)
	if err != nil {
		return nil, nil, err
	}
	if a.ID == job.DefaultContext {
		return nil, nil, &job.RefusedError{Message: "the context default is the session's own interpreter; delete the session, or restart the context"}
	}
	c := s.context(a.ID)
	if c == nil {
		return nil, nil, errNoContext()
	}
	s.of.mu.Lock()
	s.contexts = slices.DeleteFunc(s.contexts, func(one *other) bool { return one == c })
	s.of.mu.Unlock()
	c.end()
	s.closeContext(c)
	return struct{}{}, nil, nil
}

func contextArgs(args json.RawMessage) (job.ContextArgs, error) {
	var a job.ContextArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return a, fmt.Errorf("decode arguments: %w", err)
	}
	return a, nil
}

func errNoContext() error {
	return &job.RefusedError{Code: job.FailNoContext, Message: "the session has no such context; GET /v1/sessions/{id}/contexts lists them"}
}

// context returns a context of the session by its id; nil if there is none.
func (se *served) context(id string) *other {
	se.of.mu.Lock()
	defer se.of.mu.Unlock()
	if i := slices.IndexFunc(se.contexts, func(c *other) bool { return c.ID == id }); i >= 0 {
		return se.contexts[i]
	}
	return nil
}

// openContext gives a context an interpreter. end is not nil if the session has ended. The caller keeps the sandbox from being
// replaced meanwhile.
func (se *served) openContext(ctx context.Context, c *other) (end *job.SessionEnd, err error) {
	base, err := se.Interpreter(ctx)
	switch {
	case err != nil && (ctx.Err() != nil || errors.Is(err, errMoved) || isRefused(err)):
		return nil, err
	case err != nil:
		return &job.SessionEnd{Reason: job.EndStartFailed, Message: "no Python interpreter could be started for it"}, err
	}
	i, err := base.Context(ctx, c.Cwd)
	if _, refused := errors.AsType[*job.RefusedError](err); refused {
		return nil, err
	}
	if err != nil {
		return base.Alive(), err
	}
	se.of.mu.Lock()
	defer se.of.mu.Unlock()
	c.interpreter = i
	return nil, nil //nolint:nilnil // the session continues
}

// closeContext ends the interpreter of a context.
func (se *served) closeContext(c *other) {
	se.of.mu.Lock()
	i := c.interpreter
	c.interpreter = nil
	se.of.mu.Unlock()
	if i != nil {
		se.closeCopy(i)
	}
}

// runInContext executes code in the context of the lane.
func (s *sessions) runInContext(ctx context.Context, log *slog.Logger, l *lane, e *execution) job.Outcome {
	c := l.se.context(l.name)
	if c == nil {
		return job.Outcome{State: job.Failed, Failure: noContext()}
	}
	if failed := s.addInContext(ctx, log, l, c, e); failed != nil {
		return *failed
	}
	i, failed := s.contextInterpreter(ctx, log, l, c)
	if failed != nil {
		return *failed
	}
	o, err := s.runOn(ctx, log, l.se, e, i)
	if l.se.context(l.name) == c { // else its interpreter was closed with it
		logBroken(ctx, log, err)
	}
	if o.End == nil || o.End.Reason == job.EndDrained {
		return o
	}
	end := o.End
	o.End = nil
	if l.se.context(l.name) != c {
		if o.Result == nil {
			return job.Outcome{State: job.Failed, Failure: noContext()}
		}
		return o
	}
	l.se.closeContext(c)
	l.restarted = end
	if o.Failure != nil {
		o.Failure = &job.Failure{Code: job.FailWorker, Message: "the context's interpreter has ended: " + end.Message + "; a fresh one takes its place"}
	}
	return o
}

// contextInterpreter returns the interpreter of a context, a fresh one if that has ended.
func (s *sessions) contextInterpreter(ctx context.Context, log *slog.Logger, l *lane, c *other) (Interpreter, *job.Outcome) {
	s.mu.Lock()
	i := c.interpreter
	s.mu.Unlock()
	if i != nil {
		end := i.Alive()
		if end == nil {
			return i, nil
		}
		l.se.closeContext(c)
		l.restarted = end
	}
	if err := l.enter(ctx, func(error) {}); err != nil {
		o, _ := cutOff(ctx, err)
		return nil, &o
	}
	defer l.leave()
	if l.se.context(c.ID) != c { // it has ended with the sandbox
		return nil, &job.Outcome{State: job.Failed, Failure: noContext()}
	}
	_, err := l.se.openContext(ctx, c)
	if refused, ok := errors.AsType[*job.RefusedError](err); ok {
		return nil, &job.Outcome{State: job.Failed, Failure: refusal(refused)}
	}
	if err != nil {
		o, known := cutOff(ctx, err)
		if !known {
			log.ErrorContext(ctx, "context got no interpreter", slog.Any("err", err))
			o = job.Outcome{State: job.Failed, Failure: &job.Failure{Code: job.FailStart, Message: "no Python interpreter could be started for the context"}}
		}
		return nil, &o
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.interpreter, nil
}

func noContext() *job.Failure {
	return &job.Failure{Code: job.FailNoContext, Message: "the session has no such context: it was deleted, or has ended with a restart or rollback of the session; GET /v1/sessions/{id}/contexts lists them"}
}
