package chaos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// task is one job that the load submits, and what became of it.
type task struct {
	key         string // in the code, and so in the marks that it leaves
	kind        string // job, batch, sync
	maxAttempts int
	sleep       time.Duration
	delay       time.Duration
	cancelAfter time.Duration // 0: it is not cancelled

	id        string // set once it was accepted
	accepted  time.Time
	cancelled bool // a cancel was sent
	seen      time.Time
	end       view
	err       error
}

// mark is the code of every job: one line at its start, one at its end, in a file
// of the host, each with a number that no other start has.
const mark = `
import os, time
f = os.open(%q, os.O_WRONLY | os.O_APPEND)
n = os.urandom(8).hex()
os.write(f, f"S %s {n} {time.time():.3f}\n".encode())
time.sleep(%.3f)
os.write(f, f"E %s {n} {time.time():.3f}\n".encode())
print(n)
`

func (t *task) code(path string) string {
	return fmt.Sprintf(mark, path, t.key, t.sleep.Seconds(), t.key)
}

// plan makes the n-th job; it depends on the seed alone.
func plan(seed uint64, n int) *task {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	t := &task{key: fmt.Sprint("j", n), kind: "job", maxAttempts: 1}
	switch p := r.IntN(100); {
	case p < 10:
		t.kind = "sync"
	case p < 30:
		t.kind = "batch"
	}
	if t.kind != "sync" {
		t.maxAttempts = []int{1, 1, 1, 2, 2, 3}[r.IntN(6)]
		if r.IntN(100) < 5 {
			t.delay = time.Duration(500+r.IntN(2500)) * time.Millisecond
		}
		if r.IntN(100) < 4 {
			t.cancelAfter = time.Duration(1+r.IntN(1500)) * time.Millisecond
		}
	}
	switch p := r.IntN(1000); {
	case p < 20:
		t.sleep = time.Duration(2000+r.IntN(4000)) * time.Millisecond
	case p < 120:
		t.sleep = time.Duration(100+r.IntN(600)) * time.Millisecond
	case p < 500:
		t.sleep = time.Duration(r.IntN(20)) * time.Millisecond
	}
	return t
}

// load submits jobs and follows each to its end.
type load struct {
	*client
	path string // of the marks
	done sync.WaitGroup

	mu    sync.Mutex
	tasks []*task // accepted ones, and those of which it is not known
}

func (l *load) note(t *task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tasks = append(l.tasks, t)
}

// run submits jobs evenly over a time; batches gather some first.
func (l *load) run(ctx context.Context, seed uint64, jobs int, over time.Duration) {
	tick := time.NewTicker(max(over/time.Duration(jobs), time.Microsecond))
	defer tick.Stop()
	var gathered []*task
	for n := range jobs {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		t := plan(seed, n)
		switch t.kind {
		case "sync":
			l.done.Go(func() { l.execute(ctx, t) })
		case "batch":
			if gathered = append(gathered, t); len(gathered) == 10 {
				batch := gathered
				gathered = nil
				l.done.Go(func() { l.submitBatch(ctx, batch) })
			}
		default:
			l.done.Go(func() { l.submit(ctx, t) })
		}
	}
	if len(gathered) > 0 {
		l.submitBatch(ctx, gathered)
	}
}

func (l *load) body(t *task) map[string]any {
	b := map[string]any{"code": t.code(l.path), "timeout": 30, "maxAttempts": t.maxAttempts}
	if t.delay > 0 {
		b["delay"] = t.delay.Seconds()
	}
	return b
}

// submit sends one job until it is accepted: by its Idempotency-Key it is one job.
func (l *load) submit(ctx context.Context, t *task) {
	a, err := l.insist(ctx, 15*time.Second, http.MethodPost, "/v1/jobs", l.body(t), "Idempotency-Key: "+t.key)
	l.note(t)
	if err != nil {
		t.err = fmt.Errorf("submit: %w", err)
		return
	}
	if a.status != http.StatusAccepted {
		t.err = fmt.Errorf("submit: %d %s", a.status, a.raw)
		return
	}
	l.follow(ctx, t, a.view().ID)
}

// submitBatch sends jobs until they are accepted. Whether an attempt that broke was,
// nobody knows, so each attempt is for other jobs.
func (l *load) submitBatch(ctx context.Context, tasks []*task) {
	for try := 0; ctx.Err() == nil; try++ {
		tried := make([]*task, len(tasks))
		bodies := make([]map[string]any, len(tasks))
		for i, t := range tasks {
			c := *t
			c.key = fmt.Sprintf("%s.%d", t.key, try)
			tried[i], bodies[i] = &c, l.body(&c)
			l.note(&c)
		}
		call, cancel := context.WithTimeout(ctx, 15*time.Second)
		a, err := l.call(call, l.any(), http.MethodPost, "/v1/jobs:batch", map[string]any{"jobs": bodies})
		cancel()
		if err == nil && a.status == http.StatusAccepted {
			var out struct {
				Jobs []struct {
					ID    string
					Error *problem
				}
			}
			if err := json.Unmarshal(a.raw, &out); err != nil || len(out.Jobs) != len(tasks) {
				l.complain("batch: %v %s", err, a.raw)
				return
			}
			tasks = nil
			for i, j := range out.Jobs {
				if j.Error != nil {
					if j.Error.Code != "unavailable" {
						l.complain("batch: an item was refused: %+v", j.Error)
					}
					c := *tried[i]
					tasks = append(tasks, &c)
					continue
				}
				l.done.Go(func() { l.follow(ctx, tried[i], j.ID) })
			}
			if len(tasks) == 0 {
				return
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(200+rand.IntN(300)) * time.Millisecond):
		}
	}
}

// execute makes synchronous calls until one is answered with a result.
func (l *load) execute(ctx context.Context, planned *task) {
	for try := 0; ctx.Err() == nil; try++ {
		t := *planned
		t.key = fmt.Sprintf("%s.%d", planned.key, try)
		l.note(&t)
		call, cancel := context.WithTimeout(ctx, 45*time.Second)
		a, err := l.call(call, l.any(), http.MethodPost, "/process/interpreter/execute", map[string]any{"code": t.code(l.path), "timeout": 30})
		cancel()
		if err == nil && a.status == http.StatusOK {
			var r result
			if err := json.Unmarshal(a.raw, &r); err != nil {
				l.complain("execute: %v %s", err, a.raw)
			}
			t.accepted = time.Now()
			l.done.Go(func() { l.follow(ctx, &t, r.JobID) })
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(200+rand.IntN(300)) * time.Millisecond):
		}
	}
}

// follow waits for the end of an accepted job, and cancels it on the way if the plan
// says so.
func (l *load) follow(ctx context.Context, t *task, id string) {
	t.id, t.accepted = id, time.Now()
	if t.cancelAfter > 0 {
		l.done.Go(func() {
			select {
			case <-ctx.Done():
				return
			case <-time.After(t.cancelAfter):
			}
			l.mu.Lock()
			t.cancelled = true
			l.mu.Unlock()
			a, err := l.insist(ctx, 5*time.Second, http.MethodDelete, "/v1/jobs/"+id, nil)
			if err == nil && a.status != http.StatusOK && a.status != http.StatusAccepted && a.status != http.StatusConflict {
				l.complain("cancel: %d %s", a.status, a.raw)
			}
		})
	}
	end, seen, err := l.await(ctx, id)
	l.mu.Lock()
	defer l.mu.Unlock()
	t.end, t.seen, t.err = end, seen, err
}
