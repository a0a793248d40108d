package interpreter

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// MayHaveLeft reports whether Collect has to ask the slot.
func (w *Worker) MayHaveLeft() bool { return w.files.left }

// TellSlot sends a command although the worker may have ended.
func (w *Worker) TellSlot(command string) error { return w.slot.link.Write([]byte(command)) }

// Exited is closed once nothing is left of the worker.
func (w *Worker) Exited() <-chan struct{} { return w.exited }

// WithoutGroups has a pool that has not started be as where there are no control groups.
func (p *Pool) WithoutGroups() error {
	err := p.groups.Close()
	p.groups = nil
	return err
}

// SlotPID is the process whose child the worker is.
func (w *Worker) SlotPID() int { return w.slot.pid }

// Rehearsals says of parked workers how many there are and how many steps they have left.
type Rehearsals struct {
	Parked, Left  int
	Taken, Unable bool // a step is taken now; a step has failed
}

func (p *Pool) Rehearsals() (all Rehearsals) {
	for _, st := range p.stocks {
		st.mu.Lock()
		all.Parked += len(st.parked)
		for _, w := range st.parked {
			all.Left += w.rehearsals
		}
		all.Taken = all.Taken || st.rehearsing != nil
		all.Unable = all.Unable || st.unable > 0
		st.mu.Unlock()
	}
	return all
}

// Warm says of the parked workers of a set how many have imported its modules, how many there are, and whether one has failed.
func (p *Pool) Warm(name string) (warm, parked int, unable bool) {
	st := p.sets.get(name)
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, w := range st.parked {
		if w != st.rehearsing && w.warmed && w.rehearsals == 0 && w.alive() {
			warm++
		}
	}
	return warm, len(st.parked), st.unable > 0
}

// Quota is that of parked workers.
func (w *Worker) Quota() job.Quota { return w.pool.cfg.Quota }

// CPULimit is the limit of processor time of a process whose worker has used some before its execution, in microseconds.
func CPULimit(q job.Quota, ahead int64) int64 {
	w := &Worker{pool: &Pool{cfg: Config{Sandbox: sandbox.Strict}}}
	return w.rlimits(q, ahead)["cpuSeconds"]
}

// Usage is what its slot says that a worker, which is closed, has used.
func (w *Worker) Usage() (cpuMicros, maxRSS int64) {
	if w.end == nil {
		return 0, 0
	}
	return w.end.CPUMicros, w.end.MaxRSS
}

// SlotPid is the number of the slot's process: who has it is in the slot.
func (w *Worker) SlotPid() int { return w.slot.pid }

// Diagnoses returns what a pool with this log calls after each try to start a worker.
func Diagnoses(log *slog.Logger) func(error) {
	st := &stock{name: "python", pool: &Pool{cfg: Config{Log: log}}}
	return func(err error) { st.diagnose(err) }
}

// Stock is a stock whose workers are no processes.
type Stock struct{ st *stock }

// NewStock returns a stock of a size that spawns workers with a function, which NewWorker helps.
func NewStock(ctx context.Context, cfg Config, size int, spawn func(context.Context) (*Worker, error)) *Stock {
	cfg.Sandbox, cfg.Spawned, cfg.HealthChanged = sandbox.Strict, func(string, time.Duration, error) {}, func() {}
	p := &Pool{cfg: cfg, all: map[*Worker]struct{}{}, unrehearsed: make(chan struct{}, 1)}
	p.life, p.end = context.WithCancel(ctx)
	st := &stock{pool: p, name: "python", size: size, changed: make(chan struct{}, 1), spawnOne: spawn}
	return &Stock{st}
}

// NewWorker returns a worker that no process is behind.
func (s *Stock) NewWorker() *Worker {
	w := &Worker{stock: s.st, pool: s.st.pool, exited: make(chan struct{})}
	w.closeOnce.Do(func() {}) // nothing is to be closed
	w.rehearsals = 2
	return w
}

func (s *Stock) Start() { s.st.start() }

// End begins the end of the pool.
func (s *Stock) End() { s.st.pool.end() }

// Close ends the stock's goroutines.
func (s *Stock) Close() {
	s.End()
	s.st.close()
	s.st.pool.wg.Wait()
}

// Acquire waits for a worker.
func (s *Stock) Acquire(ctx context.Context) (*Worker, error) { return s.st.acquire(ctx) }

// BeginStep returns the worker that takes a rehearsal step now; nil if none is to.
func (s *Stock) BeginStep() *Worker { return s.st.beginStep() }

// EndStep ends the step of a worker, which has more of them left.
func (s *Stock) EndStep(w *Worker, left int, err error) { s.st.endStep(w, left, err) }

// Woken has a token when a worker may have to rehearse.
func (s *Stock) Woken() <-chan struct{} { return s.st.pool.unrehearsed }

// Parked returns the parked workers.
func (s *Stock) Parked() []*Worker {
	s.st.mu.Lock()
	defer s.st.mu.Unlock()
	return slices.Clone(s.st.parked)
}

// Pending returns how many workers are being started and how many calls wait.
func (s *Stock) Pending() (starting, waiting int) {
	s.st.mu.Lock()
	defer s.st.mu.Unlock()
	return s.st.starting, len(s.st.waiting)
}

// Alive reports whether the worker is not known to have ended.
func (w *Worker) Alive() bool { return w.alive() }

// Over is what happens when the worker's slot reports its end.
func (w *Worker) Over() { w.over(nil) }

// SlotPID is the process whose children the session's interpreters are.
func (s *Session) SlotPID() int { return s.w.slot.pid }

// SlotPID is the process of a session's slot.
func SlotPID(s *Session) int { return s.w.slot.pid }

// Importing reports whether a parked worker of a set imports a module now.
func (p *Pool) Importing(name string) bool {
	st := p.sets.get(name)
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.rehearsing != nil
}
