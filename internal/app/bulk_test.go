package app_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/testenv"
)

// bulk counts jobs, and confirms the count.
func (k *kaa) bulk(what string, filter fields, matched, done string) {
	k.tb.Helper()
	a := k.ok(http.MethodPost, "/v1/jobs:"+what, filter)
	if a.str("matched") != matched || a.str("confirm") == "" || a.str("done") != "" {
		k.tb.Errorf("%s %v: %s, want %s", what, filter, a.raw, matched)
	}
	filter["confirm"] = a.str("confirm")
	if a := k.ok(http.MethodPost, "/v1/jobs:"+what, filter); a.str("done") != done || a.str("complete") != "true" || a.str("confirm") != "" {
		k.tb.Errorf("%s %v: %s, want %s done", what, filter, a.raw, done)
	}
	if a := k.call(http.MethodPost, "/v1/jobs:"+what, filter); a.status != http.StatusConflict || a.str("code") != "not_confirmed" {
		k.tb.Errorf("a used confirm: %d %s", a.status, a.raw)
	}
}

// TestCancelAndPurgeByFilter: of a tenant its own, of an operator all; what came after the count stays.
func TestCancelAndPurgeByFilter(t *testing.T) {
	t.Parallel()
	acme, rival := withTenants(t)
	admin := acme.as(adminOfTests)
	far := func(k *kaa, queue string, metadata fields) string {
		return k.submit(fields{"code": "1", "delay": 3600, "queue": queue, "metadata": metadata})
	}
	state := func(k *kaa, id string) string { return k.call(http.MethodGet, "/v1/jobs/"+id, nil).str("state") }
	one, two, low := far(acme, "default", fields{"team": "a", "n": 1}), far(acme, "default", fields{"team": "b"}), far(acme, "low", nil)
	foreign := far(rival, "default", fields{"team": "a"})

	acme.bulk("cancel", fields{"metadata": fields{"team": "a"}}, "1", "1")
	if state(acme, one) != "cancelled" || state(acme, two) != "scheduled" || state(rival, foreign) != "scheduled" {
		t.Error("another job than that of the filter is cancelled")
	}
	acme.bulk("cancel", fields{"queue": "low", "runtime": "none"}, "0", "0")
	acme.bulk("cancel", fields{"createdBefore": time.Now().Add(-time.Hour)}, "0", "0")
	acme.bulk("cancel", fields{"state": []string{"queued"}}, "0", "0")
	acme.bulk("purge", fields{"queue": "low"}, "0", "0")
	acme.bulk("purge", fields{"state": []string{"failed", "cancelled"}}, "1", "1")
	if a := acme.call(http.MethodGet, "/v1/jobs/"+one, nil); a.status != http.StatusNotFound {
		t.Errorf("a purged job: %d %s", a.status, a.raw)
	}

	// What comes after the count, and a confirm that is another's.
	filter := fields{"state": []string{"scheduled", "queued"}}
	counted := acme.ok(http.MethodPost, "/v1/jobs:cancel", filter)
	later := far(acme, "low", nil)
	filter["confirm"] = counted.str("confirm")
	other := fields{"state": []string{"scheduled"}, "confirm": counted.str("confirm")}
	for _, refused := range []answer{
		rival.call(http.MethodPost, "/v1/jobs:cancel", filter), acme.call(http.MethodPost, "/v1/jobs:cancel", other), admin.call(http.MethodPost, "/v1/jobs:cancel", filter),
		acme.call(http.MethodPost, "/v1/jobs:purge", fields{"state": []string{"failed"}, "confirm": counted.str("confirm")}),
		acme.call(http.MethodPost, "/v1/jobs:cancel", fields{"queue": "low", "confirm": "never"}),
	} {
		if refused.status != http.StatusConflict || refused.str("code") != "not_confirmed" {
			t.Errorf("a confirm of something else: %d %s", refused.status, refused.raw)
		}
	}
	if a := acme.ok(http.MethodPost, "/v1/jobs:cancel", filter); a.str("done") != counted.str("matched") || counted.str("matched") != "2" {
		t.Errorf("%s, of %s", a.raw, counted.raw)
	}
	if state(acme, two) != "cancelled" || state(acme, low) != "cancelled" || state(acme, later) != "scheduled" {
		t.Errorf("%s, %s and a later one %s", state(acme, two), state(acme, low), state(acme, later))
	}
	admin.bulk("cancel", fields{"queue": "default"}, "1", "1")
	if state(rival, foreign) != "cancelled" {
		t.Error("an operator does not reach the job of a tenant")
	}
	for _, bad := range []fields{{}, {"queue": "none"}, {"queue": "operations"}, {"state": []string{"failed"}}, {"state": []string{"odd"}}, {"metadata": "x"}, {"state": []string{}}} {
		if a := acme.call(http.MethodPost, "/v1/jobs:cancel", bad); a.status != http.StatusBadRequest || a.str("detail") == "" {
			t.Errorf("%v: %d %s", bad, a.status, a.raw)
		}
	}
}

// TestCancelRunningByFilter: the end of running jobs is requested, and a purge gives their bytes back.
func TestCancelRunningByFilter(t *testing.T) {
	t.Parallel()
	k := operated(t, 1)
	running := k.submit(sleeper())
	testenv.Eventually(t, "it runs", func() bool { return k.call(http.MethodGet, "/v1/jobs/"+running, nil).str("state") == "running" })
	k.bulk("cancel", fields{"state": []string{"running"}}, "1", "1")
	if a := k.await(running); a.str("state") != "cancelled" {
		t.Errorf("%s", a.raw)
	}
	k.execute(fields{"code": "open('left', 'w').write('x' * 1000)\nprint('y' * 1000)"})
	rdb := k.redis.Client(t)
	held := func() string {
		return rdb.HGet(t.Context(), "{kaa}:bytes", "*").Val() + rdb.HGet(t.Context(), "{kaa}:files", "*").Val()
	}
	if held() == "" {
		t.Fatal("nothing is counted")
	}
	k.bulk("purge", fields{"state": []string{"completed", "cancelled", "failed"}}, "2", "2")
	if left := held(); left != "" && left != "0" && left != "00" {
		t.Errorf("bytes that stay: %q", left)
	}
}
