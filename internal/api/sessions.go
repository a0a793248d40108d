package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/job"
)

// Sessions is what opening and ending sessions needs of the store. A caller sees its own
// sessions only, unless he may see all.
type Sessions interface {
	OpenSession(ctx context.Context, n job.NewSession) (job.Session, error)
	Session(ctx context.Context, id string, v job.Viewer) (job.Session, error)
	ListSessions(ctx context.Context, v job.Viewer, cursor string, limit int) (sessions []job.Session, next string, err error)
	CloseSession(ctx context.Context, id string, v job.Viewer, end job.SessionEnd) error
	// InterruptSession returns the job that is interrupted; empty if nothing is executed.
	InterruptSession(ctx context.Context, id, caller string) (string, error)
}

const (
	sessionsTag     = "Sessions"
	sessionLocation = "/v1/sessions/"
	// opTimeout bounds what is done to a session besides executing code; it may also have
	// to wait for what the session executes.
	opTimeout = 30 * time.Second
	// slowestMove is how many bytes a second of the files that are put into a session are moved
	// to its runner at least.
	slowestMove = 4 << 20
	// opKept is how long its record stays, and readKept how long that of a file that is read,
	// with the blob: longer than a download takes.
	opKept   = time.Minute
	readKept = 15 * time.Minute
)

// SessionBody is the request of a session.
type SessionBody struct {
	Runtime     *string           `json:"runtime,omitempty" nullable:"true" doc:"Name of the runtime of its interpreter; see GET /v1/runtimes. Default: the runner's default one."`
	Envs        map[string]string `json:"envs,omitempty" nullable:"true" doc:"Environment variables of all its executions."`
	IdleTimeout *float64          `json:"idleTimeout,omitempty" nullable:"true" doc:"Seconds without use after which it ends. Default 600, ceiling 86400 unless configured otherwise."`
	MaxAge      *float64          `json:"maxAge,omitempty" nullable:"true" doc:"Seconds after which it ends, used or not. Default 28800, ceiling 604800 unless configured otherwise."`
	OnMemory    *string           `json:"onMemoryLimit,omitempty" nullable:"true" enum:"restart,end" doc:"What becomes of it when its code needs more memory than it may: restart (a fresh interpreter takes the place of the old one; variables and modules are gone, files are kept), end. Default restart."`
	Limits      *LimitsBody       `json:"limits,omitempty" doc:"What its code may use, where that differs from the defaults: all of the session together, but for cpuSeconds, outputBytes and resultBytes, which are for each execution."`
	Metadata    object            `json:"metadata,omitempty" doc:"Anything of the caller's own; returned with the session."`
}

// SessionView is a session as callers see it.
type SessionView struct {
	ID          string           `json:"id"`
	State       job.SessionState `json:"state" enum:"idle,busy,ended" doc:"idle, busy (executions run or wait for their turn), ended (see reason)."`
	Runner      string           `json:"runner" doc:"Runner that it lives on."`
	Runtime     string           `json:"runtime" doc:"Runtime of its interpreter."`
	CreatedAt   time.Time        `json:"createdAt"`
	LastUsedAt  time.Time        `json:"lastUsedAt" doc:"End of its last execution, or its creation."`
	ExpiresAt   *time.Time       `json:"expiresAt,omitempty" doc:"When it ends unless it is used again; while it is busy, when it ends because of its age. Absent when it has ended."`
	IdleTimeout float64          `json:"idleTimeout" doc:"Seconds without use after which it ends."`
	MaxAge      float64          `json:"maxAge" doc:"Seconds after which it ends, used or not."`
	Waiting     int              `json:"waiting" doc:"Executions that wait for their turn."`
	Metadata    object           `json:"metadata,omitempty"`
	Restarts    int              `json:"restarts,omitempty" doc:"How many times its interpreter was replaced because its code needed more memory than it may."`
	ForkedFrom  string           `json:"forkedFrom,omitempty" doc:"The session that it began as a copy of."`
	Reason      job.EndReason    `json:"reason,omitempty" enum:"deleted,idle_timeout,max_age,runner_lost,drained,evicted,memory_limit,cpu_limit,crashed,killed,start_failed" doc:"Why it has ended."`
	Message     string           `json:"message,omitempty" doc:"The same for people."`
	EndedAt     *time.Time       `json:"endedAt,omitempty"`
}

