// Package sandboxfusion speaks the protocol of SandboxFusion, which trainers of models (verl) and graders of their code
// use: docs/dialects/sandboxfusion.md.
package sandboxfusion

import (
	"encoding/base64"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// Dialect answers POST /run_code and POST /run_jupyter.
type Dialect struct {
	dialect.Plain
	parts dialect.Parts
}

// New returns the dialect of a process.
func New(p dialect.Parts) *Dialect { return &Dialect{parts: p} }

// Key returns the API key of a request.
func (*Dialect) Key(r *http.Request) string { return dialect.AnyKey(r) }

const pingPath = "/v1/ping"

// Public names the route of health checks.
func (*Dialect) Public(r *http.Request) bool { return r.URL.Path == pingPath }

// Probe names the route of health checks.
func (*Dialect) Probe(r *http.Request) bool { return r.URL.Path == pingPath }

// issue is a mistake in a request, as FastAPI words it.
type issue struct {
	Type     string   `json:"type"`
	Location []string `json:"loc"`
	Message  string   `json:"msg"`
}

// Refuse answers with details. A mistake in a request is a 422.
func (d *Dialect) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := dialect.FaultOf(r.Context(), d.parts.Log, err)
	f.SetRetryAfter(w.Header())
	if f.Status == http.StatusBadRequest {
		dialect.WriteJSON(w, http.StatusUnprocessableEntity, map[string]any{
			"detail": []issue{{Type: "value_error", Location: []string{"body"}, Message: f.Message}},
		})
		return
	}
	dialect.WriteJSON(w, f.Status, map[string]string{"detail": f.Message})
}

func (d *Dialect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := service.CallOf(r.Context())
	var err error
	switch {
	case r.Method == http.MethodGet && r.URL.Path == pingPath:
		call.Route = pingPath
		dialect.WriteJSON(w, http.StatusOK, "pong")
	case r.Method == http.MethodPost && r.URL.Path == "/run_code":
		call.Route, call.Operation, call.Executes = "/run_code", "run_code", true
		err = d.runCode(w, r)
	case r.Method == http.MethodPost && r.URL.Path == "/run_jupyter":
		call.Route, call.Operation, call.Executes = "/run_jupyter", "run_jupyter", true
		err = d.runJupyter(w, r)
	default:
		err = dialect.NewFault(http.StatusNotFound, "no_such_route", "Not Found")
	}
	if err != nil {
		d.Refuse(w, r, err)
	}
}

// The statuses of answers and of programs.
const (
	succeeded = "Success"
	failed    = "Failed"
	finished  = "Finished"
	broken    = "Error"
	timedOut  = "TimeLimitExceeded"
)

// ran is the end of a program.
type ran struct {
	Status        string   `json:"status"`
	ExecutionTime *float64 `json:"execution_time"` // seconds
	ReturnCode    *int     `json:"return_code"`    // -n for signal n
	Stdout        *string  `json:"stdout"`
	Stderr        *string  `json:"stderr"`
}

// response is the answer to code.
type response struct {
	Status        string            `json:"status"`
	Message       string            `json:"message"`
	CompileResult *ran              `json:"compile_result"`
	RunResult     *ran              `json:"run_result"`
	PodName       *string           `json:"executor_pod_name"`
	Files         map[string]string `json:"files"` // base64 by path
}

// files are those that come with code, and those that are wanted after it.
type files struct {
	Files map[string]*string // base64 by path; nil is not put
	Fetch []string           `json:"fetch_files"`
}

func refuse(format string, args ...any) error {
	return dialect.NewFault(http.StatusBadRequest, "invalid_request", format, args...)
}

func (d *Dialect) runCode(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Code, Language, Stdin string
		RunTimeout            *float64 `json:"run_timeout"` // seconds
		MemoryLimitMB         float64  `json:"memory_limit_MB"`
		Args                  []string
		files
	}
	if err := dialect.ReadJSON(r, &body); err != nil {
		return err
	}
	inputs, err := body.inputs()
	if err != nil {
		return err
	}
	var run job.Request
	switch blank := strings.TrimSpace(body.Code) == ""; {
	case body.Language == "":
		return refuse("language: Field required")
	case body.Language == "python" && blank:
		run = job.Request{Code: "pass"} // an empty program succeeds
	case body.Language == "python":
		run = job.Request{Code: body.Code}
	case body.Language == "bash" && blank:
		run = job.Request{Command: ":"}
	case body.Language == "bash":
		run = dialect.Shell(body.Code, nil)
	default:
		return refuse("language: Input should be 'python' or 'bash'; this server has no other languages")
	}
	timeout := 10.0
	if body.RunTimeout != nil {
		timeout = *body.RunTimeout
	}
	run.Stdin, run.Files = body.Stdin, inputs
	run.Timeout, run.Limits = dialect.Timeout(r.Context(), d.parts.Service, timeout), dialect.Memory(r.Context(), d.parts.Service, body.MemoryLimitMB*(1<<20))
	p, j, err := dialect.RunProgram(r.Context(), d.parts.Service, run)
	if err != nil {
		return err
	}
	found, release, err := d.fetchJob(r, j, body.files)
	defer release()
	if err != nil {
		return err
	}
	answer := response{Status: succeeded, RunResult: ranOf(p), Files: found}
	if p.ExitCode != 0 {
		answer.Status = failed
	}
	dialect.WriteJSON(w, http.StatusOK, answer)
	return nil
}

// ranOf words the end of a program.
func ranOf(p dialect.Program) *ran {
	took := p.Took.Seconds()
	out := &ran{Status: finished, ExecutionTime: &took, Stdout: &p.Stdout, Stderr: &p.Stderr}
	switch code := p.ExitCode; {
	case p.End == dialect.TimedOut:
		out.Status = timedOut
	case p.Signal != "":
		code = 128 - code
		out.ReturnCode = &code
	default:
		out.ReturnCode = &code
	}
	return out
}

// inputs are the files that come with code.
func (f files) inputs() ([]job.FileRequest, error) {
	var inputs []job.FileRequest
	for name, text := range f.Files {
		if text == nil {
			continue
		}
		content, err := base64.StdEncoding.DecodeString(*text)
		if err != nil {
			return nil, refuse("files.%q is not base64", name)
		}
		inputs = append(inputs, job.FileRequest{Path: cleaned(name), Data: append([]byte{}, content...)})
	}
	slices.SortFunc(inputs, func(a, b job.FileRequest) int { return strings.Compare(a.Path, b.Path) })
	return inputs, nil
}

// cleaned is a path below the working directory without what its writer has in front of it.
func cleaned(name string) string {
	if path.IsAbs(name) {
		return name
	}
	return path.Clean(name)
}
