package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

// withCases gives a job a program that runs once for each case.
func withCases(n *job.NewJob) {
	n.Spec.Files = []job.Input{{Path: "all", Size: 1}, {Path: "own", Size: 2, Case: 2}}
	n.Spec.Cases = &job.Cases{
		Command: &job.Command{Argv: []string{"cat"}}, Checker: "1", StopAtFirstFailure: true,
		List: []job.Case{
			{Name: "1", Stdin: "in", Argv: []string{"a"}, Timeout: time.Second, Expect: job.Expect{Stdout: new("out"), Exact: true, ExitCode: new(3), Checker: "2"}},
			{Name: "b", Timeout: time.Minute, Quota: &job.Quota{CPUs: 2}},
		},
	}
}

// cases writes a job that has ended, whose program ran once for each case.
func (w *writer) cases() {
	w.end(named("with-cases", withCases), &job.Result{
		Status: job.StatusOK, ExitCode: new(0), CaseCounts: map[string]int{"accepted": 1, "wrong_answer": 1},
		Cases: []job.CaseResult{
			{Name: "1", Verdict: job.VerdictAccepted, ExitCode: new(3), DurationMs: 1.5, CPUMs: 1, MemoryBytes: 4096, Stdout: "out", Truncated: &job.Truncated{Stderr: 7}},
			{Name: "b", Verdict: job.VerdictWrongAnswer, Message: "why", Signal: "SIGKILL", Error: &job.Error{Name: "E", Value: "v"}, Diff: &job.CaseDiff{Line: 2, Expected: new("x")}, Stderr: "err"},
		},
	})
}

// casesOld reads the request of a job with cases of an older process, to run it again.
func casesOld(t *testing.T, b *bundle) {
	t.Helper()
	j, err := b.Get(t.Context(), "with-cases")
	if errors.Is(err, job.ErrNotFound) {
		return // the file is older than cases
	}
	must(t, err)
	n, err := b.Request(t.Context(), j)
	must(t, err)
	var want job.NewJob
	withCases(&want)
	if diff := cmp.Diff(want.Spec.Cases, n.Spec.Cases) + cmp.Diff(want.Spec.Files, n.Spec.Files); diff != "" {
		t.Error(diff)
	}
}
