// Package dify speaks the protocol of dify-sandbox, with which Dify's code nodes and templates are executed:
// docs/dialects/dify.md.
package dify

import (
	"net/http"
	"strings"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// Dialect answers POST /v1/sandbox/run and GET /health.
type Dialect struct {
	dialect.Plain
	parts dialect.Parts
}

// New returns the dialect of a process.
func New(p dialect.Parts) *Dialect { return &Dialect{parts: p} }

// Key returns the API key of a request.
func (*Dialect) Key(r *http.Request) string { return dialect.AnyKey(r) }

// Public names the route of health checks.
func (*Dialect) Public(r *http.Request) bool { return r.URL.Path == healthPath }

// Probe names the route of health checks.
func (*Dialect) Probe(r *http.Request) bool { return r.URL.Path == healthPath }

const (
	healthPath = "/health"
	runPath    = "/v1/sandbox/run"
)

// response is what each answer is.
type response struct {
	Code    int    `json:"code"` // 0, or a negative number
	Message string `json:"message"`
	Data    *run   `json:"data"`
}

// run is the end of code.
type run struct {
	Error    string `json:"error"` // makes a node of Dify fail; empty for code that has succeeded
	Stdout   string `json:"stdout"`
	Stderr   string `json:"stderr"`
	ExitCode int    `json:"exit_code"`
}

// Refuse answers with the status of the error and its negative as the code.
func (d *Dialect) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := dialect.FaultOf(r.Context(), d.parts.Log, err)
	f.SetRetryAfter(w.Header())
	dialect.WriteJSON(w, f.Status, response{Code: -f.Status, Message: f.Message})
}

func (d *Dialect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := service.CallOf(r.Context())
	switch {
	case r.Method == http.MethodGet && r.URL.Path == healthPath:
		call.Route = healthPath
		dialect.WriteJSON(w, http.StatusOK, "ok")
	case r.Method == http.MethodPost && r.URL.Path == runPath:
		call.Route, call.Operation, call.Executes = runPath, "run", true
		if err := d.run(w, r); err != nil {
			d.Refuse(w, r, err)
		}
	default:
		d.Refuse(w, r, dialect.NewFault(http.StatusNotFound, "no_such_route", "404 page not found"))
	}
}

func (d *Dialect) run(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Language, Code, Preload string
		Timeout                 float64
	}
	if err := dialect.ReadJSON(r, &body); err != nil {
		return err
	}
	switch {
	case body.Language != "python3":
		return dialect.NewFault(http.StatusBadRequest, "invalid_request", "unsupported language")
	case strings.TrimSpace(body.Code) == "":
		return dialect.NewFault(http.StatusBadRequest, "invalid_request", "code is required")
	}
	code := body.Code
	if body.Preload != "" {
		code = body.Preload + "\n" + code
	}
	p, _, err := dialect.RunProgram(r.Context(), d.parts.Service, job.Request{Code: code, Timeout: dialect.Timeout(r.Context(), d.parts.Service, body.Timeout)})
	if err != nil {
		return err
	}
	data := run{Stdout: p.Stdout, Stderr: p.Stderr, ExitCode: p.ExitCode}
	if p.ExitCode != 0 {
		data.Error = p.Stderr
		if data.Error == "" {
			data.Error = "the code has ended with a status that is not 0"
		}
	}
	dialect.WriteJSON(w, http.StatusOK, response{Message: "success", Data: &data})
	return nil
}
