package interpreter

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	goruntime "runtime"
	"slices"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// The import of a large library takes longer than most executions. So of a set that has such libraries one parked worker imports
// them ahead, and is the next to be handed out. It does so in its own sandbox, as any code of the set runs, and serves one
// execution. So nothing of it reaches another sandbox, and it has no files, variables or secrets of a caller by then.
//
// The modules are foreign code that runs while no execution pays for it. Therefore an import has a time limit. The memory and the processor time
// that such a worker takes while it is parked are bounded. A worker beyond a bound ends, and its set does without for a while.

const (
	// warmMemory is the most memory that a worker may hold once it has imported its modules.
	warmMemory = 256 << 20
	// warmCPU is how much processor time it may use from then on until it is handed out. Threads of libraries use some.
	warmCPU = 500 * time.Millisecond
	// warmRoom is the memory that an execution has beside what its worker holds. With less it gets another worker.
	warmRoom = 16 << 20
	// plainTime is how long no worker imports modules after an execution that had too little memory for that.
	plainTime = time.Minute
	// warmLook is the period in which that is looked at.
	warmLook = time.Second
)

var (
	errLarge = errors.New("it holds more memory than a parked interpreter may")
	errBusy  = errors.New("it uses the processor while it is parked")
)

// warm has one parked worker at a time import the modules of its set. It returns when the set is withdrawn, or the pool closed.
func (st *stock) warm() {
	tick := time.NewTicker(warmLook)
	defer tick.Stop()
	for {
		select {
		case <-st.cold:
		case <-tick.C:
			st.endBusy()
		case <-st.gone:
			return
		case <-st.pool.life.Done():
			return
		}
		for st.awaitCalm() && st.takeImporting() {
			w := st.beginImport()
			if w == nil {
				<-st.pool.importing
				break
			}
			without, err := st.importOne(w)
			<-st.pool.importing
			if err != nil && !st.isGone() {
				st.pool.cfg.Log.Warn("interpreter: a module was not imported ahead; this set does without for a while",
					slog.String("runtime", st.name), slog.Duration("for", without), slog.Any("err", err))
			}
		}
	}
}

// isGone reports whether the stock was withdrawn, or the pool is at its end.
func (st *stock) isGone() bool {
	select {
	case <-st.gone:
		return true
	default:
		return st.pool.life.Err() != nil
	}
}

// takeImporting waits until no other worker of the pool imports a module. So they take one processor, and the memory of one execution, however
// many sets there are. It returns false at the end of the stock.
func (st *stock) takeImporting() bool {
	select {
	case st.pool.importing <- struct{}{}:
		return true
	case <-st.gone:
		return false
	case <-st.pool.life.Done():
		return false
	}
}

// awaitCalm waits until no worker was handed out for a moment. It returns false if the processors are busy, or the stock is at its end.
func (st *stock) awaitCalm() bool {
	for {
		if int(st.pool.executing.Load()) >= goruntime.NumCPU() {
			return false
		}
		pause := st.pool.unquiet()
		if pause <= 0 {
			return true
		}
		select {
		case <-time.After(pause):
		case <-st.gone:
			return false
		case <-st.pool.life.Done():
			return false
		}
	}
}

// beginImport returns the worker that is to import its next module; nil if there is none beside another for callers that come
// meanwhile, or one has imported all of them.
func (st *stock) beginImport() *Worker {
	st.mu.Lock()
	living := 0
	for _, w := range st.parked {
		if w.alive() {
			living++
		}
	}
	ready := slices.ContainsFunc(st.parked, func(w *Worker) bool { return w.rehearsals == 0 && w.alive() })
	not := ready || living < 2 || time.Now().Before(st.plainUntil)
	st.mu.Unlock()
	if not {
		return nil
	}
	return st.beginStep()
}

// importOne has w, which beginImport has chosen, import its next module. After an error the worker ends, and its set does without
// for that long.
func (st *stock) importOne(w *Worker) (without time.Duration, err error) {
	group := w.slot.group
	if !w.warmed {
		w.warmed, w.warmedFrom = true, group.CPUMicros()
	}
	left, err := w.rehearse()
	if w.held = group.Held(); err == nil && w.held > warmMemory {
		err = errLarge
	}
	if err != nil {
		w.endProcesses()
	}
	w.warmedAt = group.CPUMicros()
	return st.endStep(w, left, err), err
}

// endBusy ends parked workers whose modules go on to use the processor.
func (st *stock) endBusy() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return
	}
	i := slices.IndexFunc(st.parked, func(w *Worker) bool {
		return w != st.rehearsing && w.warmed && w.alive() && w.slot.group.CPUMicros()-w.warmedAt > warmCPU.Microseconds()
	})
	if i < 0 {
		return
	}
	w := st.parked[i]
	st.parked = slices.Delete(st.parked, i, i+1)
	without := min(firstInability<<min(st.unable, 10), lastInability)
	st.unable, st.ableAt = st.unable+1, time.Now().Add(without)
	time.AfterFunc(without, st.wakeSteps)
	st.pool.cfg.Log.Warn("interpreter: a parked worker was ended; its set imports no modules ahead for a while",
		slog.String("runtime", st.name), slog.Duration("for", without), slog.Any("err", errBusy))
	st.pool.wg.Go(func() { st.replace(w) })
}

// fits reports whether a worker can be given a quota: one that has imported modules may hold more memory than that. It returns
// job.ErrNotStarted then, after which the caller takes another. Workers that park next import nothing for a while, so it gets one of these.
func (w *Worker) fits(q job.Quota) error {
	if !w.warmed || w.held+warmRoom <= q.MemoryBytes {
		return nil
	}
	st := w.stock
	st.mu.Lock()
	st.plainUntil = time.Now().Add(plainTime)
	st.mu.Unlock()
	time.AfterFunc(plainTime, st.wakeSteps)
	return fmt.Errorf("limit %s, which has imported modules ahead: %w", w.id, job.ErrNotStarted)
}

// ahead is the processor time that the worker has used for modules before its execution, whose own has begun at now. It is not the execution's.
func (w *Worker) ahead(now int64) int64 {
	if !w.warmed {
		return 0
	}
	return now - w.warmedFrom
}

// rlimits returns the limits of q that the kernel enforces for each process. The kernel counts the time for modules, too.
func (w *Worker) rlimits(q job.Quota, ahead int64) map[string]int64 {
	limits := w.pool.rlimits(q)
	if seconds, ok := limits["cpuSeconds"]; ok && ahead > 0 {
		limits["cpuSeconds"] = seconds + int64(math.Ceil((time.Duration(ahead) * time.Microsecond).Seconds()))
	}
	return limits
}
