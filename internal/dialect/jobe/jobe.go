// Package jobe speaks the protocol of Jobe, the server behind Moodle's CodeRunner: docs/dialects/jobe.md.
package jobe

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// Dialect answers the REST API of Jobe, with or without /index.php.
type Dialect struct {
	dialect.Plain
	parts dialect.Parts
}

// New returns the dialect of a process.
func New(p dialect.Parts) *Dialect { return &Dialect{parts: p} }

// Key returns the API key of a request.
func (*Dialect) Key(r *http.Request) string { return dialect.AnyKey(r) }

// Refuse answers with a message as a JSON string.
func (d *Dialect) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := dialect.FaultOf(r.Context(), d.parts.Log, err)
	f.SetRetryAfter(w.Header())
	dialect.WriteJSON(w, f.Status, f.Message)
}

func refuse(status int, format string, args ...any) error {
	return dialect.NewFault(status, "invalid_request", format, args...)
}

func (d *Dialect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := service.CallOf(r.Context())
	path := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/jobe"), "/index.php")
	path = strings.TrimSuffix(path, "/")
	file, isFile := strings.CutPrefix(path, "/restapi/files/")
	var err error
	switch {
	case path == "/restapi/languages" && r.Method == http.MethodGet:
		call.Route, call.Operation = "/restapi/languages", "languages"
		err = d.languages(w, r)
	case path == "/restapi/runs" && r.Method == http.MethodPost:
		call.Route, call.Operation, call.Executes = "/restapi/runs", "runs", true
		err = d.run(w, r)
	case isFile && r.Method == http.MethodPut:
		call.Route, call.Operation = "/restapi/files/{id}", "putFile"
		err = d.put(w, r, file)
	case isFile && r.Method == http.MethodGet:
		call.Route, call.Operation = "/restapi/files/{id}", "headFile"
		err = d.has(w, r, file)
	default:
		err = dialect.NewFault(http.StatusNotFound, "no_such_route", "Not Found")
	}
	if err != nil {
		d.Refuse(w, r, err)
	}
}

const python, bash = "python3", "bash"

func (d *Dialect) languages(w http.ResponseWriter, r *http.Request) error {
	all, err := d.parts.Service.Runtimes(r.Context(), service.CallerOf(r.Context()))
	if err != nil {
		return err
	}
	version := "3"
	if i := slices.IndexFunc(all, func(rt job.Runtime) bool { return rt.Default }); i >= 0 {
		version = all[i].Version
	}
	dialect.WriteJSON(w, http.StatusOK, [][]string{{bash, "5"}, {python, version}})
	return nil
}

// The outcomes of runs.
const (
	compileError = 11
	runtimeError = 12
	timeLimit    = 13
	success      = 15
	memoryLimit  = 17
	overload     = 21
)

// outcome is the answer to a run.
type outcome struct {
	ID      *string `json:"run_id"`
	Outcome int     `json:"outcome"`
	Compile string  `json:"cmpinfo"`
	Stdout  string  `json:"stdout"`
	Stderr  string  `json:"stderr"`
}

// specification is what is to be run.
type specification struct {
	Language   string  `json:"language_id"`
	SourceCode *string `json:"sourcecode"`
	SourceName string  `json:"sourcefilename"`
	Input      string
	Files      [][]any `json:"file_list"` // id, name, and whether it is new
	Parameters parameters
}

// parameters are limits. PHP writes an empty object as a list, which is read as none.
type parameters struct {
	CPUTime     float64 `json:"cputime"`     // seconds
	MemoryLimit float64 `json:"memorylimit"` // megabytes
	RunArgs     []string
}

// UnmarshalJSON reads an object, and a list as an empty one.
func (p *parameters) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '[' {
		return nil
	}
	type plain parameters
	return json.Unmarshal(text, (*plain)(p))
}

func (d *Dialect) run(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Run *specification `json:"run_spec"`
	}
	if err := dialect.ReadJSON(r, &body); err != nil {
		return err
	}
	spec := body.Run
	switch {
	case spec == nil:
		return refuse(http.StatusBadRequest, "No run_spec attribute found in post data")
	case spec.SourceCode == nil:
		return refuse(http.StatusBadRequest, "run_spec is missing the required attribute 'sourcecode'")
	case spec.Language == "":
		return refuse(http.StatusBadRequest, "run_spec is missing the required attribute 'language_id'")
	}
	request, release, err := d.request(r, spec)
	defer release()
	if err != nil {
		return err
	}
	p, j, err := dialect.RunProgram(r.Context(), d.parts.Service, request)
	if err != nil {
		if f := dialect.FaultOf(r.Context(), d.parts.Log, err); f.Status != http.StatusTooManyRequests && f.Status != http.StatusServiceUnavailable {
			return f
		}
		dialect.WriteJSON(w, http.StatusOK, outcome{Outcome: overload})
		return nil
	}
	dialect.WriteJSON(w, http.StatusOK, outcomeOf(p, j))
	return nil
}

