package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// stage is one step of an orderly stop.
type stage struct {
	name   string
	budget time.Duration
	stop   func(context.Context) error
}

// drain runs the stages in order, each in its own budget. A stage that fails or
// overruns does not keep later ones from releasing what they hold.
func drain(ctx context.Context, log *slog.Logger, stages []stage) error {
	var errs []error
	for _, s := range stages {
		start := time.Now()
		stageCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.budget)
		done := make(chan error, 1)
		go func() { done <- s.stop(stageCtx) }()
		var err error
		select {
		case err = <-done:
		case <-stageCtx.Done():
			err = stageCtx.Err()
		}
		cancel()
		if err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", s.name, err))
			log.WarnContext(ctx, "stopped", slog.String("stage", s.name), slog.Duration("took", time.Since(start)), slog.Any("err", err))
			continue
		}
		log.DebugContext(ctx, "stopped", slog.String("stage", s.name), slog.Duration("took", time.Since(start)))
	}
	return errors.Join(errs...)
}
