package app_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// operated starts a Kaa with an operator, who is its client.
func operated(t *testing.T, runners int, vars ...string) *kaa {
	t.Helper()
	k := prepare(t, testenv.Redis(t), append([]string{"KAA_ADMIN_KEYS=" + adminOfTests}, vars...)...)
	k.key = adminOfTests
	k.startAll(runners)
	return k
}

// runnerIDs lists the runners that are alive.
func (k *kaa) runnerIDs() (ids []string) {
	k.tb.Helper()
	for _, r := range k.call(http.MethodGet, "/v1/runners", nil).body["runners"].([]any) {
		ids = append(ids, r.(map[string]any)["id"].(string))
	}
	return ids
}

// ok makes a call that has to succeed.
func (k *kaa) ok(method, path string, body any) answer {
	k.tb.Helper()
	a := k.call(method, path, body)
	if a.status >= http.StatusBadRequest {
		k.tb.Fatalf("%s %s: %d %s", method, path, a.status, a.raw)
	}
	return a
}

// TestPausedQueue: what is submitted to a paused queue waits, whatever is stopped and started; what runs
// ends; other queues go on.
func TestPausedQueue(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t), "KAA_ADMIN_KEYS="+adminOfTests, "KAA_SYNC_QUEUE_WAIT=1s")
	k.key = adminOfTests
	addr, stopAPI := k.run(app.RunAPI)
	k.url = "http://" + addr.String()
	_, stopRunner := k.run(app.RunRunner)

	running := k.submit(fields{"code": "input()", "stdin": "x", "queue": "low"})
	k.await(running)
	if a := k.ok(http.MethodPost, "/v1/queues/default/pause", nil); a.str("paused") != "true" || a.str("pausedAt") == "" {
		t.Errorf("pause: %s", a.raw)
	}
	k.ok(http.MethodPost, "/v1/queues/default/pause", nil) // again is no error
	waiting := k.submit(fields{"code": "print(1)"})
	later := k.submit(fields{"code": "print(2)", "delay": 0.01})
	k.await(k.submit(fields{"code": "1", "queue": "low"}))
	stillWaits := func(when string) {
		t.Helper()
		for _, id := range []string{waiting, later} {
			if a := k.call(http.MethodGet, "/v1/jobs/"+id, nil); a.str("startedAt") != "" || a.str("state") == "queued" && a.str("waitsFor") != "paused" {
				t.Errorf("%s: %s", when, a.raw)
			}
		}
	}
	stillWaits("another queue has been served")
	if a := k.ok(http.MethodGet, "/v1/queues/default/tasks", nil); a.str("paused") != "true" || a.str("pending") == "0" {
		t.Errorf("tasks: %s", a.raw)
	}
	if a := k.call(http.MethodPost, executePath, fields{"code": "1"}); a.status != http.StatusServiceUnavailable || a.str("code") != "queue_paused" {
		t.Errorf("a synchronous call: %d %s", a.status, a.raw)
	}
	if err := stopRunner(); err != nil {
		t.Fatal(err)
	}
	if err := stopAPI(); err != nil {
		t.Fatal(err)
	}
	k.startAll(1)
	k.await(k.submit(fields{"code": "1", "queue": "low"}))
	stillWaits("all has been started again")
	if a := k.ok(http.MethodPost, "/v1/queues/default/resume", nil); a.str("paused") != "false" || strings.Contains(a.raw, "pausedAt") {
		t.Errorf("resume: %s", a.raw)
	}
	k.ok(http.MethodPost, "/v1/queues/default/resume", nil)
	for _, id := range []string{waiting, later} {
		if a := k.await(id); a.str("state") != "completed" {
			t.Errorf("after the pause: %s", a.raw)
		}
	}
	for _, name := range []string{"none", "operations", "default:of:x"} {
		if a := k.call(http.MethodPost, "/v1/queues/"+name+"/pause", nil); a.status != http.StatusNotFound {
			t.Errorf("queue %s: %d %s", name, a.status, a.raw)
		}
	}
}

// TestPausedSessions: executions of sessions wait, and what else is done to a session does not.
func TestPausedSessions(t *testing.T) {
	t.Parallel()
	k := operated(t, 1)
	session := k.open(fields{})
	fresh := k.open(fields{}) // has no interpreter yet
	k.in(session, "x = 1")
	k.ok(http.MethodPost, "/v1/queues/sessions/pause", nil)
	first, second := k.submit(fields{"code": "print(x)", "sessionId": session}), k.submit(fields{"code": "print(x)", "sessionId": fresh})
	k.execute(fields{"code": "print(1)"}) // is of another queue
	for _, id := range []string{first, second} {
		if a := k.call(http.MethodGet, "/v1/jobs/"+id, nil); a.str("state") != "queued" || a.str("waitsFor") != "paused" {
			t.Errorf("paused: %s", a.raw)
		}
	}
	other := k.open(fields{})
	k.ok(http.MethodGet, "/v1/sessions/"+other+"/files", nil)
	k.ok(http.MethodPost, "/v1/queues/sessions/resume", nil)
	if a := k.await(first); a.str("result.stdout") != "1\n" {
		t.Errorf("after the pause: %s", a.raw)
	}
	if a := k.await(second); a.str("result.error.name") != "NameError" {
		t.Errorf("after the pause: %s", a.raw)
	}
}

