package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestRoot: browsers get the console, other clients a description, and browsers of a Kaa without a console the reference.
func TestRoot(t *testing.T) {
	t.Parallel()
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("console at " + r.URL.Path)) })
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, c := range []struct {
		path, accept string
		console      bool
		status       int
		want         string
	}{
		{"/", browser, true, 200, "console at /"},
		{"/", "*/*", true, 200, `"console":"./"`},
		{"/", "", true, 200, `"openapi":"openapi.json"`},
		{"/", "application/json", true, 200, `"name":"Kaa"`},
		{"/", "application/json, text/html;q=0.5", true, 200, `"name":"Kaa"`},
		{"/", "text/html;q=0", true, 200, `"name":"Kaa"`},
		{"/console/x.js", "*/*", true, 200, "console at /console/x.js"},
		{"/", browser, false, 302, ""},
		{"/", "application/json", false, 200, `"docs":"docs"`},
		{"/console/x.js", "*/*", false, 404, "no_such_route"},
		{"/favicon.ico", "image/avif,image/webp,*/*", true, 200, "<svg "},
		{"/favicon.ico", "*/*", false, 200, "<svg "},
	} {
		cfg := config(new(fakeStore))
		if c.console {
			cfg.dialect.Console = page
		}
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, c.path, nil)
		if c.accept != "" {
			req.Header.Set("Accept", c.accept)
		}
		res := httptest.NewRecorder()
		newAPI(cfg).ServeHTTP(res, req)
		if res.Code != c.status || !strings.Contains(res.Body.String(), c.want) {
			t.Errorf("%s with Accept %q, console %v: %d %s", c.path, c.accept, c.console, res.Code, res.Body)
		}
	}
}
