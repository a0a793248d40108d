package api

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// The headers by which callers and logs find each other.
const (
	requestIDHeader   = "X-Request-Id"
	traceparentHeader = "Traceparent"
)

// maxLoggedPath bounds what a path takes of the access log: callers may send 64 KiB.
const maxLoggedPath = 256

// answeredWith notes the problem that a request is answered with.
func answeredWith(ctx context.Context, p *Problem) {
	call := service.CallOf(ctx)
	call.Problem = p.Code
	if p.JobID != "" {
		call.JobID = p.JobID
	}
}

// observed gives each request its id, which its answer and all lines of the log have, and reports
// it to the metrics, and to the access log unless accessLog is false. Neither shows a query, a
// header or a body.
func observed(o Observer, log *slog.Logger, accessLog bool) gin.HandlerFunc {
	return func(c *gin.Context) {
		start := time.Now()
		call := new(service.Call)
		call.Recorded = func() { releaseBody(c.Request.Context()) }
		ctx := service.WithCall(identified(c), call)
		c.Request = c.Request.WithContext(ctx)
		r := c.Request // what comes in, not what others make of it
		// A handler may drop the connection with a panic, and that is a call, too.
		defer func() {
			took, route, status := time.Since(start), routeName(c), c.Writer.Status()
			o.Request(methodName(r.Method), route, status, took)
			if call.Problem != "" {
				o.Problem(status, call.Problem)
			}
			if !accessLog {
				return
			}
			level := slog.LevelInfo
			if isProbe(route) {
				level = slog.LevelDebug
			}
			if log.Enabled(ctx, level) {
				log.LogAttrs(ctx, level, "request", accessLine(c, r, call, route, status, took)...)
			}
		}()
		c.Next()
	}
}

// identified returns the context of a request, which knows its id: the caller's if that can be
// taken over, else a new one. The answer gets it before anything else may answer.
func identified(c *gin.Context) context.Context {
	var t job.Trace
	if id := c.Request.Header.Get(requestIDHeader); job.ValidRequestID(id) {
		t.RequestID = id
	} else if id, err := uuid.NewV7(); err == nil {
		t.RequestID = id.String()
	}
	header := c.Writer.Header()
	header.Set(requestIDHeader, t.RequestID)
	if parent := c.Request.Header.Get(traceparentHeader); job.ValidTraceparent(parent) {
		t.Parent = parent
		header.Set(traceparentHeader, parent)
	}
	return job.WithTrace(c.Request.Context(), t)
}

func accessLine(c *gin.Context, r *http.Request, call *service.Call, route string, status int, took time.Duration) []slog.Attr {
	attrs := make([]slog.Attr, 0, 16)
	attrs = append(attrs, slog.String("method", methodOf(r)), slog.String("path", loggedPath(r.URL.Path)), slog.String("route", route),
		slog.Int("status", status), slog.Duration("duration", took),
		slog.Int64("request_bytes", max(0, r.ContentLength)), slog.Int("response_bytes", max(0, c.Writer.Size())),
		slog.String("client", clientOf(r)))
	jobID, sessionID := call.JobID, call.SessionID
	if id := c.Param("id"); id != "" {
		if strings.HasPrefix(route, "/v1/sessions/") {
			sessionID = loggedPath(id)
		} else if strings.HasPrefix(route, jobsPath+"/") {
			jobID = loggedPath(id)
		}
	}
	for _, a := range [][2]string{{"caller", call.Caller.ID()}, {"job_id", jobID}, {"session_id", sessionID}, {"problem", call.Problem}} {
		if a[1] != "" {
			attrs = append(attrs, slog.String(a[0], a[1]))
		}
	}
	return attrs
}

// routeName is one of the routes that there are, or unmatched.
func routeName(c *gin.Context) string {
	if route := c.FullPath(); route != "" {
		return route
	}
	return "unmatched"
}

// isProbe names the routes that machines ask for all day.
func isProbe(route string) bool {
	return route == "/healthz" || route == "/readyz" || route == "/metrics"
}

// methodName is a method that there is: callers may make up as many as they like, and each would
// be a series of the metrics.
func methodName(method string) string {
	if slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions}, method) {
		return method
	}
	return "other"
}

// methodOf is what the caller sent, in the log's measure.
func methodOf(r *http.Request) string {
	if r.Context().Value(headKey{}) != nil {
		return http.MethodHead
	}
	return loggedPath(r.Method)
}

func loggedPath(path string) string {
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
