package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// stage is one step of an orderly stop.
type stage struct {
	name   string
	budget time.Duration
	stop   func(context.Context) error
}

// signalled is the cause of a context that a signal has ended.
type signalled struct{ signal os.Signal }

func (s signalled) Error() string { return "signal: " + s.signal.String() }

// shutDown drains a process. It logs the signal that began the drain, the work under way, and the
// end.
func (s *shared) shutDown(ctx context.Context, stages []stage, underWay ...slog.Attr) error {
	start := time.Now()
	if why, ok := errors.AsType[signalled](context.Cause(ctx)); ok {
		underWay = append(underWay, slog.String("signal", why.signal.String()))
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "draining", append(underWay, slog.Duration("drain_timeout", s.cfg.DrainTimeout))...)
	err := drain(ctx, s.log, stages)
	if err != nil {
		s.log.ErrorContext(ctx, "stopped, but not all parts as they should", slog.Duration("duration", time.Since(start)), slog.Any("err", err))
		return err
	}
	s.log.InfoContext(ctx, "stopped", slog.Duration("duration", time.Since(start)))
	return nil
}

// mostLent is the most that a stage has of the time that earlier stages left. Some budgets are short, and a busy machine is slow.
const mostLent = 5 * time.Second

// drain runs the stages in order, each within its own budget and the unused time of the stages before it, so all of them end within the sum
// of the budgets. Later stages run even if a stage fails or overruns its budget.
func drain(ctx context.Context, log *slog.Logger, stages []stage) error {
	var errs []error
	left := time.Duration(0)
	for _, s := range stages {
		start := time.Now()
		has := s.budget + min(left, mostLent)
		stageCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), has)
		done := make(chan error, 1)
		go func() { done <- s.stop(stageCtx) }()
		var err error
		select {
		case err = <-done:
		case <-stageCtx.Done():
			err = stageCtx.Err()
		}
		cancel()
		left = max(0, left+s.budget-time.Since(start))
		if err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", s.name, err))
			log.WarnContext(ctx, "a part did not stop as it should", slog.String("stage", s.name), slog.Duration("duration", time.Since(start)), slog.Any("err", err))
			continue
		}
		log.DebugContext(ctx, "stopped a part", slog.String("stage", s.name), slog.Duration("duration", time.Since(start)))
	}
	return errors.Join(errs...)
}
