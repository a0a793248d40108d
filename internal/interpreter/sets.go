package interpreter

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/kaa-run/kaa/internal/job"
)

// A set of packages has a zygote of its own: a variant of its runtime whose root has the set's directory, and whose code imports
// from it. So an execution with packages costs what any other costs, and the others cost nothing more. The zygote imports nothing
// of the set, because it is not confined; a parked worker may: see warm.go.

// sets are the stocks of sets of packages.
type sets struct {
	mu     sync.Mutex
	byName map[string]*stock
	closed bool
}

func (s *sets) get(name string) *stock {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byName[name]
}

// close returns all of them, and lets no more begin.
func (s *sets) close() []*stock {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return slices.Collect(maps.Values(s.byName))
}

// partOfSize is the part of the pool's size of the workers that a set keeps parked.
const partOfSize = 4

// OfferSet begins to keep workers of a runtime parked that have the packages of a directory. Acquire hands them out by the name.
// One of the parked workers has imported modules: see warm.go.
// The directory must stay as it is until the set is withdrawn. It does nothing if the name is offered already.
func (p *Pool) OfferSet(name, runtime, dir string, imports []string) error {
	base := p.stockOf(runtime)
	if base == nil || base.packages != "" {
		return fmt.Errorf("offer packages: %w", job.ErrNoRuntime)
	}
	p.sets.mu.Lock()
	defer p.sets.mu.Unlock()
	if p.sets.closed {
		return fmt.Errorf("offer packages: %w", ErrClosed)
	}
	if p.sets.byName[name] != nil {
		return nil
	}
	st := &stock{
		pool: p, name: name, cfg: RuntimeConfig{Name: name, Python: base.cfg.Python}, python: base.python,
		size: (p.cfg.Size + partOfSize - 1) / partOfSize, changed: make(chan struct{}, 1), packages: dir, gone: make(chan struct{}),
	}
	st.spawnOne = st.spawn
	if len(imports) > 0 && p.groups.Counts() {
		st.imports, st.cold = imports, make(chan struct{}, 1)
		st.size = max(st.size, 2) // one imports, and a caller that comes meanwhile gets the other
	}
	if p.sets.byName == nil {
		p.sets.byName = map[string]*stock{}
	}
	p.sets.byName[name] = st
	st.start()
	if st.imports != nil {
		st.refills.Add(1)
		p.wg.Go(func() {
			defer st.refills.Done()
			st.warm()
		})
	}
	return nil
}

// WithdrawSet ends the parked workers and the zygote of a set, and returns once they have ended, so that its directory may go.
// It does nothing, and returns false, while a worker of the set is in use.
func (p *Pool) WithdrawSet(name string) bool {
	p.sets.mu.Lock()
	st := p.sets.byName[name]
	if st == nil || p.sets.closed || !st.retire() {
		p.sets.mu.Unlock()
		return st == nil
	}
	delete(p.sets.byName, name)
	p.sets.mu.Unlock()
	st.mu.Lock()
	importing := st.rehearsing
	st.mu.Unlock()
	if importing != nil { // its module may not come to an end
		importing.endProcesses()
	}
	st.refills.Wait()
	st.mu.Lock()
	parked := st.parked
	st.parked = nil
	st.mu.Unlock()
	if importing != nil && !slices.Contains(parked, importing) {
		parked = append(parked, importing)
	}
	for _, w := range parked {
		_ = w.Close()
	}
	st.release()
	return true
}

// retire lets a stock hand out no more workers, unless it has handed out some, or is about to.
func (st *stock) retire() bool {
	st.pool.mu.Lock()
	defer st.pool.mu.Unlock()
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.waiting) > 0 || st.closed || st.pool.closed {
		return false
	}
	for w := range st.pool.all {
		if w.stock == st && !w.fresh {
			return false
		}
	}
	st.closed = true
	close(st.gone)
	return true
}
