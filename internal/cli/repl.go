package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/term"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/app"
)

// ReplOptions are the arguments of `kaa repl`.
type ReplOptions struct {
	// Session is the id or name of one that is there. Without it a new one is opened, which ends with the interpreter unless Keep is set.
	Session string
	Keep    bool
	Open    SessionOptions
	Stdin   *os.File
	// Signals brings signals of others: at a prompt, Ctrl-C is a key.
	Signals <-chan os.Signal
}

const (
	// mostFrames is how many frames wait while a person answers input().
	mostFrames = 1024

	prompt     = ">>> "
	morePrompt = "... "
)

// repl is an interactive interpreter.
type repl struct {
	*run
	socket  *client.Socket
	session string
	stdin   *os.File
	editor  *term.Terminal
	keys    *keyReader
	frames  chan frame
	history *history
	// n is the number of the present execution.
	n atomic.Int64
}

// frame is a frame of the server, or the error that ended the connection.
type frame struct {
	data []byte
	err  error
}

// Repl reads code from a terminal and executes it in a session, until Ctrl-D.
func Repl(ctx context.Context, p app.Process, o ReplOptions) error {
	if windowOf(o.Stdin) == nil {
		return errors.New("kaa repl needs a terminal; kaa run - takes a program from standard input")
	}
	ctx, run := newRun(ctx, p)
	defer run.leave()
	c, stop, err := runner(ctx, p, o.Session != "")
	if err != nil {
		return err
	}
	defer stop()
	run.client, run.picture = c, pictures(p)
	r := &repl{run: run, stdin: o.Stdin, frames: make(chan frame, mostFrames)}
	if r.history, err = openHistory(p.Environ); err != nil {
		run.say("%v", err)
	}
	defer r.history.close()
	if r.session, err = r.open(ctx, o); err != nil {
		return err
	}
	if o.Session == "" && o.Open.Name == "" && !o.Keep {
		defer end(func(ctx context.Context) { _, _ = c.CloseSession(ctx, r.session) })
	} else {
		defer func() { run.say("the session %s goes on: kaa repl --session %s", r.session, r.session) }()
	}
	if r.socket, err = c.DialSession(ctx, r.session); err != nil {
		return err
	}
	defer func() { _ = r.socket.Close() }()
	go r.receive(ctx)
	return r.loop(ctx, o.Signals)
}

// open returns the id of the session.
func (r *repl) open(ctx context.Context, o ReplOptions) (string, error) {
	if o.Session != "" {
		return sessionID(ctx, r.client, o.Session)
	}
	body, err := o.Open.body(r.p)
	if err != nil {
		return "", err
	}
	var s client.SessionView
	if o.Open.Name != "" {
		s, err = r.client.EnsureSession(ctx, o.Open.Name, body)
	} else {
		s, err = r.client.OpenSession(ctx, body)
	}
	return s.ID, err
}

