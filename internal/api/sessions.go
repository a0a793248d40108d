package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const (
	sessionsTag     = "Sessions"
	sessionLocation = "/v1/sessions/"
)

// SessionBody is the request of a session.
type SessionBody struct {
	Runtime     *string           `json:"runtime,omitempty" nullable:"true" doc:"Name of the runtime of its interpreter; see GET /v1/runtimes. Default: the runner's default one."`
	Packages    []string          `json:"packages,omitempty" nullable:"true" doc:"Packages that its code imports beside those of the runtime: requirements such as requests or pandas==2.2.3. They are installed before its first execution begins. At most 100."`
	Preload     []string          `json:"preload,omitempty" nullable:"true" doc:"Modules of these packages that an interpreter imports ahead, before the code comes, in this order: names such as pandas or matplotlib.pyplot. At most 10. They change no result: the code has to import them, too, which takes no time if they are there."`
	Envs        map[string]string `json:"envs,omitempty" nullable:"true" doc:"Environment variables of all its executions."`
	IdleTimeout *float64          `json:"idleTimeout,omitempty" nullable:"true" doc:"Seconds without use after which it ends. Default 600, ceiling 86400 unless configured otherwise."`
	MaxAge      *float64          `json:"maxAge,omitempty" nullable:"true" doc:"Seconds after which it ends, used or not. Default 28800, ceiling 604800 unless configured otherwise."`
	EndsAt      *time.Time        `json:"endsAt,omitempty" nullable:"true" doc:"Time at which it ends, used or not (RFC 3339), not later than maxAge allows. PATCH moves it. With it, or endsIn, the defaults of idleTimeout and maxAge are their ceilings."`
	EndsIn      *float64          `json:"endsIn,omitempty" nullable:"true" doc:"The same as seconds from now. Not together with endsAt."`
	OnEnd       *string           `json:"onEnd,omitempty" nullable:"true" enum:"end,pause" doc:"Consequence of endsAt: end, or pause (a resume sets the end again, as far ahead as it was when it was set last). Default end."`
	AutoResume  *bool             `json:"autoResume,omitempty" nullable:"true" doc:"With onEnd: pause, the next execution or other operation resumes it."`
	Workdir     *string           `json:"workdir,omitempty" nullable:"true" maxLength:"512" doc:"Path of its working directory. Needs the sandbox level strict. Default: /work." example:"/home/user"`
	Home        *string           `json:"home,omitempty" nullable:"true" maxLength:"512" doc:"Path of the home directory (HOME), which is the working directory, or is in it or in /tmp. Default: the working directory."`
	Persist     *string           `json:"persist,omitempty" nullable:"true" maxLength:"128" doc:"Name of the volume that keeps the files of its working directory: they are there as the last session with it has left them, and are saved at the end of this one, at a pause, and every two minutes. A letter or digit, then letters, digits and any of . _ : @ ~ -" example:"user-7"`
	OnMemory    *string           `json:"onMemoryLimit,omitempty" nullable:"true" enum:"restart,end" doc:"Consequence when its code needs more memory than it may: restart (a fresh interpreter takes the place of the old one; variables and modules are gone, files are kept), end. Default restart."`
	OnCrash     *string           `json:"onCrash,omitempty" nullable:"true" enum:"restart,end" doc:"Consequence when its interpreter crashes, is killed because it does not react to an interrupt, or has used up its processor time: restart (as for onMemoryLimit), end. Default end."`
	Limits      *LimitsBody       `json:"limits,omitempty" doc:"Limits of its code, where they differ from the defaults: all of the session together, but for cpuSeconds, outputBytes, resultBytes and those of calls, which are for each execution."`
	Network     *NetworkBody      `json:"network,omitempty" doc:"Destinations in the network that its code may reach, through a proxy in its sandbox. Default: none."`
	Metadata    object            `json:"metadata,omitempty" doc:"Anything of the caller's own; returned with the session."`
}

