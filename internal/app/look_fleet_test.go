package app_test

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/testenv"
)

// listed returns the ids of a list of jobs.
func (k *kaa) listed(query string) (ids []string) {
	k.tb.Helper()
	for _, j := range k.ok(http.MethodGet, "/v1/jobs?"+query, nil).body["jobs"].([]any) {
		ids = append(ids, j.(map[string]any)["id"].(string))
	}
	return ids
}

// TestLookAtTheFleet: jobs are found by what is known of them, by those who may see them; what they asked for is shown to their
// owner; and the operator sees what queues and runners did.
func TestLookAtTheFleet(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	one, two := access.NewSecret(), access.NewSecret()
	keysFile(t, path, tenantKey("acme", one), tenantKey("rival", two))
	k := prepare(t, testenv.Redis(t), "KAA_API_KEYS_FILE="+path, "KAA_ADMIN_KEYS="+adminOfTests)
	k.periods.Samples, k.periods.Reconcile = 50*time.Millisecond, 50*time.Millisecond
	k.startAll(1)
	acme, rival, admin := k.as(one), k.as(two), k.as(adminOfTests)
	good := acme.submit(fields{"code": "import os", "args": []string{"x"}, "envs": fields{"TOKEN": "hush"}, "metadata": fields{"user": "ada"}, "files": []fields{{"path": "in", "content": "abc"}}})
	bad := acme.submit(fields{"code": "1/0", "metadata": fields{"user": "Bob"}})
	others := rival.submit(fields{"code": "1", "metadata": fields{"user": "ada"}})
	acme.await(good)
	acme.await(bad)
	rival.await(others)
	for _, c := range []struct {
		who   *kaa
		query string
		want  []string
	}{
		{acme, "status=error", []string{bad}},
		{acme, "status=ok,exit", []string{good}},
		{acme, "metadata=user%3Dada", []string{good}},
		{acme, "text=bob", []string{bad}},
		{acme, "text=rival", nil},
		{acme, "createdFrom=2001-01-01T00:00:00Z", []string{bad, good}},
		{acme, "createdBefore=2001-01-01T00:00:00Z", nil},
		{admin, "text=ada", []string{others, good}},
		{admin, "owner=acme", []string{bad, good}},
		{admin, "owner=acme&text=ada", []string{good}},
		{admin, "owner=key:0123456789abcdef", nil},
	} {
		if got := c.who.listed(c.query); !slices.Equal(got, c.want) {
			t.Errorf("%s lists %v, want %v", c.query, got, c.want)
		}
	}
	for query, want := range map[string]int{
		"owner=acme": http.StatusForbidden, "createdFrom=yesterday": http.StatusBadRequest, "status=great": http.StatusBadRequest, "metadata=user": http.StatusBadRequest,
		"text=" + strings.Repeat("x", 257): http.StatusBadRequest,
	} {
		if a := acme.call(http.MethodGet, "/v1/jobs?"+query, nil); a.status != want {
			t.Errorf("%s: %d %s", query, a.status, a.raw)
		}
	}
	if a := admin.call(http.MethodGet, "/v1/jobs?owner=a:b", nil); a.status != http.StatusBadRequest {
		t.Errorf("an owner that is none: %d %s", a.status, a.raw)
	}
	if a := admin.ok(http.MethodGet, "/v1/jobs/"+bad, nil); a.str("owner") != "acme" || a.str("status") != "error" || a.str("queuedAt") == "" {
		t.Errorf("the operator sees %s", a.raw)
	}
	if a := acme.ok(http.MethodGet, "/v1/jobs/"+bad, nil); a.str("owner") != "" {
		t.Errorf("the tenant sees %s", a.raw)
	}
	asked := acme.ok(http.MethodGet, "/v1/jobs/"+good+"/request", nil)
	if asked.str("code") != "import os" || !strings.Contains(asked.raw, `"envNames":["TOKEN"]`) || !strings.Contains(asked.raw, `{"path":"in","size":3}`) || strings.Contains(asked.raw, "hush") {
		t.Errorf("what it asked for: %s", asked.raw)
	}
	admin.ok(http.MethodGet, "/v1/jobs/"+good+"/request", nil)
	testenv.Eventually(t, "the samples have all of it", func() bool {
		accepted, ended, failed, slots := 0.0, 0.0, 0.0, 0.0
		for _, s := range admin.ok(http.MethodGet, "/v1/fleet/history", nil).body["samples"].([]any) {
			for _, q := range s.(map[string]any)["queues"].([]any) {
				q := q.(map[string]any)
				accepted, ended, failed = accepted+q["accepted"].(float64), ended+q["ended"].(float64), failed+q["failed"].(float64)
			}
			if fleet, ok := s.(map[string]any)["fleet"].(map[string]any); ok {
				slots = fleet["slots"].(float64)
			}
		}
		return accepted == 3 && ended == 3 && failed == 1 && slots == 2
	})
	for who, want := range map[*kaa]int{acme: http.StatusForbidden, rival: http.StatusForbidden} {
		if a := who.call(http.MethodGet, "/v1/fleet/history", nil); a.status != want {
			t.Errorf("history: %d %s", a.status, a.raw)
		}
	}
	if a := admin.call(http.MethodGet, "/v1/fleet/history?minutes=61", nil); a.status != http.StatusBadRequest {
		t.Errorf("more than an hour: %d %s", a.status, a.raw)
	}
	testenv.Eventually(t, "the runner reports what it has", func() bool {
		r := admin.ok(http.MethodGet, "/v1/runners", nil).body["runners"].([]any)[0].(map[string]any)
		used, _ := r["memoryBytes"].(float64)
		return r["parked"].(float64) > 0 && used > 0
	})
}
