package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/service"
)

// ForkBody is the request of forks.
type ForkBody struct {
	Count *whole `json:"count,omitempty" nullable:"true" minimum:"1" maximum:"16" doc:"How many. Default 1."`
}

type forkInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Id of the session."`
	Body *ForkBody
}

type forkOutput struct {
	Body struct {
		Sessions []SessionView `json:"sessions" nullable:"false" doc:"The new sessions."`
	}
}

type checkpointOutput struct {
	Body struct {
		CheckpointID string `json:"checkpointId" doc:"Of the checkpoint, for rollback."`
	}
}

// RollbackBody names a checkpoint.
type RollbackBody struct {
	CheckpointID *string `json:"checkpointId,omitempty" nullable:"true" maxLength:"64" doc:"The checkpoint. Default: the newest."`
}

type rollbackInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Id of the session."`
	Body *RollbackBody
}

func (s *server) registerForks() {
	tags := []string{sessionsTag}
	register(s, huma.Operation{
		OperationID: "forkSession", Method: http.MethodPost, Path: "/v1/sessions/{id}/fork", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Fork a session",
		Description: "New sessions that begin as what this one is, after what was accepted before: variables, modules, open files, the work directory. " +
			"They share its sandbox, and so its limits of memory and processes. Refused while it has threads, child processes, sockets, pipes or shared memory.",
		Errors: []int{400, 401, 404, 408, 409, 410, 413, 415, 429, 502, 503, 504},
	}, s.forkSession)
	register(s, huma.Operation{
		OperationID: "checkpointSession", Method: http.MethodPost, Path: "/v1/sessions/{id}/checkpoint", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary:     "Keep what a session is now",
		Description: "In the order of its executions. A session may have 8 checkpoints, which end with it. Refused like a fork.",
		Errors:      []int{400, 401, 404, 408, 409, 410, 413, 415, 429, 502, 503, 504},
	}, s.checkpointSession)
	register(s, huma.Operation{
		OperationID: "rollbackSession", Method: http.MethodPost, Path: "/v1/sessions/{id}/rollback", Tags: tags,
		Summary:     "Make a session what it was at a checkpoint",
		Description: "In the order of its executions. The interpreter is ended, and a fork of the checkpoint takes its place, with the work directory as it was. The checkpoint stays.",
		Errors:      []int{400, 401, 404, 408, 409, 410, 413, 415, 429, 502, 503, 504},
	}, s.rollbackSession)
}

func (s *server) forkSession(ctx context.Context, in *forkInput) (*forkOutput, error) {
	count := 1
	if in.Body != nil && in.Body.Count != nil {
		count = int(*in.Body.Count)
	}
	forks, err := s.cfg.Service.Fork(ctx, service.CallerOf(ctx), in.ID, count)
	if err != nil {
		return nil, err
	}
	out := new(forkOutput)
	for _, se := range forks {
		out.Body.Sessions = append(out.Body.Sessions, sessionView(se))
	}
	return out, nil
}

func (s *server) checkpointSession(ctx context.Context, in *sessionInput) (*checkpointOutput, error) {
	id, err := s.cfg.Service.Checkpoint(ctx, service.CallerOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	out := new(checkpointOutput)
	out.Body.CheckpointID = id
	return out, nil
}

func (s *server) rollbackSession(ctx context.Context, in *rollbackInput) (*sessionOutput, error) {
	checkpoint := ""
	if in.Body != nil {
		checkpoint = value(in.Body.CheckpointID)
	}
	return sessionAnswer(s.cfg.Service.Rollback(ctx, service.CallerOf(ctx), in.ID, checkpoint))
}
