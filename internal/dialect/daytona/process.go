package daytona

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

func (d *Dialect) processRoutes() {
	d.handle("POST "+box+"/process/execute", "executeCommand", d.execute)
	d.handle("POST "+box+"/process/code-run", "codeRun", d.codeRun)
	d.handle("POST "+box+"/process/interpreter/context", "createContext", d.makeContext)
	d.handle("GET "+box+"/process/interpreter/context", "listContexts", d.listContexts)
	d.handle("DELETE "+box+"/process/interpreter/context/{context}", "deleteContext", d.deleteContext)
	d.handle("GET "+box+"/process/interpreter/execute", "interpret", d.interpret)
}

// ran is how a program ended.
type ran struct {
	code           int
	stdout, stderr string
	timedOut       bool
	noDirectory    string // why its directory could not be entered
}

// programRequest is a program, or a line for the shell.
type programRequest struct {
	line    string
	argv    []string
	cwd     string
	envs    map[string]string
	stdin   string
	timeout *float64
}

// program has a program run in a sandbox and waits for its end. It ends if the caller goes away.
func (d *Dialect) program(ctx context.Context, se job.Session, p programRequest) (ran, error) {
	timeout := d.longest()
	if p.timeout != nil && *p.timeout > 0 {
		timeout = min(timeout, *p.timeout)
	}
	j, err := d.service.Execute(ctx, service.CallerOf(ctx), service.Submission{Request: job.Request{
		SessionID: se.ID, Command: p.line, Program: p.argv, Cwd: p.cwd, Envs: envsOf(se, p.envs), Stdin: p.stdin, Timeout: &timeout,
	}})
	if err != nil {
		return ran{}, err
	}
	return ranOf(j.Result), nil
}

// longest is the longest timeout that there is, in seconds. Who asks for none gets it.
func (d *Dialect) longest() float64 { return d.service.Limits().MaxTimeout.Seconds() }

func ranOf(r *job.Result) ran {
	how := ran{code: -1, stdout: r.Stdout, stderr: r.Stderr, timedOut: r.Status == job.StatusInterrupted}
	if r.ExitCode != nil {
		how.code = *r.ExitCode
	}
	if r.Error != nil && how.code == 126 && r.Stdout+r.Stderr == "" {
		how.noDirectory = r.Error.Value
	}
	return how
}

// execution is the body of /process/execute and /process/code-run.
type execution struct {
	Command  string            `json:"command"`
	Code     string            `json:"code"`
	Language string            `json:"language"`
	Argv     []string          `json:"argv"`
	Cwd      string            `json:"cwd"`
	Envs     map[string]string `json:"envs"`
	Env      map[string]string `json:"env"` // of older SDKs
	Timeout  *float64          `json:"timeout"`
}

// executed is the answer to them.
type executed struct {
	ExitCode  int        `json:"exitCode"`
	Result    string     `json:"result"`
	Artifacts *artifacts `json:"artifacts,omitempty"`
}

type artifacts struct {
	Charts []json.RawMessage `json:"charts"`
}

// body reads an execution and finds its sandbox.
func (d *Dialect) body(r *http.Request) (e execution, se job.Session, err error) {
	if err = decode(r, &e); err != nil {
		return e, se, err
	}
	if e.Envs == nil {
		e.Envs = e.Env
	}
	se, err = d.live(r)
	return e, se, err
}

// emptyCommand is the answer to a command that is empty: that of Daytona, word by word.
func emptyCommand(request string) error {
	return dialect.NewFault(http.StatusBadRequest, codeBody, "invalid body request: invalid request body: Key: '%s.Command' Error:Field validation for 'Command' failed on the 'required' tag", request)
}

// timedOut is the error of an execution that has exceeded its time.
func timedOut() error {
	return dialect.NewFault(http.StatusRequestTimeout, codeTimeout, "command execution timeout")
}

