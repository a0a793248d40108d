package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/schedule"
)

const (
	// maxScheduleBytes bounds what a schedule keeps of the request of its jobs, files included.
	maxScheduleBytes = 256 << 10
	// nextRuns is the number of next runs that are shown.
	nextRuns = 5
	// scheduleTries is how often a change of a schedule is tried that its runs outdate.
	scheduleTries = 5
	// The bounds of a starting deadline. A run may always be late by as long as an outage of Redis takes to be noticed.
	minStartingDeadline = 10 * time.Second
	maxStartingDeadline = 366 * 24 * time.Hour
)

// ScheduleInfo is a schedule as callers see it.
type ScheduleInfo struct {
	job.Schedule
	// NextRuns are its next times; none while it is paused.
	NextRuns []time.Time
	// LastState is the state of LastJob; empty if there is none, or its record has expired. Lists leave it out.
	LastState job.State
}

// CreateSchedule makes a schedule that the caller owns.
func (s *Service) CreateSchedule(ctx context.Context, c Caller, spec job.ScheduleSpec) (ScheduleInfo, error) {
	if err := c.may(access.Execute); err != nil {
		return ScheduleInfo{}, err
	}
	times, err := s.checkSchedule(ctx, c, spec)
	if err != nil {
		return ScheduleInfo{}, err
	}
	sc := job.Schedule{Owner: c.ID(), ScheduleSpec: spec}
	if sc.ID, err = newID("schedule"); err != nil {
		return ScheduleInfo{}, err
	}
	if !spec.Paused {
		sc.Due = times.Next(time.Now())
	}
	if sc, err = s.cfg.Schedules.AddSchedule(ctx, sc); err != nil {
		return ScheduleInfo{}, err
	}
	return infoOf(sc), nil
}

// Schedule returns a schedule of the caller.
func (s *Service) Schedule(ctx context.Context, c Caller, id string) (ScheduleInfo, error) {
	if err := c.may(access.Read); err != nil {
		return ScheduleInfo{}, err
	}
	sc, err := s.scheduleOf(ctx, c, id)
	if err != nil {
		return ScheduleInfo{}, err
	}
	info := infoOf(sc)
	if sc.LastJob != "" {
		j, err := s.cfg.Lookup.Summary(ctx, sc.LastJob)
		if err != nil && !errors.Is(err, job.ErrNotFound) && !errors.Is(err, job.ErrGone) {
			return ScheduleInfo{}, err
		}
		info.LastState = j.State
	}
	return info, nil
}

// Schedules lists the schedules that the caller may see, without their jobs, newest first.
func (s *Service) Schedules(ctx context.Context, c Caller, cursor string, limit int) (all []ScheduleInfo, next string, err error) {
	if err := c.may(access.Read); err != nil {
		return nil, "", err
	}
	found, next, err := s.cfg.Schedules.Schedules(ctx, c.viewer(), cursor, limit)
	for _, sc := range found {
		all = append(all, infoOf(sc))
	}
	return all, next, err
}

// ReplaceSchedule replaces what a schedule of the caller says. If it keeps its times, a run that is due is still made.
func (s *Service) ReplaceSchedule(ctx context.Context, c Caller, id string, spec job.ScheduleSpec) (ScheduleInfo, error) {
	if err := c.may(access.Execute); err != nil {
		return ScheduleInfo{}, err
	}
	if _, err := s.scheduleOf(ctx, c, id); err != nil {
		return ScheduleInfo{}, err
	}
	if _, err := s.checkSchedule(ctx, c, spec); err != nil {
		return ScheduleInfo{}, err
	}
	return s.changeSchedule(ctx, c, id, func(job.ScheduleSpec) job.ScheduleSpec { return spec })
}

// PauseSchedule stops the runs of a schedule of the caller, or resumes them: those that were due meanwhile are left out.
func (s *Service) PauseSchedule(ctx context.Context, c Caller, id string, paused bool) (ScheduleInfo, error) {
	if err := c.may(access.Execute); err != nil {
		return ScheduleInfo{}, err
	}
	return s.changeSchedule(ctx, c, id, func(spec job.ScheduleSpec) job.ScheduleSpec {
		spec.Paused = paused
		return spec
	})
}

