package runner_test

import (
	"context"
	"errors"
	"log/slog"
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
	mu      sync.Mutex
	due     map[string]time.Time
	looks   int
	rescues int
	away    bool // Redis does not answer
}

func (o *fakeOutbox) Due(_ context.Context, most int) ([]job.DueTask, time.Duration, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.looks++
	var tasks []job.DueTask
	next := time.Duration(-1)
	for id, at := range o.due {
		wait := time.Until(at)
		switch {
		case wait <= 0 && len(tasks) < most:
			tasks = append(tasks, job.DueTask{JobID: id})
		case wait > 0 && (next < 0 || wait < next):
			next = wait
		}
	}
	return tasks, next, nil
}

func (o *fakeOutbox) Enqueued(_ context.Context, tasks ...job.DueTask) error {
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

func (o *fakeOutbox) Rescue(context.Context) ([]job.Rescued, bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rescues++
	if o.away {
		return nil, false, errors.New("Redis is away")
	}
	if o.rescues == 1 {
		o.due["rescued"] = time.Now()
		return []job.Rescued{{JobID: "rescued", State: job.Queued}}, true, nil
	}
	return nil, false, nil
}

func (o *fakeOutbox) Ping(context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away {
		return errors.New("Redis is away")
	}
	return nil
}

func (o *fakeOutbox) Sweep(context.Context, int) (int, error) { return 0, nil }

func TestMaintainer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &fakeOutbox{due: map[string]time.Time{}}
		start := time.Now()
		enqueued := map[string]time.Duration{}
		var reclaimed []time.Duration
		failures := 1
		m := runner.NewMaintainer(o, o, func(_ context.Context, task job.DueTask) error {
			if task.JobID == "flaky" && failures > 0 {
				failures--
				return errors.New("Redis is away")
			}
			enqueued[task.JobID] = time.Since(start)
			return nil
		}, func(context.Context) error {
			reclaimed = append(reclaimed, time.Since(start))
			return nil
		}, slog.New(slog.DiscardHandler))
		o.add("soon", 1300*time.Millisecond)
		m.Start(t.Context())
		time.AfterFunc(time.Second, func() { o.add("announced", 500*time.Millisecond); m.OutboxChanged() })
		time.AfterFunc(5*time.Second, func() { o.add("flaky", 0); m.OutboxChanged() })
		time.AfterFunc(9*time.Second, func() { o.add("unannounced", 0) })
		<-time.After(30 * time.Second)
		looks := o.seen()
		<-time.After(time.Minute)
		if more := o.seen() - looks; more > 6 {
			t.Errorf("%d looks at an empty outbox in a minute", more)
		}
		m.Close()
		want := map[string]time.Duration{
			"soon": 1300 * time.Millisecond, "announced": 1500 * time.Millisecond,
			"rescued":     8 * time.Second,  // with the first rescue, at once
			"flaky":       6 * time.Second,  // a second after the error
			"unannounced": 18 * time.Second, // the next look, 10 s after the last
		}
		if diff := cmp.Diff(want, enqueued); diff != "" {
			t.Errorf("enqueued at (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]time.Duration{8 * time.Second, 12 * time.Second, 16 * time.Second}, reclaimed); diff != "" {
			t.Errorf("tasks of the lost runner were reclaimed at (-want +got):\n%s", diff)
		}
	})
}

// TestNoRescueAfterAnOutage: while Redis is away no runner can write its heartbeat,
// so none is written off before it had time to.
func TestNoRescueAfterAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &fakeOutbox{due: map[string]time.Time{}}
		m := runner.NewMaintainer(o, o, func(context.Context, job.DueTask) error { return nil }, func(context.Context) error { return nil }, slog.New(slog.DiscardHandler))
		m.Start(t.Context())
		defer m.Close()
		set := func(away bool) { o.mu.Lock(); o.away = away; o.rescues = 0; o.mu.Unlock() }
		rescues := func() int { o.mu.Lock(); defer o.mu.Unlock(); return o.rescues }
		<-time.After(20 * time.Second)
		set(true)
		<-time.After(30 * time.Second)
		set(false)
		<-time.After(7 * time.Second)
		if n := rescues(); n != 0 {
			t.Errorf("%d rescues in the 7 s after an outage", n)
		}
		<-time.After(8 * time.Second)
		if n := rescues(); n == 0 {
			t.Error("no rescue at all after an outage")
		}
	})
}
