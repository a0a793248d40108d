package telemetry

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// The forms of a log.
const (
	LogJSON    = "json"
	LogText    = "text"
	LogConsole = "console" // short lines, for people who sit in front of it
)

// NewLog returns a log that writes to w in one of the forms. Durations get a unit: their keys
// end in _ms. What is logged with the context of a request, or of a job that one brought, says
// which: request_id, and trace_id if the caller traces.
func NewLog(w io.Writer, level slog.Leveler, form string) *slog.Logger {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: withUnit}
	switch form {
	case LogText:
		return slog.New(traced{slog.NewTextHandler(w, options)})
	case LogConsole:
		return slog.New(traced{newConsole(w, level)})
	}
	return slog.New(traced{slog.NewJSONHandler(w, options)})
}

// withUnit makes a duration milliseconds: slog's own form in JSON is nanoseconds, with nothing
// that says so.
func withUnit(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.Float64(a.Key+"_ms", milliseconds(a.Value.Duration()))
	}
	return a
}

// milliseconds are as exact as anybody needs them: to the microsecond.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// traced adds what the context knows of where a record belongs.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	t := job.TraceOf(ctx)
	if t.RequestID != "" {
		r.AddAttrs(slog.String("request_id", t.RequestID))
	}
	if id := t.TraceID(); id != "" {
		r.AddAttrs(slog.String("trace_id", id))
	}
	return h.Handler.Handle(ctx, r) //nolint:wrapcheck // it is the handler
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }

func (h traced) WithGroup(name string) slog.Handler { return traced{h.Handler.WithGroup(name)} }
