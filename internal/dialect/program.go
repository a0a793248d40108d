package dialect

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// Plain has what most dialects tell the door: no request is public or a probe, and bodies are text.
type Plain struct{}

// Public reports that no request is.
func (Plain) Public(*http.Request) bool { return false }

// Probe reports that no request is one.
func (Plain) Probe(*http.Request) bool { return false }

// Body takes JSON.
func (Plain) Body(*http.Request) service.Body { return service.BodyText }

// AnyKey returns the API key of a request in each place where clients have one: X-API-Key, Authorization as a
// bearer, as the password or the name of basic credentials (http://kaa:key@host, for clients that have no setting for a
// key), or as it is.
func AnyKey(r *http.Request) string {
	if key := r.Header.Get("X-API-Key"); key != "" {
		return key
	}
	if key := Bearer(r); key != "" {
		return key
	}
	if name, password, ok := r.BasicAuth(); ok {
		if password != "" {
			return password
		}
		return name
	}
	if value := r.Header.Get("Authorization"); !strings.Contains(value, " ") {
		return value
	}
	return ""
}

// FailureOf is the code of the failure with which a job of the service has ended; empty for other errors.
func FailureOf(err error) job.FailureCode {
	if end, ok := errors.AsType[*service.EndError](err); ok && end.Job.Failure != nil {
		return end.Job.Failure.Code
	}
	return ""
}

// End is the way in which a program ended.
type End string

// The ends of programs.
const (
	Exited      End = "exited"        // by itself, or by an exception or a signal
	TimedOut    End = "timed out"     // at its time limit
	OutOfMemory End = "out of memory" // at its memory limit
	OutOfCPU    End = "out of CPU"    // at its limit of processor time
)

// signalBase is what shells add to the number of a signal.
const signalBase = 128

// Program is the end of an execution in the words of protocols whose code runs as a program on a command line: the
// traceback is in the standard error, and values are shown by print only.
type Program struct {
	Stdout, Stderr string
	Output         string // both, in the order in which they were written
	ExitCode       int    // 128 + n for signal n; -1 for a program that was ended at its time limit
	Signal         string // name of the signal that ended it; empty for none
	End            End
	Took, CPU      time.Duration
	Memory         int64 // the most that it held, in bytes
}

// RunProgram has a request executed, and returns the job with its end as a program's.
func RunProgram(ctx context.Context, s *service.Service, r job.Request) (Program, job.Job, error) {
	j, err := s.Execute(ctx, service.CallerOf(ctx), service.Submission{Request: r})
	if err != nil {
		return Program{}, j, err
	}
	return ProgramOf(j.Result), j, nil
}

// ProgramOf returns a result as that of a program.
func ProgramOf(r *job.Result) Program {
	p := Program{
		Stdout: r.Stdout, Stderr: r.Stderr, ExitCode: -1, Signal: r.Signal, End: endOf(r),
		Took: milliseconds(r.DurationMs), CPU: milliseconds(r.CPUMs), Memory: r.PeakMemoryBytes,
	}
	if r.ExitCode != nil {
		p.ExitCode = *r.ExitCode
	}
	if p.Signal == "" && p.ExitCode > signalBase && r.Error != nil && strings.HasPrefix(r.Error.Name, "SIG") {
		p.Signal = r.Error.Name
	}
	if p.End != Exited {
		p.Signal = "SIGKILL"
	}
	var all strings.Builder
	for _, o := range r.Outputs {
		switch {
		case o.Dropped > 0:
			all.WriteString(job.DroppedNote(o.Dropped))
		case o.Type == "stdout" || o.Type == "stderr":
			all.WriteString(o.Text)
		}
	}
	trace := TraceOf(r.Error)
	if p.End == TimedOut && r.Error != nil && r.Error.Traceback != "" {
		trace += r.Error.Value + "\n" // the reason
	}
	p.Stderr = onNewLine(p.Stderr, trace)
	p.Output = onNewLine(all.String(), trace)
	return p
}

// TraceOf is what Python writes to the standard error about an exception.
func TraceOf(e *job.Error) string {
	switch {
	case e == nil:
		return ""
	case e.Traceback != "":
		return strings.TrimSuffix(e.Traceback, "\n") + "\n"
	case e.Value == "":
		return e.Name + "\n"
	}
	return e.Name + ": " + e.Value + "\n"
}

// onNewLine appends a text, which begins on a line of its own.
func onNewLine(text, more string) string {
	if text != "" && more != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text + more
}

func endOf(r *job.Result) End {
	switch {
	case r.Status == job.StatusInterrupted:
		return TimedOut
	case r.Error == nil || r.Status != job.StatusExit:
	case r.Error.Name == "MemoryLimitExceeded":
		return OutOfMemory
	case r.Error.Name == "CPULimitExceeded":
		return OutOfCPU
	}
	return Exited
}

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// Timeout is a number of seconds that a protocol asks for as the timeout of an execution, or the longest that the caller
// may have. Numbers that are not positive ask for Kaa's default.
func Timeout(ctx context.Context, s *service.Service, seconds float64) *float64 {
	if !(seconds > 0) {
		return nil
	}
	longest := LongestTimeout(ctx, s)
	return new(min(seconds, *longest))
}

// LongestTimeout is the longest timeout that the caller may have, for protocols that have none.
func LongestTimeout(ctx context.Context, s *service.Service) *float64 {
	return new(s.LimitsOf(service.CallerOf(ctx)).MaxTimeout.Seconds())
}

// Memory is a number of bytes that a protocol asks for as the memory limit of an execution or a session, within what the
// caller may have. Numbers that are not positive ask for Kaa's default.
func Memory(ctx context.Context, s *service.Service, bytes float64) job.QuotaRequest {
	const least = 32 << 20
	if !(bytes > 0) {
		return nil
	}
	most := float64(s.LimitsOf(service.CallerOf(ctx)).MaxQuota.MemoryBytes)
	return job.QuotaRequest{"memoryBytes": float64(int64(min(max(bytes, least), most)))}
}

// Shell is a request that runs a script of a shell.
func Shell(script string, args []string) job.Request {
	if len(args) == 0 {
		return job.Request{Command: script}
	}
	return job.Request{Program: append([]string{"bash", "-c", script, "bash"}, args...)}
}
