// Package bench loads Kaas and measures them: `kaa bench`. It calls them as any client does, by package client.
//
// In a closed loop each worker sends its next execution when the last one has ended. In an open loop executions are due at a rate, and the
// latency of each counts from the time at which it was due, so that an execution that waits for a slow one before it is not left out of
// the figures (coordinated omission).
package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/kaa-run/kaa/client"
)

// Modes are the kinds of load.
func Modes() []string { return []string{"sync", "async", "session", "mixed"} }

// Target is a Kaa that is measured.
type Target struct{ URL, Key string }

// Options are those of a run.
type Options struct {
	Targets []Target
	Mode    string
	// Code is executed each time.
	Code string
	// Workers is how many executions are under way at once; in an open loop, at most.
	Workers int
	// Rate is the executions a second of an open loop, of each target; 0 for a closed one.
	Rate float64
	// Warmup comes before the Duration that counts.
	Warmup, Duration time.Duration
	// Python is the bare interpreter that is spawned for comparison; empty for none.
	Python string
	// Spawns is how often that is.
	Spawns int
	// PIDs are processes of a single target whose processor time counts, beside the one that listens at its address.
	PIDs []int
	// Redis is the address of the Redis of a single target; empty if its commands do not count.
	Redis string
}

func (o Options) check() error {
	switch {
	case len(o.Targets) == 0:
		return errors.New("no Kaa is named")
	case !slices.Contains(Modes(), o.Mode):
		return fmt.Errorf("there is no mode %q: choose among %v", o.Mode, Modes())
	case o.Workers < 1 || o.Workers > 10000:
		return fmt.Errorf("%d workers: choose from 1 to 10000", o.Workers)
	case o.Rate < 0:
		return fmt.Errorf("%g executions a second: choose a rate above 0", o.Rate)
	case o.Duration <= 0:
		return errors.New("the duration has to be above 0")
	}
	return nil
}

// load is a run.
type load struct {
	Options
	targets []*target
	// begin is when the first execution is due, and counted when the figures begin.
	begin, counted, end time.Time
	next                atomic.Int64
}

// target is a Kaa with its figures.
type target struct {
	client *client.Client
	mu     sync.Mutex
	times  *hdrhistogram.Histogram // in microseconds
	errors map[string]int
}

const (
	// longest bounds a latency.
	longest = time.Hour
	// digits is the precision of a latency.
	digits = 3
)

func histogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, longest.Microseconds(), digits)
}

// Run loads the targets and returns what it has measured. With several targets, their executions alternate.
func Run(ctx context.Context, o Options) (Report, error) {
	if err := o.check(); err != nil {
		return Report{}, err
	}
	l := &load{Options: o}
	transport := &http.Transport{MaxIdleConns: 0, MaxIdleConnsPerHost: o.Workers, MaxConnsPerHost: 0}
	defer transport.CloseIdleConnections()
	for _, t := range o.Targets {
		c := client.New(t.URL, t.Key).With(&http.Client{Transport: transport}).RetryFor(0)
		l.targets = append(l.targets, &target{client: c, times: histogram(), errors: map[string]int{}})
	}
	bare := histogram()
	if err := l.spawn(ctx, bare, (o.Spawns+1)/2); err != nil {
		return Report{}, err
	}
	watch := newWatch(ctx, o)
	began, took, err := l.work(ctx, watch)
	if err != nil {
		return Report{}, err
	}
	if err := l.spawn(ctx, bare, o.Spawns/2); err != nil {
		return Report{}, err
	}
	return l.report(began, took, bare, watch), nil
}

// work runs the workers until the end.
func (l *load) work(ctx context.Context, watch *watch) (began time.Time, took time.Duration, err error) {
	workers := make([]*worker, l.Workers)
	for i := range workers {
		if workers[i], err = l.worker(ctx); err != nil {
			break
		}
	}
	defer closeAll(workers)
	if err != nil {
		return began, 0, err
	}
	l.begin = time.Now()
	l.counted, l.end = l.begin.Add(l.Warmup), l.begin.Add(l.Warmup+l.Duration)
	ctx, cancel := context.WithDeadline(ctx, l.end.Add(longest))
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() {
		select {
		case <-time.After(l.Warmup):
			watch.begin(ctx)
		case <-ctx.Done():
		}
	})
	for _, w := range workers {
		all.Go(func() { w.run(ctx) })
	}
	all.Wait()
	took = time.Since(l.counted)
	watch.stop(ctx)
	return l.counted, took, ctx.Err()
}

// run executes until the end of the load.
func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		n := w.load.next.Add(1) - 1
		due := time.Now()
		if w.load.Rate > 0 {
			due = w.load.begin.Add(time.Duration(float64(n) / (w.load.Rate * float64(len(w.load.targets))) * float64(time.Second)))
		}
		if !due.Before(w.load.end) {
			return
		}
		if wait := time.Until(due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
		}
		i := int(n % int64(len(w.load.targets)))
		err := w.execute(ctx, i, n/int64(len(w.load.targets)))
		took := time.Since(due)
		if due.Before(w.load.counted) || ctx.Err() != nil {
			continue
		}
		w.load.targets[i].record(took, err)
	}
}

func (t *target) record(took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.errors[reason(err)]++
		return
	}
	_ = t.times.RecordValue(min(max(1, took.Microseconds()), longest.Microseconds())) // it is within the bounds
}

// mostReason bounds the length of the words for an error.
const mostReason = 120

// reason words an error so that those of one kind are counted together.
func reason(err error) string {
	if p, ok := errors.AsType[*client.ProblemError](err); ok && p.Code != "" {
		return p.Code
	}
	text := err.Error()
	return text[:min(len(text), mostReason)]
}
