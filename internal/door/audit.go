package door

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/service"
)

// audit writes a line of the audit log about a call that changed something or tried to, about one that was refused for
// its key, and about every call of an operator. It has no query, header or body: those may hold code and secrets.
func (in *entrance) audit(r *http.Request, method string, call *service.Call, status int) {
	if in.cfg.Audit == nil || in.dialect.Probe(r) || !in.isAudited(method, call, status) {
		return
	}
	attrs := auditLine(r, method, call, status)
	if call.Caller.KeyID == "" && (status == http.StatusUnauthorized || status == http.StatusForbidden) {
		passes, leftOut := in.keyless.pass(time.Now())
		if !passes {
			return
		}
		if leftOut > 0 {
			attrs = append(attrs, slog.Int("left_out", leftOut))
		}
	}
	in.cfg.Audit.LogAttrs(context.WithoutCancel(r.Context()), slog.LevelInfo, "audit", attrs...)
}

// auditUpgrade writes the line about a socket, by which a session can be changed. It does not wait for the end of the
// socket, which has no line unless it is an operator's.
func (in *entrance) auditUpgrade(r *http.Request, call *service.Call) {
	if in.cfg.Audit != nil {
		in.cfg.Audit.LogAttrs(r.Context(), slog.LevelInfo, "audit", auditLine(r, r.Method, call, http.StatusSwitchingProtocols)...)
	}
}

func (in *entrance) isAudited(method string, call *service.Call, status int) bool {
	switch {
	case status == http.StatusSwitchingProtocols:
		return false // auditUpgrade has
	case status == http.StatusUnauthorized, status == http.StatusForbidden, call.Caller.All(), call.ActsFor != "":
		return true
	case method == http.MethodGet, method == http.MethodHead, method == http.MethodOptions:
		return false
	}
	return !call.Executes || in.cfg.AuditExecutions
}

func auditLine(r *http.Request, method string, call *service.Call, status int) []slog.Attr {
	outcome := "done"
	if status >= http.StatusInternalServerError {
		outcome = "failed"
	} else if status >= http.StatusBadRequest {
		outcome = "refused"
	}
	tenant := call.Caller.Tenant
	if call.ActsFor != "" {
		tenant = "" // it is the operator's
	}
	attrs := make([]slog.Attr, 0, 16)
	attrs = append(attrs, slog.String("operation", cmp.Or(call.Operation, routeOf(call))), slog.String("method", clipped(method)), slog.String("path", clipped(call.Prefix+r.URL.Path)),
		slog.String("outcome", outcome), slog.Int("status", status), slog.String("client", clientOf(r)))
	for _, a := range [][2]string{
		{"code", call.Problem},
		{"tenant", tenant},
		{"acts_for", call.ActsFor},
		{"key_id", call.Caller.KeyID},
		{"job_id", clipped(call.JobID)},
		{"session_id", clipped(call.SessionID)},
		{"api_key_id", clipped(call.APIKeyID)},
	} {
		if a[1] != "" {
			attrs = append(attrs, slog.String(a[0], a[1]))
		}
	}
	return attrs
}

// keylessLogged is the number of calls without a valid key that the audit log shows for each second. Anyone can send them, and
// they would fill a disk.
const keylessLogged = 50

// keyless counts the calls without a valid key. The zero value is ready for use.
type keyless struct {
	mu           sync.Mutex
	second       int64
	seen, hidden int
}

// pass reports whether the log shows the present call, and how many it has not shown before.
func (s *keyless) pass(now time.Time) (passes bool, leftOut int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if second := now.Unix(); second != s.second {
		s.second, s.seen = second, 0
	}
	if s.seen++; s.seen > keylessLogged {
		s.hidden++
		return false, 0
	}
	leftOut, s.hidden = s.hidden, 0
	return true, leftOut
}
