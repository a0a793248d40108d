package app_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestAudit: changes, refusals and all calls of operators are in the audit log: who, what, from where, with which outcome. Code, keys and
// queries are not.
func TestAudit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit")
	acme, rival := withTenants(t, "KAA_AUDIT_LOG="+path)
	admin := acme.as(adminOfTests)
	acmeKey := access.Digest(acme.key)[:12]
	waiting := acme.submit(fields{"code": "'hush'", "delay": 3600})
	session := acme.open(fields{"envs": fields{"A": "hush"}})
	acme.in(session, "'hush'")
	acme.connect(session)
	ended := acme.submit(fields{"code": "'hush'"})
	acme.await(ended)
	made := admin.call(http.MethodPost, "/v1/keys", fields{"tenant": "acme", "name": "hush"})
	calls := []struct {
		as           *kaa
		method, path string
		body         any
		headers      []string
		want         fields
	}{
		{acme, http.MethodDelete, "/v1/jobs/" + waiting, nil, nil, fields{"operation": "cancelJob", "outcome": "done", "status": 200.0, "tenant": "acme", "key_id": acmeKey, "job_id": waiting}},
		{acme, http.MethodDelete, "/v1/jobs/" + waiting, nil, nil, fields{"operation": "cancelJob", "outcome": "refused", "status": 409.0, "code": "already_finished"}},
		{rival, http.MethodDelete, "/v1/jobs/" + ended + "/record", nil, nil, fields{"operation": "deleteJob", "outcome": "refused", "status": 404.0, "tenant": "rival", "job_id": ended}},
		{acme, http.MethodDelete, "/v1/jobs/" + ended + "/record", nil, nil, fields{"operation": "deleteJob", "outcome": "done", "tenant": "acme", "job_id": ended}},
		{acme, http.MethodDelete, "/v1/sessions/" + session, nil, nil, fields{"operation": "closeSession", "session_id": session}},
		{acme.as("hush-key"), http.MethodGet, "/v1/jobs?cursor=hush", nil, nil, fields{"outcome": "refused", "status": 401.0, "code": "unauthorized", "path": "/v1/jobs"}},
		{acme, http.MethodGet, "/v1/keys", nil, nil, fields{"operation": "listKeys", "status": 403.0, "code": "scope_missing", "tenant": "acme"}},
		{acme, http.MethodGet, "/v1/jobs", nil, []string{"Kaa-Tenant: rival"}, fields{"status": 403.0, "key_id": acmeKey}},
		{admin, http.MethodGet, "/v1/jobs", nil, nil, fields{"operation": "listJobs", "outcome": "done", "key_id": access.Digest(adminOfTests)[:16]}},
		{admin, http.MethodGet, "/v1/sessions", nil, []string{"Kaa-Tenant: acme"}, fields{"operation": "listSessions", "acts_for": "acme", "tenant": nil, "key_id": access.Digest(adminOfTests)[:16]}},
		{admin, http.MethodDelete, "/v1/keys/" + made.str("id"), nil, nil, fields{"operation": "revokeKey", "api_key_id": made.str("id"), "status": 204.0}},
		{acme, http.MethodPost, "/v1/sessions", fields{"limits": "hush"}, nil, fields{"operation": "openSession", "status": 400.0, "code": "invalid_request"}},
		{acme, http.MethodGet, "/v1/jobs?limit=1", nil, nil, nil},
		{acme, http.MethodPost, executePath, fields{"code": "'hush'"}, nil, nil},
	}
	acme.batch("", `{"code":"'hush'"}`)
	for i, c := range calls {
		id := "audit-" + string(rune('a'+i))
		c.as.call(c.method, c.path, c.body, append(c.headers, "X-Request-Id: "+id)...)
		if c.want != nil {
			c.want["request_id"] = id
			c.want["client"], c.want["method"] = "127.0.0.1", c.method
		}
	}
	expect := func(want fields) {
		t.Helper()
		testenv.Eventually(t, fmt.Sprint("a line with ", want), func() bool { // it comes after the answer
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return find(logLines(t, string(text[:bytes.LastIndexByte(text, '\n')+1])), "audit", want) != nil
		})
	}
	for _, c := range calls {
		if c.want != nil {
			expect(c.want)
		}
	}
	expect(fields{"operation": "openSession", "tenant": "acme", "session_id": session, "status": 201.0})
	expect(fields{"operation": "connectSession", "session_id": session, "status": 101.0})
	expect(fields{"operation": "createKey", "api_key_id": made.str("id"), "status": 201.0})
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hush", acme.key, rival.key, adminOfTests, made.str("key"), `"executing"`, `"operation":"execute"`, `"operation":"submitJob"`, `"operation":"submitBatch"`} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the audit log has %q:\n%s", secret, text)
		}
	}
}

// TestAuditOfExecutions: they are in the audit log if that is wanted, and the audit log can be a part of the log.
func TestAuditOfExecutions(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_AUDIT_LOG=log", "KAA_AUDIT_EXECUTIONS=true", "KAA_LOG_LEVEL=error")
	id := k.call(http.MethodPost, executePath, fields{"code": "'hush'"}).str("jobId")
	if line := k.awaitLine(t, "audit", fields{"operation": "execute", "job_id": id, "outcome": "done"}); strings.Contains(k.logs.String(), "hush") {
		t.Errorf("%v", line)
	}
}
