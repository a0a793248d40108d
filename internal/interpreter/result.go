package interpreter

import (
	"fmt"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
)

// The reasons of an interruption, as Result.Error.Value shows them.
const cancelled = "cancelled"

func timedOut(limit time.Duration) string {
	return "timed out after " + strconv.FormatFloat(limit.Seconds(), 'f', -1, 64) + " s"
}

// signalBase is the number that shells add to a signal's number to make an exit code.
const signalBase = 128

// result returns the result of the run. The runner's own observations and actions decide. Frames
// from the worker count only where they do not contradict them.
func (r *run) result() job.Result {
	res := r.outputs(r.end().CPUMicros, r.end().MaxRSS)
	var limit, value string
	if r.status == nil {
		limit, value = r.limitExceeded()
	}
	switch {
	case limit != "":
		res.Status, res.Limit = job.StatusExit, limitNames[limit]
		res.ExitCode = new(signalBase + int(syscall.SIGKILL))
		res.Error = &job.Error{Name: limit, Value: value}
	case r.stopped != "" || r.aborted:
		r.interrupted(&res)
	case r.protocol != nil:
		res.Status = job.StatusExit
		res.ExitCode = new(signalBase + int(syscall.SIGKILL))
		res.Error = &job.Error{
			Name:  "ProtocolError",
			Value: "the interpreter was ended because the code interfered with its supervisor: " + r.protocol.Error(),
		}
	case r.status != nil:
		r.reported(&res)
	default:
		r.died(&res)
	}
	return res
}

// outputs returns a result with the output and the measures of the run.
func (r *run) outputs(cpuMicros, maxRSS int64) job.Result {
	res := job.Result{
		SessionID:  r.w.id,
		DurationMs: float64(r.duration.Microseconds()) / 1000,
		CPUMs:      float64(cpuMicros) / 1000,
	}
	if res.PeakMemoryBytes = r.w.slot.group.Peak(); res.PeakMemoryBytes == 0 {
		res.PeakMemoryBytes = maxRSS
	}
	res.Network = r.w.usageSince(r.network)
	r.journal.Fill(&res)
	if r.status != nil {
		res.ResultsDropped += r.status.Dropped
	}
	quota := r.quota
	if kept := r.journal.Shortened(); kept > 0 {
		quota.OutputBytes = kept
		res.Notices = append(res.Notices, job.Notice{Code: job.NoticeOutput, Message: "the runner had no memory for more output at that moment"})
	}
	res.Note(quota)
	return res
}

// interrupted fills in a result after the kill ladder has started. The code counts as interrupted
// then, even if it ended in another way.
func (r *run) interrupted(res *job.Result) {
	res.Status = job.StatusInterrupted
	if r.stopped != "" && r.stopped != cancelled {
		res.Limit = job.LimitTimeout
	}
	res.Error = &job.Error{Name: "KeyboardInterrupt", Value: r.stopped}
	if r.aborted && r.stopped == "" {
		res.Error.Value = "the interpreter was closed"
	}
	if r.report != nil {
		res.Error.Name = r.report.Name
		res.Error.Traceback = r.report.Traceback
	}
}

// reported fills in a result from the worker's status frame.
func (r *run) reported(res *job.Result) {
	res.Status = job.Status(r.status.Status)
	res.ExitCode = &r.status.ExitCode
	if res.Status != job.StatusError {
		return
	}
	res.Error = &job.Error{Name: "Exception", Value: "the interpreter did not say which"}
	if r.report != nil {
		res.Error = &job.Error{Name: r.report.Name, Value: r.report.Value, Traceback: r.report.Traceback}
	}
}

// died fills in a result for a process that ended without a status frame.
func (r *run) died(res *job.Result) {
	res.Status = job.StatusExit
	if r.report != nil {
		res.Error = &job.Error{Name: r.report.Name, Value: r.report.Value, Traceback: r.report.Traceback}
	}
	status := r.end().Status
	if !status.Signaled() {
		res.ExitCode = new(status.ExitStatus())
		return
	}
	sig := status.Signal()
	name := unix.SignalName(sig)
	if name == "" {
		name = "signal " + strconv.Itoa(int(sig))
	}
	res.ExitCode = new(signalBase + int(sig))
	res.Error = &job.Error{Name: name, Value: fmt.Sprintf("the interpreter was ended by %s (%s)", name, sig)}
	if r.report != nil {
		res.Error.Traceback = r.report.Traceback
	}
}

// end returns the report of the worker's end. If the slot ended with it, that is an end by SIGKILL.
func (r *run) end() process.WorkerEnd {
	select {
	case <-r.w.exited:
		if r.w.end != nil {
			end := *r.w.end
			end.CPUMicros = max(0, end.CPUMicros-r.ahead)
			return end
		}
	default: // the worker has sent its status
	}
	return process.WorkerEnd{Status: syscall.WaitStatus(syscall.SIGKILL), CPUMicros: r.cpuMicros}
}
