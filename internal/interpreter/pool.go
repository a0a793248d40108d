package interpreter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kaa-run/kaa/internal/capture"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
	"github.com/kaa-run/kaa/internal/python"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// dirPrefix begins the names of pools' private directories.
const dirPrefix = "kaa-interpreter-"

// Pool keeps parked workers of each runtime ready and hands them out. Its methods are safe for
// concurrent use.
type Pool struct {
	cfg     Config
	dir     process.PrivateDir // has all files of the pool
	spawner *process.Spawner
	groups  *sandbox.Groups
	owners  *process.Owners
	stocks  []*stock // by runtime, the default one first
	sets    sets
	buffers sync.Pool // of *[]byte
	room    *capture.Room
	// others is the number of the user's processes outside this pool, because RLIMIT_NPROC
	// counts them too where there is no user namespace.
	others int

	handedOut   atomic.Int64  // time of the last Acquire, in Unix nanoseconds
	executing   atomic.Int64  // number of workers that execute code
	unrehearsed chan struct{} // has a token when a worker may have rehearsal steps left
	importing   chan struct{} // has a token while a worker imports a module ahead

	life context.Context // ends when Close begins
	end  context.CancelFunc
	wg   sync.WaitGroup // refills, and the closing of their workers
	// spawning is for the spawner alone, because it must end last.
	spawning sync.WaitGroup

	mu      sync.Mutex
	started bool
	closed  bool
	all     map[*Worker]struct{}

	closeOnce sync.Once
	closeDone chan struct{}
	closeErr  error
}

// New finds the interpreters and makes the private directory. The caller must close the pool.
func New(ctx context.Context, cfg Config) (*Pool, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Pool{cfg: cfg, spawner: process.NewSpawner(), owners: process.NewOwners(cfg.Sandbox), all: map[*Worker]struct{}{}, closeDone: make(chan struct{}), unrehearsed: make(chan struct{}, 1), importing: make(chan struct{}, 1), room: capture.NewRoom(cfg.OutputMemory)}
	p.buffers.New = func() any { return new(make([]byte, capture.BufferSize)) }
	for i, rt := range cfg.Runtimes {
		st, err := p.newStock(ctx, rt, i == 0)
		if err != nil {
			return nil, err
		}
		p.stocks = append(p.stocks, st)
	}
	process.KeepThreads(cfg.Ceilings.Threads())
	if err := process.Prepare(); err != nil {
		return nil, err
	}
	process.RemoveLeftovers(cfg.Dir, dirPrefix, cfg.Log)
	if p.dir, err = process.MakePrivateDir(cfg.Dir, dirPrefix); err != nil {
		return nil, err
	}
	err = errors.Join(os.Mkdir(p.rootDir(), 0o700), os.Mkdir(p.scratchDir(), 0o700), python.Write(p.dir.Path))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make private directory: %w", err), p.dir.Remove())
	}
	if p.owners.Many() && cfg.Sandbox != sandbox.Strict {
		p.shareInterpreters()
	}
	if p.groups, err = sandbox.NewGroups(); err != nil {
		cfg.Log.InfoContext(ctx, "interpreter: no control groups; a watchdog limits memory", slog.Any("reason", err))
	}
	if p.groups.Outside() {
		cfg.Log.InfoContext(ctx, "interpreter: control groups are outside of the own one, which is not delegated, so its limits do not hold for executions")
	}
	if missing := p.groups.Missing(); len(missing) > 0 {
		cfg.Log.WarnContext(ctx, "interpreter: control groups lack controllers, so their limits are not kept", slog.Any("missing", missing))
	}
	if err := p.groups.Bound(cfg.Ceilings.Sandboxes()); err != nil {
		cfg.Log.WarnContext(ctx, "interpreter: nothing bounds all sandboxes together", slog.Any("reason", err))
	}
	if cfg.Sandbox != sandbox.Strict {
		p.others = processesOfUser()
	}
	// The pool lives until Close, but ctx may be limited to the start of the program.
	p.life, p.end = context.WithCancel(context.WithoutCancel(ctx))
	return p, nil
}

// Runtimes returns the runtimes of the pool, the default one first. Their modules are known once the
// pool has started.
func (p *Pool) Runtimes() []job.Runtime {
	all := make([]job.Runtime, len(p.stocks))
	for i, st := range p.stocks {
		all[i] = job.Runtime{Name: st.name, Version: st.python.Version, Modules: st.preloaded(), Default: i == 0}
	}
	return all
}

// Parked returns the number of workers that are ready to be handed out, by runtime.
func (p *Pool) Parked() map[string]int {
	all := make(map[string]int, len(p.stocks))
	for _, st := range p.stocks {
		st.mu.Lock()
		all[st.name] = len(st.parked)
		st.mu.Unlock()
	}
	return all
}

// Health returns, by runtime, the reason why no worker can be started at present, which is a
// job.ErrNoWorker; nil for a healthy runtime. The pool continues to try, so an error disappears
// when its cause is gone.
func (p *Pool) Health() map[string]error {
	all := make(map[string]error, len(p.stocks))
	for _, st := range p.stocks {
		st.mu.Lock()
		all[st.name] = st.unhealthy
		st.mu.Unlock()
	}
	return all
}

