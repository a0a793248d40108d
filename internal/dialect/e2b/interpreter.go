package e2b

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// interpreterPort is the port of the interpreter where each sandbox has a host name.
const interpreterPort = "49999"

// interpreter adds the routes of the code interpreter.
func (d *Dialect) interpreter() {
	d.handle("GET /health", "sandboxHealth", d.health)
	d.handleText("POST /execute", "executeInSandbox", d.execute)
	d.handleText("POST /contexts", "makeContext", d.makeContext)
	d.handleText("GET /contexts", "listContexts", d.listContexts)
	d.handleText("POST /contexts/{id}/restart", "restartContext", d.restartContext)
	d.handleText("DELETE /contexts/{id}", "deleteContext", d.deleteContext)
}

// handleText is handle for routes whose errors the SDKs show as text.
func (d *Dialect) handleText(pattern, operation string, h func(w http.ResponseWriter, r *http.Request, session string) error) {
	d.handle(pattern, operation, func(w http.ResponseWriter, r *http.Request) error {
		session, err := d.targetOfRequest(r)
		if err != nil {
			return err
		}
		return h(w, r, session)
	})
}

// errNotFound is for a sandbox that the caller does not have, or that has ended or is paused. The SDKs look for these words.
var errNotFound = dialect.NewFault(http.StatusBadGateway, "sandbox_not_found", "The sandbox was not found")

// isAway reports whether an error means that the sandbox does not run.
func isAway(err error) bool {
	return isGone(err) || errors.Is(err, job.ErrSessionPaused) || errors.Is(err, errNotFound)
}

