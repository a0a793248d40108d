package app_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// caseResult is a case of a result.
type caseResult struct {
	Name, Verdict, Message, Stdout, Stderr, Signal string
	ExitCode                                       *int
	Error                                          struct{ Name, Value, Traceback string }
	DurationMs, CPUMs                              float64
	MemoryBytes                                    int64
	Diff                                           struct {
		Line             int
		Expected, Actual *string
	}
}

// casesIn returns the cases of a result, or of a job, and their verdicts.
func casesIn(t *testing.T, a answer) (cases []caseResult, verdicts string) {
	t.Helper()
	var body struct {
		Cases  []caseResult
		Result struct{ Cases []caseResult }
	}
	if err := json.Unmarshal([]byte(a.raw), &body); err != nil {
		t.Fatalf("%v: %s", err, a.raw)
	}
	cases = append(body.Cases, body.Result.Cases...)
	for _, c := range cases {
		verdicts += c.Name + " " + c.Verdict + "\n"
	}
	return cases, verdicts
}

func expect(stdout string) fields { return fields{"stdout": stdout} }

// TestCases: a program runs once for each case, in a fresh sandbox, and each has the verdict that it deserves.
func TestCases(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	code := `
import os, sys, pathlib
n = int(input())
print("note", n, file=sys.stderr)
if n == 1: raise ValueError("one")
if n == 2: print(1)
if n == 3: sys.exit(3)
if n == 4:
    while True: pass
if n == 5: x = bytearray(200 << 20)
if n == 6: print("x" * 3_000_000)
if n == 7: os.kill(os.getpid(), 9)
if n == 8: print(sys.argv[1:], sorted(os.listdir()), pathlib.Path("all").read_text())
if n == 9: pathlib.Path("all").write_text("changed"); pathlib.Path("own").write_text("left"); os.environ["LEFT"] = "1"
print(n * 2)
`
	in := func(name string, n int, expect fields, more ...fields) fields {
		c := fields{"name": name, "stdin": fmt.Sprintln(n), "expect": expect}
		for _, m := range more {
			maps.Copy(c, m)
		}
		return c
	}
	a := k.execute(fields{
		"code": code, "args": []string{"a"}, "files": []fields{{"path": "all", "content": "all"}}, "caseTimeout": 120, "timeout": 600, "limits": fields{"memoryBytes": 100 << 20},
		"cases": []fields{
			in("right", 0, expect("0")),
			in("raises", 1, expect("2")),
			in("wrong", 2, expect("4\n")),
			in("exits", 3, expect("6")),
			in("exits as expected", 3, fields{"exitCode": 3}),
			in("runs on", 4, expect("8"), fields{"timeout": 1}),
			in("takes memory", 5, expect("10")),
			in("may take memory", 5, expect("10"), fields{"limits": fields{"memoryBytes": 400 << 20}}),
			in("prints much", 6, expect("12")),
			in("prints, which does not matter", 6, fields{}),
			in("kills itself", 7, expect("14")),
			in("changes files", 9, expect("18")),
			in("sees its own", 8, expect("['a', 'b'] ['all', 'own'] all\n16"), fields{"argv": []string{"b"}, "files": []fields{{"path": "own", "content": ""}}}),
		},
	})
	cases, got := casesIn(t, a)
	want := `right accepted
raises runtime_error
wrong wrong_answer
exits runtime_error
exits as expected accepted
runs on time_limit
takes memory memory_limit
may take memory accepted
prints much output_limit
prints, which does not matter accepted
kills itself runtime_error
changes files accepted
sees its own accepted
`
	if got != want {
		t.Fatalf("verdicts:\n%swant:\n%s%s", got, want, a.raw)
	}
	if a.str("status") != "ok" || a.str("exitCode") != "0" || a.str("caseCounts.accepted") != "6" || a.str("caseCounts.runtime_error") != "3" || a.str("stdout") != "" || a.str("files") != "" {
		t.Errorf("%s", a.raw)
	}
	right, raises, wrong, much := cases[0], cases[1], cases[2], cases[9]
	if right.Stdout != "0\n" || right.Stderr != "note 0\n" || right.DurationMs <= 0 || right.CPUMs <= 0 || right.MemoryBytes <= 0 || *right.ExitCode != 0 {
		t.Errorf("%+v", right)
	}
	if raises.Error.Name != "ValueError" || !strings.Contains(raises.Error.Traceback, "line 5") {
		t.Errorf("%+v", raises)
	}
	if d := wrong.Diff; d.Line != 1 || *d.Expected != "4" || *d.Actual != "1" {
		t.Errorf("%+v", d)
	}
	if n := len(much.Stdout); n < 4000 || n > 5000 {
		t.Errorf("%d bytes of output are kept", n)
	}
	if on := cases[5]; on.DurationMs < 1000 {
		t.Errorf("%+v", on)
	}
}

