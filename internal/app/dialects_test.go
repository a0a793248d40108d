package app_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/door"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
	"github.com/kaa-run/kaa/internal/testenv"
	"github.com/kaa-run/kaa/test/dialects/lines"
	"github.com/kaa-run/kaa/test/dialects/toy"
)

// withDialects starts a Kaa that speaks a toy dialect at /toy, and returns its service.
func withDialects(t *testing.T, vars ...string) (*kaa, *service.Service) {
	t.Helper()
	k := prepare(t, testenv.Redis(t), vars...)
	var core *service.Service
	k.dialects = []app.Dialect{{Name: "toy", New: func(p dialect.Parts) door.Dialect {
		core = p.Service
		return toy.Execute{Service: p.Service}
	}}}
	k.startAll(1)
	return k, core
}

// TestDialectBehindTheDoor: a dialect of another package streams what an execution does, and the
// door checks keys, sizes and origins for it as for Kaa's own, which words refusals otherwise.
func TestDialectBehindTheDoor(t *testing.T) {
	t.Parallel()
	k, _ := withDialects(t, "KAA_API_KEYS=one,two", "KAA_MAX_BODY_BYTES=1000", "KAA_MAX_CODE_BYTES=900")
	post := func(key, body string, headers ...string) answer {
		return k.call(http.MethodPost, "/toy/execute", body, append(headers, "X-API-Key: "+key)...)
	}
	a := post("one", `{"code": "print('out')\n6 * 7"}`)
	var types []string
	for line := range strings.Lines(a.raw) {
		var event struct {
			Type, Text string
			Formats    map[string]string
			Main       bool `json:"is_main_result"`
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatal(err)
		}
		types = append(types, fmt.Sprint(event.Type, " ", event.Text, event.Formats["text/plain"], " ", event.Main))
	}
	if got, want := strings.Join(types, "|"), "stdout out\n false|result 42 true|end_of_execution  false"; got != want {
		t.Errorf("%d %q, want %q", a.status, got, want)
	}
	for _, tt := range []struct {
		name, key, body string
		headers         []string
		status          int
	}{
		{"no key", "", `{"code": "1"}`, nil, http.StatusUnauthorized},
		{"a wrong key", "three", `{"code": "1"}`, nil, http.StatusUnauthorized},
		{"too large", "one", strings.Repeat(" ", 2000), nil, http.StatusInternalServerError},
		{"a page of another site", "one", `{"code": "1"}`, []string{"Origin: https://elsewhere.example"}, http.StatusInternalServerError},
		{"too much code", "one", `{"code": "` + strings.Repeat("1", 950) + `"}`, nil, http.StatusBadRequest},
	} {
		if a := post(tt.key, tt.body, tt.headers...); a.status != tt.status || strings.Contains(a.raw, "about:blank") {
			t.Errorf("%s: %d %s", tt.name, a.status, a.raw)
		}
	}
	k.key = "one"
	if jobs := k.call(http.MethodGet, "/v1/jobs", nil); strings.Count(jobs.raw, `"state":"completed"`) != 1 {
		t.Errorf("what one dialect made, the other lists as %s", jobs.raw)
	}
	k.key = "one"
	if text := k.call(http.MethodGet, "/metrics", nil).raw; !strings.Contains(text, `{dialect="toy",method="POST",route="/execute",status="200"} 1`) {
		t.Error("the metrics do not count by dialect")
	}
	k.awaitLine(t, "request", fields{"dialect": "toy", "route": "/execute", "path": "/toy/execute"})
	k.awaitLine(t, "job ended", fields{"dialect": "toy"})
	if a := k.call(http.MethodGet, "/e2b/none", nil); a.status != http.StatusNotFound || a.str("code") != "404" || a.str("message") == "" {
		t.Errorf("a route that E2B does not have: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodGet, "/e2b//sandboxes", nil); a.status != http.StatusNotFound || a.str("code") != "404" {
		t.Errorf("a path with two slashes leads elsewhere: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodGet, "/toyexecute", nil); a.status != http.StatusNotFound || a.str("code") != "no_such_route" {
		t.Errorf("a path that only begins alike: %d %s", a.status, a.raw)
	}
}

// TestFaceWithoutHTTP: the service needs no HTTP. Sessions and executions over lines of JSON on a
// Unix socket are the caller's own.
func TestFaceWithoutHTTP(t *testing.T) {
	t.Parallel()
	_, core := withDialects(t)
	speak := func(caller service.Caller) func(line string) (a struct {
		Session, Error string
		Result         *job.Result
	}) {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "face"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		go lines.Face{Service: core, Caller: caller}.Serve(t.Context(), listener)
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		answers := bufio.NewReader(conn)
		return func(line string) (a struct {
			Session, Error string
			Result         *job.Result
		},
		) {
			t.Helper()
			if _, err := fmt.Fprintln(conn, line); err != nil {
				t.Fatal(err)
			}
			text, err := answers.ReadBytes('\n')
			if err == nil {
				err = json.Unmarshal(text, &a)
			}
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
	}
	one, two := speak(service.Caller{Digest: strings.Repeat("1", 64)}), speak(service.Caller{Digest: strings.Repeat("2", 64)})
	session := one(`{"open": true}`).Session
	in := func(code string) string { return fmt.Sprintf(`{"session": %q, "code": %q}`, session, code) }
	if a := one(in("x = 20")); a.Error != "" {
		t.Fatal(a.Error)
	}
	if a := one(in("print(x + 1)")); a.Result == nil || a.Result.Stdout != "21\n" {
		t.Errorf("%+v", a)
	}
	if a := two(in("print(x)")); a.Error == "" || a.Result != nil {
		t.Errorf("another caller executes in the session: %+v", a)
	}
	if a := two(fmt.Sprintf(`{"close": %q}`, session)); a.Error == "" {
		t.Error("another caller ends the session")
	}
	if a := one(fmt.Sprintf(`{"close": %q}`, session)); a.Session != session {
		t.Errorf("%+v", a)
	}
	if a := one("{}"); a.Error == "" {
		t.Errorf("no code: %+v", a)
	}
}