func sessionView(s job.Session) SessionView {
	return SessionView{
		ID: s.ID, State: s.State, Runner: s.Runner, Runtime: s.Runtime, CreatedAt: s.CreatedAt, LastUsedAt: s.LastUsed,
		ExpiresAt: optional(s.ExpiresAt), IdleTimeout: s.IdleTimeout.Seconds(), MaxAge: s.MaxAge.Seconds(), Waiting: s.Waiting, Restarts: s.Restarts,
		Metadata: object(s.Metadata), ForkedFrom: s.ForkedFrom, Reason: s.Reason, Message: s.Message, EndedAt: optional(s.EndedAt),
	}
}

type openInput struct {
	Body *SessionBody
}

type openOutput struct {
	Location string `header:"Location"`
	Body     SessionView
}

type sessionInput struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the session."`
}

type sessionOutput struct{ Body SessionView }

type sessionsInput struct {
	Cursor string `query:"cursor" maxLength:"64" doc:"nextCursor of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Sessions per page."`
}

type sessionsOutput struct {
	Body struct {
		Sessions   []SessionView `json:"sessions" nullable:"false" doc:"Those of this API key that live, newest first."`
		NextCursor string        `json:"nextCursor,omitempty" doc:"For the next page; absent on the last."`
	}
}

type interruptOutput struct {
	Body struct {
		Interrupted bool   `json:"interrupted" doc:"Whether something was executed, whose end is under way."`
		JobID       string `json:"jobId,omitempty" doc:"The job of what is interrupted."`
	}
}

func (s *server) registerSessions() {
	tags := []string{sessionsTag}
	register(s, huma.Operation{
		OperationID: "openSession", Method: http.MethodPost, Path: "/v1/sessions", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary:     "Open a session",
		Description: "A session is an interpreter whose variables, modules, working directory and files stay from one execution to the next. Name it by sessionId when you execute code.",
		Errors:      []int{400, 401, 408, 413, 415, 429, 503},
	}, s.openSession)
	register(s, huma.Operation{
		OperationID: "listSessions", Method: http.MethodGet, Path: "/v1/sessions", Tags: tags,
		Summary: "List the live sessions of this API key, newest first", Errors: []int{400, 401, 429, 503},
	}, s.listSessions)
	register(s, huma.Operation{
		OperationID: "getSession", Method: http.MethodGet, Path: "/v1/sessions/{id}", Tags: tags,
		Summary: "Look a session up, for some time also after its end", Errors: []int{400, 401, 404, 429, 503},
	}, s.getSession)
	register(s, huma.Operation{
		OperationID: "closeSession", Method: http.MethodDelete, Path: "/v1/sessions/{id}", Tags: tags,
		Summary: "End a session, with all that it executes", Errors: []int{400, 401, 404, 410, 429, 503},
	}, s.closeSession)
	register(s, huma.Operation{
		OperationID: "interruptSession", Method: http.MethodPost, Path: "/v1/sessions/{id}/interrupt", Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary:     "Interrupt what a session executes",
		Description: "The code gets a KeyboardInterrupt; what waits in the session is executed after it. If the code does not end, the interpreter is killed and the session with it.",
		Errors:      []int{400, 401, 404, 408, 410, 413, 415, 429, 503},
	}, s.interruptSession)
	register(s, huma.Operation{
		OperationID: "restartSession", Method: http.MethodPost, Path: "/v1/sessions/{id}/restart", Tags: tags,
		Summary:     "Give a session a fresh interpreter",
		Description: "After what was accepted before; interrupt that first if it is not to be waited for. Variables, modules and files are gone.",
		Errors:      []int{400, 401, 404, 408, 410, 413, 415, 429, 502, 503, 504},
	}, s.restartSession)
	s.registerSessionFiles()
	s.registerBranches(tags)
}

