package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// ErrNoContext means that the session has no such context.
var ErrNoContext = errors.New("no such context")

// The contexts of a session are processes in its sandbox, and its runner knows them. So each call
// about them is an operation on the session.

// MakeContext makes another interpreter of a session, beside all that the session executes. It begins
// in the directory cwd; empty is the work directory. The context keeps the language for the dialect that has made it.
func (s *Service) MakeContext(ctx context.Context, c Caller, session, cwd, language string) (job.Context, error) {
	if err := c.may(access.Sessions); err != nil {
		return job.Context{}, err
	}
	if err := job.CheckCwd(cwd); err != nil {
		return job.Context{}, err
	}
	id, err := newID("context")
	if err != nil {
		return job.Context{}, err
	}
	data, err := s.operateIn(ctx, c, session, job.LaneBeside, job.OpMakeContext, job.ContextArgs{ID: id, Cwd: cwd, Language: language})
	if err != nil {
		return job.Context{}, err
	}
	var made job.Context
	if err := json.Unmarshal(data, &made); err != nil {
		return job.Context{}, fmt.Errorf("decode context: %w", err)
	}
	return made, nil
}

// Contexts lists the interpreters of a session in the order of their creation, its own first.
func (s *Service) Contexts(ctx context.Context, c Caller, session string) ([]job.Context, error) {
	if err := c.may(access.Sessions); err != nil {
		return nil, err
	}
	if err := checkSession(session); err != nil {
		return nil, err
	}
	return s.contexts(ctx, c, session)
}

func (s *Service) contexts(ctx context.Context, c Caller, session string) ([]job.Context, error) {
	se, err := s.cfg.Sessions.Session(ctx, session, c.owner())
	if err != nil {
		return nil, err
	}
	data, err := s.operateIn(ctx, c, session, job.LaneBeside, job.OpListContexts, nil)
	if err != nil {
		return nil, err
	}
	var all []job.Context
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("decode contexts: %w", err)
	}
	for i := range all {
		if all[i].ID == job.DefaultContext {
			all[i].CreatedAt = se.CreatedAt
		}
	}
	return all, nil
}

// RestartContext gives a context a fresh interpreter, in the order of its executions. The files and processes of the
// sandbox stay.
func (s *Service) RestartContext(ctx context.Context, c Caller, session, id string) (job.Context, error) {
	if err := c.may(access.Sessions); err != nil {
		return job.Context{}, err
	}
	if err := checkContext(id); err != nil {
		return job.Context{}, err
	}
	data, err := s.operateIn(ctx, c, session, job.LaneOfContext(id), job.OpRestartContext, job.ContextArgs{ID: id})
	if err != nil {
		return job.Context{}, err
	}
	var fresh job.Context
	if err := json.Unmarshal(data, &fresh); err != nil {
		return job.Context{}, fmt.Errorf("decode context: %w", err)
	}
	if id == job.DefaultContext {
		se, err := s.session(ctx, c, session)
		if err != nil {
			return job.Context{}, err
		}
		fresh.CreatedAt = se.CreatedAt
	}
	return fresh, nil
}

// DeleteContext ends a context. Its executions fail, running or waiting.
func (s *Service) DeleteContext(ctx context.Context, c Caller, session, id string) error {
	if err := c.may(access.Sessions); err != nil {
		return err
	}
	if err := checkContext(id); err != nil {
		return err
	}
	_, err := s.operateIn(ctx, c, session, job.LaneBeside, job.OpDeleteContext, job.ContextArgs{ID: id})
	return err
}

// InterruptContext ends what a context executes and returns that job; empty if it executes nothing.
func (s *Service) InterruptContext(ctx context.Context, c Caller, session, id string) (string, error) {
	if err := c.may(access.Execute); err != nil {
		return "", err
	}
	if err := checkSession(session); err != nil {
		return "", err
	}
	if err := checkContext(id); err != nil {
		return "", err
	}
	interrupted, err := s.cfg.Sessions.InterruptSession(ctx, session, c.ID(), job.LaneOfContext(id))
	if err != nil || interrupted != "" || id == job.DefaultContext {
		return interrupted, err
	}
	all, err := s.contexts(ctx, c, session)
	if err != nil {
		return "", err
	}
	for _, one := range all {
		if one.ID == id {
			return "", nil
		}
	}
	return "", fmt.Errorf("interrupt: %w", ErrNoContext)
}

// checkContext refuses what cannot be the id of a context before it becomes a part of a key.
func checkContext(id string) error {
	if id != job.DefaultContext && !IsID(id) {
		return fmt.Errorf("look for context: %w", ErrNoContext)
	}
	return nil
}
