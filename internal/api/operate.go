package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

type queueInput struct {
	Name string `path:"name" maxLength:"64" doc:"Name of the queue."`
}

type queueOutput struct{ Body job.QueueStats }

type tasksOutput struct{ Body job.TaskStats }

// SettingView is a setting as operators see it.
type SettingView struct {
	Name    string `json:"name" doc:"The environment variable."`
	Value   string `json:"value" doc:"Its value in force, *** if it is secret and set. Empty if it is not set."`
	Default string `json:"default" doc:"Its default. Where that stands for a value that Kaa chooses, value has the choice."`
	Secret  bool   `json:"secret,omitempty" doc:"Its value is not shown."`
	Changed bool   `json:"changed" doc:"The value is another one than without the variable."`
}

type configOutput struct {
	Body struct {
		Version  string        `json:"version" doc:"Version of the process."`
		Settings []SettingView `json:"settings" nullable:"false"`
	}
}

type runnerInput struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the runner."`
}

type runnerOutput struct{ Body job.Runner }

// operationsTag is the tag of the operations for operators, except those on keys.
const operationsTag = "Operations"

func (s *server) registerOperations() {
	tags := []string{operationsTag}
	queue := func(resume bool) func(context.Context, *queueInput) (*queueOutput, error) {
		return func(ctx context.Context, in *queueInput) (*queueOutput, error) {
			q, err := s.cfg.Service.PauseQueue(ctx, service.CallerOf(ctx), in.Name, resume)
			return &queueOutput{q}, err
		}
	}
	register(s, huma.Operation{
		OperationID: "pauseQueue", Method: http.MethodPost, Path: "/v1/queues/{name}/pause", Tags: tags, Summary: "Pause a queue",
		Description: "Needs the scope admin. Once answered, no job of the queue begins until it is resumed; those that run end as usual. New jobs are accepted and wait (waitsFor: paused). The queue sessions has the executions of sessions.",
		Errors:      []int{400, 401, 404, 408, 413, 415, 429, 503},
	}, queue(false))
	register(s, huma.Operation{
		OperationID: "resumeQueue", Method: http.MethodPost, Path: "/v1/queues/{name}/resume", Tags: tags, Summary: "Resume a paused queue",
		Description: "Needs the scope admin. Resuming a queue that is not paused changes nothing.",
		Errors:      []int{400, 401, 404, 408, 413, 415, 429, 503},
	}, queue(true))
	register(s, huma.Operation{
		OperationID: "queueTasks", Method: http.MethodGet, Path: "/v1/queues/{name}/tasks", Tags: tags, Summary: "Count what asynq holds of a queue",
		Description: "Needs the scope admin. The numbers are those of asynq's own tools. A queue whose tasks and jobs differ for long has a fault: GET /v1/queues counts its jobs.",
		Errors:      []int{400, 401, 404, 429, 503},
	}, func(ctx context.Context, in *queueInput) (*tasksOutput, error) {
		tasks, err := s.cfg.Service.Tasks(ctx, service.CallerOf(ctx), in.Name)
		return &tasksOutput{tasks}, err
	})
	register(s, huma.Operation{
		OperationID: "getConfig", Method: http.MethodGet, Path: "/v1/config", Tags: tags, Summary: "Show the configuration in force",
		Description: "Needs the scope admin. The settings are those of the API process that answers; runners have their own. Secrets are hidden.",
		Errors:      []int{400, 401, 429, 503},
	}, func(ctx context.Context, _ *struct{}) (*configOutput, error) {
		settings, err := s.cfg.Service.Settings(ctx, service.CallerOf(ctx))
		out := new(configOutput)
		out.Body.Version = s.cfg.Version
		out.Body.Settings = make([]SettingView, len(settings))
		for i, set := range settings {
			out.Body.Settings[i] = SettingView(set)
		}
		return out, err
	})
	runner := func(resume bool) func(context.Context, *runnerInput) (*runnerOutput, error) {
		return func(ctx context.Context, in *runnerInput) (*runnerOutput, error) {
			r, err := s.cfg.Service.DrainRunner(ctx, service.CallerOf(ctx), in.ID, resume)
			withoutNulls(&r)
			return &runnerOutput{r}, err
		}
	}
	register(s, huma.Operation{
		OperationID: "drainRunner", Method: http.MethodPost, Path: "/v1/runners/{id}/drain", Tags: tags, Summary: "Drain a runner",
		Description: "Needs the scope admin. The runner takes no more jobs and sessions, within a second or two. Its executions may end; its sessions end as at a stop. It lives on and takes nothing until it is resumed. A process that is started again is another runner, which is not drained.",
		Errors:      []int{400, 401, 404, 408, 413, 415, 429, 503},
	}, runner(false))
	register(s, huma.Operation{
		OperationID: "resumeRunner", Method: http.MethodPost, Path: "/v1/runners/{id}/resume", Tags: tags, Summary: "Let a drained runner take jobs again",
		Description: "Needs the scope admin. Resuming a runner that is not drained changes nothing.",
		Errors:      []int{400, 401, 404, 408, 413, 415, 429, 503},
	}, runner(true))
}
