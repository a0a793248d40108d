package chaos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// perPolicy is the number of schedules with each overlap policy.
const perPolicy = 12

// chaosSchedule is a schedule that is due at each minute, as far as the test knows it.
type chaosSchedule struct {
	id, overlap string
}

// scheduledJob is what the test reads of a job that a schedule has made.
type scheduledJob struct {
	ID, State, ScheduleID string
	ScheduledAt           time.Time
}

// TestChaosSchedules breaks processes and Redis while schedules are due, and expects of each minute that each schedule has one
// job for it, or with the policy skip a run that was left out because the job before had not ended.
func TestChaosSchedules(t *testing.T) { //nolint:paralleltest // it measures times
	if *duration == 0 {
		t.Skip("run by make test-long")
	}
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	minutes := 1 + int(*duration/time.Minute)
	t.Logf("seed %d, %d minutes", *seed, minutes)
	c := startCluster(t, 2, 2, "KAA_MAX_SCHEDULES_PER_KEY=0", "KAA_CONCURRENCY=40")
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(minutes+3)*time.Minute)
	defer cancel()
	cl := newClient(c.apis)
	defer cl.http.CloseIdleConnections()
	// The schedules are made some seconds before they are due.
	if left := untilMinute(); left < 15*time.Second {
		pause(ctx, left)
	}
	schedules := makeSchedules(ctx, t, cl)
	first := time.Now().UTC().Truncate(time.Minute).Add(time.Minute)
	c.breakThings(ctx, scheduleFaults(*seed, time.Until(first), minutes, len(c.apis), len(c.runners)))
	last := first.Add(time.Duration(minutes-1) * time.Minute)
	r := &report{tb: t, ends: map[string]int{}, problems: map[string]int{}}
	// A run comes at the latest when the last fault is over.
	settled, done := context.WithTimeout(ctx, 50*time.Second)
	for _, sc := range schedules {
		for !sc.isPast(settled, cl, last) && settled.Err() == nil {
			pause(settled, 200*time.Millisecond)
		}
	}
	done()
	made := jobsOfSchedules(ctx, t, cl)
	for _, sc := range schedules {
		sc.check(ctx, r, cl, made[sc.id], first, last)
	}
	r.print(cl.statuses)
	for _, w := range cl.wrong {
		t.Errorf("wrong answer: %s", w)
	}
	for _, sc := range schedules {
		_, _ = cl.insist(ctx, 5*time.Second, http.MethodDelete, "/v1/schedules/"+sc.id, nil)
	}
	c.stop()
}

func untilMinute() time.Duration {
	return time.Until(time.Now().Truncate(time.Minute).Add(time.Minute))
}

// makeSchedules makes those of all policies. A job of queue ends soon, that of the others outlives the next minutes.
func makeSchedules(ctx context.Context, t *testing.T, cl *client) (all []chaosSchedule) {
	t.Helper()
	for _, overlap := range []string{"skip", "queue", "replace"} {
		code := "import time; time.sleep(600)"
		if overlap == "queue" {
			code = "print(42)"
		}
		for range perPolicy {
			a, err := cl.insist(ctx, 5*time.Second, http.MethodPost, "/v1/schedules", map[string]any{
				"cron": "* * * * *", "overlap": overlap, "job": map[string]any{"code": code, "timeout": 600, "maxAttempts": 5},
			})
			if err != nil || a.status != http.StatusCreated {
				t.Fatalf("schedule: %v %d %s", err, a.status, a.raw)
			}
			all = append(all, chaosSchedule{id: a.view().ID, overlap: overlap})
		}
	}
	return all
}

// scheduleFaults plans a fault of each kind around each minute: an API process dies within the second in which the runs are made, Redis or
// the way to it is cut, and a runner dies.
func scheduleFaults(seed uint64, first time.Duration, minutes, apis, runners int) (plan []fault) {
	random := rand.New(rand.NewPCG(seed, 1<<41))
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(random.Int64N(int64(most-least)))
	}
	for n := range minutes {
		at := first + time.Duration(n)*time.Minute
		api := random.IntN(apis)
		plan = append(plan,
			fault{at: at + between(0, 300*time.Millisecond), lasts: between(time.Second, 3*time.Second), kind: "api kill", target: api},
			fault{at: at + between(0, time.Second), lasts: between(2*time.Second, 5*time.Second), kind: "runner kill", target: random.IntN(runners)},
		)
		other := fault{at: at - between(0, 500*time.Millisecond), lasts: between(time.Second, 4*time.Second), target: (api + 1) % apis}
		other.kind = []string{"redis kill", "redis freeze", "api cut", "api freeze", "reset all", "script flush"}[(random.IntN(6)+n)%6]
		plan = append(plan, other)
	}
	slices.SortFunc(plan, func(a, b fault) int { return int(a.at - b.at) })
	return plan
}

