package api

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
)

// counts is an Observer that remembers.
type counts struct{ methods, routes, problems []string }

func (c *counts) Request(method, route string, _ int, _ time.Duration) {
	c.methods, c.routes = append(c.methods, method), append(c.routes, route)
}
func (c *counts) Problem(_ int, code string) { c.problems = append(c.problems, code) }
func (*counts) Submitted(string)             {}

// observedEngine is an engine with what observes and recovers, and a few routes.
func observedEngine(o Observer, log *slog.Logger, accessLog bool) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.Use(observed(o, log, accessLog), recovered(log))
	engine.GET("/v1/jobs/:id", func(c *gin.Context) { c.String(http.StatusOK, "hello") })
	engine.GET("/v1/sessions/:id/files/*path", func(c *gin.Context) {
		abort(c, newProblem(http.StatusNotFound, "file_not_found", "x"))
	})
	engine.GET("/panics", func(*gin.Context) { panic("at the disco") })
	engine.GET("/drops", func(*gin.Context) { panic(http.ErrAbortHandler) })
	engine.NoRoute(func(c *gin.Context) { abort(c, newProblem(http.StatusNotFound, "no_such_route", "x")) })
	return headAsGet(engine)
}

func TestAccessLine(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, method, path string
		want               map[string]any // nil means that there is none
	}{
		{"a job", http.MethodGet, "/v1/jobs/j1?key=hush", map[string]any{
			"method": "GET", "path": "/v1/jobs/j1", "route": "/v1/jobs/:id", "status": 200.0, "job_id": "j1", "session_id": nil, "response_bytes": 5.0, "client": "192.0.2.1",
		}},
		{"a session", http.MethodGet, "/v1/sessions/s1/files/a/b", map[string]any{"session_id": "s1", "job_id": nil, "problem": "file_not_found", "status": 404.0}},
		{"a head", http.MethodHead, "/v1/jobs/j1", map[string]any{"method": "HEAD", "status": 200.0}},
		{"a panic", http.MethodGet, "/panics", map[string]any{"status": 500.0, "problem": "internal"}},
		{"a dropped connection", http.MethodGet, "/drops", map[string]any{"route": "/drops"}},
		{"a long path", http.MethodGet, "/" + strings.Repeat("é", 5000), map[string]any{"path": "/" + strings.Repeat("é", 127) + "…", "route": "unmatched"}},
		{"a method of one's own", "HUSHHUSH", "/x", map[string]any{"method": "HUSHHUSH", "problem": "no_such_route"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			o := new(counts)
			h := observedEngine(o, slog.New(slog.NewJSONHandler(&out, nil)), true)
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
	bare := gin.New()
	bare.GET("/v1/jobs/:id", func(c *gin.Context) { c.Status(http.StatusOK) })
	for _, bm := range []struct {
		name string
		h    http.Handler
	}{
		{"bare", bare},
		{"off", observedEngine(new(nobody), jsonLog(), false)},
		{"on", observedEngine(new(nobody), jsonLog(), true)},
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

func (*nobody) Request(string, string, int, time.Duration) {}
func (*nobody) Problem(int, string)                        {}
func (*nobody) Submitted(string)                           {}
