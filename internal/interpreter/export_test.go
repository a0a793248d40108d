package interpreter

import "log/slog"

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
		all.Unable = all.Unable || st.unable
		st.mu.Unlock()
	}
	return all
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
