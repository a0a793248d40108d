package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/api"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

func TestProbes(t *testing.T) {
	t.Parallel()
	const asJSON, asProblem = "application/json", "application/problem+json"
	newer := &job.SchemaError{Own: job.Schema{Version: 1}, Stored: job.Schema{Version: 3, ReadBy: 2}}
	tests := []struct {
		name, method, path string
		ready              error
		status             int
		contentType, body  string
	}{
		{"alive", http.MethodGet, "/healthz", errors.New("no"), 200, asJSON, `"status":"ok"`},
		{"ready", http.MethodGet, "/readyz", nil, 200, asJSON, `"status":"ok","warnings":["w"]`},
		{"starting", http.MethodGet, "/readyz", service.ErrStarting, 503, asProblem, `"code":"starting"`},
		{"a head", http.MethodHead, "/readyz", nil, 200, asJSON, ""},
		{"Redis is away", http.MethodGet, "/readyz", fmt.Errorf("dial hush: %w", job.ErrUnavailable), 503, asProblem, `"code":"unavailable"`},
		{"draining", http.MethodGet, "/readyz", service.ErrStopping, 503, asProblem, `"code":"draining"`},
		{"newer records", http.MethodGet, "/readyz", newer, 503, asProblem, `"code":"schema_refused","detail":"the records in Redis have version 3`},
		{"metrics", http.MethodGet, "/metrics", nil, 200, "text/plain", "kaa_x 1"},
		{"nothing", http.MethodGet, "/v1/jobs", nil, 404, asProblem, `"code":"no_such_route"`},
		{"the wrong method", http.MethodPost, "/readyz", nil, 405, asProblem, `"code":"method_not_allowed"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				_, _ = w.Write([]byte("kaa_x 1\n"))
			})
			w := httptest.NewRecorder()
			h := api.Probes(func(context.Context) error { return tt.ready }, func(context.Context) []string { return []string{"w"} }, metrics)
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, nil))
			if body := w.Body.String(); w.Code != tt.status || w.Header().Get("Content-Type") != tt.contentType ||
				!strings.Contains(body, tt.body) || strings.Contains(body, "hush") {
				t.Errorf("%d %v %s", w.Code, w.Header(), body)
			}
		})
	}
}
