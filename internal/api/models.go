package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
)

// ExecuteBody is the request of an execution.
type ExecuteBody struct {
	Code     string            `json:"code,omitempty" doc:"Python source to execute. Required unless there is command or argv." example:"print(42)"`
	Command  *string           `json:"command,omitempty" nullable:"true" doc:"A shell line to execute instead of code, by bash where there is one, else by sh. At most 131071 bytes."`
	Program  []string          `json:"argv,omitempty" nullable:"true" doc:"A program, as a name or path, and its arguments, to execute instead of code without a shell. At most 1000, and 65536 bytes in all unless configured otherwise."`
	Cwd      *string           `json:"cwd,omitempty" nullable:"true" doc:"Directory in which the code, command or argv begins. A relative path begins at the working directory, which is the default. The next execution of a session is where it was before."`
	Timeout  *float64          `json:"timeout,omitempty" nullable:"true" doc:"Seconds the code may run, fractions allowed. Default 60, ceiling 3600 unless configured otherwise."`
	Envs     map[string]string `json:"envs,omitempty" nullable:"true" doc:"Environment variables of the code and of the processes that it starts."`
	Stdin    *string           `json:"stdin,omitempty" nullable:"true" doc:"Content of standard input; end of file when absent."`
	Args     []string          `json:"args,omitempty" nullable:"true" doc:"Arguments of the program: sys.argv after its first item. At most 1000, and 65536 bytes in all unless configured otherwise. Not together with sessionId."`
	Runtime  *string           `json:"runtime,omitempty" nullable:"true" doc:"Name of the runtime that executes it; see GET /v1/runtimes. Default: the runner's default one."`
	Packages []string          `json:"packages,omitempty" nullable:"true" doc:"Packages of the index that the code imports, beside those of the runtime: requirements such as requests or pandas==2.2.3. They are installed before the code begins, once for all jobs with the same packages. At most 100. Not together with sessionId."`
	Preload  []string          `json:"preload,omitempty" nullable:"true" doc:"Modules of these packages that an interpreter imports ahead, before the code comes, in this order: names such as pandas or matplotlib.pyplot. At most 10. They change no result: the code has to import them, too, which takes no time if they are there. Not together with sessionId."`
	Session  *string           `json:"sessionId,omitempty" nullable:"true" doc:"Session to execute it in, after what was accepted for it before; see POST /v1/sessions. Default: a fresh interpreter. Not together with args, runtime, queue, delay, runAt and maxAttempts; of limits only cpuSeconds, outputBytes, resultBytes and those of calls."`
	Context  *string           `json:"contextId,omitempty" nullable:"true" maxLength:"64" doc:"Context of the session to execute it in, after what was accepted for that before; see POST /v1/sessions/{id}/contexts. Default: default, the session's own interpreter."`
	Limits   *LimitsBody       `json:"limits,omitempty" doc:"Limits of the code, where they differ from the defaults. Each is within a ceiling that the operator sets."`
	Files    []FileBody        `json:"files,omitempty" nullable:"true" doc:"Files to put into the working directory before the code begins. At most 100, and 16777216 bytes in all, unless configured otherwise."`

	Cases              []CaseBody   `json:"cases,omitempty" nullable:"true" doc:"Tests of the program: it runs once for each of them, in a fresh sandbox, and cases of the result have the verdicts. At most 1000. Not together with sessionId, stdin and functions."`
	Checker            *CheckerBody `json:"checker,omitempty" doc:"Judges the output of cases without a checker of their own."`
	CaseTimeout        *float64     `json:"caseTimeout,omitempty" nullable:"true" doc:"Seconds that the program may run in each case. Default 10, or timeout if that is shorter. timeout bounds all cases together."`
	StopAtFirstFailure *bool        `json:"stopAtFirstFailure,omitempty" nullable:"true" doc:"Skip the cases after the first one that is not accepted."`

	Functions []FunctionBody `json:"functions,omitempty" nullable:"true" doc:"Functions of yours that the code may call, while you follow its events and answer. At most 128. Only with events or as a job, and not with command or argv."`

	Network *NetworkBody `json:"network,omitempty" doc:"Destinations in the network that the code may reach, through a proxy in its sandbox. Default: none. Not together with sessionId and cases."`

	job.Options
}

// JobBody is the request of a job: an execution, and how to run it.
type JobBody struct {
	ExecuteBody
	Queue       *string    `json:"queue,omitempty" nullable:"true" doc:"Queue to put it on; see GET /v1/queues. Default: default."`
	Delay       *float64   `json:"delay,omitempty" nullable:"true" doc:"Seconds to wait before it is due. Not together with runAt."`
	RunAt       *time.Time `json:"runAt,omitempty" nullable:"true" doc:"Time at which it is due (RFC 3339). Not together with delay."`
	After       *string    `json:"after,omitempty" nullable:"true" maxLength:"64" doc:"Id of a batch: the job is due once that has ended, whatever became of its jobs. Not together with delay, runAt and sessionId."`
	MaxAttempts *whole     `json:"maxAttempts,omitempty" nullable:"true" doc:"How often the code may be started. More than 1 allows another start when a runner is lost; code that fails is never run again. Default 1."`
	ResultTTL   *float64   `json:"resultTtl,omitempty" nullable:"true" doc:"Seconds the job and its result are kept after its end. Default 3600."`
	Metadata    object     `json:"metadata,omitempty" doc:"Anything of the caller's own; returned with the job."`
	Webhook     *HookBody  `json:"webhook,omitempty" doc:"Where to send the job when it has ended."`
	Events      *bool      `json:"events,omitempty" nullable:"true" doc:"A client will follow it live (GET /v1/jobs/{id}/events): keep its events from the start. Without it they begin when the first follower comes."`
}

