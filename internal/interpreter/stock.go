package interpreter

import (
	"context"
	"errors"
	"log/slog"
	"os"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
)

const (
	// maxTries is the number of consecutive failed spawns after which waiting calls fail.
	maxTries = 3
	// The pause after a failed spawn doubles from firstPause up to lastPause.
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
	// logAgain is the time between two log entries about spawns that fail for the same reason.
	logAgain = time.Minute
	// refillDelay postpones forking a replacement while spare workers are parked, so that on few
	// cores the fork does not compete with the execution that has just started. Most
	// executions are shorter.
	refillDelay = 4 * time.Millisecond
)

// stock keeps the parked workers of one runtime, its zygote and its free slots.
type stock struct {
	pool   *Pool
	name   string
	cfg    RuntimeConfig
	python process.Python
	size   int // the wanted number of parked workers
	// packages is the directory of its set of packages, if it has one. Such a stock can be withdrawn: gone is closed then, and
	// refills are over once none of it makes a worker.
	packages string
	gone     chan struct{}
	// imports are modules of the set that a parked worker imports; nil for none. cold has a token when one may have to.
	imports []string
	cold    chan struct{}
	// plainUntil is the end of a time in which no worker imports modules; guarded by mu.
	plainUntil time.Time
	refills    sync.WaitGroup

	// making guards zygote. It is held while a zygote starts.
	making sync.Mutex
	zygote *zygote

	mu        sync.Mutex
	closed    bool
	modules   []string
	parked    []*Worker // the oldest first
	free      []*slot   // without a worker
	starting  int
	waiting   []*waiter
	handedOut time.Time // time when a worker was last handed out
	// rehearsing is the worker that takes a rehearsal step; nil if none does.
	rehearsing *Worker
	unable     int           // failed rehearsals since the last that succeeded
	ableAt     time.Time     // time of the next rehearsal after one that failed
	failures   int           // consecutive failed spawns
	unhealthy  error         // the reason why no worker can be started; nil if workers can be
	logged     time.Time     // time of the last log entry about a failed spawn
	reason     string        // the reason in that entry
	logIsBad   bool          // the last log entry says that no worker can be started
	changed    chan struct{} // has a token when a worker may have to be spawned

	// spawnOne is the method spawn, except in tests.
	spawnOne func(context.Context) (*Worker, error)
}

// waiter is a call that waits for a worker; or, without take, until all workers are parked.
type waiter struct {
	take  bool
	reply chan offer // has room for the one answer
}

type offer struct {
	worker *Worker
	err    error
}

func (p *Pool) newStock(ctx context.Context, cfg RuntimeConfig, byDefault bool) (*stock, error) {
	python, err := process.FindPython(ctx, cfg.Python, p.cfg.StartTimeout)
	if err != nil {
		return nil, err
	}
	st := &stock{pool: p, name: cfg.Name, cfg: cfg, python: python, size: p.cfg.Size, changed: make(chan struct{}, 1)}
	st.spawnOne = st.spawn
	if st.name == "" {
		st.name = "python" + python.Version[:strings.LastIndexByte(python.Version, '.')]
	}
	if !byDefault {
		st.size = (p.cfg.Size + 1) / 2
	}
	return st, nil
}

// start begins to refill.
func (st *stock) start() {
	for range min(goruntime.NumCPU(), st.size) {
		st.refills.Add(1)
		st.pool.wg.Go(func() {
			defer st.refills.Done()
			st.refill()
		})
	}
}

// close ends the refilling and the waiting calls.
func (st *stock) close() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.closed = true
	st.failWaiting(ErrClosed)
}

// release ends the slots and the zygote. No worker is left by then.
func (st *stock) release() {
	st.mu.Lock()
	free := st.free
	st.free = nil
	st.mu.Unlock()
	for _, s := range free {
		st.pool.closeSlot(s)
	}
	st.making.Lock()
	defer st.making.Unlock()
	if st.zygote != nil {
		st.zygote.close()
		st.zygote.wait()
	}
}

func (st *stock) preloaded() []string {
	st.mu.Lock()
	defer st.mu.Unlock()
	return append([]string{}, st.modules...)
}

