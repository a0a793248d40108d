package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

type eventsInput struct {
	ID          string `path:"id" maxLength:"64" doc:"Id of the job."`
	LastEventID string `header:"Last-Event-ID" maxLength:"64" doc:"Goes on after the event of this id."`
	After       string `query:"lastEventId" maxLength:"64" doc:"The same, for those who cannot set a header."`
}

type eventsOutput struct {
	Status int
	Body   func(huma.Context)
}

func (s *server) registerEvents() {
	register(s, huma.Operation{
		OperationID: "followJob", Method: http.MethodGet, Path: "/v1/jobs/{id}/events", Tags: []string{jobsTag},
		Summary: "Follow a job live",
		Description: "Server-sent events from the job's beginning, or from Last-Event-ID on, until its end: output as it is written, errors, changes of state. " +
			"The last event is a status with a final state.",
		Responses: map[string]*huma.Response{
			"200": {Description: "The events.", Content: map[string]*huma.MediaType{eventStream: eventStreamType()}},
			"204": {Description: "The job has ended, and Last-Event-ID is its last event: there is nothing more, so do not connect again."},
		},
		Errors: []int{400, 401, 404, 410, 429, 503},
	}, s.followJob)
}

// eventStreamType documents a stream.
func eventStreamType() *huma.MediaType {
	return &huma.MediaType{Schema: &huma.Schema{
		Type: huma.TypeString, Description: "Server-sent events: id, event (the type), data (a JSON object with that type).",
	}}
}

// followJob answers with the events of a job.
func (s *server) followJob(ctx context.Context, in *eventsInput) (*eventsOutput, error) {
	after, err := lastEvent(in.After, in.LastEventID)
	if err != nil {
		return nil, err
	}
	f, err := s.cfg.Service.Follow(ctx, service.CallerOf(ctx), in.ID, after)
	return s.following(in.ID, f, err)
}

// lastEvent returns the later one of two ids of events, either of which may be empty. A client that connects again sends
// the newer one in the header.
func lastEvent(query, header string) (after job.EventID, err error) {
	for location, text := range map[string]string{"query.lastEventId": query, "header.Last-Event-ID": header} {
		if text == "" {
			continue
		}
		id, err := job.ParseEventID(text)
		if err != nil {
			return after, badRequest(location+": "+err.Error(), FieldIssue{location, err.Error()})
		}
		if id.Compare(after) > 0 {
			after = id
		}
	}
	return after, nil
}

// following answers with the events for a follower of a job. err is the reason if there is none.
func (s *server) following(id string, f *service.Follower, err error) (*eventsOutput, error) {
	if errors.Is(err, service.ErrEnded) {
		return &eventsOutput{Status: http.StatusNoContent, Body: func(ctx huma.Context) { ctx.SetStatus(http.StatusNoContent) }}, nil
	}
	if err != nil {
		return nil, err
	}
	return &eventsOutput{Status: http.StatusOK, Body: func(ctx huma.Context) {
		defer f.Close()
		s.logStream(ctx.Context(), id, s.serveEvents(ctx, id, f))
	}}, nil
}

// ofStream names the job or the batch that a stream is about, for the log.
func ofStream(id string) slog.Attr {
	if job.IsBatchID(id) {
		return slog.String("batch_id", id)
	}
	return slog.String("job_id", id)
}

// logStream notes why a stream ended early. Only that is known here which no caller
// sees.
func (s *server) logStream(ctx context.Context, id string, err error) {
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.DebugContext(ctx, "event stream ended early", ofStream(id), slog.Any("err", err))
	}
}

// source is where the events of a stream come from, such as a service.Follower or a service.Watching.
type source[T any] interface {
	Next(ctx context.Context, quiet time.Duration) (T, error)
}

// serveEvents writes the events of a job, until its end or that of the connection.
func (s *server) serveEvents(ctx huma.Context, id string, from source[job.Event]) error {
	return serveStream(s, ctx, id, from, (*sse).event)
}

// serveStream writes what comes from a source, until its end or that of the connection.
func serveStream[T any](s *server, ctx huma.Context, id string, from source[T], write func(*sse, T) error) error {
	out, err := s.newSSE(ctx)
	if err != nil || service.CallOf(ctx.Context()).HeadOnly {
		return err
	}
	for {
		next, err := from.Next(ctx.Context(), keepAlive)
		err = service.OfKey(ctx.Context(), err)
		switch {
		case err == nil:
			err = write(out, next)
		case errors.Is(err, service.ErrOver):
			return nil
		case ctx.Context().Err() != nil && !errors.Is(err, service.ErrUnauthorized):
			return err // the caller has gone
		case errors.Is(err, service.ErrQuiet):
			err = out.comment()
		default:
			return errors.Join(err, out.event(brokenEvent(s.brokenBy(ctx.Context(), id, err))))
		}
		if err != nil {
			return err
		}
	}
}

// brokenBy words why a stream ends before its job.
func (s *server) brokenBy(ctx context.Context, id string, err error) *Problem {
	p, unforeseen := problemOf(err)
	if errors.Is(err, service.ErrStopping) {
		p, unforeseen = newProblem(http.StatusServiceUnavailable, "draining", "this process is being stopped; connect again with the last event's id"), false
	}
	if unforeseen {
		s.cfg.Log.ErrorContext(ctx, "event stream failed", ofStream(id), slog.Any("err", err))
	}
	s.cfg.Observer.Problem(p.Status, p.Code)
	return p
}

// brokenEvent is the last of a stream that ends before its job.
func brokenEvent(p *Problem) job.Event {
	return job.NewEvent(job.EventError, struct {
		Type      job.EventType `json:"type"`
		Code      string        `json:"code"`
		Detail    string        `json:"detail"`
		Resumable bool          `json:"resumable"`
	}{job.EventError, p.Code, p.Detail, p.Status != http.StatusNotFound && p.Status != http.StatusGone})
}

// wantsEvents reads an Accept header: events only for those who ask for them by name.
func wantsEvents(accept string) bool {
	for item := range strings.SplitSeq(accept, ",") {
		name, _, _ := strings.Cut(item, ";")
		if strings.EqualFold(strings.TrimSpace(name), eventStream) {
			return true
		}
	}
	return false
}

// executeLive submits a job and answers with its events. As with every synchronous
// call, the job ends if the caller goes away or no runner takes it in time.
func (s *server) executeLive(ctx context.Context, sub service.Submission) (*executeOutput, error) {
	w, err := s.cfg.Service.Watch(ctx, service.CallerOf(ctx), sub)
	if err != nil {
		return nil, err
	}
	return &executeOutput{Status: http.StatusOK, Body: func(ctx huma.Context) {
		defer w.Close(ctx.Context())
		s.logStream(ctx.Context(), w.ID(), s.serveEvents(ctx, w.ID(), w))
	}}, nil
}
