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
}

func (s *server) deleteJob(ctx context.Context, in *deleteJobInput) (*struct{}, error) {
	return nil, s.cfg.Service.Delete(ctx, service.CallerOf(ctx), in.ID)
}