// receive reads frames until the connection ends, so that pings are answered while a person thinks. Frames of executions other than the
// present one are dropped.
func (r *repl) receive(ctx context.Context) {
	for {
		data, _, err := r.socket.Read(ctx)
		var head struct{ ID, Type string }
		if err == nil && (json.Unmarshal(data, &head) != nil || head.Type != "session" && head.ID != strconv.FormatInt(r.n.Load(), 10)) {
			continue
		}
		select {
		case r.frames <- frame{data, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// loop reads statements and executes them.
func (r *repl) loop(ctx context.Context, signals <-chan os.Signal) error {
	r.keys = &keyReader{from: r.stdin, ended: ctx.Done()}
	r.edit(ctx)
	r.say("Python in the session %s; Ctrl-C interrupts, Ctrl-D ends", r.session)
	for {
		code, err := r.statement(ctx)
		switch {
		case errors.Is(err, errInterrupted):
			r.edit(ctx) // the old one has what was typed
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case strings.TrimSpace(code) == "":
			continue
		}
		if err := r.execute(ctx, code, signals); err != nil {
			return err
		}
	}
}

// edit makes an editor.
func (r *repl) edit(ctx context.Context) {
	r.editor = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{r.keys, r.p.Stdout}, prompt)
	r.editor.AutoCompleteCallback = r.complete(ctx)
	r.editor.History = r.history
}

// errInterrupted: Ctrl-C at a prompt, which drops what was typed.
var errInterrupted = errors.New("interrupted")

// statement reads lines until they are a whole statement.
func (r *repl) statement(ctx context.Context) (string, error) {
	var lines []string
	r.editor.SetPrompt(prompt)
	for {
		line, err := r.readLine()
		if err != nil {
			return "", err
		}
		lines = append(lines, line)
		code := strings.Join(lines, "\n")
		indented := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")
		// A block goes on until a line that is empty, or not indented.
		if strings.TrimSpace(code) == "" || (!indented || strings.TrimSpace(line) == "" || len(lines) == 1) && r.whole(ctx, code) {
			return code, nil
		}
		r.editor.SetPrompt(morePrompt)
	}
}

// readLine reads a line from the terminal, which is raw meanwhile only.
func (r *repl) readLine() (string, error) {
	defer rawMode(r.stdin)()
	if w := windowOf(r.stdin); w != nil && w.Col > 0 && w.Row > 0 {
		_ = r.editor.SetSize(int(w.Col), int(w.Row))
	}
	r.keys.interrupted = false
	line, err := r.editor.ReadLine()
	switch {
	case errors.Is(err, term.ErrPasteIndicator):
		return line, nil
	case err != nil && r.keys.interrupted:
		_, _ = io.WriteString(r.p.Stdout, "\r\n")
		return "", errInterrupted
	case errors.Is(err, io.EOF):
		_, _ = io.WriteString(r.p.Stdout, "\r\n")
		return "", io.EOF
	case err != nil:
		return "", fmt.Errorf("read the terminal: %w", err)
	}
	return line, nil
}

// execute executes code and prints its events until its end.
func (r *repl) execute(ctx context.Context, code string, signals <-chan os.Signal) error {
	id := strconv.FormatInt(r.n.Add(1), 10)
	if err := r.socket.Send(ctx, map[string]any{"type": "execute", "id": id, "code": code}); err != nil {
		return err
	}
	h := r.handlers()
	h.Value, h.Other = r.value, func(e client.Event) error { return r.asked(ctx, e) }
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-signals:
			if err := r.socket.Send(ctx, map[string]string{"type": "interrupt"}); err != nil {
				return err
			}
		case f := <-r.frames:
			if f.err != nil {
				return f.err
			}
			if done, err := r.handle(f.data, id, h); err != nil || done {
				return err
			}
		}
	}
}

// handle passes a frame on, and returns true at the end of the execution.
func (r *repl) handle(data []byte, id string, h client.Handlers) (done bool, err error) {
	var head struct{ ID, Type, Code, Detail, Message string }
	if err := json.Unmarshal(data, &head); err != nil {
		return false, fmt.Errorf("decode frame: %w", err)
	}
	switch {
	case head.Type == "session":
		return false, fmt.Errorf("the session has ended: %s", head.Message)
	case head.ID != id:
		return false, nil
	case head.Type == "error" && head.Code != "":
		r.say("%s", head.Detail)
		return true, nil
	}
	var end client.End
	if done, err = h.Handle(client.Event{Type: head.Type, Data: data}, &end); done {
		r.close(end)
	}
	return done, err
}

// close prints the exception that ended a statement.
func (r *repl) close(end client.End) {
	switch {
	case end.Error != nil:
		r.traceback(end.Error.Name, end.Error.Value, end.Error.Traceback)
	case end.Failure != nil:
		r.say("%s", end.Failure.Message)
	}
}

// value prints the value of the last expression, as an interpreter does, and shows a picture where the terminal can.
func (r *repl) value(v client.Value) {
	var text string
	pictures := figuresOf([]client.Value{v})
	if len(pictures) > 0 && r.picture != nil && pictures[0]["png"] != nil {
		_ = r.wrote("stdout", r.picture(pictures[0]["png"]))
		return
	}
	if json.Unmarshal(v.Data["text/plain"], &text) == nil && text != "" {
		_ = r.wrote("stdout", text+"\n")
	}
}

// asked answers input() with a line of the terminal.
func (r *repl) asked(ctx context.Context, e client.Event) error {
	var request struct {
		Type, JobID, Prompt string
		Request             int
	}
	if json.Unmarshal(e.Data, &request) != nil || request.Type != "input_request" {
		return nil
	}
	r.editor.SetPrompt("")
	answer := map[string]any{"type": "input", "jobId": request.JobID, "request": request.Request}
	r.history.answering = true
	line, err := r.readLine()
	r.history.answering = false
	switch {
	case errors.Is(err, errInterrupted):
		return r.socket.Send(ctx, map[string]string{"type": "interrupt"})
	case errors.Is(err, io.EOF):
		answer["eof"] = true
	case err != nil:
		return err
	default:
		answer["text"] = line
	}
	return r.socket.Send(ctx, answer)
}