// execute has a shell execute a line, with both streams as one and nothing to read.
func (d *Dialect) execute(w http.ResponseWriter, r *http.Request) error {
	e, se, err := d.body(r)
	if err != nil {
		return err
	}
	if strings.TrimSpace(e.Command) == "" {
		return emptyCommand("ExecuteRequest")
	}
	how, err := d.program(r.Context(), se, programRequest{line: "exec </dev/null 2>&1; " + e.Command, cwd: e.Cwd, envs: e.Envs, timeout: e.Timeout})
	switch {
	case err != nil:
		return err
	case how.timedOut:
		return timedOut()
	case how.noDirectory != "":
		return answerJSON(w, http.StatusOK, executed{ExitCode: -1, Result: how.noDirectory})
	}
	return answerJSON(w, http.StatusOK, executed{ExitCode: how.code, Result: how.stdout + how.stderr})
}

// codeRun executes Python in an interpreter of its own: a context of the session that ends afterwards.
func (d *Dialect) codeRun(w http.ResponseWriter, r *http.Request) error {
	e, se, err := d.body(r)
	if err != nil {
		return err
	}
	switch strings.ToLower(e.Language) {
	case "", "python", "python3":
	default:
		return badRequest("language: Kaa runs python; %s is not supported", clipped(e.Language))
	}
	if e.Code == "" {
		return badRequest("code: send code")
	}
	ctx, caller := r.Context(), service.CallerOf(r.Context())
	made, err := d.service.MakeContext(ctx, caller, se.ID, e.Cwd, "")
	if err != nil {
		return err
	}
	defer d.dropContext(ctx, caller, se.ID, made.ID)
	timeout := d.longest()
	if e.Timeout != nil && *e.Timeout > 0 {
		timeout = min(timeout, *e.Timeout)
	}
	run := func(code string) (job.Job, error) {
		return d.service.Execute(ctx, caller, service.Submission{Request: job.Request{
			SessionID: se.ID, ContextID: made.ID, Code: code, Envs: envsOf(se, e.Envs), Timeout: &timeout,
		}})
	}
	if len(e.Argv) > 0 {
		if _, err := run("import sys; sys.argv[1:] = " + pythonList(e.Argv) + "; del sys"); err != nil {
			return err
		}
	}
	j, err := run(e.Code)
	if err != nil {
		return err
	}
	if j.Result.Status == job.StatusInterrupted {
		return timedOut()
	}
	return answerJSON(w, http.StatusOK, codeRan(j.Result))
}

// pythonList writes texts as a list of Python: JSON is one, but for characters beyond 16 bits, which Python has as they are.
func pythonList(texts []string) string {
	data, err := json.Marshal(texts)
	if err != nil {
		return "[]" // texts can be encoded
	}
	return string(data)
}

// dropContext ends a context, also when the caller has gone.
func (d *Dialect) dropContext(ctx context.Context, caller service.Caller, session, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := d.service.DeleteContext(ctx, caller, session, id); err != nil {
		d.log.DebugContext(ctx, "context of code-run stays", slog.Any("err", err))
	}
}

// codeRan is the answer for code that has ended.
func codeRan(result *job.Result) executed {
	answer := executed{Result: textOf(result)}
	if result.ExitCode != nil {
		answer.ExitCode = *result.ExitCode
	}
	charts := []json.RawMessage{}
	for _, value := range result.Results {
		if chart := chartOf(value); chart != nil {
			charts = append(charts, chart)
		}
	}
	if len(charts) > 0 {
		answer.Artifacts = &artifacts{charts}
	}
	return answer
}

// textOf is all output of code in its order, and the traceback at its end.
func textOf(result *job.Result) string {
	var text strings.Builder
	for _, o := range result.Outputs {
		if o.Type != "error" && o.Value == nil {
			text.WriteString(o.Text)
		}
		if o.Dropped > 0 {
			text.WriteString(job.DroppedNote(o.Dropped))
		}
	}
	if e := result.Error; e != nil && result.Status != job.StatusExit {
		if text.Len() > 0 && !strings.HasSuffix(text.String(), "\n") {
			text.WriteString("\n")
		}
		text.WriteString(strings.TrimSuffix(e.Traceback, "\n"))
		text.WriteString("\n")
	}
	return text.String()
}
