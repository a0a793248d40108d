package runner

import (
	"context"
	"log/slog"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// lost stands for a job's state that this runner does not know, because the claim was lost or the
// end could not be written.
const lost job.State = "lost"

// ended reports the end of an attempt, once it is written, to the metrics and as a line of the
// log. The line leaves out the code, its input and its output. state is the job's new state:
// queued if it runs again.
func (r *Runner) ended(ctx context.Context, log *slog.Logger, claim job.Claim, o job.Outcome, state job.State, took time.Duration) {
	code := job.FailureCode("")
	if o.Failure != nil {
		code = o.Failure.Code
	}
	level, message := slog.LevelInfo, "job ended"
	if claim.Spec.Op != "" {
		// An operation is a job in form only. Its caller waits for it, and the access log has it.
		level, message = slog.LevelDebug, "operation on a session ended"
	} else {
		r.cfg.Observer.Ended(state, code)
	}
	if r.cfg.NoJobLog || !log.Enabled(ctx, level) {
		return
	}
	log.LogAttrs(ctx, level, message, jobLine(claim, o, state, code, took)...)
}

func jobLine(claim job.Claim, o job.Outcome, state job.State, code job.FailureCode, took time.Duration) []slog.Attr {
	attrs := make([]slog.Attr, 0, 16)
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	text("state", string(state))
	text("failure", string(code))
	text("queue", claim.Queue)
	text("runtime", claim.Spec.Runtime)
	text("op", claim.Spec.Op)
	attrs = append(attrs, slog.Duration("queued", claim.Waited), slog.Duration("duration", took))
	result := o.Result
	if result == nil {
		return attrs
	}
	text("status", string(result.Status))
	text("limit", string(result.Limit))
	if result.ExitCode != nil {
		attrs = append(attrs, slog.Int("exit_code", *result.ExitCode))
	}
	return append(attrs, slog.Float64("cpu_ms", result.CPUMs), slog.Int64("peak_memory_bytes", result.PeakMemoryBytes))
}
