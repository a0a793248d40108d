package api_test

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

// browser does what one does for a page of another origin: it asks first, and shows the page only
// what the answers allow.
type browser struct {
	t      *testing.T
	url    string
	origin string
}

// list splits a header that is a list.
func list(h http.Header, name string) []string {
	var all []string
	for item := range strings.SplitSeq(strings.Join(h.Values(name), ","), ",") {
		all = append(all, strings.ToLower(strings.TrimSpace(item)))
	}
	return all
}

// fetch returns nil if the browser would not let the page have the answer.
func (b browser) fetch(method, path, body string, headers map[string]string) *http.Response {
	b.t.Helper()
	send := func(method string, headers map[string]string) *http.Response {
		req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(body))
		if err != nil {
			b.t.Fatal(err)
		}
		req.Header.Set("Origin", b.origin)
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		for name, value := range headers {
			req.Header.Set(name, value)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { _ = res.Body.Close() })
		return res
	}
	var names []string
	for name := range headers {
		names = append(names, strings.ToLower(name))
	}
	slices.Sort(names)
	asked := map[string]string{"Access-Control-Request-Method": method, "Access-Control-Request-Headers": strings.Join(names, ",")}
	pre := send(http.MethodOptions, asked)
	allowed := list(pre.Header, "Access-Control-Allow-Headers")
	if pre.StatusCode != http.StatusNoContent || pre.Header.Get("Access-Control-Allow-Origin") != b.origin ||
		!slices.Contains(list(pre.Header, "Access-Control-Allow-Methods"), strings.ToLower(method)) ||
		slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(allowed, n) }) {
		return nil
	}
	res := send(method, headers)
	if res.Header.Get("Access-Control-Allow-Origin") != b.origin {
		return nil
	}
	if !slices.Contains(list(res.Header, "Vary"), "origin") {
		b.t.Errorf("%s %s: a cache may give this answer to other origins: %v", method, path, res.Header)
	}
	exposed := list(res.Header, "Access-Control-Expose-Headers")
	for name := range res.Header {
		switch n := strings.ToLower(name); {
		case strings.HasPrefix(n, "access-control-"), slices.Contains([]string{"content-type", "content-length", "cache-control", "date", "vary", "x-accel-buffering"}, n):
		case !slices.Contains(exposed, n):
			b.t.Errorf("%s %s: the page cannot see %s", method, path, name)
		}
	}
	return res
}

// TestCrossOrigin goes through what a page of an allowed origin does: preflight, call, refusals, a
// stream; pages of other origins get nothing.
func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	cfg := config(&fakeStore{get: func() (job.Job, error) { return job.Job{ID: "j", State: job.Completed, Result: &job.Result{}}, nil }})
	cfg.apiKeys, cfg.Origins = []string{"a-key-of-some-length"}, []string{"app.example", "*.friend.example:8443"}
	server := httptest.NewServer(newAPI(cfg))
	t.Cleanup(server.Close)
	const key = "a-key-of-some-length"
	all := map[string]string{
		"Content-Type": "application/json", "X-API-Key": key, "Idempotency-Key": "k", "X-Request-Id": "r-1",
		"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"Tracestate":  "rojo=00f067aa0ba902b7",
	}
	for _, origin := range []string{"https://app.example", "http://app.example", "https://a.friend.example:8443"} {
		b := browser{t, server.URL, origin}
		if res := b.fetch(http.MethodPost, "/v1/jobs", `{"code":"1"}`, all); res == nil || res.StatusCode != http.StatusAccepted || res.Header.Get("Location") == "" {
			t.Fatalf("%s: submit: %+v", origin, res)
		}
		if res := b.fetch(http.MethodPost, "/v1/jobs", `{"code":"1"}`, map[string]string{"Authorization": "Bearer wrong", "Content-Type": "application/json"}); res == nil || res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: a refusal is not for the page to see: %+v", origin, res)
		}
		if res := b.fetch(http.MethodDelete, "/v1/jobs/j", "", map[string]string{"Authorization": "Bearer " + key}); res == nil || res.StatusCode != http.StatusAccepted {
			t.Errorf("%s: cancel: %+v", origin, res)
		}
		if res := b.fetch(http.MethodGet, "/nowhere", "", map[string]string{"Authorization": "Bearer " + key}); res == nil || res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: no such route: %+v", origin, res)
		}
		res := b.fetch(http.MethodGet, "/v1/jobs/j/events", "", map[string]string{
			"Authorization": "Bearer " + key, "Last-Event-ID": "1-1", "Accept": "text/event-stream", "Prefer": "x",
		})
		if res == nil || res.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%s: events: %+v", origin, res)
		}
		if line, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil || line == "" {
			t.Errorf("%s: events: %q %v", origin, line, err)
		}
	}
	for _, origin := range []string{"https://evil.example", "https://app.example:8443", "https://a.friend.example", "https://app.example.evil.example", "null"} {
		if res := (browser{t, server.URL, origin}).fetch(http.MethodPost, "/v1/jobs", `{"code":"1"}`, all); res != nil {
			t.Errorf("%s is let in: %+v", origin, res)
		}
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/queues", nil)
		req.Header.Set("Origin", origin)
		req.Header.Set("X-API-Key", key)
		res := httptest.NewRecorder()
		newAPI(cfg).ServeHTTP(res, req)
		if res.Header().Get("Access-Control-Allow-Origin") != "" || !slices.Contains(list(res.Header(), "Vary"), "origin") {
			t.Errorf("%s: %v", origin, res.Header())
		}
	}
}

// TestPrivateNetwork: browsers ask once more before a public page calls an inside address.
func TestPrivateNetwork(t *testing.T) {
	t.Parallel()
	cfg := config(new(fakeStore))
	cfg.Origins = []string{"app.example"}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodOptions, "/v1/jobs", nil)
	for name, value := range map[string]string{"Origin": "https://app.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Private-Network": "true"} {
		req.Header.Set(name, value)
	}
	res := httptest.NewRecorder()
	newAPI(cfg).ServeHTTP(res, req)
	if res.Code != http.StatusNoContent || res.Header().Get("Access-Control-Allow-Private-Network") != "true" {
		t.Errorf("%d %v", res.Code, res.Header())
	}
}

// TestUncached: no answer is for caches that others share.
func TestUncached(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/v1/jobs/x", "/v1/queues", "/nowhere", "/docs", "/healthz"} {
		if res := get(t, config(new(fakeStore)), path); res.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control %q", path, res.Header().Get("Cache-Control"))
		}
	}
}