// wait returns a parked worker if take is set. Otherwise it returns when all workers are parked.
func (st *stock) wait(ctx context.Context, take bool) (*Worker, error) {
	wt := &waiter{take: take, reply: make(chan offer, 1)}
	st.mu.Lock()
	if st.closed {
		st.mu.Unlock()
		return nil, ErrClosed
	}
	st.waiting = append(st.waiting, wt)
	st.match()
	if take && st.unhealthy != nil {
		st.failWaiting(st.unhealthy) // the caller can try another runner
	}
	st.mu.Unlock()
	select {
	case o := <-wt.reply:
		return o.worker, o.err
	case <-ctx.Done():
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.waiting = slices.DeleteFunc(st.waiting, func(other *waiter) bool { return other == wt })
	select {
	case o := <-wt.reply: // the answer came at the same moment
		return o.worker, o.err
	default:
		return nil, context.Cause(ctx)
	}
}

// acquire returns a worker that takes no step.
func (st *stock) acquire(ctx context.Context) (*Worker, error) {
	w, err := st.wait(ctx, true)
	if err != nil {
		return nil, err
	}
	if err := w.awaitStep(ctx); err != nil {
		st.takeBack(w)
		return nil, err
	}
	return w, nil
}

// takeBack parks a worker again that was not used. There may be one more than wanted then, until the next call.
func (st *stock) takeBack(w *Worker) {
	st.mu.Lock()
	w.fresh = true
	st.parked = slices.Insert(st.parked, 0, w)
	st.match()
	st.mu.Unlock()
	if !w.alive() { // ended may have run before the worker was in the list
		st.ended(w)
	}
}

// match gives parked workers to waiting calls, in the order of the calls. The caller holds mu.
func (st *stock) match() {
	st.waiting = slices.DeleteFunc(st.waiting, func(wt *waiter) bool {
		if !wt.take {
			if len(st.parked) < st.size {
				return false
			}
			wt.reply <- offer{}
			return true
		}
		i := st.next()
		if i < 0 {
			return false
		}
		st.parked[i].fresh = false
		wt.reply <- offer{worker: st.parked[i]}
		st.handedOut = time.Now()
		st.pool.handedOut.Store(st.handedOut.UnixNano())
		st.parked = slices.Delete(st.parked, i, i+1)
		return true
	})
	st.wake()
}

// next returns the index of the worker to hand out next; below 0 if there is none. It is the oldest,
// which has rehearsed most. It is the worker that takes a rehearsal step only if there is no other,
// because the caller would have to wait for the end of the step. A worker that imports a module is never handed out: that may take
// long, or not end, and another one is made for the caller. An ended worker stays in the list
// until the method ended removes it. The caller holds mu.
func (st *stock) next() int {
	i := -1
	if st.imports != nil {
		i = slices.IndexFunc(st.parked, func(w *Worker) bool { return w.rehearsals == 0 && w.alive() })
	}
	if i >= 0 {
		return i
	}
	i = slices.IndexFunc(st.parked, func(w *Worker) bool { return w != st.rehearsing && w.alive() })
	if i < 0 && st.imports == nil {
		i = slices.IndexFunc(st.parked, (*Worker).alive)
	}
	return i
}

// wake wakes one goroutine of refill if a worker must be spawned. That goroutine wakes the next. The
// caller holds mu.
func (st *stock) wake() {
	if !st.needsMore() {
		return
	}
	select {
	case st.changed <- struct{}{}:
	default:
	}
}

// isAwaited reports whether a call waits for the next worker. Such a worker has no time to rehearse.
func (st *stock) isAwaited() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return slices.ContainsFunc(st.waiting, func(wt *waiter) bool { return wt.take })
}

func (st *stock) needsMore() bool {
	there := len(st.parked)
	if st.imports != nil && st.rehearsing != nil && len(st.waiting) > 0 {
		there-- // it is not for those who wait
	}
	return !st.closed && there+st.starting < st.size
}

