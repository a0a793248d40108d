package chaos_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	loadJobs    = flag.Int("load.jobs", 0, "jobs to queue in batches and to drain; 0 leaves that out")
	loadCalls   = flag.Int("load.calls", 0, "synchronous calls at once; 0 leaves that out")
	loadSandbox = flag.String("load.sandbox", "strict", "KAA_SANDBOX of the runner")
)

// latencies are those of one kind of call.
type latencies struct {
	mu   sync.Mutex
	took []time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, d)
}

func (l *latencies) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.took) == 0 {
		return "none"
	}
	slices.Sort(l.took)
	at := func(q float64) time.Duration {
		return l.took[int(q*float64(len(l.took)-1))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %s, p99 %s, max %s of %d", at(.5), at(.99), at(1), len(l.took))
}

// rss is the resident memory of a process in MiB.
func (p *process) rss(tb testing.TB) int {
	tb.Helper()
	cmd, _ := p.current()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.Fields(v)[0])
			return n / 1024
		}
	}
	return 0
}

func loadCluster(t *testing.T) *cluster {
	t.Helper()
	return startCluster(t, 1, 1, "KAA_SANDBOX="+*loadSandbox, "KAA_CONCURRENCY=0", "KAA_PARKED=0", "KAA_LOG_LEVEL=WARN")
}

// TestLoadSync makes many synchronous calls at once, three each, one after the other.
func TestLoadSync(t *testing.T) { //nolint:paralleltest // it measures times
	if *loadCalls == 0 {
		t.Skip("run by scripts/load")
	}
	c := loadCluster(t)
	cl := newClient(c.apis)
	cl.http.Transport.(*http.Transport).MaxIdleConnsPerHost = *loadCalls
	defer cl.http.CloseIdleConnections()
	for round := range 2 {
		var took latencies
		var all sync.WaitGroup
		before := c.apis[0].rss(t)
		began := time.Now()
		for range *loadCalls {
			all.Go(func() {
				for range 3 {
					at := time.Now()
					a, err := cl.call(t.Context(), c.apis[0], http.MethodPost, "/process/interpreter/execute", map[string]any{"code": "print(42)"})
					if err != nil {
						t.Error(err)
						return
					}
					if a.status == http.StatusOK {
						took.add(time.Since(at))
					}
				}
			})
		}
		all.Wait()
		over := time.Since(began)
		t.Logf("round %d: %d calls at once, 3 each: answered with 200 in %s; %.0f/s; API %d → %d MiB, runner %d MiB", round+1,
			*loadCalls, &took, float64(len(took.took))/over.Seconds(), before, c.apis[0].rss(t), c.runners[0].rss(t))
	}
	for _, what := range slices.Sorted(maps.Keys(cl.statuses)) {
		t.Logf("%7d %s", cl.statuses[what], what)
		if !strings.HasSuffix(what, " 200") && !strings.Contains(what, " 429 ") {
			t.Errorf("answers other than 200 and 429: %s", what)
		}
	}
}

// TestLoadQueue queues jobs in batches of 1,000, then drains them, and polls and lists
// meanwhile.
func TestLoadQueue(t *testing.T) { //nolint:paralleltest // it measures times
	if *loadJobs == 0 {
		t.Skip("run by scripts/load")
	}
	c := loadCluster(t)
	cl := newClient(c.apis)
	defer cl.http.CloseIdleConnections()
	rdb := redis.NewClient(&redis.Options{Addr: c.redis.Addr})
	defer func() { _ = rdb.Close() }()
	memory := func() int64 {
		for line := range strings.Lines(rdb.Info(t.Context(), "memory").Val()) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); ok {
				n, _ := strconv.ParseInt(v, 10, 64)
				return n
			}
		}
		return 0
	}
	c.runners[0].kill() // the queue fills up first
	empty := memory()
	began := time.Now()
	job := map[string]any{"code": "print(42)"}
	batch := map[string]any{"jobs": slices.Repeat([]map[string]any{job}, 1000)}
	var poll, list, poll2, list2 latencies
	id := submitOne(t, cl, c.apis[0])
	watch := watchCalls(t, cl, c.apis[0], id, &poll, &list)
	var work sync.WaitGroup
	batches := make(chan struct{})
	for range 4 {
		work.Go(func() {
			for range batches {
				a, err := cl.call(t.Context(), c.apis[0], http.MethodPost, "/v1/jobs:batch", batch)
				if err != nil || a.status != http.StatusAccepted {
					t.Errorf("%v %d %.200s", err, a.status, a.raw)
				}
			}
		})
	}
	for range *loadJobs / 1000 {
		batches <- struct{}{}
	}
	close(batches)
	work.Wait()
	took := time.Since(began)
	watch()
	full := memory()
	t.Logf("queued %d jobs in %s: %.0f/s; Redis holds %d bytes for each; API %d MiB", *loadJobs, took.Round(time.Millisecond),
		float64(*loadJobs)/took.Seconds(), (full-empty)/int64(*loadJobs), c.apis[0].rss(t))
	t.Logf("meanwhile: poll %s; list %s", &poll, &list)

	watch = watchCalls(t, cl, c.apis[0], id, &poll2, &list2)
	if err := c.runners[0].start(); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	for depth := 1; depth > 0; {
		<-time.After(500 * time.Millisecond)
		depth = 0
		for _, state := range []string{"queued", "running"} {
			depth += int(rdb.ZCard(t.Context(), "{kaa}:jobs:default:"+state).Val())
		}
	}
	took = time.Since(began)
	watch()
	t.Logf("drained in %s: %.0f/s; Redis holds %d bytes for each ended job; API %d MiB, runner %d MiB", took.Round(time.Millisecond),
		float64(*loadJobs)/took.Seconds(), (memory()-empty)/int64(*loadJobs), c.apis[0].rss(t), c.runners[0].rss(t))
	t.Logf("meanwhile: poll %s; list %s", &poll2, &list2)
	if n := rdb.ZCard(t.Context(), "{kaa}:jobs:default:completed").Val(); int(n) < *loadJobs {
		t.Errorf("%d jobs are completed", n)
	}
}

func submitOne(t *testing.T, cl *client, api *process) string {
	t.Helper()
	a, err := cl.call(t.Context(), api, http.MethodPost, "/v1/jobs", map[string]any{"code": "print(42)"})
	if err != nil {
		t.Fatal(err)
	}
	var v view
	if err := json.Unmarshal(a.raw, &v); err != nil {
		t.Fatal(err)
	}
	return v.ID
}

// watchCalls polls and lists twenty times a second until the returned function is
// called.
func watchCalls(t *testing.T, cl *client, api *process, id string, poll, list *latencies) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for path, l := range map[string]*latencies{"/v1/jobs/" + id: poll, "/v1/jobs?limit=50": list} {
				at := time.Now()
				if a, err := cl.call(ctx, api, http.MethodGet, path, nil); err == nil && a.status == http.StatusOK {
					l.add(time.Since(at))
				}
			}
		}
	})
	return func() { cancel(); done.Wait() }
}
