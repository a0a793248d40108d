package job

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxCases is the largest number of cases of a job.
	MaxCases = 1000
	// maxCaseFiles is the largest number of files of all cases together, if that of a request is not larger.
	maxCaseFiles = 1000
	maxCaseName  = 200 // bytes
	maxExitCode  = 255
	// defaultCaseTime is the time limit of a case where the request has none.
	defaultCaseTime = 10 * time.Second
	// maxCaseErrors bounds the errors that are reported of the cases of a request.
	maxCaseErrors = 20
	// codeOfCases is what a runner of an earlier release executes instead of cases, which it does not know.
	codeOfCases = `raise NotImplementedError("the runner that took this is of an earlier release of Kaa and cannot run cases; update it and send the job again")`
)

// CasesRequest asks for runs of the program for cases.
type CasesRequest struct {
	List               []CaseRequest
	Timeout            *float64 // seconds, of one case
	Checker            *string  // code
	StopAtFirstFailure bool
}

// CaseRequest is a case as a caller sends it.
type CaseRequest struct {
	Name    string
	Stdin   string
	Argv    []string
	Files   []FileRequest
	Timeout *float64 // seconds
	Limits  QuotaRequest
	Expect  ExpectRequest
}

// ExpectRequest is what a caller expects of a case.
type ExpectRequest struct {
	Stdout   *string
	Exact    bool
	ExitCode *int
	Checker  *string // code
}

// caseCheck is the state of the check of a request's cases.
type caseCheck struct {
	l     Limits
	v     *validation
	r     *Request
	quota Quota
	most  time.Duration // the timeout of the job
	usual time.Duration // that of a case without one of its own

	stdin, expected, checkers int // bytes of all cases
}

// cases checks the cases of a request; nil if it has none. quota and timeout are those of the request.
func (l Limits) cases(v *validation, r *Request, command *Command, quota Quota, timeout time.Duration) *Cases {
	c := r.Cases
	if c == nil {
		return nil
	}
	if !r.checkCases(v) {
		return nil
	}
	k := caseCheck{l: l, v: v, r: r, quota: quota, most: timeout}
	k.usual = v.seconds("caseTimeout", c.Timeout, minTimeout, l.MaxTimeout, min(defaultCaseTime, timeout))
	all := &Cases{Command: command, StopAtFirstFailure: c.StopAtFirstFailure, List: make([]Case, 0, len(c.List))}
	if command == nil {
		all.Code = r.Code
	}
	all.Checker = k.checker("checker.code", c.Checker)
	before := len(v.fields)
	for i := range c.List {
		all.List = append(all.List, k.one(i))
		if len(v.fields)-before >= maxCaseErrors {
			break
		}
	}
	k.checkSums()
	return all
}

// checkCases checks what goes together with cases. It returns whether to look at them.
func (r *Request) checkCases(v *validation) bool {
	const alone = "cannot be combined with cases, each of which has a fresh sandbox"
	for _, other := range []struct {
		field string
		given bool
		why   string
	}{
		{"sessionId", r.SessionID != "", alone},
		{"stdin", r.Stdin != "", "cannot be combined with cases; send stdin in each case"},
		{"functions", len(r.Functions) > 0, "cannot be combined with cases, whose program has no caller to call"},
	} {
		if other.given {
			v.add(other.field, "%s", other.why)
		}
	}
	switch n := len(r.Cases.List); {
	case r.Cases.List == nil:
		v.add("cases", "is missing; checker, caseTimeout and stopAtFirstFailure are for cases")
		return false
	case n == 0:
		v.add("cases", "is empty; send at least one case, or leave it out to run the program once")
		return false
	case n > MaxCases:
		v.add("cases", "has %d cases, the limit is %d; send the rest as another job", n, MaxCases)
		return false
	}
	return true
}

// one checks the i-th case.
func (k *caseCheck) one(i int) Case {
	r := &k.r.Cases.List[i]
	var own validation
	c := Case{Name: r.Name, Stdin: r.Stdin, Argv: r.Argv, Expect: Expect{Stdout: r.Expect.Stdout, Exact: r.Expect.Exact, ExitCode: r.Expect.ExitCode}}
	if c.Name == "" {
		c.Name = strconv.Itoa(i + 1)
	}
	if len(c.Name) > maxCaseName {
		own.add("name", "is %d bytes long, the limit is %d", len(c.Name), maxCaseName)
	}
	if len(r.Argv) > 0 && k.r.Command != "" {
		own.add("argv", `is not for a shell line; send the program as argv ["sh", "-c", "…", "sh"], and the line finds them as $1, $2 and so on`)
	}
	k.l.checkArguments(&own, "argv", joined(joined(k.r.Argv, k.r.Program), r.Argv))
	c.Timeout = own.seconds("timeout", r.Timeout, minTimeout, k.l.MaxTimeout, k.usual)
	c.Timeout = min(c.Timeout, k.most)
	if len(r.Limits) > 0 {
		limits := k.l
		limits.DefaultQuota = k.quota
		q := limits.quota(&own, r.Limits).withoutCalls()
		c.Quota = &q
	}
	if code := r.Expect.ExitCode; code != nil && (*code < 0 || *code > maxExitCode) {
		own.add("expect.exitCode", "must be from 0 to %d; it is 128 + n if signal n ended the program", maxExitCode)
	}
	var checker validation
	c.Expect.Checker = (&caseCheck{l: k.l, v: &checker}).checker("expect.checker.code", r.Expect.Checker)
	own.fields = append(own.fields, checker.fields...)
	switch {
	case !r.Expect.Exact:
	case r.Expect.Stdout == nil:
		own.add("expect.exact", "is for expect.stdout, which is missing")
	case c.Expect.Checker != "" || k.r.Cases.Checker != nil:
		own.add("expect.exact", "has no effect with a checker, which judges the output; leave it out")
	}
	k.stdin += len(c.Stdin)
	if c.Expect.Stdout != nil {
		k.expected += len(*c.Expect.Stdout)
	}
	k.checkers += len(c.Expect.Checker)
	for _, f := range own.fields {
		k.v.add(fmt.Sprintf("cases[%d].%s", i, f.Field), "%s", f.Message)
	}
	return c
}

