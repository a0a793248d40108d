package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/app"
)

// BulkOptions select the jobs of `kaa jobs cancel` and `kaa jobs purge`.
type BulkOptions struct {
	Queue, Runtime string
	States         []string
	// OlderThan is the least age of a job; 0 for any.
	OlderThan time.Duration
	// Metadata has NAME=VALUE, the members that the metadata must have; values are text.
	Metadata []string
	// Yes does without the question; otherwise Stdin answers it.
	Yes   bool
	Stdin io.Reader
}

// body is the filter as the API takes it.
func (o BulkOptions) body() (map[string]any, error) {
	body := map[string]any{}
	if o.Queue != "" {
		body["queue"] = o.Queue
	}
	if o.Runtime != "" {
		body["runtime"] = o.Runtime
	}
	if len(o.States) > 0 {
		body["state"] = o.States
	}
	if o.OlderThan > 0 {
		body["createdBefore"] = time.Now().Add(-o.OlderThan).UTC()
	}
	metadata := map[string]string{}
	for _, m := range o.Metadata {
		name, value, ok := strings.Cut(m, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--metadata %s: write NAME=VALUE", m)
		}
		metadata[name] = value
	}
	if len(metadata) > 0 {
		body["metadata"] = metadata
	}
	return body, nil
}

// errNotConfirmed: the question was not answered with yes.
var errNotConfirmed = errors.New("nothing was done")

// ChangeJobs cancels or purges the jobs that options select, after it has shown their number. what is the
// end of the path that does it.
func ChangeJobs(ctx context.Context, p app.Process, what string, o BulkOptions) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	body, err := o.body()
	if err != nil {
		return err
	}
	var counted struct {
		Matched int    `json:"matched"`
		AtLeast bool   `json:"atLeast"`
		Confirm string `json:"confirm"`
	}
	if err := c.json(ctx, http.MethodPost, "/v1/jobs:"+what, body, &counted); err != nil {
		return err
	}
	number := fmt.Sprint(counted.Matched)
	if counted.AtLeast {
		number = "more than " + number
	}
	if counted.Matched == 0 && !counted.AtLeast {
		return printed(p.Stdout, "no job matches")
	}
	if !o.Yes {
		if _, err := fmt.Fprintf(p.Stderr, "%s %s jobs? [y/N] ", what, number); err != nil {
			return err
		}
		answer, _ := bufio.NewReader(o.Stdin).ReadString('\n') // no answer is no
		if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
			return errNotConfirmed
		}
	}
	body["confirm"] = counted.Confirm
	done, whole := 0, false
	for !whole {
		var step struct {
			Done     int  `json:"done"`
			Complete bool `json:"complete"`
		}
		if err := c.json(ctx, http.MethodPost, "/v1/jobs:"+what, body, &step); err != nil {
			return fmt.Errorf("after %d jobs: %w", done, err)
		}
		done, whole = done+step.Done, step.Complete
	}
	return printed(p.Stdout, fmt.Sprintf("%s: %d jobs", what, done))
}

// RerunJob runs a job again that has ended, and prints the id of the new one.
func RerunJob(ctx context.Context, p app.Process, id string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	var made struct{ ID string }
	if err := c.json(ctx, http.MethodPost, "/v1/jobs/"+url.PathEscape(id)+"/rerun", nil, &made); err != nil {
		return err
	}
	return printed(p.Stdout, made.ID)
}