// SessionView is a session as callers see it.
type SessionView struct {
	ID          string           `json:"id"`
	Name        string           `json:"name,omitempty" doc:"The name by which its caller has opened it."`
	Owner       string           `json:"owner,omitempty" doc:"Tenant that it belongs to; or key: and the first digits of the digest of a key of the configuration. For operators only."`
	State       job.SessionState `json:"state" enum:"idle,busy,paused,ended" doc:"idle, busy (executions run or wait for their turn), paused (its processes are stopped), ended (see reason)."`
	Runner      string           `json:"runner" doc:"Runner that it lives on."`
	Runtime     string           `json:"runtime" doc:"Runtime of its interpreter."`
	CreatedAt   time.Time        `json:"createdAt"`
	LastUsedAt  time.Time        `json:"lastUsedAt" doc:"End of its last execution, or its creation."`
	ExpiresAt   *time.Time       `json:"expiresAt,omitempty" doc:"When it ends unless it is used again; while it is busy, when it ends because of its age. Absent when it has ended."`
	IdleTimeout float64          `json:"idleTimeout" doc:"Seconds without use after which it ends."`
	MaxAge      float64          `json:"maxAge" doc:"Seconds after which it ends, used or not."`
	EndsAt      *time.Time       `json:"endsAt,omitempty" doc:"The time that was set for its end, if one was."`
	OnEnd       string           `json:"onEnd,omitempty" enum:"pause" doc:"It is paused, and not ended, at endsAt."`
	PausedAt    *time.Time       `json:"pausedAt,omitempty" doc:"Since when it is paused, if it is."`
	PausedUntil *time.Time       `json:"pausedUntil,omitempty" doc:"When it ends unless it is resumed."`
	AutoResume  bool             `json:"autoResume,omitempty" doc:"The next execution or other operation resumes it."`
	Workdir     string           `json:"workdir,omitempty" doc:"The path that was chosen for its working directory, if one was."`
	Home        string           `json:"home,omitempty" doc:"The path that was chosen for HOME, if one was."`
	Persist     *PersistView     `json:"persist,omitempty" doc:"The volume that keeps its files, if one does."`
	Limits      *LimitsBody      `json:"limits,omitempty" doc:"All limits that hold for it, also those that its request has not named; one that is missing is none. Absent in listings."`
	MemoryBytes int64            `json:"memoryBytes,omitempty" doc:"In listings: memory that its sandbox used at most half a minute ago. Forks share the sandbox of their origin."`
	Waiting     int              `json:"waiting" doc:"Executions that wait for their turn."`
	Metadata    object           `json:"metadata,omitempty"`
	Restarts    int              `json:"restarts,omitempty" doc:"How many times its interpreter was replaced because its code needed more memory than it may."`
	ForkedFrom  string           `json:"forkedFrom,omitempty" doc:"The session that it is a fork of."`
	Reason      job.EndReason    `json:"reason,omitempty" enum:"deleted,idle_timeout,max_age,ends_at,pause_limit,runner_lost,drained,evicted,memory_limit,cpu_limit,crashed,killed,start_failed" doc:"Why it has ended."`
	Message     string           `json:"message,omitempty" doc:"The same for people."`
	EndedAt     *time.Time       `json:"endedAt,omitempty"`
}

func sessionView(s job.Session) SessionView {
	onEnd := ""
	if s.AtEnd != nil {
		onEnd = job.OnEndPause
	}
	return SessionView{
		ID: s.ID, Name: s.Name, State: s.State, Runner: s.Runner, Runtime: s.Runtime, CreatedAt: s.CreatedAt, LastUsedAt: s.LastUsed,
		ExpiresAt: optional(s.ExpiresAt), IdleTimeout: s.IdleTimeout.Seconds(), MaxAge: s.MaxAge.Seconds(), EndsAt: optional(s.EndsAt), OnEnd: onEnd, Waiting: s.Waiting, Limits: limitsView(s.Quota), MemoryBytes: s.MemoryBytes, Restarts: s.Restarts,
		PausedAt: optional(s.PausedAt), PausedUntil: optional(s.PausedUntil), AutoResume: s.AutoResume, Workdir: s.Workdir, Home: s.Home, Persist: persistView(s.Persist), Metadata: object(s.Metadata), ForkedFrom: s.ForkedFrom, Reason: s.Reason, Message: s.Message, EndedAt: optional(s.EndedAt),
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
	State    []job.SessionState `query:"state" enum:"idle,busy,paused" doc:"Only sessions in one of these states."`
	Metadata []string           `query:"metadata,explode" doc:"Only sessions whose metadata has a member of this name with this value, as name=value: a string as its characters, any other value as its JSON. May be there several times." example:"[\"user=ada\"]"`
	Cursor   string             `query:"cursor" maxLength:"64" doc:"nextCursor of the page before."`
	Limit    int                `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Sessions per page."`
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
		JobID       string `json:"jobId,omitempty" doc:"The job that is interrupted."`
	}
}

func (s *server) registerSessions() {
	tags := []string{sessionsTag}
	register(s, huma.Operation{
		OperationID: "openSession", Method: http.MethodPost, Path: "/v1/sessions", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary:     "Open a session",
		Description: "A session is an interpreter whose variables, modules, working directory and files stay from one execution to the next. Name it by sessionId when you execute code.",
		Errors:      []int{400, 401, 408, 409, 413, 415, 429, 503},
	}, s.openSession)
	register(s, huma.Operation{
		OperationID: "listSessions", Method: http.MethodGet, Path: "/v1/sessions", Tags: tags,
		Summary:     "List the live sessions of this API key, newest first",
		Description: "With state or metadata a page may have fewer sessions than limit, or none, and a nextCursor all the same.", Errors: []int{400, 401, 429, 503},
	}, s.listSessions)
	register(s, huma.Operation{
		OperationID: "getSession", Method: http.MethodGet, Path: "/v1/sessions/{id}", Tags: tags,
		Summary: "Look a session up, for some time also after its end", Errors: []int{400, 401, 404, 429, 503},
	}, s.getSession)
	s.registerSessionChange()
	s.registerSessionNames()
	s.registerSessionPause()
	s.registerVolumes()
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
}

