package interpreter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
)

// bufferSize is how much is read at once: what a pipe holds.
const bufferSize = 64 << 10

// Pool keeps parked workers ready and lends them. Methods are safe for
// concurrent use.
type Pool struct {
	cfg     Config
	python  Python
	dir     privateDir // everything of the pool's is in it
	script  string
	spawner *spawner
	buffers sync.Pool // of *[]byte

	life context.Context // ends when Close begins
	end  context.CancelFunc
	wg   sync.WaitGroup // refills and watches
	// The spawner has one of its own, because it must end last.
	spawning sync.WaitGroup

	mu       sync.Mutex
	started  bool
	closed   bool
	parked   []*Worker // the oldest first
	all      map[*Worker]struct{}
	starting int
	waiting  []*waiter
	failures int           // spawns that failed since the last that did not
	changed  chan struct{} // closed and replaced when there may be something to spawn

	closeOnce sync.Once
	closeDone chan struct{}
	closeErr  error
}

// waiter is a call that waits for a worker, or with take unset for there to be one.
type waiter struct {
	take  bool
	reply chan offer // has room for the one answer
}

type offer struct {
	worker *Worker
	err    error
}

// New finds Python and makes the private directory. Close the pool in any case.
func New(ctx context.Context, cfg Config) (*Pool, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	python, err := resolvePython(ctx, cfg.Python, cfg.StartTimeout)
	if err != nil {
		return nil, err
	}
	if err := prepareReaper(); err != nil {
		return nil, err
	}
	removeLeftovers(cfg.Dir, cfg.Log)
	dir, err := makePrivateDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	script := filepath.Join(dir.path, workerFile)
	if err := os.WriteFile(script, workerScript, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("write worker script: %w", err), dir.remove())
	}
	p := &Pool{
		cfg: cfg, python: python, dir: dir, script: script, spawner: newSpawner(),
		all: map[*Worker]struct{}{}, changed: make(chan struct{}), closeDone: make(chan struct{}),
	}
	p.buffers.New = func() any { return new(make([]byte, bufferSize)) }
	// Not ctx: the pool lives until Close, New may be called with a start-up budget.
	p.life, p.end = context.WithCancel(context.WithoutCancel(ctx))
	return p, nil
}

// Python returns the interpreter that the pool runs.
func (p *Pool) Python() Python { return p.python }

// Start begins to keep workers parked. It returns once the first one is, or with
// the reason why Python does not start; the pool should then be closed.
func (p *Pool) Start(ctx context.Context) error {
	p.mu.Lock()
	first := !p.started && !p.closed
	p.started = true
	if first {
		p.spawning.Go(p.spawner.run)
		for range min(runtime.NumCPU(), p.cfg.Size) {
			p.wg.Go(p.refill)
		}
	}
	p.mu.Unlock()
	if _, err := p.wait(ctx, false); err != nil {
		return fmt.Errorf("start interpreter pool: %w", err)
	}
	return nil
}

// Acquire lends a parked worker, which the caller must close. It waits for one if
// there is none, but not for a Python that does not start.
func (p *Pool) Acquire(ctx context.Context) (*Worker, error) {
	w, err := p.wait(ctx, true)
	if err != nil {
		return nil, fmt.Errorf("acquire worker: %w", err)
	}
	return w, nil
}

func (p *Pool) wait(ctx context.Context, take bool) (*Worker, error) {
	wt := &waiter{take: take, reply: make(chan offer, 1)}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	p.waiting = append(p.waiting, wt)
	p.match()
	p.mu.Unlock()
	select {
	case o := <-wt.reply:
		return o.worker, o.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = slices.DeleteFunc(p.waiting, func(other *waiter) bool { return other == wt })
	select {
	case o := <-wt.reply: // it came at the same moment
		return o.worker, o.err
	default:
		return nil, context.Cause(ctx)
	}
}

// forget drops a closed worker from the list of those that Close has to end.
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
	p.tell(ErrClosed)
	workers := make([]*Worker, 0, len(p.all))
	for w := range p.all {
		workers = append(workers, w)
	}
	p.mu.Unlock()
	p.end()

	errs := make([]error, len(workers)+1)
	var closing sync.WaitGroup
	for i, w := range workers {
		closing.Go(func() { errs[i] = w.Close() })
	}
	closing.Wait()
	p.wg.Wait()
	// After the last worker: the thread that ends here would take them along.
	p.spawner.close()
	p.spawning.Wait()
	errs[len(workers)] = p.dir.remove()
	p.closeErr = errors.Join(errs...)
}