// HookBody asks for a webhook.
type HookBody struct {
	URL    string  `json:"url" doc:"Gets a POST with the job. https, and a public address." example:"https://example.com/kaa"`
	Secret *string `json:"secret,omitempty" nullable:"true" doc:"Signs the message (Kaa-Signature). Never shown again."`
}

// TransformSchema lets null stand for absent.
func (HookBody) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Nullable = true
	return s
}

func (b *HookBody) request() *job.WebhookRequest {
	if b == nil {
		return nil
	}
	return &job.WebhookRequest{URL: b.URL, Secret: job.Secret(value(b.Secret))}
}

// JobView is a job as callers see it.
type JobView struct {
	ID              string            `json:"id"`
	State           job.State         `json:"state" enum:"scheduled,queued,running,completed,cancelled,failed" doc:"scheduled (not due yet), queued, running, completed (the code ran: see result), cancelled, failed (see failure)."`
	Installation    *job.Installation `json:"installation,omitempty" doc:"How far the installation is for which the job waits, with waitsFor packages."`
	WaitsFor        job.Wait          `json:"waitsFor,omitempty" enum:"session,key,slot,runner,paused,batch,packages" doc:"Why a job that is looked up by itself does not run yet. batch: it is to run after a batch, which has not ended; else it is queued. session: earlier executions of its session. key: other jobs of its API key, which has its share or has these before it. slot: a free slot of a runner that takes its queue. runner: no runner takes its queue. paused: an operator has paused its queue. packages: its packages are being installed."`
	Queue           string            `json:"queue"`
	Attempt         int               `json:"attempt" doc:"How often the code was started."`
	MaxAttempts     int               `json:"maxAttempts"`
	Earlier         []job.PastAttempt `json:"earlierAttempts,omitempty" nullable:"false" doc:"Attempts before the last one, if there were any."`
	Owner           string            `json:"owner,omitempty" doc:"Tenant that it belongs to; or key: and the first digits of the digest of a key of the configuration. For operators only."`
	CreatedAt       time.Time         `json:"createdAt"`
	ScheduledAt     *time.Time        `json:"scheduledAt,omitempty" doc:"When it is or was due, if it was delayed, or the time of the schedule's run that it is for."`
	After           string            `json:"after,omitempty" doc:"The batch after whose end it is due."`
	QueuedAt        *time.Time        `json:"queuedAt,omitempty" doc:"When it last became ready to run; absent while it is scheduled."`
	StartedAt       *time.Time        `json:"startedAt,omitempty" doc:"Start of the last attempt."`
	FinishedAt      *time.Time        `json:"finishedAt,omitempty"`
	Runner          string            `json:"runner,omitempty" doc:"Runner of the last attempt."`
	SessionID       string            `json:"sessionId,omitempty" doc:"Interpreter of the last attempt, or the session that it is an execution of."`
	ContextID       string            `json:"contextId,omitempty" doc:"Context of the session, if it is not the default one."`
	ScheduleID      string            `json:"scheduleId,omitempty" doc:"Schedule that made it."`
	RerunOf         string            `json:"rerunOf,omitempty" doc:"The job that it runs again."`
	PID             int               `json:"pid,omitempty" doc:"Process id of a command of a session that runs, as the session sees it."`
	Runtime         string            `json:"runtime,omitempty" doc:"Runtime that was asked for; absent for the default one."`
	PackageSet      string            `json:"packageSet,omitempty" doc:"Name of the set of packages that was asked for. Jobs with the same packages have the same set."`
	Timeout         float64           `json:"timeout" doc:"Seconds the code may run."`
	ResultTTL       float64           `json:"resultTtl" doc:"Seconds the job is kept after its end."`
	BatchID         string            `json:"batchId,omitempty" doc:"The batch that it is of."`
	BatchIndex      *int64            `json:"batchIndex,omitempty" doc:"Its number in that, from 0."`
	Metadata        object            `json:"metadata,omitempty"`
	Webhook         *job.Webhook      `json:"webhook,omitempty" doc:"The message at its end, if one was asked for."`
	CancelRequested bool              `json:"cancelRequested,omitempty" doc:"Its owner has asked for its end, which is under way."`
	Failure         *job.Failure      `json:"failure,omitempty" doc:"Why Kaa did not carry it out."`
	Status          job.Status        `json:"status,omitempty" enum:"ok,error,interrupted,exit" doc:"How its code ended, as in result; in listings, too."`
	Result          *job.Result       `json:"result,omitempty" doc:"Output and end of the execution; absent in listings."`
	Output          *job.OutputSoFar  `json:"output,omitempty" doc:"The beginning and the end of the output of a command of a session, while it runs. Of those in the background, and of those that are followed."`
}

