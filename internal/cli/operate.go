package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"

	"github.com/kaa-run/kaa/internal/app"
)

// queue is a queue in the answers of the API.
type queue struct {
	Name      string  `json:"name"`
	Depth     int64   `json:"depth"`
	Active    int64   `json:"active"`
	Scheduled int64   `json:"scheduled"`
	OldestAge float64 `json:"oldestAge"`
	Paused    bool    `json:"paused"`
}

func (q queue) state() string {
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
	var list struct{ Queues []queue }
	if err := c.json(ctx, http.MethodGet, "/v1/queues", nil, &list); err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "QUEUE\tSTATE\tWAITING\tRUNNING\tSCHEDULED\tOLDEST")
	for _, q := range list.Queues {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%.0fs\n", q.Name, q.state(), q.Depth, q.Active, q.Scheduled, q.OldestAge)
	}
	return table.Flush()
}

// ChangeQueue pauses or resumes a queue: what is the end of the path that does it.
func ChangeQueue(ctx context.Context, p app.Process, name, what string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	var q queue
	if err := c.json(ctx, http.MethodPost, "/v1/queues/"+url.PathEscape(name)+"/"+what, nil, &q); err != nil {
		return err
	}
	return printed(p.Stdout, fmt.Sprintf("%s is %s; %d jobs wait, %d run", q.Name, q.state(), q.Depth, q.Active))
}

// ShowConfig prints the configuration of the Kaa at KAA_URL: the settings that differ from their default, or
// all.
func ShowConfig(ctx context.Context, p app.Process, all bool) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	var list struct {
		Settings []struct {
			Name, Value string
			Changed     bool
		}
	}
	if err := c.json(ctx, http.MethodGet, "/v1/config", nil, &list); err != nil {
		return err
	}
	for _, s := range list.Settings {
		if !all && !s.Changed {
			continue
		}
		if err := printed(p.Stdout, s.Name+"="+s.Value); err != nil {
			return err
		}
	}
	return nil
}

// liveRunner is a runner in the answers of the API.
type liveRunner struct {
	ID          string `json:"id"`
	Host        string `json:"host"`
	PID         int    `json:"pid"`
	Version     string `json:"version"`
	Active      int    `json:"active"`
	Concurrency int    `json:"concurrency"`
	Sessions    int    `json:"sessions"`
	Draining    bool   `json:"draining"`
	Drained     bool   `json:"drained"`
	Sick        string `json:"sick"`
}

func (r liveRunner) state() string {
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
	var list struct{ Runners []liveRunner }
	if err := c.json(ctx, http.MethodGet, "/v1/runners", nil, &list); err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "RUNNER\tSTATE\tRUNNING\tSESSIONS\tHOST\tPID\tVERSION")
	for _, r := range list.Runners {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%d/%d\t%d\t%s\t%d\t%s\n", r.ID, r.state(), r.Active, r.Concurrency, r.Sessions, cmp.Or(r.Host, "-"), r.PID, r.Version)
	}
	return table.Flush()
}

// ChangeRunner drains or resumes a runner: what is the end of the path that does it.
func ChangeRunner(ctx context.Context, p app.Process, id, what string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	var r liveRunner
	if err := c.json(ctx, http.MethodPost, "/v1/runners/"+url.PathEscape(id)+"/"+what, nil, &r); err != nil {
		return err
	}
	done := "takes jobs again"
	if r.Drained {
		done = fmt.Sprintf("takes nothing new; at its last heartbeat it executed %d and had %d sessions", r.Active, r.Sessions)
	}
	return printed(p.Stdout, r.ID+" "+done)
}