// TestDrainedRunner: it takes nothing, ends what it executes, loses its sessions, and takes jobs again when
// it is resumed.
func TestDrainedRunner(t *testing.T) {
	t.Parallel()
	k := operated(t, 2, "KAA_CONCURRENCY=1")
	ids := k.runnerIDs()
	one, other := ids[0], ids[1]
	sessions := []string{k.open(fields{}), k.open(fields{})} // each runner gets one
	on := func(id string) string { return k.call(http.MethodGet, "/v1/sessions/"+id, nil).str("runner") }
	if slices.IndexFunc(sessions, func(id string) bool { return on(id) == one }) == 1 {
		slices.Reverse(sessions)
	}
	k.in(sessions[0], "x = 1")
	k.in(sessions[1], "x = 1")
	if a := k.ok(http.MethodPost, "/v1/runners/"+one+"/drain", nil); a.str("drained") != "true" || a.str("id") != one {
		t.Errorf("drain: %s", a.raw)
	}
	testenv.Eventually(t, "the session has ended", func() bool {
		return k.call(http.MethodGet, "/v1/sessions/"+sessions[0], nil).str("state") == "ended"
	})
	k.wantEnded(sessions[0], "drained")
	k.in(sessions[1], "print(x)")
	shows := func(id, field string) bool {
		for _, r := range k.call(http.MethodGet, "/v1/runners", nil).body["runners"].([]any) {
			if fields := r.(map[string]any); fields["id"] == id {
				return fields[field] == true
			}
		}
		return false
	}
	testenv.Eventually(t, "it says that it drains", func() bool { return shows(one, "draining") && shows(one, "drained") })
	allOn := func(want string) {
		t.Helper()
		var jobs []string
		for range 6 {
			jobs = append(jobs, k.submit(fields{"code": "1"}))
		}
		for _, id := range jobs {
			if a := k.await(id); a.str("runner") != want || a.str("state") != "completed" {
				t.Errorf("not on %s: %s", want, a.raw)
			}
		}
		if id := k.open(fields{}); on(id) != want {
			t.Errorf("a session is opened on %s", on(id))
		}
	}
	allOn(other)
	k.ok(http.MethodPost, "/v1/runners/"+one+"/resume", nil)
	k.ok(http.MethodPost, "/v1/runners/"+other+"/drain", nil)
	testenv.Eventually(t, "they have changed places", func() bool { return !shows(one, "draining") && shows(other, "draining") })
	allOn(one)
	if a := k.call(http.MethodPost, "/v1/runners/01a00000-0000-7000-8000-000000000000/drain", nil); a.status != http.StatusNotFound {
		t.Errorf("a runner that is not there: %d %s", a.status, a.raw)
	}
}

// TestDrainedRunnerEndsItsJobs: a job that runs when its runner is drained comes to its end there.
func TestDrainedRunnerEndsItsJobs(t *testing.T) {
	t.Parallel()
	k := operated(t, 1)
	session := k.open(fields{})
	k.in(session, "x = 1")
	release := "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint(x)"
	id := k.submit(fields{"code": release, "sessionId": session})
	testenv.Eventually(t, "it runs", func() bool { return k.call(http.MethodGet, "/v1/jobs/"+id, nil).str("state") == "running" })
	k.ok(http.MethodPost, "/v1/runners/"+k.runnerIDs()[0]+"/drain", nil)
	testenv.Eventually(t, "the session accepts no more", func() bool {
		return k.call(http.MethodPost, "/v1/jobs", fields{"code": "1", "sessionId": session}).status == http.StatusGone
	})
	if a := k.call(http.MethodGet, "/v1/jobs/"+id, nil); a.str("state") != "running" {
		t.Errorf("the drain has ended what ran: %s", a.raw)
	}
	k.ok(http.MethodDelete, "/v1/jobs/"+id, nil)
	if a := k.await(id); a.str("state") != "cancelled" {
		t.Errorf("%s", a.raw)
	}
}

// TestKilledWhileDrained: the pause of a queue outlives a runner, and a drain does not.
func TestKilledWhileDrained(t *testing.T) {
	t.Parallel()
	k := operated(t, 0)
	killed := k.spawnRunner()
	id := k.runnerIDs()[0]
	k.ok(http.MethodPost, "/v1/runners/"+id+"/drain", nil)
	k.ok(http.MethodPost, "/v1/queues/low/pause", nil)
	waiting, job := k.submit(fields{"code": "1", "queue": "low"}), k.submit(fields{"code": "1"})
	_ = killed.Process.Kill()
	k.run(app.RunRunner)
	k.await(job)
	if a := k.call(http.MethodGet, "/v1/jobs/"+waiting, nil); a.str("state") != "queued" {
		t.Errorf("on the paused queue: %s", a.raw)
	}
	rdb := k.redis.Client(t)
	testenv.Eventually(t, "the drain of the lost runner is forgotten", func() bool {
		return !rdb.SIsMember(t.Context(), "{kaa}:drained", id).Val()
	})
	k.ok(http.MethodPost, "/v1/queues/low/resume", nil)
	k.await(waiting)
}

// TestConfig: an operator sees the settings in force, and no key.
func TestConfig(t *testing.T) {
	t.Parallel()
	k := operated(t, 0, "KAA_API_KEYS=another-key-of-tests")
	a := k.ok(http.MethodGet, "/v1/config", nil)
	if strings.Contains(a.raw, adminOfTests) || strings.Contains(a.raw, "another-key") || strings.Contains(a.raw, k.redis.URL) {
		t.Errorf("a secret is shown: %s", a.raw)
	}
	for _, want := range []string{`{"name":"KAA_API_KEYS","value":"***","default":"","secret":true,"changed":true}`, `{"name":"KAA_CONCURRENCY","value":"2","default":"0","changed":true}`} {
		if !strings.Contains(a.raw, want) {
			t.Errorf("%s is missing in %s", want, a.raw)
		}
	}
	if a := k.as("another-key-of-tests").call(http.MethodGet, "/v1/config", nil); a.status != http.StatusForbidden {
		t.Errorf("without the scope: %d", a.status)
	}
}
