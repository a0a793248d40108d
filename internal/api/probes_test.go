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
	draining := make(chan struct{})
	close(draining)
	const asJSON, asProblem = "application/json", "application/problem+json"
	tests := []struct {
		name, method, path string
		ready              error
		draining           chan struct{}
		status             int
		contentType, body  string
	}{
		{"alive", http.MethodGet, "/healthz", errors.New("no"), draining, 200, asJSON, `"status":"ok"`},
		{"ready", http.MethodGet, "/readyz", nil, nil, 200, asJSON, `"status":"ok","warnings":["w"]`},
		{"starting", http.MethodGet, "/readyz", service.ErrStarting, nil, 503, asProblem, `"code":"starting"`},
		{"a head", http.MethodHead, "/readyz", nil, nil, 200, asJSON, ""},
		{"Redis is away", http.MethodGet, "/readyz", fmt.Errorf("dial hush: %w", job.ErrUnavailable), nil, 503, asProblem, `"code":"unavailable"`},
		{"draining", http.MethodGet, "/readyz", nil, draining, 503, asProblem, `"code":"draining"`},
		{"metrics", http.MethodGet, "/metrics", nil, nil, 200, "text/plain", "kaa_x 1"},
		{"nothing", http.MethodGet, "/v1/jobs", nil, nil, 404, asProblem, `"code":"no_such_route"`},
		{"the wrong method", http.MethodPost, "/readyz", nil, nil, 405, asProblem, `"code":"method_not_allowed"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				_, _ = w.Write([]byte("kaa_x 1\n"))
			})
			w := httptest.NewRecorder()
			h := api.Probes(func(context.Context) error { return tt.ready }, func(context.Context) []string { return []string{"w"} }, tt.draining, metrics)
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, nil))
			if body := w.Body.String(); w.Code != tt.status || w.Header().Get("Content-Type") != tt.contentType ||
				!strings.Contains(body, tt.body) || strings.Contains(body, "hush") {
				t.Errorf("%d %v %s", w.Code, w.Header(), body)
			}
		})
	}
}
