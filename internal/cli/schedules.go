package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

func nextOf(s client.ScheduleView) string {
	if s.Paused {
		return "paused"
	}
	if len(s.NextRuns) == 0 {
		return "-"
	}
	return moment(&s.NextRuns[0])
}

// ListSchedules prints the schedules.
func ListSchedules(ctx context.Context, p app.Process) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	all, err := c.ListSchedules(ctx, client.ListSchedulesParams{})
	if err != nil {
		return err
	}
	return list(p.Stdout, "SCHEDULE NAME CRON ZONE NEXT LAST_JOB", all.Schedules, func(s client.ScheduleView) []string {
		last := "-"
		switch {
		case s.LastError != "":
			last = "no job: " + s.LastError
		case s.LastRun != nil:
			last = s.LastRun.JobID
		}
		return []string{s.ID, cmp.Or(s.Name, "-"), s.Cron, s.TimeZone, nextOf(s), last}
	})
}

// CreateSchedule makes the schedule that a file describes in JSON, as POST /v1/schedules takes it. The
// file "-" is stdin.
func CreateSchedule(ctx context.Context, p app.Process, path string, stdin io.Reader) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	file := io.NopCloser(stdin)
	if path != "-" {
		if file, err = os.Open(path); err != nil {
			return fmt.Errorf("read the schedule: %w", err)
		}
	}
	defer func() { _ = file.Close() }()
	// The server says what is wrong with a description, so it goes there as it is.
	res, err := c.Do(ctx, "POST", "/v1/schedules", file, client.Header("Content-Type", "application/json"))
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	var s client.ScheduleView
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return show(p.Stdout, s, s.ID)
}

// ChangeSchedule pauses, resumes or runs a schedule: what is the end of the path that does it.
func ChangeSchedule(ctx context.Context, p app.Process, id, what string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	if what == "run" {
		made, err := c.RunSchedule(ctx, id)
		if err != nil {
			return err
		}
		return show(p.Stdout, made, made.ID)
	}
	do := c.PauseSchedule
	if what == "resume" {
		do = c.ResumeSchedule
	}
	s, err := do(ctx, id)
	if err != nil {
		return err
	}
	return show(p.Stdout, s, s.ID+": next run "+nextOf(s))
}

// DeleteSchedule deletes a schedule; its jobs stay.
func DeleteSchedule(ctx context.Context, p app.Process, id string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	if err := c.DeleteSchedule(ctx, id); err != nil {
		return err
	}
	return show(p.Stdout, map[string]string{"deleted": id}, id+" is deleted")
}
