package telemetry

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Formats of a log.
const (
	LogJSON    = "json"
	LogText    = "text"
	LogConsole = "console" // short lines for a person at a terminal
)

// NewLog returns a log that writes to w in one of the formats. Durations get a unit: their keys
// end in _ms. A record that is logged with the context of a request, or of its job, gets the
// attribute request_id, and trace_id if the caller traces.
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

// withUnit turns a duration into milliseconds. slog's own form in JSON is nanoseconds without a
// unit.
func withUnit(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.Float64(a.Key+"_ms", milliseconds(a.Value.Duration()))
	}
	return a
}

// milliseconds rounds to the microsecond, which is exact enough for a log.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// traced adds the request_id, trace_id and dialect of the context to each record.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	t := job.TraceOf(ctx)
	if t.RequestID != "" {
		r.AddAttrs(slog.String("request_id", t.RequestID))
	}
	if id := t.TraceID(); id != "" {
		r.AddAttrs(slog.String("trace_id", id))
	}
	if t.Dialect != "" {
		r.AddAttrs(slog.String("dialect", t.Dialect))
	}
	return h.Handler.Handle(ctx, r) //nolint:wrapcheck // it is the handler
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }

func (h traced) WithGroup(name string) slog.Handler { return traced{h.Handler.WithGroup(name)} }
