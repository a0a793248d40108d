package api_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestWholeNumbers: wherever a whole number is taken it may be written as JSON Schema lets it be; what is none
// is refused.
func TestWholeNumbers(t *testing.T) {
	t.Parallel()
	const session = "/v1/sessions/018f0000-0000-7000-8000-000000000000"
	cfg := config(&fakeStore{err: errors.New("what was taken fails here")})
	cfg.Limits.MaxAttempts = 10
	handler := newAPI(cfg)
	for _, place := range []struct{ method, path, body string }{
		{http.MethodGet, "/v1/jobs?limit=%", ""},
		{http.MethodGet, "/v1/sessions?limit=%", ""},
		{http.MethodPost, "/v1/jobs", `{"code":"1","maxAttempts":%}`},
		{http.MethodPost, "/v1/jobs", `{"code":"1","limits":{"openFiles":16%}}`},
		{http.MethodPost, session + "/fork", `{"count":%}`},
	} {
		for number, whole := range map[string]bool{"2": true, "2.0": true, "2e0": true, "2.5": false, "0.2e1": true} {
			if strings.Contains(place.body, "16%") && strings.ContainsAny(number, "5e") {
				continue // 162e0
			}
			req := httptest.NewRequestWithContext(t.Context(), place.method, strings.Replace(place.path, "%", number, 1), strings.NewReader(strings.Replace(place.body, "%", number, 1)))
			req.Header.Set("Content-Type", "application/json")
			res := httptest.NewRecorder()
			handler.ServeHTTP(res, req)
			if refused := res.Code == http.StatusBadRequest; refused == whole {
				t.Errorf("%s %s %s with %s: %d %s", place.method, place.path, place.body, number, res.Code, res.Body)
			}
		}
	}
}
