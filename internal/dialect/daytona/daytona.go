// Package daytona speaks the protocols of Daytona's SDKs: the control plane of sandboxes below /api, and the toolbox of
// a sandbox, with its files, processes and interpreters, below /toolbox/{id}. A sandbox is a session of Kaa.
// docs/dialects/daytona.md says what works.
package daytona

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// keyParameter is the query parameter with which a browser's WebSocket brings its key.
const keyParameter = "DAYTONA_SANDBOX_AUTH_KEY"

// Dialect is a door.Dialect.
type Dialect struct {
	service *service.Service
	log     *slog.Logger
	mux     *http.ServeMux
}

// New returns the dialect of a process.
func New(p dialect.Parts) *Dialect {
	d := &Dialect{service: p.Service, log: p.Log, mux: http.NewServeMux()}
	d.controlRoutes()
	d.catalogRoutes()
	d.fileRoutes()
	d.processRoutes()
	d.shellRoutes()
	d.terminalRoutes()
	d.gitRoutes()
	d.systemRoutes()
	d.previewRoutes()
	return d
}

// Key returns the API key of a request.
func (*Dialect) Key(r *http.Request) string {
	if key := dialect.Bearer(r); key != "" {
		return key
	}
	if key := r.Header.Get("X-Api-Key"); key != "" {
		return key
	}
	if r.Header.Get("Upgrade") != "" {
		return r.URL.Query().Get(keyParameter)
	}
	return ""
}

// Public reports that no request is.
func (*Dialect) Public(*http.Request) bool { return false }

// Probe reports that no request is one.
func (*Dialect) Probe(*http.Request) bool { return false }

// Body streams uploads, and takes all else as bytes.
func (*Dialect) Body(r *http.Request) service.Body {
	if r.Method == http.MethodPost && (strings.HasSuffix(r.URL.Path, "/files/bulk-upload") || strings.HasSuffix(r.URL.Path, "/files/upload") || strings.HasSuffix(r.URL.Path, "/files/upload-v2")) {
		return service.BodyFile
	}
	if strings.HasPrefix(r.URL.Path, preview) || strings.HasPrefix(r.URL.Path, signedPreview) {
		return service.BodyPassed
	}
	return service.BodyBinary
}

// Refuse answers a request that does not pass the door.
func (d *Dialect) Refuse(w http.ResponseWriter, r *http.Request, err error) { d.answer(w, r, err) }

// ServeHTTP answers a request. What no route takes, by its path or its method, is not found.
func (d *Dialect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = withoutHolder(r)
	if _, pattern := d.mux.Handler(r); pattern == "" || !dialect.Straight(r) { // the mux would lead to another path
		d.answer(w, r, unsupported(r))
		return
	}
	d.mux.ServeHTTP(w, r)
}

// unsupported says that there is no such route.
func unsupported(r *http.Request) error {
	status := http.StatusNotFound
	for _, part := range []string{
		"/lsp/", "/computeruse/", "/api/secret", "/api/warm-pools", "/api/snapshots", "/api/object-storage", "/ssh-access", "/backup", "/build-logs", "/telemetry/",
		"/resize", "/secrets",
	} {
		if strings.Contains(r.URL.Path, part) {
			status = http.StatusNotImplemented
		}
	}
	return dialect.NewFault(status, "no_such_route", "Kaa's Daytona dialect does not support %s %s", r.Method, clipped(r.URL.Path))
}

// handle adds a route whose errors are answered in the shape of Daytona. The pattern is one of net/http, and may have several methods.
func (d *Dialect) handle(pattern, operation string, h func(w http.ResponseWriter, r *http.Request) error) {
	_, route, ok := strings.Cut(pattern, " ")
	if !ok { // any method
		route = pattern
	}
	d.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		call := service.CallOf(r.Context())
		call.Route, call.Operation = route, operation
		if err := h(w, r); err != nil && !errors.Is(err, errGone) {
			d.answer(w, r, err)
		}
	})
}

// errorBody is the body of an error. Source and code choose the class of the SDK's exception, or else the status does.
type errorBody struct {
	StatusCode int    `json:"statusCode"`
	Source     string `json:"source"`
	Code       string `json:"code,omitempty"`
	Message    string `json:"message"`
	Error      string `json:"error"`
	Path       string `json:"path"`
	Method     string `json:"method"`
}

// answer words an error.
func (d *Dialect) answer(w http.ResponseWriter, r *http.Request, err error) {
	body, fault := d.errorOf(r, err)
	fault.SetRetryAfter(w.Header())
	dialect.WriteJSON(w, body.StatusCode, body)
}