func (s *server) openSession(ctx context.Context, in *openInput) (*openOutput, error) {
	var body SessionBody
	if in.Body != nil {
		body = *in.Body
	}
	limits := s.cfg.Limits
	runners, err := s.cfg.Fleet.Runners(ctx)
	if err != nil {
		return nil, err
	}
	for _, rt := range job.Runtimes(runners) {
		limits.Runtimes = append(limits.Runtimes, rt.Name)
	}
	se, spec, err := limits.AcceptSession(job.SessionRequest{
		Runtime: value(body.Runtime), Envs: body.Envs, IdleTimeout: body.IdleTimeout, MaxAge: body.MaxAge, OnMemory: value(body.OnMemory),
		Limits: body.Limits.request(), Metadata: json.RawMessage(body.Metadata),
	})
	if err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make session id: %w", err)
	}
	se.ID = id.String()
	se, err = s.cfg.Sessions.OpenSession(ctx, job.NewSession{
		Session: se, Spec: spec, Caller: shortCaller(ctx), Shares: s.fair, Candidates: job.Candidates(runners, se.Runtime),
	})
	if err != nil {
		return nil, err
	}
	return &openOutput{Location: sessionLocation + se.ID, Body: sessionView(se)}, nil
}

// checkSession refuses what cannot be the id of a session before it becomes a part of a key.
func checkSession(id string) error {
	if uuid.Validate(id) != nil || len(id) != uuidLength {
		return fmt.Errorf("look for session: %w", job.ErrNoSession)
	}
	return nil
}

func (s *server) getSession(ctx context.Context, in *sessionInput) (*sessionOutput, error) {
	if err := checkSession(in.ID); err != nil {
		return nil, err
	}
	se, err := s.cfg.Sessions.Session(ctx, in.ID, viewerOf(ctx))
	if err != nil {
		return nil, err
	}
	return &sessionOutput{Body: sessionView(se)}, nil
}

func (s *server) listSessions(ctx context.Context, in *sessionsInput) (*sessionsOutput, error) {
	if in.Cursor != "" && (uuid.Validate(in.Cursor) != nil || len(in.Cursor) != uuidLength) {
		const msg = "is not a cursor; send the nextCursor of the page before"
		return nil, badRequest("query.cursor: "+msg, FieldIssue{"query.cursor", msg})
	}
	sessions, next, err := s.cfg.Sessions.ListSessions(ctx, viewerOf(ctx), in.Cursor, in.Limit)
	if err != nil {
		return nil, err
	}
	out := new(sessionsOutput)
	out.Body.NextCursor = next
	out.Body.Sessions = make([]SessionView, len(sessions))
	for i, se := range sessions {
		out.Body.Sessions[i] = sessionView(se)
	}
	return out, nil
}

func (s *server) closeSession(ctx context.Context, in *sessionInput) (*sessionOutput, error) {
	if err := checkSession(in.ID); err != nil {
		return nil, err
	}
	viewer, end := viewerOf(ctx), job.SessionEnd{Reason: job.EndDeleted, Message: "its owner deleted it"}
	if viewer.All {
		end.Message = "it was deleted with an admin key"
	}
	err := s.cfg.Sessions.CloseSession(ctx, in.ID, viewer, end)
	if err != nil {
		return nil, err
	}
	return s.getSession(ctx, in)
}

func (s *server) interruptSession(ctx context.Context, in *sessionInput) (*interruptOutput, error) {
	if err := checkSession(in.ID); err != nil {
		return nil, err
	}
	id, err := s.cfg.Sessions.InterruptSession(ctx, in.ID, shortCaller(ctx))
	if err != nil {
		return nil, err
	}
	out := new(interruptOutput)
	out.Body.Interrupted, out.Body.JobID = id != "", id
	return out, nil
}

func (s *server) restartSession(ctx context.Context, in *sessionInput) (*sessionOutput, error) {
	if _, err := s.operate(ctx, in.ID, job.OpRestart, nil); err != nil {
		return nil, err
	}
	return s.getSession(ctx, in)
}

