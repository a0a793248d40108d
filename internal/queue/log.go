package queue

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// asynqLog writes asynq's log lines to slog.
type asynqLog struct{ log *slog.Logger }

// Debug is never called at the level that newAsynq sets.
func (l asynqLog) Debug(args ...any) { l.write(slog.LevelDebug, args) }

// Info is detail for Kaa: asynq's start, its stop and each part in between.
func (l asynqLog) Info(args ...any) { l.write(slog.LevelDebug, args) }

// Warn passes a warning on.
func (l asynqLog) Warn(args ...any) { l.write(slog.LevelWarn, args) }

// Error passes an error on.
func (l asynqLog) Error(args ...any) { l.write(slog.LevelError, args) }

// Fatal does not end the process as asynq's own logger would; main decides that.
func (l asynqLog) Fatal(args ...any) { l.write(slog.LevelError, args) }

func (l asynqLog) write(level slog.Level, args []any) {
	detail := fmt.Sprint(args...)
	if strings.HasPrefix(detail, "Dequeue error") {
		return // the gate reports it, less often
	}
	l.log.Log(context.Background(), level, "queue: asynq", slog.String("detail", detail))
}
