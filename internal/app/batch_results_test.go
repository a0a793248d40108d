package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

// batchLine is any line of the results of a batch.
type batchLine struct {
	Index                       *int64
	JobID, State, Status, Error string
	Cursor, End, Code           string
	Expired                     bool
	Line                        int64
	Result                      *struct{ Stdout string }
	Failure                     *job.Failure
}

// results reads the results of a batch: the lines, and the last one, whose End is empty if the reading was cut off
// after so many lines; 0 is no cut.
func (k *kaa) results(id, query string, cut int) (lines []batchLine, last batchLine) {
	k.tb.Helper()
	ctx, cancel := context.WithCancel(k.tb.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url+batchesPath+"/"+id+"/results"+query, nil)
	if err != nil {
		k.tb.Fatal(err)
	}
	if k.key != "" {
		req.Header.Set("Authorization", "Bearer "+k.key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		k.tb.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/x-ndjson" {
		text, _ := io.ReadAll(res.Body)
		k.tb.Fatalf("results%s: %s %s", query, res.Status, text)
	}
	text := bufio.NewReader(res.Body)
	for cut == 0 || len(lines) < cut {
		raw, err := text.ReadString('\n')
		if err != nil {
			k.tb.Fatalf("results%s end without a last line, after %d: %v", query, len(lines), err)
		}
		if raw == "\n" {
			continue
		}
		var l batchLine
		if err := json.Unmarshal([]byte(raw), &l); err != nil {
			k.tb.Fatalf("%q: %v", raw, err)
		}
		if l.End != "" {
			return lines, l
		}
		lines = append(lines, l)
	}
	return lines, batchLine{}
}

// indexes are those of lines.
func indexes(lines []batchLine) (all []int64) {
	for _, l := range lines {
		all = append(all, *l.Index)
	}
	return all
}

// TestBatchResults: a line for each job and each refused line, by submission and completion, filtered, from a cursor on, and
// when records are gone.
func TestBatchResults(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	const large = 200_000
	id := k.batch("?badLines=skip", ndjson(t, fields{"code": "print('a')"}, fields{"code": ""}, fields{"code": "1/0"},
		fields{"code": fmt.Sprintf("print('x' * %d)", large)}, fields{"code": "exit(3)"})).str("id")
	k.awaitBatch(id, "completed")
	lines, last := k.results(id, "", 0)
	if last.End != "all" || !slices.Equal(indexes(lines), []int64{0, 1, 2, 3, 4}) {
		t.Fatalf("%+v %+v", lines, last)
	}
	if l := lines[0]; l.JobID != job.BatchJobID(id, 0) || l.State != "completed" || l.Status != "ok" || l.Result == nil || l.Result.Stdout != "a\n" {
		t.Errorf("the first: %+v", l)
	}
	if l := lines[1]; l.State != "refused" || l.JobID != "" || l.Line != 2 || !strings.Contains(l.Error, "code") || l.Result != nil {
		t.Errorf("a refused line: %+v", l)
	}
	if l := lines[3]; l.Result == nil || len(l.Result.Stdout) != large+1 {
		t.Error("a large result is not whole")
	}
	ended, last := k.results(id, "?order=completion", 0)
	if got := indexes(ended); last.End != "all" || got[0] != 1 || !slices.Equal(slices.Sorted(slices.Values(got)), []int64{0, 1, 2, 3, 4}) {
		t.Errorf("by completion: %v %+v", got, last)
	}
	for query, want := range map[string][]int64{
		"?status=error": {2}, "?status=error,exit": {2, 4}, "?state=refused": {1}, "?state=failed,refused&status=ok": {0, 1, 3}, "?state=cancelled": nil,
		"?cursor=" + lines[1].Cursor: {2, 3, 4}, "?status=ok&cursor=" + lines[1].Cursor: {3}, "?cursor=" + lines[4].Cursor: nil, "?follow=true&status=exit": {4},
	} {
		if got, last := k.results(id, query, 0); last.End != "all" || !slices.Equal(indexes(got), want) {
			t.Errorf("%s: %v %+v, want %v", query, indexes(got), last, want)
		}
	}
	other := k.batch("", `{"code":"1"}`).str("id")
	for _, query := range []string{"?cursor=x", "?cursor=AAAAAAAAAAA", "?order=completion&cursor=" + lines[1].Cursor, "?cursor=" + lines[1].Cursor + "%3D"} {
		if a := k.call(http.MethodGet, batchesPath+"/"+id+"/results"+query, nil); a.status != http.StatusBadRequest || !strings.Contains(a.raw, "query.cursor") {
			t.Errorf("%s: %d %s", query, a.status, a.raw)
		}
	}
	if a := k.call(http.MethodGet, batchesPath+"/"+other+"/results?cursor="+lines[1].Cursor, nil); a.status != http.StatusBadRequest {
		t.Errorf("a cursor of another batch: %d %s", a.status, a.raw)
	}
	for _, i := range []int64{2, 3} {
		if a := k.call(http.MethodDelete, "/v1/jobs/"+job.BatchJobID(id, i)+"/record", nil); a.status != http.StatusNoContent {
			t.Fatalf("%d %s", a.status, a.raw)
		}
	}
	lines, _ = k.results(id, "", 0)
	if l := lines[2]; len(lines) != 5 || !l.Expired || l.State != "completed" || l.Status != "error" || l.Result != nil || lines[0].Expired {
		t.Errorf("a job without its record: %+v", lines)
	}
}

// TestBatchResultsFollow: a reader that follows a batch and is cut off goes on after its last line. It gets each job
// once, in both orders.
func TestBatchResultsFollow(t *testing.T) {
	t.Parallel()
	const n, long = 120, 50
	k := start(t, 2)
	var jobs strings.Builder
	for i := range n {
		if i == long { // the others go past it
			jobs.WriteString(`{"code":"import time; time.sleep(3000)","timeout":3000}` + "\n")
			continue
		}
		fmt.Fprintf(&jobs, `{"code":"print(%d)"}`+"\n", i)
	}
	id := k.batch("", jobs.String()).str("id")
	read := func(order, cursor string, cut int) []batchLine {
		lines, _ := k.results(id, "?follow=true&order="+order+"&cursor="+cursor, cut)
		return lines
	}
	byEnd := read("completion", "", 60)
	byEnd = append(byEnd, read("completion", byEnd[59].Cursor, n-1-60)...)
	byIndex := read("submission", "", 30)
	byIndex = append(byIndex, read("submission", byIndex[29].Cursor, long-30)...)
	if lines, last := k.results(id, "?cursor="+byIndex[long-1].Cursor, 0); len(lines) > 0 || last.End != "unfinished" || last.Cursor != byIndex[long-1].Cursor {
		t.Errorf("before the end of job %d: %+v %+v", long, lines, last)
	}
	if a := k.call(http.MethodDelete, "/v1/jobs/"+job.BatchJobID(id, long), nil); a.status/100 != 2 {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	byEnd = append(byEnd, read("completion", byEnd[n-2].Cursor, 0)...)
	byIndex = append(byIndex, read("submission", byIndex[long-1].Cursor, 0)...)
	want := make([]int64, n)
	for i := range want {
		want[i] = int64(i)
	}
	if got := indexes(byIndex); !slices.Equal(got, want) {
		t.Errorf("by submission: %v", got)
	}
	if got := indexes(byEnd); got[n-1] != long || !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("by completion: %v", got)
	}
}
