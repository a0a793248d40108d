// Package packages installs sets of packages for the interpreters of one runner. uv resolves a set to a lock with hashes and
// unpacks its wheels, in a sandbox without other files and rights; see interpreter.Tool. The pool then has workers of a runtime
// with the set.
//
// A set is installed once and serves all executions that name it, also at the same time: its directory is read-only to them.
// Sets that were not used for the longest time make room for others. Nothing of a set can be used before it is complete, because
// its directory gets its name then.
//
// Failures: the set cannot be had (job.RefusedError, whose words callers see), or a part of the runner fails. The reason is kept for a moment,
// for the jobs that have waited.
package packages

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
)

const (
	// dirPrefix begins the names of the private directories.
	dirPrefix = "kaa-packages-"
	// mostOffered is how many sets have a zygote and parked workers at once. Each takes some 50 MB. A set with modules that a request
	// has imported ahead is one of its own. Of these there are mostPreloaded at most that import something.
	mostOffered   = 8
	mostPreloaded = 4
	// mostInstalls is how many sets are installed at once. Others wait.
	mostInstalls = 2
	// keepFailure is how long the reason is kept for which a set could not be had.
	keepFailure = 10 * time.Second
)

// Config says how packages are installed.
type Config struct {
	// UV is the installer: a path, or a name on the PATH.
	UV string
	// Index is the address of the index, perhaps with a password.
	Index string
	// Hosts are those of files of the index, besides its own.
	Hosts []string
	// Sdist: source distributions are built, in a strict sandbox.
	Sdist bool
	// Block are names that no set may have.
	Block []string
	// Preload are modules that a parked interpreter of a set imports ahead, if the set has them.
	Preload []string
	// MaxBytes bounds a set, DiskBytes all sets of this runner together, StoreBytes the archives that runners share.
	MaxBytes, DiskBytes, StoreBytes int64
	// Timeout bounds an installation.
	Timeout time.Duration
	// Blobs is where runners share sets, and Records what they know of them.
	Blobs   Blobs
	Records Records
	// Dir is the parent of the private directory; empty for the system's directory for temporary files.
	Dir string
	Log *slog.Logger
}

// Manager has the sets of one runner. Its methods are safe for concurrent use.
type Manager struct {
	cfg   Config
	pool  *interpreter.Pool
	index *index
	dir   process.PrivateDir

	life   context.Context
	end    context.CancelFunc
	places places // of installations under way
	done   sync.WaitGroup

	making sync.Mutex // held while room is made

	mu   sync.Mutex
	sets map[string]*set
}

// set is a set of packages, or one with modules that a request has imported ahead. The manager's mu guards it.
type set struct {
	dir     string // empty if it is not installed
	bytes   int64  // 0 if they are those of plain
	plain   *set   // for one with such modules: the set without, of which it is a taker; nil if it is not installed
	offered bool
	imports bool // its workers import the modules of a request
	used    time.Time
	pending chan struct{} // closed when what is under way has ended; nil if nothing is
	place   *place        // of the installation that was begun last; nil if none was
	takers  int           // calls of Take, and sets with modules to import ahead, that use the directory
	failure error
	failed  time.Time
}

// New makes the private directory. The caller closes the manager before the pool.
func New(pool *interpreter.Pool, cfg Config) (*Manager, error) {
	x, err := newIndex(cfg.Index, cfg.Hosts, cfg.Log)
	if err != nil {
		return nil, err
	}
	if cfg.Sdist && pool.ToolProxy() == "" {
		cfg.Log.Warn("source distributions of packages are not built, because the sandbox is weaker than strict (KAA_PACKAGES_SDIST)")
		cfg.Sdist = false
	}
	process.RemoveLeftovers(cfg.Dir, dirPrefix, cfg.Log)
	dir, err := process.MakePrivateDir(cfg.Dir, dirPrefix)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir.Path, 0o711); err != nil { //nolint:gosec // users of sandboxes may enter it, not list it
		return nil, errors.Join(err, dir.Remove())
	}
	m := &Manager{cfg: cfg, pool: pool, index: x, dir: dir, sets: map[string]*set{}}
	m.life, m.end = context.WithCancel(context.Background())
	return m, nil
}

// Close ends what is under way and removes the directory.
func (m *Manager) Close(ctx context.Context) error {
	m.end()
	ended := make(chan struct{})
	go func() { m.done.Wait(); close(ended) }()
	select {
	case <-ended:
		m.index.transport.CloseIdleConnections()
		return m.dir.Remove()
	case <-ctx.Done():
		return fmt.Errorf("close packages: %w", context.Cause(ctx))
	}
}

