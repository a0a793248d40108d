package app_test

import (
	"net/http"
	"strings"
	"testing"
)

// usage returns the sum of the figures that a caller sees, by tenant.
func (k *kaa) usage(query string, headers ...string) map[string]map[string]float64 {
	k.tb.Helper()
	a := k.call(http.MethodGet, "/v1/usage"+query, nil, headers...)
	if a.status != http.StatusOK {
		k.tb.Fatalf("usage: %d %s", a.status, a.raw)
	}
	sums := map[string]map[string]float64{}
	days, _ := a.body["days"].([]any)
	for _, d := range days {
		day, _ := d.(map[string]any)
		whose, _ := day["tenant"].(string)
		if key, _ := day["key"].(string); key != "" {
			whose = "key"
		}
		if sums[whose] == nil {
			sums[whose] = map[string]float64{}
		}
		for name, value := range day {
			if n, ok := value.(float64); ok {
				sums[whose][name] += n
			}
		}
	}
	return sums
}

// TestPresentUse: a tenant sees what it has of each bound, and what it may have.
func TestPresentUse(t *testing.T) {
	t.Parallel()
	acme, rival := withTenants(t, "KAA_MAX_STORED_BYTES_PER_KEY=1000000", "KAA_MAX_STORED_FILE_BYTES_PER_KEY=2000000",
		"KAA_MAX_QUEUE_DEPTH_PER_KEY=3000", "KAA_MAX_SESSIONS_PER_KEY=0",
		"KAA_MAX_SESSION_MEMORY_BYTES_PER_KEY=1000000000", "KAA_MAX_SESSION_DISK_BYTES_PER_KEY=600000000")
	session := acme.open(fields{"metadata": fields{"a": strings.Repeat("x", 5000)}})
	acme.submit(fields{"code": "1", "delay": 3600})
	acme.await(acme.submit(fields{"code": "open('out', 'w').write('x')"}))
	present := func(k *kaa, query string) map[string]any {
		t.Helper()
		p, _ := k.call(http.MethodGet, "/v1/usage"+query, nil).body["present"].(map[string]any)
		return p
	}
	check := func(p map[string]any, name string, least, allowed float64) {
		t.Helper()
		u, _ := p[name].(map[string]any)
		used, _ := u["used"].(float64)
		most, bounded := u["allowed"].(float64)
		if used < least || least == 0 && used != 0 || most != allowed || bounded != (allowed > 0) {
			t.Errorf("%s: %v, want %v at least of %v", name, u, least, allowed)
		}
	}
	for _, p := range []map[string]any{present(acme, ""), present(acme.as(adminOfTests), "?tenant=acme")} {
		check(p, "storedBytes", 6000, 1_000_000)
		check(p, "storedFileBytes", 4096, 2_000_000)
		check(p, "waitingJobs", 1, 3000)
		check(p, "sessions", 1, 0)
		check(p, "sessionMemoryBytes", 512<<20, 1_000_000_000)
		check(p, "sessionDiskBytes", 256<<20, 600_000_000)
	}
	acme.call(http.MethodPost, sessionsPath+"/"+session+"/pause", nil) // it holds them all the same
	for _, of := range []struct {
		what, path string
		body       fields
		code, used string
	}{
		{"session", sessionsPath, fields{}, "key_session_memory_full", "536870912"},
		{"session of little memory", sessionsPath, fields{"limits": fields{"memoryBytes": 64 << 20, "diskBytes": 400_000_000}}, "key_session_disk_full", "268435456"},
	} {
		a := acme.call(http.MethodPost, of.path, of.body)
		if a.status != http.StatusTooManyRequests || a.str("code") != of.code || !strings.Contains(a.raw, `"used":`+of.used+",") || a.str("allowed") == "" || a.header.Get("Retry-After") == "" {
			t.Errorf("another %s: %d %s", of.what, a.status, a.raw)
		}
	}
	acme.call(http.MethodPost, sessionsPath+"/"+session+"/resume", nil)
	if a := acme.call(http.MethodPost, sessionsPath+"/"+session+"/fork", fields{"count": 2}); a.status != http.StatusTooManyRequests || a.str("code") != "key_session_disk_full" ||
		!strings.Contains(a.raw, `"used":268435456,"allowed":600000000`) {
		t.Errorf("two forks: %d %s", a.status, a.raw)
	}
	if a := acme.call(http.MethodPost, sessionsPath+"/"+session+"/fork", nil); a.status != http.StatusCreated {
		t.Errorf("a fork: %d %s", a.status, a.raw)
	}
	check(present(acme, ""), "sessionDiskBytes", 512<<20, 600_000_000)
	if used := present(acme, "")["sessionMemoryBytes"].(map[string]any)["used"]; used != float64(512<<20) {
		t.Errorf("memory with a fork: %v", used)
	}
	for name, most := range map[string]float64{"storedBytes": 1_000_000, "storedFileBytes": 2_000_000, "waitingJobs": 3000, "sessions": 0, "sessionMemoryBytes": 1_000_000_000} {
		check(present(rival, ""), name, 0, most)
	}
	if p := present(acme.as(adminOfTests), ""); p != nil {
		t.Errorf("the operator's, of no tenant: %v", p)
	}
}