// refill spawns workers whenever fewer than wanted are parked. The number of goroutines that run it
// bounds the spawns at the same time.
func (st *stock) refill() {
	for st.claimSpawn() {
		began := time.Now()
		late := time.AfterFunc(st.pool.cfg.StartTimeout, func() { st.logShort("interpreter: the start of a worker takes long", began) })
		w, err := st.spawnOne(st.pool.life)
		late.Stop()
		if st.pool.life.Err() == nil {
			st.pool.cfg.Spawned(st.name, time.Since(began), err)
		}
		pause := st.spawned(w, err)
		if pause > 0 {
			select {
			case <-time.After(pause):
			case <-st.gone:
			case <-st.pool.life.Done():
			}
		}
	}
}

// logShort logs why fewer workers than wanted may be parked, and since when.
func (st *stock) logShort(why string, since time.Time) {
	st.mu.Lock()
	state := []any{
		slog.String("runtime", st.name), slog.Duration("after", time.Since(since)), slog.Int("parked", len(st.parked)), slog.Int("wanted", st.size),
		slog.Int("starting", st.starting), slog.Int("waiting", len(st.waiting)), slog.Int("free_slots", len(st.free)),
	}
	st.mu.Unlock()
	st.pool.cfg.Log.Warn(why, state...)
}

// claimSpawn waits until a worker must be spawned. It returns false when the pool is closed.
func (st *stock) claimSpawn() bool {
	for {
		st.mu.Lock()
		if st.closed || st.pool.life.Err() != nil {
			st.mu.Unlock()
			return false
		}
		var later <-chan time.Time
		if st.needsMore() {
			pause := refillDelay - time.Since(st.handedOut)
			if pause <= 0 || len(st.parked)+st.starting <= st.size/2 {
				st.starting++
				st.wake()
				st.mu.Unlock()
				return true
			}
			later = time.After(pause)
		}
		st.mu.Unlock()
		select {
		case <-st.changed:
		case <-later:
		case <-st.gone:
		case <-st.pool.life.Done():
		}
	}
}

// spawn makes a worker and waits until it is parked. The end of ctx ends it.
func (st *stock) spawn(ctx context.Context) (*Worker, error) {
	s, err := st.takeSlot(ctx)
	if err != nil {
		return nil, err
	}
	w, err := st.newWorker(s)
	if err != nil {
		st.pool.closeSlot(s)
		return nil, err
	}
	if err := w.awaitReady(ctx, st.pool.cfg.StartTimeout); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	s.group.Reset() // the memory and files of the last worker are gone
	return w, nil
}

// takeSlot returns a slot without a worker, a new one if there is none.
func (st *stock) takeSlot(ctx context.Context) (*slot, error) {
	st.mu.Lock()
	if n := len(st.free); n > 0 {
		s := st.free[n-1]
		st.free = st.free[:n-1]
		st.mu.Unlock()
		if s.running() {
			return s, nil
		}
		st.pool.closeSlot(s)
		return st.takeSlot(ctx)
	}
	st.mu.Unlock()
	z, err := st.living(ctx)
	if err != nil {
		return nil, err
	}
	s, err := st.pool.newSlot(ctx, z)
	if errors.Is(err, errZygoteEnded) {
		return st.takeSlot(ctx)
	}
	return s, err
}

// living returns the zygote, a new one if it has died.
func (st *stock) living(ctx context.Context) (*zygote, error) {
	st.making.Lock()
	defer st.making.Unlock()
	if st.zygote != nil && st.zygote.running() {
		return st.zygote, nil
	}
	if st.zygote != nil {
		st.pool.cfg.Log.Warn("interpreter: zygote died; starting another", slog.String("runtime", st.name), slog.Bool("answered", !st.zygote.broken.Load()))
		st.zygote.close()
		st.zygote = nil
	}
	z, err := st.pool.startZygote(ctx, st)
	if err != nil {
		return nil, err
	}
	st.zygote = z
	st.mu.Lock()
	st.modules = z.modules
	st.mu.Unlock()
	return z, nil
}

