package cli

import (
	"cmp"
	"context"
	"fmt"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

func stateOfQueue(q client.QueueStats) string {
	if q.Paused {
		return "paused"
	}
	return "open"
}

// ListQueues prints the queues of the Kaa at KAA_URL.
func ListQueues(ctx context.Context, p app.Process) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	all, err := c.ListQueues(ctx)
	if err != nil {
		return err
	}
	return list(p.Stdout, queueHead, all.Queues, queueRow)
}

const queueHead = "QUEUE STATE WAITING RUNNING SCHEDULED OLDEST"

func queueRow(q client.QueueStats) []string {
	return []string{q.Name, stateOfQueue(q), number(q.Depth), number(q.Active), number(q.Scheduled), fmt.Sprintf("%.0fs", q.OldestAge)}
}

// ChangeQueue pauses or resumes a queue: what is the end of the path that does it.
func ChangeQueue(ctx context.Context, p app.Process, name, what string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	do := c.PauseQueue
	if what == "resume" {
		do = c.ResumeQueue
	}
	q, err := do(ctx, name)
	if err != nil {
		return err
	}
	return show(p.Stdout, q, fmt.Sprintf("%s is %s; %d jobs wait, %d run", q.Name, stateOfQueue(q), q.Depth, q.Active))
}

// ShowConfig prints the configuration of the Kaa at KAA_URL: the settings that differ from their default, or
// all.
func ShowConfig(ctx context.Context, p app.Process, all bool) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	config, err := c.GetConfig(ctx)
	if err != nil {
		return err
	}
	for _, s := range config.Settings {
		if !all && !s.Changed {
			continue
		}
		if err := show(p.Stdout, s, s.Name+"="+s.Value); err != nil {
			return err
		}
	}
	return nil
}

func stateOfRunner(r client.Runner) string {
	switch {
	case r.Drained:
		return "drained"
	case r.Draining:
		return "stopping"
	case r.Sick != "":
		return "sick"
	}
	return "takes jobs"
}

// ListRunners prints the runners of the Kaa at KAA_URL.
func ListRunners(ctx context.Context, p app.Process) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	all, err := c.ListRunners(ctx)
	if err != nil {
		return err
	}
	return list(p.Stdout, runnerHead, all.Runners, runnerRow)
}

const runnerHead = "RUNNER STATE RUNNING SESSIONS HOST PID VERSION"

func runnerRow(r client.Runner) []string {
	return []string{r.ID, stateOfRunner(r), fmt.Sprintf("%d/%d", r.Active, r.Concurrency), number(r.Sessions), cmp.Or(r.Host, "-"), number(r.Pid), r.Version}
}

// ChangeRunner drains or resumes a runner: what is the end of the path that does it.
func ChangeRunner(ctx context.Context, p app.Process, id, what string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	do := c.DrainRunner
	if what == "resume" {
		do = c.ResumeRunner
	}
	r, err := do(ctx, id)
	if err != nil {
		return err
	}
	done := "takes jobs again"
	if r.Drained {
		done = fmt.Sprintf("takes nothing new; at its last heartbeat it executed %d and had %d sessions", r.Active, r.Sessions)
	}
	return show(p.Stdout, r, r.ID+" "+done)
}