// TestUsage: executions of all kinds count for their tenant, who sees no other's figures; an operator sees all.
func TestUsage(t *testing.T) {
	t.Parallel()
	acme, rival := withTenants(t)
	admin := acme.as(adminOfTests)
	for _, body := range []fields{
		{"code": "sum(range(3_000_000))"},
		{"code": "1/0"},
		{"code": "import time; time.sleep(60)", "timeout": 0.2},
		{"code": "import os; os._exit(3)"},
		{"code": "open('out', 'w').write('x' * 100_000)"},
	} {
		if a := acme.call(http.MethodPost, executePath, body); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.raw)
		}
	}
	session := acme.open(fields{})
	acme.in(session, "print(1)")
	acme.in(session, "print(2)")
	waiting := acme.submit(fields{"code": "1", "delay": 3600})
	acme.call(http.MethodDelete, "/v1/jobs/"+waiting, nil)
	acme.call(http.MethodDelete, "/v1/sessions/"+session, nil)
	rival.call(http.MethodPost, executePath, fields{"code": "print(1)"})
	admin.call(http.MethodPost, executePath, fields{"code": "print(1)"})

	own := acme.usage("")
	u := own["acme"]
	if len(own) != 1 || u["executions"] != 7 || u["sessions"] != 1 || u["sessionSeconds"] <= 0 || u["runSeconds"] < 0.2 || u["cpuSeconds"] < 0.01 || u["memoryGiBSeconds"] <= 0 ||
		u["bytesIn"] < 500 || u["bytesOut"] < 100_000 {
		t.Errorf("the tenant's own: %v", own)
	}
	if got := rival.usage(""); len(got) != 1 || got["rival"]["executions"] != 1 {
		t.Errorf("the other tenant's own: %v", got)
	}
	if got := admin.usage(""); len(got) != 3 || got["acme"]["executions"] != 7 || got["rival"]["executions"] != 1 || got["key"]["executions"] != 1 {
		t.Errorf("the operator's: %v", got)
	}
	if got := admin.usage("?tenant=rival"); len(got) != 1 || got["rival"]["executions"] != 1 {
		t.Errorf("of one tenant: %v", got)
	}
	if got := admin.usage("", "Kaa-Tenant: rival"); len(got) != 1 || got["rival"]["executions"] != 1 {
		t.Errorf("for one tenant: %v", got)
	}
	if got := acme.usage("?tenant=acme&from=2000-01-01&to=2000-03-01"); len(got) != 0 {
		t.Errorf("long ago: %v", got)
	}
	for _, tenant := range []string{"rival", "none"} {
		if a := acme.call(http.MethodGet, "/v1/usage?tenant="+tenant, nil); a.status != http.StatusForbidden || a.str("scope") != "admin" {
			t.Errorf("of another tenant: %d %s", a.status, a.raw)
		}
	}
	for query, names := range map[string]string{
		"from=tomorrow": "query.from", "to=2026-13-01": "query.to", "from=2026-02-01&to=2026-01-01": "query.from", "from=2020-01-01&to=2026-01-01": "400 days",
		"cursor=x": "query.cursor", "limit=0": "query.limit", "until=2026-01-01": "until",
	} {
		if a := acme.call(http.MethodGet, "/v1/usage?"+query, nil); a.status != http.StatusBadRequest || !strings.Contains(a.raw, names) {
			t.Errorf("%s: %d %s", query, a.status, a.raw)
		}
	}
	// Page by page; a cursor of another tenant shows nothing of it.
	first := admin.call(http.MethodGet, "/v1/usage?limit=1", nil)
	cursor := first.str("nextCursor")
	if cursor == "" || strings.Count(first.raw, `"day"`) != 1 {
		t.Errorf("a page: %s", first.raw)
	}
	if second := admin.call(http.MethodGet, "/v1/usage?limit=1&cursor="+cursor, nil); second.raw == first.raw || strings.Count(second.raw, `"day"`) != 1 {
		t.Errorf("the next page: %s", second.raw)
	}
	if got := rival.usage("?cursor=" + cursor); len(got["acme"])+len(got["key"]) > 0 {
		t.Errorf("with another's cursor: %v", got)
	}
}
