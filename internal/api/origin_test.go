package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestForeignPages: what a page of another site can have a browser send is refused, before
// anything is read; programs and pages of our own are not.
func TestForeignPages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, method, origin, site string
		refused                    bool
	}{
		{"a program", http.MethodPost, "", "", false},
		{"our page", http.MethodPost, "http://kaa.example:8080", "same-origin", false},
		{"our page, an old browser", http.MethodPost, "http://kaa.example:8080", "", false},
		{"behind a proxy that changes Host", http.MethodPost, "https://public.example", "same-origin", false},
		{"an address typed in", http.MethodPost, "", "none", false},
		{"an allowed page", http.MethodPost, "https://app.friend.example", "cross-site", false},
		{"a foreign page", http.MethodPost, "https://evil.example", "cross-site", true},
		{"a foreign page, an old browser", http.MethodPost, "https://evil.example", "", true},
		{"another port of this host", http.MethodPost, "http://kaa.example:1", "same-site", true},
		{"a file on the reader's disk", http.MethodPost, "null", "cross-site", true},
		{"one that hides its origin", http.MethodPost, "", "cross-site", true},
		{"a DELETE", http.MethodDelete, "https://evil.example", "", true},
		{"reading", http.MethodGet, "https://evil.example", "cross-site", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := config(new(fakeStore))
			cfg.Origins = []string{"*.friend.example"}
			req := httptest.NewRequestWithContext(t.Context(), tt.method, "http://kaa.example:8080/v1/jobs", strings.NewReader(`{"code":"1"}`))
			for name, value := range map[string]string{"Origin": tt.origin, "Sec-Fetch-Site": tt.site} {
				if value != "" {
					req.Header.Set(name, value)
				}
			}
			res := httptest.NewRecorder()
			newAPI(cfg).ServeHTTP(res, req)
			if got := res.Code == http.StatusForbidden && strings.Contains(res.Body.String(), "origin_refused"); got != tt.refused {
				t.Errorf("%d %s, want it refused: %t", res.Code, res.Body, tt.refused)
			}
		})
	}
}

// TestForeignSockets: browsers let pages of any site open a socket, so every request that asks for one
// is looked at, however it asks.
func TestForeignSockets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, method, origin string
		upgrade              []string
		refused              bool
	}{
		{"our page", http.MethodGet, "http://kaa.example:8080", []string{"websocket"}, false},
		{"a program", http.MethodGet, "", []string{"websocket"}, false},
		{"a foreign page", http.MethodGet, "http://evil.example", []string{"websocket"}, true},
		{"in capitals", http.MethodGet, "HTTP://EVIL.EXAMPLE", []string{"WebSocket"}, true},
		{"one of several", http.MethodGet, "http://evil.example", []string{"h2c, websocket"}, true},
		{"in a second field", http.MethodGet, "http://evil.example", []string{"", "websocket"}, true},
		{"for HEAD", http.MethodHead, "http://evil.example", []string{"websocket"}, true},
		{"ours before theirs", http.MethodGet, "http://kaa.example:8080 http://evil.example", []string{"websocket"}, true},
		{"a user before the host", http.MethodGet, "http://kaa.example:8080@evil.example", []string{"websocket"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req := httptest.NewRequestWithContext(t.Context(), tt.method, "http://kaa.example:8080/v1/sessions/x/ws", nil)
			req.Header["Upgrade"] = tt.upgrade
			req.Header.Set("Connection", "Upgrade")
			if tt.origin != "" {
				req.Header.Set("Origin", tt.origin)
			}
			res := httptest.NewRecorder()
			newAPI(config(new(fakeStore))).ServeHTTP(res, req)
			if got := res.Code == http.StatusForbidden; got != tt.refused {
				t.Errorf("%d %s, want it refused: %t", res.Code, res.Body, tt.refused)
			}
		})
	}
}
