package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// Names of the tools that execute something.
const (
	toolRunCode    = "run_code"
	toolRunFresh   = "run_code_fresh"
	toolRunCommand = "run_command"
)

// sessionText describes the argument that all tools of a session have.
const sessionText = "The session: a name that you choose, such as sales-report-7f3, or the id of a session. Letters, digits and . _ : @ ~ - only."

// Names of arguments that tools have where Kaa installs packages.
const (
	packagesArgument = "packages"
	preloadArgument  = "preload"
)

type runCodeInput struct {
	Session  string            `json:"session"`
	Code     string            `json:"code"`
	Packages []string          `json:"packages,omitempty"`
	Preload  []string          `json:"preload,omitempty"`
	Timeout  *float64          `json:"timeout,omitempty"`
	Envs     map[string]string `json:"envs,omitempty"`
}

type runFreshInput struct {
	Code     string            `json:"code"`
	Packages []string          `json:"packages,omitempty"`
	Preload  []string          `json:"preload,omitempty"`
	Stdin    string            `json:"stdin,omitempty"`
	Args     []string          `json:"args,omitempty"`
	Timeout  *float64          `json:"timeout,omitempty"`
	Envs     map[string]string `json:"envs,omitempty"`
}

type runCommandInput struct {
	Session  string            `json:"session"`
	Command  string            `json:"command"`
	Packages []string          `json:"packages,omitempty"`
	Preload  []string          `json:"preload,omitempty"`
	Cwd      string            `json:"cwd,omitempty"`
	Stdin    string            `json:"stdin,omitempty"`
	Timeout  *float64          `json:"timeout,omitempty"`
	Envs     map[string]string `json:"envs,omitempty"`
}

// describeRun is describe for a tool that may have packages installed.
func (d *Dialect) describeRun(texts map[string]string) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) {
		if !d.Service.Limits().Packages.Allowed {
			delete(s.Properties, packagesArgument)
			delete(s.Properties, preloadArgument)
			s.PropertyOrder = slices.DeleteFunc(s.PropertyOrder, func(name string) bool { return name == packagesArgument || name == preloadArgument })
		}
		describe(texts)(s)
	}
}

// describe gives texts to the properties of a schema, and the kinds of values that many arguments share.
func describe(texts map[string]string) func(*jsonschema.Schema) {
	shared := map[string]string{
		packagesArgument: "Packages that are installed for the session, such as pandas==2.2.3, beside those that it has.",
		preloadArgument:  "Modules of these packages that are imported ahead, such as pandas, so that their import takes no time. It changes no result.",
		"session":        sessionText,
		"timeout":        "Seconds after which it is interrupted. Default: that of the server, usually 60.",
		"envs":           "Environment variables for this call.",
		"stdin":          "Standard input.",
	}
	return func(s *jsonschema.Schema) {
		for name, property := range s.Properties {
			text, own := texts[name]
			if !own {
				text = shared[name]
			}
			property.Description = text
			property.Types, property.Type = nil, plainType(property)
			if name == "session" {
				least, most := 1, 128
				property.MinLength, property.MaxLength = &least, &most
			}
		}
	}
}

// plainType is the type of a property without null, which pointers and lists could be, and which arguments ignore.
func plainType(s *jsonschema.Schema) string {
	for _, t := range s.Types {
		if t != "null" {
			return t
		}
	}
	return s.Type
}

func (d *Dialect) addRunTools() {
	addTool(d, tool[runCodeInput]{
		name: toolRunCode, title: "Run Python in a session",
		description: "Run Python code in a session: an interpreter of its own in a sandbox, in which variables, imports and files stay from one call to the next. " +
			"The first call with a new name opens the session; use the same name to go on. " +
			"Returns what the code prints, the value of its last expression, tables, and pictures of matplotlib figures. There is no network.",
		adjust: d.describeRun(map[string]string{"code": "Python source. The value of the last expression is shown, as in a notebook. Top-level await works."}),
		run:    d.runCode,
	})
	addTool(d, tool[runFreshInput]{
		name: toolRunFresh, title: "Run Python once", hints: adds,
		description: "Run a Python program once in a fresh sandbox, of which nothing is kept but the result. Use run_code when variables or files are needed again. There is no network.",
		adjust: d.describeRun(map[string]string{
			"code": "Python source.", "args": "Arguments of the program (sys.argv).",
			packagesArgument: "Packages that are installed for the program, such as pandas==2.2.3, beside those that the sandbox has.",
		}),
		run: d.runFresh,
	})
	addTool(d, tool[runCommandInput]{
		name: toolRunCommand, title: "Run a shell command in a session",
		description: "Run a line of the shell in the sandbox of a session, among the same files as its code and beside it. A new name opens a session. There is no network.",
		adjust: d.describeRun(map[string]string{
			"command": "The line, as for bash -c. It must not need a terminal.", "cwd": "Directory in which it begins. Default: the working directory of the session.",
		}),
		run: d.runCommand,
	})
}

