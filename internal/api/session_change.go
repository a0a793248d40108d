package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const (
	// maxMatches is how many members of the metadata a list may ask for, and maxMatch the length of one with its value.
	maxMatches = 8
	maxMatch   = 1024
)

// SessionChangeBody is a change of a session. A member that is left out keeps what it is about.
type SessionChangeBody struct {
	IdleTimeout *float64      `json:"idleTimeout,omitempty" nullable:"true" doc:"Seconds without use after which it ends, counted from its last use."`
	MaxAge      *float64      `json:"maxAge,omitempty" nullable:"true" doc:"Seconds after its creation at which it ends, used or not."`
	EndsAt      clearableTime `json:"endsAt,omitzero" doc:"Time at which it ends, used or not (RFC 3339), not later than maxAge allows; null removes it."`
	EndsIn      *float64      `json:"endsIn,omitempty" nullable:"true" doc:"The same as seconds from now. Not together with endsAt."`
	OnlyLater   *bool         `json:"onlyLater,omitempty" nullable:"true" doc:"The end that was set stays if endsAt or endsIn is earlier. So one of several users of a session does not shorten it for the others."`
	OnEnd       *string       `json:"onEnd,omitempty" nullable:"true" enum:"end,pause" doc:"Consequence of endsAt: end, or pause."`
	AutoResume  *bool         `json:"autoResume,omitempty" nullable:"true" doc:"With onEnd: pause, the next execution or other operation resumes it."`
	Metadata    object        `json:"metadata,omitempty" doc:"Replaces all of its metadata."`
}

// clearableTime is a time that null removes.
type clearableTime struct {
	time *time.Time
	none bool
}

// Schema describes it to huma.
func (clearableTime) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Nullable: true}
}

// UnmarshalJSON distinguishes null from a member that is left out.
func (t *clearableTime) UnmarshalJSON(b []byte) error {
	if t.none = bytes.Equal(b, []byte("null")); t.none {
		return nil
	}
	if err := json.Unmarshal(b, &t.time); err != nil {
		return fmt.Errorf("read time: %w", err)
	}
	return nil
}

type changeSessionInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Id of the session."`
	Body SessionChangeBody
}

func (s *server) registerSessionChange() {
	register(s, huma.Operation{
		OperationID: "changeSession", Method: http.MethodPatch, Path: "/v1/sessions/{id}", Tags: []string{sessionsTag},
		Summary:     "Change the timeouts, the end or the metadata of a session",
		Description: "The earliest of the idle timeout, the age and the end that was set counts. A session whose time is over ends within a second.",
		Errors:      []int{400, 401, 404, 408, 410, 413, 415, 429, 503},
	}, s.changeSession)
}

func (s *server) changeSession(ctx context.Context, in *changeSessionInput) (*sessionOutput, error) {
	b := in.Body
	return sessionAnswer(s.cfg.Service.ChangeSession(ctx, service.CallerOf(ctx), in.ID, job.SessionChangeRequest{
		IdleTimeout: b.IdleTimeout, MaxAge: b.MaxAge, EndsIn: b.EndsIn, EndsAt: b.EndsAt.time, NoEnd: b.EndsAt.none,
		OnlyLater: b.OnlyLater != nil && *b.OnlyLater, OnEnd: value(b.OnEnd), AutoResume: b.AutoResume != nil && *b.AutoResume, Metadata: json.RawMessage(b.Metadata),
	}))
}

// filter is what the query of a list of sessions selects.
func (in *sessionsInput) filter() (job.SessionFilter, error) {
	f := job.SessionFilter{States: in.State, Cursor: in.Cursor, Limit: in.Limit}
	refuse := func(field, msg string) (job.SessionFilter, error) {
		return f, badRequest(field+": "+msg, FieldIssue{field, msg})
	}
	if in.Cursor != "" && !service.IsID(in.Cursor) {
		return refuse("query.cursor", "is not a cursor; send the nextCursor of the page before")
	}
	var msg string
	if f.Metadata, msg = matchesOf(in.Metadata); msg != "" {
		return refuse("query.metadata", msg)
	}
	return f, nil
}
