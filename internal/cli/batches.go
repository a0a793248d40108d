package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kaa-run/kaa/internal/app"
)

// batch is a batch in the answers of the API.
type batch struct {
	ID, Name, State string
	Received        struct{ Lines, Jobs int64 }
	Jobs            struct{ Waiting, Running, Completed, OK, Error, Interrupted, Exit, Cancelled, Failed, Refused int64 }
	Rate            float64
	EstimatedEnd    *time.Time
	CreatedAt       *time.Time
}

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
	query, header := url.Values{}, http.Header{"Content-Type": {"application/x-ndjson"}}
	if o.Name != "" {
		query.Set("name", o.Name)
	}
	if o.SkipBad {
		query.Set("badLines", "skip")
	}
	if o.Archive {
		query.Set("archive", "true")
	}
	if o.Key != "" {
		header.Set("Idempotency-Key", o.Key)
	}
	res, err := c.call(ctx, http.MethodPost, "/v1/batches?"+query.Encode(), lines, header)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	var b batch
	if err := json.NewDecoder(res.Body).Decode(&b); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	if b.Jobs.Refused > 0 {
		_, _ = fmt.Fprintf(p.Stderr, "kaa: %d lines were left out; kaa batches results %s --state refused shows why\n", b.Jobs.Refused, b.ID)
	}
	return printed(p.Stdout, b.ID)
}

// ListBatches prints the newest batches.
func ListBatches(ctx context.Context, p app.Process) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	var list struct{ Batches []batch }
	if err := c.json(ctx, http.MethodGet, "/v1/batches", nil, &list); err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "BATCH\tNAME\tSTATE\tJOBS\tWAITING\tRUNNING\tCREATED")
	for _, b := range list.Batches {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%d\t%s\n", b.ID, cmp.Or(b.Name, "-"), b.State, b.Received.Jobs, b.Jobs.Waiting, b.Jobs.Running, moment(b.CreatedAt))
	}
	return table.Flush()
}

// ShowBatch prints the progress of a batch.
func ShowBatch(ctx context.Context, p app.Process, id string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	var b batch
	if err := c.json(ctx, http.MethodGet, "/v1/batches/"+url.PathEscape(id), nil, &b); err != nil {
		return err
	}
	var text strings.Builder
	_, _ = fmt.Fprintf(&text, "%s is %s: %d jobs, %d wait, %d run, %d ok, %d error", b.ID, b.State, b.Received.Jobs, b.Jobs.Waiting, b.Jobs.Running, b.Jobs.OK, b.Jobs.Error)
	for _, more := range []struct {
		number int64
		word   string
	}{{b.Jobs.Interrupted, "interrupted"}, {b.Jobs.Exit, "exit"}, {b.Jobs.Cancelled, "cancelled"}, {b.Jobs.Failed, "failed"}, {b.Jobs.Refused, "refused"}} {
		if more.number > 0 {
			_, _ = fmt.Fprintf(&text, ", %d %s", more.number, more.word)
		}
	}
	if b.Rate > 0 {
		_, _ = fmt.Fprintf(&text, "; %.0f a second", b.Rate)
	}
	if b.EstimatedEnd != nil {
		text.WriteString(", to the end at " + moment(b.EstimatedEnd))
	}
	return printed(p.Stdout, text.String())
}

// BatchArchive writes the archive of a batch, as it is, to the standard output.
func BatchArchive(ctx context.Context, p app.Process, id string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	return c.get(ctx, "/v1/batches/"+url.PathEscape(id)+"/archive", func(body io.Reader) error {
		_, err := io.Copy(p.Stdout, body)
		return err //nolint:wrapcheck // of the connection, or of the output
	})
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
	query := url.Values{}
	for name, value := range map[string]string{"order": o.Order, "cursor": o.Cursor, "status": strings.Join(o.Status, ","), "state": strings.Join(o.States, ",")} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if o.Follow {
		query.Set("follow", "true")
	}
	return c.get(ctx, "/v1/batches/"+url.PathEscape(id)+"/results?"+query.Encode(), func(body io.Reader) error { return printResults(p.Stdout, body) })
}

// printResults copies the lines with results. The last line shows how they end.
func printResults(w io.Writer, body io.Reader) error {
	for lines := bufio.NewReader(body); ; {
		line, err := lines.ReadBytes('\n')
		var last struct{ End, Cursor string }
		switch {
		case err != nil:
			return fmt.Errorf("the results broke off: %w", errors.Join(err, io.ErrUnexpectedEOF))
		case len(line) == 1: // it only shows that the connection lives
			continue
		case json.Unmarshal(line, &last) == nil && last.End == "broken":
			return fmt.Errorf("the results broke off: go on with --cursor %s", last.Cursor)
		case last.End != "":
			return nil
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
}

// CancelBatch cancels what has not ended of a batch.
func CancelBatch(ctx context.Context, p app.Process, id string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	if err := c.json(ctx, http.MethodDelete, "/v1/batches/"+url.PathEscape(id), nil, nil); err != nil {
		return err
	}
	return printed(p.Stdout, id+" is being cancelled")
}
