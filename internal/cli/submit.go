package cli

import (
	"cmp"
	"context"
	"errors"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

// SubmitOptions describe a job.
type SubmitOptions struct {
	RunOptions
	Queue    string
	Delay    float64 // seconds until it is due
	Attempts int
	Metadata []string // NAME=VALUE
	Key      string   // the same key and program make one job
	// Follow prints the output until the end of the job, and exits as the program does.
	Follow bool
}

// body is the job as the API takes it.
func (o SubmitOptions) body(p app.Process) (client.JobBody, error) {
	program, err := o.request(p)
	if err != nil {
		return client.JobBody{}, err
	}
	if program.Code == "" {
		return client.JobBody{}, errors.New("the program is empty")
	}
	metadata, err := metadataOf(o.Metadata)
	body := client.JobBody{
		Code: program.Code, Stdin: program.Stdin, Timeout: program.Timeout, Envs: program.Envs, Args: program.Args, Files: program.Files,
		Runtime: program.Runtime, Packages: program.Packages, Preload: program.Preload, Limits: program.Limits, Metadata: metadata,
	}
	if o.Queue != "" {
		body.Queue = &o.Queue
	}
	if o.Delay > 0 {
		body.Delay = &o.Delay
	}
	if o.Attempts > 0 {
		body.MaxAttempts = new(int64(o.Attempts))
	}
	if o.Follow {
		body.Events = new(true)
	}
	return body, err
}

// Submit submits a program as a job and prints its id, or follows it.
func Submit(ctx context.Context, p app.Process, o SubmitOptions) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	body, err := o.body(p)
	if err != nil {
		return err
	}
	if o.Session != "" {
		if body.SessionID, err = sessionOf(ctx, c, o.Session); err != nil {
			return err
		}
	}
	var options []client.Option
	if o.Key != "" {
		options = append(options, client.IdempotencyKey(o.Key))
	}
	j, err := c.SubmitJob(ctx, body, options...)
	if err != nil {
		return err
	}
	if !o.Follow {
		return show(p.Stdout, j, j.ID)
	}
	ctx, r := newRun(ctx, p)
	r.client, r.job, r.noInput = c, j.ID, o.noInput()
	defer r.attend(o.Signals)()
	end, err := c.FollowJob(ctx, j.ID, r.handlers())
	end.JobID = cmp.Or(end.JobID, j.ID)
	if err != nil {
		return r.exit(err)
	}
	code := r.report(end)
	if err := r.keep(ctx, end, o.Out); err != nil {
		return r.exit(err)
	}
	return r.exit(code)
}
