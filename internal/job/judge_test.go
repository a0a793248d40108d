package job_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	out := func(text string) job.Expect { return job.Expect{Stdout: &text} }
	exact := func(text string) job.Expect { return job.Expect{Stdout: &text, Exact: true} }
	code := func(n int) job.Expect { return job.Expect{ExitCode: &n} }
	exited := func(n int, stdout string) job.Result {
		r := job.Result{Status: job.StatusOK, ExitCode: &n, Stdout: stdout}
		if n != 0 {
			r.Status = job.StatusExit
		}
		return r
	}
	limited := func(l job.LimitName) job.Result { return job.Result{Status: job.StatusInterrupted, Limit: l} }
	for name, tt := range map[string]struct {
		expect  job.Expect
		end     job.Result
		checked bool
		want    job.Verdict
		diff    string // line, expected, actual
	}{
		"nothing is expected":      {end: exited(0, "x"), want: job.VerdictAccepted},
		"equal":                    {expect: out("4\n"), end: exited(0, "4\n"), want: job.VerdictAccepted},
		"ends of lines":            {expect: out("a b\nc"), end: exited(0, "a b \t\r\nc\r\n\n \n"), want: job.VerdictAccepted},
		"spaces at the beginning":  {expect: out("a\n b"), end: exited(0, "a\nb"), want: job.VerdictWrongAnswer, diff: "2| b|b"},
		"spaces between":           {expect: out("a b"), end: exited(0, "a  b"), want: job.VerdictWrongAnswer, diff: "1|a b|a  b"},
		"an empty line between":    {expect: out("a\nb"), end: exited(0, "a\n\nb"), want: job.VerdictWrongAnswer, diff: "2|b|"},
		"a form feed":              {expect: out("a"), end: exited(0, "a\f"), want: job.VerdictWrongAnswer, diff: "1|a|a\f"},
		"too little":               {expect: out("a\nb"), end: exited(0, "a\n"), want: job.VerdictWrongAnswer, diff: "2|b|none"},
		"too much":                 {expect: out("a"), end: exited(0, "a\nb"), want: job.VerdictWrongAnswer, diff: "2|none|b"},
		"nothing at all":           {expect: out(""), end: exited(0, "\n"), want: job.VerdictAccepted},
		"exact":                    {expect: exact("a\n"), end: exited(0, "a\n"), want: job.VerdictAccepted},
		"exact, the last line":     {expect: exact("a\n"), end: exited(0, "a"), want: job.VerdictWrongAnswer, diff: "2||none"},
		"exact, a space":           {expect: exact("a"), end: exited(0, "a "), want: job.VerdictWrongAnswer, diff: "1|a|a "},
		"a long line":              {expect: out(strings.Repeat("ä", 500) + "x"), end: exited(0, strings.Repeat("ä", 500)+"y"), want: job.VerdictWrongAnswer, diff: "1|…" + strings.Repeat("ä", 20) + "x|…" + strings.Repeat("ä", 20) + "y"},
		"the beginning of a line":  {expect: out("x" + strings.Repeat("z", 500)), end: exited(0, "y"), want: job.VerdictWrongAnswer, diff: "1|x" + strings.Repeat("z", 119) + "…|y"},
		"another exit code":        {end: exited(3, ""), want: job.VerdictRuntimeError},
		"the expected exit code":   {expect: code(3), end: exited(3, ""), want: job.VerdictAccepted},
		"not that exit code":       {expect: code(3), end: exited(0, ""), want: job.VerdictWrongAnswer},
		"a signal instead":         {expect: code(3), end: job.Result{Status: job.StatusExit, ExitCode: new(137), Error: &job.Error{Name: "SIGKILL"}}, want: job.VerdictRuntimeError},
		"an exception":             {end: job.Result{Status: job.StatusError, ExitCode: new(1), Error: &job.Error{Name: "ValueError"}}, want: job.VerdictRuntimeError},
		"an exception is expected": {expect: code(1), end: job.Result{Status: job.StatusError, ExitCode: new(1), Error: &job.Error{Name: "ValueError"}}, want: job.VerdictAccepted},
		"its time":                 {expect: out("4"), end: limited(job.LimitTimeout), want: job.VerdictTimeLimit},
		"its processor time":       {end: limited(job.LimitCPU), want: job.VerdictTimeLimit},
		"its memory":               {end: limited(job.LimitMemory), want: job.VerdictMemoryLimit},
		"a cancel":                 {end: job.Result{Status: job.StatusInterrupted}, want: job.VerdictInterrupted},
		"output that is lost":      {expect: out("4"), end: job.Result{ExitCode: new(0), Stdout: "4", Truncated: &job.Truncated{Stdout: 1}}, want: job.VerdictOutputLimit},
		"for the checker, too":     {checked: true, end: job.Result{ExitCode: new(0), Stdout: "4", Truncated: &job.Truncated{Stdout: 1}}, want: job.VerdictOutputLimit},
		"of standard error":        {expect: out("4"), end: job.Result{ExitCode: new(0), Stdout: "4", Truncated: &job.Truncated{Stderr: 1}}, want: job.VerdictAccepted},
		"for the checker to say":   {expect: out("4"), checked: true, end: exited(0, "5"), want: job.VerdictAccepted},
	} {
		c := job.Case{Name: "n", Expect: tt.expect}
		got := c.Judge(&tt.end, tt.checked)
		diff := ""
		if d := got.Diff; d != nil {
			diff = strings.Join([]string{string(rune('0' + d.Line)), orNone(d.Expected), orNone(d.Actual)}, "|")
		}
		if got.Verdict != tt.want || diff != tt.diff || got.Name != "n" {
			t.Errorf("%s: %s, %q (%s), want %s, %q", name, got.Verdict, diff, got.Message, tt.want, tt.diff)
		}
	}
}

