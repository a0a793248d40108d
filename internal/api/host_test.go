package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHost: where Host is checked, only names that cannot be made to point here are answered, at all
// paths but those of probes.
func TestHost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		host, path string
		refused    bool
	}{
		{"localhost:8080", "/v1/queues", false},
		{"LOCALHOST", "/v1/queues", false},
		{"localhost.", "/v1/queues", false},
		{"127.0.0.1:8080", "/v1/queues", false},
		{"127.3.2.1", "/v1/queues", false},
		{"[::1]:8080", "/v1/queues", false},
		{"[::ffff:127.0.0.1]:8080", "/v1/queues", false},
		{"kaa.test", "/v1/queues", false},
		{"a.friend.example:8080", "/v1/queues", false},
		{"rebound.example", "/v1/queues", true},
		{"rebound.example:8080", "/v1/queues", true},
		{"rebound.example:8080", "/process/interpreter/execute", true},
		{"rebound.example", "/v1/sessions/018f0000-0000-7000-8000-000000000000/ws", true},
		{"rebound.example", "/docs", true},
		{"rebound.example", "/metrics", true},
		{"rebound.example", "/openapi.json", true},
		{"rebound.example", "/no/such/path", true},
		{"rebound.example", "/healthz", false},
		{"rebound.example", "/readyz", false},
		{"x.localhost", "/v1/queues", true},
		{"localhost.rebound.example", "/v1/queues", true},
		{"127.0.0.1.rebound.example", "/v1/queues", true},
		{"2130706433", "/v1/queues", true},
		{"192.0.2.1", "/v1/queues", true},
		{"", "/v1/queues", false}, // HTTP/1.0, which is no browser
	} {
		cfg := config(new(fakeStore))
		cfg.CheckHost, cfg.Hosts = true, []string{"kaa.test", "*.friend.example"}
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, tt.path, nil)
		req.Host = tt.host
		// What a page of that name sends.
		req.Header.Set("Origin", "http://"+tt.host)
		req.Header.Set("Sec-Fetch-Site", "same-origin")
		res := httptest.NewRecorder()
		newAPI(cfg).ServeHTTP(res, req)
		if got := res.Code == http.StatusMisdirectedRequest; got != tt.refused {
			t.Errorf("%q %s: %d, want it refused: %t", tt.host, tt.path, res.Code, tt.refused)
		}
		if tt.refused && (!strings.Contains(res.Body.String(), `"host_refused"`) || !strings.Contains(res.Body.String(), "KAA_ALLOWED_HOSTS")) {
			t.Errorf("%q: %s", tt.host, res.Body)
		}
	}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://rebound.example/v1/queues", nil)
	res := httptest.NewRecorder()
	newAPI(config(new(fakeStore))).ServeHTTP(res, req)
	if res.Code != http.StatusOK {
		t.Errorf("not checked: %d", res.Code)
	}
}
