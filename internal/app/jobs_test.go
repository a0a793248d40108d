package app_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestJob(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	a := k.call(http.MethodPost, "/v1/jobs", fields{
		"code": "print(1)", "queue": "low", "maxAttempts": 3, "resultTtl": 60, "metadata": fields{"big": "x"},
	})
	if a.status != http.StatusAccepted || a.header.Get("Location") != "/v1/jobs/"+a.str("id") || a.str("state") != "queued" || a.str("attempt") != "0" {
		t.Fatalf("%d %v %s", a.status, a.header, a.raw)
	}
	end := k.await(a.str("id"))
	for path, want := range map[string]string{
		"state": "completed", "queue": "low", "attempt": "1", "maxAttempts": "3", "metadata.big": "x",
		"result.status": "ok", "result.stdout": "1\n", "result.jobId": a.str("id"), "result.sessionId": end.str("sessionId"),
	} {
		if got := end.str(path); got != want {
			t.Errorf("%s = %q, want %q (%s)", path, got, want, end.raw)
		}
	}
	runners := k.call(http.MethodGet, "/v1/runners", nil)
	if end.str("runner") == "" || !strings.Contains(runners.raw, end.str("runner")) {
		t.Errorf("runner of the job is not among %s", runners.raw)
	}
	for _, at := range []string{"createdAt", "startedAt", "finishedAt"} {
		if _, err := time.Parse(time.RFC3339, end.str(at)); err != nil {
			t.Errorf("%s: %v", at, err)
		}
	}
}

// TestWholeNumbers: 2, 2.0 and 2e0 are the same number in JSON.
func TestWholeNumbers(t *testing.T) {
	t.Parallel()
	k := start(t, 0)
	for _, n := range []string{"2", "2.0", "2e0"} {
		a := k.call(http.MethodPost, "/v1/jobs", `{"code": "1", "maxAttempts": `+n+`}`)
		if a.status != http.StatusAccepted || a.str("maxAttempts") != "2" {
			t.Errorf("maxAttempts %s: %d %s", n, a.status, a.raw)
		}
	}
}

