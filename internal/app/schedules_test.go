package app_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// aSchedule has no run while a test lasts: the next one is in the year of a leap day.
func aSchedule() fields {
	return fields{"cron": "0 0 29 2 *", "job": fields{"code": "print(42)"}}
}

// withSchedules starts a Kaa with two API processes that look for due schedules all the time.
func withSchedules(t *testing.T, vars ...string) *kaa {
	t.Helper()
	k := prepare(t, testenv.Redis(t), vars...)
	k.periods.Schedules = 50 * time.Millisecond
	k.run(app.RunAPI)
	k.startAll(1)
	return k
}

func (k *kaa) schedule(body fields) string {
	k.tb.Helper()
	a := k.call(http.MethodPost, "/v1/schedules", body)
	if a.status != http.StatusCreated || a.header.Get("Location") != "/v1/schedules/"+a.str("id") {
		k.tb.Fatalf("%d %s", a.status, a.raw)
	}
	return a.str("id")
}

// due makes a run of a schedule due that should have come before.
func (k *kaa) due(t *testing.T, id string, before time.Duration) time.Time {
	t.Helper()
	at := time.Now().Add(-before).Truncate(time.Minute).UTC()
	rdb := k.redis.Client(t)
	if err := rdb.ZAddXX(t.Context(), "{kaa}:schedules", redis.Z{Score: float64(at.UnixMilli()), Member: id}).Err(); err != nil {
		t.Fatal(err)
	}
	return at
}

// awaitSchedule waits until a schedule is as wanted.
func (k *kaa) awaitSchedule(t *testing.T, id string, wanted func(answer) bool) answer {
	t.Helper()
	var a answer
	testenv.Eventually(t, "the schedule", func() bool {
		a = k.call(http.MethodGet, "/v1/schedules/"+id, nil)
		return a.status == http.StatusOK && wanted(a)
	})
	return a
}

