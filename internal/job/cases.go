package job

import "time"

// Cases are the tests of a program, which runs once for each of them, in a fresh sandbox each time. The store keeps them as
// JSON, in a Spec. That has what is common to all: limits, variables, arguments, directory and files.
type Cases struct {
	// Code or Command is the program.
	Code    string   `json:"code,omitempty"`
	Command *Command `json:"command,omitempty"`
	List    []Case   `json:"list"`
	// Checker is code that judges the cases without a checker of their own; empty if there is none.
	Checker            string `json:"checker,omitempty"`
	StopAtFirstFailure bool   `json:"stopAtFirstFailure,omitempty"`
}

// Case is one run of the program with its expectations. Its files are those inputs of the Spec that name it.
type Case struct {
	Name    string        `json:"name"`
	Stdin   string        `json:"stdin,omitempty"`
	Argv    []string      `json:"argv,omitempty"` // after the arguments of all cases
	Timeout time.Duration `json:"timeout"`
	Quota   *Quota        `json:"quota,omitempty"` // nil for that of all cases
	Expect  Expect        `json:"expect,omitzero"`
}

// Expect has the conditions for the verdict accepted.
type Expect struct {
	Stdout   *string `json:"stdout,omitempty"`   // nil if it does not matter, or for the checker to say
	Exact    bool    `json:"exact,omitempty"`    // Stdout is compared byte by byte
	ExitCode *int    `json:"exitCode,omitempty"` // nil for 0
	Checker  string  `json:"checker,omitempty"`  // code; empty for that of all cases
}

// Verdict is what became of a case.
type Verdict string

// The verdicts.
const (
	VerdictAccepted     Verdict = "accepted"
	VerdictWrongAnswer  Verdict = "wrong_answer"
	VerdictTimeLimit    Verdict = "time_limit"
	VerdictMemoryLimit  Verdict = "memory_limit"
	VerdictOutputLimit  Verdict = "output_limit"
	VerdictRuntimeError Verdict = "runtime_error"
	VerdictCheckerError Verdict = "checker_error"
	// VerdictInterrupted: the end of the whole job ended the case.
	VerdictInterrupted Verdict = "interrupted"
	// VerdictSkipped: the case has not begun.
	VerdictSkipped Verdict = "skipped"
)

// CaseResult is what became of a case, with its measures. They are those of the program, without its checker.
type CaseResult struct {
	Name        string     `json:"name" doc:"Its name; its number in the list, from 1, if it was given none."`
	Verdict     Verdict    `json:"verdict" enum:"accepted,wrong_answer,time_limit,memory_limit,output_limit,runtime_error,checker_error,interrupted,skipped" doc:"accepted. wrong_answer: of output, exit code, or by the checker. time_limit, memory_limit. output_limit: more output than can be judged. runtime_error: an uncaught exception, a signal, an exit code that was not expected. checker_error: the checker failed. interrupted: the job's timeout or a cancel came first. skipped: not begun."`
	Message     string     `json:"message,omitempty" doc:"The reason, for people. For a checker: its standard output."`
	ExitCode    *int       `json:"exitCode,omitempty" doc:"Exit status of the program, as in a result."`
	Signal      string     `json:"signal,omitempty" doc:"For a command: name of the signal that ended it."`
	Error       *Error     `json:"error,omitempty" doc:"The uncaught exception, or the reason for the end of the program. Long texts lack their middle."`
	DurationMs  float64    `json:"durationMs" doc:"Time the program ran, in milliseconds."`
	CPUMs       float64    `json:"cpuMs" doc:"CPU time of the program and the processes it started, in milliseconds."`
	MemoryBytes int64      `json:"memoryBytes" doc:"The most memory that they held at once, in bytes."`
	Diff        *CaseDiff  `json:"diff,omitempty" doc:"The first line in which standard output is not what was expected."`
	Stdout      string     `json:"stdout,omitempty" doc:"Standard output of the program, up to 4 KiB: then its middle is dropped."`
	Stderr      string     `json:"stderr,omitempty" doc:"The same for standard error."`
	Truncated   *Truncated `json:"truncated,omitempty" doc:"Bytes of the streams that are missing here."`
}

// CaseDiff is the first difference of an output from the expected one.
type CaseDiff struct {
	Line     int     `json:"line" doc:"Number of the line, from 1."`
	Expected *string `json:"expected,omitempty" doc:"The expected line; absent after the last line that was expected. Of a long line a piece around the difference."`
	Actual   *string `json:"actual,omitempty" doc:"The line of the program; absent after its last line."`
}

// CaseData is the data of the event of a case that has ended.
type CaseData struct {
	Type  EventType `json:"type"`
	Index int       `json:"index"` // from 0
	CaseResult
}

// CaseEvent is the event of the end of a case.
func CaseEvent(index int, r CaseResult) Event {
	return NewEvent(EventCase, CaseData{Type: EventCase, Index: index, CaseResult: r})
}

// CheckerOf returns the code of the checker of a case; empty if it has none.
func (s *Cases) CheckerOf(c *Case) string {
	if c.Expect.Checker != "" {
		return c.Expect.Checker
	}
	return s.Checker
}

// SpecOf returns the spec of the i-th case's run of the program.
func (s *Spec) SpecOf(i int) Spec {
	c := &s.Cases.List[i]
	one := Spec{
		Code: s.Cases.Code, Timeout: c.Timeout, Envs: s.Envs, Stdin: c.Stdin, Cwd: s.Cwd, Argv: joined(s.Argv, c.Argv),
		Runtime: s.Runtime, Quota: s.QuotaOf(i), Options: s.Options, Trace: s.Trace, KillAtTimeout: true,
	}
	if command := s.Cases.Command; command != nil {
		own := *command
		own.Argv, one.Argv = joined(command.Argv, c.Argv), nil
		one.Command = &own
	}
	return one
}

// joined returns one list after the other, without a change of either.
func joined(a, b []string) []string { return append(append([]string(nil), a...), b...) }

// QuotaOf returns the limits of the i-th case.
func (s *Spec) QuotaOf(i int) Quota {
	if q := s.Cases.List[i].Quota; q != nil {
		return *q
	}
	return s.Quota
}

// IsOf reports whether a file is there in the case with that number, from 0.
func (in Input) IsOf(i int) bool { return in.Case == 0 || in.Case == i+1 }

// CountCases fills in CaseCounts.
func (r *Result) CountCases() {
	r.CaseCounts = make(map[string]int)
	for i := range r.Cases {
		r.CaseCounts[string(r.Cases[i].Verdict)]++
	}
}
