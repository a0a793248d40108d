package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const rerunBatchOperation = "rerunBatch"

type rerunInput struct {
	ID             string `path:"id" maxLength:"64" doc:"Id of the batch."`
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"255" doc:"The same key makes one batch only, for 24 hours."`
	Body           struct {
		Status []job.Status `json:"status,omitempty" enum:"ok,error,interrupted,exit" doc:"Completed jobs that ended so."`
		State  []job.State  `json:"state,omitempty" enum:"completed,cancelled,failed" doc:"Jobs that ended in such a state."`
	}
}

func (s *server) registerRerun(tags []string) {
	register(s, huma.Operation{
		OperationID: rerunBatchOperation, Method: http.MethodPost, Path: batchesPath + "/{id}/rerun", Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary:     "Run some jobs of a batch again",
		Description: "Makes a batch of those jobs of an ended batch that ended with one of these statuses or in one of these states. The batch must have been sent with keepLines.",
		Errors:      []int{400, 401, 404, 408, 409, 410, 413, 415, 429, 503},
	}, s.rerunBatch)
}

func (s *server) rerunBatch(ctx context.Context, in *rerunInput) (*batchesSubmitOutput, error) {
	marks := job.MarksOf(in.Body.State, in.Body.Status)
	if marks == "" {
		const msg = "names no jobs; send status, state or both"
		return nil, badRequest("body: "+msg, FieldIssue{"body", msg})
	}
	b, replayed, err := s.cfg.Service.RerunBatch(ctx, service.CallerOf(ctx), in.ID, marks, in.IdempotencyKey)
	if err != nil {
		return nil, err
	}
	out := &batchesSubmitOutput{Location: batchLocation + b.ID, Body: batchView(b, nil)}
	if replayed {
		out.Replayed = "true"
	}
	return out, nil
}
