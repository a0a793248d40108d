package chaos_test

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	loadBatch = flag.Int("load.batch", 0, "jobs of one batch; 0 leaves that out")
	loadFsync = flag.String("load.fsync", "always", "when Redis syncs what it writes: always, or everysec as in docker-compose.yml")
	loadDrain = flag.Duration("load.drain", 30*time.Second, "how long jobs of the batch run, beside those of another key")
)

// usedMemory is what Redis holds, in bytes.
func usedMemory(ctx context.Context, rdb *redis.Client) int64 {
	for line := range strings.Lines(rdb.Info(ctx, "memory").Val()) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); ok {
			n, _ := strconv.ParseInt(v, 10, 64)
			return n
		}
	}
	return 0
}

// batchView is what the test reads of a batch.
type batchView struct {
	ID, State string
	Rate      float64
	Jobs      map[string]int64
}

// sendBatch sends a batch of n jobs in one request, as it makes them.
func sendBatch(t *testing.T, api *process, key string, n int) batchView {
	t.Helper()
	body, out := io.Pipe()
	go func() {
		w := bufio.NewWriterSize(out, 64<<10)
		for i := range n {
			fmt.Fprintf(w, `{"code":"import sys\nprint(int(sys.argv[1]) ** 2)","args":["%d"],"metadata":{"number":%d}}`+"\n", i, i)
		}
		_ = out.CloseWithError(w.Flush())
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api.health+"/v1/batches?name=load", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-Key", key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	var b batchView
	if err == nil {
		err = json.Unmarshal(raw, &b)
	}
	if err != nil || res.StatusCode != http.StatusAccepted {
		t.Fatalf("%v %d %.300s", err, res.StatusCode, raw)
	}
	return b
}

// peak follows the memory of a process until stop is called, which returns the most, in MiB.
func (p *process) peak(t *testing.T) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	most := 0
	done.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			most = max(most, p.rss(t))
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return func() int { cancel(); done.Wait(); return most }
}

// TestLoadBatch submits one batch in one request, then runs a part of it beside jobs of another key, and
// cancels the rest.
func TestLoadBatch(t *testing.T) { //nolint:paralleltest // it measures times
	if *loadBatch == 0 {
		t.Skip("run by scripts/batch-load")
	}
	const one, other = "key-of-the-owner-of-the-batch", "key-of-somebody-else-at-the-same-time"
	c := startCluster(t, 1, 1, "KAA_SANDBOX="+*loadSandbox, "KAA_CONCURRENCY=0", "KAA_PARKED=0", "KAA_LOG_LEVEL=WARN", "KAA_API_KEYS="+one+","+other)
	cl := newClient(c.apis)
	defer cl.http.CloseIdleConnections()
	rdb := redis.NewClient(&redis.Options{Addr: c.redis.Addr})
	defer func() { _ = rdb.Close() }()
	if err := rdb.ConfigSet(t.Context(), "appendfsync", *loadFsync).Err(); err != nil {
		t.Fatal(err)
	}
	api, header := c.apis[0], "X-API-Key: "+one
	look := func(id string) (b batchView) {
		a, err := cl.call(t.Context(), api, http.MethodGet, "/v1/batches/"+id, nil, header)
		if err == nil {
			err = json.Unmarshal(a.raw, &b)
		}
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	cancel := func(id string) (b batchView) {
		if a, err := cl.call(t.Context(), api, http.MethodDelete, "/v1/batches/"+id, nil, header); err != nil || a.status != http.StatusAccepted {
			t.Fatalf("%v %d %s", err, a.status, a.raw)
		}
		for b.State != "cancelled" {
			<-time.After(50 * time.Millisecond)
			b = look(id)
		}
		return b
	}
	cancel(sendBatch(t, api, one, 1000).ID) // what is made at the first use is there, and no job of it is before the others
	empty, before, memory := usedMemory(t.Context(), rdb), api.rss(t), api.peak(t)
	began := time.Now()
	id := sendBatch(t, api, one, *loadBatch).ID
	took := time.Since(began)
	t.Logf("submitted %d jobs in %s: %.0f/s; API %d → %d MiB at most", *loadBatch, took.Round(time.Millisecond), float64(*loadBatch)/took.Seconds(), before, memory())
	t.Logf("Redis holds %d bytes for each waiting job, records of those that were fed included", (usedMemory(t.Context(), rdb)-empty)/int64(*loadBatch))

	var critical, poll, list, ping latencies
	started := look(id)
	began = time.Now()
	for time.Since(began) < *loadDrain {
		for path, l := range map[string]*latencies{"/v1/batches/" + id: &poll, "/v1/jobs?limit=50": &list} {
			at := time.Now()
			if a, err := cl.call(t.Context(), api, http.MethodGet, path, nil, header); err == nil && a.status == http.StatusOK {
				l.add(time.Since(at))
			}
		}
		// What a round trip takes that costs Redis nothing: the disk of a Redis that syncs each write, and the processors.
		at := time.Now()
		if rdb.Ping(t.Context()).Err() == nil {
			ping.add(time.Since(at))
		}
		critical.add(waited(t, cl, api, "X-API-Key: "+other))
	}
	b := look(id)
	over := time.Since(began)
	t.Logf("ran %d jobs in %s: %.0f/s, shown as %.0f/s", b.Jobs["completed"]-started.Jobs["completed"], over.Round(time.Millisecond),
		float64(b.Jobs["completed"]-started.Jobs["completed"])/over.Seconds(), b.Rate)
	t.Logf("meanwhile: a critical job of another key waits %s; poll %s; list %s; a PING of Redis takes %s", &critical, &poll, &list, &ping)

	began = time.Now()
	b = cancel(id)
	t.Logf("cancelled the rest, %d jobs, in %s", b.Jobs["cancelled"], time.Since(began).Round(time.Millisecond))
	if sum := b.Jobs["completed"] + b.Jobs["cancelled"] + b.Jobs["failed"]; sum != int64(*loadBatch) || b.Jobs["failed"] > 0 {
		t.Errorf("jobs are lost: %v", b.Jobs)
	}
}

// waited has a critical job executed, and returns how long it waited for a runner.
func waited(t *testing.T, cl *client, api *process, header string) time.Duration {
	t.Helper()
	a, err := cl.call(t.Context(), api, http.MethodPost, "/v1/jobs", map[string]any{"code": "print(42)", "queue": "critical"}, header)
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		ID     string
		Result struct{ QueuedMs float64 }
	}
	if err := json.Unmarshal(a.raw, &v); err != nil {
		t.Fatal(err)
	}
	if a, err = cl.call(t.Context(), api, http.MethodGet, "/v1/jobs/"+v.ID+"?wait=60s", nil, header); err == nil {
		err = json.Unmarshal(a.raw, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(v.Result.QueuedMs * float64(time.Millisecond))
}
