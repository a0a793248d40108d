package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzRequest: whatever the body is, the answer is JSON and the fault is the caller's.
func FuzzRequest(f *testing.F) {
	for _, body := range []string{
		`{"code": "print(1)", "timeout": 1.5, "envs": {"A": "b"}, "stdin": null, "limits": {"memoryBytes": 4e7}}`,
		`{"code": "1", "queue": "default", "delay": 0, "maxAttempts": 1, "resultTtl": 60, "metadata": {"a": [1]}}`,
		`{"code": "1", "runAt": "2030-01-01T00:00:00Z"}`, `{"jobs": [{"code": "1"}, {"code": ""}, 1, null]}`,
		`{"jobs": []}`, `{"code": "\ud800"}`, `{"code": "1", "timeout": 1e999}`, `{"code": "1", "Code": "2"}`,
		`[]`, `null`, `{`, "", "\xff", `{"code": "1"} {}`, strings.Repeat("[", 900),
	} {
		f.Add(body)
	}
	s := &fakeStore{}
	handler := newAPI(config(s))
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range []string{"/v1/jobs", "/v1/jobs:batch"} {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
			req.Header.Set("Content-Type", "application/json")
			res := httptest.NewRecorder()
			handler.ServeHTTP(res, req)
			if res.Code >= 500 || !json.Valid(res.Body.Bytes()) {
				t.Errorf("%s %q: %d %s", path, body, res.Code, res.Body)
			}
			if res.Code >= 400 && !strings.Contains(res.Body.String(), `"code":"`) {
				t.Errorf("%s %q: no problem: %s", path, body, res.Body)
			}
		}
	})
}
