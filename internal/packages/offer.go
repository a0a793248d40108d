package packages

import (
	"cmp"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kaa-run/kaa/internal/job"
)

// offer has the pool keep workers with a set, after it has made room for that. If too many sets with modules of requests are in use, it
// imports none of them: then executions do.
func (m *Manager) offer(name string, s *set, dir string, preload []string) error {
	m.making.Lock()
	defer m.making.Unlock()
	m.makeRoom(s, true)
	runtime, _ := job.SplitPackages(name)
	m.mu.Lock()
	s.imports = len(preload) > 0 && m.preloaded() < mostPreloaded
	if len(preload) > 0 && !s.imports {
		preload = nil
	}
	own := s.plain != nil
	m.mu.Unlock()
	if !own {
		preload = m.preloads(dir)
	}
	err := m.pool.OfferSet(name, runtime, dir, preload)
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.offered = err == nil; !s.offered {
		s.letGo()
	}
	return err
}

// preloaded returns how many sets import modules of requests. The caller holds mu.
func (m *Manager) preloaded() (n int) {
	for _, s := range m.sets {
		if s.imports {
			n++
		}
	}
	return n
}

// letGo notes that a set is offered no longer. One with modules of a request is forgotten then. The caller holds mu.
func (s *set) letGo() {
	s.offered, s.imports = false, false
	if s.plain != nil {
		s.plain.takers--
		s.plain, s.dir = nil, ""
	}
}

// preloads returns the modules to import ahead that a set has.
func (m *Manager) preloads(dir string) (names []string) {
	for _, name := range m.cfg.Preload {
		path := filepath.Join(dir, filepath.FromSlash(strings.ReplaceAll(name, ".", "/")))
		for _, file := range []string{path + ".py", filepath.Join(path, "__init__.py")} {
			if _, err := os.Stat(file); err == nil {
				names = append(names, name)
				break
			}
		}
	}
	return names
}

// makeRoom withdraws sets until one more may be offered, if one is to be, and removes sets until all together are within the budget. Those that
// were not used for the longest time go first, and those in use stay.
func (m *Manager) makeRoom(beside *set, offers bool) {
	for _, name := range m.oldest() {
		m.mu.Lock()
		s := m.sets[name]
		withdraw, remove := m.excess(s, beside, offers)
		if !withdraw && !remove {
			m.mu.Unlock()
			continue
		}
		// Whoever asks for it meanwhile waits, and then has it offered or installed again.
		s.pending = make(chan struct{})
		m.mu.Unlock()
		gone := !s.offered || m.pool.WithdrawSet(name)
		var err error
		if gone && remove {
			err = os.RemoveAll(s.dir)
		}
		m.mu.Lock()
		if gone {
			s.letGo()
		}
		if gone && remove && err == nil {
			s.dir, s.bytes = "", 0
		}
		close(s.pending)
		s.pending = nil
		m.mu.Unlock()
		if err != nil {
			m.cfg.Log.Warn("packages were not removed", slog.String("packages", name), slog.Any("err", err))
		}
	}
}

// oldest returns the names of sets, those first that were not used for the longest time. A set with modules of a request comes before the
// set of which it is a taker.
func (m *Manager) oldest() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Keys(m.sets), func(a, b string) int {
		return cmp.Or(m.sets[a].used.Compare(m.sets[b].used), cmp.Compare(len(b), len(a)))
	})
}

// excess reports whether a set is to be withdrawn, and whether its files are to be removed. The caller holds mu.
func (m *Manager) excess(s, beside *set, offers bool) (withdraw, remove bool) {
	if s == nil || s == beside || s.pending != nil || s.dir == "" {
		return false, false
	}
	offered, bytes := 0, int64(0)
	for _, one := range m.sets {
		bytes += one.bytes
		if one.offered {
			offered++
		}
	}
	full := bytes > m.cfg.DiskBytes
	withdraw = s.offered && offers && (offered >= mostOffered || s.imports && beside.plain != nil && m.preloaded() >= mostPreloaded)
	if s.plain != nil { // it has no files of its own, and keeps those of the other
		return withdraw || full && beside.plain != s.plain, false
	}
	return withdraw, full && s.takers == 0
}