// Prepare returns nil if the pool hands out workers of a runtime with a set of packages, by that name: see job.WithPackages and
// job.WithPreload. Otherwise it begins to install the set, of which list says what it is made of, and returns a job.PreparingError; or a
// job.RefusedError.
func (m *Manager) Prepare(ctx context.Context, name string, list func(context.Context) (job.PackageSpec, error)) error {
	if known, err := m.known(name); known {
		return err
	}
	spec, err := list(ctx)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	known, err := m.knownLocked(name)
	if err != nil && !known { // it waits for a place, now also on behalf of this owner
		m.ask(job.WithoutPreload(name), spec.Owner)
	}
	if known || err != nil {
		return err
	}
	if m.life.Err() != nil {
		return fmt.Errorf("install packages: %w", interpreter.ErrClosed)
	}
	s := m.sets[name]
	if s == nil {
		s = &set{}
		m.sets[name] = s
	}
	m.begin(s, spec.Owner)
	m.done.Go(func() {
		m.provide(s, func() error {
			dir, err := m.directory(name, s, spec)
			if err != nil {
				return err
			}
			return m.offer(name, s, dir, spec.Preload)
		})
	})
	return &job.PreparingError{Done: s.pending}
}

// begin notes that something is under way for a set, on behalf of an owner. The caller holds mu.
func (m *Manager) begin(s *set, owner string) {
	s.pending, s.used, s.place = make(chan struct{}), time.Now(), &place{}
	m.places.ask(s.place, owner)
}

// ask notes that an owner waits for a set that is under way. The caller holds mu.
func (m *Manager) ask(name, owner string) {
	if s := m.sets[name]; s != nil && s.place != nil {
		m.places.ask(s.place, owner)
	}
}

// known reports whether there is nothing to do for a set but what is being done, and what Prepare returns then. It is not known, with a
// job.PreparingError, if it may wait for a place: then it matters who asks for it.
func (m *Manager) known(name string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.knownLocked(name)
}

func (m *Manager) knownLocked(name string) (bool, error) {
	s := m.sets[name]
	switch {
	case s == nil:
		return false, nil
	case s.pending != nil:
		plain := m.sets[job.WithoutPreload(name)]
		waits := plain != nil && plain.dir == "" && plain.place != nil && !m.places.has(plain.place)
		return !waits, &job.PreparingError{Done: s.pending}
	case s.failure != nil && time.Since(s.failed) < keepFailure:
		return true, s.failure
	case s.offered:
		s.used = time.Now()
		if s.plain != nil { // it may go only after this one
			s.plain.used = s.used
		}
		return true, nil
	}
	return false, nil
}

// provide does something for a set, and notes how it has ended.
func (m *Manager) provide(s *set, do func() error) {
	err := do()
	m.mu.Lock()
	defer m.mu.Unlock()
	s.failure, s.failed, s.used = err, time.Now(), time.Now()
	if s.plain != nil {
		s.plain.used = s.used
	}
	close(s.pending)
	s.pending = nil
	m.forgetFailures()
}

// forgetFailures drops the reasons that are kept no longer. The caller holds mu.
func (m *Manager) forgetFailures() {
	maps.DeleteFunc(m.sets, func(_ string, s *set) bool {
		return s.pending == nil && s.dir == "" && time.Since(s.failed) >= keepFailure
	})
}

// directory returns that of a set, which it installs if it is not. A set with modules to import ahead has that of the set without.
func (m *Manager) directory(name string, s *set, spec job.PackageSpec) (string, error) {
	if plain := job.WithoutPreload(name); plain != name {
		m.mu.Lock()
		held := s.plain
		m.mu.Unlock()
		if held == nil {
			var err error
			if held, err = m.hold(m.life, plain, spec); err != nil {
				return "", err
			}
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		s.plain, s.dir = held, held.dir
		return s.dir, nil
	}
	if err := m.install(name, s, spec.Packages); err != nil {
		return "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return s.dir, nil
}

// install installs a set, if it is not.
func (m *Manager) install(name string, s *set, requirements []string) error {
	m.mu.Lock()
	installed, p := s.dir != "", s.place
	m.mu.Unlock()
	if installed {
		return nil
	}
	began := time.Now()
	runtime, id := job.SplitPackages(name)
	built, shared, err := m.obtain(name, p, requirements)
	if err == nil {
		err = os.Rename(built.site, filepath.Join(m.dir.Path, setDir(runtime, id)))
	}
	err = errors.Join(err, built.remove())
	log := m.cfg.Log.With(slog.String("packages", name), slog.Duration("took", time.Since(began)))
	if err != nil {
		if m.life.Err() == nil {
			log.Warn("packages were not installed", slog.Any("err", err))
		}
		return err
	}
	m.mu.Lock()
	s.dir, s.bytes = filepath.Join(m.dir.Path, setDir(runtime, id)), built.bytes
	m.mu.Unlock()
	log.Info("packages are installed", slog.Bool("shared", shared), slog.Int64("bytes", built.bytes))
	return nil
}

func setDir(runtime, id string) string { return "set-" + id + "-" + runtime }
