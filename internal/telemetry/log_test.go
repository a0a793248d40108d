package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/telemetry"
)

func TestLogUnitsAndTraces(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := telemetry.NewLog(&out, slog.LevelInfo, telemetry.LogJSON).With(slog.String("process", "api"), slog.Duration("every", 2*time.Second))
	ctx := job.WithTrace(t.Context(), job.Trace{RequestID: "r1", Parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
	log.InfoContext(ctx, "a", slog.Duration("took", 1500*time.Microsecond))
	log.WithGroup("g").InfoContext(context.Background(), "b", slog.Duration("took", time.Nanosecond))
	log.DebugContext(ctx, "below the level")

	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := []map[string]any{
		{"msg": "a", "process": "api", "every_ms": 2000.0, "took_ms": 1.5, "request_id": "r1", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"},
		{"msg": "b", "process": "api", "every_ms": 2000.0, "g": map[string]any{"took_ms": 0.0}},
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines:\n%s", len(lines), out.String())
	}
	for i, line := range lines {
		var got map[string]any
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		delete(got, "time")
		delete(got, "level")
		if a, b := asJSON(t, got), asJSON(t, want[i]); a != b {
			t.Errorf("got  %s\nwant %s", a, b)
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestConsole(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		log  func(*slog.Logger)
		want string // after the time
	}{
		{
			"a request", func(l *slog.Logger) {
				l.Info(telemetry.RequestMessage, slog.String("method", "GET"), slog.String("path", "/a b"), slog.String("route", "/:x"), slog.Int("status", 404),
					slog.Duration("duration", 1234*time.Microsecond), slog.String("client", "::1"), slog.String("problem", "not_found"))
			}, `INFO  GET "/a b" 404 1.234ms problem=not_found`,
		},
		{"a message", func(l *slog.Logger) {
			l.Warn("it is late", slog.Any("err", errors.New("x \"y\"\nz")), slog.Duration("by", time.Second))
		}, `WARN  it is late err="x \"y\"\nz" by_ms=1000`},
		{"a group", func(l *slog.Logger) {
			l.Info("starting", slog.Group("set", slog.String("A", "1"), slog.String("B", "\x1b[2J")), slog.String("commit", ""))
		}, `INFO  starting set.A=1 set.B="\x1b[2J"`},
		{"what a log has", func(l *slog.Logger) {
			l.With(slog.String("process", "dev"), slog.Int("n", 1)).WithGroup("g").Error("no", slog.Int("m", 2))
		}, `ERROR no n=1 g.m=2`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			tt.log(telemetry.NewLog(&out, slog.LevelInfo, telemetry.LogConsole))
			_, got, _ := strings.Cut(out.String(), " ")
			if got != tt.want+"\n" {
				t.Errorf("got  %swant %s", got, tt.want)
			}
		})
	}
}
