package service_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// schedules has the methods that are not called.
type schedules interface{ service.Schedules }

// board is a store of one schedule. Its clock is that of the test.
type board struct {
	schedules

	mu     sync.Mutex
	sc     job.Schedule
	looks  int
	runs   []string // the time that each job is for, and when it was made
	passed []string
	fails  func() error // of the next run; nil for none
}

func (b *board) DueSchedules(context.Context, int) ([]job.Schedule, time.Time, time.Duration, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looks++
	now := time.Now()
	switch {
	case b.sc.Due.IsZero():
		return nil, now, -1, nil
	case b.sc.Due.After(now):
		return nil, now, b.sc.Due.Sub(now), nil
	}
	return []job.Schedule{b.sc}, now, -1, nil
}

func (b *board) Fire(_ context.Context, run job.Run, n job.NewJob) (job.Created, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails != nil {
		if err := b.fails(); err != nil {
			return job.Created{}, err
		}
	}
	if !run.Due.Equal(b.sc.Due) {
		return job.Created{}, job.ErrMoved
	}
	b.runs = append(b.runs, n.Job.ScheduledAt.UTC().Format("02T15:04")+" at "+time.Now().UTC().Format("02T15:04:05")+" of "+n.Caller)
	b.sc.Due = run.Next
	return job.Created{Job: n.Job, Enqueued: true}, nil
}

func (b *board) Pass(_ context.Context, run job.Run, why string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.passed = append(b.passed, why)
	b.sc.Due = run.Next
	return nil
}

// begin starts so many schedulers on a board.
func (b *board) begin(t *testing.T, limits job.Limits, schedulers int) {
	t.Helper()
	for range schedulers {
		core := service.New(service.Config{
			Schedules: b, Hub: service.NewHub("test"), Submitted: func(string) {}, Log: slog.New(slog.DiscardHandler),
			Limits: limits, Background: new(sync.WaitGroup),
		})
		s := service.NewScheduler(core, 0, slog.New(slog.DiscardHandler))
		s.Start(t.Context())
		t.Cleanup(s.Close)
	}
}

func (b *board) wants(t *testing.T, runs, passed []string) {
	t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := strings.Join(b.runs, ", "); got != strings.Join(runs, ", ") {
		t.Errorf("runs: %s, want %s", got, strings.Join(runs, ", "))
	}
	if len(b.passed) != len(passed) {
		t.Fatalf("passed: %q, want %q", b.passed, passed)
	}
	for i, want := range passed {
		if !strings.Contains(b.passed[i], want) {
			t.Errorf("passed: %q, want %q", b.passed[i], want)
		}
	}
}

func limitsOfTests() job.Limits {
	return job.Limits{
		MaxCodeBytes: 1000, MaxTimeout: time.Hour, DefaultTimeout: time.Minute, MaxResultTTL: time.Hour, DefaultResultTTL: time.Hour, MaxAttempts: 1,
		Queues: []string{"default"}, DefaultQueue: "default",
	}
}

// scheduleAt has its next run at a time after the clock of synctest begins, which is 2000-01-01T00:00:00Z.
func scheduleAt(cron string, due time.Duration) job.Schedule {
	return job.Schedule{
		ID: uuid.NewString(), Owner: "@acme", Due: time.Now().Add(due),
		ScheduleSpec: job.ScheduleSpec{Cron: cron, Overlap: job.OverlapSkip, Job: job.Request{Code: "print(1)"}},
	}
}

// TestScheduler: runs come at their minute, of several processes one makes each, and an idle one looks once a minute.
func TestScheduler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &board{sc: scheduleAt("*/30 * * * *", 30*time.Minute)}
		b.begin(t, limitsOfTests(), 2)
		time.Sleep(61*time.Minute + time.Second)
		b.wants(t, []string{"01T00:30 at 01T00:30:00 of @acme", "01T01:00 at 01T01:00:00 of @acme"}, nil)
		if b.looks > 2*65+4 {
			t.Errorf("%d looks of two processes in 61 minutes", b.looks)
		}
	})
}

