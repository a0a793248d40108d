package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// Parts that take all.
type (
	liveSessions struct{ service.Sessions }
	endlessRoom  struct{ service.Files }
	noBlobs      struct{ service.Blobs }
)

func (liveSessions) Session(context.Context, string, job.Viewer) (job.Session, error) {
	return job.Session{}, nil
}
func (endlessRoom) RoomForInputs(context.Context, string, string, int64) error { return nil }
func (endlessRoom) ForgetBlobs(context.Context, ...string) error               { return nil }
func (noBlobs) Put(_ context.Context, _ string, content io.Reader) (int64, error) {
	return io.Copy(io.Discard, content)
}
func (noBlobs) Delete(context.Context, ...string) error { return nil }

// formShapes are forms of about n bytes, each the worst of its kind that is known.
func formShapes(n int) map[string]string {
	fill := func(before, item, after string) string {
		return before + strings.Repeat(item, max(1, n/len(item))) + after
	}
	const open = "--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a\"\r\n\r\n"
	const request = "--b\r\nContent-Disposition: form-data; name=\"request\"\r\n\r\n"
	const end = "\r\n--b--\r\n"
	all := map[string]string{
		"a large file":           fill(open, "x", end),
		"lines":                  fill(open, "\n", end),
		"almost boundaries":      fill(open, "\r\n--", end),
		"boundaries in lines":    fill(open, "\r\n--bb", end),
		"before the first":       fill("", "x\r\n", open+end),
		"after the last":         fill(open+end, "x", ""),
		"empty parts":            fill("", open+"\r\n", "--b--\r\n"),
		"parts without a header": fill("", "--b\r\n\r\n\r\n", "--b--\r\n"),
		"one part's header":      fill("--b\r\n", "A: b\r\n", "\r\n"+end),
		"one long field":         fill("--b\r\nA: ", "b", "\r\n\r\n"+end),
		"a long name":            fill("--b\r\nContent-Disposition: form-data; name=\"", "n", "\"\r\n\r\nx"+end),
		"a long path":            fill("--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"", "/", "\"\r\n\r\nx"+end),
		"a path in pieces":       fill("--b\r\nContent-Disposition: form-data; name=\"files\"", "; filename*0=a", "\r\n\r\nx"+end),
		"no boundary at all":     fill("", "x", ""),
		"only dashes":            fill("", "-", ""),
	}
	for name, body := range shapes(n) {
		if !strings.HasPrefix(name, "batch") {
			all["request: "+name] = request + body + end
		}
	}
	return all
}

// TestCostOfForms: a form costs its size times a small constant, whatever is in it.
//
//nolint:paralleltest // it counts what the process allocates
func TestCostOfForms(t *testing.T) {
	j := newJudge(t, new(job.FullError))
	for _, n := range costlySizes() {
		for name, body := range formShapes(n) {
			for _, path := range []string{"/v1/jobs", "/v1/sessions/" + someSession + "/files"} {
				if strings.HasPrefix(name, "request") && path != "/v1/jobs" {
					continue
				}
				j.judge(name, path, len(body), func() int {
					req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
					req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
					return j.serve(req)
				})
			}
		}
	}
}

