package interpreter

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// The exit codes of commands that could not be started, as shells have them.
const (
	exitNoProgram  = 127
	exitNotStarted = 126
)

// result returns the result of the command.
func (r *commandRun) result() job.Result {
	var end job.CommandEnd
	var known bool
	if r.c != nil {
		select {
		case <-r.c.ended:
			end, known = r.c.end, !r.c.lost
		default:
		}
	}
	res := r.outputs(r.cpuMicros, end.MaxRSS)
	if r.lasting {
		res.PeakMemoryBytes = end.MaxRSS // the group has the peak of all together
	}
	limit, value := r.limitExceeded(end, known)
	switch {
	case limit != "":
		res.Status, res.Limit = job.StatusExit, limitNames[limit]
		res.ExitCode = new(signalBase + int(syscall.SIGKILL))
		res.Error = &job.Error{Name: limit, Value: value}
	case r.stopped != "" || r.aborted:
		r.interrupted(&res)
	case known && end.Signal == "":
		res.Status, res.ExitCode = job.StatusOK, &end.ExitCode
		if end.ExitCode != 0 {
			res.Status = job.StatusExit
		}
	default:
		endedBy(&res, end.Signal)
	}
	return res
}

// endedBy fills in a result for a command that a signal ended. Without a name its whole sandbox was killed.
func endedBy(res *job.Result, name string) {
	number := syscall.SIGKILL
	if name == "" {
		name = "KILL"
	} else {
		number = syscall.Signal(signalNumber(name))
	}
	res.Status, res.Signal = job.StatusExit, "SIG"+name
	res.ExitCode = new(signalBase + int(number))
	res.Error = &job.Error{Name: res.Signal, Value: fmt.Sprintf("the command was ended by %s (%s)", res.Signal, number)}
}

// limitExceeded returns the limit that ended the command, and the message about it; empty if none did. A
// shell whose program was ended by the kernel ends with the code of that.
func (r *commandRun) limitExceeded(end job.CommandEnd, known bool) (name, value string) {
	killed := !known || end.Signal == "KILL" || end.ExitCode == signalBase+int(syscall.SIGKILL)
	switch {
	case r.c == nil:
	case r.lasting:
		if end.OutOfMemory || !known && r.s.commands.exceeded.Load() {
			return memoryExceeded, fmt.Sprintf("the session needed more than its limit of %s of memory", inUnits(r.s.quota.MemoryBytes))
		}
	case r.exceeded == memoryExceeded, r.s.commands.exceeded.Load(), killed && r.w.slot.group.OOMKills() > r.w.oomKills:
		return memoryExceeded, r.overMemory(r.exceeded != "" || r.s.commands.exceeded.Load())
	case r.exceeded == cpuExceeded:
		return cpuExceeded, r.overCPU()
	}
	return "", ""
}

// refused returns the result of a command that could not be started.
func (r *commandRun) refused(e *job.CommandError) job.Result {
	res := job.Result{SessionID: r.w.id, Status: job.StatusExit, ExitCode: new(exitNotStarted), Error: &job.Error{Name: "OSError", Value: e.Error()}}
	switch {
	case errors.Is(e, unix.ENOENT):
		res.Error.Name = "FileNotFoundError"
	case errors.Is(e, unix.EACCES), errors.Is(e, unix.EPERM):
		res.Error.Name = "PermissionError"
	case errors.Is(e, unix.ENOTDIR):
		res.Error.Name = "NotADirectoryError"
	}
	if e.Part == job.CommandProgram && errors.Is(e, unix.ENOENT) {
		res.ExitCode = new(exitNoProgram)
	}
	return res
}
