package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/schedule"
)

const (
	// schedulesAtOnce is the number of due schedules that are read at once.
	schedulesAtOnce = 16
	// fireTime bounds the work on one run.
	fireTime = time.Minute
	// fireRetry is the pause after an error.
	fireRetry = time.Second
	// missedAfter is how late a run must be to be a missed one. Then all times until now have one run together.
	missedAfter = time.Minute
)

// Scheduler makes the jobs of schedules when they are due. Every API process has one: which of them makes a job is decided
// by the store. Runs come at whole minutes, so it looks for them then, and not more often.
type Scheduler struct {
	service *Service
	longest time.Duration
	log     *slog.Logger
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// NewScheduler returns a scheduler that has not started yet. longest, if not 0, is the longest time between two looks.
func NewScheduler(s *Service, longest time.Duration, log *slog.Logger) *Scheduler {
	return &Scheduler{service: s, longest: cmp.Or(longest, time.Minute), log: log}
}

// Start begins to make jobs; Close ends it.
func (r *Scheduler) Start(ctx context.Context) {
	ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	r.done.Go(func() {
		for {
			pause, err := r.service.fireDue(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				r.log.WarnContext(ctx, "due schedules were not all run: will try again", slog.Any("err", err))
				pause = fireRetry
			}
			t := time.NewTimer(min(pause, r.longest))
			select {
			case <-ctx.Done():
			case <-t.C:
			}
			t.Stop()
		}
	})
}

// Close ends the work and waits for it. It may be called twice.
func (r *Scheduler) Close() {
	if r.stop != nil {
		r.stop()
	}
	r.done.Wait()
}

// fireDue makes the jobs of all schedules that are due, and returns how long to wait. An error of one does not keep
// the others from their runs.
func (s *Service) fireDue(ctx context.Context) (time.Duration, error) {
	for {
		due, now, next, err := s.cfg.Schedules.DueSchedules(ctx, schedulesAtOnce)
		if err != nil {
			return 0, err
		}
		var failed error
		for _, sc := range due {
			failed = errors.Join(failed, s.runDue(ctx, sc, now))
		}
		if failed != nil || ctx.Err() != nil {
			return 0, failed
		}
		if len(due) == 0 {
			// A schedule that is made meanwhile is due at a whole minute of the clock, and one that is known
			// after as long as Redis's clock says.
			minute := time.Until(time.Now().Truncate(time.Minute).Add(time.Minute))
			if next >= 0 {
				minute = min(minute, next)
			}
			return minute, nil
		}
	}
}

// runDue makes the job of a run that is due, or records why there is none. An error means that the run is still due.
func (s *Service) runDue(ctx context.Context, sc job.Schedule, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, fireTime)
	defer cancel()
	run := job.Run{Schedule: sc.ID, Revision: sc.Revision, Due: sc.Due, Overlap: sc.Overlap}
	of, err := schedule.Parse(sc.Cron, sc.TimeZone)
	if err != nil { // this process has other time zones than the one that accepted it
		run.Next = now.Truncate(time.Minute).Add(time.Minute)
		return s.pass(ctx, run, err)
	}
	run.Next = of.Next(later(now, sc.Due))
	at := sc.Due
	if now.Sub(at) >= missedAfter {
		at = of.Last(sc.Due, now)
	}
	if late := now.Sub(at); sc.StartingDeadline > 0 && late > sc.StartingDeadline {
		return s.pass(ctx, run, fmt.Errorf("%w: that of %s was %s late, and startingDeadline is %s", errLate, at.Format(time.RFC3339), late.Round(time.Second), sc.StartingDeadline))
	}
	j, err := s.fire(ctx, sc, run, at)
	switch {
	case err == nil:
		s.cfg.Log.InfoContext(ctx, "schedule made a job", slog.String("schedule_id", sc.ID), slog.String("job_id", j.ID), slog.Time("for", at))
		return nil
	case errors.Is(err, job.ErrMoved):
		return nil
	case errors.Is(err, job.ErrOverlap):
		s.cfg.Log.InfoContext(ctx, "run of a schedule was left out", slog.String("schedule_id", sc.ID), slog.Any("reason", err))
		return nil
	case errors.Is(err, job.ErrUnavailable), ctx.Err() != nil:
		return fmt.Errorf("schedule %s: %w", sc.ID, err)
	}
	return s.pass(ctx, run, err)
}

// pass leaves a run out for a reason that stays: the schedule shows it, and goes on.
func (s *Service) pass(ctx context.Context, run job.Run, why error) error {
	err := s.cfg.Schedules.Pass(ctx, run, reasonOf(why))
	if errors.Is(err, job.ErrMoved) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("schedule %s: %w", run.Schedule, err)
	}
	s.cfg.Log.WarnContext(ctx, "run of a schedule made no job", slog.String("schedule_id", run.Schedule), slog.Any("err", why))
	return nil
}

// reasonOf is the text of an error for the schedule's owner, as far as the owner has to do with it.
func reasonOf(err error) string {
	for _, known := range []error{job.ErrInvalid, job.ErrFull, errLate} {
		if errors.Is(err, known) {
			return err.Error()
		}
	}
	if files, ok := errors.AsType[*job.FilesFullError](err); ok {
		return files.Error()
	}
	if fault, ok := errors.AsType[*schedule.Fault](err); ok {
		return fault.Error()
	}
	return "internal error; the operator finds it in the log"
}

// errLate: a run is later than its schedule allows.
var errLate = errors.New("the run was missed")

// fire makes the job of a run for a time; zero if it was asked for. The schedule's owner is its caller.
func (s *Service) fire(ctx context.Context, sc job.Schedule, run job.Run, at time.Time) (job.Job, error) {
	draft, err := s.draft(ctx, Caller{}, Submission{Request: sc.Job}, time.Now())
	if err != nil {
		return job.Job{}, ofJob(err)
	}
	draft.Caller, draft.Job.ScheduledAt, draft.Spec.Trace = sc.Owner, at, job.TraceOf(ctx)
	if err := s.putInputs(ctx, draft); err != nil {
		return job.Job{}, err
	}
	created, err := s.cfg.Schedules.Fire(ctx, run, draft)
	if err != nil {
		if !errors.Is(err, job.ErrUnavailable) { // in doubt they stay
			s.dropInputs(ctx, draft)
		}
		return job.Job{}, err
	}
	s.enqueue(ctx, []job.Created{created}, true)
	CallOf(ctx).recorded([]job.NewJob{draft}, []job.Created{created})
	return created.Job, nil
}
