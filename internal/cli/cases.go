package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/kaa-run/kaa/client"
)

// runCases are the cases of a program, as the API takes them.
type runCases struct {
	Cases              json.RawMessage `json:"cases,omitempty"`
	Checker            json.RawMessage `json:"checker,omitempty"`
	CaseTimeout        *float64        `json:"caseTimeout,omitempty"`
	StopAtFirstFailure bool            `json:"stopAtFirstFailure,omitempty"`
}

// readCases reads a file with cases: a list, or an object with the fields of a request that are about cases.
func readCases(path string) (*runCases, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--cases: %w", err)
	}
	if text := bytes.TrimSpace(content); len(text) > 0 && text[0] == '[' {
		content = append([]byte(`{"cases":`), append(text, '}')...)
	}
	cases := new(runCases)
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(cases); err != nil {
		return nil, fmt.Errorf(`--cases %s: %w; write [{"stdin": "…", "expect": {"stdout": "…"}}, …]`, path, err)
	}
	if cases.Cases == nil {
		return nil, fmt.Errorf("--cases %s: it has no cases", path)
	}
	return cases, nil
}

// judged prints the verdict of a case.
func (r *run) judged(c client.CaseResult) {
	line := fmt.Sprintf("%-13s %8.1f ms %6.1f MB  %s", c.Verdict, c.DurationMs, float64(c.MemoryBytes)/1e6, c.Name)
	if why := reasonOf(c); why != "" {
		line += ": " + why
	}
	_ = r.wrote("stdout", line+"\n") // a closed output ends the run by its signal
}

// reasonOf says in a line why a case was not accepted.
func reasonOf(c client.CaseResult) string {
	why := c.Message
	switch d := c.Diff; {
	case d == nil && why == "" && c.Error != nil:
		why = c.Error.Name + ": " + c.Error.Value
	case d == nil:
	case d.Expected == nil && d.Actual != nil:
		why = fmt.Sprintf("line %d: %q is too much", d.Line, *d.Actual)
	case d.Actual == nil && d.Expected != nil:
		why = fmt.Sprintf("line %d: the output ends, expected %q", d.Line, *d.Expected)
	case d.Expected != nil:
		why = fmt.Sprintf("line %d: %q, expected %q", d.Line, *d.Actual, *d.Expected)
	default:
		why = fmt.Sprintf("line %d differs", d.Line)
	}
	why, _, _ = strings.Cut(why, "\n")
	return why
}

// reportCases prints how many cases were accepted. The exit code is 0 if all were.
func (r *run) reportCases(end client.End) error {
	all, accepted := int64(0), end.CaseCounts["accepted"]
	for _, n := range end.CaseCounts {
		all += n
	}
	r.say("%d of %d cases are accepted", accepted, all)
	return r.codeOf(end)
}

// codeOfCases is the exit code of a program with cases.
func (r *run) codeOfCases(end client.End) error {
	all := int64(0)
	for _, n := range end.CaseCounts {
		all += n
	}
	switch {
	case end.CaseCounts["accepted"] == all:
		return nil
	case end.Status == "interrupted" && !r.ended():
		return ExitError(ExitTimeout)
	}
	return ExitError(1)
}
