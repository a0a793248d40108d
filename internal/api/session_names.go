package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/service"
)

type namedInput struct {
	Name string `path:"name" minLength:"1" maxLength:"128" pattern:"^[A-Za-z0-9][A-Za-z0-9._:@~-]*$" patternDescription:"a letter or digit, then letters, digits and any of . _ : @ ~ -" doc:"Name that you have chosen: a letter or digit, then letters, digits and any of . _ : @ ~ -"`
}

type ensureInput struct {
	Name string `path:"name" minLength:"1" maxLength:"128" pattern:"^[A-Za-z0-9][A-Za-z0-9._:@~-]*$" patternDescription:"a letter or digit, then letters, digits and any of . _ : @ ~ -" doc:"Name that you have chosen: a letter or digit, then letters, digits and any of . _ : @ ~ -"`
	Body *SessionBody
}

type ensureOutput struct {
	Status   int
	Location string `header:"Location"`
	Body     SessionView
}

func (s *server) registerSessionNames() {
	tags := []string{sessionsTag}
	const path = "/v1/sessions/by-name/{name}"
	register(s, huma.Operation{
		OperationID: "ensureSession", Method: http.MethodPut, Path: path, Tags: tags,
		Summary: "Have a session of a name",
		Description: "If a live session of this API key has the name, the answer is 200 with that session as it is, and the body changes nothing of it. " +
			"Otherwise one is opened as the body says, with 201. All that takes a session takes its id.",
		Responses: map[string]*huma.Response{"201": {
			Description: "A session of this name was opened.",
			Content:     map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/SessionView"}}},
		}},
		Errors: []int{400, 401, 408, 409, 413, 415, 429, 503},
	}, s.ensureSession)
	register(s, huma.Operation{
		OperationID: "getSessionByName", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "Look a live session up by its name", Errors: []int{400, 401, 404, 429, 503},
	}, func(ctx context.Context, in *namedInput) (*sessionOutput, error) {
		return sessionAnswer(s.cfg.Service.SessionNamed(ctx, service.CallerOf(ctx), in.Name))
	})
	register(s, huma.Operation{
		OperationID: "closeSessionByName", Method: http.MethodDelete, Path: path, Tags: tags,
		Summary: "End a session by its name, with all that it executes", Description: "The name is free afterwards.", Errors: []int{400, 401, 404, 410, 429, 503},
	}, func(ctx context.Context, in *namedInput) (*sessionOutput, error) {
		return sessionAnswer(s.cfg.Service.CloseSessionNamed(ctx, service.CallerOf(ctx), in.Name))
	})
}

func (s *server) ensureSession(ctx context.Context, in *ensureInput) (*ensureOutput, error) {
	se, made, err := s.cfg.Service.EnsureSession(ctx, service.CallerOf(ctx), in.Name, in.Body.request())
	if err != nil {
		return nil, err
	}
	out := &ensureOutput{Status: http.StatusOK, Location: sessionLocation + se.ID, Body: sessionView(se)}
	if made {
		out.Status = http.StatusCreated
	}
	return out, nil
}