// headerShapes are requests with about n bytes of path, query and header.
func headerShapes(n int) map[string]func(r *http.Request) {
	list := func(format string) string {
		var b strings.Builder
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	field := func(name, format string) func(r *http.Request) {
		return func(r *http.Request) { r.Header.Set(name, list(format)) }
	}
	return map[string]func(r *http.Request){
		"cookies": field("Cookie", "a%d=b; "), "accept": field("Accept", "a/b%d;q=0.1, "), "prefer": field("Prefer", "a%d, "),
		"authorization": field("Authorization", "Bearer%.0d"), "forwarded": field("X-Forwarded-For", "10.0.0.1%.0d, "),
		"type": field("Content-Type", "a/b; c%d=d"), "types": field("Content-Type", "multipart/form-data; boundary=b;%.0d"),
		"idempotency": field("Idempotency-Key", "k%d"), "trace": field("Traceparent", "00-%d"), "state": field("Tracestate", "a%d=b,"),
		"origin": field("Origin", "http://a%d"), "request id": field("X-Request-Id", "r%d"), "last event": field("Last-Event-Id", "1-%d"),
		"protocols": field("Sec-Websocket-Protocol", "kaa.key.%d, "), "encoding": field("Accept-Encoding", "gzip;q=0.%d, "), "range": field("Range", "bytes=%d-,"),
		"many fields": func(r *http.Request) {
			for i := range n / 8 {
				r.Header.Set(fmt.Sprint("X-", i), "a")
			}
		},
		"one field, many values": func(r *http.Request) { r.Header["Prefer"] = strings.Split(list("a%.0d,"), ",") },
		"unknown parameters":     func(r *http.Request) { r.URL.RawQuery = list("a%d=b&") },
		"one parameter":          func(r *http.Request) { r.URL.RawQuery = list("limit=1%.0d&") },
		"escapes":                func(r *http.Request) { r.URL.RawQuery = "cursor=" + list("%%41%.0d") },
		"a long path":            func(r *http.Request) { r.URL.Path += "/" + list("/%.0d") },
		"a long id":              func(r *http.Request) { r.URL.Path += "/" + list("a%.0d") },
	}
}

// TestCostOfHeaders: nor does the header of a request cost more.
//
//nolint:paralleltest // it counts what the process allocates
func TestCostOfHeaders(t *testing.T) {
	const n = 16 << 10 // a server takes no more
	j := newJudge(t, new(job.FullError))
	j.freeMemory, j.freeCPU, j.counts = 128<<10, 20*time.Millisecond, n
	for name, change := range headerShapes(n) {
		for _, call := range [][2]string{{http.MethodGet, "/v1/jobs"}, {http.MethodPost, "/v1/jobs"}, {http.MethodPut, "/v1/sessions/" + someSession + "/files/a"}, {http.MethodGet, "/nothing"}} {
			req := httptest.NewRequestWithContext(t.Context(), call[0], call[1], strings.NewReader(`{"code":"1"}`))
			req.Header.Set("Content-Type", "application/json")
			change(req)
			j.judge(name, call[0]+" "+call[1], n, func() int { return j.serve(req) })
		}
	}
}

// TestCostOfFrames: nor does a frame of a WebSocket, which the client's side is a part of here.
//
//nolint:paralleltest // it counts what the process allocates
func TestCostOfFrames(t *testing.T) {
	j := newJudge(t, nil)
	cfg := j.cfg
	cfg.Observers = fakeObservers{}
	conn := dial(t, cfg)
	conn.SetReadLimit(-1)
	for _, n := range costlySizes() {
		frames := map[string]string{
			"no frame":  strings.Repeat(" ", n) + "{}",
			"a long id": `{"type":"ping","id":"` + strings.Repeat("x", n) + `"}`,
			"input":     `{"type":"input","text":"` + strings.Repeat(`\u0001`, n/6) + `"}`,
		}
		for name, body := range shapes(n) {
			if after, isObject := strings.CutPrefix(body, "{"); isObject && !strings.HasPrefix(name, "batch") && !strings.HasPrefix(name, "no JSON") && !strings.HasPrefix(name, "deep") {
				frames[name] = `{"type":"execute",` + after
			}
		}
		deep := min(n/2, 5000) // encoding/json's own bound is 10,000
		frames["deep"] = `{"type":"execute","code":` + strings.Repeat("[", deep) + strings.Repeat("]", deep) + strings.Repeat(" ", n-2*deep) + "}"
		for name, text := range frames {
			frame := []byte(text)
			j.judge(name, "frame", len(frame), func() int {
				if err := conn.Write(t.Context(), websocket.MessageText, frame); err != nil {
					t.Fatal(name, err)
				}
				for {
					_, answer, err := conn.Read(t.Context())
					if err != nil {
						t.Fatal(name, err)
					}
					if strings.Contains(string(answer), `"state":"queued"`) || strings.Contains(string(answer), `"code":`) || strings.Contains(string(answer), "pong") {
						return http.StatusOK
					}
				}
			})
		}
	}
}
