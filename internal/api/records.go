package api

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
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
		OperationID: "getJobRequest", Method: http.MethodGet, Path: "/v1/jobs/{id}/request", Tags: []string{jobsTag},
		Summary: "Show the request of a job",
		Description: "Its code, or its command, with arguments and names of files, without the values of environment variables. Of a job that has ended it is kept as for a rerun. " +
			"For the key that the job came with, and admin keys.",
		Errors: []int{400, 401, 404, 409, 410, 429, 503},
	}, s.jobRequest)
	register(s, huma.Operation{
		OperationID: rerunJobOperation, Method: http.MethodPost, Path: "/v1/jobs/{id}/rerun", Tags: []string{jobsTag}, DefaultStatus: http.StatusAccepted,
		Summary: "Run a job again that has ended",
		Description: "Makes a new job of the same request, with its files, and without its webhook. The request is kept as long as the record of the job: up to 1 MiB of a job that " +
			"failed, up to 16 KiB of another one. It is not kept of a synchronous execution that completed, and not in a session. Jobs of a batch need keepLines.",
		Errors: []int{400, 401, 404, 408, 409, 410, 413, 415, 429, 503, 507},
	}, s.rerunJob)
}

// RequestView is what a job asked for.
type RequestView struct {
	Code        string        `json:"code,omitempty" doc:"Python source."`
	Command     string        `json:"command,omitempty" doc:"Shell line, in place of code."`
	Program     []string      `json:"argv,omitempty" nullable:"false" doc:"Program with its arguments, in place of code."`
	Args        []string      `json:"args,omitempty" nullable:"false" doc:"Arguments of the code."`
	Cwd         string        `json:"cwd,omitempty" doc:"Directory in which it began."`
	Stdin       string        `json:"stdin,omitempty" doc:"Content of standard input."`
	EnvNames    []string      `json:"envNames,omitempty" nullable:"false" doc:"Names of its environment variables. Their values are not shown."`
	Runtime     string        `json:"runtime,omitempty" doc:"Runtime that was asked for; absent for the default one."`
	Packages    []string      `json:"packages,omitempty" doc:"Packages that were installed for it."`
	Preload     []string      `json:"preload,omitempty" doc:"Modules that an interpreter imports ahead."`
	Queue       string        `json:"queue"`
	Timeout     float64       `json:"timeout" doc:"Seconds the code may run."`
	MaxAttempts int           `json:"maxAttempts"`
	Files       []RequestFile `json:"files,omitempty" nullable:"false" doc:"Files that came with it."`
	Functions   []string      `json:"functions,omitempty" nullable:"false" doc:"Names of the functions of the caller that the code may call."`
	Cases       int           `json:"cases,omitempty" doc:"Number of its cases."`
	Metadata    object        `json:"metadata,omitempty"`
}

// RequestFile is a file that came with a request.
type RequestFile struct {
	Path string `json:"path" doc:"Where it was put."`
	Size int64  `json:"size" doc:"Its size in bytes."`
}

type requestOutput struct{ Body RequestView }

func (s *server) jobRequest(ctx context.Context, in *deleteJobInput) (*requestOutput, error) {
	n, err := s.cfg.Service.Request(ctx, service.CallerOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &requestOutput{requestView(n)}, nil
}

func requestView(n job.NewJob) RequestView {
	code, command := n.Spec.Code, n.Spec.Command
	switch c := n.Spec.Cases; { // Spec.Code is for runners of older releases then
	case c != nil:
		code, command = c.Code, c.Command
	case n.Spec.CallingCode != "":
		code = n.Spec.CallingCode
	}
	v := RequestView{
		Args: n.Spec.Argv, Cwd: n.Spec.Cwd, Stdin: n.Spec.Stdin, EnvNames: slices.Sorted(maps.Keys(n.Spec.Envs)), Runtime: runtimeOf(n.Spec), Packages: n.Spec.Packages, Preload: n.Spec.Preload,
		Queue: n.Job.Queue, Timeout: n.Spec.Timeout.Seconds(), MaxAttempts: n.Job.MaxAttempts, Metadata: object(n.Job.Metadata),
	}
	if command != nil {
		v.Command, v.Program, v.Cwd = command.Line, command.Argv, cmp.Or(command.Cwd, v.Cwd)
	} else {
		v.Code = code
	}
	for _, f := range n.Spec.Files {
		v.Files = append(v.Files, RequestFile{f.Path, f.Size})
	}
	for _, f := range n.Spec.Functions {
		v.Functions = append(v.Functions, f.Name)
	}
	if n.Spec.Cases != nil {
		v.Cases = len(n.Spec.Cases.List)
	}
	return v
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

// runtimeOf returns the name of a runtime without the set of its packages.
func runtimeOf(s job.Spec) string {
	runtime, _ := job.SplitPackages(s.Runtime)
	return runtime
}
