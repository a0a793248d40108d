package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/kaa-run/kaa/client"
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

// Exec runs a command in a session, or in a fresh sandbox, and prints its output as it arrives. It returns an ExitError
// unless the command ended with 0.
func Exec(ctx context.Context, p app.Process, o ExecOptions) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	request := client.CommandBody{Argv: o.Program, Envs: environment(p, o.Envs)}
	if o.Cwd != "" {
		request.Cwd = &o.Cwd
	}
	if o.Timeout > 0 {
		request.Timeout = new(o.Timeout.Seconds())
	}
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
	ctx, r := newRun(ctx, p)
	r.client = c
	defer r.attend(o.Signals)()
	if o.Session != "" {
		if o.Session, err = sessionID(ctx, c, o.Session); err != nil {
			return r.exit(err)
		}
	}
	if attached {
		return r.exit(r.execAttached(ctx, o, request))
	}
	var end client.End
	if o.Session != "" {
		end, err = c.CommandStream(ctx, o.Session, request, r.handlers())
	} else {
		fresh := client.ExecuteBody{Argv: request.Argv, Cwd: request.Cwd, Stdin: request.Stdin, Timeout: request.Timeout, Envs: request.Envs}
		end, err = c.ExecuteStream(ctx, fresh, r.handlers())
	}
	if err != nil {
		return r.exit(err)
	}
	return r.exit(r.report(end))
}