// request is what the body says; it may be left out.
func (b *SessionBody) request() job.SessionRequest {
	if b == nil {
		return job.SessionRequest{}
	}
	return job.SessionRequest{
		Runtime: value(b.Runtime), Packages: b.Packages, Preload: b.Preload, Envs: b.Envs, Workdir: value(b.Workdir), Home: value(b.Home), Persist: b.Persist, IdleTimeout: b.IdleTimeout, MaxAge: b.MaxAge, EndsIn: b.EndsIn, EndsAt: b.EndsAt, OnEnd: value(b.OnEnd), AutoResume: b.AutoResume != nil && *b.AutoResume, OnMemory: value(b.OnMemory), OnCrash: value(b.OnCrash),
		Limits: b.Limits.request(), Network: b.Network.request(), Metadata: json.RawMessage(b.Metadata),
	}
}

func (s *server) openSession(ctx context.Context, in *openInput) (*openOutput, error) {
	se, err := s.cfg.Service.OpenSession(ctx, service.CallerOf(ctx), in.Body.request())
	if err != nil {
		return nil, err
	}
	return &openOutput{Location: sessionLocation + se.ID, Body: sessionView(se)}, nil
}

func (s *server) getSession(ctx context.Context, in *sessionInput) (*sessionOutput, error) {
	return sessionAnswer(s.cfg.Service.Session(ctx, service.CallerOf(ctx), in.ID))
}

func sessionAnswer(se job.Session, err error) (*sessionOutput, error) {
	if err != nil {
		return nil, err
	}
	return &sessionOutput{Body: sessionView(se)}, nil
}

func (s *server) listSessions(ctx context.Context, in *sessionsInput) (*sessionsOutput, error) {
	filter, err := in.filter()
	if err != nil {
		return nil, err
	}
	caller := service.CallerOf(ctx)
	sessions, next, err := s.cfg.Service.Sessions(ctx, caller, filter)
	if err != nil {
		return nil, err
	}
	out := new(sessionsOutput)
	out.Body.NextCursor = next
	out.Body.Sessions = make([]SessionView, len(sessions))
	for i, se := range sessions {
		out.Body.Sessions[i] = sessionView(se)
		if caller.All() {
			out.Body.Sessions[i].Owner = ownerName(se.Owner)
		}
	}
	return out, nil
}

func (s *server) closeSession(ctx context.Context, in *sessionInput) (*sessionOutput, error) {
	return sessionAnswer(s.cfg.Service.CloseSession(ctx, service.CallerOf(ctx), in.ID))
}

func (s *server) interruptSession(ctx context.Context, in *sessionInput) (*interruptOutput, error) {
	id, err := s.cfg.Service.Interrupt(ctx, service.CallerOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	out := new(interruptOutput)
	out.Body.Interrupted, out.Body.JobID = id != "", id
	return out, nil
}

func (s *server) restartSession(ctx context.Context, in *sessionInput) (*sessionOutput, error) {
	return sessionAnswer(s.cfg.Service.Restart(ctx, service.CallerOf(ctx), in.ID))
}

// sessionProblem words what is wrong with a session.
func sessionProblem(err error) *Problem {
	ended, full, room := (*job.SessionEndedError)(nil), (*job.SessionsFullError)(nil), (*job.SessionRoomError)(nil)
	switch {
	case errors.As(err, &ended):
		p := endedProblem(ended.Reason, ended.Message)
		p.Persist = ended.Volume
		return p
	case errors.Is(err, job.ErrNoSession):
		return newProblem(http.StatusNotFound, "session_not_found", "no session of this API key has this id; check the id, or open a new one: sessions that ended long ago are forgotten")
	case errors.As(err, &full) && full.OfCaller:
		p := tooMuch("too_many_sessions", fmt.Sprintf("this API key has %d sessions, and may have %d; delete one, or wait until one ends", full.Used, full.Limit),
			full.Used, full.Limit, fullRetryAfter)
		if full.OfKey {
			p.KeyLimit = "sessions"
		}
		return p
	case errors.As(err, &room):
		p := newProblem(http.StatusTooManyRequests, string(room.Code()), room.Error()+"; delete a session, or open one with lower limits")
		p.Used, p.Allowed, p.KeyLimit, p.retryAfter = &room.Used, &room.Allowed, room.KeyLimit(), fullRetryAfter
		return p
	case errors.Is(err, job.ErrSessionPaused):
		return newProblem(http.StatusConflict, "session_paused", "the session is paused; resume it first (POST /v1/sessions/{id}/resume), or pause it with autoResume next time")
	case errors.Is(err, service.ErrSessionBusy):
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