func TestDelayedJobs(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	for name, later := range map[string]func() any{
		"delay": func() any { return 0.5 },
		"runAt": func() any { return time.Now().Add(500 * time.Millisecond).Format(time.RFC3339Nano) },
	} {
		body := fields{"code": "print(1)", name: later()}
		a := k.call(http.MethodPost, "/v1/jobs", body)
		if a.str("state") != "scheduled" {
			t.Errorf("%s: %s", name, a.raw)
		}
		end := k.await(a.str("id"))
		due, err1 := time.Parse(time.RFC3339, end.str("scheduledAt"))
		started, err2 := time.Parse(time.RFC3339, end.str("startedAt"))
		if end.str("state") != "completed" || err1 != nil || err2 != nil || started.Before(due) {
			t.Errorf("%s: started %s after it was due: %s", name, started.Sub(due), end.raw)
		}
		testenv.Within(t, 3*time.Second, due)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	k := start(t, 0)
	waiting := k.submit(fields{"code": "print(1)"})
	later := k.submit(fields{"code": "print(1)", "delay": 3600})
	for _, id := range []string{waiting, later} {
		if a := k.call(http.MethodDelete, "/v1/jobs/"+id, nil); a.status != http.StatusOK || a.str("state") != "cancelled" {
			t.Errorf("cancel of a waiting job: %d %s", a.status, a.raw)
		}
		if a := k.call(http.MethodDelete, "/v1/jobs/"+id, nil); a.status != http.StatusConflict || a.str("code") != "already_finished" {
			t.Errorf("second cancel: %d %s", a.status, a.raw)
		}
	}
	k.run(app.RunRunner)
	running := k.submit(fields{"code": "import time\nprint('begun')\ntime.sleep(60)"})
	testenv.Eventually(t, "the job gets there", func() bool { return k.call(http.MethodGet, "/v1/jobs/"+running, nil).str("state") == "running" })
	asked := time.Now()
	if a := k.call(http.MethodDelete, "/v1/jobs/"+running, nil); a.status != http.StatusAccepted || a.str("cancelRequested") != "true" {
		t.Errorf("cancel of a running job: %d %s", a.status, a.raw)
	}
	end := k.await(running)
	testenv.Within(t, 2*time.Second, asked)
	if end.str("state") != "cancelled" || end.str("result.status") != "interrupted" {
		t.Errorf("job = %s", end.raw)
	}
	if a := k.call(http.MethodGet, "/v1/jobs/"+waiting, nil); a.str("attempt") != "0" {
		t.Errorf("a cancelled job was started: %s", a.raw)
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	k := start(t, 0)
	first := k.submit(fields{"code": "print(1)"}, "Idempotency-Key: a")
	again := k.call(http.MethodPost, "/v1/jobs", fields{"code": "print(1)"}, "Idempotency-Key: a")
	if again.status != http.StatusAccepted || again.str("id") != first || again.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("same request: %d %v %s", again.status, again.header, again.raw)
	}
	other := k.call(http.MethodPost, "/v1/jobs", fields{"code": "print(2)"}, "Idempotency-Key: a")
	if other.status != http.StatusConflict || other.str("code") != "idempotency_mismatch" {
		t.Errorf("other request: %d %s", other.status, other.raw)
	}
	if id := k.submit(fields{"code": "print(1)"}, "Idempotency-Key: b"); id == first {
		t.Error("another key gave the same job")
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	a := k.call(http.MethodPost, "/v1/jobs:batch", fields{"jobs": []any{
		fields{"code": "print(1)"},
		fields{"code": ""},
		fields{"code": "print(3)", "typo": 1},
		4,
		fields{"code": "print(5)", "queue": "nowhere"},
		fields{"code": "print(6)"},
	}})
	jobs, _ := a.body["jobs"].([]any)
	if a.status != http.StatusAccepted || len(jobs) != 6 {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	for i, item := range jobs {
		one := answer{body: item.(map[string]any)}
		if i == 0 || i == 5 {
			if end := k.await(one.str("id")); end.str("result.stdout") != fmt.Sprintln(i+1) {
				t.Errorf("job %d: %s", i, end.raw)
			}
			continue
		}
		if one.str("error.code") != "invalid_request" || one.str("error.status") != "400" || one.str("error.detail") == "" {
			t.Errorf("job %d: %v", i, item)
		}
	}
	many := make([]any, 1000)
	for i := range many {
		many[i] = fields{"code": "pass", "delay": 3600}
	}
	if a := k.call(http.MethodPost, "/v1/jobs:batch", fields{"jobs": many}); a.status != http.StatusAccepted || strings.Contains(a.raw, `"error"`) {
		t.Errorf("1,000 jobs: %d %.200s", a.status, a.raw)
	}
	for _, bad := range []any{append(many, many[0]), []any{}, nil, "x"} {
		if a := k.call(http.MethodPost, "/v1/jobs:batch", fields{"jobs": bad}); a.status != http.StatusBadRequest {
			t.Errorf("bad batch: %d %.200s", a.status, a.raw)
		}
	}
}

// TestEveryJobRunsOnce runs 2,000 jobs on three runners and counts what they did,
// not what their records say.
func TestEveryJobRunsOnce(t *testing.T) {
	t.Parallel()
	k := start(t, 3, "KAA_SANDBOX=none") // the effects are outside
	jobs := 500
	if testenv.IsLong() {
		jobs = 2000
	}
	path := filepath.Join(t.TempDir(), "effects")
	body := fields{
		"code": "import os, time\ntime.sleep(0.02)\nwith open(os.environ['EFFECTS'], 'a') as f: f.write(os.environ['N'] + '\\n')",
	}
	var ids []string
	for at := 0; at < jobs; at += 250 {
		var items []any
		for n := at; n < at+250; n++ {
			items = append(items, fields{"code": body["code"], "envs": fields{"EFFECTS": path, "N": fmt.Sprint(n)}})
		}
		a := k.call(http.MethodPost, "/v1/jobs:batch", fields{"jobs": items})
		for _, item := range a.body["jobs"].([]any) {
			ids = append(ids, answer{body: item.(map[string]any)}.str("id"))
		}
	}
	runners := map[string]int{}
	for _, id := range ids {
		end := k.await(id)
		if end.str("state") != "completed" || end.str("result.status") != "ok" {
			t.Fatalf("job = %s", end.raw)
		}
		runners[end.str("runner")]++
	}
	effects, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for line := range strings.Lines(string(effects)) {
		seen[line]++
	}
	if len(seen) != jobs || strings.Count(string(effects), "\n") != jobs {
		t.Errorf("%d effects of %d jobs, want %d of %d", strings.Count(string(effects), "\n"), len(seen), jobs, jobs)
	}
	if len(runners) != 3 {
		t.Errorf("work was spread over %d runners: %v", len(runners), runners)
	}
	for id, n := range runners {
		if n < jobs/10 {
			t.Errorf("runner %s got only %d of %d jobs", id, n, jobs)
		}
	}
}

// TestNothingStays checks that after the times to live, Redis holds no more keys
// than before, asynq's own bookkeeping and the figures of usage, which stay longer, aside.
func TestNothingStays(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t), "KAA_RESULT_TTL=1s", "KAA_TOMBSTONE_TTL=1s", "KAA_IDEMPOTENCY_TTL=1s")
	k.periods.Lease, k.periods.Sweep = 0, time.Second // a lease is one of the keys
	k.startAll(1)
	rdb := k.redis.Client(t)
	keys := func() int {
		names, err := rdb.Keys(t.Context(), "*").Result()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, name := range names {
			// These are of no job, and expire.
			passing := name == "{kaa}:ready" || strings.HasPrefix(name, "{kaa}:usage") || strings.HasPrefix(name, "{kaa}:sample:")
			if !strings.HasPrefix(name, "asynq:") && !passing {
				n++
			}
		}
		return n
	}
	k.execute(fields{"code": "pass"}) // the set of queue names is there from now on
	testenv.Eventually(t, "the job gets there", func() bool { return k.call(http.MethodGet, "/v1/jobs", nil).raw != "" && keys() <= 5 })
	before := keys()
	k.submit(fields{"code": "print(1)"}, "Idempotency-Key: x")
	k.execute(fields{"code": "1/0"})
	later := k.submit(fields{"code": "1", "delay": 3600})
	if keys() <= before {
		t.Error("a job has no key at all")
	}
	k.call(http.MethodDelete, "/v1/jobs/"+later, nil)
	// On a busy machine a look may come too late for a job, but not for every job.
	testenv.Eventually(t, "410 is seen between 200 and 404", func() bool {
		id, gone := k.submit(fields{"code": "print(1)"}), false
		testenv.Eventually(t, "the job gets there", func() bool {
			a := k.call(http.MethodGet, "/v1/jobs/"+id, nil)
			gone = gone || a.status == http.StatusGone && a.str("code") == "gone"
			return a.status == http.StatusNotFound
		})
		return gone
	})
	testenv.Eventually(t, "all keys are gone", func() bool { return keys() <= before })
}