func (d *Dialect) request(r *http.Request, spec *specification) (run job.Request, release func(), err error) {
	release = func() {}
	code := *spec.SourceCode
	blank := strings.TrimSpace(code) == ""
	switch language := strings.ToLower(spec.Language); {
	case language == python && blank:
		run = job.Request{Code: "pass"}
	case language == python:
		run = job.Request{Code: code, Argv: spec.Parameters.RunArgs}
	case language == bash && blank:
		run = job.Request{Command: ":"}
	case language == bash:
		run = dialect.Shell(code, spec.Parameters.RunArgs)
	default:
		return run, release, refuse(http.StatusBadRequest, "Language '%s' is not known", spec.Language[:min(len(spec.Language), 32)])
	}
	run.Stdin = spec.Input
	run.Limits = dialect.Memory(r.Context(), d.parts.Service, spec.Parameters.MemoryLimit*1e6)
	if cpu := spec.Parameters.CPUTime; cpu > 0 {
		if run.Limits == nil {
			run.Limits = job.QuotaRequest{}
		}
		run.Limits["cpuSeconds"] = max(cpu, 0.01)
		run.Timeout = dialect.Timeout(r.Context(), d.parts.Service, 2*cpu) // as there
	}
	run.Files, release, err = d.fetch(r, spec.Files)
	return run, release, err
}

// outcomeOf words the end of a program.
func outcomeOf(p dialect.Program, j job.Job) outcome {
	o := outcome{ID: &j.ID, Outcome: success, Stdout: p.Stdout, Stderr: p.Stderr}
	e := j.Result.Error
	switch {
	case p.End == dialect.TimedOut, p.End == dialect.OutOfCPU:
		o.Outcome, o.Stderr = timeLimit, ""
	case p.End == dialect.OutOfMemory:
		o.Outcome = memoryLimit
	case e != nil && p.Stdout == "" && slices.Contains([]string{"SyntaxError", "IndentationError", "TabError"}, e.Name):
		o.Outcome, o.Compile, o.Stderr = compileError, p.Stderr, ""
	case p.Stderr != "":
		o.Outcome = runtimeError
	}
	return o
}

// cache names the session of a caller that keeps files for runs. A client puts a file again that is not there any more.
const cache = "jobe-files"

// isFileID reports whether a text can be the id of a file.
func isFileID(id string) bool {
	return id != "" && len(id) <= 128 && strings.IndexFunc(id, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	}) < 0
}

func (d *Dialect) put(w http.ResponseWriter, r *http.Request, id string) error {
	var body struct {
		Contents *string `json:"file_contents"`
	}
	if err := dialect.ReadJSON(r, &body); err != nil {
		return err
	}
	if !isFileID(id) {
		return refuse(http.StatusBadRequest, "put: the file id must be letters and digits")
	}
	if body.Contents == nil {
		return refuse(http.StatusBadRequest, "put: missing file_contents parameter")
	}
	content, err := base64.StdEncoding.DecodeString(*body.Contents)
	if err != nil {
		return refuse(http.StatusBadRequest, "put: contents of file %s are not valid base-64", id)
	}
	s, caller := d.parts.Service, service.CallerOf(r.Context())
	longest := s.Limits().Sessions
	request := job.SessionRequest{IdleTimeout: new(longest.MaxIdleTimeout.Seconds()), MaxAge: new(longest.MaxAge.Seconds())}
	for attempt := 0; ; attempt++ {
		se, _, err := s.EnsureSession(r.Context(), caller, cache, request)
		if err == nil {
			_, err = s.PutSessionFile(r.Context(), caller, se.ID, id, strings.NewReader(string(content)))
		}
		if dialect.FailureOf(err) == job.FailDisk && attempt == 0 {
			_, _ = s.CloseSessionNamed(r.Context(), caller, cache) // it begins anew
			continue
		}
		if err == nil {
			w.WriteHeader(http.StatusNoContent)
		}
		return err
	}
}

// open opens a file of the caller.
func (d *Dialect) open(r *http.Request, id string) (io.ReadSeekCloser, error) {
	gone := refuse(http.StatusNotFound, "One or more of the specified files is missing/unavailable")
	if !isFileID(id) {
		return nil, gone
	}
	se, err := d.parts.Service.SessionNamed(r.Context(), service.CallerOf(r.Context()), cache)
	if errors.Is(err, job.ErrNoSession) || err == nil && se.State == job.SessionEnded {
		return nil, gone
	}
	if err != nil {
		return nil, err
	}
	_, content, err := d.parts.Service.OpenSessionFile(r.Context(), service.CallerOf(r.Context()), se.ID, id)
	if code := dialect.FailureOf(err); code == job.FailNoFile || code == job.FailSessionEnded || errors.Is(err, job.ErrSessionEnded) {
		return nil, gone
	}
	return content, err
}

func (d *Dialect) has(w http.ResponseWriter, r *http.Request, id string) error {
	content, err := d.open(r, id)
	if err != nil {
		return err
	}
	_ = content.Close()
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// fetch reads the files of a run, whose bytes count as those of bodies until release is called.
func (d *Dialect) fetch(r *http.Request, list [][]any) (files []job.FileRequest, release func(), err error) {
	held := d.parts.Service.HoldBody(service.CallerOf(r.Context()))
	for _, item := range list {
		if len(item) < 2 {
			return nil, held.Release, refuse(http.StatusBadRequest, "Invalid file specifier")
		}
		id, isText := item[0].(string)
		name, isName := item[1].(string)
		if !isText || !isName {
			return nil, held.Release, refuse(http.StatusBadRequest, "Invalid file specifier")
		}
		content, err := d.open(r, id)
		if err != nil {
			return nil, held.Release, err
		}
		data, err := io.ReadAll(held.Reader(content))
		_ = content.Close()
		if err != nil {
			return nil, held.Release, err
		}
		files = append(files, job.FileRequest{Path: name, Data: append([]byte{}, data...)})
	}
	return files, held.Release, nil
}