// TestNewSchedule: a schedule that another process has made is run at its first minute.
func TestNewSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := new(board)
		b.begin(t, limitsOfTests(), 1)
		time.Sleep(90 * time.Second)
		b.mu.Lock()
		b.sc = scheduleAt("* * * * *", 30*time.Second)
		b.mu.Unlock()
		time.Sleep(31 * time.Second)
		b.wants(t, []string{"01T00:02 at 01T00:02:00 of @acme"}, nil)
	})
}

// TestMissedRuns: of the runs that were missed the last one is made up for, unless it is too late.
func TestMissedRuns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		down, deadline time.Duration
		runs, passed   []string
	}{
		"no deadline":   {49*time.Hour + 30*time.Minute, 0, []string{"03T01:00 at 03T01:30:00 of @acme"}, nil},
		"in time":       {49*time.Hour + 30*time.Minute, time.Hour, []string{"03T01:00 at 03T01:30:00 of @acme"}, nil},
		"too late":      {49*time.Hour + 30*time.Minute, 29 * time.Minute, nil, []string{"that of 2000-01-03T01:00:00Z was 30m0s late, and startingDeadline is 29m0s"}},
		"a little late": {time.Hour + 50*time.Second, 10 * time.Minute, []string{"01T01:00 at 01T01:00:50 of @acme"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := &board{sc: scheduleAt("0 1 * * *", time.Hour)}
				b.sc.StartingDeadline = c.deadline
				time.Sleep(c.down)
				b.begin(t, limitsOfTests(), 1)
				b.wants(t, c.runs, c.passed)
				if next := b.sc.Due; !next.After(time.Now()) || time.Until(next) > 24*time.Hour {
					t.Errorf("next run: %v", next)
				}
			})
		})
	}
}

// TestFailedRuns: a run that cannot be made for a reason that stays is left out, and the schedule goes on; one that
// Redis keeps from its job is tried again.
func TestFailedRuns(t *testing.T) {
	t.Parallel()
	long := 7200.0
	for name, c := range map[string]struct {
		change       func(*job.Schedule)
		fails        error
		runs, passed []string
	}{
		"limit lowered":    {change: func(sc *job.Schedule) { sc.Job.Timeout = &long }, passed: []string{"job.timeout: must be from 0.001 to 3600 seconds"}},
		"queue gone":       {change: func(sc *job.Schedule) { sc.Job.Queue = "gone" }, passed: []string{"job.queue"}},
		"zone gone":        {change: func(sc *job.Schedule) { sc.TimeZone = "Europe/Atlantis" }, passed: []string{"is no time zone"}},
		"queue full":       {fails: &job.FullError{Queue: "default", Depth: 5, Limit: 5}, passed: []string{"5 jobs wait on queue default, the limit is 5"}},
		"files full":       {fails: &job.FilesFullError{Held: 1, Limit: 1}, passed: []string{"1"}},
		"unforeseen":       {fails: errors.New("secret of the operator"), passed: []string{"internal error"}},
		"overlap":          {fails: &job.OverlapError{JobID: "before"}},
		"moved":            {fails: job.ErrMoved},
		"Redis is away":    {fails: job.ErrUnavailable, runs: []string{"01T00:01 at 01T00:01:01 of @acme"}},
		"nothing is wrong": {runs: []string{"01T00:01 at 01T00:01:00 of @acme"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := &board{sc: scheduleAt("@hourly", time.Minute)}
				if c.change != nil {
					c.change(&b.sc)
				}
				failed := false
				b.fails = func() error {
					if failed || c.fails == nil {
						return nil
					}
					failed = true
					if errors.Is(c.fails, job.ErrMoved) || errors.Is(c.fails, job.ErrOverlap) { // the store has moved the time
						b.sc.Due = time.Time{}
					}
					return c.fails
				}
				b.begin(t, limitsOfTests(), 1)
				time.Sleep(90 * time.Second)
				b.wants(t, c.runs, c.passed)
			})
		})
	}
}
