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
)

// redisPatience is how long a synchronous caller's stream goes on without Redis.
const redisPatience = 15 * time.Second

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
	var after job.EventID
	for location, text := range map[string]string{"query.lastEventId": in.After, "header.Last-Event-ID": in.LastEventID} {
		if text == "" {
			continue
		}
		id, err := job.ParseEventID(text)
		if err != nil {
			return nil, badRequest(location+": "+err.Error(), FieldIssue{location, err.Error()})
		}
		if id.Compare(after) > 0 {
			after = id // a client that connects again sends the newer one in the header
		}
	}
	if _, err := s.visible(ctx, in.ID, s.cfg.Lookup.Summary); err != nil {
		return nil, err
	}
	end, p := s.cfg.Hub.beginStream(shortCaller(ctx), s.cfg.MaxSyncWaits)
	if p != nil {
		return nil, p
	}
	f, err := s.follow(ctx, in.ID, after, s.cfg.Draining)
	if err != nil {
		end()
		if errors.Is(err, errEnded) {
			return &eventsOutput{Status: http.StatusNoContent, Body: func(ctx huma.Context) { ctx.SetStatus(http.StatusNoContent) }}, nil
		}
		return nil, err
	}
	return &eventsOutput{Status: http.StatusOK, Body: func(ctx huma.Context) {
		defer end()
		defer f.close()
		s.logStream(ctx.Context(), in.ID, s.serveEvents(ctx, f))
	}}, nil
}

// logStream notes why a stream ended early. Only that is known here which no caller
// sees.
func (s *server) logStream(ctx context.Context, id string, err error) {
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.DebugContext(ctx, "event stream ended early", slog.String("job_id", id), slog.Any("err", err))
	}
}

// serveEvents writes what f tells, until the end of the job or of the connection.
func (s *server) serveEvents(ctx huma.Context, f *follower) error {
	out, err := s.newSSE(ctx)
	if err != nil || ctx.Context().Value(headKey{}) != nil {
		return err
	}
	for {
		e, err := f.nextWithin(ctx.Context(), keepAlive)
		switch {
		case err == nil:
			err = out.event(e)
		case errors.Is(err, errOver):
			return nil
		case ctx.Context().Err() != nil:
			return err // the caller has gone
		case errors.Is(err, context.DeadlineExceeded):
			err = out.comment()
		default:
			return errors.Join(err, out.event(brokenEvent(s.brokenBy(ctx.Context(), f.id, err))))
		}
		if err != nil {
			return err
		}
	}
}

// nextWithin is next with a time limit of its own.
func (f *follower) nextWithin(ctx context.Context, d time.Duration) (job.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return f.next(ctx)
}

// brokenBy words why a stream ends before its job.
func (s *server) brokenBy(ctx context.Context, id string, err error) *Problem {
	p, unforeseen := problemOf(err)
	if errors.Is(err, errStopping) {
		p, unforeseen = newProblem(http.StatusServiceUnavailable, "draining", "this process is being stopped; connect again with the last event's id"), false
	}
	if unforeseen {
		s.cfg.Log.ErrorContext(ctx, "event stream failed", slog.String("job_id", id), slog.Any("err", err))
	}
	s.cfg.Observer.Problem(p.Status, p.Code)
	return p
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
func (s *server) executeLive(ctx context.Context, sub submission) (*executeOutput, error) {
	endCall, p := s.cfg.Hub.beginCall(shortCaller(ctx), s.cfg.MaxSyncWaits)
	if p != nil {
		return nil, p
	}
	sub.subscriber, sub.request.Events = s.cfg.Hub.Subscriber, true
	draft, err := s.draft(ctx, sub, time.Now())
	if err != nil {
		endCall()
		return nil, err
	}
	j, err := s.submitForCaller(ctx, draft)
	if err != nil {
		endCall()
		return nil, err
	}
	f, err := s.follow(ctx, j.ID, job.EventID{}, nil)
	if err != nil {
		s.cancelLater(ctx, j)
		endCall()
		return nil, &jobError{j.ID, err}
	}
	return &executeOutput{Status: http.StatusOK, Body: func(ctx huma.Context) {
		defer endCall()
		defer f.close()
		if err := s.serveCall(ctx, f, j); err != nil {
			s.cancelLater(ctx.Context(), j)
			s.logStream(ctx.Context(), j.ID, err)
		}
	}}, nil
}

// serveCall writes the events of a synchronous caller's job. An error means that the
// caller has not seen its end.
func (s *server) serveCall(ctx huma.Context, f *follower, j job.Job) error {
	out, err := s.newSSE(ctx)
	if err != nil {
		return err
	}
	if err := out.event(waitingEvent(j)); err != nil {
		return err
	}
	began := time.Now()
	overall := began.Add(s.cfg.SyncQueueWait + j.Timeout + settleTime)
	abandon, unavailable := began.Add(s.cfg.SyncQueueWait), time.Time{}
	for {
		now := time.Now()
		if f.after.Attempt == 0 && !now.Before(abandon) {
			// Its events will tell, either way.
			if err := s.abandon(ctx.Context(), j); errors.Is(err, job.ErrUnavailable) {
				abandon = now.Add(lookEvery)
			} else {
				abandon = overall
			}
		}
		limit := min(keepAlive, time.Until(overall))
		if f.after.Attempt == 0 {
			limit = min(limit, time.Until(abandon))
		}
		e, err := f.nextWithin(ctx.Context(), max(limit, time.Millisecond))
		switch {
		case err == nil:
			unavailable = time.Time{}
			err = out.event(e)
		case errors.Is(err, errOver):
			return nil
		case ctx.Context().Err() != nil:
			return err
		case errors.Is(err, context.DeadlineExceeded) && time.Now().Before(overall):
			err = out.comment()
		case errors.Is(err, job.ErrUnavailable) && (unavailable.IsZero() || time.Since(unavailable) < redisPatience):
			if unavailable.IsZero() {
				unavailable = time.Now()
			}
			err = pauseFor(ctx.Context(), cancelAgain)
		default:
			return errors.Join(err, out.event(brokenEvent(s.brokenBy(ctx.Context(), j.ID, err))))
		}
		if err != nil {
			return err
		}
	}
}

func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
