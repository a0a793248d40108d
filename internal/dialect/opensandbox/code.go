package opensandbox

import (
	"errors"
	"net/http"
	"strings"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// python is the language of contexts. Code in bash has no state.
const python, bash = "python", "bash"

// code adds the routes of the daemon's code interpreter.
func (d *Dialect) code() {
	d.handle("GET "+daemonPath+"/ping", "ping", d.ping)
	d.handle("GET "+daemonPath+"/metrics", "metrics", d.metrics)
	d.handle("POST "+daemonPath+"/code", "runCode", d.runCode)
	d.handle("DELETE "+daemonPath+"/code", "interruptCode", d.interruptCode)
	d.handle("POST "+daemonPath+"/code/context", "createContext", d.createContext)
	d.handle("GET "+daemonPath+"/code/contexts", "listContexts", d.listContexts)
	d.handle("DELETE "+daemonPath+"/code/contexts", "deleteContexts", d.deleteContexts)
	d.handle("GET "+daemonPath+"/code/contexts/{context}", "getContext", d.getContext)
	d.handle("DELETE "+daemonPath+"/code/contexts/{context}", "deleteContext", d.deleteContext)
}

func (d *Dialect) ping(w http.ResponseWriter, r *http.Request) error {
	se, err := d.sandbox(r)
	if err == nil && se.State == job.SessionPaused {
		err = job.ErrSessionPaused
	}
	if err == nil {
		done(w)
	}
	return err
}

// metrics answers with the limits of a sandbox. Kaa measures usage by execution, and not by time.
func (d *Dialect) metrics(w http.ResponseWriter, r *http.Request) error {
	if _, err := d.sandbox(r); err != nil {
		return err
	}
	quota := d.service.Limits().DefaultQuota
	dialect.WriteJSON(w, http.StatusOK, map[string]any{
		"cpu_count": max(1, quota.CPUs), "cpu_used_pct": 0, "mem_total_mib": float64(quota.MemoryBytes) / (1 << 20), "mem_used_mib": 0,
		"timestamp": now(),
	})
	return nil
}

type codeContext struct {
	ID       string `json:"id,omitempty"`
	Language string `json:"language"`
}

func (d *Dialect) runCode(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Code    string
		Context codeContext
	}
	if err := dialect.ReadJSON(r, &body); err != nil {
		return err
	}
	if strings.TrimSpace(body.Code) == "" {
		return invalid("code is required")
	}
	call := service.CallOf(r.Context())
	call.Executes = true
	request := job.Request{SessionID: r.PathValue("id"), Timeout: dialect.LongestTimeout(r.Context(), d.service)}
	switch body.Context.Language {
	case python:
		request.Code, request.ContextID = body.Code, body.Context.ID
	case bash, "": // without a language it is a command
		request.Command = body.Code
	default:
		return noLanguage(body.Context.Language)
	}
	watching, err := d.service.Watch(r.Context(), service.CallerOf(r.Context()), service.Submission{Request: request})
	if err != nil {
		return noContext(body.Context.ID, err)
	}
	var words translator = codeWords{}
	if request.Command != "" {
		words = new(commandWords)
	}
	return d.stream(w, r, watching, words)
}

func noLanguage(name string) error {
	return dialect.NewFault(http.StatusBadRequest, "not_supported", "language %s is not supported: Kaa has python and bash", clipped(name))
}

// noContext words an error about a context.
func noContext(id string, err error) error {
	if errors.Is(err, service.ErrNoContext) || dialect.FailureOf(err) == job.FailNoContext {
		return dialect.NewFault(http.StatusNotFound, "context_not_found", "context %s not found", clipped(id))
	}
	return err
}

// interruptCode interrupts an execution, by its id or that of its context.
func (d *Dialect) interruptCode(w http.ResponseWriter, r *http.Request) error {
	id := r.URL.Query().Get("id")
	if id == "" {
		return dialect.NewFault(http.StatusBadRequest, "missing_query", "missing query parameter 'id'")
	}
	caller, session := service.CallerOf(r.Context()), r.PathValue("id")
	if _, err := d.sandbox(r); err != nil {
		return err
	}
	j, err := job.Job{}, job.ErrNotFound
	if service.IsID(id) {
		j, err = d.service.Job(r.Context(), caller, id, 0)
	}
	switch {
	case err == nil && j.SessionID == session && j.InSession:
		if _, _, err = d.service.Cancel(r.Context(), caller, id); errors.Is(err, job.ErrFinished) {
			err = nil
		}
	case err == nil, errors.Is(err, job.ErrNotFound), errors.Is(err, job.ErrGone):
		_, err = d.service.InterruptContext(r.Context(), caller, session, id)
	}
	if err == nil {
		done(w)
	}
	return noContext(id, err)
}

func (d *Dialect) createContext(w http.ResponseWriter, r *http.Request) error {
	var body struct{ Language, Cwd string }
	if err := dialect.ReadJSON(r, &body); err != nil {
		return err
	}
	if body.Language != python {
		return noLanguage(body.Language)
	}
	if _, err := d.sandbox(r); err != nil {
		return err
	}
	made, err := d.service.MakeContext(r.Context(), service.CallerOf(r.Context()), r.PathValue("id"), body.Cwd, "")
	if err == nil {
		dialect.WriteJSON(w, http.StatusOK, codeContext{made.ID, python})
	}
	return err
}

// contexts lists the contexts that callers have made, of a language.
func (d *Dialect) contexts(r *http.Request) ([]codeContext, error) {
	all := []codeContext{}
	if language := r.URL.Query().Get("language"); language != "" && language != python {
		_, err := d.sandbox(r)
		return all, err
	}
	found, err := d.service.Contexts(r.Context(), service.CallerOf(r.Context()), r.PathValue("id"))
	for _, c := range found {
		if c.ID != job.DefaultContext {
			all = append(all, codeContext{c.ID, python})
		}
	}
	return all, err
}

func (d *Dialect) listContexts(w http.ResponseWriter, r *http.Request) error {
	all, err := d.contexts(r)
	if err == nil {
		dialect.WriteJSON(w, http.StatusOK, all)
	}
	return err
}

func (d *Dialect) deleteContexts(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Query().Get("language") == "" {
		return dialect.NewFault(http.StatusBadRequest, "missing_query", "missing query parameter 'language'")
	}
	all, err := d.contexts(r)
	for _, c := range all {
		if err == nil {
			err = d.service.DeleteContext(r.Context(), service.CallerOf(r.Context()), r.PathValue("id"), c.ID)
		}
		if noContext(c.ID, err) != err { //nolint:errorlint // it was deleted meanwhile
			err = nil
		}
	}
	if err == nil {
		done(w)
	}
	return err
}

func (d *Dialect) getContext(w http.ResponseWriter, r *http.Request) error {
	found, err := d.service.Contexts(r.Context(), service.CallerOf(r.Context()), r.PathValue("id"))
	if err != nil {
		return err
	}
	id := r.PathValue("context")
	for _, c := range found {
		if c.ID == id {
			dialect.WriteJSON(w, http.StatusOK, codeContext{id, python})
			return nil
		}
	}
	return noContext(id, service.ErrNoContext)
}

func (d *Dialect) deleteContext(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("context")
	err := d.service.DeleteContext(r.Context(), service.CallerOf(r.Context()), r.PathValue("id"), id)
	if err == nil {
		done(w)
	}
	return noContext(id, err)
}
