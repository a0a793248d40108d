package job

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// maxCaseText is the largest part of a stream, and of a traceback, in the result of a case.
	maxCaseText = 4 << 10
	// maxCaseMessage is the same of a message.
	maxCaseMessage = 1 << 10
	// maxCasesText bounds these texts of all cases of a job together, as JSON.
	maxCasesText = 1 << 20
	// maxExcerpt is the longest part of a line in a diff; shownBefore of it are before the difference.
	maxExcerpt, shownBefore = 120, 40
	// MinCheckerTime is the least time limit of a checker. One that is longer is that of its case.
	MinCheckerTime = 10 * time.Second
)

// Judge returns the result of a case whose program ended with r. checked: a checker judges its output, if the verdict is
// VerdictAccepted so far.
func (c *Case) Judge(r *Result, checked bool) CaseResult {
	out := CaseResult{
		Name: c.Name, ExitCode: r.ExitCode, Signal: r.Signal, Error: r.Error,
		DurationMs: r.DurationMs, CPUMs: r.CPUMs, MemoryBytes: r.PeakMemoryBytes,
	}
	out.Verdict, out.Message = c.verdictOfEnd(r)
	if out.Verdict != VerdictAccepted {
		return out
	}
	judged := checked || c.Expect.Stdout != nil
	switch {
	case judged && r.Truncated.Of("stdout") > 0:
		out.Verdict, out.Message = VerdictOutputLimit, "standard output is longer than limits.outputBytes"
		for _, n := range r.Notices {
			if n.Code == NoticeOutput {
				out.Message = n.Message
			}
		}
	case !checked && c.Expect.Stdout != nil:
		if out.Diff = difference(*c.Expect.Stdout, r.Stdout, c.Expect.Exact); out.Diff != nil {
			out.Verdict = VerdictWrongAnswer
		}
	}
	return out
}

// verdictOfEnd judges the way in which a program ended.
func (c *Case) verdictOfEnd(r *Result) (v Verdict, message string) {
	switch {
	case r.Limit == LimitMemory:
		return VerdictMemoryLimit, ""
	case r.Limit == LimitCPU, r.Limit == LimitTimeout:
		return VerdictTimeLimit, ""
	case r.Status == StatusInterrupted:
		return VerdictInterrupted, ""
	}
	code, want := 0, 0
	if r.ExitCode != nil {
		code = *r.ExitCode
	}
	if c.Expect.ExitCode != nil {
		want = *c.Expect.ExitCode
	}
	switch {
	case code == want:
		return VerdictAccepted, ""
	case c.Expect.ExitCode != nil && r.Error == nil:
		return VerdictWrongAnswer, fmt.Sprintf("the exit code is %d, %d was expected", code, want)
	}
	return VerdictRuntimeError, ""
}

// Check completes the result of a case by the end of its checker.
func (out *CaseResult) Check(r *Result) {
	out.Message, _ = shortened(strings.TrimSpace(r.Stdout), maxCaseMessage)
	code := -1
	if r.ExitCode != nil {
		code = *r.ExitCode
	}
	failed := r.Error != nil || r.Limit != ""
	switch {
	case r.Status == StatusInterrupted && r.Limit == "":
		out.Verdict = VerdictInterrupted
	case !failed && code == 0:
		out.Verdict = VerdictAccepted
	case !failed && code == 1:
		out.Verdict = VerdictWrongAnswer
		if out.Message == "" { // sys.exit("why")
			out.Message, _ = shortened(strings.TrimSpace(r.Stderr), maxCaseMessage)
		}
	case r.Status == StatusError && r.Error != nil && r.Error.Name == "AssertionError":
		out.Verdict = VerdictWrongAnswer
		if out.Message == "" {
			out.Message, _ = shortened(r.Error.Value, maxCaseMessage)
		}
	default:
		out.Verdict = VerdictCheckerError
		why := fmt.Sprintf("the checker ended with exit code %d", code)
		if r.Error != nil {
			why = "the checker failed: " + r.Error.Name + ": " + r.Error.Value
		}
		out.Message, _ = shortened(why, maxCaseMessage)
	}
}

