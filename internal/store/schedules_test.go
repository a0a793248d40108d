package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// minute is a whole minute in the past, and so many more.
func minute(n int) time.Time {
	return time.Date(2026, 1, 1, 0, n, 0, 0, time.UTC)
}

func newSchedule(owner string, overlap job.Overlap) job.Schedule {
	content := "x"
	return job.Schedule{ID: uuid.Must(uuid.NewV7()).String(), Owner: owner, Due: minute(0), ScheduleSpec: job.ScheduleSpec{
		Name: "nightly", Cron: "* * * * *", TimeZone: "Europe/Berlin", Overlap: overlap, StartingDeadline: time.Minute,
		Job: job.Request{
			Code: "print(1)", Timeout: new(1.5), Envs: map[string]string{"A": "b"}, Limits: job.QuotaRequest{"cpus": 1},
			Webhook: &job.WebhookRequest{URL: "https://example.com", Secret: "secret"}, Metadata: []byte(`{"n":12345678901234567890}`),
			Files: []job.FileRequest{{Path: "in", Content: &content}}, Options: job.Options{FigureFormats: []string{"svg"}}, MaxAttempts: new(2),
		},
	}}
}

func (b *bundle) addSchedule(t *testing.T, sc job.Schedule) job.Schedule {
	t.Helper()
	sc, err := b.AddSchedule(t.Context(), sc)
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

// runOf is the run of a schedule that was due n minutes after minute(0).
func runOf(sc job.Schedule, n int) job.Run {
	return job.Run{Schedule: sc.ID, Revision: sc.Revision, Due: minute(n), Next: minute(n + 1), Overlap: sc.Overlap}
}

func (b *bundle) fire(t *testing.T, run job.Run) job.Job {
	t.Helper()
	c, err := b.Fire(t.Context(), run, newJob())
	if err != nil {
		t.Fatal(err)
	}
	return c.Job
}

func (b *bundle) schedule(t *testing.T, id string) job.Schedule {
	t.Helper()
	sc, err := b.Schedule(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

// TestSchedules: a schedule is read as it was written, and changed, listed and deleted.
func TestSchedules(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{MaxCallerSchedules: 2})
	ctx := t.Context()
	sc := b.addSchedule(t, newSchedule("@acme", job.OverlapSkip))
	sc.Jobs = []string{}
	if diff := cmp.Diff(sc, b.schedule(t, sc.ID)); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
	second := b.addSchedule(t, newSchedule("@acme", job.OverlapQueue))
	if again := b.addSchedule(t, second); again.ID != second.ID { // go-redis repeats a command whose answer was lost
		t.Errorf("%+v", again)
	}
	var full *job.SchedulesFullError
	if _, err := b.AddSchedule(ctx, newSchedule("@acme", job.OverlapSkip)); !errors.As(err, &full) || full.Count != 2 || full.Limit != 2 {
		t.Errorf("one too many: %v", err)
	}
	keyed := b.addSchedule(t, newSchedule("0123456789abcdef", job.OverlapSkip))
	nobodys := b.addSchedule(t, newSchedule("", job.OverlapSkip))
	for viewer, want := range map[job.Viewer][]string{
		{Caller: "@acme"}:            {second.ID, sc.ID},
		{Caller: "@rival"}:           nil,
		{Caller: "0123456789abcdef"}: {nobodys.ID, keyed.ID},
		{Caller: ""}:                 {nobodys.ID, keyed.ID},
		{All: true}:                  {nobodys.ID, keyed.ID, second.ID, sc.ID},
	} {
		if got := b.scheduleIDs(t, viewer); !slices.Equal(got, want) {
			t.Errorf("%+v sees %v, want %v", viewer, got, want)
		}
	}
	changed := sc
	changed.Name, changed.Paused = "", true
	changed, err := b.ChangeSchedule(ctx, changed, job.NextDue{})
	if got := b.schedule(t, sc.ID); err != nil || got.Name != "" || !got.Paused || !got.Due.IsZero() || got.Revision != sc.Revision+1 || changed.Revision != got.Revision {
		t.Errorf("%v: %+v", err, got)
	}
	if _, err := b.ChangeSchedule(ctx, sc, job.NextDue{Keep: true}); !errors.Is(err, job.ErrStale) {
		t.Errorf("a change of what has changed: %v", err)
	}
	if err := b.DropSchedule(ctx, sc); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Schedule(ctx, sc.ID); !errors.Is(err, job.ErrNoSchedule) {
		t.Errorf("a deleted one: %v", err)
	}
	if _, err := b.ChangeSchedule(ctx, changed, job.NextDue{At: minute(1)}); !errors.Is(err, job.ErrNoSchedule) {
		t.Errorf("a change of a deleted one: %v", err)
	}
	if _, err := b.Fire(ctx, runOf(changed, 0), newJob()); !errors.Is(err, job.ErrMoved) {
		t.Errorf("a run of a deleted one: %v", err)
	}
	for _, other := range []job.Schedule{second, keyed, nobodys} {
		if err := b.DropSchedule(ctx, other); err != nil {
			t.Fatal(err)
		}
	}
	if left := b.rdb.Keys(ctx, "{kaa}:schedule*").Val(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// scheduleIDs reads a listing page by page.
func (b *bundle) scheduleIDs(t *testing.T, v job.Viewer) []string {
	t.Helper()
	var ids []string
	for cursor := ""; ; {
		page, next, err := b.Schedules(t.Context(), v, cursor, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, sc := range page {
			ids = append(ids, sc.ID)
		}
		if cursor = next; next == "" {
			return ids
		}
	}
}

// TestFireOnce: of several processes that fire the runs of schedules at once, one makes each job, and each run is made.
func TestFireOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	const firers, runs = 4, 25
	schedules := []job.Schedule{b.addSchedule(t, newSchedule("@acme", job.OverlapQueue)), b.addSchedule(t, newSchedule("@acme", job.OverlapQueue))}
	var made atomic.Int64
	var firing sync.WaitGroup
	for range firers {
		firing.Go(func() {
			for {
				due, now, _, err := b.DueSchedules(t.Context(), 10)
				if err != nil {
					t.Error(err)
					return
				}
				if len(due) == 0 || now.IsZero() {
					return
				}
				for _, sc := range due {
					run := runOf(sc, int(sc.Due.Sub(minute(0))/time.Minute))
					if run.Due.Equal(minute(runs - 1)) {
						run.Next = time.Time{}
					}
					switch _, err := b.Fire(t.Context(), run, newJob(func(n *job.NewJob) { n.Job.ScheduledAt = run.Due })); {
					case err == nil:
						made.Add(1)
					case !errors.Is(err, job.ErrMoved):
						t.Error(err)
						return
					}
				}
			}
		})
	}
	firing.Wait()
	times := map[string]int{}
	jobs, _, err := b.List(t.Context(), job.Filter{Limit: 1000, Viewer: job.Viewer{All: true}})
	for _, j := range jobs {
		times[j.ScheduleID+j.ScheduledAt.String()]++
	}
	if err != nil || made.Load() != runs*int64(len(schedules)) || len(jobs) != runs*len(schedules) || len(times) != len(jobs) {
		t.Errorf("%v: %d made, %d jobs, %d runs", err, made.Load(), len(jobs), len(times))
	}
	for _, sc := range schedules {
		if got := b.schedule(t, sc.ID); len(got.Jobs) != 20 || got.LastJob != got.Jobs[0] || !got.Due.IsZero() || !got.LastDue.Equal(minute(runs-1)) {
			t.Errorf("%+v", got)
		}
	}
}

// TestFireAgain: a run whose answer was lost is sent again, by go-redis or by another process. It has one job, which
// is in the outbox if its process ended before it put the task on the queue.
func TestFireAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{OutboxDelay: time.Millisecond})
	sc := b.addSchedule(t, newSchedule("@acme", job.OverlapSkip))
	n := newJob()
	for range 2 {
		if c, err := b.Fire(t.Context(), runOf(sc, 0), n); err != nil || c.Job.ID != n.Job.ID || c.Job.ScheduleID != sc.ID {
			t.Fatalf("%v: %+v", err, c)
		}
	}
	if _, err := b.Fire(t.Context(), runOf(sc, 0), newJob()); !errors.Is(err, job.ErrMoved) {
		t.Errorf("another process: %v", err)
	}
	got := b.schedule(t, sc.ID)
	if !slices.Equal(got.Jobs, []string{n.Job.ID}) || got.LastJob != n.Job.ID || !got.Due.Equal(minute(1)) || got.LastAt.IsZero() {
		t.Errorf("%+v", got)
	}
	if j := b.get(t, n.Job.ID); j.ScheduleID != sc.ID || j.State != job.Queued {
		t.Errorf("%+v", j)
	}
	if at, err := b.rdb.ZScore(t.Context(), "{kaa}:outbox", n.Job.ID).Result(); err != nil || at == 0 {
		t.Errorf("outbox: %v", err)
	}
}

// TestFireEnqueues: the task of a run's job is enqueued in the step that makes it.
func TestFireEnqueues(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{Enqueue: func(_ context.Context, j job.Job) [][]any { return [][]any{{"rpush", "tasks", j.ID}} }})
	sc := b.addSchedule(t, newSchedule("@acme", job.OverlapSkip))
	c, err := b.Fire(t.Context(), runOf(sc, 0), newJob())
	if tasks := b.rdb.LRange(t.Context(), "tasks", 0, -1).Val(); err != nil || !c.Enqueued || !slices.Equal(tasks, []string{c.Job.ID}) {
		t.Errorf("%v: %+v, tasks %v", err, c, tasks)
	}
}

// TestOverlap: what becomes of a run while jobs of its schedule wait, run or have ended.
func TestOverlap(t *testing.T) {
	t.Parallel()
	for _, overlap := range []job.Overlap{job.OverlapSkip, job.OverlapQueue, job.OverlapReplace} {
		t.Run(string(overlap), func(t *testing.T) {
			t.Parallel()
			b := setup(t, store.Config{})
			sc := b.addSchedule(t, newSchedule("@acme", overlap))
			running := b.fire(t, runOf(sc, 0)).ID
			claim := b.claim(t, running)
			asked := b.fire(t, job.Run{Schedule: sc.ID, Revision: sc.Revision, Overlap: overlap}).ID // waits, and is one of its jobs
			if got := b.schedule(t, sc.ID); !got.Due.Equal(minute(1)) {
				t.Errorf("a run that was asked for moves the time to %v", got.Due)
			}
			c, err := b.Fire(t.Context(), runOf(sc, 1), newJob())
			first, second := b.get(t, running), b.get(t, asked)
			got := b.schedule(t, sc.ID)
			var over *job.OverlapError
			skipped := errors.As(err, &over) && over.JobID == asked && got.LastSkipped.Equal(minute(1)) && len(got.Jobs) == 2
			made := err == nil && c.Job.ID != "" && len(got.Jobs) == 3
			replaced := first.CancelRequested && second.State == job.Cancelled && second.Failure.Code == job.FailCancelled
			if skipped != (overlap == job.OverlapSkip) || made == skipped || replaced != (overlap == job.OverlapReplace) || !got.Due.Equal(minute(2)) {
				t.Errorf("%v: skipped %t, made %t, replaced %t: %+v", err, skipped, made, replaced, got)
			}
			if overlap != job.OverlapSkip {
				return
			}
			if err := b.Finish(t.Context(), claim, job.Outcome{State: job.Completed, Result: result()}); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Cancel(t.Context(), asked); err != nil {
				t.Fatal(err)
			}
			b.fire(t, runOf(sc, 2))
		})
	}
}

// TestRefusedRun: a run for whose job there is no room stays due until it is passed, which says why; the next job
// clears that.
func TestRefusedRun(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{MaxDepth: 1})
	sc := b.addSchedule(t, newSchedule("@acme", job.OverlapReplace))
	waiting := b.create(t, newJob())
	var full *job.FullError
	if _, err := b.Fire(t.Context(), runOf(sc, 0), newJob()); !errors.As(err, &full) {
		t.Fatalf("%v", err)
	}
	if got := b.schedule(t, sc.ID); !got.Due.Equal(minute(0)) || got.LastJob != "" {
		t.Errorf("%+v", got)
	}
	for i, want := range []error{nil, job.ErrMoved} {
		if err := b.Pass(t.Context(), runOf(sc, 0), "no room"); !errors.Is(err, want) {
			t.Errorf("%d: %v, want %v", i, err, want)
		}
	}
	if got := b.schedule(t, sc.ID); !got.Due.Equal(minute(1)) || got.LastError != "no room" || got.LastErrorAt.IsZero() || !got.LastDue.Equal(minute(0)) {
		t.Errorf("%+v", got)
	}
	if _, err := b.Cancel(t.Context(), waiting); err != nil {
		t.Fatal(err)
	}
	b.fire(t, runOf(sc, 1))
	if got := b.schedule(t, sc.ID); got.LastError != "" || !got.LastErrorAt.IsZero() {
		t.Errorf("%+v", got)
	}
}

