package app_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

// TestBatchGoesOn: a batch whose connection broke off goes on, by its key or by its id, and each job runs once.
func TestBatchGoesOn(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	all := manyLines(12)
	after := func(n int) string { return strings.Join(strings.SplitAfter(all, "\n")[n:], "") }
	complete := func(id string) {
		t.Helper()
		b := k.awaitBatch(id, "completed")
		if b.str("jobs.ok") != "12" || b.str("received.lines") != "12" {
			t.Errorf("the batch: %s", b.raw)
		}
		if a := k.call(http.MethodGet, "/v1/jobs/"+job.BatchJobID(id, 11), nil); a.str("result.stdout") != "11\n" {
			t.Errorf("its last job: %s", a.raw)
		}
	}
	first := strings.TrimSuffix(all, after(5))
	// By its key: all is sent again.
	id := k.cutBatch("", first, "Idempotency-Key: one")
	if a := k.call(http.MethodPost, batchesPath, "{}\n"+all, "Idempotency-Key: one"); a.status != http.StatusConflict || a.str("code") != "idempotency_mismatch" {
		t.Errorf("other lines with the same key: %d %s", a.status, a.raw)
	}
	if a := k.batch("", all, "Idempotency-Key: one"); a.str("id") != id || a.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("the rest: %s", a.raw)
	}
	if a := k.batch("", all, "Idempotency-Key: one"); a.str("id") != id || a.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("once more: %s", a.raw)
	}
	for name, body := range map[string]string{"more lines": all + "{}\n", "fewer lines": first} {
		if a := k.call(http.MethodPost, batchesPath, body, "Idempotency-Key: one"); a.status != http.StatusConflict || a.str("code") != "idempotency_mismatch" {
			t.Errorf("%s with the same key: %d %s", name, a.status, a.raw)
		}
	}
	if a := k.call(http.MethodPost, batchesPath+"?name=other", all, "Idempotency-Key: one"); a.status != http.StatusConflict {
		t.Errorf("another query with the same key: %d %s", a.status, a.raw)
	}
	complete(id)
	// By its id: the rest is sent.
	id = k.cutBatch("?badLines=skip", first)
	lines := batchesPath + "/" + id + "/lines?from="
	if a := k.call(http.MethodPost, lines+"4", after(4)); a.status != http.StatusConflict || a.str("code") != "wrong_line" || a.str("depth") != "5" {
		t.Errorf("from another line: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodPost, lines+"5", after(5)); a.status != http.StatusAccepted {
		t.Errorf("the rest: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodPost, lines+"12", all); a.status != http.StatusConflict || a.str("code") != "batch_closed" {
		t.Errorf("more of a complete batch: %d %s", a.status, a.raw)
	}
	complete(id)
	// Another request sends it.
	id = k.cutBatch("", first, "Idempotency-Key: two")
	k.redis.Client(t).Set(t.Context(), "{kaa}:batch:"+id+":writer", "another", 0)
	if a := k.call(http.MethodPost, batchesPath, all, "Idempotency-Key: two"); a.status != http.StatusConflict || a.str("code") != "batch_busy" {
		t.Errorf("beside another request: %d %s", a.status, a.raw)
	}
}

// TestBadBatches: a batch with a line that describes no job leaves nothing behind, unless such lines are left out.
func TestBadBatches(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_MAX_BATCH_JOBS=3", "KAA_MAX_BATCH_LINE_BYTES=100", "KAA_MAX_BATCH_BYTES=1000", "KAA_MAX_BATCHES_PER_KEY=1")
	const good = `{"code":"1"}` + "\n"
	for name, tt := range map[string]struct {
		body   string
		status int
		want   string
	}{
		"in the middle":       {good + `{"code":1}` + "\n" + good, 400, "line 2: body.code: expected string"},
		"no JSON":             {good + good + "{\n", 400, "line 3: not JSON"},
		"an array":            {"[]\n", 400, "line 1: "},
		"unknown field":       {`{"code":"1","cod":2}`, 400, "line 1: body.cod: unknown field"},
		"no code":             {good + "{}", 400, "line 2: body.code: is empty"},
		"not UTF-8":           {`{"code":"` + "\xff" + `"}`, 400, "line 1: is not valid UTF-8"},
		"too long":            {`{"code":"` + strings.Repeat("1", 200) + `"}` + "\n" + good, 400, "line 1: is longer than 100 bytes"},
		"session":             {`{"code":"1","sessionId":"01a00000-0000-7000-8000-000000000000"}`, 400, "sessionId: is not for jobs of a batch"},
		"delay":               {`{"code":"1","delay":1}`, 400, "delay: is not for jobs of a batch"},
		"files":               {`{"code":"1","files":[{"path":"a","content":""}]}`, 400, "files: is not for jobs of a batch"},
		"header":              {`{"batch":{"defaults":{"cod":"1"}}}` + "\n" + good, 400, "line 1: "},
		"header with more":    {`{"batch":{},"code":"1"}` + "\n" + good, 400, "line 1: "},
		"header alone":        {`{"batch":{"name":"a"}}` + "\n", 400, "has no jobs"},
		"nothing":             {"", 400, "has no jobs"},
		"blank":               {"\n \n", 400, "has no jobs"},
		"too many":            {strings.Repeat(good, 4), 413, "at most 3 jobs"},
		"too large":           {good + strings.Repeat("\n", 1000), 413, "larger than 1000 bytes"},
		"beginning like gzip": {"\x1f\x8b" + good, 400, "not valid gzip"},
	} {
		a := k.call(http.MethodPost, batchesPath, tt.body)
		if a.status != tt.status || !strings.Contains(a.str("detail"), tt.want) {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
		if list := k.call(http.MethodGet, batchesPath, nil); list.raw != `{"batches":[]}`+"\n" {
			t.Fatalf("%s: left: %s", name, list.raw)
		}
	}
	if keys := k.redis.Client(t).Keys(t.Context(), "{kaa}:batch*").Val(); len(keys) > 1 { // the process that feeds
		t.Errorf("left: %v", keys)
	}
	if n := k.redis.Client(t).HLen(t.Context(), "{kaa}:bytes").Val(); n > 1 {
		t.Errorf("bytes are held: %v", k.redis.Client(t).HGetAll(t.Context(), "{kaa}:bytes").Val())
	}
	id := k.batch("?badLines=skip", good+"{}\n"+good).str("id")
	if b := k.call(http.MethodGet, batchesPath+"/"+id, nil); b.str("jobs.waiting") != "2" || b.str("jobs.refused") != "1" {
		t.Errorf("with bad lines left out: %s", b.raw)
	}
	if a := k.call(http.MethodPost, batchesPath, good); a.status != http.StatusTooManyRequests || a.str("code") != "too_many_batches" {
		t.Errorf("one batch too many: %d %s", a.status, a.raw)
	}
}

// TestBatchGivenUp: a batch that is not continued ends, and jobs run only if bad lines are left out.
func TestBatchGivenUp(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{"": "cancelled", "?badLines=skip": "completed"} {
		k := start(t, 1)
		id := k.cutBatch(query, manyLines(3))
		k.redis.Client(t).HSet(t.Context(), "{kaa}:batch:"+id, "received_at", 1) // long ago
		b := k.awaitBatch(id, "failed")
		if b.str("jobs."+want) != fmt.Sprint(3) || b.str("failure.code") != "incomplete" {
			t.Errorf("%q: %s", query, b.raw)
		}
	}
}

// TestBatchDamagedGzip: a compressed body that is damaged on the way is answered with the line at which it breaks off. The lines before stand, and the
// rest can be sent.
func TestBatchDamagedGzip(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	const n = 2000
	all := manyLines(n)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	for i, line := range strings.SplitAfter(all, "\n") {
		_, _ = z.Write([]byte(line)) // a buffer takes all
		if i == n/2 {
			_ = z.Flush()
		}
	}
	whole := packed.Len() / 2
	_ = z.Close()
	// Bytes that change may still unpack, to lines that are no jobs: nothing of it runs.
	damaged := packed.String()[:whole] + strings.Repeat("\xff", 200) + packed.String()[whole+200:]
	if a := k.call(http.MethodPost, batchesPath, damaged, "Content-Encoding: gzip"); a.status != http.StatusBadRequest || !strings.Contains(a.raw, "line ") {
		t.Errorf("damaged: %d %s", a.status, a.raw)
	}
	for name, query := range map[string]string{"refuse": "", "skip": "?badLines=skip"} {
		key := "Idempotency-Key: " + name
		a := k.call(http.MethodPost, batchesPath+query, packed.String()[:whole], "Content-Encoding: gzip", key)
		if a.status != http.StatusBadRequest || !strings.Contains(a.str("detail"), "the body is not valid gzip data, or ends early") || !strings.HasPrefix(a.str("detail"), "line ") {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
		var list struct {
			Batches []struct {
				ID, State string
				Received  struct{ Lines int }
			}
		}
		if err := json.Unmarshal([]byte(k.call(http.MethodGet, batchesPath, nil).raw), &list); err != nil || len(list.Batches) == 0 {
			t.Fatalf("%s: nothing stands: %v", name, err)
		}
		stands := list.Batches[0]
		if stands.State != "receiving" || stands.Received.Lines == 0 || stands.Received.Lines >= n {
			t.Fatalf("%s: %+v stands", name, stands)
		}
		if b := k.batch(query, packed.String(), "Content-Encoding: gzip", key); b.str("id") != stands.ID || b.str("received.lines") != fmt.Sprint(n) {
			t.Errorf("%s: sent again: %s", name, b.raw)
		}
		if a := k.call(http.MethodDelete, batchesPath+"/"+stands.ID, nil); a.status != http.StatusAccepted {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
}
