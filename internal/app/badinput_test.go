package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// TestBadInput sends what nobody should and checks that each gets a problem that
// says what to change, and that nothing is enqueued.
func TestBadInput(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_MAX_BODY_BYTES=4096", "KAA_MAX_CODE_BYTES=1000", "KAA_MAX_STDIN_BYTES=100")
	const jobs = "/v1/jobs"
	unknown := "/v1/jobs/" + uuid.Must(uuid.NewV7()).String()
	tests := []struct {
		name   string
		method string
		path   string
		body   any
		status int
		code   string
		says   string
	}{
		{"no body", "POST", jobs, "", 400, "invalid_request", "body is required"},
		{"not JSON", "POST", jobs, "print(1)", 400, "invalid_request", "invalid character"},
		{"half JSON", "POST", jobs, `{"code": "1"`, 400, "invalid_request", "unexpected end"},
		{"an array", "POST", jobs, `[]`, 400, "invalid_request", "expected object"},
		{"no code", "POST", jobs, `{}`, 400, "invalid_request", "code"},
		{"code null", "POST", jobs, `{"code": null}`, 400, "invalid_request", "body.code"},
		{"code a number", "POST", jobs, `{"code": 1}`, 400, "invalid_request", "body.code: expected string"},
		{"blank code", "POST", jobs, `{"code": " \n"}`, 400, "invalid_request", "is empty"},
		{"unknown field", "POST", jobs, `{"code": "1", "tiemout": 1}`, 400, "invalid_request", "body.tiemout"},
		{"a field in other letters", "POST", jobs, `{"CODE": "1"}`, 400, "invalid_request", "CODE"},
		{"a field twice, in other letters", "POST", jobs, `{"code": "1", "Code": "2"}`, 400, "invalid_request", "Code"},
		{"timeout a string", "POST", jobs, `{"code": "1", "timeout": "5"}`, 400, "invalid_request", "body.timeout: expected number"},
		{"timeout negative", "POST", jobs, `{"code": "1", "timeout": -1}`, 400, "invalid_request", "from 0.001 to 3600"},
		{"timeout huge", "POST", jobs, `{"code": "1", "timeout": 1e308}`, 400, "invalid_request", "from 0.001 to 3600"},
		{"timeout beyond floats", "POST", jobs, `{"code": "1", "timeout": 1e999}`, 400, "invalid_request", "1e999"},
		{"env name", "POST", jobs, `{"code": "1", "envs": {"A B": "x"}}`, 400, "invalid_request", "variable name"},
		{"env value a number", "POST", jobs, `{"code": "1", "envs": {"A": 1}}`, 400, "invalid_request", "body.envs.A: expected string"},
		{"NUL in an env", "POST", jobs, `{"code": "1", "envs": {"A": "\u0000"}}`, 400, "invalid_request", "NUL"},
		{"NUL in the code", "POST", jobs, `{"code": "1\u0000"}`, 400, "invalid_request", "NUL byte at offset 1"},
		{"raw NUL", "POST", jobs, "{\"code\": \"1\x00\"}", 400, "invalid_request", "invalid character"},
		{"not UTF-8", "POST", jobs, "{\"code\": \"\xff\"}", 400, "invalid_request", "offset 10"},
		{"long code", "POST", jobs, `{"code": "` + strings.Repeat("x", 1001) + `"}`, 400, "invalid_request", "limit is 1000"},
		{"long stdin", "POST", jobs, `{"code": "1", "stdin": "` + strings.Repeat("x", 101) + `"}`, 400, "invalid_request", "limit is 100"},
		{"large body", "POST", jobs, `{"code": "` + strings.Repeat("x", 5000) + `"}`, 413, "body_too_large", "4096 bytes"},
		{"unknown queue", "POST", jobs, `{"code": "1", "queue": "x"}`, 400, "invalid_request", "critical, default, low"},
		{"half an attempt", "POST", jobs, `{"code": "1", "maxAttempts": 1.5}`, 400, "invalid_request", "body.maxAttempts: expected integer"},
		{"attempts beyond ints", "POST", jobs, `{"code": "1", "maxAttempts": 99999999999999999999}`, 400, "invalid_request", "from 1 to 10"},
		{"runAt not a time", "POST", jobs, `{"code": "1", "runAt": "soon"}`, 400, "invalid_request", "body.runAt"},
		{"metadata a string", "POST", jobs, `{"code": "1", "metadata": "x"}`, 400, "invalid_request", "body.metadata: expected object"},
		{"no runtime's name", "POST", jobs, `{"code": "1", "runtime": "Python 3"}`, 400, "invalid_request", "body.runtime: "},
		{"runtime a number", "POST", jobs, `{"code": "1", "runtime": 3}`, 400, "invalid_request", "body.runtime: expected string"},
		{"unknown format", "POST", jobs, `{"code": "1", "figureFormats": ["gif"]}`, 400, "invalid_request", "body.figureFormats[0]: expected value to be one of \"png, svg\""},
		{"format without a list", "POST", jobs, `{"code": "1", "figureFormats": "svg"}`, 400, "invalid_request", "body.figureFormats: expected array"},
		{"unknown limit", "POST", jobs, `{"code": "1", "limits": {"memory": 1}}`, 400, "invalid_request", "body.limits.memory"},
		{"a limit in other letters", "POST", jobs, `{"code": "1", "limits": {"CPUs": 1}}`, 400, "invalid_request", "body.limits.CPUs"},
		{"limits a number", "POST", jobs, `{"code": "1", "limits": 1}`, 400, "invalid_request", "body.limits: expected object"},
		{"little memory", "POST", jobs, `{"code": "1", "limits": {"memoryBytes": 1}}`, 400, "invalid_request", "body.limits.memoryBytes: must be from 33554432 to 4294967296"},
		{"memory beyond ints", "POST", jobs, `{"code": "1", "limits": {"memoryBytes": 1e300}}`, 400, "invalid_request", "from 33554432 to 4294967296"},
		{"CPU time beyond floats", "POST", jobs, `{"code": "1", "limits": {"cpuSeconds": 1e999}}`, 400, "invalid_request", "1e999"},
		{"CPU time beyond durations", "POST", jobs, `{"code": "1", "limits": {"cpuSeconds": 1e300}}`, 400, "invalid_request", "from 0.01 to 31536000 seconds"},
		{"half a file", "POST", jobs, `{"code": "1", "limits": {"openFiles": 16.5}}`, 400, "invalid_request", "body.limits.openFiles: expected integer"},
		{"batch of a number", "POST", "/v1/jobs:batch", `{"jobs": 5}`, 400, "invalid_request", "body.jobs: expected array"},
		{"batch in other letters", "POST", "/v1/jobs:batch", `{"JOBS": [{"code": "1"}]}`, 400, "invalid_request", "JOBS"},
		{"batch is an array", "POST", "/v1/jobs:batch", `[{"code": "1"}]`, 400, "invalid_request", "expected object"},
		{"slash too many", "POST", jobs + "/", `{"code": "1"}`, 404, "no_such_route", "/docs"},
		{"cursor in braces", "GET", jobs + "?cursor=%7B01a20716-38ce-7000-8000-000000000000%7D", nil, 400, "invalid_request", "nextCursor"},
		{"unknown job", "GET", unknown, nil, 404, "not_found", "id"},
		{"cancel of an unknown job", "DELETE", unknown, nil, 404, "not_found", "id"},
		{"odd id", "GET", "/v1/jobs/%7Bkaa%7D%20x", nil, 404, "not_found", "id"},
		{"wait not a time", "GET", unknown + "?wait=abc", nil, 400, "invalid_request", "write seconds"},
		{"wait too long", "GET", unknown + "?wait=2h", nil, 400, "invalid_request", "at most 60s"},
		{"unknown state", "GET", jobs + "?state=done", nil, 400, "invalid_request", "state"},
		{"limit zero", "GET", jobs + "?limit=0", nil, 400, "invalid_request", "limit"},
		{"limit a word", "GET", jobs + "?limit=all", nil, 400, "invalid_request", "limit"},
		{"bad cursor", "GET", jobs + "?cursor=abc", nil, 400, "invalid_request", "nextCursor"},
		{"unknown parameter", "GET", jobs + "?sort=asc", nil, 400, "invalid_request", "sort"},
		{"unknown path", "GET", "/v2/jobs", nil, 404, "no_such_route", "/docs"},
		{"near the batch path", "POST", "/v1/jobsbatch", `{}`, 404, "no_such_route", "/docs"},
		{"wrong method", "PUT", jobs, `{}`, 405, "method_not_allowed", "POST"},
	}
	t.Run("requests", func(t *testing.T) { // returns when its parallel subtests have
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				paths := []string{tt.path}
				if tt.path == jobs && tt.method == "POST" && !strings.Contains(fmt.Sprint(tt.body), "queue") && !strings.Contains(tt.name, "metadata") && !strings.Contains(tt.name, "attempts beyond") {
					paths = append(paths, executePath) // the same mistakes there
				}
				for _, path := range paths {
					a := k.call(tt.method, path, tt.body)
					if a.status != tt.status || a.header.Get("Content-Type") != "application/problem+json" {
						t.Fatalf("%s %s: %d %s %s", tt.method, path, a.status, a.header.Get("Content-Type"), a.raw)
					}
					if a.str("status") != fmt.Sprint(tt.status) || a.str("title") == "" || a.str("type") != "about:blank" {
						t.Errorf("problem = %s", a.raw)
					}
					unknownHere := path == executePath && strings.Contains(a.raw, "unknown field")
					if a.str("code") != tt.code || (!strings.Contains(a.str("detail"), tt.says) && !unknownHere) {
						t.Errorf("code %q, detail %q; want %q, …%s…", a.str("code"), a.str("detail"), tt.code, tt.says)
					}
					if strings.Contains(a.raw, " Go ") || strings.Contains(a.raw, "struct") {
						t.Errorf("the answer speaks of Go: %s", a.raw)
					}
					if len(a.raw) > 2000 {
						t.Errorf("the answer repeats the request: %d bytes", len(a.raw))
					}
				}
			})
		}
		t.Run("headers", func(t *testing.T) {
			t.Parallel()
			for _, path := range []string{executePath, "/v1/jobs:batch"} {
				a := k.call(http.MethodPost, path, `{"code": "1"}`, "Idempotency-Key: x")
				if a.status != http.StatusBadRequest || !strings.Contains(a.str("detail"), "POST /v1/jobs") {
					t.Errorf("%s with an Idempotency-Key: %d %s", path, a.status, a.raw)
				}
			}
			if a := k.call(http.MethodPost, jobs, "\x1f\x8b", "Content-Encoding: gzip"); a.status != http.StatusUnsupportedMediaType {
				t.Errorf("gzip: %d %s", a.status, a.raw)
			}
			if a := k.call(http.MethodHead, "/readyz", nil); a.status != http.StatusOK || a.raw != "" {
				t.Errorf("HEAD: %d %q", a.status, a.raw)
			}
		})
		t.Run("content type", func(t *testing.T) {
			t.Parallel()
			a := k.call(http.MethodPost, jobs, `code=1`, "Content-Type: application/x-www-form-urlencoded")
			if a.status != http.StatusUnsupportedMediaType || !strings.Contains(a.str("detail"), "application/json") {
				t.Errorf("%d %s", a.status, a.raw)
			}
		})
	})
	if a := k.call(http.MethodGet, jobs, nil); a.raw != "{\"jobs\":[]}\n" {
		t.Errorf("something was enqueued: %s", a.raw)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_API_KEYS=first-secret, second-secret")
	for _, path := range []string{"/healthz", "/readyz", "/docs", "/openapi.json", "/favicon.ico"} {
		if a := k.call(http.MethodGet, path, nil); a.status != http.StatusOK {
			t.Errorf("%s without a key: %d", path, a.status)
		}
	}
	for header, status := range map[string]int{
		"Authorization: Bearer first-secret":  200,
		"Authorization: bearer second-secret": 200,
		"X-API-Key: second-secret":            200,
		"X-API-Key: ":                         401,
		"X-API-Key: wrong":                    401,
		"Authorization: Bearer first-secre":   401,
		"Authorization: Basic first-secret":   401,
		"Nothing: first-secret":               401,
	} {
		for _, path := range []string{"/v1/jobs", "/v1/runners", "/metrics"} {
			a := k.call(http.MethodGet, path, nil, header)
			if a.status != status {
				t.Errorf("%s with %q: %d", path, header, a.status)
			}
			if status == 401 && (a.str("code") != "unauthorized" || a.header.Get("WWW-Authenticate") == "") {
				t.Errorf("%s with %q: %s", path, header, a.raw)
			}
		}
	}
	if a := k.call(http.MethodPost, executePath, fields{"code": "1"}, "X-API-Key: wrong"); a.status != 401 {
		t.Errorf("execute with a wrong key: %d", a.status)
	}
	if logs := k.logs.String(); strings.Contains(logs, "secret") || !strings.Contains(logs, "/v1/jobs") {
		t.Errorf("a key is in the log, or the log is empty:\n%s", logs)
	}
}