// TestChangeDuringRun: a change fences the runs of what was before, and none of its next runs is one that was made.
func TestChangeDuringRun(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	before := b.addSchedule(t, newSchedule("@acme", job.OverlapQueue))
	b.fire(t, runOf(before, 0))
	change := before
	change.Cron = "*/2 * * * *"
	if _, err := b.ChangeSchedule(t.Context(), change, job.NextDue{At: minute(0)}); !errors.Is(err, job.ErrStale) {
		t.Errorf("a change from before the run: %v", err)
	}
	after, err := b.ChangeSchedule(t.Context(), change, job.NextDue{Keep: true})
	if got := b.schedule(t, before.ID); err != nil || !got.Due.Equal(minute(1)) {
		t.Errorf("%v: %+v", err, got)
	}
	if _, err := b.Fire(t.Context(), runOf(before, 1), newJob()); !errors.Is(err, job.ErrMoved) {
		t.Errorf("a run of what was before: %v", err)
	}
	if err := b.Pass(t.Context(), runOf(before, 1), ""); !errors.Is(err, job.ErrMoved) {
		t.Errorf("a run of what was before is passed: %v", err)
	}
	b.fire(t, runOf(after, 1))
}

// TestDueSchedules: those that are due, the oldest first, and the time until the next one.
func TestDueSchedules(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	look := func(most int) (ids string, next time.Duration) {
		t.Helper()
		due, _, next, err := b.DueSchedules(t.Context(), most)
		if err != nil {
			t.Fatal(err)
		}
		for _, sc := range due {
			ids += fmt.Sprintf(" %s %s", sc.ID, sc.Due.Format(time.TimeOnly))
		}
		return ids, next
	}
	if ids, next := look(10); ids != "" || next >= 0 {
		t.Errorf("%q, %v", ids, next)
	}
	later := newSchedule("@acme", job.OverlapSkip)
	later.Due = time.Now().Add(time.Hour)
	b.addSchedule(t, later)
	if ids, next := look(10); ids != "" || next < 50*time.Minute || next > 70*time.Minute {
		t.Errorf("%q, %v", ids, next)
	}
	first, second := newSchedule("@acme", job.OverlapSkip), newSchedule("@acme", job.OverlapSkip)
	first.Due, second.Due = minute(1), minute(2)
	b.addSchedule(t, second)
	b.addSchedule(t, first)
	if ids, _ := look(10); ids != " "+first.ID+" 00:01:00 "+second.ID+" 00:02:00" {
		t.Errorf("%q", ids)
	}
	if ids, _ := look(1); ids != " "+first.ID+" 00:01:00" {
		t.Errorf("%q", ids)
	}
}
