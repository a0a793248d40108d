package api

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// ScheduleBody says when to run which job.
type ScheduleBody struct {
	Name             *string      `json:"name,omitempty" nullable:"true" maxLength:"128" doc:"For people." example:"nightly report"`
	Cron             string       `json:"cron" maxLength:"256" doc:"When to run: minute, hour, day of the month, month and day of the week, or @hourly, @daily, @weekly, @monthly, @yearly. If both days are restricted, either is enough." example:"30 2 * * MON-FRI"`
	TimeZone         *string      `json:"timeZone,omitempty" nullable:"true" maxLength:"64" doc:"Time zone of cron, by its IANA name. A time that its clock skips or shows twice has one run. Default UTC." example:"Europe/Berlin"`
	Overlap          *job.Overlap `json:"overlap,omitempty" nullable:"true" enum:"skip,queue,replace" doc:"Effect of a job of the schedule that has not ended on the next run. skip: leave it out. queue: make one more job. replace: make one, and cancel the others. Default skip."`
	StartingDeadline *float64     `json:"startingDeadline,omitempty" nullable:"true" doc:"Seconds that a run may be late, from 10, before it is left out. Of the runs that Kaa missed while it was down only the last is made up for. Default: no bound."`
	Paused           *bool        `json:"paused,omitempty" nullable:"true" doc:"Whether its runs are left out. Default false."`
	Job              JobBody      `json:"job" doc:"Job of each run, as for POST /v1/jobs, without delay, runAt and sessionId."`
}

// ScheduleView is a schedule as callers see it.
type ScheduleView struct {
	ID               string        `json:"id"`
	Name             string        `json:"name,omitempty"`
	Cron             string        `json:"cron"`
	TimeZone         string        `json:"timeZone"`
	Overlap          job.Overlap   `json:"overlap" enum:"skip,queue,replace"`
	StartingDeadline float64       `json:"startingDeadline,omitempty" doc:"Seconds that a run may be late; absent for no bound."`
	Paused           bool          `json:"paused"`
	CreatedAt        time.Time     `json:"createdAt"`
	UpdatedAt        time.Time     `json:"updatedAt" doc:"Time of the last change by a caller."`
	NextRuns         []time.Time   `json:"nextRuns" nullable:"false" doc:"Next five times; none while it is paused."`
	LastRun          *ScheduleRun  `json:"lastRun,omitempty" doc:"The job that it made last."`
	LastSkippedAt    *time.Time    `json:"lastSkippedAt,omitempty" doc:"Time of the last run that was left out because a job had not ended."`
	LastError        string        `json:"lastError,omitempty" doc:"Why the last run made no job. It is absent once a run makes one."`
	LastErrorAt      *time.Time    `json:"lastErrorAt,omitempty"`
	Jobs             []string      `json:"jobs,omitempty" doc:"Ids of its last 20 jobs, newest first; absent in lists."`
	Job              *ScheduledJob `json:"job,omitempty" doc:"The job of its runs; absent in lists."`
}

// ScheduleRun is the latest run of a schedule.
type ScheduleRun struct {
	JobID string    `json:"jobId"`
	At    time.Time `json:"at" doc:"When the job was made."`
	State job.State `json:"state,omitempty" enum:"scheduled,queued,running,completed,cancelled,failed" doc:"State of the job; absent in lists, and once the job has expired."`
}

// ScheduledJob is what a schedule runs. Values of environment variables, standard input, contents of files and
// the secret of the webhook are not shown.
type ScheduledJob struct {
	Code        string             `json:"code,omitempty" doc:"Absent if it runs a command."`
	Command     string             `json:"command,omitempty"`
	Program     []string           `json:"argv,omitempty"`
	Cwd         string             `json:"cwd,omitempty"`
	Args        []string           `json:"args,omitempty"`
	Queue       string             `json:"queue,omitempty" doc:"Absent for the default one."`
	Runtime     string             `json:"runtime,omitempty" doc:"Absent for the default one."`
	Packages    []string           `json:"packages,omitempty"`
	Preload     []string           `json:"preload,omitempty"`
	Timeout     *float64           `json:"timeout,omitempty" doc:"Absent for the default one, as the following."`
	MaxAttempts *int               `json:"maxAttempts,omitempty"`
	ResultTTL   *float64           `json:"resultTtl,omitempty"`
	Limits      map[string]float64 `json:"limits,omitempty"`
	Files       []string           `json:"files,omitempty" doc:"Paths of its files."`
	Metadata    object             `json:"metadata,omitempty"`
	WebhookURL  string             `json:"webhookUrl,omitempty"`
}

