package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

type queuesOutput struct {
	Body struct {
		Queues []job.QueueStats `json:"queues" nullable:"false"`
	}
}

type runnersOutput struct {
	Body struct {
		Runners []job.Runner `json:"runners" nullable:"false" doc:"Runners whose heartbeat is fresh."`
	}
}

type historyInput struct {
	Minutes int `query:"minutes" minimum:"1" maximum:"60" default:"60" doc:"How far back it goes."`
}

type historyOutput struct {
	Body struct {
		Seconds float64      `json:"seconds" doc:"Seconds that each sample is about."`
		Samples []job.Sample `json:"samples" nullable:"false" doc:"The oldest first; the last one is not complete. Times in which nothing was written are missing."`
	}
}

type runtimesOutput struct {
	Body struct {
		Runtimes []job.Runtime `json:"runtimes" nullable:"false" doc:"The runtimes that live runners offer, by name."`
	}
}

type healthOutput struct {
	Body struct {
		Status string `json:"status" enum:"ok"`
	}
}

type readyOutput struct {
	Body struct {
		Status   string   `json:"status" enum:"ok"`
		Warnings []string `json:"warnings,omitempty" doc:"Faults of Redis that do not keep it from working."`
	}
}

func (s *server) registerFleet() {
	tags := []string{operationsTag}
	register(s, huma.Operation{
		OperationID: "listQueues", Method: http.MethodGet, Path: "/v1/queues", Tags: tags, Summary: "Count the jobs of each queue",
		Errors: []int{401, 429, 503},
	}, func(ctx context.Context, _ *struct{}) (*queuesOutput, error) {
		stats, err := s.cfg.Service.Queues(ctx, service.CallerOf(ctx))
		out := new(queuesOutput)
		out.Body.Queues = stats
		return out, err
	})
	register(s, huma.Operation{
		OperationID: "listRunners", Method: http.MethodGet, Path: "/v1/runners", Tags: tags, Summary: "List the runners that are alive",
		Errors: []int{401, 429, 503},
	}, func(ctx context.Context, _ *struct{}) (*runnersOutput, error) {
		runners, err := s.cfg.Service.Runners(ctx, service.CallerOf(ctx))
		out := new(runnersOutput)
		out.Body.Runners = append([]job.Runner{}, runners...) // never null
		for i := range out.Body.Runners {
			withoutNulls(&out.Body.Runners[i])
		}
		return out, err
	})
	register(s, huma.Operation{
		OperationID: "fleetHistory", Method: http.MethodGet, Path: "/v1/fleet/history", Tags: tags, Summary: "Show what queues and runners did in the last hour",
		Description: "Samples of half a minute each, of all tenants. Who may list runners may see them.",
		Errors:      []int{400, 401, 429, 503},
	}, func(ctx context.Context, in *historyInput) (*historyOutput, error) {
		samples, err := s.cfg.Service.History(ctx, service.CallerOf(ctx), time.Duration(in.Minutes)*time.Minute)
		out := new(historyOutput)
		out.Body.Seconds, out.Body.Samples = job.SampleEvery.Seconds(), samples
		return out, err
	})
	register(s, huma.Operation{
		OperationID: "listRuntimes", Method: http.MethodGet, Path: "/v1/runtimes", Tags: tags, Summary: "List the runtimes that a request may name",
		Errors: []int{401, 429, 503},
	}, func(ctx context.Context, _ *struct{}) (*runtimesOutput, error) {
		runtimes, err := s.cfg.Service.Runtimes(ctx, service.CallerOf(ctx))
		out := new(runtimesOutput)
		out.Body.Runtimes = append([]job.Runtime{}, runtimes...) // never null
		return out, err
	})
	register(s, huma.Operation{
		OperationID: "health", Method: http.MethodGet, Path: "/healthz", Tags: tags, Summary: "Is the process alive",
		Errors: []int{503},
	}, func(context.Context, *struct{}) (*healthOutput, error) { return healthy(), nil })
	register(s, huma.Operation{
		OperationID: "ready", Method: http.MethodGet, Path: "/readyz", Tags: tags, Summary: "Can the process accept jobs",
		Errors: []int{503},
	}, s.ready)
}

// withoutNulls makes empty lists of those that a runner, perhaps of an older Kaa,
// did not send.
func withoutNulls(r *job.Runner) {
	r.Runtimes, r.Layers = append([]job.Runtime{}, r.Runtimes...), append([]job.Layer{}, r.Layers...)
	for i := range r.Runtimes {
		r.Runtimes[i].Modules = append([]string{}, r.Runtimes[i].Modules...)
	}
}

func healthy() *healthOutput {
	out := new(healthOutput)
	out.Body.Status = "ok"
	return out
}

func (s *server) ready(ctx context.Context, _ *struct{}) (*readyOutput, error) {
	err := s.cfg.Service.Ready(ctx)
	if errors.Is(err, service.ErrStopping) {
		return nil, aboutToStop()
	}
	if err != nil {
		return nil, fmt.Errorf("ready: %w", err)
	}
	return readyWith(ctx, s.cfg.Warnings), nil
}

func readyWith(ctx context.Context, warnings func(context.Context) []string) *readyOutput {
	out := new(readyOutput)
	out.Body.Status = healthy().Body.Status
	if warnings != nil {
		out.Body.Warnings = warnings(ctx)
	}
	return out
}
