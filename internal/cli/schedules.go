package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"text/tabwriter"
	"time"

	"github.com/kaa-run/kaa/internal/app"
)

// schedule is a schedule in the answers of the API.
type schedule struct {
	ID, Name, Cron, TimeZone string
	Paused                   bool
	NextRuns                 []time.Time
	LastRun                  *struct{ JobID string }
	LastError                string
}

func (s schedule) next() string {
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
	var list struct{ Schedules []schedule }
	if err := c.json(ctx, http.MethodGet, "/v1/schedules", nil, &list); err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "SCHEDULE\tNAME\tCRON\tZONE\tNEXT\tLAST JOB")
	for _, s := range list.Schedules {
		last := "-"
		switch {
		case s.LastError != "":
			last = "no job: " + s.LastError
		case s.LastRun != nil:
			last = s.LastRun.JobID
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, cmp.Or(s.Name, "-"), s.Cron, s.TimeZone, s.next(), last)
	}
	return table.Flush()
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
	res, err := c.call(ctx, http.MethodPost, "/v1/schedules", file, http.Header{"Content-Type": {"application/json"}})
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	var s schedule
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return printed(p.Stdout, s.ID)
}

// ChangeSchedule pauses, resumes or runs a schedule: what is the end of the path that does it.
func ChangeSchedule(ctx context.Context, p app.Process, id, what string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	path := "/v1/schedules/" + url.PathEscape(id) + "/" + what
	if what == "run" {
		var made struct{ ID string }
		if err := c.json(ctx, http.MethodPost, path, nil, &made); err != nil {
			return err
		}
		return printed(p.Stdout, made.ID)
	}
	var s schedule
	if err := c.json(ctx, http.MethodPost, path, nil, &s); err != nil {
		return err
	}
	return printed(p.Stdout, s.ID+": next run "+s.next())
}

// DeleteSchedule deletes a schedule; its jobs stay.
func DeleteSchedule(ctx context.Context, p app.Process, id string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	if err := c.json(ctx, http.MethodDelete, "/v1/schedules/"+url.PathEscape(id), nil, nil); err != nil {
		return err
	}
	return printed(p.Stdout, id+" is deleted")
}
