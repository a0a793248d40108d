package chaos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// balancer sends requests to the APIs that say they are ready, as a load balancer
// does; it looks ten times a second.
type balancer struct {
	*client
	mu    sync.Mutex
	ready []*process
	turn  int
}

func (b *balancer) watch(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var ready []*process
		for _, p := range b.apis {
			if p.ready(ctx) {
				ready = append(ready, p)
			}
		}
		b.mu.Lock()
		b.ready = ready
		b.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (b *balancer) pick() *process {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ready) == 0 {
		return b.apis[0]
	}
	b.turn++
	return b.ready[b.turn%len(b.ready)]
}

// do sends a request, again if a connection broke.
func (b *balancer) do(ctx context.Context, retried *atomic.Int64, method, path string, body func() any, headers ...string) (answer, error) {
	for {
		a, err := b.call(ctx, b.pick(), method, path, body(), headers...)
		if err == nil || ctx.Err() != nil {
			return a, err
		}
		retried.Add(1)
	}
}

// TestRollingRestart restarts every process once, under load, and expects that no
// request fails but for connections that are tried again, and no job is lost or
// doubled.
func TestRollingRestart(t *testing.T) { //nolint:paralleltest // it measures times
	if *duration == 0 {
		t.Skip("run by make test-long")
	}
	c := startCluster(t, 2, 3, "KAA_DRAIN_TIMEOUT=10s", "KAA_SHUTDOWN_DELAY=1s")
	marks := filepath.Join(c.dir, "marks")
	if err := os.WriteFile(marks, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := &balancer{client: newClient(c.apis)}
	defer b.http.CloseIdleConnections()
	watching, stopWatching := context.WithCancel(t.Context())
	defer stopWatching()
	go b.watch(watching)

	load := b.startLoad(t, marks)
	for _, p := range c.processes() {
		began := time.Now()
		if !p.terminate(40*time.Second) || p.exitCode() != 0 {
			t.Errorf("%s does not stop well", p.name)
		}
		stopped := time.Since(began)
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
		if !p.awaitReady(t.Context(), 20*time.Second) {
			t.Fatalf("%s does not get ready", p.name)
		}
		t.Logf("%s: stopped in %s, ready again %s after that", p.name, stopped.Round(time.Millisecond), (time.Since(began) - stopped).Round(time.Millisecond))
	}
	load.finish(t)
}

// rollingLoad is what callers do while processes are replaced.
type rollingLoad struct {
	*balancer
	marks          string
	workers        sync.WaitGroup
	over           chan struct{}
	retried, calls atomic.Int64

	mu    sync.Mutex
	tasks []*task
}

func (b *balancer) startLoad(t *testing.T, marks string) *rollingLoad {
	t.Helper()
	l := &rollingLoad{balancer: b, marks: marks, over: make(chan struct{})}
	for worker := range 16 {
		l.workers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-l.over:
					return
				default:
				}
				l.calls.Add(1)
				made, err := b.one(t.Context(), marks, worker, n, &l.retried)
				l.mu.Lock()
				l.tasks = append(l.tasks, made...)
				l.mu.Unlock()
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	return l
}

// finish ends the load and checks that each of its jobs ran once.
func (l *rollingLoad) finish(t *testing.T) {
	t.Helper()
	close(l.over)
	l.workers.Wait()
	t.Logf("%d calls, %d connections tried again", l.calls.Load(), l.retried.Load())
	runs := readMarks(t, l.marks)
	for _, made := range l.tasks {
		if n := len(runs[made.key]); n != 1 {
			t.Errorf("%s (%s) ran %d times", made.key, made.id, n)
		}
	}
	for _, w := range l.wrong {
		t.Errorf("wrong answer: %s", w)
	}
	for what, n := range l.statuses {
		t.Logf("%7d %s", n, what)
	}
}

func unexpected(what string, a answer, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %d %s", what, a.status, a.raw)
}

// one executes one job, synchronously or not, and returns it once it has ended.
func (b *balancer) one(ctx context.Context, marks string, worker, n int, retried *atomic.Int64) ([]*task, error) {
	made := plan(uint64(worker), n)
	made.key = fmt.Sprintf("w%d.%d", worker, n)
	made.sleep = min(made.sleep, time.Second)
	if worker%2 == 0 {
		a, err := b.do(ctx, retried, http.MethodPost, "/v1/jobs", func() any { return map[string]any{"code": made.code(marks)} },
			"Idempotency-Key: "+made.key)
		if err != nil || a.status != http.StatusAccepted {
			return nil, unexpected("submit", a, err)
		}
		for made.id = a.view().ID; ; {
			a, err := b.do(ctx, retried, http.MethodGet, "/v1/jobs/"+made.id+"?wait=5s", func() any { return nil })
			if err != nil || a.status != http.StatusOK {
				return nil, unexpected("poll", a, err)
			}
			if v := a.view(); v.terminal() {
				if v.State != "completed" {
					return nil, fmt.Errorf("job %s: %s", made.id, a.raw)
				}
				return []*task{made}, nil
			}
		}
	}
	// A call whose connection broke is made again for another job: nobody knows what
	// became of the first, but that it was not started twice.
	try := 0
	a, err := b.do(ctx, retried, http.MethodPost, "/process/interpreter/execute", func() any {
		try++
		made.key = fmt.Sprintf("w%d.%d.%d", worker, n, try)
		return map[string]any{"code": made.code(marks)}
	})
	var r result
	if err != nil || a.status != http.StatusOK || json.Unmarshal(a.raw, &r) != nil || r.Status != "ok" {
		return nil, unexpected("execute", a, err)
	}
	return []*task{made}, nil
}

// TestSecondSignal: the second SIGTERM hurries a runner, and its children die first.
func TestSecondSignal(t *testing.T) { //nolint:paralleltest // it measures times
	if *duration == 0 {
		t.Skip("run by make test-long")
	}
	c := startCluster(t, 1, 1, "KAA_DRAIN_TIMEOUT=1m")
	marks := filepath.Join(c.dir, "marks")
	if err := os.WriteFile(marks, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := &balancer{client: newClient(c.apis)}
	defer b.http.CloseIdleConnections()
	long := &task{key: "long", sleep: time.Minute}
	var retried atomic.Int64
	a, err := b.do(t.Context(), &retried, http.MethodPost, "/v1/jobs", func() any { return map[string]any{"code": long.code(marks)} })
	if err != nil || a.status != http.StatusAccepted {
		t.Fatalf("%v %d %s", err, a.status, a.raw)
	}
	for len(readMarks(t, marks)["long"]) == 0 {
		<-time.After(20 * time.Millisecond)
	}
	r := c.runners[0]
	_, exited := r.current()
	began := time.Now()
	if r.terminate(2 * time.Second) {
		t.Fatal("the first signal did not wait for the job")
	}
	r.terminate(20 * time.Second)
	select {
	case <-exited:
		t.Logf("stopped %s after the second signal", (time.Since(began) - 2*time.Second).Round(time.Millisecond))
	default:
		t.Fatal("the second signal did not hurry")
	}
	if code := r.exitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if left := c.leftovers(); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	v, _, err := b.await(t.Context(), a.view().ID)
	if err != nil || v.Failure == nil || v.Failure.Code != "drained" {
		t.Errorf("%+v %v", v, err)
	}
}
