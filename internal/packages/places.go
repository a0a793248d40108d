package packages

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
)

// places are those of the installations of a runner, mostInstalls together. Owners share them, so sets of one owner that take long keep no
// other waiting.
type places struct {
	mu      sync.Mutex
	shares  job.Shares
	waiting []*place // in the order in which they get one
}

// place is that of the installation of one set. The mu of places guards it.
type place struct {
	askers []string      // owners of what waits for the set
	ready  chan struct{} // closed when the set gets a place; nil if it does not wait for one and has none
	held   bool
	owner  string // whose share a held place is of
}

// ask notes that an owner waits for the set. The set gets the first place that one of its askers may have: who asks for it waits no longer
// because another one has asked before. An empty owner is a caller without a key.
func (l *places) ask(p *place, owner string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if owner != "" { // there are keys, so there may be other tenants
		l.shares.Fair(true)
	}
	if !slices.Contains(p.askers, owner) {
		p.askers = append(p.askers, owner)
		l.give()
	}
}

// wait returns what is closed when p has a place.
func (l *places) wait(p *place) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.ready == nil {
		p.ready = make(chan struct{})
		l.waiting = append(l.waiting, p)
		l.give()
	}
	return p.ready
}

// has reports whether p has a place.
func (l *places) has(p *place) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return p.held
}

// leave gives back the place of p, or ends its wait for one.
func (l *places) leave(p *place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = slices.DeleteFunc(l.waiting, func(other *place) bool { return other == p })
	p.ready = nil
	if p.held {
		p.held = false
		l.shares.Give(p.owner, 1)
		l.give()
	}
}

// give gives the free places to those that wait for them. Owners take turns: the other sets of one that has got a place come after those of others.
func (l *places) give() {
	for i := slices.IndexFunc(l.waiting, l.admit); i >= 0; i = slices.IndexFunc(l.waiting, l.admit) {
		p := l.waiting[i]
		close(p.ready)
		var others, own []*place
		for _, other := range slices.Delete(l.waiting, i, i+1) {
			if slices.Equal(other.askers, []string{p.owner}) {
				own = append(own, other)
			} else {
				others = append(others, other)
			}
		}
		l.waiting = append(others, own...)
	}
}

// admit gives p a place, if one of its askers may have one.
func (l *places) admit(p *place) bool {
	for _, owner := range p.askers {
		if _, _, ok := l.shares.Take(owner, 1, mostInstalls); ok {
			p.held, p.owner = true, owner
			return true
		}
	}
	return false
}

// enter waits for a place for the installation of a set, and tells callers that it does. The set has no lease meanwhile: a runner with a free place
// may install it.
func (m *Manager) enter(name string, p *place) error {
	ready := m.places.wait(p)
	for {
		select {
		case <-ready:
			return nil
		default:
		}
		if err := m.cfg.Records.AwaitInstallation(m.life, name, installLease); err != nil && m.life.Err() == nil {
			m.cfg.Log.Warn("callers do not see that packages wait", slog.String("packages", name), slog.Any("err", err))
		}
		select {
		case <-ready:
		case <-time.After(installLease / 3):
		case <-m.life.Done():
			return fmt.Errorf("install packages: %w", interpreter.ErrClosed)
		}
	}
}