func viewOf(j job.Job) JobView {
	runtime, set := job.SplitPackages(j.Runtime)
	v := JobView{
		ID: j.ID, State: j.State, WaitsFor: j.WaitsFor, Installation: j.Installation, Queue: j.Queue, Attempt: j.Attempt, MaxAttempts: j.MaxAttempts, Earlier: j.Earlier,
		CreatedAt: j.CreatedAt, ScheduledAt: optional(j.ScheduledAt), After: j.After, QueuedAt: optional(j.QueuedAt), StartedAt: optional(j.StartedAt), FinishedAt: optional(j.FinishedAt),
		Runner: j.Runner, SessionID: j.SessionID, ContextID: j.ContextID(), ScheduleID: j.ScheduleID, RerunOf: j.RerunOf, Runtime: runtime, PackageSet: set, Timeout: j.Timeout.Seconds(), ResultTTL: j.ResultTTL.Seconds(),
		Metadata: object(j.Metadata), Webhook: j.Webhook, CancelRequested: j.CancelRequested, Failure: j.Failure, Status: j.Status, Result: j.Result, Output: j.SoFar,
	}
	if j.State == job.Running {
		v.PID = j.PID
	}
	if batch, index, ok := job.BatchOf(j.ID); ok {
		v.BatchID, v.BatchIndex = batch, &index
	}
	return v
}

// WebhookBody is the message of a job's end: the job as GET shows it.
func WebhookBody(j job.Job) ([]byte, error) {
	return json.Marshal(struct {
		Type string  `json:"type"`
		Job  JobView `json:"job"`
	}{"job.finished", viewOf(j)})
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (b ExecuteBody) request() job.Request {
	return job.Request{
		Code: b.Code, Command: value(b.Command), Program: b.Program, Cwd: value(b.Cwd), Timeout: b.Timeout, Envs: b.Envs, Stdin: value(b.Stdin), Runtime: value(b.Runtime), Packages: b.Packages, Preload: b.Preload, Limits: b.Limits.request(), SessionID: value(b.Session), ContextID: value(b.Context),
		Argv: b.Args, Options: b.Options, Files: fileRequests(b.Files), Functions: functionsOf(b.Functions),
		Cases: b.cases(), Network: b.Network.request(),
	}
}

func (b JobBody) request() job.Request {
	r := b.ExecuteBody.request()
	r.Queue, r.Delay, r.RunAt, r.MaxAttempts, r.ResultTTL = value(b.Queue), b.Delay, b.RunAt, b.MaxAttempts.int(), b.ResultTTL
	r.After = value(b.After)
	r.Metadata, r.Webhook = json.RawMessage(b.Metadata), b.Webhook.request()
	r.Events = b.Events != nil && *b.Events
	return r
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// whole is a whole number however it is written: 2, 2.0 and 2e0 are one in JSON.
type whole int64

// Schema describes it to huma.
func (whole) Schema(huma.Registry) *huma.Schema { return &huma.Schema{Type: huma.TypeInteger} }

// UnmarshalJSON reads it; one that no int can hold becomes one that no limit allows.
func (w *whole) UnmarshalJSON(b []byte) error {
	var f float64
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	const most = 1 << 53 // beyond it a float64 skips numbers
	*w = whole(max(-most, min(most, f)))
	return nil
}

// int returns it as one that every machine has.
func (w *whole) int() *int {
	if w == nil {
		return nil
	}
	return new(int(max(math.MinInt32, min(math.MaxInt32, *w))))
}

// object is a JSON object kept as the caller wrote it, numbers and all.
type object json.RawMessage

// Schema describes it to huma.
func (object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Nullable: true, AdditionalProperties: true}
}

// MarshalJSON writes it as it came.
func (o object) MarshalJSON() ([]byte, error) { return json.RawMessage(o).MarshalJSON() }

// UnmarshalJSON keeps the text; null means absent.
func (o *object) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		*o = nil
		return nil
	}
	*o = bytes.Clone(b)
	return nil
}

// seconds reads "30s", "1m30s" or plain seconds.
func seconds(s string) (time.Duration, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil && f >= 0 && f < 1e6 {
		return time.Duration(f * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a duration; write seconds (30) or a unit (30s)", s)
	}
	return d, nil
}

// FileBody is a file that comes with a request.
type FileBody struct {
	Path          string  `json:"path" doc:"Where to put it, relative to the working directory." example:"data/in.csv"`
	Content       *string `json:"content,omitempty" nullable:"true" doc:"Its content, if that is text. This or contentBase64."`
	ContentBase64 *string `json:"contentBase64,omitempty" nullable:"true" doc:"Its content, in standard base64 with padding."`
}

// fileRequests are the files of a JSON body.
func fileRequests(files []FileBody) []job.FileRequest {
	var all []job.FileRequest
	for _, f := range files {
		all = append(all, job.FileRequest{Path: f.Path, Content: f.Content, ContentBase64: f.ContentBase64})
	}
	return all
}
