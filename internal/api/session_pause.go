package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/service"
)

// PauseBody is the request of a pause.
type PauseBody struct {
	MaxPause   *float64 `json:"maxPause,omitempty" nullable:"true" doc:"Seconds for which it is kept; it ends then. Default and ceiling 86400 unless configured otherwise."`
	AutoResume *bool    `json:"autoResume,omitempty" nullable:"true" doc:"The next execution or other operation resumes it. Otherwise these are refused until it is resumed."`
}

type pauseInput struct {
	ID   string `path:"id" maxLength:"64" doc:"Id of the session."`
	Body *PauseBody
}

func (s *server) registerSessionPause() {
	tags := []string{sessionsTag}
	register(s, huma.Operation{
		OperationID: "pauseSession", Method: http.MethodPost, Path: "/v1/sessions/{id}/pause", Tags: tags,
		Summary: "Pause a session: stop all its processes",
		Description: "After what was accepted before; interrupt that first if it is not to be waited for. Variables, processes and connections stay, and no process runs. " +
			"The time without use does not count while it is paused; its age and endsAt do.",
		Errors: []int{400, 401, 404, 408, 409, 410, 413, 415, 429, 502, 503, 504},
	}, s.pauseSession)
	register(s, huma.Operation{
		OperationID: "resumeSession", Method: http.MethodPost, Path: "/v1/sessions/{id}/resume", Tags: tags,
		Summary: "Resume a paused session", Description: "A session that is not paused stays as it is.",
		Errors: []int{400, 401, 404, 408, 410, 413, 415, 429, 502, 503, 504},
	}, s.resumeSession)
}

func (s *server) pauseSession(ctx context.Context, in *pauseInput) (*sessionOutput, error) {
	var b PauseBody
	if in.Body != nil {
		b = *in.Body
	}
	return sessionAnswer(s.cfg.Service.PauseSession(ctx, service.CallerOf(ctx), in.ID, b.MaxPause, b.AutoResume != nil && *b.AutoResume))
}

func (s *server) resumeSession(ctx context.Context, in *sessionInput) (*sessionOutput, error) {
	return sessionAnswer(s.cfg.Service.ResumeSession(ctx, service.CallerOf(ctx), in.ID))
}
