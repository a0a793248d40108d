package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// EnvironmentBody names the packages of an environment.
type EnvironmentBody struct {
	Packages []string `json:"packages" doc:"Requirements such as requests or pandas==2.2.3, as packages of POST /v1/jobs. At most 100."`
	Preload  []string `json:"preload,omitempty" nullable:"true" doc:"Modules of these packages that a runner imports ahead, once they are installed, for executions that name the same packages and modules. At most 10."`
	Runtime  *string  `json:"runtime,omitempty" nullable:"true" doc:"Runtime for which they are installed. Default: that of an execution that names none."`
}

// EnvironmentView is an environment as callers see it.
type EnvironmentView struct {
	ID           string                   `json:"id" doc:"The same for equal packages and runtimes."`
	State        service.EnvironmentState `json:"state" enum:"queued,building,ready,failed,expired" doc:"queued: it waits for a runner. building: a runner installs the packages. failed: they cannot be had, and failure says why. expired: they were not used for a long time, and their next use installs them anew."`
	Packages     []string                 `json:"packages" nullable:"false" doc:"The requirements in the form that equal ones have in common."`
	Preload      []string                 `json:"preload,omitempty" doc:"Modules that were to be imported ahead, when it was prepared last."`
	PackageSet   string                   `json:"packageSet" doc:"Name of the set. Jobs with these packages have it, too."`
	Runtime      string                   `json:"runtime,omitempty" doc:"Absent for the default one."`
	JobID        string                   `json:"jobId" doc:"The job that prepares it. Its cancellation gives the environment up."`
	CreatedAt    time.Time                `json:"createdAt"`
	ReadyAt      *time.Time               `json:"readyAt,omitempty" doc:"When its job has found the packages installed."`
	Python       string                   `json:"python,omitempty" doc:"Version of Python for which the packages were resolved last."`
	Bytes        int64                    `json:"bytes,omitempty" doc:"Size of the installed files."`
	BuildSeconds float64                  `json:"buildSeconds,omitempty" doc:"How long the installation took."`
	Installation *job.Installation        `json:"installation,omitempty" doc:"How far the installation is, in the state building."`
	Failure      *job.Failure             `json:"failure,omitempty" doc:"Why it failed. Its code is that of the problem that an execution with these packages has."`
	Lock         string                   `json:"lock,omitempty" doc:"Lock file: each package with its version and hashes, in the form of requirements.txt. Absent in lists."`
	Log          string                   `json:"log,omitempty" doc:"Output of the installer, up to 16 KiB. Absent in lists."`
}

type createEnvironmentInput struct{ Body EnvironmentBody }

type createEnvironmentOutput struct {
	Status   int
	Location string `header:"Location"`
	Body     EnvironmentView
}

type environmentInput struct {
	ID string `path:"id" maxLength:"128" doc:"Id of the environment."`
}

type environmentOutput struct{ Body EnvironmentView }

type environmentsOutput struct {
	Body struct {
		Environments []EnvironmentView `json:"environments" nullable:"false" doc:"Those of this API key, newest first, 100 at most."`
	}
}

func (s *server) registerEnvironments() {
	tags := []string{"Packages"}
	const path, one = "/v1/environments", "/v1/environments/{id}"
	register(s, huma.Operation{
		OperationID: "createEnvironment", Method: http.MethodPost, Path: path, Tags: tags, DefaultStatus: http.StatusAccepted, Summary: "Have packages installed ahead",
		Description: "So the first execution that names them does not wait. 200: this API key has the environment already, or it is under way; else 202. With another list of preload it is prepared anew.",
		Errors:      []int{400, 401, 408, 413, 415, 429, 503},
		Responses:   map[string]*huma.Response{"200": {Description: "It is there, or under way", Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/EnvironmentView"}}}}},
	}, s.createEnvironment)
	register(s, huma.Operation{
		OperationID: "listEnvironments", Method: http.MethodGet, Path: path, Tags: tags, Summary: "List environments, newest first", Errors: []int{401, 429, 503},
	}, s.listEnvironments)
	register(s, huma.Operation{
		OperationID: "getEnvironment", Method: http.MethodGet, Path: one, Tags: tags, Summary: "Look an environment up",
		Description: "With its lock file, and the output of the installer.", Errors: []int{400, 401, 404, 429, 503},
	}, func(ctx context.Context, in *environmentInput) (*environmentOutput, error) {
		e, err := s.cfg.Service.Environment(ctx, service.CallerOf(ctx), in.ID)
		if err != nil {
			return nil, err
		}
		return &environmentOutput{environmentView(e)}, nil
	})
}

func (s *server) createEnvironment(ctx context.Context, in *createEnvironmentInput) (*createEnvironmentOutput, error) {
	e, known, err := s.cfg.Service.PrepareEnvironment(ctx, service.CallerOf(ctx), value(in.Body.Runtime), in.Body.Packages, in.Body.Preload)
	if err != nil {
		return nil, err
	}
	out := &createEnvironmentOutput{Status: http.StatusAccepted, Location: "/v1/environments/" + e.ID, Body: environmentView(e)}
	if known {
		out.Status = http.StatusOK
	}
	return out, nil
}

func (s *server) listEnvironments(ctx context.Context, _ *struct{}) (*environmentsOutput, error) {
	all, err := s.cfg.Service.Environments(ctx, service.CallerOf(ctx))
	if err != nil {
		return nil, err
	}
	out := new(environmentsOutput)
	out.Body.Environments = make([]EnvironmentView, len(all))
	for i, e := range all {
		out.Body.Environments[i] = environmentView(e)
	}
	return out, nil
}

func environmentView(e service.EnvironmentInfo) EnvironmentView {
	runtime, set := job.SplitPackages(e.Runtime)
	return EnvironmentView{
		ID: e.ID, State: e.State, Packages: e.Packages, Preload: e.Preload, PackageSet: set, Runtime: runtime, JobID: e.JobID, CreatedAt: e.CreatedAt, ReadyAt: optional(e.ReadyAt),
		Python: e.Build.Python, Bytes: e.Build.Bytes, BuildSeconds: e.Build.Took.Seconds(), Failure: e.Failure, Installation: e.Installation, Lock: e.Details.Lock, Log: e.Details.Log,
	}
}
