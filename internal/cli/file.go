package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

// RunOptions are the arguments of `kaa run`.
type RunOptions struct {
	File     string   // - for standard input
	Args     []string // of the program
	Stdin    *os.File
	Timeout  time.Duration // 0 for the server's default
	Envs     []string      // NAME=VALUE, or NAME for this process's value
	Files    []string      // to send along: PATH, or NAME=PATH
	Runtime  string        // a Python of the Kaa, by its name
	Packages []string      // of the index, that it imports
	Preload  []string      // modules of the packages, to be imported ahead
	Session  string        // id or name of the session in which it is executed
	Limits   []string      // NAME=NUMBER, as the API names them
	Cases    string        // file with cases of the program; empty if it has none
	Out      string        // directory for the files and figures that it makes; empty to keep none
	// Signals brings signals that ask for the end. The first one cancels the program, and its last
	// output is still printed. The second one ends the run at once.
	Signals <-chan os.Signal
}

// caseRequest is a request with the cases of a file as they are, so that the server says what is wrong with them.
type caseRequest struct {
	client.ExecuteBody
	Cases              json.RawMessage `json:"cases,omitempty"`
	Checker            json.RawMessage `json:"checker,omitempty"`
	CaseTimeout        *float64        `json:"caseTimeout,omitempty"`
	StopAtFirstFailure bool            `json:"stopAtFirstFailure,omitempty"`
}

// RunFile executes a program and prints its output as it arrives. It returns an ExitError unless
// the program ended with 0.
func RunFile(ctx context.Context, p app.Process, o RunOptions) error {
	request, err := o.request(p)
	if err != nil {
		return err
	}
	cases := new(runCases)
	if o.Cases != "" {
		if cases, err = readCases(o.Cases); err != nil {
			return err
		}
	}
	if strings.TrimSpace(request.Code) == "" {
		return nil // an empty program does nothing, successfully; the API would refuse it
	}
	ctx, r := newRun(ctx, p)
	defer r.attend(o.Signals)()
	c, stop, err := runner(ctx, p, o.Session != "")
	if err != nil {
		return r.exit(err)
	}
	defer stop()
	r.client, r.noInput = c, o.noInput()
	if o.Session != "" {
		if request.SessionID, err = sessionOf(ctx, c, o.Session); err != nil {
			return r.exit(err)
		}
	}
	handlers := r.handlers()
	if inJSON(p.Stdout) {
		handlers = client.Handlers{Began: r.began}
	} else {
		r.picture = pictures(p)
	}
	end, err := c.StreamTo(ctx, executePath, caseRequest{request, cases.Cases, cases.Checker, cases.CaseTimeout, cases.StopAtFirstFailure}, handlers)
	if err != nil {
		return r.exit(err)
	}
	if inJSON(p.Stdout) {
		return r.exit(r.reportJSON(ctx, end))
	}
	code := r.report(end)
	if err := r.keep(ctx, end, o.Out); err != nil {
		return r.exit(err)
	}
	return r.exit(code)
}

// noInput says why the program gets no input, if it gets none that there could be.
func (o RunOptions) noInput() string {
	const repl = ", or use kaa repl, where input() asks"
	switch {
	case o.Cases != "":
		return ""
	case o.File == "-":
		return "the program was itself read from standard input, so it gets none: save it as a file and pipe its input in" + repl
	case windowOf(o.Stdin) != nil:
		return "the program gets no input from a terminal: pipe its input in" + repl
	}
	return ""
}

// executePath is where programs are executed.
const executePath = "/process/interpreter/execute"

// runner returns a client of the Kaa at KAA_URL, or of one that it starts, and a function that stops that.
func runner(ctx context.Context, p app.Process, mustRun bool) (*client.Client, func(), error) {
	if p.Environ.Get("KAA_URL") != "" || mustRun {
		c, err := operator(p.Environ)
		return c, func() {}, err
	}
	// The server does not log, because its log does not belong into the program's output.
	key := rand.Text() // keeps other users of this machine from the server
	quiet := p
	quiet.Stderr, quiet.Hurry = io.Discard, ctx.Done()
	d, err := app.StartDev(ctx, quiet, map[string]string{"KAA_ADDR": "127.0.0.1:0", "KAA_CONCURRENCY": "1", "KAA_API_KEYS": key, "KAA_ADMIN_KEYS": ""})
	if err != nil {
		return nil, nil, err
	}
	stop := func() { _ = d.Stop(ctx) } // only the program's end matters here
	return client.New(d.Addr().String(), key), stop, nil
}

// request reads the program and its input.
func (o RunOptions) request(p app.Process) (client.ExecuteBody, error) {
	var r client.ExecuteBody
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
	if o.File != "-" && o.Cases == "" && !isTerminal(o.Stdin) {
		input, err := text(io.ReadAll(o.Stdin))
		if err != nil {
			return r, fmt.Errorf("read standard input: %w", err)
		}
		if input != "" {
			r.Stdin = &input
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
	if o.Timeout > 0 {
		r.Timeout = new(o.Timeout.Seconds())
	}
	if o.Runtime != "" {
		r.Runtime = &o.Runtime
	}
	r.Packages, r.Preload = o.Packages, o.Preload
	r.Args, r.Envs = o.Args, environment(p, o.Envs)
	r.Limits, err = limitsOf(o.Limits)
	return r, err
}

// limitsOf reads limits: NAME=NUMBER, where numbers of bytes may have a unit.
func limitsOf(words []string) (*client.LimitsBody, error) {
	if len(words) == 0 {
		return nil, nil //nolint:nilnil // no limits
	}
	all := map[string]json.Number{}
	for _, word := range words {
		name, value, given := strings.Cut(word, "=")
		if !given {
			return nil, fmt.Errorf("--limit %s: write NAME=NUMBER, such as memoryBytes=512M", word)
		}
		n, err := size(value)
		if err != nil {
			return nil, fmt.Errorf("--limit %s: %w", word, err)
		}
		all[name] = n
	}
	encoded, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("--limit: %w", err)
	}
	limits := new(client.LimitsBody)
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(limits); err != nil {
		return nil, fmt.Errorf("--limit: %w; there are memoryBytes, cpus, cpuSeconds, diskBytes, fileBytes, processes, openFiles, outputBytes and resultBytes", err)
	}
	return limits, nil
}

// size reads a number, perhaps with a unit of bytes: 512M is 536870912.
func size(text string) (json.Number, error) {
	units := map[string]int64{"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
	for unit, factor := range units {
		if count, ok := strings.CutSuffix(strings.TrimSuffix(strings.ToUpper(text), "IB"), unit); ok {
			n, err := strconv.ParseInt(count, 10, 32)
			if err != nil {
				break
			}
			return json.Number(strconv.FormatInt(n*factor, 10)), nil
		}
	}
	if _, err := strconv.ParseFloat(text, 64); err != nil {
		return "", errors.New("want a number, perhaps with K, M or G")
	}
	return json.Number(text), nil
}
