package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

// JobsOptions choose the jobs that are listed.
type JobsOptions struct {
	State, Queue, Text string
	Status             []string
	// Metadata has NAME=VALUE, members that the metadata of the jobs must have.
	Metadata []string
	// Since is the greatest age of a job; 0 for any.
	Since time.Duration
	// Limit is the most jobs that are listed.
	Limit int
}

const (
	jobHead = "JOB STATE STATUS QUEUE CREATED TOOK RUNTIME"
	// pageOfJobs is how many jobs are asked for at once.
	pageOfJobs = 100
)

func jobRow(j client.JobView) []string {
	took := "-"
	if j.StartedAt != nil && j.FinishedAt != nil {
		took = fmt.Sprintf("%.3fs", j.FinishedAt.Sub(*j.StartedAt).Seconds())
	}
	return []string{j.ID, j.State, cmp.Or(j.Status, "-"), j.Queue, moment(&j.CreatedAt), took, cmp.Or(j.Runtime, "-")}
}

// ListJobs prints the newest jobs.
func ListJobs(ctx context.Context, p app.Process, o JobsOptions) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	params := client.ListJobsParams{State: o.State, Queue: o.Queue, Text: o.Text, Status: o.Status, Metadata: o.Metadata, Limit: new(int64(min(o.Limit, pageOfJobs)))}
	if o.Since > 0 {
		params.CreatedFrom = time.Now().Add(-o.Since)
	}
	jobs, err := pages(ctx, o.Limit, func(ctx context.Context, cursor string) ([]client.JobView, string, error) {
		params.Cursor = cursor
		page, err := c.ListJobs(ctx, params)
		return page.Jobs, page.NextCursor, err
	})
	if err != nil {
		return err
	}
	return list(p.Stdout, jobHead, jobs, jobRow)
}

// ShowJob prints what is known of a job.
func ShowJob(ctx context.Context, p app.Process, id string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	j, err := c.GetJob(ctx, id, client.GetJobParams{})
	if err != nil {
		return err
	}
	if inJSON(p.Stdout) {
		return encode(p.Stdout, j)
	}
	if err := list(p.Stdout, jobHead, []client.JobView{j}, jobRow); err != nil {
		return err
	}
	t := table{rows: [][]string{{}}}
	for _, f := range detailsOf(j) {
		if f[1] != "" {
			t.rows = append(t.rows, f[:])
		}
	}
	return t.print(p.Stdout)
}

// detailsOf returns the further properties of a job; those that it has not are empty.
func detailsOf(j client.JobView) [][2]string {
	details := [][2]string{
		{"session", j.SessionID}, {"batch", j.BatchID}, {"schedule", j.ScheduleID}, {"rerun of", j.RerunOf}, {"runner", j.Runner},
	}
	if j.Failure != nil {
		details = append(details, [2]string{"failure", j.Failure.Message})
	}
	if r := j.Result; r != nil {
		details = append(details, [2]string{"took", fmt.Sprintf("%.1f ms, %.1f ms of a processor, %s of memory", r.DurationMs, r.CpuMs, inBytes(r.PeakMemoryBytes))})
		if r.ExitCode != nil {
			details = append(details, [2]string{"exit code", number(*r.ExitCode)})
		}
		if r.Error != nil {
			details = append(details, [2]string{"error", r.Error.Name + ": " + r.Error.Value})
		}
		for _, f := range r.Files {
			details = append(details, [2]string{"file", f.Path + ", " + inBytes(f.Size)})
		}
	}
	return details
}

// JobLogs prints the output of a job. With follow it prints what comes, until the end of the job, and exits as the program does.
func JobLogs(ctx context.Context, p app.Process, id string, follow bool) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	ctx, r := newRun(ctx, p)
	defer r.leave()
	r.client = c
	if follow {
		end, err := c.FollowJob(ctx, id, r.handlers())
		if err != nil {
			return r.exit(err)
		}
		return r.exit(r.report(end))
	}
	j, err := c.GetJob(ctx, id, client.GetJobParams{})
	switch {
	case err != nil:
		return err
	case j.Result == nil && j.Failure != nil:
		return errors.New(j.Failure.Message)
	case j.Result == nil:
		r.say("the job is %s; -f follows it", j.State)
		return nil
	}
	return r.printResult(*j.Result)
}

// printResult prints the output of a result in the order in which it came.
func (r *run) printResult(result client.Result) error {
	if len(result.Outputs) == 0 {
		return errors.Join(r.wrote("stdout", result.Stdout), r.wrote("stderr", result.Stderr))
	}
	for _, o := range result.Outputs {
		switch o.Type {
		case "stdout", "stderr":
			if err := r.wrote(o.Type, o.Text); err != nil {
				return err
			}
		case "error":
			r.traceback(o.Name, o.Value, o.Traceback)
		}
	}
	return nil
}