// TestCasesOfCommands: the program may be a command, jobs and lines of batches may have cases, and a job that runs again
// has them.
func TestCasesOfCommands(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.submit(fields{
		"argv": []string{"python3", "sub/double.py"}, "files": []fields{{"path": "sub/double.py", "content": "import sys\nprint(int(sys.argv[1]) * 2)"}},
		"cases": []fields{
			{"argv": []string{"2"}, "expect": expect("4")}, {"argv": []string{"3"}, "expect": expect("7")}, {"argv": []string{"x"}, "expect": expect("7")}, {"argv": []string{"4"}, "expect": expect("8")},
		},
	})
	want := "1 accepted\n2 wrong_answer\n3 runtime_error\n4 accepted\n"
	if _, got := casesIn(t, k.await(id)); got != want {
		t.Errorf("verdicts:\n%s", got)
	}
	again := k.call(http.MethodPost, "/v1/jobs/"+id+"/rerun", nil)
	if _, got := casesIn(t, k.await(again.str("id"))); got != want {
		t.Errorf("verdicts of the second run:\n%s", got)
	}
	line := k.execute(fields{"command": "read n; [ $n -lt 3 ] && echo small || { kill -TERM $$; }", "stopAtFirstFailure": true, "cases": []fields{
		{"stdin": "1\n", "expect": expect("small")}, {"stdin": "5\n", "expect": expect("small")}, {"stdin": "1\n", "expect": expect("small")},
	}})
	cases, got := casesIn(t, line)
	if got != "1 accepted\n2 runtime_error\n3 skipped\n" || cases[1].Signal != "SIGTERM" || line.str("caseCounts.skipped") != "1" {
		t.Errorf("verdicts:\n%s%s", got, line.raw)
	}
	missing := k.execute(fields{"argv": []string{"nonesuch"}, "cases": []fields{{}}})
	if cases, got := casesIn(t, missing); got != "1 runtime_error\n" || cases[0].Error.Name != "FileNotFoundError" {
		t.Errorf("%s", missing.raw)
	}
	batch := k.batch("", `{"code":"print(int(input())*2)","cases":[{"stdin":"1","expect":{"stdout":"2"}},{"stdin":"2","expect":{"stdout":"5"}}]}`+"\n")
	k.awaitBatch(batch.str("id"), "completed")
	if lines := k.call(http.MethodGet, "/v1/batches/"+batch.str("id")+"/results", nil); !strings.Contains(lines.raw, `"caseCounts":{"accepted":1,"wrong_answer":1}`) {
		t.Errorf("results: %s", lines.raw)
	}
}