// Sandbox returns the level in force, its layers, and the mechanism that limits memory.
func (p *Pool) Sandbox() (sandbox.Level, []job.Layer, string) {
	var layers []job.Layer
	for _, name := range p.cfg.Sandbox.Layers() {
		layers = append(layers, job.Layer{Name: name, Holds: true})
	}
	return p.cfg.Sandbox, layers, p.groups.Control()
}

// Start begins to keep workers parked. It returns once the wanted number is parked, or with the
// reason why they cannot be started. After an error the caller should close the pool.
func (p *Pool) Start(ctx context.Context) error {
	p.mu.Lock()
	first := !p.started && !p.closed
	p.started = true
	if first {
		p.spawning.Go(p.spawner.Run)
		for _, st := range p.stocks {
			st.start()
		}
		p.wg.Go(p.rehearse)
	}
	p.mu.Unlock()
	for _, st := range p.stocks {
		if _, err := st.wait(ctx, false); err != nil {
			return fmt.Errorf("start interpreter pool: %w", err)
		}
	}
	if first { // no code has run that could have written there
		python.Keep(p.dir.Path)
	}
	return nil
}

// Acquire hands out a parked worker of a runtime, "" for the default one. The caller must close it.
// Acquire waits for a worker if none is parked, but not if Python does not start. It returns
// job.ErrNoRuntime if the pool has no such runtime.
func (p *Pool) Acquire(ctx context.Context, runtime string) (*Worker, error) {
	st := p.stockOf(runtime)
	if st == nil {
		return nil, fmt.Errorf("acquire worker: %w", job.ErrNoRuntime)
	}
	w, err := st.acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("acquire worker: %w", err)
	}
	return w, nil
}

// stockOf returns the stock of a runtime, perhaps with a set of packages; nil if there is none.
func (p *Pool) stockOf(runtime string) *stock {
	if runtime == "" {
		return p.stocks[0]
	}
	if i := slices.IndexFunc(p.stocks, func(st *stock) bool { return st.name == runtime }); i >= 0 {
		return p.stocks[i]
	}
	return p.sets.get(runtime)
}

// track lists a worker among those that Close has to end, unless it has begun.
func (p *Pool) track(w *Worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.all[w] = struct{}{}
	return true
}

// forget drops a closed worker from that list.
func (p *Pool) forget(w *Worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, w)
}

// Close kills every worker, also those handed out, waits for the pool's goroutines and removes its
// directory. Further calls wait for the first one. ctx bounds the wait, not the work.
func (p *Pool) Close(ctx context.Context) error {
	p.closeOnce.Do(func() { go p.close() })
	select {
	case <-p.closeDone:
		return p.closeErr
	case <-ctx.Done():
		return fmt.Errorf("close interpreter pool: %w", context.Cause(ctx))
	}
}

func (p *Pool) close() {
	defer close(p.closeDone)
	p.mu.Lock()
	p.closed = true
	workers := make([]*Worker, 0, len(p.all))
	for w := range p.all {
		workers = append(workers, w)
	}
	p.mu.Unlock()
	p.end()
	all := slices.Concat(p.stocks, p.sets.close())
	for _, st := range all {
		st.close()
	}

	errs := make([]error, len(workers), len(workers)+2)
	var closing sync.WaitGroup
	for i, w := range workers {
		closing.Go(func() { errs[i] = w.Close() })
	}
	closing.Wait()
	p.wg.Wait()
	for _, st := range all {
		st.release()
	}
	// The spawner ends after the last zygote, because the end of its thread kills zygotes.
	p.spawner.Close()
	p.spawning.Wait()
	p.owners.Release()
	p.closeErr = errors.Join(append(errs, p.groups.Close(), p.dir.Remove())...)
}

// processesOfUser counts the threads of this process's user, because RLIMIT_NPROC counts all of
// them where there is no user namespace.
func processesOfUser() int {
	stats, _ := filepath.Glob("/proc/[0-9]*/task/[0-9]*")
	n := 0
	for _, path := range stats {
		if info, err := os.Stat(path); err == nil && process.OwnedByUs(info) {
			n++
		}
	}
	return n
}

// shareInterpreters lets the workers' users enter the pool's private directory, so that each can
// reach its own directories in it. If these users cannot reach an interpreter, workers run as this
// process's user, which is root.
func (p *Pool) shareInterpreters() {
	for _, st := range p.stocks {
		for dir := filepath.Dir(st.python.Path); ; dir = filepath.Dir(dir) {
			info, err := os.Stat(dir)
			if err != nil || info.Mode().Perm()&0o001 == 0 {
				p.cfg.Log.Warn("interpreter: code runs as root, because other users may not use this interpreter",
					slog.String("runtime", st.name), slog.String("directory", dir))
				p.dropOwners()
				return
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	for dir := p.dir.Path; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err != nil || dir != p.dir.Path && info.Mode().Perm()&0o001 == 0 {
			p.cfg.Log.Warn("interpreter: code runs as root, because other users may not pass to its directories",
				slog.String("directory", dir))
			p.dropOwners()
			return
		}
	}
	if err := os.Chmod(p.dir.Path, 0o711); err != nil { //nolint:gosec // users may enter it, not list it
		p.cfg.Log.Warn("interpreter: code runs as root", slog.Any("err", err))
		p.dropOwners()
	}
}

// dropOwners makes workers run as this process's user.
func (p *Pool) dropOwners() {
	p.owners.Release()
	p.owners = &process.Owners{}
}
