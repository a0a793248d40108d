package door

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// The headers by which callers and logs find each other.
const (
	requestIDHeader   = "X-Request-Id"
	traceparentHeader = "Traceparent"
	tracestateHeader  = "Tracestate"
)

// maxLoggedPath bounds what a path takes of the access log: callers may send 64 KiB.
const maxLoggedPath = 256

// observed gives each request its id, which its answer and all lines of the log have, and reports
// it to the metrics, and to the access log. Neither shows a query, a header or a body. A HEAD, which
// load balancers probe with, is handled as a GET: net/http leaves the body out, since the request
// that it knows is still the HEAD.
func (in *entrance) observed(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	start := time.Now()
	call := &service.Call{HeadOnly: r.Method == http.MethodHead, Prefix: in.cfg.BasePath + in.mount.Prefix}
	out := &answer{ResponseWriter: w}
	ctx := service.WithCall(identified(out, r, in.mount.Name), call)
	method := r.Method
	r = in.mount.below(r.WithContext(ctx))
	if call.HeadOnly {
		r.Method = http.MethodGet
	}
	call.OnUpgrade(func() { in.auditUpgrade(r, call) })
	// A handler may drop the connection with a panic, and that is a call, too.
	defer func() {
		took, route := time.Since(start), routeOf(call)
		status := out.status
		if status == 0 {
			status = http.StatusOK // what net/http answers then
		}
		in.cfg.Observer.Request(cmp.Or(in.mount.Name, own), methodName(r.Method), route, status, took)
		if call.Problem != "" {
			in.cfg.Observer.Problem(status, call.Problem)
		}
		in.audit(r, method, call, status)
		if in.cfg.NoAccessLog {
			return
		}
		level := slog.LevelInfo
		if in.dialect.Probe(r) {
			level = slog.LevelDebug
		}
		if in.cfg.Log.Enabled(ctx, level) {
			in.cfg.Log.LogAttrs(ctx, level, "request", accessLine(r, method, call, out, status, took)...)
		}
	}()
	next(out, r)
}

// identified returns the context of a request, which knows its id: the caller's if that can be
// taken over, else a new one. The answer gets it before anything else may answer.
func identified(w http.ResponseWriter, r *http.Request, dialect string) context.Context {
	t := job.Trace{Dialect: dialect}
	if id := r.Header.Get(requestIDHeader); job.ValidRequestID(id) {
		t.RequestID = id
	} else if id, err := uuid.NewV7(); err == nil {
		t.RequestID = id.String()
	}
	header := w.Header()
	// Answers are for one caller, and a cache in between may not know by which header callers
	// are distinguished. A handler may say otherwise.
	header.Set("Cache-Control", "no-store")
	header.Set(requestIDHeader, t.RequestID)
	if parent := r.Header.Get(traceparentHeader); job.ValidTraceparent(parent) {
		t.Parent = parent
		header.Set(traceparentHeader, parent)
		// It is for other systems of the trace, and means nothing without a traceparent.
		if state := job.Tracestate(r.Header.Values(tracestateHeader)); state != "" {
			header.Set(tracestateHeader, state)
		}
	}
	return job.WithTrace(r.Context(), t)
}

// below returns a request with the path that the dialect knows: without the prefix, and / for nothing.
func (m Mount) below(r *http.Request) *http.Request {
	if m.Prefix == "" {
		return r
	}
	u := *r.URL
	u.Path, u.RawPath = cmp.Or(strings.TrimPrefix(u.Path, m.Prefix), "/"), strings.TrimPrefix(u.RawPath, m.Prefix)
	r.URL = &u // r is this request's own
	return r
}

func accessLine(r *http.Request, method string, call *service.Call, out *answer, status int, took time.Duration) []slog.Attr {
	attrs := make([]slog.Attr, 0, 16)
	attrs = append(attrs, slog.String("method", clipped(method)), slog.String("path", clipped(call.Prefix+r.URL.Path)), slog.String("route", routeOf(call)),
		slog.Int("status", status), slog.Duration("duration", took),
		slog.Int64("request_bytes", max(0, r.ContentLength)), slog.Int("response_bytes", out.size),
		slog.String("client", clientOf(r)))
	for _, a := range [][2]string{{"caller", call.Caller.ID()}, {"key_id", keyName(call.Caller)}, {"job_id", clipped(call.JobID)}, {"session_id", clipped(call.SessionID)}, {"problem", call.Problem}} {
		if a[1] != "" {
			attrs = append(attrs, slog.String(a[0], a[1]))
		}
	}
	return attrs
}

// keyName names the key or the subject of a tenant's call. Other keys are their own callers.
func keyName(c service.Caller) string {
	if c.Tenant == "" {
		return ""
	}
	return c.KeyID
}

// routeOf is the route of a call, or unmatched.
func routeOf(call *service.Call) string {
	if call.Route != "" {
		return call.Route
	}
	return "unmatched"
}

// methodName is a method that there is: callers may make up as many as they like, and each would
// be a series of the metrics.
func methodName(method string) string {
	if slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions}, method) {
		return method
	}
	return "other"
}

// clipped bounds what a caller chooses of the access log.
func clipped(path string) string {
	if len(path) > maxLoggedPath {
		return strings.ToValidUTF8(path[:maxLoggedPath], "") + "…"
	}
	return path
}

// clientOf is the address of who is connected: a proxy's, behind one.
func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
