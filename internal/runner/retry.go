package runner

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// The pauses between attempts while Redis does not answer double from firstPause to lastPause.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
)

// untilAnswered calls try again while its error is that Redis does not answer, until ctx ends. It
// returns the last error of try.
func untilAnswered(ctx context.Context, try func() error) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := try()
		if !errors.Is(err, job.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// written calls write until Redis has the end of a job, for SaveFor at most. It reports whether
// the end was written; if not, claimLost reports whether the claim was lost. write gets the
// outcome to write, which changes if the store has no room for a result.
func (r *Runner) written(ctx context.Context, log *slog.Logger, o job.Outcome, write func(context.Context, job.Outcome) error) (ok, claimLost bool) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.SaveFor)
	defer cancel()
	err := untilAnswered(ctx, func() error {
		err := write(ctx, o)
		if errors.Is(err, job.ErrUnavailable) {
			log.WarnContext(ctx, "write end of job: will try again", slog.Any("err", err))
		}
		if errors.Is(err, job.ErrStoreFull) {
			o = withoutResult(o)
		}
		return err
	})
	switch {
	case err == nil:
		return true, false
	case errors.Is(err, job.ErrStale), errors.Is(err, job.ErrNotFound), errors.Is(err, job.ErrGone):
		log.WarnContext(ctx, "end of a lost claim was not written", slog.Any("reason", err))
		return false, true
	}
	log.ErrorContext(ctx, "end of job was not written", slog.Any("err", err))
	r.suspect()
	return false, false
}