// giveBack takes back a slot whose last worker has ended. It keeps the slot for another worker, if
// the slot could be cleaned. end is nil if the slot has ended with the worker.
func (st *stock) giveBack(s *slot, end *process.WorkerEnd) {
	if end == nil || end.Spent || !s.running() {
		if end != nil && end.Spent {
			st.pool.cfg.Log.Debug("interpreter: slot cannot be made as new; another slot takes its place")
		}
		st.pool.closeSlot(s)
		return
	}
	if end.Touched {
		_ = s.link.Write([]byte("C"))
	}
	st.mu.Lock()
	if !st.closed {
		st.free = append(st.free, s)
		st.mu.Unlock()
		return
	}
	st.mu.Unlock()
	st.pool.closeSlot(s)
}

// spawned parks a new worker, or reports the failure to waiting calls. It returns the pause before
// the next spawn.
func (st *stock) spawned(w *Worker, err error) time.Duration {
	if st.pool.life.Err() == nil && st.diagnose(err) {
		st.pool.cfg.HealthChanged()
	}
	tracked := err == nil && st.pool.track(w)
	st.mu.Lock()
	st.starting--
	if tracked && !st.closed {
		st.parked = append(st.parked, w)
		if w.rehearsals > 0 {
			st.wakeSteps()
		}
		st.match()
		st.mu.Unlock()
		if !w.alive() { // ended may have run before the worker was in the list
			st.ended(w)
		}
		return 0
	}
	if st.closed || err == nil {
		st.mu.Unlock()
		if w != nil {
			_ = w.Close()
		}
		return 0
	}
	defer st.mu.Unlock()
	if st.unhealthy != nil {
		st.failWaiting(st.unhealthy)
	}
	return min(firstPause<<min(max(st.failures-1, 0), 10), lastPause) // at the end of the pool, a failure may not be counted
}

// diagnose records the outcome of a spawn, and reports whether the stock's health has changed.
func (st *stock) diagnose(err error) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	was := st.unhealthy
	if err == nil {
		st.failures, st.unhealthy = 0, nil
		if was != nil && st.logIsBad {
			st.logIsBad = false
			st.pool.cfg.Log.Info("interpreter: workers can be started again", slog.String("runtime", st.name))
		}
		return was != nil
	}
	st.failures++
	// Failures and successes alternate while some slots live and others cannot be made.
	if now := time.Now(); now.Sub(st.logged) >= logAgain || err.Error() != st.reason {
		st.logged, st.reason, st.logIsBad = now, err.Error(), true
		st.pool.cfg.Log.Error("interpreter: no worker could be started: will try again", slog.String("runtime", st.name), slog.Any("err", err), slog.Int("failures", st.failures))
	}
	// After a time-out the waiting calls have waited long enough. A layer that does not hold
	// will not hold at the next try.
	_, layer := errors.AsType[*process.LayerError](err)
	if st.failures >= maxTries || layer || errors.Is(err, os.ErrDeadlineExceeded) {
		st.unhealthy = startError(err)
	}
	return was == nil && st.unhealthy != nil
}

// startError names the part that failed.
func startError(err error) error {
	return &job.StartError{Part: process.PartOf(err), Err: err}
}

// failWaiting answers all waiting calls with err. The caller holds mu.
func (st *stock) failWaiting(err error) {
	for _, wt := range st.waiting {
		wt.reply <- offer{err: err}
	}
	st.waiting = nil
}

// ended is called at the end of a worker. It closes and replaces a parked one.
func (st *stock) ended(w *Worker) {
	st.mu.Lock()
	defer st.mu.Unlock()
	i := slices.Index(st.parked, w)
	if i < 0 {
		return
	}
	st.parked = slices.Delete(st.parked, i, i+1)
	if !st.closed {
		st.pool.wg.Go(func() { st.replace(w) })
	}
}

func (st *stock) replace(w *Worker) {
	began := time.Now()
	st.pool.cfg.Log.Warn("interpreter: parked worker died", slog.String("session_id", w.id))
	late := time.AfterFunc(lastResort, func() {
		st.logShort("interpreter: the removal of a worker that died takes long; another takes its place", began)
		st.mu.Lock()
		defer st.mu.Unlock()
		st.wake()
	})
	defer late.Stop()
	if err := w.Close(); err != nil {
		st.pool.cfg.Log.Warn("interpreter: a worker was not closed as it should", slog.Any("err", err))
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.match()
}