func orNone(s *string) string {
	if s == nil {
		return "none"
	}
	return *s
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end     job.Result
		verdict job.Verdict
		message string
	}{
		"its end":            {job.Result{Status: job.StatusOK, ExitCode: new(0), Stdout: "fine\n"}, job.VerdictAccepted, "fine"},
		"exit 0":             {job.Result{Status: job.StatusExit, ExitCode: new(0)}, job.VerdictAccepted, ""},
		"exit 1":             {job.Result{Status: job.StatusExit, ExitCode: new(1), Stdout: "no"}, job.VerdictWrongAnswer, "no"},
		"exit with a text":   {job.Result{Status: job.StatusExit, ExitCode: new(1), Stderr: "why\n"}, job.VerdictWrongAnswer, "why"},
		"assert":             {job.Result{Status: job.StatusError, ExitCode: new(1), Error: &job.Error{Name: "AssertionError", Value: "too small"}}, job.VerdictWrongAnswer, "too small"},
		"another exception":  {job.Result{Status: job.StatusError, ExitCode: new(1), Error: &job.Error{Name: "ValueError", Value: "v"}}, job.VerdictCheckerError, "the checker failed: ValueError: v"},
		"another exit code":  {job.Result{Status: job.StatusExit, ExitCode: new(2)}, job.VerdictCheckerError, "the checker ended with exit code 2"},
		"a signal":           {job.Result{Status: job.StatusExit, ExitCode: new(137), Error: &job.Error{Name: "SIGKILL", Value: "s"}}, job.VerdictCheckerError, "the checker failed: SIGKILL: s"},
		"its time":           {job.Result{Status: job.StatusInterrupted, Limit: job.LimitTimeout, Error: &job.Error{Name: "KeyboardInterrupt", Value: "timed out"}}, job.VerdictCheckerError, "the checker failed: KeyboardInterrupt: timed out"},
		"a cancel":           {job.Result{Status: job.StatusInterrupted}, job.VerdictInterrupted, ""},
		"a signal of exit 1": {job.Result{Status: job.StatusExit, ExitCode: new(1), Limit: job.LimitMemory, Error: &job.Error{Name: "M", Value: "m"}}, job.VerdictCheckerError, "the checker failed: M: m"},
	} {
		got := job.CaseResult{Verdict: job.VerdictAccepted}
		if got.Check(&tt.end); got.Verdict != tt.verdict || got.Message != tt.message {
			t.Errorf("%s: %s %q, want %s %q", name, got.Verdict, got.Message, tt.verdict, tt.message)
		}
	}
}

// TestCaseRoom: the texts of all cases together have a bound, and what is missing of a case is counted.
func TestCaseRoom(t *testing.T) {
	t.Parallel()
	var room job.CaseRoom
	texts, whole := 0, 0
	for range 1000 {
		long := job.Result{Stdout: strings.Repeat("ä", 5000), Stderr: strings.Repeat("\x00", 5000), Truncated: &job.Truncated{Stdout: 7}}
		out := job.CaseResult{Error: &job.Error{Name: "E", Value: strings.Repeat("v", 5000), Traceback: strings.Repeat("t", 100_000)}, Message: "m"}
		room.Fill(&out, &long)
		for _, text := range []string{out.Stdout, out.Stderr, out.Error.Value, out.Error.Traceback, out.Message} {
			texts += len(text)
			if len(text) > 5000 {
				t.Fatalf("a text of %d bytes", len(text))
			}
		}
		kept := strings.Count(out.Stdout, "ä") * 2
		if out.Truncated == nil || out.Truncated.Stdout != int64(10_000-kept+7) {
			t.Fatalf("%d bytes of %q are kept, and %+v missing", kept, out.Stdout, out.Truncated)
		}
		if kept > 0 {
			whole++
		}
	}
	if texts > 2<<20 || whole < 10 || whole == 1000 {
		t.Errorf("%d bytes, of %d cases", texts, whole)
	}
	small := job.CaseResult{}
	new(job.CaseRoom).Fill(&small, &job.Result{Stdout: "a", Stderr: "b"})
	if !cmp.Equal(small, job.CaseResult{Stdout: "a", Stderr: "b"}) {
		t.Errorf("%+v", small)
	}
}
