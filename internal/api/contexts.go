package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// ContextBody is the request of a context.
type ContextBody struct {
	Cwd *string `json:"cwd,omitempty" nullable:"true" doc:"Directory in which it begins. A relative path begins at the session's working directory, which is the default."`
}

// ContextView is a context as callers see it.
type ContextView struct {
	ID        string           `json:"id" doc:"For contextId of an execution. The session's own interpreter has the id default."`
	Cwd       string           `json:"cwd,omitempty" doc:"Directory in which it began, as it was given; absent if none was."`
	State     job.SessionState `json:"state" enum:"idle,busy" doc:"idle, busy (it executes something)."`
	CreatedAt time.Time        `json:"createdAt"`
}

func contextView(c job.Context) ContextView {
	v := ContextView{ID: c.ID, Cwd: c.Cwd, State: job.SessionIdle, CreatedAt: c.CreatedAt}
	if c.Busy {
		v.State = job.SessionBusy
	}
	return v
}

type makeContextInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Id of the session."`
	Body *ContextBody
}

type contextInput struct {
	ID        string `path:"id" maxLength:"64" doc:"Id of the session."`
	ContextID string `path:"contextId" maxLength:"64" doc:"Id of the context."`
}

type contextOutput struct{ Body ContextView }

type contextsOutput struct {
	Body struct {
		Contexts []ContextView `json:"contexts" nullable:"false" doc:"All of the session, in the order of their creation; the session's own is the first."`
	}
}

func (s *server) registerContexts() {
	tags := []string{sessionsTag}
	register(s, huma.Operation{
		OperationID: "makeContext", Method: http.MethodPost, Path: "/v1/sessions/{id}/contexts", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Make another interpreter in a session",
		Description: "A context has the files, processes and limits of the session, and variables and modules of its own. Name it by contextId, beside sessionId, when you execute code. " +
			"Executions of one context are in order, those of different ones run at the same time. A session may have 32 of them beside its own. They end with it, and with a restart or rollback of it.",
		Errors: []int{400, 401, 404, 408, 409, 410, 413, 415, 429, 502, 503, 504},
	}, s.makeContext)
	register(s, huma.Operation{
		OperationID: "listContexts", Method: http.MethodGet, Path: "/v1/sessions/{id}/contexts", Tags: tags,
		Summary: "List the interpreters of a session, in the order of their creation",
		Errors:  []int{400, 401, 404, 409, 410, 429, 502, 503, 504},
	}, s.listContexts)
	register(s, huma.Operation{
		OperationID: "deleteContext", Method: http.MethodDelete, Path: "/v1/sessions/{id}/contexts/{contextId}", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary:     "End a context, with all that it executes",
		Description: "The files and the other processes of the session stay. The session's own context cannot be deleted: delete the session, or restart the context.",
		Errors:      []int{400, 401, 404, 409, 410, 429, 502, 503, 504},
	}, s.deleteContext)
	register(s, huma.Operation{
		OperationID: "restartContext", Method: http.MethodPost, Path: "/v1/sessions/{id}/contexts/{contextId}/restart", Tags: tags,
		Summary:     "Give a context a fresh interpreter",
		Description: "After what was accepted for it before; interrupt that first if it is not to be waited for. Its variables and modules are gone. The files and the other processes of the session stay.",
		Errors:      []int{400, 401, 404, 408, 409, 410, 413, 415, 429, 502, 503, 504},
	}, s.restartContext)
	register(s, huma.Operation{
		OperationID: "interruptContext", Method: http.MethodPost, Path: "/v1/sessions/{id}/contexts/{contextId}/interrupt", Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary:     "Interrupt what a context executes",
		Description: "The code gets a KeyboardInterrupt; what waits in the context is executed after it. If the code does not end, its interpreter is killed, and a fresh one takes its place.",
		Errors:      []int{400, 401, 404, 408, 409, 410, 413, 415, 429, 502, 503, 504},
	}, s.interruptContext)
}

func (s *server) makeContext(ctx context.Context, in *makeContextInput) (*contextOutput, error) {
	cwd := ""
	if in.Body != nil {
		cwd = value(in.Body.Cwd)
	}
	c, err := s.cfg.Service.MakeContext(ctx, service.CallerOf(ctx), in.ID, cwd, "")
	if err != nil {
		return nil, err
	}
	return &contextOutput{contextView(c)}, nil
}

func (s *server) listContexts(ctx context.Context, in *sessionInput) (*contextsOutput, error) {
	all, err := s.cfg.Service.Contexts(ctx, service.CallerOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	out := new(contextsOutput)
	out.Body.Contexts = make([]ContextView, len(all))
	for i, c := range all {
		out.Body.Contexts[i] = contextView(c)
	}
	return out, nil
}

func (s *server) deleteContext(ctx context.Context, in *contextInput) (*struct{}, error) {
	return nil, s.cfg.Service.DeleteContext(ctx, service.CallerOf(ctx), in.ID, in.ContextID)
}

func (s *server) restartContext(ctx context.Context, in *contextInput) (*contextOutput, error) {
	c, err := s.cfg.Service.RestartContext(ctx, service.CallerOf(ctx), in.ID, in.ContextID)
	if err != nil {
		return nil, err
	}
	return &contextOutput{contextView(c)}, nil
}

func (s *server) interruptContext(ctx context.Context, in *contextInput) (*interruptOutput, error) {
	id, err := s.cfg.Service.InterruptContext(ctx, service.CallerOf(ctx), in.ID, in.ContextID)
	if err != nil {
		return nil, err
	}
	out := new(interruptOutput)
	out.Body.Interrupted, out.Body.JobID = id != "", id
	return out, nil
}