func (s *Service) changeSchedule(ctx context.Context, c Caller, id string, change func(job.ScheduleSpec) job.ScheduleSpec) (ScheduleInfo, error) {
	for try := 1; ; try++ {
		sc, err := s.scheduleOf(ctx, c, id)
		if err != nil {
			return ScheduleInfo{}, err
		}
		was := sc.ScheduleSpec
		sc.ScheduleSpec = change(was)
		next := job.NextDue{Keep: sc.Cron == was.Cron && sc.TimeZone == was.TimeZone && sc.Paused == was.Paused}
		if !next.Keep && !sc.Paused {
			times, err := schedule.Parse(sc.Cron, sc.TimeZone)
			if err != nil {
				return ScheduleInfo{}, fmt.Errorf("change schedule: %w", err)
			}
			// The clock of this process may be behind that by which the last run was made.
			next.At = times.Next(later(time.Now(), sc.LastDue))
		}
		changed, err := s.cfg.Schedules.ChangeSchedule(ctx, sc, next)
		if errors.Is(err, job.ErrStale) {
			if try < scheduleTries {
				continue
			}
			err = fmt.Errorf("%w: %w", job.ErrUnavailable, err) // others keep changing it
		}
		if err != nil {
			return ScheduleInfo{}, err
		}
		return infoOf(changed), nil
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// DeleteSchedule deletes a schedule of the caller. Its jobs stay as they are.
func (s *Service) DeleteSchedule(ctx context.Context, c Caller, id string) error {
	if err := c.may(access.Execute); err != nil {
		return err
	}
	sc, err := s.scheduleOf(ctx, c, id)
	if err != nil {
		return err
	}
	return s.cfg.Schedules.DropSchedule(ctx, sc)
}

// RunSchedule makes one more job of a schedule of the caller now, whether it is paused or has jobs that have not ended. Its
// times stay.
func (s *Service) RunSchedule(ctx context.Context, c Caller, id string) (job.Job, error) {
	if err := c.may(access.Execute); err != nil {
		return job.Job{}, err
	}
	for try := 1; ; try++ {
		sc, err := s.scheduleOf(ctx, c, id)
		if err != nil {
			return job.Job{}, err
		}
		j, err := s.fire(ctx, sc, job.Run{Schedule: sc.ID, Revision: sc.Revision, Overlap: sc.Overlap}, time.Time{})
		if errors.Is(err, job.ErrMoved) { // it was changed meanwhile
			if try < scheduleTries {
				continue
			}
			err = fmt.Errorf("%w: %w", job.ErrUnavailable, err)
		}
		return j, err
	}
}

// scheduleOf looks a schedule up for the caller. One that the caller may not see is answered as one that never was.
func (s *Service) scheduleOf(ctx context.Context, c Caller, id string) (job.Schedule, error) {
	if !IsID(id) {
		return job.Schedule{}, fmt.Errorf("look for schedule: %w", job.ErrNoSchedule)
	}
	sc, err := s.cfg.Schedules.Schedule(ctx, id)
	if err == nil && !c.viewer().Knew(sc.Owner, false) {
		return job.Schedule{}, fmt.Errorf("look for schedule: %w", job.ErrNoSchedule)
	}
	return sc, err
}

// infoOf is a schedule with its next times.
func infoOf(sc job.Schedule) ScheduleInfo {
	info := ScheduleInfo{Schedule: sc}
	if times, err := schedule.Parse(sc.Cron, sc.TimeZone); err == nil && !sc.Paused {
		info.NextRuns = times.Upcoming(time.Now(), nextRuns)
	}
	return info
}

// checkSchedule checks what a caller says about a schedule, and whether its job would be accepted now.
func (s *Service) checkSchedule(ctx context.Context, c Caller, spec job.ScheduleSpec) (schedule.Times, error) {
	var invalid job.ValidationError
	add := func(field, message string) {
		invalid.Fields = append(invalid.Fields, job.FieldError{Field: field, Message: message})
	}
	times, err := schedule.Parse(spec.Cron, spec.TimeZone)
	if fault, ok := errors.AsType[*schedule.Fault](err); ok && fault.Zone {
		add("timeZone", fault.Message)
	} else if err != nil {
		add("cron", err.Error())
	}
	if !slices.Contains([]job.Overlap{job.OverlapSkip, job.OverlapQueue, job.OverlapReplace}, spec.Overlap) {
		add("overlap", "must be skip, queue or replace")
	}
	if d := spec.StartingDeadline; d != 0 && (d < minStartingDeadline || d > maxStartingDeadline) {
		add("startingDeadline", fmt.Sprintf("must be from %.0f to %.0f seconds", minStartingDeadline.Seconds(), maxStartingDeadline.Seconds()))
	}
	if spec.Job.Delay != nil || spec.Job.RunAt != nil {
		add("job", "delay and runAt are not for a schedule; cron says when its jobs run")
	}
	if spec.Job.SessionID != "" {
		add("job.sessionId", "is not for a schedule, whose jobs would outlive the session")
	}
	if text, err := json.Marshal(spec.Job); err != nil {
		return times, fmt.Errorf("encode schedule: %w", err)
	} else if len(text) > maxScheduleBytes {
		add("job", fmt.Sprintf("takes %d bytes with its code and files, the limit is %d; have its code fetch what is large", len(text), maxScheduleBytes))
	}
	if len(invalid.Fields) > 0 {
		return times, &invalid
	}
	_, err = s.draft(ctx, c, Submission{Request: spec.Job}, time.Now())
	return times, ofJob(err)
}

// ofJob names the fields of a schedule's job as the caller of the schedule knows them.
func ofJob(err error) error {
	invalid, ok := errors.AsType[*job.ValidationError](err)
	if !ok {
		return err
	}
	var named job.ValidationError
	for _, f := range invalid.Fields {
		named.Fields = append(named.Fields, job.FieldError{Field: "job." + f.Field, Message: f.Message})
	}
	return &named
}
