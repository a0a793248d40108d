package app

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestAtRoot: the base path is taken away where all of it is there, once, also of paths with escapes.
func TestAtRoot(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]string{
		"/kaa": "/", "/kaa/": "/", "/kaa/v1/jobs?a=b": "/v1/jobs?a=b", "/v1/jobs": "/v1/jobs", "/kaax/v1": "/kaax/v1", "/": "/", "/kaa/kaa/v1": "/kaa/v1",
		"/kaa/files/a%2Fb": "/files/a%2Fb", "/k%61a/files/a%2Fb": "/k%61a/files/a%2Fb", "/kaa//v1": "//v1",
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, at, nil)
		// The form with the path in front: String would write two slashes at the beginning as a host.
		got := atRoot("/kaa", r).URL
		text := got.EscapedPath()
		if got.RawQuery != "" {
			text += "?" + got.RawQuery
		}
		if text != want {
			t.Errorf("%s: %s, want %s", at, text, want)
		}
		if same := atRoot("", r); same != r {
			t.Errorf("%s: another request without a base path", at)
		}
	}
}

// TestFree: a base path is refused that hides a dialect.
func TestFree(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]bool{"": true, "/kaa": true, "/tools/mcp": true, "/e2b": false, "/mcp/kaa": false, "/sandboxes": false, "/templates/kaa": false, "/jupyterhub": true} {
		if err := free(base, builtDialects()); (err == nil) != want {
			t.Errorf("%s: %v", base, err)
		}
		if err := free(base, nil); err != nil {
			t.Errorf("%s without dialects: %v", base, err)
		}
	}
}
