package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const commandsTag = "Commands"

// CommandBody is the request of a command of a session.
type CommandBody struct {
	Command    *string           `json:"command,omitempty" nullable:"true" doc:"A line for the shell: bash where there is one, else sh. At most 131071 bytes. This or argv." example:"ls -l"`
	Program    []string          `json:"argv,omitempty" nullable:"true" doc:"A program, as a name or path, and its arguments, without a shell. At most 1000, and 65536 bytes in all unless configured otherwise."`
	Cwd        *string           `json:"cwd,omitempty" nullable:"true" doc:"Directory in which it begins. A relative path begins at the session's working directory, which is the default."`
	Envs       map[string]string `json:"envs,omitempty" nullable:"true" doc:"Environment variables beside those of the session, which they replace."`
	Stdin      *string           `json:"stdin,omitempty" nullable:"true" doc:"Content of standard input. Without it there is none, but in the background and with a terminal: these get input by further calls."`
	Timeout    *float64          `json:"timeout,omitempty" nullable:"true" doc:"Seconds it may run. Default 60, ceiling 3600 unless configured otherwise. In the background: no more than the session, which is the default."`
	Background *bool             `json:"background,omitempty" nullable:"true" doc:"Do not wait for its end: the answer is 202."`
	Terminal   *TerminalBody     `json:"terminal,omitempty" doc:"Give it a terminal instead of pipes. Its output is all stdout."`
	Limits     *LimitsBody       `json:"limits,omitempty" doc:"Only outputBytes. All other limits are the session's."`
	ResultTTL  *float64          `json:"resultTtl,omitempty" nullable:"true" doc:"Seconds the command and its result are kept after its end. Default 3600."`
	Metadata   object            `json:"metadata,omitempty" doc:"Anything of the caller's own; returned with the command."`
	Webhook    *HookBody         `json:"webhook,omitempty" doc:"Where to send the job when it has ended."`
}

// TerminalBody is the size of a terminal.
type TerminalBody struct {
	Columns uint16 `json:"columns" doc:"From 1 to 4096."`
	Rows    uint16 `json:"rows" doc:"From 1 to 4096."`
}

// TransformSchema lets null stand for absent.
func (TerminalBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Nullable = true
	return s
}

func (b *TerminalBody) size() *job.TerminalSize {
	if b == nil {
		return nil
	}
	return &job.TerminalSize{Columns: b.Columns, Rows: b.Rows}
}

func (b CommandBody) request(session string) job.Request {
	r := job.Request{
		Command: value(b.Command), Program: b.Program, Cwd: value(b.Cwd), Envs: b.Envs, Stdin: value(b.Stdin), Timeout: b.Timeout,
		Background: b.Background != nil && *b.Background, Terminal: b.Terminal.size(), Limits: b.Limits.request(), ResultTTL: b.ResultTTL,
		Metadata: json.RawMessage(b.Metadata), Webhook: b.Webhook.request(), SessionID: session,
	}
	r.Events = r.Background
	return r
}

type runCommandInput struct {
	ID     string `path:"id" maxLength:"64" doc:"Id of the session."`
	Accept string `header:"Accept" hidden:"true"`
	Body   CommandBody
}

type commandsOutput struct {
	Body struct {
		Commands []JobView `json:"commands" nullable:"false" doc:"Those that wait or run, oldest first, without results."`
	}
}

// CommandPath names a command of a session. It is exported so that huma sees its fields where it is embedded.
type CommandPath struct {
	ID      string `path:"id" maxLength:"64" doc:"Id of the session."`
	Command string `path:"command" maxLength:"64" doc:"Id of the command."`
}

type getCommandInput struct {
	CommandPath
	Wait string `query:"wait" doc:"Answer when the command has ended or after this time, at most 60s. Seconds (30) or with a unit (30s)." example:"30s"`
}

type commandEventsInput struct {
	CommandPath
	LastEventID string `header:"Last-Event-ID" maxLength:"64" doc:"Goes on after the event of this id."`
	After       string `query:"lastEventId" maxLength:"64" doc:"The same, for those who cannot set a header."`
}

type commandTextInput struct {
	CommandPath
	Body struct {
		Data       *string `json:"data,omitempty" nullable:"true" doc:"Text. At most 262144 bytes in one call."`
		DataBase64 *string `json:"dataBase64,omitempty" nullable:"true" doc:"Bytes in standard base64 with padding, instead of data."`
		End        *bool   `json:"end,omitempty" nullable:"true" doc:"Nothing follows: the command reads the end of its input after this. A terminal gets Control-D."`
	}
}

type commandSignalInput struct {
	CommandPath
	Body struct {
		Signal string `json:"signal" minLength:"1" maxLength:"32" doc:"Name of the signal, with or without SIG. The command's process group gets it." example:"TERM"`
	}
}

type commandResizeInput struct {
	CommandPath
	Body TerminalBody
}

