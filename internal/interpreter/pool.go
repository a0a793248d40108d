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

// Pool keeps parked workers of each runtime ready and lends them. Methods are safe
// for concurrent use.
type Pool struct {
	cfg     Config
	dir     process.PrivateDir // everything of the pool's is in it
	spawner *process.Spawner
	groups  *sandbox.Groups
	owners  *process.Owners
	stocks  []*stock  // by runtime, the default one first
	buffers sync.Pool // of *[]byte
	room    *capture.Room
	// processes is what RLIMIT_NPROC allows where it counts more than one sandbox.
	others int

	lent        atomic.Int64  // when a worker last was, in Unix nanoseconds
	executing   atomic.Int64  // workers that execute something
	unrehearsed chan struct{} // has a token when there may be something to rehearse

	life context.Context // ends when Close begins
	end  context.CancelFunc
	wg   sync.WaitGroup // refills, and closing of what they made
	// The spawner has one of its own, because it must end last.
	spawning sync.WaitGroup

	mu      sync.Mutex
	started bool
	closed  bool
	all     map[*Worker]struct{}

	closeOnce sync.Once
	closeDone chan struct{}
	closeErr  error
}

// New finds the interpreters and makes the private directory. Close the pool in any
// case.
func New(ctx context.Context, cfg Config) (*Pool, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Pool{cfg: cfg, spawner: process.NewSpawner(), owners: process.NewOwners(cfg.Sandbox), all: map[*Worker]struct{}{}, closeDone: make(chan struct{}), unrehearsed: make(chan struct{}, 1), room: capture.NewRoom(cfg.OutputMemory)}
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
	// Not ctx: the pool lives until Close, New may be called with a start-up budget.
	p.life, p.end = context.WithCancel(context.WithoutCancel(ctx))
	return p, nil
}

// Runtimes returns the interpreters of the pool, the default one first. Modules are
// known once the pool has started.
func (p *Pool) Runtimes() []job.Runtime {
	all := make([]job.Runtime, len(p.stocks))
	for i, st := range p.stocks {
		all[i] = job.Runtime{Name: st.name, Version: st.python.Version, Modules: st.preloaded(), Default: i == 0}
	}
	return all
}

// Parked returns how many workers are ready to be lent, by runtime.
func (p *Pool) Parked() map[string]int {
	all := make(map[string]int, len(p.stocks))
	for _, st := range p.stocks {
		st.mu.Lock()
		all[st.name] = len(st.parked)
		st.mu.Unlock()
	}
	return all
}

// Health returns why no worker of a runtime can be started now, by runtime: an error of
// those that cannot, which is job.ErrNoWorker, and nil of the others. The pool goes on to
// try, so that an error goes away when its reason has.
func (p *Pool) Health() map[string]error {
	all := make(map[string]error, len(p.stocks))
	for _, st := range p.stocks {
		st.mu.Lock()
		all[st.name] = st.sick
		st.mu.Unlock()
	}
	return all
}

// Sandbox returns the level in force, its layers, and what limits memory.
func (p *Pool) Sandbox() (sandbox.Level, []job.Layer, string) {
	var layers []job.Layer
	for _, name := range p.cfg.Sandbox.Layers() {
		layers = append(layers, job.Layer{Name: name, Holds: true})
	}
	return p.cfg.Sandbox, layers, p.groups.Control()
}

// Start begins to keep workers parked. It returns once all that are wanted are, or
// with the reason why they cannot be started; the pool should then be closed.
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
	return nil
}

// Acquire lends a parked worker of a runtime, "" for the default one; the caller must
// close it. It waits for one if there is none, but not for a Python that does not
// start. job.ErrNoRuntime: the pool has no such runtime.
func (p *Pool) Acquire(ctx context.Context, runtime string) (*Worker, error) {
	i := 0
	if runtime != "" {
		i = slices.IndexFunc(p.stocks, func(st *stock) bool { return st.name == runtime })
		if i < 0 {
			return nil, fmt.Errorf("acquire worker: %w", job.ErrNoRuntime)
		}
	}
	w, err := p.stocks[i].wait(ctx, true)
	if err != nil {
		return nil, fmt.Errorf("acquire worker: %w", err)
	}
	w.awaitStep()
	return w, nil
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

// Close kills every worker, lent ones too, waits for all that the pool runs and
// removes its directory. It is idempotent. ctx bounds the wait, not the work.
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
	for _, st := range p.stocks {
		st.close()
	}

	errs := make([]error, len(workers), len(workers)+2)
	var closing sync.WaitGroup
	for i, w := range workers {
		closing.Go(func() { errs[i] = w.Close() })
	}
	closing.Wait()
	p.wg.Wait()
	for _, st := range p.stocks {
		st.release()
	}
	// After the last zygote: the thread that ends here would take them along.
	p.spawner.Close()
	p.spawning.Wait()
	p.owners.Release()
	p.closeErr = errors.Join(append(errs, p.groups.Close(), p.dir.Remove())...)
}

// processesOfUser counts the threads of this process's user, since RLIMIT_NPROC
// counts all of them where there is no user namespace.
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

// shareInterpreters lets the users that workers belong to pass to their directories,
// which are only theirs. An interpreter that others may not read is no use to them:
// then workers stay this process's user, which is root.
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
	if err := os.Chmod(p.dir.Path, 0o711); err != nil { //nolint:gosec // to be passed through
		p.cfg.Log.Warn("interpreter: code runs as root", slog.Any("err", err))
		p.dropOwners()
	}
}

// dropOwners has workers be this process's user.
func (p *Pool) dropOwners() {
	p.owners.Release()
	p.owners = &process.Owners{}
}
