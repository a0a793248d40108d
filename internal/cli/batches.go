package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

// BatchOptions are the flags of `kaa batches submit`.
type BatchOptions struct {
	Name    string
	SkipBad bool
	// Archive has its results kept as one object.
	Archive bool
	// Key makes one batch of several submissions with it, and continues one that broke off.
	Key   string
	Stdin io.Reader
}

// SubmitBatch sends the lines of a file, or of the standard input for "-", as one batch, and prints its id.
func SubmitBatch(ctx context.Context, p app.Process, path string, o BatchOptions) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	lines := io.NopCloser(o.Stdin)
	if path != "-" {
		if lines, err = os.Open(path); err != nil {
			return fmt.Errorf("read the batch: %w", err)
		}
	}
	defer func() { _ = lines.Close() }()
	b, err := sendBatch(ctx, c, lines, o)
	if err != nil {
		return err
	}
	if b.Jobs.Refused > 0 {
		_, _ = fmt.Fprintf(p.Stderr, "kaa: %d lines were left out; kaa batches results %s --state refused shows why\n", b.Jobs.Refused, b.ID)
	}
	return show(p.Stdout, b, b.ID)
}

// sendBatch sends lines as one batch.
func sendBatch(ctx context.Context, c *client.Client, lines io.Reader, o BatchOptions) (client.BatchView, error) {
	params := client.SubmitBatchParams{Name: o.Name}
	if o.SkipBad {
		params.BadLines = "skip"
	}
	if o.Archive {
		params.Archive = new(true)
	}
	var options []client.Option
	if o.Key != "" {
		options = append(options, client.IdempotencyKey(o.Key))
	}
	return c.SubmitBatch(ctx, params, lines, options...)
}

// ListBatches prints the newest batches.
func ListBatches(ctx context.Context, p app.Process) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	all, err := c.ListBatches(ctx, client.ListBatchesParams{})
	if err != nil {
		return err
	}
	return list(p.Stdout, "BATCH NAME STATE JOBS WAITING RUNNING CREATED", all.Batches, func(b client.BatchView) []string {
		return []string{b.ID, cmp.Or(b.Name, "-"), b.State, number(b.Received.Jobs), number(b.Jobs.Waiting), number(b.Jobs.Running), moment(&b.CreatedAt)}
	})
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// ShowBatch prints the progress of a batch.
func ShowBatch(ctx context.Context, p app.Process, id string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	b, err := c.GetBatch(ctx, id)
	if err != nil {
		return err
	}
	var text strings.Builder
	_, _ = fmt.Fprintf(&text, "%s is %s: %d jobs, %d wait, %d run, %d ok, %d error", b.ID, b.State, b.Received.Jobs, b.Jobs.Waiting, b.Jobs.Running, b.Jobs.Ok, b.Jobs.Error)
	text.WriteString(othersOf(b.Jobs))
	if b.Rate != nil && *b.Rate > 0 {
		_, _ = fmt.Fprintf(&text, "; %.0f a second", *b.Rate)
	}
	if b.EstimatedEnd != nil {
		text.WriteString(", to the end at " + moment(b.EstimatedEnd))
	}
	return show(p.Stdout, b, text.String())
}

// othersOf words the counts of a batch that are mostly 0.
func othersOf(n client.BatchCountsView) string {
	var text strings.Builder
	for _, more := range []struct {
		number int64
		word   string
	}{{n.Interrupted, "interrupted"}, {n.Exit, "exit"}, {n.Cancelled, "cancelled"}, {n.Failed, "failed"}, {n.Refused, "refused"}} {
		if more.number > 0 {
			fmt.Fprintf(&text, ", %d %s", more.number, more.word)
		}
	}
	return text.String()
}

// BatchArchive writes the archive of a batch, as it is, to the standard output.
func BatchArchive(ctx context.Context, p app.Process, id string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	res, err := c.GetBatchArchive(ctx, id)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(p.Stdout, res.Body)
	return err //nolint:wrapcheck // of the connection, or of the output
}

// ResultOptions are the flags of `kaa batches results`.
type ResultOptions struct {
	Order, Cursor  string
	Status, States []string
	Follow         bool
}

// BatchResults prints the results of a batch, a line of JSON each.
func BatchResults(ctx context.Context, p app.Process, id string, o ResultOptions) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	params := client.GetBatchResultsParams{Order: o.Order, Cursor: o.Cursor, Status: o.Status, State: o.States}
	if o.Follow {
		params.Follow = new(true)
	}
	return eachResult(ctx, c, id, params, func(line []byte) error {
		_, err := p.Stdout.Write(append(line, '\n'))
		return err //nolint:wrapcheck // of the output
	})
}

// eachResult passes the lines with results on. The last line shows how they end.
func eachResult(ctx context.Context, c *client.Client, id string, params client.GetBatchResultsParams, take func(line []byte) error) error {
	for line, err := range c.BatchLines(ctx, id, params) {
		if err != nil {
			return err
		}
		var last client.BatchResultsEnd
		switch err := json.Unmarshal(line, &last); {
		case err == nil && last.End == "broken":
			return fmt.Errorf("the results broke off: go on with --cursor %s", last.Cursor)
		case err == nil && last.End != "":
			return nil
		}
		if err := take(line); err != nil {
			return err
		}
	}
	return fmt.Errorf("the results broke off: %w", errors.Join(ctx.Err(), io.ErrUnexpectedEOF))
}

// CancelBatch cancels what has not ended of a batch.
func CancelBatch(ctx context.Context, p app.Process, id string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	b, err := c.CancelBatch(ctx, id)
	if err != nil {
		return err
	}
	return show(p.Stdout, b, id+" is being cancelled")
}
