package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// FilterBody selects jobs. All that is given has to fit.
type FilterBody struct {
	Queue         *string     `json:"queue,omitempty" nullable:"true" maxLength:"64" doc:"Only jobs of this queue."`
	State         []job.State `json:"state,omitempty" nullable:"true" doc:"Only jobs in one of these states. To cancel: scheduled, queued, running. To purge: completed, cancelled, failed. Default: all three."`
	Runtime       *string     `json:"runtime,omitempty" nullable:"true" maxLength:"64" doc:"Only jobs that asked for this runtime."`
	CreatedBefore *time.Time  `json:"createdBefore,omitempty" nullable:"true" doc:"Only jobs that came before this time (RFC 3339)."`
	Metadata      object      `json:"metadata,omitempty" doc:"Only jobs whose metadata has these members, with the same values."`
	Confirm       *string     `json:"confirm,omitempty" nullable:"true" maxLength:"64" doc:"confirm of the answer to the same filter: do it. Without it the jobs are only counted."`
}

func (b *FilterBody) filter() service.JobFilter {
	f := service.JobFilter{Queue: value(b.Queue), States: b.State, Runtime: value(b.Runtime), Metadata: json.RawMessage(b.Metadata)}
	if b.CreatedBefore != nil {
		f.CreatedBefore = *b.CreatedBefore
	}
	return f
}

// BulkView is the outcome of one call for many jobs.
type BulkView struct {
	Matched  *int   `json:"matched,omitempty" doc:"Without confirm: how many jobs match."`
	AtLeast  bool   `json:"atLeast,omitempty" doc:"There may be more than matched: counting them all would have taken too long."`
	Done     *int   `json:"done,omitempty" doc:"With confirm: how many jobs this call has cancelled, or whose end it has requested, or has deleted."`
	Complete *bool  `json:"complete,omitempty" doc:"With confirm: whether all are done. If not, send the same call again."`
	Confirm  string `json:"confirm,omitempty" doc:"For the next call with the same filter, within 5 minutes."`
}

type bulkInput struct{ Body FilterBody }

type bulkOutput struct{ Body BulkView }

func (s *server) registerBulk() {
	type all func(context.Context, service.Caller, service.JobFilter, string) (service.Bulk, error)
	handle := func(do all) func(context.Context, *bulkInput) (*bulkOutput, error) {
		return func(ctx context.Context, in *bulkInput) (*bulkOutput, error) {
			confirm := value(in.Body.Confirm)
			b, err := do(ctx, service.CallerOf(ctx), in.Body.filter(), confirm)
			if err != nil {
				return nil, err
			}
			if confirm == "" {
				return &bulkOutput{BulkView{Matched: &b.Matched, AtLeast: b.AtLeast, Confirm: b.Confirm}}, nil
			}
			return &bulkOutput{BulkView{Done: &b.Done, Complete: &b.Complete, Confirm: b.Confirm}}, nil
		}
	}
	errors := []int{400, 401, 408, 409, 413, 415, 429, 503}
	register(s, huma.Operation{
		OperationID: "cancelJobs", Method: http.MethodPost, Path: "/v1/jobs:cancel", Tags: []string{jobsTag}, Summary: "Cancel the jobs that a filter selects", Errors: errors,
		Description: "The first call counts the jobs, a second one with the confirm of its answer cancels them. Jobs that came after the count are left alone. A call works for 10 s at most.",
	}, handle(s.cfg.Service.CancelAll))
	register(s, huma.Operation{
		OperationID: "purgeJobs", Method: http.MethodPost, Path: "/v1/jobs:purge", Tags: []string{jobsTag}, Summary: "Delete the ended jobs that a filter selects", Errors: errors,
		Description: "The first call counts the jobs, a second one with the confirm of its answer deletes them with results, events and files. Their room is given back at once. A call works for 10 s at most.",
	}, handle(s.cfg.Service.PurgeAll))
}
