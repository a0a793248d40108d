package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kaa-run/kaa/internal/app"
)

// RunOptions are the arguments of `kaa run`.
type RunOptions struct {
	File    string   // - for standard input
	Args    []string // of the program
	Stdin   *os.File
	Timeout time.Duration // 0 for the server's default
	Envs    []string      // NAME=VALUE, or NAME for this process's value
	Files   []string      // to send along: PATH, or NAME=PATH
	Cases   string        // file with cases of the program; empty if it has none
	Out     string        // directory for the files and figures that it makes; empty to keep none
	// Signals brings signals that ask for the end. The first one cancels the program, and its last
	// output is still printed. The second one ends the run at once.
	Signals <-chan os.Signal
}

// RunFile executes a program and prints its output as it arrives. It returns an ExitError unless
// the program ended with 0.
func RunFile(ctx context.Context, p app.Process, o RunOptions) error {
	request, err := o.request(p)
	if err != nil {
		return err
	}
	if strings.TrimSpace(request.Code) == "" {
		return nil // an empty program does nothing, successfully; the API would refuse it
	}
	ctx, r := newRun(ctx, p)
	defer r.attend(o.Signals)()
	c := client{p.Environ.Get("KAA_URL"), p.Environ.Get("KAA_API_KEY")}
	if c.url == "" {
		// The server does not log, because its log does not belong into the program's output.
		c.key = rand.Text() // keeps other users of this machine from the server
		quiet := p
		quiet.Stderr, quiet.Hurry = io.Discard, ctx.Done()
		d, err := app.StartDev(ctx, quiet, map[string]string{"KAA_ADDR": "127.0.0.1:0", "KAA_CONCURRENCY": "1", "KAA_API_KEYS": c.key, "KAA_ADMIN_KEYS": ""})
		if err != nil {
			return r.exit(err)
		}
		defer func() { _ = d.Stop(ctx) }() // only the program's end matters here
		c.url = "http://" + d.Addr().String()
	}
	if !strings.Contains(c.url, "://") {
		c.url = "http://" + c.url
	}
	r.client = c
	end, err := c.execute(ctx, executePath, request, r)
	if err != nil {
		return r.exit(err)
	}
	code := r.report(end)
	if err := r.keep(ctx, end, o.Out); err != nil {
		return r.exit(err)
	}
	return r.exit(code)
}

// request reads the program and its input.
func (o RunOptions) request(p app.Process) (runRequest, error) {
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
	if o.Cases != "" {
		if r.runCases, err = readCases(o.Cases); err != nil {
			return r, err
		}
	}
	if o.File != "-" && o.Cases == "" && !isTerminal(o.Stdin) {
		if r.Stdin, err = text(io.ReadAll(o.Stdin)); err != nil {
			return r, fmt.Errorf("read standard input: %w", err)
		}
	}
	if r.Files, err = readFiles(o.Files); err != nil {
		return r, err
	}
	for _, arg := range o.Args {
		if _, err := text([]byte(arg), nil); err != nil {
			return r, fmt.Errorf("argument %q: %w", arg, err)
		}
	}
	r.Args, r.Timeout = o.Args, o.Timeout.Seconds()
	r.Envs = environment(p, o.Envs)
	return r, nil
}

// environment reads variables: NAME=VALUE, or NAME for this process's value.
func environment(p app.Process, envs []string) map[string]string {
	all := make(map[string]string, len(envs))
	for _, e := range envs {
		name, value, given := strings.Cut(e, "=")
		if !given {
			value = p.Environ.Get(name)
			if !slices.ContainsFunc(p.Environ, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
				_, _ = fmt.Fprintf(p.Stderr, "kaa: --env %s: this shell has no such variable; the program gets it empty\n", name)
			}
		}
		all[name] = value
	}
	return all
}

// isTerminal reports whether f is a terminal, or another device, or cannot be read.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err != nil || info.Mode()&os.ModeCharDevice != 0
}

// text refuses bytes that JSON cannot carry, rather than change them silently.
func text(b []byte, err error) (string, error) {
	if err == nil && !utf8.Valid(b) {
		err = errors.New("it is not valid UTF-8; convert it, or read binary data from a file in the program")
	}
	return string(b), err
}

// readFiles reads the files that --file names: NAME=PATH, or a PATH that is also the name. A PATH
// that is not below the current directory is named by its last part only.
func readFiles(names []string) ([]runFile, error) {
	files := make([]runFile, 0, len(names))
	for _, text := range names {
		name, from, given := strings.Cut(text, "=")
		if !given {
			from = text
			if name = filepath.Clean(text); !filepath.IsLocal(name) {
				name = filepath.Base(name)
			}
		}
		content, err := os.ReadFile(from)
		if err != nil {
			return nil, fmt.Errorf("--file %s: %w", text, err)
		}
		files = append(files, runFile{filepath.ToSlash(name), content})
	}
	return files, nil
}
