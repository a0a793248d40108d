package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// TestEncode: what is written piece by piece is what encoding/json makes of it.
func TestEncode(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("aé\x00\n\"<&>\u2028\xff\U0001f600", 10_000)
	full := job.Result{
		Status: job.StatusError, Stdout: long, Stderr: "x" + long, ExitCode: new(1), Error: &job.Error{Name: "E", Value: long},
		Truncated: &job.Truncated{Stdout: 1}, ResultsDropped: 2, Notices: []job.Notice{{}},
		Results: []job.Value{{
			Main: true, Data: map[string]json.RawMessage{"text/plain": json.RawMessage(`"1<2"`), "a/b": json.RawMessage(`{"a":[1,2]}`), "é\"": nil},
			Omitted: map[string]int64{"b": 2, "a": 1}, Truncated: &job.Table{Rows: &job.Part{Shown: 1, Total: 2}}, Errors: map[string]string{"a": "b"},
		}, {}},
		DurationMs: 1.5e-9, CPUMs: 1e30, Files: []job.File{}, Session: &job.SessionAfter{}, FilesDropped: &job.FilesDropped{Count: 1},
	}
	full.Expand()
	finished := job.Job{
		ID: "i", State: job.Completed, CreatedAt: time.Unix(1, 2), FinishedAt: time.Unix(3, 4), Metadata: json.RawMessage(`{"a":1.50}`),
		Webhook: &job.Webhook{URL: "https://a?b&c"}, Failure: &job.Failure{Code: "c", Message: "<m>"}, Result: &full,
	}
	list := new(listOutput)
	list.Body.Jobs = []JobView{viewOf(finished), viewOf(job.Job{})}
	batch := new(batchOutput)
	batch.Body.Jobs = []batchEntry{{problem: badRequest("<b>", FieldIssue{"l", "m"})}, {job: &list.Body.Jobs[1]}}
	for name, v := range map[string]any{
		"result": &full, "job": viewOf(finished), "nothing": job.Result{}, "list": list.Body, "batch": batch.Body, "nil": nil, "null": (*job.Result)(nil),
		"problem": badRequest("d"), "string": long, "map": map[string]string{long: long}, "an empty list": []string{}, "no list": []string(nil), "number": 1,
	} {
		var want, got bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
		if err := encode(&got, v); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got.String() != want.String() {
			at := 0
			for at < min(got.Len(), want.Len()) && got.Bytes()[at] == want.Bytes()[at] {
				at++
			}
			t.Errorf("%s: from %d on\n%.200q\nwant\n%.200q", name, at, got.Bytes()[max(0, at-20):], want.Bytes()[max(0, at-20):])
		}
	}
}

// TestEncodeStopsWithItsReader: nothing is made for somebody who has gone.
func TestEncodeStopsWithItsReader(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	_ = r.Close()
	if err := encode(w, &job.Result{Stdout: strings.Repeat("a", 1<<20)}); err == nil {
		t.Error("no error")
	}
}

// TestEncodeHoldsLittle: an answer of 36 MB is not made in memory.
//
//nolint:paralleltest // it looks at the memory of the process
func TestEncodeHoldsLittle(t *testing.T) {
	r := &job.Result{Stdout: strings.Repeat("\x00", 1<<20), Stderr: strings.Repeat("\x00", 1<<20), Results: []job.Value{{
		Data: map[string]json.RawMessage{"text/plain": json.RawMessage(`"` + strings.Repeat("a", 12<<20) + `"`)},
	}}}
	r.Expand()
	w := new(watchedWriter)
	runtime.GC()
	before := heap()
	if err := encode(w, r); err != nil {
		t.Fatal(err)
	}
	if w.n < 36<<20 {
		t.Errorf("%d bytes only", w.n)
	}
	if w.most > before+4<<20 {
		t.Errorf("%d bytes more at once", w.most-before)
	}
}

// watchedWriter looks at the heap after each megabyte.
type watchedWriter struct {
	n, looked int
	most      uint64
}

func (w *watchedWriter) Write(p []byte) (int, error) {
	if w.n += len(p); w.n-w.looked > 1<<20 {
		w.looked = w.n
		runtime.GC()
		w.most = max(w.most, heap())
	}
	return len(p), nil
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestPagesAreEncodedAtOnce: a page of small jobs costs no more allocations than it has jobs, and some; one with much metadata is written in pieces.
func TestPagesAreEncodedAtOnce(t *testing.T) { //nolint:paralleltest // it counts allocations
	page := func(jobs int, metadata string) listBody {
		var l listBody
		for range jobs {
			l.Jobs = append(l.Jobs, JobView{ID: "i", State: job.Queued, CreatedAt: time.Unix(1, 2), Metadata: object(metadata)})
		}
		return l
	}
	small := page(50, `{"a":1}`)
	if n := testing.AllocsPerRun(10, func() {
		if err := marshal(io.Discard, small); err != nil {
			t.Error(err)
		}
	}); n > 400 {
		t.Errorf("a page of 50 jobs takes %.0f allocations", n)
	}
	for size, l := range map[string]listBody{"many": page(500, `{}`), "much": page(5, `{"a":"`+strings.Repeat("b", 16<<10)+`"}`)} {
		if !isLargePage(l.Jobs) {
			t.Errorf("a page with %s is made in memory", size)
		}
		var at, once bytes.Buffer
		if err := errors.Join(marshal(&at, l), json.NewEncoder(&once).Encode(l)); err != nil || at.String() != once.String() {
			t.Errorf("a page with %s is encoded otherwise: %v", size, err)
		}
	}
}
