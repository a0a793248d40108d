package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

// MapOptions are the arguments of `kaa map`.
type MapOptions struct {
	// Programs are files of Python, or files of lines of JSON (.ndjson, .jsonl, or - for standard input), a job each.
	Programs []string
	Stdin    *os.File
	Timeout  time.Duration
	Runtime  string
	Packages []string
	Preload  []string
	Limits   []string
	// Completion prints results as they come, and not in the order of the programs.
	Completion bool
	// Key continues a batch that broke off.
	Key string
	// Out is a file for the results; empty for standard output.
	Out     string
	Signals <-chan os.Signal
}

// mostLine bounds a line of JSON.
const mostLine = 64 << 20

// lines returns the lines of the batch, and the name of the program of each.
func (o MapOptions) lines() (io.Reader, []string, error) {
	limits, err := limitsOf(o.Limits)
	if err != nil {
		return nil, nil, err
	}
	var names []string
	lines := new(bytes.Buffer)
	for _, path := range o.Programs {
		if ext := filepath.Ext(path); path == "-" || ext == ".ndjson" || ext == ".jsonl" {
			more, err := copyLines(lines, path, o.Stdin)
			if err != nil {
				return nil, nil, err
			}
			names = append(names, more...)
			continue
		}
		code, err := text(os.ReadFile(path))
		if err != nil {
			return nil, nil, fmt.Errorf("read program %s: %w", path, err)
		}
		body := client.JobBody{Code: code, Limits: limits}
		if o.Timeout > 0 {
			body.Timeout = new(o.Timeout.Seconds())
		}
		if o.Runtime != "" {
			body.Runtime = &o.Runtime
		}
		body.Packages, body.Preload = o.Packages, o.Preload
		if err := encode(lines, body); err != nil {
			return nil, nil, err
		}
		names = append(names, path)
	}
	return lines, names, nil
}

// copyLines copies the lines of a file that are not empty, and names them by their numbers.
func copyLines(to *bytes.Buffer, path string, stdin *os.File) (names []string, err error) {
	from := stdin
	if path != "-" {
		if from, err = os.Open(path); err != nil {
			return nil, fmt.Errorf("read jobs: %w", err)
		}
		defer func() { _ = from.Close() }()
	}
	scanner := bufio.NewScanner(from)
	scanner.Buffer(make([]byte, 64<<10), mostLine)
	for n := 1; scanner.Scan(); n++ {
		if line := bytes.TrimSpace(scanner.Bytes()); len(line) > 0 {
			to.Write(append(line, '\n'))
			names = append(names, fmt.Sprintf("%s:%d", path, n))
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("read jobs of %s: %w", path, err)
	}
	return names, nil
}

// mapping is a batch that `kaa map` waits for.
type mapping struct {
	*run
	names    []string
	batch    string
	progress bool
	done     int
	counts   map[string]int
}

// Map executes programs as a batch and prints a line of JSON for each: its name, and the result. It returns ExitError(1) unless all
// ended with ok.
func Map(ctx context.Context, p app.Process, o MapOptions) (err error) {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	lines, names, err := o.lines()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return errors.New("there are no programs: kaa map *.py, or kaa map jobs.ndjson")
	}
	if o.Out != "" && o.Out != "-" {
		f, err := os.Create(o.Out)
		if err != nil {
			return fmt.Errorf("write the results: %w", err)
		}
		defer func() {
			if closed := f.Close(); err == nil {
				err = closed
			}
		}()
		p.Stdout = f
	}
	ctx, r := newRun(ctx, p)
	m := &mapping{run: r, names: names, counts: map[string]int{}, progress: isWindow(p.Stderr)}
	r.client, r.stop = c, m.cancel
	defer r.attend(o.Signals)()
	b, err := sendBatch(ctx, c, lines, BatchOptions{Key: o.Key})
	if err != nil {
		return r.exit(err)
	}
	m.batch = b.ID
	r.began(b.ID)
	params := client.GetBatchResultsParams{Follow: new(true)}
	if o.Completion {
		params.Order = "completion"
	}
	if err := eachResult(ctx, c, b.ID, params, m.take); err != nil {
		if errors.Is(err, context.Canceled) || r.ended() {
			return r.exit(err)
		}
		r.say("the batch %s goes on: kaa batches results %s --follow", b.ID, b.ID)
		return r.exit(err)
	}
	return r.exit(m.summary())
}

// cancel ends the batch.
func (m *mapping) cancel(ctx context.Context, id string) { _, _ = m.client.CancelBatch(ctx, id) }

// take prints a line with its name.
func (m *mapping) take(line []byte) error {
	var l client.BatchResultLine
	if err := json.Unmarshal(line, &l); err != nil {
		return fmt.Errorf("decode result: %w", err)
	}
	how := l.State
	if l.Status != "" {
		how = l.Status
	}
	m.counts[how]++
	m.done++
	name := ""
	if l.Index >= 0 && int(l.Index) < len(m.names) {
		name = m.names[l.Index]
	}
	encoded, err := json.Marshal(name)
	if err != nil {
		return fmt.Errorf("encode name: %w", err)
	}
	if m.progress {
		_, _ = fmt.Fprint(m.p.Stderr, "\r\x1b[K")
	}
	if err := m.wrote("stdout", `{"program":`+string(encoded)+","+strings.TrimPrefix(string(line), "{")+"\n"); err != nil {
		end(func(ctx context.Context) { m.cancel(ctx, m.batch) })
		return err
	}
	if m.progress {
		m.bar()
	}
	return nil
}

// bar draws the progress on the terminal.
func (m *mapping) bar() {
	const width = 30
	full := width * m.done / len(m.names)
	_, _ = fmt.Fprintf(m.p.Stderr, "\r\x1b[K[%s%s] %d of %d%s", strings.Repeat("#", full), strings.Repeat(".", width-full), m.done, len(m.names), m.others())
}

// others words how programs ended other than well.
func (m *mapping) others() string {
	var text strings.Builder
	for _, how := range []string{"error", "exit", "interrupted", "failed", "cancelled", "refused"} {
		if n := m.counts[how]; n > 0 {
			fmt.Fprintf(&text, ", %d %s", n, how)
		}
	}
	return text.String()
}

// summary prints how the programs ended.
func (m *mapping) summary() error {
	if m.progress {
		_, _ = fmt.Fprint(m.p.Stderr, "\r\x1b[K")
	}
	m.say("%d of %d programs: %d ok%s", m.done, len(m.names), m.counts["ok"], m.others())
	if m.counts["ok"] != len(m.names) {
		return ExitError(1)
	}
	return nil
}

// isWindow reports whether an output is a terminal.
func isWindow(w io.Writer) bool {
	switch f := w.(type) {
	case *os.File:
		return windowOf(f) != nil
	case Color:
		return true
	}
	return false
}
