package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/service"
)

type deleteJobInput struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the job."`
}

const rerunJobOperation = "rerunJob"

type rerunJobInput struct {
	ID             string `path:"id" maxLength:"64" doc:"Id of the job."`
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"255" doc:"The same key makes one job only, for 24 hours."`
}

// registerRecords registers the deletion of jobs. It has a path of its own: DELETE on the job itself
// cancels, and a cancel that comes too late must not cost the result.
func (s *server) registerRecords() {
	register(s, huma.Operation{
		OperationID: "deleteJob", Method: http.MethodDelete, Path: "/v1/jobs/{id}/record", Tags: []string{jobsTag}, DefaultStatus: http.StatusNoContent,
		Summary: "Delete a job that has ended",
		Description: "With its result, events and files, which give back what they take at once. The job is answered with 404 from then on, " +
			"its Idempotency-Key is free, and a webhook that is not delivered yet is not sent any more.",
		Errors: []int{400, 401, 404, 409, 410, 429, 503},
	}, s.deleteJob)
	register(s, huma.Operation{
		OperationID: rerunJobOperation, Method: http.MethodPost, Path: "/v1/jobs/{id}/rerun", Tags: []string{jobsTag}, DefaultStatus: http.StatusAccepted,
		Summary: "Run a job again that has ended",
		Description: "Makes a new job of the same request, with its files, and without its webhook. The request is kept as long as the record of the job: up to 1 MiB of a job that " +
			"failed, up to 16 KiB of another one. It is not kept of a synchronous execution that completed, and not in a session. Jobs of a batch need keepLines.",
		Errors: []int{400, 401, 404, 408, 409, 410, 413, 415, 429, 503, 507},
	}, s.rerunJob)
}

func (s *server) deleteJob(ctx context.Context, in *deleteJobInput) (*struct{}, error) {
	return nil, s.cfg.Service.Delete(ctx, service.CallerOf(ctx), in.ID)
}

func (s *server) rerunJob(ctx context.Context, in *rerunJobInput) (*submitOutput, error) {
	created, err := s.cfg.Service.Rerun(ctx, service.CallerOf(ctx), in.ID, in.IdempotencyKey)
	if err != nil {
		return nil, err
	}
	return submitted(created), nil
}
