package interpreter

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// The names of the errors of executions that asked for too much.
const (
	memoryExceeded = "MemoryLimitExceeded"
	cpuExceeded    = "CPULimitExceeded"
)

var limitNames = map[string]job.LimitName{memoryExceeded: job.LimitMemory, cpuExceeded: job.LimitCPU} //nolint:gochecknoglobals // a constant

const (
	// firstLook and laterLook are how often the watchdog looks. What it guards against
	// takes time: a process fills some 2 GB a second.
	firstLook = 10 * time.Millisecond
	laterLook = 25 * time.Millisecond
)

// limit applies what an execution may use to its sandbox, as far as it differs from
// what every worker is parked with. Limits of single processes go with the code.
func (w *Worker) limit(q job.Quota) error {
	if err := w.slot.group.Limit(w.slot.limited(q)); err != nil {
		return err
	}
	if q.DiskBytes == w.pool.cfg.Quota.DiskBytes || w.dirs.Top != "" {
		return nil
	}
	w.tell("R size=" + strconv.FormatInt(q.DiskBytes, 10))
	select {
	case m := <-w.answers:
		if err := m.Failure(); err != nil {
			return fmt.Errorf("resize file systems: %w", err)
		}
		return nil
	case <-w.exited:
		return fmt.Errorf("resize file systems: %w", ErrClosed)
	case <-time.After(w.pool.cfg.StartTimeout):
		return fmt.Errorf("resize file systems: %w", os.ErrDeadlineExceeded)
	}
}

// watchLimits looks after the limits that the kernel does not keep here: processor
// time of all processes together, and without control groups memory and the share of
// processors. The channel gets the name of one that was exceeded.
func (r *run) watchLimits() (<-chan string, func()) {
	group := r.w.slot.group
	if group != nil && r.quota.CPUTime == 0 {
		return nil, func() {}
	}
	exceeded, stop := make(chan string, 1), make(chan struct{})
	used := group.CPUMicros
	if r.lasting || group == nil { // the kernel's limit of a process would be for all executions together
		used = r.w.cpuMicros
	}
	w := watch{r: r, used: used, last: r.cpuMicros}
	if group == nil && r.w.forkGroup() == nil { // copies would stand still with it
		w.share = sandbox.NewThrottle(r.quota)
	}
	// Most executions end before the first look, and then it takes no goroutine.
	r.pumps.begin()
	timer := time.AfterFunc(firstLook, func() {
		defer r.pumps.end()
		defer w.hold(false)
		if group == nil && !r.lasting {
			w.last = used() // to look before would cost every execution more than this is worth
		}
		for {
			if name := w.look(); name != "" {
				exceeded <- name
				return
			}
			select {
			case <-stop:
				return
			case <-time.After(laterLook):
			}
		}
	})
	return exceeded, func() {
		close(stop)
		if timer.Stop() {
			r.pumps.end()
		}
	}
}

// watch is what is known between looks at the limits of a run.
type watch struct {
	r     *run
	used  func() int64 // processor time in microseconds
	last  int64        // what it was
	spent int64        // by the execution
	share *sandbox.Throttle
	held  bool // the processes stand still
}

// look returns the name of a limit that was exceeded.
func (w *watch) look() string {
	q, group := w.r.quota, w.r.w.slot.group
	if q.CPUTime > 0 || w.share != nil {
		now := w.used()
		w.spent += max(0, now-w.last) // it sinks when processes end for which nobody waits
		w.last = now
	}
	if w.share != nil {
		over := w.share.Over(time.Now(), time.Duration(w.spent)*time.Microsecond)
		w.hold(over && !w.r.lenient.Load())
	}
	switch {
	case q.CPUTime > 0 && w.spent > q.CPUTime.Microseconds():
		return cpuExceeded
	case group == nil && w.r.w.slot.memory() > q.MemoryBytes:
		return memoryExceeded
	}
	return ""
}

// hold has the processes stand still, or go on.
func (w *watch) hold(still bool) {
	if still == w.held {
		return
	}
	w.held = still
	if still {
		w.r.w.tell("S")
	} else {
		w.r.w.tell("G")
	}
}

// limitExceeded says which limit ended the execution, if one did.
func (r *run) limitExceeded() (name, value string) {
	end := r.end()
	killed := end.Status.Signaled() && end.Status.Signal() == syscall.SIGKILL
	overtime := end.Status.Signaled() && end.Status.Signal() == syscall.SIGXCPU ||
		killed && end.CPUMicros >= r.quota.CPUTime.Microseconds()
	switch {
	case r.exceeded == memoryExceeded, killed && r.w.slot.group.OOMKills() > r.w.oomKills:
		if r.exceeded == "" && !r.w.hitLimit() {
			return memoryExceeded, "the runner had no memory left, and the execution was ended for it: it had not used up its own limit of " + inUnits(r.quota.MemoryBytes)
		}
		return memoryExceeded, fmt.Sprintf("the execution needed more than its limit of %s of memory", inUnits(r.quota.MemoryBytes))
	case r.exceeded == cpuExceeded, overtime && r.quota.CPUTime > 0:
		return cpuExceeded, fmt.Sprintf("the execution needed more than its limit of %g s of processor time", r.quota.CPUTime.Seconds())
	}
	return "", ""
}

// hitLimit reports whether the worker's group came to its own memory limit.
func (w *Worker) hitLimit() bool { return w.slot.group.LimitHits() > w.oomHits }

// inUnits writes a size as people do, to a tenth of the unit.
func inUnits(bytes int64) string {
	const k = 1 << 10
	size, unit := float64(bytes), "bytes"
	for _, u := range []string{"KiB", "MiB", "GiB"} {
		if size < k {
			break
		}
		size, unit = size/k, u
	}
	return strconv.FormatFloat(math.Round(size*10)/10, 'f', -1, 64) + " " + unit
}

// memory returns how much memory the workers of a slot have for themselves.
func (s *slot) memory() int64 {
	dirs := append([]string{"/work", "/tmp"}, s.copyDirs()...)
	var total, files int64
	for _, pid := range process.Descendants(s.pid) {
		total += process.PrivateMemory(pid)
		files = max(files, process.FileSystemUse(pid, dirs)) // all are in the same ones
	}
	return total + files
}