// health answers whether a sandbox runs.
func (d *Dialect) health(w http.ResponseWriter, r *http.Request) error {
	session, err := d.targetOfRequest(r)
	if err != nil {
		return err
	}
	se, err := d.service.Session(r.Context(), service.CallerOf(r.Context()), session)
	switch {
	case err != nil:
		return err
	case se.State == job.SessionEnded, se.State == job.SessionPaused, isOver(se):
		return errNotFound
	case r.Header.Get("E2b-Sandbox-Port") == interpreterPort:
		w.WriteHeader(http.StatusOK)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
	return nil
}

type executeBody struct {
	Code     string            `json:"code"`
	Context  string            `json:"context_id"`
	Language string            `json:"language"`
	Envs     map[string]string `json:"env_vars"`
}

const python = "python"

// isPython reports whether a name is one of Python.
func isPython(language string) bool {
	switch strings.ToLower(language) {
	case "", python, "python3":
		return true
	}
	return false
}

func badLanguage(name string) error {
	return dialect.NewFault(http.StatusBadRequest, "not_supported", "Kaa has no language '%s'; use python or bash", clipped(name))
}

// execute executes code and answers with a line of JSON for each event.
func (d *Dialect) execute(w http.ResponseWriter, r *http.Request, session string) error {
	service.CallOf(r.Context()).Executes = true
	var body executeBody
	if err := decode(r, &body); err != nil {
		return err
	}
	within, forBash := contextID(body.Context)
	code := ""
	switch {
	case body.Context != "" && body.Language != "":
		return dialect.NewFault(http.StatusBadRequest, "invalid_request", "Only one of context_id or language can be provided")
	case forBash, isBash(body.Language):
		code = bashCode(body.Code)
	case !isPython(body.Language):
		return badLanguage(body.Language)
	case strings.TrimSpace(body.Code) == "":
		code = "pass" // an empty cell is executed, and is nothing
	default:
		code = dialect.NotebookCode(body.Code, d.service.LimitsOf(service.CallerOf(r.Context())).Packages.Allowed)
	}
	longest := d.service.Limits().MaxTimeout.Seconds()
	envs, err := d.withEnvs(r.Context(), target{service.CallerOf(r.Context()), session}, body.Envs)
	if err != nil {
		return err
	}
	watching, err := d.service.Watch(r.Context(), service.CallerOf(r.Context()), service.Submission{Request: job.Request{
		Code: code, SessionID: session, ContextID: within, Envs: envs, Timeout: &longest,
	}})
	if err != nil {
		return contextError(body.Context, err)
	}
	defer watching.Close(r.Context())
	return contextError(body.Context, d.stream(w, r, session, watching))
}

// contextError words that there is no such context.
func contextError(id string, err error) error {
	if end, ok := errors.AsType[*service.EndError](err); errors.Is(err, service.ErrNoContext) || ok && end.Job.Failure != nil && end.Job.Failure.Code == job.FailNoContext {
		return dialect.NewFault(http.StatusNotFound, "context_not_found", "Context %s not found", clipped(id))
	}
	return err
}

// homeOfRoot is the home of the user root, who is the user of the sandbox here.
const homeOfRoot = "/root"

type contextBody struct {
	Language string `json:"language"`
	Cwd      string `json:"cwd"`
}

type contextAnswer struct {
	ID       string `json:"id"`
	Language string `json:"language"`
	Cwd      string `json:"cwd"`
}

func contextOf(c job.Context) contextAnswer {
	cwd := c.Cwd
	if cwd == "" {
		cwd = home
	}
	return contextAnswer{shownID(c), cmp.Or(c.Language, python), cwd}
}

func (d *Dialect) makeContext(w http.ResponseWriter, r *http.Request, session string) error {
	var body contextBody
	if err := decode(r, &body); err != nil {
		return err
	}
	language := ""
	switch {
	case isBash(body.Language):
		language = bash
	case !isPython(body.Language):
		return badLanguage(body.Language)
	}
	at := body.Cwd
	if at == homeOfRoot {
		at = home
	}
	c, err := d.service.MakeContext(r.Context(), service.CallerOf(r.Context()), session, at, language)
	if err != nil {
		return err
	}
	answer := contextOf(c)
	if body.Cwd != "" {
		answer.Cwd = body.Cwd
	}
	dialect.WriteJSON(w, http.StatusOK, answer)
	return nil
}

func (d *Dialect) listContexts(w http.ResponseWriter, r *http.Request, session string) error {
	all, err := d.service.Contexts(r.Context(), service.CallerOf(r.Context()), session)
	if err != nil {
		return err
	}
	answer := make([]contextAnswer, len(all))
	for i, c := range all {
		answer[i] = contextOf(c)
	}
	dialect.WriteJSON(w, http.StatusOK, answer)
	return nil
}

func (d *Dialect) restartContext(w http.ResponseWriter, r *http.Request, session string) error {
	caller := service.CallerOf(r.Context())
	id, _ := contextID(r.PathValue("id"))
	if _, err := d.service.InterruptContext(r.Context(), caller, session, id); err != nil {
		return contextError(r.PathValue("id"), err)
	}
	if _, err := d.service.RestartContext(r.Context(), caller, session, id); err != nil {
		return contextError(r.PathValue("id"), err)
	}
	dialect.WriteJSON(w, http.StatusOK, nil)
	return nil
}

func (d *Dialect) deleteContext(w http.ResponseWriter, r *http.Request, session string) error {
	id, _ := contextID(r.PathValue("id"))
	if err := d.service.DeleteContext(r.Context(), service.CallerOf(r.Context()), session, id); err != nil {
		return contextError(r.PathValue("id"), err)
	}
	dialect.WriteJSON(w, http.StatusOK, nil)
	return nil
}

// lines writes an answer of lines of JSON.
type lines struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// keepAliveEvery is how often a line is sent in silence.
const keepAliveEvery = 5 * time.Second

// write sends a line. All characters beyond ASCII are escaped: the SDK for JavaScript decodes each chunk on its own.
func (l lines) write(line any) error {
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	if _, err = l.w.Write(append(ascii(text), '\n')); err != nil {
		return err
	}
	return l.control.Flush()
}
