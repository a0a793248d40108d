package librechat

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// tool is a function that the code may call at its caller's.
type tool struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
}

// toolResult is the answer to a call.
type toolResult struct {
	Call    string          `json:"call_id"`
	Result  json.RawMessage `json:"result"`
	IsError bool            `json:"is_error"`
	Message string          `json:"error_message"`
}

// toolCall is a call that waits for its answer.
type toolCall struct {
	ID    string          `json:"id"`
	Name  string          `json:"name"`
	Input json.RawMessage `json:"input"`
}

// progress is the answer to code that calls tools.
type progress struct {
	Status  string     `json:"status"` // tool_call_required, completed, error
	Session string     `json:"session_id"`
	Token   string     `json:"continuation_token,omitempty"`
	Calls   []toolCall `json:"tool_calls,omitempty"`
	Stdout  string     `json:"stdout"`
	Stderr  string     `json:"stderr"`
	Files   []fileRef  `json:"files"`
	Error   string     `json:"error,omitempty"`
}

// place is where a client goes on: the job, and the last event that it has seen.
type place struct {
	Job   string            `json:"j"`
	After string            `json:"a"`
	Names map[string]string `json:"n,omitempty"` // of tools, by those of their functions
}

func (p place) token() string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // texts can be encoded
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func placeOf(token string) (p place, after job.EventID, err error) {
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		err = dialect.Unmarshal(text, &p)
	}
	if err == nil {
		after, err = job.ParseEventID(p.After)
	}
	if err != nil || !service.IsID(p.Job) {
		return p, after, refuse("continuation_token is none of this server")
	}
	return p, after, nil
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9_]`)

// functionOf is the name by which the code calls a tool, as the clients derive it.
func functionOf(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' || r == '\t' || r == '\n' {
			return '_'
		}
		return r
	}, name)
	name = notInName.ReplaceAllString(name, "")
	if name != "" && name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	if slices.Contains(keywords(), name) {
		name += "_tool"
	}
	return name
}

func keywords() []string {
	return strings.Fields("False None True and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield")
}

// programmatic starts code that calls tools, or goes on with it. The code runs once: its process waits for the answers.
func (d *Dialect) programmatic(w http.ResponseWriter, r *http.Request) error {
	var body execBody
	if err := dialect.ReadRawJSON(r, 3, &body); err != nil {
		return err
	}
	var at place
	var after job.EventID
	var err error
	if body.Token == "" {
		at, err = d.begin(r, body)
	} else if at, after, err = placeOf(body.Token); err == nil {
		err = d.answer(r, at.Job, body.Results)
	}
	if err != nil {
		return err
	}
	answer, err := d.proceed(r, at, after)
	if err != nil {
		if body.Token == "" { // no client knows it
			_, _, _ = d.parts.Service.Cancel(context.WithoutCancel(r.Context()), service.CallerOf(r.Context()), at.Job)
		}
		return err
	}
	dialect.WriteJSON(w, http.StatusOK, answer)
	return nil
}

// begin submits the code.
func (d *Dialect) begin(r *http.Request, body execBody) (place, error) {
	if body.Lang == "" {
		body.Lang = "py"
	}
	if body.Lang == "bash" {
		return place{}, refuse("Unsupported language: %q can call no tools here; use py", body.Lang)
	}
	if len(body.Tools) == 0 {
		return place{}, refuse("tools is required")
	}
	run, release, err := d.request(r, body)
	defer release()
	if err != nil {
		return place{}, err
	}
	at := place{Names: map[string]string{}}
	for _, t := range body.Tools {
		name := functionOf(t.Name)
		if name != t.Name {
			at.Names[name] = t.Name
		}
		run.Functions = append(run.Functions, job.Function{Name: name, Description: t.Description, Schema: t.Parameters})
	}
	// A run of their server is one between two answers. Here it is one with all its waiting.
	run.Followed, run.Events, run.Timeout = true, true, dialect.LongestTimeout(r.Context(), d.parts.Service)
	run.Limits = job.QuotaRequest{"callSeconds": d.parts.Service.LimitsOf(service.CallerOf(r.Context())).MaxQuota.CallTime.Seconds()}
	created, err := d.parts.Service.Submit(r.Context(), service.CallerOf(r.Context()), service.Submission{Request: run})
	at.Job = created.Job.ID
	return at, err
}

// answer gives the code the answers of tools. One that was given before counts.
func (d *Dialect) answer(r *http.Request, id string, results []toolResult) error {
	if _, err := d.jobOf(r, id); err != nil {
		return err
	}
	for _, result := range results {
		value, failure := result.Result, (*job.CallFailure)(nil)
		if result.IsError {
			value, failure = nil, &job.CallFailure{Message: result.Message}
		} else if len(value) == 0 {
			value = json.RawMessage("null")
		}
		reply, err := job.NewReply(id, result.Call, value, failure)
		if err == nil {
			err = d.parts.Service.GiveReply(r.Context(), service.CallerOf(r.Context()), "", reply)
		}
		if err != nil && !errors.Is(err, job.ErrNoCall) {
			return err
		}
	}
	return nil
}

const (
	// together is how long further calls are waited for after one: code makes several at once.
	together = 50 * time.Millisecond
	lookFor  = 10 * time.Second
)

// proceed follows the code until it waits for tools, or has ended.
func (d *Dialect) proceed(r *http.Request, at place, after job.EventID) (progress, error) {
	answer := progress{Session: at.Job, Files: []fileRef{}}
	follower, err := d.parts.Service.Follow(r.Context(), service.CallerOf(r.Context()), at.Job, after)
	if errors.Is(err, service.ErrEnded) {
		return d.ended(r, answer)
	}
	if err != nil {
		return answer, err
	}
	defer follower.Close()
	for {
		quiet := lookFor
		if len(answer.Calls) > 0 {
			quiet = together
		}
		e, err := follower.Next(r.Context(), quiet)
		switch {
		case errors.Is(err, service.ErrQuiet) && len(answer.Calls) > 0:
			answer.Status, answer.Token = "tool_call_required", at.token()
			return answer, nil
		case errors.Is(err, service.ErrQuiet):
			continue
		case errors.Is(err, service.ErrOver):
			answer.Calls = nil
			return d.ended(r, answer)
		case err != nil:
			return answer, err
		}
		if !e.ID.Ends() && e.ID != (job.EventID{}) {
			at.After = e.ID.String()
		}
		answer.Calls = withCall(answer.Calls, e, at.Names)
	}
}

// withCall adds the call that an event is about, or removes one that the code does not wait for any more.
func withCall(calls []toolCall, e job.Event, names map[string]string) []toolCall {
	var data job.CallData
	if e.Type != job.EventCall && e.Type != job.EventCallEnd || json.Unmarshal(e.Data, &data) != nil {
		return calls
	}
	if e.Type == job.EventCallEnd {
		return slices.DeleteFunc(calls, func(c toolCall) bool { return c.ID == data.ID })
	}
	name, ok := names[data.Name]
	if !ok {
		name = data.Name
	}
	input := data.Arguments
	if len(input) == 0 {
		input = json.RawMessage("{}")
	}
	return append(calls, toolCall{data.ID, name, input})
}

// ended words the end of the code.
func (d *Dialect) ended(r *http.Request, answer progress) (progress, error) {
	j, err := d.jobOf(r, answer.Session)
	if err != nil {
		return answer, err
	}
	if j.Result == nil {
		answer.Status, answer.Error = "error", "the execution was "+string(j.State)
		if j.Failure != nil {
			answer.Error = j.Failure.Message
		}
		return answer, nil
	}
	p := dialect.ProgramOf(j.Result)
	answer.Status, answer.Stdout, answer.Stderr, answer.Files = "completed", p.Stdout, p.Stderr, left(j)
	if p.End != dialect.Exited {
		answer.Status, answer.Error = "error", string(p.End)
	}
	return answer, nil
}