func (d *Dialect) runCode(ctx context.Context, r request, in runCodeInput) (*sdk.CallToolResult, error) {
	s, err := d.ensure(ctx, r.caller, in.Session, in.Packages, in.Preload)
	if err != nil {
		return nil, err
	}
	return d.execute(ctx, r, s, job.Request{SessionID: s.id, Code: in.Code, Timeout: in.Timeout, Envs: in.Envs})
}

func (d *Dialect) runFresh(ctx context.Context, r request, in runFreshInput) (*sdk.CallToolResult, error) {
	return d.execute(ctx, r, session{}, job.Request{Code: in.Code, Packages: in.Packages, Preload: in.Preload, Stdin: in.Stdin, Argv: in.Args, Timeout: in.Timeout, Envs: in.Envs})
}

func (d *Dialect) runCommand(ctx context.Context, r request, in runCommandInput) (*sdk.CallToolResult, error) {
	if strings.TrimSpace(in.Command) == "" {
		return nil, &argumentError{"the argument command is empty; give a line of the shell, such as ls -l"}
	}
	s, err := d.ensure(ctx, r.caller, in.Session, in.Packages, in.Preload)
	if err != nil {
		return nil, err
	}
	return d.execute(ctx, r, s, job.Request{SessionID: s.id, Command: in.Command, Cwd: in.Cwd, Stdin: in.Stdin, Timeout: in.Timeout, Envs: in.Envs})
}

// execute has something executed and returns its result. If the client asks for its progress, it gets the last line of
// the output now and then.
func (d *Dialect) execute(ctx context.Context, r request, s session, what job.Request) (*sdk.CallToolResult, error) {
	sub := service.Submission{Request: what}
	token := r.Params.GetProgressToken()
	if token == nil || !mayRead(r.caller) {
		j, err := d.Service.Execute(ctx, r.caller, sub)
		if err != nil {
			return nil, err
		}
		return resultOf(s, what, j), nil
	}
	j, err := d.watch(ctx, r, token, sub)
	if err != nil {
		return nil, err
	}
	return resultOf(s, what, j), nil
}

// progressEvery bounds how often a client gets the progress.
const progressEvery = time.Second

// watch executes as service.Execute does, with notifications meanwhile.
func (d *Dialect) watch(ctx context.Context, r request, token any, sub service.Submission) (job.Job, error) {
	w, err := d.Service.Watch(ctx, r.caller, sub)
	if err != nil {
		return job.Job{}, err
	}
	defer w.Close(ctx)
	begin := time.Now()
	last, line, lastLine := time.Time{}, "", ""
	for {
		event, err := w.Next(ctx, progressEvery)
		switch {
		case errors.Is(err, service.ErrQuiet):
		case errors.Is(err, service.ErrOver):
			return d.ended(ctx, r, w.ID())
		case err != nil:
			return job.Job{}, err
		case event.Type == job.EventStream:
			var data struct{ Text string }
			if json.Unmarshal(event.Data, &data) == nil {
				line, lastLine = lastOf(line + data.Text)
			}
		}
		if now := time.Now(); now.Sub(last) >= progressEvery {
			last = now
			message := lastLine
			if message == "" {
				message = fmt.Sprintf("running for %d s", int(now.Sub(begin).Seconds()))
			}
			// An error means that the client has left, which ends ctx.
			_ = r.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: token, Progress: now.Sub(begin).Seconds(), Message: message})
		}
	}
}

// mayRead reports whether a caller may read the result of a job that it has watched.
func mayRead(c service.Caller) bool { return len(c.Scopes) == 0 || c.Scopes.Has(access.Read) }

// ended returns a watched job after its end, as service.Execute does.
func (d *Dialect) ended(ctx context.Context, r request, id string) (job.Job, error) {
	j, err := d.Service.Job(ctx, r.caller, id, 0)
	if err == nil && j.Result == nil {
		err = &service.EndError{Job: j}
	}
	return j, err
}

// mostLine bounds the line of a progress notification.
const mostLine = 200

// lastOf returns the unfinished last line of a text, and the last one that is not empty.
func lastOf(text string) (rest, shown string) {
	if len(text) > 4*mostLine {
		text = text[len(text)-4*mostLine:]
	}
	for line := range strings.SplitSeq(text, "\n") {
		rest = line
		if clean := strings.TrimSpace(plain(line)); clean != "" {
			shown = clip(clean, mostLine)
		}
	}
	return rest, shown
}
