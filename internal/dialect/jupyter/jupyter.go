// Package jupyter speaks the protocol of a Jupyter server: kernels, sessions and contents over HTTP, and the messages of a
// kernel over a WebSocket. A kernel is a session of Kaa, and has its id. docs/dialects/jupyter.md says what works.
package jupyter

import (
	"errors"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// Dialect is a door.Dialect.
type Dialect struct {
	service *service.Service
	log     *slog.Logger
	version string // of Kaa
	begun   time.Time
	mux     *http.ServeMux
	counts  counts
}

// New returns the dialect of a process.
func New(p dialect.Parts) *Dialect {
	d := &Dialect{service: p.Service, log: p.Log, version: p.Version, begun: time.Now(), mux: http.NewServeMux()}
	d.serverRoutes()
	d.kernelRoutes()
	d.sessionRoutes()
	d.contentRoutes()
	return d
}

// Key returns the API key of a request: Jupyter's clients send it as a token.
func (*Dialect) Key(r *http.Request) string {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if ok && (strings.EqualFold(scheme, "token") || strings.EqualFold(scheme, "Bearer")) {
		return strings.TrimSpace(token)
	}
	return r.URL.Query().Get("token")
}

// Public reports that no request is.
func (*Dialect) Public(*http.Request) bool { return false }

// Probe reports that no request is one.
func (*Dialect) Probe(*http.Request) bool { return false }

// Body takes all bodies as text: they are JSON.
func (*Dialect) Body(*http.Request) service.Body { return service.BodyText }

// Refuse answers a request that does not pass the door.
func (d *Dialect) Refuse(w http.ResponseWriter, r *http.Request, err error) { d.answer(w, r, err) }

// ServeHTTP answers a request. What no route takes, by its path or its method, is not found.
func (d *Dialect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	clean := path.Clean(r.URL.Path)
	if rest := strings.TrimSuffix(r.URL.Path, "/"); rest != clean && r.URL.Path != clean { // the mux would lead to another path
		d.answer(w, r, unsupported(r))
		return
	}
	if clean != r.URL.Path { // clients write some paths with a slash at the end
		u := *r.URL
		u.Path, u.RawPath = clean, ""
		r.URL = &u
	}
	if _, pattern := d.mux.Handler(r); pattern == "" {
		d.answer(w, r, unsupported(r))
		return
	}
	d.mux.ServeHTTP(w, r)
}

func unsupported(r *http.Request) error {
	return dialect.NewFault(http.StatusNotFound, "no_such_route", "Kaa's Jupyter dialect does not support %s %s", r.Method, clipped(r.URL.Path))
}

// handle adds a route whose errors are answered in the shape of Jupyter.
func (d *Dialect) handle(pattern, operation string, h func(w http.ResponseWriter, r *http.Request) error) {
	_, route, _ := strings.Cut(pattern, " ")
	d.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		call := service.CallOf(r.Context())
		call.Route, call.Operation = route, operation
		if err := h(w, r); err != nil && !errors.Is(err, errGone) {
			d.answer(w, r, err)
		}
	})
}

// errGone means that the client has gone, or has its answer.
var errGone = errors.New("the client has gone")

// answer words an error. A kernel that has ended is one that never was.
func (d *Dialect) answer(w http.ResponseWriter, r *http.Request, err error) {
	f := dialect.FaultOf(r.Context(), d.log, err)
	f.SetRetryAfter(w.Header())
	status, message := f.Status, f.Message
	switch f.Code {
	case "session_ended", "session_not_found":
		status, message = http.StatusNotFound, "Kernel does not exist"
	case "unauthorized":
		status = http.StatusForbidden // as Jupyter answers a wrong token
	}
	dialect.WriteJSON(w, status, map[string]any{"message": message, "reason": f.Code})
}

// refuse is a mistake in a request.
func refuse(format string, args ...any) error {
	return dialect.NewFault(http.StatusBadRequest, "invalid_request", format, args...)
}

// clipped bounds what a caller sees again of its own text.
func clipped(text string) string {
	const most = 200
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// stamp is a time as Jupyter writes it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// serverRoutes adds what clients ask the server about itself.
func (d *Dialect) serverRoutes() {
	d.handle("GET /api", "getVersion", func(w http.ResponseWriter, _ *http.Request) error {
		dialect.WriteJSON(w, http.StatusOK, map[string]string{"version": serverVersion})
		return nil
	})
	d.handle("GET /api/me", "getMe", func(w http.ResponseWriter, _ *http.Request) error {
		identity := map[string]any{"username": "kaa", "name": "kaa", "display_name": "kaa", "initials": nil, "avatar_url": nil, "color": nil}
		dialect.WriteJSON(w, http.StatusOK, map[string]any{"identity": identity, "permissions": map[string]any{}})
		return nil
	})
	d.handle("GET /api/status", "getStatus", func(w http.ResponseWriter, r *http.Request) error {
		all, err := d.kernels(r)
		if err != nil {
			return err
		}
		last := d.begun
		for _, se := range all {
			if se.LastUsed.After(last) {
				last = se.LastUsed
			}
		}
		dialect.WriteJSON(w, http.StatusOK, map[string]any{
			"started": stamp(d.begun), "last_activity": stamp(last), "kernels": len(all), "connections": d.counts.allConnections(),
		})
		return nil
	})
	d.handle("GET /api/terminals", "listTerminals", func(w http.ResponseWriter, _ *http.Request) error {
		dialect.WriteJSON(w, http.StatusOK, []any{})
		return nil
	})
	d.handle("GET /api/config/{section}", "getConfig", func(w http.ResponseWriter, _ *http.Request) error {
		dialect.WriteJSON(w, http.StatusOK, map[string]any{})
		return nil
	})
}

// serverVersion is the version of Jupyter's server whose protocol this is.
const serverVersion = "2.21.1"

// live returns the session that a kernel is.
func (d *Dialect) live(r *http.Request, id string) (job.Session, error) {
	if !service.IsID(id) {
		return job.Session{}, job.ErrNoSession
	}
	se, err := d.service.Session(r.Context(), service.CallerOf(r.Context()), id)
	if err == nil && se.State == job.SessionEnded {
		err = job.ErrNoSession
	}
	if err == nil {
		service.CallOf(r.Context()).SessionID = se.ID
	}
	return se, err
}
