package api

import (
	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
)

// CaseBody is a case of a program.
type CaseBody struct {
	Name    *string     `json:"name,omitempty" nullable:"true" doc:"Its name in the result. Default: its number, from 1."`
	Stdin   *string     `json:"stdin,omitempty" nullable:"true" doc:"Content of standard input. That of all cases together is at most 4194304 bytes unless configured otherwise."`
	Argv    []string    `json:"argv,omitempty" nullable:"true" doc:"Arguments of the program, after those in args or argv of the request. Not with command."`
	Files   []FileBody  `json:"files,omitempty" nullable:"true" doc:"Files to put into the working directory of this case, beside those of the request. At most 1000 in all cases."`
	Timeout *float64    `json:"timeout,omitempty" nullable:"true" doc:"Seconds that the program may run in this case. Default: caseTimeout."`
	Limits  *LimitsBody `json:"limits,omitempty" doc:"Limits of this case, where they differ from those of the request."`
	Expect  *ExpectBody `json:"expect,omitempty" doc:"Conditions for the verdict accepted. Without it: an end with exit code 0."`
}

// ExpectBody is what is expected of a program.
type ExpectBody struct {
	Stdout   *string      `json:"stdout,omitempty" nullable:"true" doc:"Standard output. Spaces, tabs and carriage returns at the end of a line do not count, nor do empty lines at the end. A checker gets it, and then it is not compared."`
	Exact    *bool        `json:"exact,omitempty" nullable:"true" doc:"Compare stdout byte by byte."`
	ExitCode *whole       `json:"exitCode,omitempty" nullable:"true" doc:"Exit code. Default 0."`
	Checker  *CheckerBody `json:"checker,omitempty" doc:"Judges the output of this case."`
}

// CheckerBody is a program that judges output.
type CheckerBody struct {
	Code string `json:"code" doc:"Python source. It runs in a fresh sandbox with the files input, output and expected, whose names are its arguments. Exit code 0 accepts, 1 or an AssertionError is a wrong answer, anything else a checker_error. Its standard output is the message of the case."`
}

// TransformSchema lets null stand for absent.
func (ExpectBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Nullable = true
	return s
}

// TransformSchema lets null stand for absent.
func (CheckerBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Nullable = true
	return s
}

func (b *CheckerBody) code() *string {
	if b == nil {
		return nil
	}
	return &b.Code
}

// cases returns what the request says about cases; nil if it says nothing.
func (b ExecuteBody) cases() *job.CasesRequest {
	stop := b.StopAtFirstFailure != nil && *b.StopAtFirstFailure
	if b.Cases == nil && b.Checker == nil && b.CaseTimeout == nil && !stop {
		return nil
	}
	r := &job.CasesRequest{Timeout: b.CaseTimeout, Checker: b.Checker.code(), StopAtFirstFailure: stop}
	if b.Cases != nil {
		r.List = make([]job.CaseRequest, len(b.Cases))
	}
	for i, c := range b.Cases {
		r.List[i] = job.CaseRequest{
			Name: value(c.Name), Stdin: value(c.Stdin), Argv: c.Argv, Files: fileRequests(c.Files),
			Timeout: c.Timeout, Limits: c.Limits.request(), Expect: c.Expect.request(),
		}
	}
	return r
}

func (b *ExpectBody) request() job.ExpectRequest {
	if b == nil {
		return job.ExpectRequest{}
	}
	return job.ExpectRequest{Stdout: b.Stdout, Exact: b.Exact != nil && *b.Exact, ExitCode: b.ExitCode.int(), Checker: b.Checker.code()}
}