type createScheduleInput struct{ Body ScheduleBody }

type createScheduleOutput struct {
	Location string `header:"Location"`
	Body     ScheduleView
}

type scheduleInput struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the schedule."`
}

type replaceScheduleInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Id of the schedule."`
	Body ScheduleBody
}

type scheduleOutput struct{ Body ScheduleView }

type listSchedulesInput struct {
	Cursor string `query:"cursor" maxLength:"64" doc:"nextCursor of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Schedules per page."`
}

type listSchedulesOutput struct {
	Body struct {
		Schedules  []ScheduleView `json:"schedules" nullable:"false" doc:"Newest first, without jobs."`
		NextCursor string         `json:"nextCursor,omitempty" doc:"For the next page; absent on the last."`
	}
}

type runScheduleOutput struct {
	Location string `header:"Location"`
	Body     JobView
}

func (s *server) registerSchedules() {
	tags := []string{"Schedules"}
	const path, one = "/v1/schedules", "/v1/schedules/{id}"
	register(s, huma.Operation{
		OperationID: "createSchedule", Method: http.MethodPost, Path: path, Tags: tags, DefaultStatus: http.StatusCreated, Summary: "Make a schedule of jobs",
		Description: "The schedule belongs to the tenant of the key, and goes on when the key is revoked. Its job is checked now, and again for each run.",
		Errors:      []int{400, 401, 408, 413, 415, 429, 503},
	}, s.createSchedule)
	register(s, huma.Operation{
		OperationID: "listSchedules", Method: http.MethodGet, Path: path, Tags: tags, Summary: "List schedules, newest first", Errors: []int{400, 401, 429, 503},
	}, s.listSchedules)
	register(s, huma.Operation{
		OperationID: "getSchedule", Method: http.MethodGet, Path: one, Tags: tags, Summary: "Look a schedule up", Errors: []int{400, 401, 404, 429, 503},
	}, s.getSchedule)
	register(s, huma.Operation{
		OperationID: "replaceSchedule", Method: http.MethodPut, Path: one, Tags: tags, Summary: "Replace a schedule",
		Description: "Replaces all of it, as a new one would say it. If cron, timeZone and paused stay, so does the time of its next run.",
		Errors:      []int{400, 401, 404, 408, 413, 415, 429, 503},
	}, s.replaceSchedule)
	register(s, huma.Operation{
		OperationID: "deleteSchedule", Method: http.MethodDelete, Path: one, Tags: tags, DefaultStatus: http.StatusNoContent, Summary: "Delete a schedule",
		Description: "Its jobs stay, those too that have not ended.", Errors: []int{400, 401, 404, 429, 503},
	}, s.deleteSchedule)
	register(s, huma.Operation{
		OperationID: "pauseSchedule", Method: http.MethodPost, Path: one + "/pause", Tags: tags, Summary: "Pause a schedule",
		Description: "Its runs are left out until it is resumed.", Errors: []int{400, 401, 404, 408, 413, 415, 429, 503},
	}, s.pauseSchedule(true))
	register(s, huma.Operation{
		OperationID: "resumeSchedule", Method: http.MethodPost, Path: one + "/resume", Tags: tags, Summary: "Resume a schedule",
		Description: "It goes on with its next time; runs that were left out are not made up for.", Errors: []int{400, 401, 404, 408, 413, 415, 429, 503},
	}, s.pauseSchedule(false))
	register(s, huma.Operation{
		OperationID: "runSchedule", Method: http.MethodPost, Path: one + "/run", Tags: tags, DefaultStatus: http.StatusAccepted, Summary: "Run a schedule now",
		Description: "Makes one more job, even if the schedule is paused or has a job that has not ended. Its times stay.", Errors: []int{400, 401, 404, 408, 413, 415, 429, 503},
	}, s.runSchedule)
}

// spec is what a body says.
func (b ScheduleBody) spec() job.ScheduleSpec {
	spec := job.ScheduleSpec{Name: value(b.Name), Cron: b.Cron, TimeZone: value(b.TimeZone), Overlap: job.OverlapSkip, Job: b.Job.request()}
	if b.Overlap != nil {
		spec.Overlap = *b.Overlap
	}
	if d := b.StartingDeadline; d != nil {
		// Zero stands for no bound in the record, and a number that no duration can hold for one that is too large.
		spec.StartingDeadline = time.Duration(max(1, min(math.MaxInt64/2, *d*float64(time.Second))))
	}
	spec.Paused = b.Paused != nil && *b.Paused
	return spec
}

