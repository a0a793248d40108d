package api

import (
	"context"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const (
	maxBatch    = 1000
	maxWait     = 60 * time.Second
	jobsTag     = "Jobs"
	executeTag  = "Execute"
	jobLocation = "/v1/jobs/"
)

type executeInput struct {
	Accept string   `header:"Accept" hidden:"true"`
	Prefer []string `header:"Prefer" hidden:"true"` // see preferHeader
	Body   ExecuteBody
}

// executeOutput writes a job.Result (200), events (200) or a JobView (202).
type executeOutput struct {
	Status            int
	Location          string `header:"Location"`
	PreferenceApplied string `header:"Preference-Applied"`
	Body              func(huma.Context)
}

type submitInput struct {
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"255" doc:"The same key with the same body makes one job only, for 24 hours."`
	Body           JobBody
}

type submitOutput struct {
	Location string `header:"Location"`
	Replayed string `header:"Idempotent-Replayed" doc:"true when the Idempotency-Key was used before and the job is the one it made then."`
	Body     JobView
}

type getInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Id of the job."`
	Wait string `query:"wait" doc:"Answer when the job has ended or after this time, at most 60s. Seconds (30) or with a unit (30s)." example:"30s"`
}

type jobOutput struct{ Body JobView }

type cancelInput struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the job."`
}

type cancelOutput struct {
	Status int
	Body   JobView
}

func (s *server) registerJobs() {
	registry := s.api.OpenAPI().Components.Schemas
	s.jobSchema = registry.Schema(reflect.TypeFor[JobBody](), true, "JobBody")
	ref := func(t reflect.Type, status, description string) map[string]*huma.Response {
		return map[string]*huma.Response{status: {
			Description: description,
			Content:     map[string]*huma.MediaType{"application/json": {Schema: registry.Schema(t, true, "")}},
		}}
	}
	executed := ref(reflect.TypeFor[job.Result](), "200", "The code was executed, however it ended.")
	executed["200"].Content[eventStream] = eventStreamType()
	executed["202"] = ref(reflect.TypeFor[JobView](), "202", "The job, with Prefer: respond-async.")["202"]
	register(s, huma.Operation{
		OperationID: "execute", Method: http.MethodPost, Path: executePath, Tags: []string{executeTag},
		Summary:     "Execute code and wait for its end",
		Description: "Runs the code in a fresh interpreter, or with sessionId in that of a session. A program that fails is answered with 200, and status shows it. If the caller goes away, the code is interrupted.",
		Responses:   executed,
		Parameters:  []*huma.Param{preferHeader()},
		Errors:      []int{400, 401, 404, 408, 409, 410, 413, 415, 429, 502, 503, 504, 507},
	}, s.execute)
	register(s, huma.Operation{
		OperationID: "submitJob", Method: http.MethodPost, Path: jobsPath, Tags: []string{jobsTag}, DefaultStatus: http.StatusAccepted,
		Summary: "Submit a job", Description: "Accepts code to be executed when a runner is free, or later. Once answered, the job is not lost.",
		Errors: []int{400, 401, 404, 408, 409, 410, 413, 415, 429, 503},
	}, s.submitJob)
	register(s, huma.Operation{
		OperationID: "submitJobs", Method: http.MethodPost, Path: "/v1/jobs:batch", Tags: []string{jobsTag}, DefaultStatus: http.StatusAccepted,
		Summary: "Submit up to 1,000 jobs", Description: "Each job is accepted or refused by itself; the answer has one entry for each, in the order sent.",
		Errors:           []int{400, 401, 408, 413, 415, 429, 503},
		SkipValidateBody: true, // submitBatch does, item by item
	}, s.submitBatch)
	register(s, huma.Operation{
		OperationID: "listJobs", Method: http.MethodGet, Path: "/v1/jobs", Tags: []string{jobsTag},
		Summary:     "List jobs, newest first",
		Description: "With status, metadata, text or owner a page may have fewer jobs than limit, or none, and a nextCursor all the same: a request looks at 5,000 jobs at most.",
		Errors:      []int{400, 401, 429, 503},
	}, s.listJobs)
	register(s, huma.Operation{
		OperationID: "getJob", Method: http.MethodGet, Path: "/v1/jobs/{id}", Tags: []string{jobsTag},
		Summary: "Look a job up, or wait for its end", Errors: []int{400, 401, 404, 410, 429, 503},
	}, s.getJob)
	cancelled := ref(reflect.TypeFor[JobView](), "200", "The job waited and is cancelled.")
	cancelled["202"] = ref(reflect.TypeFor[JobView](), "202", "The job runs; its end is under way. Poll it, or wait for it with ?wait=.")["202"]
	register(s, huma.Operation{
		OperationID: "cancelJob", Method: http.MethodDelete, Path: "/v1/jobs/{id}", Tags: []string{jobsTag},
		Summary: "Cancel a job", Responses: cancelled, Errors: []int{400, 401, 404, 409, 410, 429, 503},
	}, s.cancelJob)
	// It has the fields of a value, or those of an error, or text: huma knows no "or" of embedded ones.
	registry.Map()["Output"].Required = []string{"type"}
	s.documentUpload(executePath, reflect.TypeFor[ExecuteBody]())
	s.documentUpload(jobsPath, reflect.TypeFor[JobBody]())
}