// TestCheckers: code of the caller judges outputs, in a sandbox of its own.
func TestCheckers(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	checker := fields{"code": `
import sys
given, output, expected = (open(name).read() for name in sys.argv[1:])
print(repr(given), repr(output), repr(expected))
assert output.split() == sorted(expected.split())
`}
	a := k.execute(fields{
		"code": "print(*sorted(input().split()))", "checker": checker,
		"cases": []fields{
			{"stdin": "b a", "expect": expect("b a")},
			{"stdin": "b c", "expect": expect("b a")},
			{"stdin": "x", "expect": fields{"checker": fields{"code": "import sys; sys.exit('no')"}}},
			{"stdin": "x", "expect": fields{"checker": fields{"code": "1/0"}}},
			{"stdin": "x", "expect": fields{"checker": fields{"code": "import os; os._exit(9)"}}},
			{"stdin": "x", "expect": fields{"checker": fields{"code": "import os\nassert sorted(os.listdir()) == ['expected', 'input', 'output'], os.listdir()"}}},
		},
	})
	cases, got := casesIn(t, a)
	if got != "1 accepted\n2 wrong_answer\n3 wrong_answer\n4 checker_error\n5 checker_error\n6 accepted\n" {
		t.Fatalf("verdicts:\n%s%s", got, a.raw)
	}
	if cases[0].Message != `'b a' 'a b\n' 'b a'` || cases[2].Message != "no" || cases[3].Message != "the checker failed: ZeroDivisionError: division by zero" {
		t.Errorf("%s", a.raw)
	}
}

// TestCasesEnd: a job's timeout and a cancel end its cases, and those that were done keep their verdicts.
func TestCasesEnd(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	body := fields{"code": "import time; time.sleep(float(input()))", "caseTimeout": 600, "timeout": 5, "cases": []fields{{"stdin": "0"}, {"stdin": "600"}, {"stdin": "0"}}}
	live := k.executeLive(body)
	var events []string
	for _, e := range live.all() {
		if text := e.brief(); e.name == "case" {
			events = append(events, text+" "+e.str("index")+" "+e.str("verdict"))
		} else {
			events = append(events, text)
		}
	}
	want := []string{"status running", "case 0 accepted", "case 1 interrupted", "error KeyboardInterrupt", "status completed interrupted"}
	if got := events[max(0, len(events)-len(want)):]; !slices.Equal(got, want) {
		t.Errorf("events: %q", events)
	}
	body["timeout"] = 600
	id := k.submit(body)
	s := k.follow(id, "")
	e, ok := s.next()
	for ok && e.name != "case" {
		e, ok = s.next()
	}
	if a := k.call(http.MethodDelete, "/v1/jobs/"+id, nil); a.status/100 != 2 {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	end := k.await(id)
	if _, got := casesIn(t, end); end.str("state") != "cancelled" || got != "1 accepted\n2 interrupted\n3 skipped\n" {
		t.Errorf("%s", end.raw)
	}
	replayed := k.submit(fields{"code": "print(1)", "stopAtFirstFailure": true, "cases": []fields{{"expect": expect("1")}, {"expect": expect("2")}, {}}})
	k.await(replayed)
	events = nil
	for _, e := range k.follow(replayed, "").all() {
		events = append(events, strings.TrimSpace(e.name+" "+e.str("verdict")))
	}
	if want := []string{"status", "case accepted", "case wrong_answer", "status"}; !slices.Equal(events, want) {
		t.Errorf("events of a job that no client followed: %q", events)
	}
}

// BenchmarkCases: a hundred cases of a small program, as one request.
func BenchmarkCases(b *testing.B) {
	k := start(b, 1)
	for name, program := range map[string]fields{"code": {"code": "print(int(input())*2)"}, "argv": {"argv": []string{"python3", "-c", "print(int(input())*2)"}}} {
		b.Run(name, func(b *testing.B) {
			var cases []fields
			for n := range 100 {
				cases = append(cases, fields{"stdin": fmt.Sprintln(n), "expect": expect(fmt.Sprintln(n * 2))})
			}
			program["cases"] = cases
			began := time.Now()
			for b.Loop() {
				if a := k.execute(program); a.str("caseCounts.accepted") != "100" {
					b.Fatal(a.raw)
				}
			}
			b.ReportMetric(float64(time.Since(began).Milliseconds())/float64(b.N)/100, "ms/case")
		})
	}
}