// isPast reports whether the run of a minute was made or left out.
func (s chaosSchedule) isPast(ctx context.Context, cl *client, minute time.Time) bool {
	v, ok := s.look(ctx, cl)
	return ok && (!v.LastRun.At.Before(minute) || !v.LastSkippedAt.Before(minute))
}

type scheduleView struct {
	LastRun       struct{ At time.Time }
	LastSkippedAt time.Time
	LastError     string
}

func (s chaosSchedule) look(ctx context.Context, cl *client) (v scheduleView, ok bool) {
	a, err := cl.insist(ctx, 5*time.Second, http.MethodGet, "/v1/schedules/"+s.id, nil)
	return v, err == nil && a.status == http.StatusOK && json.Unmarshal(a.raw, &v) == nil
}

// jobsOfSchedules returns all jobs by the schedule that made them.
func jobsOfSchedules(ctx context.Context, t *testing.T, cl *client) map[string][]scheduledJob {
	t.Helper()
	made := map[string][]scheduledJob{}
	for cursor := ""; ; {
		a, err := cl.insist(ctx, 5*time.Second, http.MethodGet, "/v1/jobs?limit=500"+cursor, nil)
		var page struct {
			Jobs       []scheduledJob
			NextCursor string
		}
		if err == nil {
			err = json.Unmarshal(a.raw, &page)
		}
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("list: %v %d %s", err, a.status, a.raw)
		}
		for _, j := range page.Jobs {
			made[j.ScheduleID] = append(made[j.ScheduleID], j)
		}
		if page.NextCursor == "" {
			return made
		}
		cursor = "&cursor=" + page.NextCursor
	}
}

// check compares the jobs of a schedule with what its policy promises.
func (s chaosSchedule) check(ctx context.Context, r *report, cl *client, jobs []scheduledJob, first, last time.Time) {
	by := map[time.Time][]scheduledJob{}
	for _, j := range jobs {
		by[j.ScheduledAt.UTC()] = append(by[j.ScheduledAt.UTC()], j)
		r.ends[fmt.Sprintf("%s: %s", s.overlap, j.State)]++
	}
	describe := func() string { text, _ := json.Marshal(jobs); return strings.TrimSpace(string(text)) }
	for at, some := range by {
		if len(some) > 1 {
			r.problem("two jobs for one time", "%s %s, %s: %s", s.overlap, s.id, at, describe())
		}
		if at.After(last) { // a minute later than those that are looked at
			delete(by, at)
		}
	}
	for at := first; !at.After(last); at = at.Add(time.Minute) {
		some := by[at]
		switch {
		case s.overlap == "skip" && !at.Equal(first):
			if len(some) > 0 {
				r.problem("not skipped", "%s, %s: %s", s.id, at, describe())
			}
		case len(some) != 1:
			r.problem("no job for a time", "%s %s, %s: %s", s.overlap, s.id, at, describe())
		case s.overlap == "replace" && at.Before(last):
			if v, _, err := cl.await(ctx, some[0].ID); err != nil || v.State != "cancelled" {
				r.problem("not replaced", "%s, %s: %v %s", s.id, at, err, v.State)
			}
		case s.overlap == "queue":
			if v, _, err := cl.await(ctx, some[0].ID); err != nil || v.State != "completed" {
				r.problem("not executed", "%s, %s: %v %s %+v", s.id, at, err, v.State, v.Failure)
			}
		}
	}
	v, ok := s.look(ctx, cl)
	if ok && v.LastError != "" {
		r.problem("a run made no job", "%s %s: %s", s.overlap, s.id, v.LastError)
	}
	if ok && s.overlap == "skip" && last.After(first) && v.LastSkippedAt.Before(last) {
		r.problem("not shown as skipped", "%s: %s, want %s", s.id, v.LastSkippedAt, last)
	}
}