// preferHeader documents the header as one string, which it is on the wire. Generators of
// clients leave out an operation with a header that is a list.
func preferHeader() *huma.Param {
	return &huma.Param{
		Name: "Prefer", In: "header", Schema: &huma.Schema{Type: huma.TypeString}, Example: "respond-async",
		Description: "respond-async answers 202 with the job instead of waiting for its end.",
	}
}

func (s *server) execute(ctx context.Context, in *executeInput) (*executeOutput, error) {
	caller, sub := service.CallerOf(ctx), service.Submission{Request: in.Body.request()}
	sub.Request.Files = append(sub.Request.Files, uploadsOf(ctx)...)
	sub.Request.Followed = prefersAsync(in.Prefer) || wantsEvents(in.Accept)
	if prefersAsync(in.Prefer) {
		j, err := s.cfg.Service.Submit(ctx, caller, sub)
		if err != nil {
			return nil, err
		}
		return &executeOutput{
			Status: http.StatusAccepted, Location: jobLocation + j.Job.ID, PreferenceApplied: "respond-async", Body: s.json(http.StatusAccepted, viewOf(j.Job)),
		}, nil
	}
	if wantsEvents(in.Accept) {
		return s.executeLive(ctx, sub)
	}
	j, err := s.cfg.Service.Execute(ctx, caller, sub)
	if err != nil {
		return nil, err
	}
	return &executeOutput{Status: http.StatusOK, Body: s.json(http.StatusOK, withURLs(ctx, j.ID, j.Result))}, nil
}

// json answers with a value, where others answer with something else.
func (s *server) json(status int, v any) func(huma.Context) {
	return func(ctx huma.Context) {
		ctx.SetHeader("Content-Type", "application/json")
		ctx.SetStatus(status)
		if err := s.api.Marshal(ctx.BodyWriter(), "application/json", v); err != nil {
			s.cfg.Log.DebugContext(ctx.Context(), "write answer", slog.Any("err", err)) // the caller has gone
		}
	}
}

// prefersAsync reads RFC 7240's header, a list of preferences.
func prefersAsync(prefer []string) bool {
	for _, p := range prefer { // split at commas by now
		name, _, _ := strings.Cut(p, ";")
		if strings.EqualFold(strings.TrimSpace(name), "respond-async") {
			return true
		}
	}
	return false
}

func (s *server) submitJob(ctx context.Context, in *submitInput) (*submitOutput, error) {
	sub := service.Submission{Request: in.Body.request(), IdempotencyKey: in.IdempotencyKey}
	sub.Request.Followed = true
	uploads := uploadsOf(ctx)
	sub.Request.Files = append(sub.Request.Files, uploads...)
	if in.IdempotencyKey != "" {
		var err error
		if sub.Fingerprint, err = fingerprint(in.Body, uploads); err != nil {
			return nil, err
		}
	}
	created, err := s.cfg.Service.Submit(ctx, service.CallerOf(ctx), sub)
	if err != nil {
		return nil, err
	}
	return submitted(created), nil
}

// submitted is the answer about a job that was accepted.
func submitted(created job.Created) *submitOutput {
	out := &submitOutput{Location: jobLocation + created.Job.ID, Body: viewOf(created.Job)}
	if created.Replayed {
		out.Replayed = "true"
	}
	return out
}

func (s *server) getJob(ctx context.Context, in *getInput) (*jobOutput, error) {
	wait, err := waitOf(in.Wait)
	if err != nil {
		return nil, err
	}
	caller := service.CallerOf(ctx)
	j, err := s.cfg.Service.Job(ctx, caller, in.ID, wait)
	if err != nil {
		return nil, err
	}
	j.Result = withURLs(ctx, j.ID, j.Result)
	return &jobOutput{Body: viewFor(caller, j)}, nil
}

// waitOf reads how long a caller waits for a job's end.
func waitOf(text string) (wait time.Duration, err error) {
	if text == "" {
		return 0, nil
	}
	if wait, err = seconds(text); err != nil {
		return 0, badRequest("query.wait: "+err.Error(), FieldIssue{"query.wait", err.Error()})
	}
	if wait > maxWait {
		const msg = "must be at most 60s; poll again for longer"
		return 0, badRequest("query.wait: "+msg, FieldIssue{"query.wait", msg})
	}
	return wait, nil
}

func (s *server) cancelJob(ctx context.Context, in *cancelInput) (*cancelOutput, error) {
	j, ended, err := s.cfg.Service.Cancel(ctx, service.CallerOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	if ended {
		j.Result = withURLs(ctx, j.ID, j.Result)
		return &cancelOutput{Status: http.StatusOK, Body: viewOf(j)}, nil
	}
	return &cancelOutput{Status: http.StatusAccepted, Body: viewOf(j)}, nil
}