func (s *server) createSchedule(ctx context.Context, in *createScheduleInput) (*createScheduleOutput, error) {
	made, err := s.cfg.Service.CreateSchedule(ctx, service.CallerOf(ctx), in.Body.spec())
	if err != nil {
		return nil, err
	}
	return &createScheduleOutput{Location: "/v1/schedules/" + made.ID, Body: scheduleView(made, true)}, nil
}

func (s *server) listSchedules(ctx context.Context, in *listSchedulesInput) (*listSchedulesOutput, error) {
	if in.Cursor != "" && !service.IsID(in.Cursor) {
		const msg = "is not a cursor; send the nextCursor of the page before"
		return nil, badRequest("query.cursor: "+msg, FieldIssue{"query.cursor", msg})
	}
	all, next, err := s.cfg.Service.Schedules(ctx, service.CallerOf(ctx), in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	out := new(listSchedulesOutput)
	out.Body.NextCursor, out.Body.Schedules = next, make([]ScheduleView, len(all))
	for i, one := range all {
		out.Body.Schedules[i] = scheduleView(one, false)
	}
	return out, nil
}

func (s *server) getSchedule(ctx context.Context, in *scheduleInput) (*scheduleOutput, error) {
	one, err := s.cfg.Service.Schedule(ctx, service.CallerOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &scheduleOutput{scheduleView(one, true)}, nil
}

func (s *server) replaceSchedule(ctx context.Context, in *replaceScheduleInput) (*scheduleOutput, error) {
	one, err := s.cfg.Service.ReplaceSchedule(ctx, service.CallerOf(ctx), in.ID, in.Body.spec())
	if err != nil {
		return nil, err
	}
	return &scheduleOutput{scheduleView(one, true)}, nil
}

func (s *server) deleteSchedule(ctx context.Context, in *scheduleInput) (*struct{}, error) {
	return nil, s.cfg.Service.DeleteSchedule(ctx, service.CallerOf(ctx), in.ID)
}

func (s *server) pauseSchedule(paused bool) func(context.Context, *scheduleInput) (*scheduleOutput, error) {
	return func(ctx context.Context, in *scheduleInput) (*scheduleOutput, error) {
		one, err := s.cfg.Service.PauseSchedule(ctx, service.CallerOf(ctx), in.ID, paused)
		if err != nil {
			return nil, err
		}
		return &scheduleOutput{scheduleView(one, true)}, nil
	}
}

func (s *server) runSchedule(ctx context.Context, in *scheduleInput) (*runScheduleOutput, error) {
	j, err := s.cfg.Service.RunSchedule(ctx, service.CallerOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &runScheduleOutput{Location: jobLocation + j.ID, Body: viewOf(j)}, nil
}

// scheduleView is a schedule with its job, or as in a list.
func scheduleView(sc service.ScheduleInfo, whole bool) ScheduleView {
	v := ScheduleView{
		ID: sc.ID, Name: sc.Name, Cron: sc.Cron, TimeZone: sc.TimeZone, Overlap: sc.Overlap, StartingDeadline: sc.StartingDeadline.Seconds(), Paused: sc.Paused,
		CreatedAt: sc.CreatedAt, UpdatedAt: sc.UpdatedAt, NextRuns: sc.NextRuns, LastSkippedAt: optional(sc.LastSkipped),
		LastError: sc.LastError, LastErrorAt: optional(sc.LastErrorAt),
	}
	if v.TimeZone == "" {
		v.TimeZone = "UTC"
	}
	if v.NextRuns == nil {
		v.NextRuns = []time.Time{}
	}
	if sc.LastJob != "" {
		v.LastRun = &ScheduleRun{JobID: sc.LastJob, At: sc.LastAt, State: sc.LastState}
	}
	if whole {
		v.Jobs, v.Job = sc.Jobs, scheduledJob(sc.Job)
	}
	return v
}

func scheduledJob(r job.Request) *ScheduledJob {
	shown := &ScheduledJob{
		Code: r.Code, Command: r.Command, Program: r.Program, Cwd: r.Cwd, Args: r.Argv, Queue: r.Queue, Runtime: r.Runtime, Packages: r.Packages, Preload: r.Preload, Timeout: r.Timeout, MaxAttempts: r.MaxAttempts, ResultTTL: r.ResultTTL,
		Limits: r.Limits, Metadata: object(r.Metadata),
	}
	for _, f := range r.Files {
		shown.Files = append(shown.Files, f.Path)
	}
	if r.Webhook != nil {
		shown.WebhookURL = r.Webhook.URL
	}
	return shown
}
