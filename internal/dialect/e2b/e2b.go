// Package e2b speaks the protocols of E2B's SDKs: the control plane of sandboxes, the files and processes of one
// (envd), and the code interpreter. A sandbox is a session of Kaa. docs/dialects/e2b.md says what works.
package e2b

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/service"
)

// The headers of the SDKs.
const (
	keyHeader     = "X-Api-Key"
	accessHeader  = "X-Access-Token"
	trafficHeader = "E2b-Traffic-Access-Token"
	sandboxHeader = "E2b-Sandbox-Id"
)

// Dialect is a door.Dialect.
type Dialect struct {
	service *service.Service
	log     *slog.Logger
	mux     *http.ServeMux
	// portsDomain is the domain of sandboxes; empty for none.
	portsDomain string
	// What this process has seen of sandboxes.
	counts   counts
	pids     pids
	watching watchers
	watched  watched
	tokens   tokens
	copies   copyEnvs
	others   others
}

// New returns the dialect of a process.
func New(p dialect.Parts) *Dialect {
	d := &Dialect{service: p.Service, log: p.Log, mux: http.NewServeMux(), portsDomain: p.PortsDomain}
	d.control()
	d.interpreter()
	d.envd()
	d.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		d.answer(w, r, noRoute(r))
	})
	return d
}

func noRoute(r *http.Request) error {
	return dialect.NewFault(http.StatusNotFound, "no_such_route", "Kaa's E2B dialect has no route %s %s", r.Method, clipped(r.URL.Path))
}

// Owns reports whether a path outside of /e2b is one of E2B's. None of them is one of Kaa's own.
func Owns(r *http.Request) bool {
	path := r.URL.Path
	switch path {
	case "/sandboxes", "/v2/sandboxes", "/snapshots", "/execute", "/contexts", "/files":
		return true
	case "/health":
		return r.Header.Get(sandboxHeader) != ""
	}
	return slices.ContainsFunc([]string{"/sandboxes/", "/v2/sandboxes/", "/snapshots/", "/templates/", "/contexts/", processPath, filesystemPath}, func(prefix string) bool {
		return strings.HasPrefix(path, prefix)
	})
}

// The paths of the services of envd.
const (
	processPath    = "/process.Process/"
	filesystemPath = "/filesystem.Filesystem/"
)

// Key returns the API key of a request. The SDKs send it to the control plane.
func (*Dialect) Key(r *http.Request) string {
	if key := r.Header.Get(keyHeader); key != "" {
		return key
	}
	return dialect.Bearer(r)
}

// Ticket returns the token of a sandbox, which requests to it bring instead of a key.
func (d *Dialect) Ticket(r *http.Request) (ticket, thing string) {
	if isSigned(r) {
		session, token := d.signer(r)
		return token, accessTo(session)
	}
	session, ok := sessionOf(r.Header.Get(sandboxHeader))
	if !ok || !isData(r.URL.Path) {
		return "", ""
	}
	if token := r.Header.Get(accessHeader); token != "" {
		return token, accessTo(session)
	}
	if token := r.Header.Get(trafficHeader); token != "" {
		return token, accessTo(session)
	}
	return "", ""
}

// isData reports whether a path is of a call to one sandbox, for which its token suffices. The others need the key.
func isData(path string) bool {
	switch path {
	case "/health", "/execute", "/contexts", "/files":
		return true
	}
	return isConnect(path) || strings.HasPrefix(path, "/contexts/")
}

// Public reports that no request is.
func (*Dialect) Public(*http.Request) bool { return false }

// Probe reports that no request is one.
func (*Dialect) Probe(*http.Request) bool { return false }

// Body streams files, and takes all else as bytes.
func (*Dialect) Body(r *http.Request) service.Body {
	switch r.URL.Path {
	case "/files":
		return service.BodyFile
	case processPath + "StreamInput":
		return service.BodyStreamed
	}
	return service.BodyBinary
}

// Refuse answers a request that does not pass the door.
func (d *Dialect) Refuse(w http.ResponseWriter, r *http.Request, err error) { d.answer(w, r, err) }

func (d *Dialect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !dialect.Straight(r) {
		d.answer(w, r, noRoute(r))
		return
	}
	d.mux.ServeHTTP(w, r)
}

// handle adds a route whose errors are answered in the shape of E2B.
func (d *Dialect) handle(pattern, operation string, h func(w http.ResponseWriter, r *http.Request) error) {
	_, route, _ := strings.Cut(pattern, " ")
	d.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		call := service.CallOf(r.Context())
		call.Route, call.Operation = route, operation
		if err := h(w, r); err != nil {
			d.answer(w, r, err)
		}
	})
}

// answer words an error.
func (d *Dialect) answer(w http.ResponseWriter, r *http.Request, err error) {
	if isConnect(r.URL.Path) {
		d.refuseRPC(w, r, err)
		return
	}
	if sandbox := r.Header.Get(sandboxHeader); sandbox != "" && isAway(err) {
		service.CallOf(r.Context()).Problem = errNotFound.Code
		dialect.WriteJSON(w, errNotFound.Status, awayBody{errorBody{errNotFound.Status, errNotFound.Message}, clipped(sandbox)})
		return
	}
	if errors.Is(err, service.ErrUnauthorized) && isSigned(r) && hasExpired(r) {
		err = dialect.NewFault(http.StatusUnauthorized, "unauthorized", "signature is already expired")
	}
	f := dialect.FaultOf(r.Context(), d.log, err)
	f.SetRetryAfter(w.Header())
	dialect.WriteJSON(w, f.Status, errorBody{Code: f.Status, Message: f.Message})
}

// errorBody is the body of an error. The SDKs need both fields.
type errorBody struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// awayBody is the answer for a sandbox that does not run.
type awayBody struct {
	errorBody
	Sandbox string `json:"sandboxId"`
}

// decode reads a body of JSON, which may be empty. Fields that are not known are ignored.
func decode(r *http.Request, into any) error {
	err := dialect.Decode(r.Body, into)
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	if fault, ok := errors.AsType[*dialect.Fault](err); ok {
		return fault
	}
	return dialect.NewFault(http.StatusBadRequest, "invalid_request", "the body is no JSON of the right types")
}

// clipped bounds what a caller sees again of its own text.
func clipped(text string) string {
	const most = 128
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