// operate has something done to a session in the order of its executions, and returns what
// the runner answers.
func (s *server) operate(ctx context.Context, session, op string, args any) (json.RawMessage, error) {
	j, err := s.operation(ctx, session, job.Spec{Op: op}, args)
	return j.Data, err
}

// operation is operate with all that the runner is to be told, files included; it returns the
// job.
func (s *server) operation(ctx context.Context, session string, spec job.Spec, args any) (job.Job, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return job.Job{}, fmt.Errorf("make job id: %w", err)
	}
	return s.operationAs(ctx, session, id, spec, args)
}

// operationAs is operation with the id that the job gets.
func (s *server) operationAs(ctx context.Context, session string, id uuid.UUID, spec job.Spec, args any) (job.Job, error) {
	if err := checkSession(session); err != nil {
		return job.Job{}, err
	}
	end, p := s.cfg.Hub.beginCall(shortCaller(ctx), s.cfg.MaxSyncWaits)
	if p != nil {
		return job.Job{}, p
	}
	defer end()
	var err error
	if spec.Args, err = json.Marshal(args); err != nil {
		return job.Job{}, fmt.Errorf("encode the arguments of %s: %w", spec.Op, err)
	}
	spec.Timeout = opTimeout
	for _, f := range spec.Files {
		spec.Timeout += time.Duration(f.Size) * (time.Second / slowestMove)
	}
	now := time.Now()
	draft := job.NewJob{
		Job: job.Job{
			ID: id.String(), State: job.Queued, Queue: job.OperationQueue, MaxAttempts: 1, CreatedAt: now, QueuedAt: now,
			SessionID: session, InSession: true, Timeout: spec.Timeout, ResultTTL: opKept,
		},
		Spec: spec, Caller: shortCaller(ctx), Subscriber: s.cfg.Hub.Subscriber,
	}
	if spec.Op == job.OpReadFile {
		draft.Job.ResultTTL = readKept
	}
	j, err := s.createAndWait(ctx, draft)
	s.dropInputs(ctx, draft)
	if err != nil {
		return job.Job{}, err
	}
	if j.State != job.Completed {
		return job.Job{}, &endError{j}
	}
	return j, nil
}

// sessionProblem words what is wrong with a session.
func sessionProblem(err error) *Problem {
	ended, full := (*job.SessionEndedError)(nil), (*job.SessionsFullError)(nil)
	switch {
	case errors.As(err, &ended):
		return endedProblem(ended.Reason, ended.Message)
	case errors.Is(err, job.ErrNoSession):
		return newProblem(http.StatusNotFound, "session_not_found", "no session of this API key has this id; check the id, or open a new one: sessions that ended long ago are forgotten")
	case errors.As(err, &full) && full.OfCaller:
		p := newProblem(http.StatusTooManyRequests, "too_many_sessions",
			fmt.Sprintf("this API key has %d sessions, which is all it may; delete one, or wait until one ends", full.Limit))
		p.Limit = &full.Limit
		return p
	case errors.Is(err, errSessionBusy):
		p := newProblem(http.StatusServiceUnavailable, "session_busy",
			"what was accepted for the session before took too long, so this was cancelled; try again, submit it to /v1/jobs, or interrupt the session")
		p.retryAfter = time.Second
		return p
	case errors.Is(err, job.ErrNoRunner):
		p := newProblem(http.StatusServiceUnavailable, "no_runner", "no runner that takes sessions offers this runtime now; try again later")
		p.retryAfter = 5 * time.Second
		return p
	}
	p := newProblem(http.StatusServiceUnavailable, "sessions_full", "no runner has room for another session; try again when one has ended")
	p.retryAfter = 5 * time.Second
	return p
}

func endedProblem(reason job.EndReason, message string) *Problem {
	p := newProblem(http.StatusGone, string(job.FailSessionEnded), "the session has ended: "+message+"; open a new one")
	p.Reason = string(reason)
	return p
}