func (d *Dialect) errorOf(r *http.Request, err error) (errorBody, *dialect.Fault) {
	f := dialect.FaultOf(r.Context(), d.log, err)
	body := errorBody{StatusCode: f.Status, Source: "DAYTONA_API", Message: f.Message, Error: http.StatusText(f.Status), Path: clipped(r.URL.Path), Method: r.Method}
	if strings.HasPrefix(r.URL.Path, toolbox) {
		body.Source = "DAYTONA_DAEMON"
		body.Code = codes[f.Code]
		if body.Code == "" {
			body.Code = statusCodes[f.Status]
		}
	}
	if f.Code == "session_ended" || f.Code == "session_not_found" { // a sandbox that ended is one that never was
		body.StatusCode, body.Message, body.Code = http.StatusNotFound, "sandbox not found", ""
		body.Error = http.StatusText(http.StatusNotFound)
	}
	if f.Code == "session_paused" {
		body.StatusCode, body.Message, body.Error = http.StatusBadRequest, "the sandbox is not started; start it first", http.StatusText(http.StatusBadRequest)
		if body.Code != "" {
			body.Code = statusCodes[http.StatusBadRequest]
		}
	}
	return body, f
}

// codes are those of the toolbox, by ours.
var codes = map[string]string{ //nolint:gochecknoglobals // a table
	string(job.FailNoFile):     "FILE_NOT_FOUND",
	string(job.FailFileDenied): "FILE_ACCESS_DENIED",
	codeBadPath:                codeBadPath,
	codeTimeout:                codeTimeout,
	codeNoProcess:              codeNoProcess,
	codeSessionEnded:           codeSessionEnded,
	codeCommandOver:            codeCommandOver,
	"command_ended":            codeCommandOver,
	codeGitAuth:                codeGitAuth,
	codeGitNoRepo:              codeGitNoRepo,
	codeGitNoBranch:            codeGitNoBranch,
	codeGitBranchExists:        codeGitBranchExists,
	codeGitDirty:               codeGitDirty,
	codeGitConflict:            codeGitConflict,
	codeGitTransport:           codeGitTransport,
	codeGitRejected:            codeGitRejected,
	codeGitRefused:             codeGitRefused,
	codeBody:                   codeBody,
}

// statusCodes are the codes of errors that have none of their own.
var statusCodes = map[int]string{ //nolint:gochecknoglobals // a table
	http.StatusBadRequest: "BAD_REQUEST", http.StatusUnauthorized: "UNAUTHORIZED", http.StatusForbidden: "FORBIDDEN", http.StatusNotFound: "NOT_FOUND",
	http.StatusConflict: "CONFLICT", http.StatusGone: "GONE",
}

// The codes of the toolbox that the dialect gives itself.
const (
	codeBadPath         = "INVALID_FILE_PATH"
	codeTimeout         = "PROCESS_EXECUTION_TIMEOUT"
	codeNoProcess       = "PROCESS_NOT_FOUND"
	codeSessionEnded    = "SESSION_ENDED"
	codeCommandOver     = "COMMAND_ALREADY_COMPLETED"
	codeGitAuth         = "GIT_AUTH_FAILED"
	codeGitNoRepo       = "GIT_REPO_NOT_FOUND"
	codeGitNoBranch     = "GIT_BRANCH_NOT_FOUND"
	codeGitBranchExists = "GIT_BRANCH_EXISTS"
	codeGitDirty        = "GIT_DIRTY_WORKTREE"
	codeGitConflict     = "GIT_MERGE_CONFLICT"
	codeGitTransport    = "GIT_TRANSPORT_FAILED"
	codeGitRejected     = "GIT_PUSH_REJECTED"
	codeGitRefused      = "GIT_REMOTE_REJECTED"
	codeBody            = "INVALID_REQUEST_BODY"
)

// badRequest is a mistake in a request.
func badRequest(format string, args ...any) error {
	return dialect.NewFault(http.StatusBadRequest, "invalid_request", format, args...)
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
	return dialect.NewFault(http.StatusBadRequest, codeBody, "the body is no JSON of the right types")
}

// clipped bounds what a caller sees again of its own text.
func clipped(text string) string {
	const most = 200
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// answerJSON answers with a value.
func answerJSON(w http.ResponseWriter, status int, value any) error {
	dialect.WriteJSON(w, status, value)
	return nil
}