// TestSchedules: a schedule makes jobs that run, is changed, paused, resumed and run by hand.
func TestSchedules(t *testing.T) {
	t.Parallel()
	k := withSchedules(t)
	id := k.schedule(fields{
		"name": "report", "cron": "0 0 29 2 *", "timeZone": "Europe/Berlin", "overlap": "queue",
		"job": fields{
			"code": "print(open('in').read())", "envs": fields{"A": "hidden-value"}, "metadata": fields{"n": 1}, "queue": "low",
			"webhook": fields{"url": "https://example.com/hook", "secret": "hidden-secret"}, "files": []fields{{"path": "in", "content": "content"}},
		},
	})
	shown := k.call(http.MethodGet, "/v1/schedules/"+id, nil)
	next, _ := shown.body["nextRuns"].([]any)
	if len(next) != 5 || next[0] != "2028-02-28T23:00:00Z" || shown.body["lastRun"] != nil || strings.Contains(shown.raw, "hidden") {
		t.Errorf("%s", shown.raw)
	}
	k.due(t, id, 0)
	ran := k.awaitSchedule(t, id, func(a answer) bool { return strings.Contains(a.raw, `"state":"completed"`) })
	jobs, _ := ran.body["jobs"].([]any)
	if len(jobs) != 1 {
		t.Fatalf("%s", ran.raw)
	}
	made := k.await(fmt.Sprint(jobs[0]))
	if made.str("scheduleId") != id || made.str("scheduledAt") == "" || made.str("queue") != "low" || !strings.Contains(made.raw, `"stdout":"content\n"`) {
		t.Errorf("%s", made.raw)
	}
	if a := k.call(http.MethodPost, "/v1/schedules/"+id+"/pause", nil); a.status != http.StatusOK || a.body["paused"] != true || !strings.Contains(a.raw, `"nextRuns":[]`) {
		t.Errorf("%d %s", a.status, a.raw)
	}
	byHand := k.call(http.MethodPost, "/v1/schedules/"+id+"/run", nil)
	if byHand.status != http.StatusAccepted || byHand.str("scheduleId") != id || byHand.header.Get("Location") != "/v1/jobs/"+byHand.str("id") {
		t.Fatalf("%d %s", byHand.status, byHand.raw)
	}
	k.await(byHand.str("id"))
	if a := k.call(http.MethodPost, "/v1/schedules/"+id+"/resume", nil); a.status != http.StatusOK || a.body["paused"] != false || !strings.Contains(a.raw, "2028-02-28T23:00:00Z") {
		t.Errorf("%d %s", a.status, a.raw)
	}
	replaced := aSchedule()
	replaced["cron"] = "0 12 29 2 *"
	if a := k.call(http.MethodPut, "/v1/schedules/"+id, replaced); a.status != http.StatusOK || !strings.Contains(a.raw, "2028-02-29T12:00:00Z") || a.str("name") != "" || a.str("timeZone") != "UTC" || a.str("overlap") != "skip" {
		t.Errorf("%d %s", a.status, a.raw)
	}
	second := k.schedule(aSchedule())
	var listed []string
	for cursor := ""; ; {
		a := k.call(http.MethodGet, "/v1/schedules?limit=1&cursor="+cursor, nil)
		all, _ := a.body["schedules"].([]any)
		for _, one := range all {
			listed = append(listed, one.(map[string]any)["id"].(string)) //nolint:forcetypeassert // the test fails
		}
		if cursor = a.str("nextCursor"); cursor == "" {
			break
		}
	}
	if !slices.Equal(listed, []string{second, id}) {
		t.Errorf("listed %v", listed)
	}
	if a := k.call(http.MethodDelete, "/v1/schedules/"+id, nil); a.status != http.StatusNoContent {
		t.Errorf("%d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodGet, "/v1/schedules/"+id, nil); a.status != http.StatusNotFound || !strings.Contains(a.raw, "no schedule") {
		t.Errorf("%d %s", a.status, a.raw)
	}
	k.await(byHand.str("id"))
}

// TestSchedulesGoOn: a run that cannot be made is shown and logged, and the next one is made; one that was missed is
// made up for once; one that overlaps is left out.
func TestSchedulesGoOn(t *testing.T) {
	t.Parallel()
	k := withSchedules(t, "KAA_MAX_QUEUE_DEPTH=1", "KAA_CONCURRENCY=1")
	body := aSchedule()
	body["cron"] = "0 0 * * *"
	id := k.schedule(body)
	waiting := k.submit(fields{"code": "1", "delay": 3600})
	k.due(t, id, 49*time.Hour)
	full := k.awaitSchedule(t, id, func(a answer) bool { return a.str("lastError") != "" })
	if !strings.Contains(full.str("lastError"), "the limit is 1") || full.body["lastRun"] != nil || full.str("lastErrorAt") == "" {
		t.Errorf("%s", full.raw)
	}
	k.awaitLine(t, "run of a schedule made no job", fields{"schedule_id": id})
	if a := k.call(http.MethodDelete, "/v1/jobs/"+waiting, nil); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	k.due(t, id, 0)
	made := k.awaitSchedule(t, id, func(a answer) bool { return strings.Contains(a.raw, `"state":"completed"`) })
	if jobs, _ := made.body["jobs"].([]any); len(jobs) != 1 || made.str("lastError") != "" {
		t.Errorf("%s", made.raw)
	}
	body["job"] = fields{"code": "1", "queue": "low"}
	if a := k.call(http.MethodPut, "/v1/schedules/"+id, body); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	busy := k.submit(fields{"code": "input()", "queue": "low", "delay": 3600})
	k.redis.Client(t).LPush(context.Background(), "{kaa}:schedule:"+id+":jobs", busy) // as if it were the schedule's own
	at := k.due(t, id, 0)
	over := k.awaitSchedule(t, id, func(a answer) bool { return a.str("lastSkippedAt") != "" })
	if over.str("lastSkippedAt") != at.Format(time.RFC3339) || over.str("lastError") != "" {
		t.Errorf("%s", over.raw)
	}
}

// TestBadSchedules: what is refused, and the words for it.
func TestBadSchedules(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_MAX_SCHEDULES_PER_KEY=1")
	with := func(name string, value any) fields {
		body := aSchedule()
		body[name] = value
		return body
	}
	for _, c := range []struct {
		body fields
		want string
	}{
		{with("cron", "0 0 31 2 *"), "body.cron: \\\"0 0 31 2 *\\\" never comes"},
		{with("cron", "0 0 * *"), "body.cron: has 4 fields and not 5"},
		{with("cron", "0 25 * * *"), "body.cron: field 2, hour"},
		{with("cron", "@every 5s"), "body.cron"},
		{with("cron", "CRON_TZ=UTC 0 0 * * *"), "body.cron"},
		{with("cron", ""), "body.cron"},
		{with("timeZone", "Mars/Olympus"), "body.timeZone: \\\"Mars/Olympus\\\" is no time zone"},
		{with("overlap", "fight"), "body.overlap"},
		{with("startingDeadline", 0), "body.startingDeadline: must be from 10"},
		{with("startingDeadline", 1e300), "body.startingDeadline"},
		{with("job", fields{"code": ""}), "body.job.code: is empty"},
		{with("job", fields{"code": "1", "timeout": 1e9}), "body.job.timeout"},
		{with("job", fields{"code": "1", "delay": 5}), "body.job: delay and runAt"},
		{with("job", fields{"code": "1", "sessionId": "01a00000-0000-7000-8000-000000000000"}), "body.job.sessionId"},
		{with("job", fields{"code": "1", "queue": "none"}), "body.job.queue"},
		{with("job", fields{"code": "#" + strings.Repeat("x", 300_000)}), "body.job: takes 300"},
		{with("job", fields{}), "code"},
		{with("job", nil), "body.job"},
		{with("seconds", 1), "body.seconds"},
		{fields{"job": fields{"code": "1"}}, "cron"},
	} {
		if a := k.call(http.MethodPost, "/v1/schedules", c.body); a.status != http.StatusBadRequest || !strings.Contains(a.raw, c.want) {
			t.Errorf("%.100v: %d %s, want %s", c.body, a.status, a.raw, c.want)
		}
	}
	id := k.schedule(aSchedule())
	if a := k.call(http.MethodPut, "/v1/schedules/"+id, with("cron", "x")); a.status != http.StatusBadRequest {
		t.Errorf("%d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodPost, "/v1/schedules", aSchedule()); a.status != http.StatusTooManyRequests || a.str("code") != "too_many_schedules" || a.body["limit"] != 1.0 {
		t.Errorf("%d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodGet, "/v1/schedules?cursor=x", nil); a.status != http.StatusBadRequest {
		t.Errorf("%d %s", a.status, a.raw)
	}
	for _, unknown := range []string{"x", "01a00000-0000-7000-8000-000000000000", "..%2f.."} {
		if a := k.call(http.MethodPost, "/v1/schedules/"+unknown+"/run", nil); a.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", unknown, a.status, a.raw)
		}
	}
}

// TestScheduleOutlivesKey: a schedule belongs to the tenant, and goes on when the key that made it is revoked.
func TestScheduleOutlivesKey(t *testing.T) {
	t.Parallel()
	acme, rival := withTenants(t)
	admin := acme.as(adminOfTests)
	made := admin.call(http.MethodPost, "/v1/keys", fields{"tenant": "acme"})
	id := acme.as(made.str("key")).schedule(aSchedule())
	if a := admin.call(http.MethodDelete, "/v1/keys/"+made.str("id"), nil); a.status != http.StatusNoContent {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	for who, k := range map[string]*kaa{"": acme, "the operator": admin, "another tenant": rival} {
		if a := k.call(http.MethodGet, "/v1/schedules", nil); strings.Contains(a.raw, id) == (k == rival) {
			t.Errorf("list of %s: %s", who, a.raw)
		}
	}
	ran := acme.call(http.MethodPost, "/v1/schedules/"+id+"/run", nil)
	if ran.status != http.StatusAccepted {
		t.Fatalf("%d %s", ran.status, ran.raw)
	}
	acme.await(ran.str("id"))
	// An operator runs it for the tenant, whose job it is.
	ran = admin.call(http.MethodPost, "/v1/schedules/"+id+"/run", nil)
	acme.await(ran.str("id"))
}