// checker checks the code of a checker; empty if there is none.
func (k *caseCheck) checker(field string, code *string) string {
	if code == nil {
		return ""
	}
	var own validation
	text := strings.TrimPrefix(*code, "\ufeff")
	k.l.checkCode(&own, Request{Code: text})
	for _, f := range own.fields {
		k.v.add(field, "%s", f.Message)
	}
	return text
}

func (k *caseCheck) checkSums() {
	if k.stdin > k.l.MaxStdinBytes {
		k.v.add("cases", "have %d bytes of stdin in all, the limit is %d; send large inputs as files, or several jobs", k.stdin, k.l.MaxStdinBytes)
	}
	if k.expected > k.l.MaxStdinBytes {
		k.v.add("cases", "have %d bytes of expect.stdout in all, the limit is %d; send several jobs", k.expected, k.l.MaxStdinBytes)
	}
	if k.checkers > k.l.MaxCodeBytes {
		k.v.add("cases", "have %d bytes of checkers in all, the limit is %d; send one checker for all cases as checker", k.checkers, k.l.MaxCodeBytes)
	}
}

// caseInputs checks the files of the cases, which come after those of all cases. disk is the room of a case without limits
// of its own.
func (l Limits) caseInputs(v *validation, r *Request, cases *Cases, common []Input, disk int64) ([]Input, Contents) {
	var inputs []Input
	var contents Contents
	paths := map[string]bool{}
	var size, blocks int64
	for _, f := range common {
		claimPath(new(validation), "", paths, f.Path) // inputs has checked them
		size += f.Size
		blocks += Footprint(f.Size)
	}
	for i := range cases.List {
		files := r.Cases.List[i].Files
		if len(files) == 0 {
			continue
		}
		if len(common)+len(files) > l.MaxInputs {
			v.add(fmt.Sprintf("cases[%d].files", i), "has %d files with those of all cases, the limit is %d", len(common)+len(files), l.MaxInputs)
			return nil, nil
		}
		own, ownBlocks := maps.Clone(paths), blocks
		for n, f := range files {
			field := fmt.Sprintf("cases[%d].files[%d]", i, n)
			content := f.content(v, field)
			size += int64(len(content))
			ownBlocks += Footprint(int64(len(content)))
			if checkInputPath(v, field+".path", f.Path) {
				claimPath(v, field+".path", own, f.Path)
			}
			inputs, contents = append(inputs, Input{Path: f.Path, Size: int64(len(content)), Case: i + 1}), append(contents, content)
		}
		room := disk
		if q := cases.List[i].Quota; q != nil {
			room = q.DiskBytes
		}
		if ownBlocks > room {
			v.add(fmt.Sprintf("cases[%d].files", i), "does not fit into limits.diskBytes, which is %d", room)
		}
	}
	if most := max(l.MaxInputs, maxCaseFiles); len(common)+len(inputs) > most {
		v.add("cases", "have %d files in all, the limit is %d; send several jobs", len(common)+len(inputs), most)
	}
	if size > l.MaxInputBytes {
		v.add("cases", "have %d bytes of files in all, with those of all cases, the limit is %d; send several jobs", size, l.MaxInputBytes)
	}
	return inputs, contents
}

// acceptAgain checks the limits of the cases of a request that was accepted before.
func (s *Cases) acceptAgain(v *validation, l Limits) {
	for i := range s.List {
		q := s.List[i].Quota
		if q == nil {
			continue
		}
		for _, row := range limitTable {
			if !row.IsZero(&l.MaxQuota) && row.Less(&l.MaxQuota, q) {
				v.add(fmt.Sprintf("cases[%d].%s", i, row.path()), "was %s, and is at most %s now%s", row.Number(q), row.Number(&l.MaxQuota), l.ownCeiling(row.Name))
			}
		}
	}
}
