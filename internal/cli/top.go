package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

// TopOptions are the flags of `kaa top`.
type TopOptions struct {
	// Every is the time between two looks.
	Every time.Duration
	// Once looks once. So does an output that is no terminal.
	Once bool
}

// mostShown is how many jobs and sessions are shown.
const mostShown = 15

// snapshot is what a look finds. Parts that the key may not see are empty.
type snapshot struct {
	At       time.Time            `json:"at"`
	Queues   []client.QueueStats  `json:"queues"`
	Runners  []client.Runner      `json:"runners"`
	Running  []client.JobView     `json:"running"`
	Sessions []client.SessionView `json:"sessions"`
}

// Top shows queues, runners, running jobs and sessions, until ctx ends.
func Top(ctx context.Context, p app.Process, o TopOptions) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	c = c.RetryFor(0) // the next look is soon enough
	live := !o.Once && isWindow(p.Stdout)
	if live {
		// The alternate screen keeps what the terminal showed before. The cursor is hidden meanwhile.
		_, _ = io.WriteString(p.Stdout, "\x1b[?1049h\x1b[?25l")
		defer func() { _, _ = io.WriteString(p.Stdout, "\x1b[?25h\x1b[?1049l") }()
	}
	for {
		s, err := look(ctx, c)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // Ctrl-C is how a view ends
		}
		if err != nil && (!live || !isAway(err)) {
			return err
		}
		if inJSON(p.Stdout) {
			return encode(p.Stdout, s)
		}
		if err := draw(p.Stdout, c, s, live, err); err != nil || !live {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(o.Every):
		}
	}
}

func isAway(err error) bool {
	_, away := errors.AsType[*client.UnreachableError](err)
	return away
}

// look asks for all that the key may see.
func look(ctx context.Context, c *client.Client) (s snapshot, err error) {
	s.At = time.Now().UTC()
	seen := 0
	for _, part := range []func() error{
		func() error {
			all, err := c.ListQueues(ctx)
			s.Queues = all.Queues
			return err
		},
		func() error {
			all, err := c.ListRunners(ctx)
			s.Runners = all.Runners
			return err
		},
		func() error {
			all, err := c.ListJobs(ctx, client.ListJobsParams{State: "running", Limit: new(int64(mostShown))})
			s.Running = all.Jobs
			return err
		},
		func() error {
			all, err := c.ListSessions(ctx, client.ListSessionsParams{State: []string{"idle", "busy", "paused"}, Limit: new(int64(mostShown))})
			s.Sessions = all.Sessions
			return err
		},
	} {
		refusal := part()
		switch {
		case refusal == nil:
			seen++
		case client.IsProblem(refusal, "scope_missing", "keys_off"):
			err = refusal
		default:
			return s, refusal
		}
	}
	if seen > 0 {
		err = nil
	}
	return s, err
}

// draw prints a look as one piece, so that a terminal does not flicker.
func draw(w io.Writer, c *client.Client, s snapshot, live bool, away error) error {
	var screen bytes.Buffer
	out := io.Writer(&screen)
	fmt.Fprintf(out, "%s  %s\n", c.URL(), s.At.Format(time.TimeOnly))
	if away != nil {
		fmt.Fprintf(out, "%v\n", away)
	}
	running, room := int64(0), int64(0)
	for _, r := range s.Runners {
		running, room = running+r.Active, room+r.Concurrency
	}
	if len(s.Runners) > 0 {
		fmt.Fprintf(out, "%d of %d executions run on %d runners\n", running, room, len(s.Runners))
	}
	part := func(show func() error) {
		fmt.Fprintln(out)
		_ = show() // a buffer takes all
	}
	if s.Queues != nil {
		part(func() error { return list(out, queueHead, s.Queues, queueRow) })
	}
	if s.Runners != nil {
		part(func() error { return list(out, runnerHead, s.Runners, runnerRow) })
	}
	part(func() error {
		return list(out, "RUNNING_JOB QUEUE SINCE", s.Running, func(j client.JobView) []string {
			since := "-"
			if j.StartedAt != nil {
				since = s.At.Sub(*j.StartedAt).Round(time.Second / 10).String()
			}
			return []string{j.ID, j.Queue, since}
		})
	})
	part(func() error { return list(out, sessionHead, s.Sessions, sessionRow) })
	text := screen.String()
	if live {
		// Lines are cleared to their ends, and the screen below them.
		text = "\x1b[H" + strings.ReplaceAll(text, "\n", "\x1b[K\r\n") + "\x1b[J"
	}
	_, err := io.WriteString(w, text)
	return err //nolint:wrapcheck // of the output
}
