package runner_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/runner"
)

// fakeOutbox holds when each job is due.
type fakeOutbox struct {
	mu    sync.Mutex
	due   map[string]time.Time
	looks int
	away  bool // Redis does not answer
	full  bool // it answers, and takes nothing

	lapsed  []string      // runners without a heartbeat
	slow    time.Duration // what a look at them takes
	rescued []string
}

func (o *fakeOutbox) Due(_ context.Context, most int) ([]job.Task, time.Duration, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.looks++
	var tasks []job.Task
	next := time.Duration(-1)
	for id, at := range o.due {
		wait := time.Until(at)
		switch {
		case wait <= 0 && len(tasks) < most:
			tasks = append(tasks, job.Task{JobID: id})
		case wait > 0 && (next < 0 || wait < next):
			next = wait
		}
	}
	return tasks, next, nil
}

func (o *fakeOutbox) Enqueued(_ context.Context, tasks ...job.Task) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, task := range tasks {
		delete(o.due, task.JobID)
	}
	return nil
}

func (o *fakeOutbox) add(id string, in time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.due[id] = time.Now().Add(in)
}

func (o *fakeOutbox) seen() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.looks
}

func (o *fakeOutbox) Lapsed(context.Context, string) ([]string, error) {
	o.mu.Lock()
	away, slow := o.away, o.slow
	o.mu.Unlock()
	if away {
		return nil, errors.New("Redis is away")
	}
	if slow > 0 {
		<-time.After(slow)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.lapsed), nil
}

func (o *fakeOutbox) Rescue(_ context.Context, runners ...string) ([]job.Rescued, bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rescued = append(o.rescued, runners...)
	o.lapsed = slices.DeleteFunc(o.lapsed, func(id string) bool { return slices.Contains(runners, id) })
	o.due["rescued"] = time.Now()
	return []job.Rescued{{JobID: "rescued", State: job.Queued}}, true, nil
}

func (o *fakeOutbox) Ready(context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away || o.full {
		return errors.New("Redis takes nothing")
	}
	return nil
}

// set changes what the maintainer finds.
func (o *fakeOutbox) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

func (o *fakeOutbox) Sweep(context.Context, int) (int, error) { return 0, nil }

func TestMaintainer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &fakeOutbox{due: map[string]time.Time{}, lapsed: []string{"dead"}}
		start := time.Now()
		enqueued := map[string]time.Duration{}
		var reclaimed []time.Duration
		failures := 1
		m := runner.NewMaintainer("", o, o, func(_ context.Context, task job.Task) error {
			if task.JobID == "flaky" && failures > 0 {
				failures--
				return errors.New("Redis is away")
			}
			enqueued[task.JobID] = time.Since(start)
			return nil
		}, func(context.Context) error {
			reclaimed = append(reclaimed, time.Since(start))
			return nil
		}, runner.Periods{}, slog.New(slog.DiscardHandler))
		o.add("soon", 1300*time.Millisecond)
		m.Start(t.Context())
		time.AfterFunc(time.Second, func() { o.add("announced", 500*time.Millisecond); m.OutboxChanged() })
		time.AfterFunc(5*time.Second, func() { o.add("flaky", 0); m.OutboxChanged() })
		time.AfterFunc(9*time.Second, func() { o.add("unannounced", 0) })
		time.AfterFunc(11*time.Second, func() { o.add("unseen", 0) })
		<-time.After(30 * time.Second)
		looks := o.seen()
		<-time.After(time.Minute)
		if more := o.seen() - looks; more > 6 {
			t.Errorf("%d looks at an empty outbox in a minute", more)
		}
		m.Close()
		want := map[string]time.Duration{
			"soon": 1300 * time.Millisecond, "announced": 1500 * time.Millisecond,
			"rescued":     10200 * time.Millisecond, // with the second look of the rescue, at once
			"flaky":       6 * time.Second,          // a second after the error
			"unannounced": 10200 * time.Millisecond,
			"unseen":      20200 * time.Millisecond, // the next look, 10 s after the last
		}
		if diff := cmp.Diff(want, enqueued); diff != "" {
			t.Errorf("enqueued at (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]time.Duration{10200 * time.Millisecond, 12 * time.Second, 16 * time.Second}, reclaimed); diff != "" {
			t.Errorf("tasks of the lost runner were reclaimed at (-want +got):\n%s", diff)
		}
	})
}

// TestNoRescueOfTheLiving: heartbeats that were held up by Redis are no sign of death.
func TestNoRescueOfTheLiving(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		// happens 20 s after the start; the runner's next heartbeat is written 1.5 s later.
		fault, over func(o *fakeOutbox)
		lasts       time.Duration
		again       time.Duration // when a runner that died meanwhile is written off, at the latest
	}{
		{
			"Redis is away", func(o *fakeOutbox) { o.away = true }, func(o *fakeOutbox) { o.away = false },
			30 * time.Second, 10 * time.Second,
		},
		{
			// It answers, but nothing can be written: it is full, or a replica.
			"Redis takes nothing", func(o *fakeOutbox) { o.full = true }, func(o *fakeOutbox) { o.full = false },
			9 * time.Second, 10 * time.Second,
		},
		{
			"Redis stood still", func(o *fakeOutbox) { o.slow = 9 * time.Second }, func(o *fakeOutbox) { o.slow = 0 },
			time.Second, 21 * time.Second,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := &fakeOutbox{due: map[string]time.Time{}}
				m := runner.NewMaintainer("", o, o, func(context.Context, job.Task) error { return nil }, func(context.Context) error { return nil }, runner.Periods{}, slog.New(slog.DiscardHandler))
				m.Start(t.Context())
				defer m.Close()
				<-time.After(20*time.Second - time.Millisecond)
				o.set(func() { tt.fault(o); o.lapsed = []string{"alive", "dead"} })
				<-time.After(tt.lasts)
				o.set(func() { tt.over(o) })
				<-time.After(1500 * time.Millisecond)
				o.set(func() { o.lapsed = []string{"dead"} })
				<-time.After(tt.again)
				o.set(func() {
					if diff := cmp.Diff([]string{"dead"}, o.rescued); diff != "" {
						t.Errorf("written off (-want +got):\n%s", diff)
					}
				})
			})
		})
	}
}
