package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const (
	batchProgress = "progress"
	// batchEnd is the type and the id of the last event of a batch.
	batchEnd = "end"
)

type batchEventsInput struct {
	ID          string `path:"id" maxLength:"64" doc:"Id of the batch."`
	LastEventID string `header:"Last-Event-ID" maxLength:"64" doc:"end: the last event has come."`
}

func (s *server) registerBatchEvents() {
	register(s, huma.Operation{
		OperationID: "followBatch", Method: http.MethodGet, Path: batchesPath + "/{id}/events", Tags: []string{batchesTag},
		Summary:     "Follow the progress of a batch live",
		Description: "Server-sent events: progress, with the batch as its data, at once and when it has gone on, once a second at most; and end when it has ended.",
		Responses: map[string]*huma.Response{
			"200": {Description: "The events.", Content: map[string]*huma.MediaType{eventStream: eventStreamType()}},
			"204": {Description: "The last event has come, by Last-Event-ID: do not connect again."},
		},
		Errors: []int{400, 401, 404, 410, 429, 503},
	}, s.followBatch)
}

func (s *server) followBatch(ctx context.Context, in *batchEventsInput) (*eventsOutput, error) {
	f, err := s.cfg.Service.FollowBatch(ctx, service.CallerOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	if in.LastEventID == batchEnd {
		f.Close()
		return &eventsOutput{Status: http.StatusNoContent, Body: func(ctx huma.Context) { ctx.SetStatus(http.StatusNoContent) }}, nil
	}
	return &eventsOutput{Status: http.StatusOK, Body: func(ctx huma.Context) {
		defer f.Close()
		s.logStream(ctx.Context(), in.ID, serveStream(s, ctx, in.ID, f, (*sse).batch))
	}}, nil
}

// batch sends the progress of a batch.
func (s *sse) batch(b job.Batch) error {
	var event bytes.Buffer
	name := batchProgress
	if b.State.Terminal() {
		name = batchEnd
		fmt.Fprintf(&event, "id: %s\n", name)
	}
	text, err := json.Marshal(struct {
		Type string `json:"type"`
		BatchView
	}{name, batchView(b, nil)})
	if err != nil {
		return fmt.Errorf("encode batch: %w", err)
	}
	fmt.Fprintf(&event, "event: %s\ndata: %s\n\n", name, text)
	return s.write(event.Bytes())
}
