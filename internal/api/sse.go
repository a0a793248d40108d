package api

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	eventStream = "text/event-stream"
	// keepAlive is how often something is sent even if nothing happens, so that no proxy
	// takes the connection for dead.
	keepAlive = 15 * time.Second
	// ssePiece is how much of an event is written at a time.
	ssePiece = 16 << 10
)

// sse writes server-sent events to one client.
type sse struct {
	w       http.ResponseWriter
	control *http.ResponseController
	slowest time.Duration
}

// newSSE begins the answer. The client sees at once that the request has arrived.
func (s *server) newSSE(ctx huma.Context) (*sse, error) {
	out, err := s.newStream(ctx, eventStream)
	if err != nil {
		return nil, err
	}
	return out, out.comment()
}

// newStream begins an answer whose reader has to take something in time.
func (s *server) newStream(ctx huma.Context, contentType string) (*sse, error) {
	ctx.SetHeader("Content-Type", contentType)
	ctx.SetHeader("X-Accel-Buffering", "no") // nginx would collect it
	ctx.SetStatus(http.StatusOK)
	w, ok := ctx.BodyWriter().(http.ResponseWriter)
	if !ok {
		return nil, fmt.Errorf("write events: %T cannot be flushed", ctx.BodyWriter())
	}
	return &sse{w, http.NewResponseController(w), s.cfg.SlowestWrite}, nil
}

// comment sends what clients ignore.
func (s *sse) comment() error { return s.write([]byte(":\n\n")) }

func (s *sse) event(e job.Event) error {
	var b bytes.Buffer
	if e.ID != (job.EventID{}) {
		fmt.Fprintf(&b, "id: %s\n", e.ID)
	}
	fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", e.Type, e.Data)
	return s.write(b.Bytes())
}

// write sends p in pieces, so that a reader who takes them slowly takes something in time.
func (s *sse) write(p []byte) error {
	for piece := range slices.Chunk(p, ssePiece) {
		// Recorders in tests have no deadlines; a real connection always does.
		_ = s.control.SetWriteDeadline(time.Now().Add(s.slowest))
		if _, err := s.w.Write(piece); err != nil {
			return fmt.Errorf("write events: %w", err)
		}
		if err := s.control.Flush(); err != nil {
			return fmt.Errorf("write events: %w", err)
		}
	}
	return nil
}
