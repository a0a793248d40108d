// Package opensandbox speaks the core of the protocol of OpenSandbox: the life of sandboxes, and of the daemon in each
// (execd) code, commands and files. A sandbox is a session: docs/dialects/opensandbox.md.
package opensandbox

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// Dialect has the sandboxes below /v1, and the daemon of each below /proxy/<id>/<port>.
type Dialect struct {
	dialect.Plain
	service *service.Service
	log     *slog.Logger
	mux     *http.ServeMux
}

const (
	keyHeader    = "OPEN-SANDBOX-API-KEY"
	accessHeader = "X-EXECD-ACCESS-TOKEN"
	// execdPort and egressPort are the ports that the SDKs ask for.
	execdPort  = 44772
	egressPort = 18080

	proxyPath  = "/proxy/"
	daemonPath = proxyPath + "{id}/44772"
	uploadEnd  = "/files/upload"
)

// New returns the dialect of a process.
func New(p dialect.Parts) *Dialect {
	d := &Dialect{service: p.Service, log: p.Log, mux: http.NewServeMux()}
	d.lifecycle()
	d.code()
	d.commands()
	d.files()
	d.handle("/", "unknown", func(http.ResponseWriter, *http.Request) error {
		return errNoRoute
	})
	return d
}

// errNoRoute is the answer for a route of OpenSandbox that the dialect does not have.
var errNoRoute = dialect.NewFault(http.StatusNotFound, "not_supported", "there is no such route here")

// Key returns the API key of a request.
func (*Dialect) Key(r *http.Request) string {
	if key := r.Header.Get(keyHeader); key != "" {
		return key
	}
	return dialect.Bearer(r)
}

// Ticket returns the token of a sandbox, which requests to its daemon bring: the SDKs do not send the key there.
func (*Dialect) Ticket(r *http.Request) (ticket, thing string) {
	rest, ok := strings.CutPrefix(r.URL.Path, proxyPath)
	if !ok {
		return "", ""
	}
	id, _, _ := strings.Cut(rest, "/")
	return r.Header.Get(accessHeader), accessTo(id)
}

// accessTo is what the ticket of a sandbox is for.
func accessTo(session string) string { return "opensandbox " + session }

// Body streams the files of an upload.
func (*Dialect) Body(r *http.Request) service.Body {
	if strings.HasSuffix(r.URL.Path, uploadEnd) {
		return service.BodyStreamed
	}
	return service.BodyText
}

func (d *Dialect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !dialect.Straight(r) {
		d.Refuse(w, r, errNoRoute)
		return
	}
	d.mux.ServeHTTP(w, r)
}

// errorBody is the body of an error.
type errorBody struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Refuse answers with a code and a message.
func (d *Dialect) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := dialect.FaultOf(r.Context(), d.log, err)
	f.SetRetryAfter(w.Header())
	dialect.WriteJSON(w, f.Status, errorBody{strings.ToUpper(f.Code), f.Message})
}

// handle adds a route.
func (d *Dialect) handle(pattern, operation string, h func(w http.ResponseWriter, r *http.Request) error) {
	_, route, found := strings.Cut(pattern, " ")
	if !found {
		route = pattern
	}
	d.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		call := service.CallOf(r.Context())
		call.Route, call.Operation = route, operation
		if id := r.PathValue("id"); service.IsID(id) {
			call.SessionID = id
		}
		if err := h(w, r); err != nil {
			d.Refuse(w, r, d.worded(r, err))
		}
	})
}

// worded says of a session that is not there that there is no such sandbox.
func (*Dialect) worded(r *http.Request, err error) error {
	if errors.Is(err, job.ErrNoSession) || errors.Is(err, job.ErrSessionEnded) || dialect.FailureOf(err) == job.FailSessionEnded {
		return dialect.NewFault(http.StatusNotFound, "sandbox_not_found", "sandbox %s not found", clipped(r.PathValue("id")))
	}
	return err
}

// clipped shortens a text of the caller for a message.
func clipped(text string) string {
	const most = 64
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

func invalid(format string, args ...any) error {
	return dialect.NewFault(http.StatusBadRequest, "invalid_request", format, args...)
}

// done answers that something was done.
func done(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) }

// sandbox returns the session of a sandbox that lives.
func (d *Dialect) sandbox(r *http.Request) (job.Session, error) {
	se, err := d.service.Session(r.Context(), service.CallerOf(r.Context()), r.PathValue("id"))
	if err == nil && se.State == job.SessionEnded {
		err = job.ErrNoSession
	}
	return se, err
}

// number reads a parameter of the query; byDefault if it is not there.
func number(r *http.Request, name string, least, byDefault int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return byDefault, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least {
		return 0, invalid("query parameter %s must be a number, %d or more", name, least)
	}
	return n, nil
}

// detailsName is the member of a session's metadata that is the dialect's own. The others are the caller's.
const detailsName = "opensandbox"

// details are what a session keeps for its sandbox.
type details struct {
	Image      string   `json:"image,omitempty"`
	Entrypoint []string `json:"entrypoint,omitempty"`
}

// metadataOf returns the metadata of a session: what the caller gave, and the details.
func metadataOf(se job.Session) (theirs map[string]string, of details) {
	var all map[string]json.RawMessage
	_ = json.Unmarshal(se.Metadata, &all) // a session that Kaa's own API opened may have anything
	_ = json.Unmarshal(all[detailsName], &of)
	theirs = make(map[string]string, len(all))
	for name, value := range all {
		var text string
		if name != detailsName && json.Unmarshal(value, &text) == nil {
			theirs[name] = text
		}
	}
	return theirs, of
}

// encoded returns the metadata of a session.
func encoded(theirs map[string]string, of details) json.RawMessage {
	all := make(map[string]any, len(theirs)+1)
	for name, value := range theirs {
		all[name] = value
	}
	all[detailsName] = of
	text, err := json.Marshal(all)
	if err != nil {
		panic(err) // texts can be encoded
	}
	return text
}
