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

// The names of the errors of executions that exceeded a limit.
const (
	memoryExceeded = "MemoryLimitExceeded"
	cpuExceeded    = "CPULimitExceeded"
)

var limitNames = map[string]job.LimitName{memoryExceeded: job.LimitMemory, cpuExceeded: job.LimitCPU} //nolint:gochecknoglobals // a constant

const (
	// firstLook and laterLook are the delays before the watchdog's checks. They bound the
	// excess: a process fills about 2 GB a second.
	firstLook = 10 * time.Millisecond
	laterLook = 25 * time.Millisecond
)

// limit applies an execution's quota to its sandbox, where it differs from the quota of parked
// workers. The command with the code has the limits of single processes.
func (w *Worker) limit(q job.Quota) error {
	if err := w.slot.group.Limit(w.slot.limited(q)); err != nil {
		return err
	}
	if q.DiskBytes == w.pool.cfg.Quota.DiskBytes || w.dirs.Top != "" {
		return nil
	}
	w.asking.Lock()
	defer w.asking.Unlock()
	w.sendSlot("R size=" + strconv.FormatInt(q.DiskBytes, 10))
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

// watchLimits enforces the limits that the kernel does not enforce: the processor time of all
// processes together, and without control groups also memory and the share of processors. The
// channel gets the name of an exceeded limit.
func (r *run) watchLimits() (<-chan string, func()) {
	group := r.w.slot.group
	if group != nil && r.quota.CPUTime == 0 {
		return nil, func() {}
	}
	exceeded, stop := make(chan string, 1), make(chan struct{})
	used := group.CPUMicros
	if r.used != nil { // the group's time would include commands, and other members of a fork group
		used = r.used
	} else if group == nil {
		used = r.w.cpuMicros
	}
	w := watch{r: r, used: used, last: r.cpuMicros}
	if group == nil && r.w.forkGroup() == nil { // the throttle would stop other forks too
		w.share = sandbox.NewThrottle(r.quota)
	}
	// Most executions end before the first check. The timer needs no goroutine until then.
	r.pumps.begin()
	timer := time.AfterFunc(firstLook, func() {
		defer r.pumps.end()
		defer w.hold(false)
		if group == nil && !r.lasting {
			w.last = used() // reading it earlier would cost every execution more than the precision is worth
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

// watch is the state of the watchdog between two checks.
type watch struct {
	r     *run
	used  func() int64 // returns the processor time in microseconds
	last  int64        // the last value of used
	spent int64        // the processor time of the execution
	share *sandbox.Throttle
	held  bool // the processes are stopped
}

// look returns the name of an exceeded limit; empty if there is none.
func (w *watch) look() string {
	q, group := w.r.quota, w.r.w.slot.group
	if q.CPUTime > 0 || w.share != nil {
		now := w.used()
		w.spent += max(0, now-w.last) // used sinks when a process ends and its parent does not wait for it
		w.last = now
	}
	if w.share != nil {
		over := w.share.Over(time.Now(), time.Duration(w.spent)*time.Microsecond)
		w.hold(over && !w.r.lenient.Load())
	}
	switch {
	case q.CPUTime > 0 && w.spent > q.CPUTime.Microseconds():
		return cpuExceeded
	case group == nil && w.r.w.slot.exceeds(q.MemoryBytes):
		return memoryExceeded
	}
	return ""
}

// hold stops the processes or lets them continue.
func (w *watch) hold(still bool) {
	if still == w.held {
		return
	}
	w.held = still
	if still {
		w.r.w.sendSlot("S")
	} else {
		w.r.w.sendSlot("G")
	}
}

// limitExceeded returns the limit that ended the execution, and the message about it; empty if none
// did.
func (r *run) limitExceeded() (name, value string) {
	end := r.end()
	killed := end.Status.Signaled() && end.Status.Signal() == syscall.SIGKILL
	overtime := end.Status.Signaled() && end.Status.Signal() == syscall.SIGXCPU || killed && end.CPUMicros >= r.quota.CPUTime.Microseconds()
	switch {
	case r.exceeded == memoryExceeded, killed && r.w.slot.group.OOMKills() > r.w.oomKills:
		return memoryExceeded, r.overMemory(r.exceeded != "")
	case r.exceeded == cpuExceeded, overtime && r.quota.CPUTime > 0:
		return cpuExceeded, r.overCPU()
	}
	return "", ""
}

// kernelLimit is the limit of the processor time of a single process that the kernel enforces, in seconds. It makes up for a watchdog that
// is late, so it is above the execution's own limit. The kernel compares this limit with the ticks of its clock at which the process ran. On a busy machine they differ
// from the exact processor time, by which the runner knows why a process was killed, and they differ more in a longer execution.
func kernelLimit(own time.Duration) int64 {
	const part = 8 // of the own limit
	return int64(math.Ceil((own + own/part).Seconds())) + 1
}

// overMemory is the message about an execution that was ended for its memory. seen: the runner has seen
// that it used more than its limit.
func (r *run) overMemory(seen bool) string {
	if !seen && !r.w.hitLimit() {
		return "the runner had no memory left, and the execution was ended for it: it had not used up its own limit of " + inUnits(r.quota.MemoryBytes)
	}
	return fmt.Sprintf("the execution needed more than its limit of %s of memory", inUnits(r.quota.MemoryBytes))
}

func (r *run) overCPU() string {
	return fmt.Sprintf("the execution needed more than its limit of %g s of processor time", r.quota.CPUTime.Seconds())
}

// hitLimit reports whether the worker's group reached its own memory limit.
func (w *Worker) hitLimit() bool { return w.slot.group.LimitHits() > w.oomHits }

// inUnits formats a size in the largest fitting unit, to a tenth of it.
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

// memory returns the memory that the workers of a slot do not share with the zygote, in bytes.
func (s *slot) memory() int64 { return s.memoryAbove(math.MaxInt64) }

// exceeds reports whether the workers of a slot have more memory than a limit.
func (s *slot) exceeds(limit int64) bool { return s.memoryAbove(limit) > limit }

// memoryAbove adds up the memory of a slot's workers until the sum is above a limit. To read the memory
// of a process takes time for each of its pages, and waits for its locks: with many processes on a busy
// machine so long that those after the limit would write meanwhile.
func (s *slot) memoryAbove(limit int64) int64 {
	dirs := append([]string{"/work", "/tmp"}, s.copyDirs()...)
	pids := process.Descendants(s.pid)
	var total int64
	for _, pid := range pids {
		total = max(total, process.FileSystemUse(pid, dirs)) // all share the same file systems
	}
	for _, pid := range pids {
		if total > limit {
			break
		}
		total += process.PrivateMemory(pid)
	}
	return total
}
