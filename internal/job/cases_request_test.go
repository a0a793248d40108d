package job_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

func TestAcceptCases(t *testing.T) {
	t.Parallel()
	l := limits()
	l.MaxInputs, l.MaxInputBytes = 3, 100
	text := "a"
	r := job.Request{
		Code: "1", Argv: []string{"x"}, Timeout: new(5.0), Files: []job.FileRequest{{Path: "d/all", Data: []byte("1")}},
		Cases: &job.CasesRequest{Checker: new("c"), StopAtFirstFailure: true, List: []job.CaseRequest{
			{Stdin: "in", Argv: []string{"y"}, Files: []job.FileRequest{{Path: "d/own", Data: []byte("22")}}},
			{Name: "b", Timeout: new(0.5), Limits: job.QuotaRequest{"memoryBytes": 64 << 20}, Expect: job.ExpectRequest{Stdout: &text, ExitCode: new(3), Checker: new("k")}},
			{Timeout: new(60.0), Files: []job.FileRequest{{Path: "d/own", Data: []byte("333")}}},
		}},
	}
	n, err := l.Accept(r, now)
	if err != nil {
		t.Fatal(err)
	}
	less := defaultQuota()
	less.MemoryBytes = 64 << 20
	want := &job.Cases{Code: "1", Checker: "c", StopAtFirstFailure: true, List: []job.Case{
		{Name: "1", Stdin: "in", Argv: []string{"y"}, Timeout: 5 * time.Second},
		{Name: "b", Timeout: time.Second / 2, Quota: &less, Expect: job.Expect{Stdout: &text, ExitCode: new(3), Checker: "k"}},
		{Name: "3", Timeout: 5 * time.Second},
	}}
	if diff := cmp.Diff(want, n.Spec.Cases); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]job.Input{{Path: "d/all", Size: 1}, {Path: "d/own", Size: 2, Case: 1}, {Path: "d/own", Size: 3, Case: 3}}, n.Spec.Files); diff != "" {
		t.Error(diff)
	}
	if len(n.Contents) != 3 || !strings.Contains(n.Spec.Code, "earlier release") || n.Spec.Command != nil {
		t.Errorf("%+v", n)
	}
	one := n.Spec.SpecOf(0)
	if one.Code != "1" || !slices.Equal(one.Argv, []string{"x", "y"}) || one.Stdin != "in" || one.Timeout != 5*time.Second || one.Cases != nil || one.Quota != n.Spec.Quota || !one.KillAtTimeout {
		t.Errorf("%+v", one)
	}
	if two := n.Spec.SpecOf(1); two.Quota != less || !slices.Equal(two.Argv, []string{"x"}) {
		t.Errorf("%+v", two)
	}

	n, err = limits().Accept(job.Request{Program: []string{"p"}, Cases: &job.CasesRequest{Timeout: new(2.0), List: []job.CaseRequest{{Argv: []string{"1"}}, {Argv: []string{"2"}}}}}, now)
	if err != nil || n.Spec.Command != nil {
		t.Fatalf("%+v, %v", n.Spec, err)
	}
	for i, want := range [][]string{{"p", "1"}, {"p", "2"}} {
		if one := n.Spec.SpecOf(i); one.Command == nil || !slices.Equal(one.Command.Argv, want) || one.Timeout != 2*time.Second {
			t.Errorf("%+v", one)
		}
	}
}

