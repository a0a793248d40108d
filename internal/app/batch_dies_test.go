package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestBatchWhenTheAPIDies: the API is killed while it receives batches. Their clients go on with another process: no job is lost, and none runs twice.
func TestBatchWhenTheAPIDies(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t))
	api := k.spawnAPI()
	const jobs, sent = 2400, 1700 // chunks have 500 lines: the rest of a chunk is lost with the process
	all := manyLines(jobs)
	before := strings.Join(strings.SplitAfterN(all, "\n", sent+1)[:sent], "")
	keys := []string{"by key", ""}
	cut := make(chan struct{}, len(keys))
	var outs []*io.PipeWriter
	for i, key := range keys {
		body, out := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, k.url+batchesPath+fmt.Sprintf("?name=%d", i), body)
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			req.Header.Set("Idempotency-Key", key)
		}
		go func() { _, _ = io.WriteString(out, before) }() // and nothing more: the stream is open when the process dies
		outs = append(outs, out)
		go func() {
			_, _ = k.read(req)
			cut <- struct{}{}
		}()
	}
	ids := make([]string, len(keys))
	testenv.Eventually(t, "both have been received in part", func() bool {
		var list struct {
			Batches []struct {
				ID, Name string
				Received struct{ Lines int }
			}
		}
		if err := json.Unmarshal([]byte(k.call(http.MethodGet, batchesPath, nil).raw), &list); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, b := range list.Batches {
			if b.Received.Lines >= 1000 {
				n++
				ids[int(b.Name[0]-'0')] = b.ID
			}
		}
		return n == len(keys)
	})
	if err := api.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, out := range outs {
		_ = out.CloseWithError(io.ErrClosedPipe)
		<-cut
	}
	addr, _ := k.run(app.RunAPI)
	k.url = "http://" + addr.String()
	rdb := k.redis.Client(t)
	for i, id := range ids {
		if a := k.call(http.MethodPost, batchesPath+"/"+id+"/lines?from=0", all); a.status != http.StatusConflict || a.str("code") != "batch_busy" {
			t.Errorf("while the lease of the dead process lasts: %d %s", a.status, a.raw)
		}
		rdb.Del(t.Context(), "{kaa}:batch:"+id+":writer") // the lease is over
		if keys[i] != "" {
			if a := k.batch("?name="+fmt.Sprint(i), all, "Idempotency-Key: "+keys[i]); a.str("id") != id {
				t.Errorf("the same key made another batch: %s", a.raw)
			}
			continue
		}
		a := k.call(http.MethodGet, batchesPath+"/"+id, nil)
		received, _ := a.body["received"].(map[string]any)
		from, _ := received["lines"].(float64)
		if from < 1000 || from > sent || int(from)%500 != 0 {
			t.Fatalf("received: %s", a.raw)
		}
		rest := strings.Join(strings.SplitAfter(all, "\n")[int(from):], "")
		if a := k.call(http.MethodPost, fmt.Sprintf("%s/%s/lines?from=%d", batchesPath, id, int(from)), rest); a.status != http.StatusAccepted {
			t.Fatalf("the rest: %d %s", a.status, a.raw)
		}
	}
	for _, id := range ids {
		k.checkReceived(id, jobs)
	}
}

// checkReceived looks whether each line became one job, and cancels the batch: jobs that never ran are in its results, too.
func (k *kaa) checkReceived(id string, jobs int) {
	k.tb.Helper()
	a := k.call(http.MethodGet, batchesPath+"/"+id, nil)
	if a.str("received.jobs") != fmt.Sprint(jobs) || a.str("jobs.waiting") != fmt.Sprint(jobs) {
		k.tb.Errorf("received: %s", a.raw)
	}
	k.call(http.MethodDelete, batchesPath+"/"+id, nil)
	k.awaitBatch(id, "cancelled")
	seen := map[float64]int{}
	for line := range bytes.Lines([]byte(k.call(http.MethodGet, batchesPath+"/"+id+"/results", nil).raw)) {
		var r map[string]any
		if err := json.Unmarshal(line, &r); err != nil {
			k.tb.Fatal(err)
		}
		if index, ok := r["index"].(float64); ok {
			seen[index]++
		}
	}
	for i := range jobs {
		if seen[float64(i)] != 1 {
			k.tb.Errorf("job %d is there %d times", i, seen[float64(i)])
		}
	}
	if len(seen) != jobs {
		k.tb.Errorf("%d jobs, want %d", len(seen), jobs)
	}
}
