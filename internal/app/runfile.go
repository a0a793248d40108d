package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/kaa-run/kaa/internal/job"
)

// Exit codes of `kaa run` that are not the program's own, as timeout(1) has them.
const (
	ExitTimeout = 124
	ExitTrouble = 125 // Kaa could not execute it
	ExitSignal  = 130 // interrupted from the keyboard
)

// ExitError is the exit code that `kaa run` has to end with.
type ExitError int

func (e ExitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// RunOptions say what `kaa run` executes.
type RunOptions struct {
	File    string // - for standard input
	Stdin   *os.File
	Timeout time.Duration // 0 for the server's default
	Envs    []string      // NAME=VALUE, or NAME for this process's value
}

// RunFile executes a program, prints what it printed, and returns an ExitError
// unless it ended with 0.
func RunFile(ctx context.Context, p Process, o RunOptions) error {
	request, err := o.request(p)
	if err != nil {
		return err
	}
	if strings.TrimSpace(request.Code) == "" {
		return nil // an empty program does nothing, successfully; the API would refuse it
	}
	url, key := p.Environ.get("KAA_URL"), p.Environ.get("KAA_API_KEY")
	if url == "" {
		// Quiet: what it would log does not belong into the program's output.
		quiet := p
		quiet.Stderr = io.Discard
		d, err := startDev(ctx, quiet, map[string]string{"KAA_ADDR": "127.0.0.1:0", "KAA_CONCURRENCY": "1", "KAA_API_KEYS": ""})
		if err != nil {
			return err
		}
		defer func() { _ = d.stop(ctx) }() // the program's end is what matters now
		url = "http://" + d.api.listener.Addr().String()
	}
	if !strings.Contains(url, "://") {
		url = "http://" + url
	}
	result, err := execute(ctx, url, key, request)
	if ctx.Err() != nil {
		return ExitError(ExitSignal)
	}
	if err != nil {
		return err
	}
	return report(p, result)
}

// runRequest is the body of an execution.
type runRequest struct {
	Code    string            `json:"code"`
	Stdin   string            `json:"stdin,omitempty"`
	Timeout float64           `json:"timeout,omitempty"`
	Envs    map[string]string `json:"envs,omitempty"`
}

// request reads the program and its input.
func (o RunOptions) request(p Process) (runRequest, error) {
	var r runRequest
	var err error
	if o.File == "-" {
		if isTerminal(o.Stdin) {
			_, _ = fmt.Fprintln(p.Stderr, "kaa: reading a program from standard input; Ctrl-D ends it")
		}
		r.Code, err = text(io.ReadAll(o.Stdin))
	} else {
		r.Code, err = text(os.ReadFile(o.File))
	}
	if err != nil {
		return r, fmt.Errorf("read program: %w", err)
	}
	if o.File != "-" && !isTerminal(o.Stdin) {
		if r.Stdin, err = text(io.ReadAll(o.Stdin)); err != nil {
			return r, fmt.Errorf("read standard input: %w", err)
		}
	}
	r.Timeout = o.Timeout.Seconds()
	r.Envs = make(map[string]string, len(o.Envs))
	for _, e := range o.Envs {
		name, value, given := strings.Cut(e, "=")
		if !given {
			value = p.Environ.get(name)
			if !slices.ContainsFunc(p.Environ, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
				_, _ = fmt.Fprintf(p.Stderr, "kaa: --env %s: this shell has no such variable; the program gets it empty\n", name)
			}
		}
		r.Envs[name] = value
	}
	return r, nil
}

// isTerminal reports whether somebody types what is read; what cannot be read has nobody.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err != nil || info.Mode()&os.ModeCharDevice != 0
}

// text refuses what JSON cannot carry, rather than change it silently.
func text(b []byte, err error) (string, error) {
	if err == nil && !utf8.Valid(b) {
		err = errors.New("it is not valid UTF-8; convert it, or read binary data from a file in the program")
	}
	return string(b), err
}

// execute sends the program and waits for its end.
func execute(ctx context.Context, url, key string, request runRequest) (job.Result, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return job.Result{}, fmt.Errorf("encode request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(url, "/")+"/process/interpreter/execute", bytes.NewReader(body))
	if err != nil {
		return job.Result{}, fmt.Errorf("KAA_URL: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := http.DefaultClient.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return job.Result{}, fmt.Errorf("nothing answers at %s (KAA_URL): is Kaa running there? %w", url, err)
	}
	if err != nil {
		return job.Result{}, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		var problem struct {
			Detail string `json:"detail"`
		}
		if err := json.NewDecoder(res.Body).Decode(&problem); err != nil || problem.Detail == "" {
			return job.Result{}, fmt.Errorf("%s answered %s", url, res.Status)
		}
		return job.Result{}, errors.New(problem.Detail)
	}
	var result job.Result
	if err := json.NewDecoder(res.Body).Decode(&result); err != nil {
		return job.Result{}, fmt.Errorf("decode result: %w", err)
	}
	return result, nil
}

// report prints a result as the program itself would have.
func report(p Process, r job.Result) error {
	_, _ = io.WriteString(p.Stdout, r.Stdout)
	_, _ = io.WriteString(p.Stderr, r.Stderr)
	if r.Error != nil {
		text := r.Error.Traceback
		if text == "" {
			text = r.Error.Name + ": " + r.Error.Value
		}
		_, _ = fmt.Fprintln(p.Stderr, strings.TrimSuffix(text, "\n"))
	}
	if len(r.Files) > 0 {
		names := make([]string, len(r.Files))
		for i, f := range r.Files {
			names[i] = f.Path
		}
		_, _ = fmt.Fprintln(p.Stderr, "kaa: the program left files, which kaa run does not keep:", strings.Join(names, ", "))
	}
	switch {
	case r.Status == job.StatusInterrupted:
		_, _ = fmt.Fprintln(p.Stderr, "kaa: interrupted after", time.Duration(r.DurationMs*float64(time.Millisecond)).Round(time.Millisecond))
		return ExitError(ExitTimeout)
	case r.ExitCode != nil && *r.ExitCode != 0:
		return ExitError(*r.ExitCode)
	case r.Status == job.StatusError:
		return ExitError(1)
	}
	return nil
}