func (s *server) registerCommands() {
	registry := s.api.OpenAPI().Components.Schemas
	answer := func(t reflect.Type, description string) *huma.Response {
		return &huma.Response{Description: description, Content: map[string]*huma.MediaType{"application/json": {Schema: registry.Schema(t, true, "")}}}
	}
	view := reflect.TypeFor[JobView]()
	ran := map[string]*huma.Response{"200": answer(reflect.TypeFor[job.Result](), "The command has ended, however it did."), "202": answer(view, "The command, in the background, with the pid of its first process. That is absent if it has not started within 5 seconds.")}
	ran["200"].Content[eventStream] = eventStreamType()
	tags, all, one := []string{commandsTag}, "/v1/sessions/{id}/commands", "/v1/sessions/{id}/commands/{command}"
	told := []int{400, 401, 404, 408, 409, 410, 413, 415, 429, 503}
	register(s, huma.Operation{
		OperationID: "runCommand", Method: http.MethodPost, Path: all, Tags: tags, Responses: ran,
		Summary:     "Run a command in a session",
		Description: "Runs beside the session's executions and its other commands, at once. A command is a job. If the caller goes away, a command that is not in the background is interrupted.",
		Errors:      []int{400, 401, 404, 408, 409, 410, 413, 415, 429, 502, 503, 504, 507},
	}, s.runCommand)
	register(s, huma.Operation{
		OperationID: "listCommands", Method: http.MethodGet, Path: all, Tags: tags,
		Summary: "List the commands of a session that have not ended", Errors: []int{400, 401, 404, 429, 503},
	}, s.listCommands)
	register(s, huma.Operation{
		OperationID: "getCommand", Method: http.MethodGet, Path: one, Tags: tags,
		Summary: "Look a command up, or wait for its end", Errors: []int{400, 401, 404, 410, 429, 503},
	}, s.getCommand)
	register(s, huma.Operation{
		OperationID: "followCommand", Method: http.MethodGet, Path: one + "/events", Tags: tags,
		Summary: "Follow a command live", Description: "The events of its job: its output from the beginning, or from Last-Event-ID on, until its end.",
		Responses: map[string]*huma.Response{
			"200": {Description: "The events.", Content: map[string]*huma.MediaType{eventStream: eventStreamType()}},
			"204": {Description: "The command has ended, and Last-Event-ID is its last event: there is nothing more, so do not connect again."},
		},
		Errors: []int{400, 401, 404, 410, 429, 503},
	}, s.followCommand)
	register(s, huma.Operation{
		OperationID: "sendInput", Method: http.MethodPost, Path: one + "/input", Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary:     "Give a command input",
		Description: "For a command in the background or with a terminal that had no stdin. Input arrives once, in the order of the answers.",
		Errors:      told,
	}, s.sendInput)
	register(s, huma.Operation{
		OperationID: "signalCommand", Method: http.MethodPost, Path: one + "/signal", Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary: "Send a command a signal", Errors: told,
	}, s.signalCommand)
	register(s, huma.Operation{
		OperationID: "resizeTerminal", Method: http.MethodPost, Path: one + "/resize", Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary: "Set the size of a command's terminal", Description: "409 no_terminal for a command that has none.", Errors: told,
	}, s.resizeTerminal)
	ended := map[string]*huma.Response{"200": answer(view, "The command had not begun and is cancelled."), "202": answer(view, "The end of the command and of all processes that it has started is under way.")}
	register(s, huma.Operation{
		OperationID: "endCommand", Method: http.MethodDelete, Path: one, Tags: tags, Responses: ended,
		Summary: "End a command, with all processes that it has started", Errors: []int{400, 401, 404, 409, 410, 429, 503},
	}, s.endCommand)
}

func (s *server) runCommand(ctx context.Context, in *runCommandInput) (*executeOutput, error) {
	sub := service.Submission{Request: in.Body.request(in.ID)}
	switch {
	case sub.Request.Command == "" && len(sub.Request.Program) == 0:
		const msg = "is empty; send a line for the shell, or a program as argv"
		return nil, badRequest("body.command: "+msg, FieldIssue{"body.command", msg})
	case sub.Request.Background:
		created, err := s.cfg.Service.StartCommand(ctx, service.CallerOf(ctx), sub)
		if err != nil {
			return nil, err
		}
		location := sessionLocation + in.ID + "/commands/" + created.Job.ID
		v := viewOf(created.Job)
		v.PID = created.Job.PID // also of one that has ended by now
		return &executeOutput{Status: http.StatusAccepted, Location: location, Body: s.json(http.StatusAccepted, v)}, nil
	case wantsEvents(in.Accept):
		return s.executeLive(ctx, sub)
	}
	j, err := s.cfg.Service.Execute(ctx, service.CallerOf(ctx), sub)
	if err != nil {
		return nil, err
	}
	return &executeOutput{Status: http.StatusOK, Body: s.json(http.StatusOK, j.Result)}, nil
}

