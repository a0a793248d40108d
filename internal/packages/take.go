package packages

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
)

// Take installs a set, if it is not, and calls use with a function that writes its files as a tar. The set stays until use returns.
func (m *Manager) Take(ctx context.Context, name string, spec job.PackageSpec, use func(write func(io.Writer) error) error) error {
	s, err := m.hold(ctx, name, spec)
	if err != nil {
		return err
	}
	defer func() {
		m.mu.Lock()
		s.takers--
		m.mu.Unlock()
	}()
	return use(func(w io.Writer) error { return writeTar(w, s.dir) })
}

// hold installs a set, if it is not. The caller is a taker of it then.
func (m *Manager) hold(ctx context.Context, name string, spec job.PackageSpec) (*set, error) {
	for {
		s, pending, err := m.take(name, spec)
		if err != nil || pending == nil {
			return s, err
		}
		select {
		case <-pending:
		case <-ctx.Done():
			return nil, fmt.Errorf("install packages: %w", context.Cause(ctx))
		}
	}
}

// take returns a set that is installed, or what to wait for.
func (m *Manager) take(name string, spec job.PackageSpec) (*set, <-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sets[name]
	if s == nil {
		s = &set{}
		m.sets[name] = s
	}
	switch {
	case s.pending != nil:
		m.ask(name, spec.Owner)
		return nil, s.pending, nil
	case s.dir != "":
		s.takers++
		s.used = time.Now()
		return s, nil, nil
	case s.failure != nil && time.Since(s.failed) < keepFailure:
		return nil, nil, s.failure
	case m.life.Err() != nil:
		return nil, nil, fmt.Errorf("install packages: %w", interpreter.ErrClosed)
	}
	m.begin(s, spec.Owner)
	m.done.Go(func() {
		m.provide(s, func() error {
			if err := m.install(name, s, spec.Packages); err != nil {
				return err
			}
			m.making.Lock()
			defer m.making.Unlock()
			m.makeRoom(s, false)
			return nil
		})
	})
	return nil, s.pending, nil
}
