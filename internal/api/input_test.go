package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestMistakesInRequests: whatever a parameter or a body is not, the answer says where it is wrong, and how.
func TestMistakesInRequests(t *testing.T) {
	t.Parallel()
	const jobs, submit = "GET /v1/jobs", "POST /v1/jobs"
	long := strings.Repeat("x", 65)
	tests := []struct {
		name, call, kind, body string
		status                 int
		want                   string // location and message of each mistake
	}{
		{"a number", jobs + "?limit=many", "", "", 400, "query.limit: invalid integer"},
		{"a fraction", jobs + "?limit=1.5", "", "", 400, "query.limit: invalid integer"},
		{"too large", jobs + "?limit=501", "", "", 400, "query.limit: expected number <= 500"},
		{"a whole number, written otherwise", jobs + "?limit=5e0", "", "", 200, ""},
		{"a time", jobs + "?createdFrom=yesterday", "", "", 400, "query.createdFrom: invalid date/time for format 2006-01-02T15:04:05.999999999Z07:00"},
		{"a day is no time", jobs + "?createdFrom=2026-01-01", "", "", 400, "query.createdFrom: invalid date/time for format 2006-01-02T15:04:05.999999999Z07:00"},
		{"a time with a fraction", jobs + "?createdFrom=2026-01-01T00:00:00.5Z", "", "", 200, ""},
		{"a choice", jobs + "?status=lost", "", "", 400, `query.status[0]: expected value to be one of "ok, error, interrupted, exit"`},
		{"choices, of which one is wrong", jobs + "?status=running,lost", "", "", 400, `query.status[0]: expected value to be one of "ok, error, interrupted, exit"; query.status[1]: expected value to be one of "ok, error, interrupted, exit"`},
		{"several", jobs + "?metadata=a=1&metadata=b=2", "", "", 200, ""},
		{"unknown", jobs + "?size=3&limit=many", "", "", 400, "query.size: unknown query parameter"},
		{"two at once", jobs + "?limit=many&createdFrom=x", "", "", 400, "query.createdFrom: invalid date/time for format 2006-01-02T15:04:05.999999999Z07:00; query.limit: invalid integer"},
		{"empty", jobs + "?limit=", "", "", 200, ""},
		{"too long in the path", "GET /v1/jobs/" + long, "", "", 400, "path.id: expected length <= 64"},
		{"missing", "GET /v1/sessions/s/fs/content", "", "", 400, "query.path: required query parameter is missing"},
		{"a switch", "PUT /v1/sessions/s/fs/content?path=/work/a&replace=perhaps", "", "", 400, "query.replace: invalid boolean"},
		{"no body", submit, "application/json", "", 400, ""},
		{"no JSON", submit, "application/json", "{", 400, "body: not JSON: unexpected end of JSON input, at line 1, column 1"},
		{"not JSON by its type", submit, "text/plain", "{}", 415, ""},
		{"without a type", submit, "", `{"code": 1}`, 400, "body.code: expected string"},
		{"no object", submit, "application/json", "[]", 400, "body: expected object"},
		{"a body that is not needed", "POST /v1/sessions", "application/json", `{"idleTimeout": true}`, 400, "body.idleTimeout: expected number"},
		{"a parameter and the body", "PATCH /v1/sessions/" + long, "application/json", "{", 400, "path.id: expected length <= 64; body: not JSON: unexpected end of JSON input, at line 1, column 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			method, target, _ := strings.Cut(tt.call, " ")
			r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(tt.body))
			if tt.kind != "" {
				r.Header.Set("Content-Type", tt.kind)
			}
			w := httptest.NewRecorder()
			newAPI(config(&fakeStore{})).ServeHTTP(w, r)
			var p struct {
				Title, Detail string
				Errors        []struct{ Location, Message string }
			}
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
				t.Fatalf("%d %s: %v", w.Code, w.Body, err)
			}
			found := make([]string, 0, len(p.Errors))
			for _, mistake := range p.Errors {
				found = append(found, mistake.Location+": "+mistake.Message)
			}
			if got := strings.Join(found, "; "); w.Code != tt.status || got != tt.want {
				t.Errorf("%d %q, %s, want %d %q", w.Code, got, p.Detail, tt.status, tt.want)
			}
			if kind := w.Header().Get("Content-Type"); tt.status != http.StatusOK && kind != "application/problem+json" {
				t.Errorf("Content-Type: %q", kind)
			}
		})
	}
}