func (s *server) listCommands(ctx context.Context, in *sessionInput) (*commandsOutput, error) {
	jobs, err := s.cfg.Service.Commands(ctx, service.CallerOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	out := new(commandsOutput)
	out.Body.Commands = make([]JobView, len(jobs))
	for i, j := range jobs {
		out.Body.Commands[i] = viewOf(j)
	}
	return out, nil
}

func (s *server) getCommand(ctx context.Context, in *getCommandInput) (*jobOutput, error) {
	wait, err := waitOf(in.Wait)
	if err != nil {
		return nil, err
	}
	j, err := s.cfg.Service.Command(ctx, service.CallerOf(ctx), in.ID, in.Command, wait)
	if err != nil {
		return nil, err
	}
	return &jobOutput{Body: viewOf(j)}, nil
}

func (s *server) followCommand(ctx context.Context, in *commandEventsInput) (*eventsOutput, error) {
	after, err := lastEvent(in.After, in.LastEventID)
	if err != nil {
		return nil, err
	}
	f, err := s.cfg.Service.FollowCommand(ctx, service.CallerOf(ctx), in.ID, in.Command, after)
	return s.following(in.Command, f, err)
}

func (s *server) sendInput(ctx context.Context, in *commandTextInput) (*struct{}, error) {
	m := job.CommandMessage{Data: []byte(value(in.Body.Data))}
	if text := in.Body.DataBase64; text != nil {
		data, err := base64.StdEncoding.DecodeString(*text)
		if err != nil || len(m.Data) > 0 {
			const msg = "is not base64 with padding, or comes with data; send one of them"
			return nil, badRequest("body.dataBase64: "+msg, FieldIssue{"body.dataBase64", msg})
		}
		m.Data = data
	}
	end := in.Body.End != nil && *in.Body.End
	if len(m.Data) == 0 && !end {
		const msg = "is empty; send some, or end"
		return nil, badRequest("body.data: "+msg, FieldIssue{"body.data", msg})
	}
	var err error
	if len(m.Data) > 0 {
		err = s.tell(ctx, in.CommandPath, m)
	}
	if err == nil && end {
		err = s.tell(ctx, in.CommandPath, job.CommandMessage{EOF: true})
	}
	return nil, err
}

func (s *server) signalCommand(ctx context.Context, in *commandSignalInput) (*struct{}, error) {
	return nil, s.tell(ctx, in.CommandPath, job.CommandMessage{Signal: in.Body.Signal})
}

func (s *server) resizeTerminal(ctx context.Context, in *commandResizeInput) (*struct{}, error) {
	return nil, s.tell(ctx, in.CommandPath, job.CommandMessage{Size: in.Body.size()})
}

func (s *server) tell(ctx context.Context, of CommandPath, m job.CommandMessage) error {
	return s.cfg.Service.TellCommand(ctx, service.CallerOf(ctx), of.ID, of.Command, m)
}

func (s *server) endCommand(ctx context.Context, in *CommandPath) (*cancelOutput, error) {
	j, ended, err := s.cfg.Service.EndCommand(ctx, service.CallerOf(ctx), in.ID, in.Command)
	if err != nil {
		return nil, err
	}
	if ended {
		return &cancelOutput{Status: http.StatusOK, Body: viewOf(j)}, nil
	}
	return &cancelOutput{Status: http.StatusAccepted, Body: viewOf(j)}, nil
}

// commandProblem words why a command takes no message.
func commandProblem(err error) *Problem {
	switch {
	case errors.Is(err, job.ErrCommandEnded):
		return newProblem(http.StatusConflict, "command_ended", "the command has ended; start another one")
	case errors.Is(err, job.ErrNoTerminal):
		return newProblem(http.StatusConflict, "no_terminal", "the command has pipes and no terminal, so it has no size; start it with terminal")
	case errors.Is(err, job.ErrInputEnded):
		return newProblem(http.StatusConflict, "input_ended", "the end of the command's input was sent before; nothing can follow it")
	case errors.Is(err, job.ErrInputFull):
		p := newProblem(http.StatusTooManyRequests, "input_full", "more input than may wait has not been read by the command; send more when it has read some")
		p.retryAfter = fullRetryAfter
		return p
	case errors.Is(err, service.ErrNotAttached):
		p := newProblem(http.StatusServiceUnavailable, "not_attached", "the command's runner did not attach in time; it may be of an older release. The command goes on: follow its events, or connect again")
		p.retryAfter = time.Second
		return p
	case errors.Is(err, service.ErrFellBehind):
		return newProblem(http.StatusConflict, "fell_behind", "the API process of this connection was silent for a minute, so the command went on without it; connect again, and look at its events for the output in between")
	}
	return nil
}
