package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kaa-run/kaa/client"
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
func (o BulkOptions) body() (client.FilterBody, error) {
	body := client.FilterBody{State: o.States}
	if o.Queue != "" {
		body.Queue = &o.Queue
	}
	if o.Runtime != "" {
		body.Runtime = &o.Runtime
	}
	if o.OlderThan > 0 {
		body.CreatedBefore = new(time.Now().Add(-o.OlderThan).UTC())
	}
	metadata, err := metadataOf(o.Metadata)
	body.Metadata = metadata
	return body, err
}

// metadataOf reads NAME=VALUE, the members of metadata.
func metadataOf(members []string) (map[string]any, error) {
	if len(members) == 0 {
		return nil, nil
	}
	metadata := map[string]any{}
	for _, m := range members {
		name, value, ok := strings.Cut(m, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--metadata %s: write NAME=VALUE", m)
		}
		metadata[name] = value
	}
	return metadata, nil
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
	do := c.CancelJobs
	if what == "purge" {
		do = c.PurgeJobs
	}
	counted, err := do(ctx, body)
	if err != nil {
		return err
	}
	matched := valueOf(counted.Matched)
	if matched == 0 && !counted.AtLeast {
		return show(p.Stdout, map[string]any{"done": 0}, "no job matches")
	}
	if !o.Yes {
		number := number(matched)
		if counted.AtLeast {
			number = "more than " + number
		}
		if _, err := fmt.Fprintf(p.Stderr, "%s %s jobs? [y/N] ", what, number); err != nil {
			return err
		}
		answer, _ := bufio.NewReader(o.Stdin).ReadString('\n') // no answer is no
		if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
			return errNotConfirmed
		}
	}
	body.Confirm = &counted.Confirm
	done, whole := int64(0), false
	for !whole {
		step, err := do(ctx, body)
		if err != nil {
			return fmt.Errorf("after %d jobs: %w", done, err)
		}
		done, whole = done+valueOf(step.Done), step.Complete
	}
	return show(p.Stdout, map[string]any{"done": done}, fmt.Sprintf("%s: %d jobs", what, done))
}

// CancelEach cancels jobs by their ids.
func CancelEach(ctx context.Context, p app.Process, ids []string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	for _, id := range ids {
		j, err := c.CancelJob(ctx, id)
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		if err := show(p.Stdout, j, id+" is being cancelled"); err != nil {
			return err
		}
	}
	return nil
}

// RerunJob runs a job again that has ended, and prints the id of the new one.
func RerunJob(ctx context.Context, p app.Process, id string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	made, err := c.RerunJob(ctx, id)
	if err != nil {
		return err
	}
	return show(p.Stdout, made, made.ID)
}