func TestRefuseCases(t *testing.T) {
	t.Parallel()
	l := limits()
	l.MaxInputs, l.MaxInputBytes = 2, 10
	file := func(path, content string) job.FileRequest { return job.FileRequest{Path: path, Data: []byte(content)} }
	one := func(c job.CaseRequest) *job.CasesRequest { return &job.CasesRequest{List: []job.CaseRequest{c}} }
	some := one(job.CaseRequest{})
	for name, tt := range map[string]struct {
		request job.Request
		fields  []string
	}{
		"none":             {job.Request{Code: "1", Cases: &job.CasesRequest{List: []job.CaseRequest{}}}, []string{"cases"}},
		"only a checker":   {job.Request{Code: "1", Cases: &job.CasesRequest{Checker: new("1")}}, []string{"cases"}},
		"too many":         {job.Request{Code: "1", Cases: &job.CasesRequest{List: make([]job.CaseRequest, 1001)}}, []string{"cases"}},
		"no program":       {job.Request{Cases: some}, []string{"code"}},
		"a session":        {job.Request{Code: "1", SessionID: "s", Cases: some}, []string{"sessionId"}},
		"input of all":     {job.Request{Code: "1", Stdin: "x", Cases: some}, []string{"stdin"}},
		"functions":        {job.Request{Code: "1", Followed: true, Functions: []job.Function{{Name: "f"}}, Cases: some}, []string{"functions"}},
		"its time":         {job.Request{Code: "1", Cases: one(job.CaseRequest{Timeout: new(0.0)})}, []string{"cases[0].timeout"}},
		"the usual time":   {job.Request{Code: "1", Cases: &job.CasesRequest{Timeout: new(-1.0), List: make([]job.CaseRequest, 1)}}, []string{"caseTimeout"}},
		"its limits":       {job.Request{Code: "1", Cases: one(job.CaseRequest{Limits: job.QuotaRequest{"memoryBytes": 1}})}, []string{"cases[0].limits.memoryBytes"}},
		"its exit code":    {job.Request{Code: "1", Cases: one(job.CaseRequest{Expect: job.ExpectRequest{ExitCode: new(256)}})}, []string{"cases[0].expect.exitCode"}},
		"its checker":      {job.Request{Code: "1", Cases: one(job.CaseRequest{Expect: job.ExpectRequest{Checker: new(" ")}})}, []string{"cases[0].expect.checker.code"}},
		"the checker":      {job.Request{Code: "1", Cases: &job.CasesRequest{Checker: new(strings.Repeat("x", 101)), List: make([]job.CaseRequest, 1)}}, []string{"checker.code"}},
		"all checkers":     {job.Request{Code: "1", Cases: &job.CasesRequest{List: slices.Repeat([]job.CaseRequest{{Expect: job.ExpectRequest{Checker: new(strings.Repeat("x", 60))}}}, 2)}}, []string{"cases"}},
		"exact nothing":    {job.Request{Code: "1", Cases: one(job.CaseRequest{Expect: job.ExpectRequest{Exact: true}})}, []string{"cases[0].expect.exact"}},
		"exact, a checker": {job.Request{Code: "1", Cases: one(job.CaseRequest{Expect: job.ExpectRequest{Stdout: new("1"), Exact: true, Checker: new("1")}})}, []string{"cases[0].expect.exact"}},
		"a shell's argv":   {job.Request{Command: "ls", Cases: one(job.CaseRequest{Argv: []string{"a"}})}, []string{"cases[0].argv"}},
		"a NUL":            {job.Request{Code: "1", Cases: one(job.CaseRequest{Argv: []string{"\x00"}})}, []string{"cases[0].argv[0]"}},
		"a long name":      {job.Request{Code: "1", Cases: one(job.CaseRequest{Name: strings.Repeat("x", 201)})}, []string{"cases[0].name"}},
		"all input":        {job.Request{Code: "1", Cases: &job.CasesRequest{List: slices.Repeat([]job.CaseRequest{{Stdin: "123456"}}, 2)}}, []string{"cases"}},
		"all output":       {job.Request{Code: "1", Cases: &job.CasesRequest{List: slices.Repeat([]job.CaseRequest{{Expect: job.ExpectRequest{Stdout: new("123456")}}}, 2)}}, []string{"cases"}},
		"its files":        {job.Request{Code: "1", Files: []job.FileRequest{file("a", "1")}, Cases: one(job.CaseRequest{Files: []job.FileRequest{file("b", ""), file("c", "")}})}, []string{"cases[0].files"}},
		"a file twice":     {job.Request{Code: "1", Files: []job.FileRequest{file("a", "1")}, Cases: one(job.CaseRequest{Files: []job.FileRequest{file("a", "")}})}, []string{"cases[0].files[0].path"}},
		"a path":           {job.Request{Code: "1", Cases: one(job.CaseRequest{Files: []job.FileRequest{file("../a", "")}})}, []string{"cases[0].files[0].path"}},
		"all files":        {job.Request{Code: "1", Cases: &job.CasesRequest{List: slices.Repeat([]job.CaseRequest{{Files: []job.FileRequest{file("a", "123456")}}}, 2)}}, []string{"cases"}},
	} {
		_, err := l.Accept(tt.request, now)
		bad, ok := errors.AsType[*job.ValidationError](err)
		if !ok {
			t.Errorf("%s: accepted, or %v", name, err)
			continue
		}
		var fields []string
		for _, f := range bad.Fields {
			fields = append(fields, f.Field)
		}
		if !slices.Equal(fields, tt.fields) {
			t.Errorf("%s: refused %v, want %v: %v", name, fields, tt.fields, err)
		}
	}
	_, err := l.Accept(job.Request{Code: "1", Cases: &job.CasesRequest{List: slices.Repeat([]job.CaseRequest{{Timeout: new(0.0)}}, 500)}}, now)
	if bad, ok := errors.AsType[*job.ValidationError](err); !ok || len(bad.Fields) > 30 {
		t.Errorf("many errors: %v", err)
	}
}

// TestAcceptCasesAgain: limits of cases that the caller may not have any more are refused.
func TestAcceptCasesAgain(t *testing.T) {
	t.Parallel()
	n, err := limits().Accept(job.Request{Code: "1", Cases: &job.CasesRequest{List: []job.CaseRequest{{}, {Limits: job.QuotaRequest{"memoryBytes": float64(maxQuota().MemoryBytes)}}}}}, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := limits().AcceptAgain(n, now); err != nil {
		t.Error(err)
	}
	lower := limits()
	lower.MaxQuota.MemoryBytes--
	if _, err := lower.AcceptAgain(n, now); err == nil || !strings.Contains(err.Error(), "cases[1].limits.memoryBytes: was "+strconv.FormatInt(maxQuota().MemoryBytes, 10)) {
		t.Errorf("%v", err)
	}
}
