package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/app"
)

// ExecOptions are the arguments of `kaa exec`.
type ExecOptions struct {
	Session string   // its id; empty for a fresh sandbox
	Program []string // and its arguments
	Cwd     string
	Stdin   *os.File
	Timeout time.Duration // 0 for the server's default
	Envs    []string      // NAME=VALUE, or NAME for this process's value
	// Input passes standard input on as it comes, as bytes. Terminal does so too, and gives the command a terminal of the size of
	// this one. Resized has a token when that size has changed.
	Input, Terminal bool
	Resized         <-chan os.Signal
	// Signals brings signals that ask for the end, as for RunOptions.
	Signals <-chan os.Signal
}

// execRequest is the body of a command.
type execRequest struct {
	Program []string          `json:"argv"`
	Cwd     string            `json:"cwd,omitempty"`
	Stdin   *string           `json:"stdin,omitempty"`
	Timeout float64           `json:"timeout,omitempty"`
	Envs    map[string]string `json:"envs,omitempty"`
}

// Exec runs a command in a session, or in a fresh sandbox, and prints its output as it arrives. It returns an ExitError
// unless the command ended with 0.
func Exec(ctx context.Context, p app.Process, o ExecOptions) error {
	c := client{p.Environ.Get("KAA_URL"), p.Environ.Get("KAA_API_KEY")}
	if c.url == "" {
		return errors.New("KAA_URL is not set; it has the address of the Kaa, such as http://127.0.0.1:8080")
	}
	if !strings.Contains(c.url, "://") {
		c.url = "http://" + c.url
	}
	request := execRequest{Program: o.Program, Cwd: o.Cwd, Timeout: o.Timeout.Seconds(), Envs: environment(p, o.Envs)}
	attached := o.Input || o.Terminal
	if !attached && !isTerminal(o.Stdin) {
		input, err := text(io.ReadAll(o.Stdin))
		if err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
		request.Stdin = &input
	}
	for _, word := range o.Program {
		if _, err := text([]byte(word), nil); err != nil {
			return fmt.Errorf("argument %q: %w", word, err)
		}
	}
	path := executePath
	if o.Session != "" {
		path = commandsOf(o.Session)
	}
	ctx, r := newRun(ctx, p)
	r.client = c
	defer r.attend(o.Signals)()
	if attached {
		return r.exit(r.execAttached(ctx, o, request))
	}
	end, err := c.execute(ctx, path, request, r)
	if err != nil {
		return r.exit(err)
	}
	return r.exit(r.report(end))
}

// commandsOf returns the path of the commands of a session.
func commandsOf(session string) string {
	return "/v1/sessions/" + url.PathEscape(session) + "/commands"
}
