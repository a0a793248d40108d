package app_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

const batchesPath = "/v1/batches"

// ndjson writes a line for each value.
func ndjson(tb testing.TB, values ...any) string {
	tb.Helper()
	var b strings.Builder
	for _, v := range values {
		text, err := json.Marshal(v)
		if err != nil {
			tb.Fatal(err)
		}
		b.Write(text)
		b.WriteByte('\n')
	}
	return b.String()
}

// manyLines are the lines of a batch with n jobs, each with its number as its argument.
func manyLines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"code":"import sys; print(sys.argv[1])","args":["%d"]}`+"\n", i)
	}
	return b.String()
}

// batch sends one and returns the answer.
func (k *kaa) batch(query, body string, headers ...string) answer {
	k.tb.Helper()
	a := k.call(http.MethodPost, batchesPath+query, body, append([]string{"Content-Type: application/x-www-form-urlencoded"}, headers...)...)
	if a.status != http.StatusAccepted {
		k.tb.Fatalf("batch: %d %s", a.status, a.raw)
	}
	return a
}

// cutBatch sends a batch whose connection breaks off after these lines, and returns its id once it may go on.
func (k *kaa) cutBatch(query, lines string, headers ...string) string {
	k.tb.Helper()
	before := k.newestBatch()
	body, out := io.Pipe()
	req, err := http.NewRequestWithContext(k.tb.Context(), http.MethodPost, k.url+batchesPath+query, body)
	if err != nil {
		k.tb.Fatal(err)
	}
	if k.key != "" {
		req.Header.Set("Authorization", "Bearer "+k.key)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	go func() {
		_, _ = io.WriteString(out, lines)
		_ = out.CloseWithError(io.ErrClosedPipe)
	}()
	if a, err := k.read(req); err == nil {
		k.tb.Fatalf("a batch that was cut off is answered with %d %s", a.status, a.raw)
	}
	var b sentBatch
	testenv.Eventually(k.tb, "the batch has what was sent", func() bool {
		b = k.newestBatch()
		return b.ID != before.ID && b.Received.Lines == strings.Count(lines, "\n") &&
			k.redis.Client(k.tb).Exists(k.tb.Context(), "{kaa}:batch:"+b.ID+":writer").Val() == 0
	})
	return b.ID
}

// sentBatch is what cutBatch looks at.
type sentBatch struct {
	ID       string
	Received struct{ Lines int }
}

// newestBatch returns the batch that was begun last, if there is one.
func (k *kaa) newestBatch() sentBatch {
	k.tb.Helper()
	var list struct{ Batches []sentBatch }
	if err := json.Unmarshal([]byte(k.call(http.MethodGet, batchesPath+"?limit=1", nil).raw), &list); err != nil {
		k.tb.Fatal(err)
	}
	if len(list.Batches) == 0 {
		return sentBatch{}
	}
	return list.Batches[0]
}

// awaitBatch returns a batch once its state is one of these.
func (k *kaa) awaitBatch(id string, states ...string) answer {
	k.tb.Helper()
	ctx, cancel := context.WithTimeout(k.tb.Context(), 2*time.Minute)
	defer cancel()
	messages := k.redis.Client(k.tb).Subscribe(ctx, "{kaa}:batch:"+id)
	defer messages.Close()
	if _, err := messages.Receive(ctx); err != nil {
		k.tb.Fatal(err)
	}
	for {
		a := k.call(http.MethodGet, batchesPath+"/"+id, nil)
		for _, s := range states {
			if a.str("state") == s {
				return a
			}
		}
		if _, err := messages.ReceiveMessage(ctx); err != nil {
			k.tb.Fatalf("%v; the batch is %s", err, a.raw)
		}
	}
}

// TestBatchOfLines: jobs in lines, defaults for all, a bad line, and what is seen of it.
func TestBatchOfLines(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	header := fields{"batch": fields{"name": "numbers", "badLines": "skip", "defaults": fields{"code": "import sys; print(sys.argv[1])", "metadata": fields{"of": "all"}}}}
	body := ndjson(t, header, fields{"args": []string{"zero"}}) + "\n" + ndjson(t,
		fields{"args": []string{"1"}, "timeout": "soon"},
		fields{"args": []string{"two"}, "metadata": fields{"of": "two"}},
		fields{"code": "1/0"}) + "{\n" + `{"code":"exit(3)"}`
	made := k.batch("", body)
	id := made.str("id")
	if !job.IsBatchID(id) || made.header.Get("Location") != batchesPath+"/"+id || made.str("name") != "numbers" ||
		made.str("received.lines") != "8" || made.str("received.jobs") != "6" {
		t.Errorf("accepted: %s", made.raw)
	}
	b := k.awaitBatch(id, "completed")
	for name, want := range map[string]string{"waiting": "0", "running": "0", "completed": "4", "ok": "2", "error": "1", "exit": "1", "interrupted": "0", "failed": "0", "refused": "2"} {
		if got := b.str("jobs." + name); got != want {
			t.Errorf("%s jobs are %s, want %s: %s", got, name, want, b.raw)
		}
	}
	var view struct{ Refusals []job.BatchRefusal }
	if err := json.Unmarshal([]byte(b.raw), &view); err != nil || len(view.Refusals) != 2 || view.Refusals[0].Line != 4 || view.Refusals[0].Index != 1 ||
		!strings.Contains(view.Refusals[0].Message, "timeout") || view.Refusals[1].Line != 7 || !strings.Contains(view.Refusals[1].Message, "JSON") {
		t.Errorf("refused lines: %s", b.raw)
	}
	two := k.call(http.MethodGet, "/v1/jobs/"+job.BatchJobID(id, 2), nil)
	if two.str("result.stdout") != "two\n" || two.str("metadata.of") != "two" || two.str("batchId") != id || two.str("batchIndex") != "2" {
		t.Errorf("a job of it: %s", two.raw)
	}
	if zero := k.call(http.MethodGet, "/v1/jobs/"+job.BatchJobID(id, 0), nil); zero.str("metadata.of") != "all" {
		t.Errorf("a job with the defaults: %s", zero.raw)
	}
	if refused := k.call(http.MethodGet, "/v1/jobs/"+job.BatchJobID(id, 1), nil); refused.status != http.StatusNotFound {
		t.Errorf("the job of a refused line: %d %s", refused.status, refused.raw)
	}
	if list := k.call(http.MethodGet, batchesPath, nil); !strings.Contains(list.raw, id) {
		t.Errorf("list: %s", list.raw)
	}
	if a := k.call(http.MethodDelete, batchesPath+"/"+id, nil); a.status != http.StatusConflict || a.str("code") != "already_finished" {
		t.Errorf("cancel of one that has ended: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodDelete, batchesPath+"/"+id+"/record", nil); a.status != http.StatusNoContent {
		t.Errorf("delete: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodGet, batchesPath+"/"+id, nil); a.status != http.StatusNotFound {
		t.Errorf("after its deletion: %d %s", a.status, a.raw)
	}
}

// TestBatchWaits: the jobs of a batch that have no record yet are jobs like others. Nothing is left of a batch
// that is cancelled.
func TestBatchWaits(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_BATCH_AHEAD=10")
	const n = 1203
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := io.WriteString(z, manyLines(n)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	id := k.batch("?name=many&queue=low", packed.String(), "Content-Encoding: gzip").str("id")
	rdb := k.redis.Client(t)
	// Two chunks of 500 are fed at the least: the first, since none waits, and no further one.
	last := job.BatchJobID(id, n-1)
	if rdb.Exists(t.Context(), "{kaa}:job:"+last).Val() != 0 {
		t.Error("the last job has a record")
	}
	waiting := k.call(http.MethodGet, "/v1/jobs/"+last, nil)
	if waiting.str("state") != "queued" || waiting.str("queue") != "low" || waiting.str("batchId") != id || waiting.str("waitsFor") != "key" {
		t.Errorf("the last job: %d %s", waiting.status, waiting.raw)
	}
	if a := k.call(http.MethodDelete, "/v1/jobs/"+last+"/record", nil); a.status != http.StatusConflict {
		t.Errorf("deletion of a waiting job: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodDelete, "/v1/jobs/"+last, nil); a.status != http.StatusOK || a.str("state") != "cancelled" {
		t.Errorf("cancel of a waiting job: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodDelete, "/v1/jobs/"+last, nil); a.status != http.StatusConflict {
		t.Errorf("second cancel: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodGet, "/v1/jobs/"+last, nil); a.str("state") != "cancelled" || a.str("failure.code") != "cancelled" {
		t.Errorf("the cancelled job: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodGet, "/v1/jobs/"+job.BatchJobID(id, n), nil); a.status != http.StatusNotFound {
		t.Errorf("an index beyond the end: %d %s", a.status, a.raw)
	}
	b := k.call(http.MethodGet, batchesPath+"/"+id, nil)
	if b.str("jobs.waiting") != fmt.Sprint(n-1) || b.str("jobs.cancelled") != "1" || b.str("state") != "running" {
		t.Errorf("the batch: %s", b.raw)
	}
	if a := k.call(http.MethodDelete, batchesPath+"/"+id, nil); a.status != http.StatusAccepted {
		t.Errorf("cancel: %d %s", a.status, a.raw)
	}
	b = k.awaitBatch(id, "cancelled")
	if b.str("jobs.cancelled") != fmt.Sprint(n) || b.str("jobs.waiting") != "0" {
		t.Errorf("cancelled: %s", b.raw)
	}
	if keys := rdb.Keys(t.Context(), "{kaa}:batch:"+id+":chunk*").Val(); len(keys) > 0 {
		t.Errorf("left: %v", keys)
	}
	if a := k.call(http.MethodDelete, batchesPath+"/"+id+"/record", nil); a.status != http.StatusNoContent {
		t.Errorf("delete: %d %s", a.status, a.raw)
	}
	if keys := rdb.Keys(t.Context(), "{kaa}:batch*").Val(); len(keys) > 1 {
		t.Errorf("left: %v", keys)
	}
}