// CaseRoom bounds the texts that the results of all cases of a job have. The zero value has room.
type CaseRoom struct{ used int }

// Fill gives the result of a case the streams of its program, and shortens its other texts, as far as there is room.
func (b *CaseRoom) Fill(out *CaseResult, r *Result) {
	if e := out.Error; e != nil {
		short := Error{Name: e.Name}
		short.Value, _ = shortened(e.Value, maxCaseMessage)
		short.Traceback, _ = shortened(e.Traceback, maxCaseText)
		short.Traceback = b.take(short.Traceback)
		short.Value = b.take(short.Value)
		out.Error = &short
	}
	missing := Truncated{}
	out.Stdout, missing.Stdout = b.stream(r.Stdout, r.Truncated.Of("stdout"))
	out.Stderr, missing.Stderr = b.stream(r.Stderr, r.Truncated.Of("stderr"))
	if missing != (Truncated{}) {
		out.Truncated = &missing
	}
	out.Message = b.take(out.Message)
	if d := out.Diff; d != nil && !b.has(d) {
		out.Diff = &CaseDiff{Line: d.Line}
	}
}

// stream returns the part of a stream for which there is room, and how many bytes are missing. dropped are those that were
// missing before.
func (b *CaseRoom) stream(text string, dropped int64) (kept string, missing int64) {
	kept, more := shortened(text, maxCaseText)
	if b.take(kept) == "" {
		kept, more = "", int64(len(text))
	}
	return kept, dropped + more
}

// take returns the text if there is room for it.
func (b *CaseRoom) take(text string) string {
	if text == "" || !b.has(text) {
		return ""
	}
	return text
}

func (b *CaseRoom) has(value any) bool {
	encoded, err := json.Marshal(value)
	if err != nil || b.used+len(encoded) > maxCasesText {
		return false
	}
	b.used += len(encoded)
	return true
}

// shortened returns a text without its middle if it is longer than most, and how many bytes were dropped.
func shortened(text string, most int) (short string, dropped int64) {
	if len(text) <= most {
		return text, 0
	}
	head, tail := most/2, len(text)-most/2
	for head > 0 && !utf8.RuneStart(text[head]) {
		head--
	}
	for tail < len(text) && !utf8.RuneStart(text[tail]) {
		tail++
	}
	dropped = int64(tail - head)
	return text[:head] + DroppedNote(dropped) + text[tail:], dropped
}

// difference returns the first difference of an output from the expected one; nil if it is accepted. Unless exact is set,
// spaces, tabs and carriage returns at the end of a line do not count, nor do empty lines at the end.
func difference(expected, actual string, exact bool) *CaseDiff {
	if expected == actual {
		return nil
	}
	want, got := linesOf(expected, exact), linesOf(actual, exact)
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(want):
			return &CaseDiff{Line: i + 1, Actual: new(excerpt(got[i], 0))}
		case i >= len(got):
			return &CaseDiff{Line: i + 1, Expected: new(excerpt(want[i], 0))}
		case want[i] != got[i]:
			at := common(want[i], got[i])
			return &CaseDiff{Line: i + 1, Expected: new(excerpt(want[i], at)), Actual: new(excerpt(got[i], at))}
		}
	}
	return nil
}

// linesOf returns the lines that are compared.
func linesOf(text string, exact bool) []string {
	lines := strings.Split(text, "\n")
	if exact {
		return lines
	}
	last := 0
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " \t\r")
		if lines[i] != "" {
			last = i + 1
		}
	}
	return lines[:last]
}

// common returns how many bytes two texts have in common at their beginning.
func common(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// excerpt returns the part of a line around the byte at.
func excerpt(line string, at int) string {
	start, end := max(0, at-shownBefore), len(line)
	for start > 0 && start < len(line) && !utf8.RuneStart(line[start]) {
		start--
	}
	before, after := "", ""
	if start > 0 {
		before = "…"
	}
	if end-start > maxExcerpt {
		end, after = start+maxExcerpt, "…"
		for !utf8.RuneStart(line[end]) {
			end--
		}
	}
	return before + line[start:end] + after
}
