package door

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/service"
)

// counts is an Observer that remembers.
type counts struct{ methods, routes, problems []string }

func (c *counts) Request(_, method, route string, _ int, _ time.Duration) {
	c.methods, c.routes = append(c.methods, method), append(c.routes, route)
}
func (c *counts) Problem(_ int, code string) { c.problems = append(c.problems, code) }

// spoken is a dialect whose errors are plain text.
type spoken struct{ *http.ServeMux }

func (spoken) Key(r *http.Request) string      { return r.Header.Get("Key") }
func (spoken) Public(*http.Request) bool       { return false }
func (spoken) Probe(*http.Request) bool        { return false }
func (spoken) Body(*http.Request) service.Body { return service.BodyText }
func (spoken) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	service.CallOf(r.Context()).Problem = "refused"
	http.Error(w, err.Error(), http.StatusTeapot)
}

// observedRoutes is a door with a few routes behind it.
func observedRoutes(o Observer, log *slog.Logger, accessLog bool) http.Handler {
	mux := http.NewServeMux()
	note := func(r *http.Request) { service.CallOf(r.Context()).Route = r.Pattern }
	mux.HandleFunc("/v1/jobs/{id}", func(w http.ResponseWriter, r *http.Request) {
		note(r)
		service.CallOf(r.Context()).JobID = r.PathValue("id")
		_, _ = io.WriteString(w, "hello")
	})
	mux.HandleFunc("/panics", func(_ http.ResponseWriter, r *http.Request) { note(r); panic("at the disco") })
	mux.HandleFunc("/drops", func(_ http.ResponseWriter, r *http.Request) { note(r); panic(http.ErrAbortHandler) })
	return New(Config{
		Service: service.New(service.Config{Hub: service.NewHub("test")}), Observer: o, Log: log, NoAccessLog: !accessLog, Background: new(sync.WaitGroup),
	}).Handle(spoken{mux})
}

func TestAccessLine(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, method, path string
		want               map[string]any // nil means that there is none
	}{
		{"a job", http.MethodGet, "/v1/jobs/j1?key=hush", map[string]any{
			"method": "GET", "path": "/v1/jobs/j1", "route": "/v1/jobs/{id}", "status": 200.0, "job_id": "j1", "session_id": nil, "response_bytes": 5.0, "client": "192.0.2.1",
		}},
		{"a head", http.MethodHead, "/v1/jobs/j1", map[string]any{"method": "HEAD", "status": 200.0}},
		{"a panic", http.MethodGet, "/panics", map[string]any{"status": 418.0, "problem": "refused"}},
		{"a dropped connection", http.MethodGet, "/drops", map[string]any{"route": "/drops"}},
		{"a long path", http.MethodGet, "/" + strings.Repeat("é", 5000), map[string]any{"path": "/" + strings.Repeat("é", 127) + "…", "route": "unmatched"}},
		{"a method of one's own", "HUSHHUSH", "/x", map[string]any{"method": "HUSHHUSH", "status": 404.0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			o := new(counts)
			h := observedRoutes(o, slog.New(slog.NewJSONHandler(&out, nil)), true)
			func() {
				defer func() { _ = recover() }() // as net/http does
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, nil))
			}()
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			var line map[string]any
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &line); err != nil || line["msg"] != "request" {
				t.Fatalf("%v %s", err, out.String())
			}
			for key, want := range tt.want {
				if line[key] != want {
					t.Errorf("%s is %v, want %v", key, line[key], want)
				}
			}
			if strings.Contains(out.String(), "hush") {
				t.Errorf("it shows the query: %s", out.String())
			}
			if len(o.methods) != 1 || o.methods[0] == "HUSHHUSH" {
				t.Errorf("counted as %q", o.methods)
			}
		})
	}
}

// BenchmarkObserved is what a request pays for its id, its metrics and its line.
func BenchmarkObserved(b *testing.B) {
	bare := http.NewServeMux()
	bare.HandleFunc("/v1/jobs/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	for _, bm := range []struct {
		name string
		h    http.Handler
	}{
		{"bare", bare},
		{"off", observedRoutes(new(nobody), jsonLog(), false)},
		{"on", observedRoutes(new(nobody), jsonLog(), true)},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/v1/jobs/j1", nil)
			w := httptest.NewRecorder()
			for b.Loop() {
				w.Body.Reset()
				bm.h.ServeHTTP(w, r)
			}
		})
	}
}

// jsonLog writes lines, so that their making is measured.
func jsonLog() *slog.Logger {
	w := io.Discard
	return slog.New(slog.NewJSONHandler(w, nil))
}

type nobody struct{}

func (*nobody) Request(string, string, string, int, time.Duration) {}
func (*nobody) Problem(int, string)                                {}
