package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// FunctionBody is a function that the caller offers to the code.
type FunctionBody struct {
	Name        string `json:"name" doc:"Name of the function in the code: a Python identifier of ASCII, at most 64 characters."`
	Description string `json:"description,omitempty" doc:"Text that help() shows."`
	Schema      object `json:"schema,omitempty" doc:"JSON Schema of its arguments, an object with properties. Their names are those of its parameters. The values are not checked against it."`
}

func functionsOf(bodies []FunctionBody) (all []job.Function) {
	for _, b := range bodies {
		all = append(all, job.Function{Name: b.Name, Description: b.Description, Schema: json.RawMessage(b.Schema)})
	}
	return all
}

// anything is any JSON, as it came.
type anything json.RawMessage

// Schema describes it to huma.
func (anything) Schema(huma.Registry) *huma.Schema { return &huma.Schema{} }

// MarshalJSON writes it as it came.
func (a anything) MarshalJSON() ([]byte, error) { return json.RawMessage(a).MarshalJSON() }

// UnmarshalJSON keeps the text, null among them.
func (a *anything) UnmarshalJSON(b []byte) error {
	*a = append((*a)[:0], b...)
	return nil
}

// CallErrorBody is the error that a call raises in the code.
type CallErrorBody struct {
	Name    string `json:"name,omitempty" doc:"Class of the exception, e.g. LookupError. Default: CallError."`
	Message string `json:"message" doc:"Its message."`
}

// TransformSchema lets null stand for absent.
func (CallErrorBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Nullable = true
	return s
}

// CallAnswer is what a call returns or raises.
type CallAnswer struct {
	Value anything       `json:"value,omitempty" doc:"Value that the call returns: any JSON, null among them, of at most 524288 bytes. Either this or error."`
	Error *CallErrorBody `json:"error,omitempty" doc:"Exception that the call raises."`
}

func (b CallAnswer) reply(jobID, call string) (job.Reply, error) {
	var failure *job.CallFailure
	if b.Error != nil {
		failure = &job.CallFailure{Name: b.Error.Name, Message: b.Error.Message}
	}
	return job.NewReply(jobID, call, json.RawMessage(b.Value), failure)
}

type answerCallInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Id of the job."`
	Call string `path:"callId" maxLength:"64" doc:"callId of the call's event."`
	Body CallAnswer
}

// registerCalls registers the answer to a call of executed code.
func (s *server) registerCalls() {
	register(s, huma.Operation{
		OperationID: "answerCall", Method: http.MethodPost, Path: "/v1/jobs/{id}/calls/{callId}", Tags: []string{jobsTag}, DefaultStatus: http.StatusNoContent,
		Summary: "Answer a call of the code to a function of its caller",
		Description: "The code that made the call goes on with value, or with the exception of error. The first answer counts; a later one is answered with 409, and so is one after " +
			"the call or its job has ended.",
		Errors: []int{400, 401, 404, 408, 409, 410, 413, 415, 429, 503},
	}, s.answerCall)
}

func (s *server) answerCall(ctx context.Context, in *answerCallInput) (*struct{}, error) {
	p, err := in.Body.reply(in.ID, in.Call)
	if err != nil {
		return nil, err
	}
	return nil, s.cfg.Service.GiveReply(ctx, service.CallerOf(ctx), "", p)
}

// replyFrame is the answer to a call as a frame.
type replyFrame struct {
	FrameHead
	JobID string `json:"jobId" maxLength:"64"`
	Call  string `json:"callId" maxLength:"64"`
	CallAnswer
}

// reply answers a call that an execution of the session has made.
func (k *socket) reply(ctx context.Context, id string, text []byte) error {
	var f replyFrame
	if err := json.Unmarshal(text, &f); err != nil {
		return k.refuse(ctx, id, badRequest(withoutGo(err.Error())))
	}
	p, err := f.reply(f.JobID, f.Call)
	if err == nil {
		err = k.s.cfg.Service.GiveReply(ctx, k.caller, k.session, p)
	}
	if err != nil {
		return k.refuse(ctx, id, err)
	}
	return nil
}
