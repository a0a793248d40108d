package daytona

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// A session of processes is a shell that keeps its directory, variables and functions from one line to the next. Here each line
// is a command of Kaa's session, whose id is that of the line. The wrapper around it restores what the line before has left,
// and saves what this one leaves, in a directory of the sandbox. So any API process can go on with a shell, and logs can be followed.

// shellsDir has a directory for each shell, and that an entry for each line.
const shellsDir = "/tmp/.daytona/shells"

// wrapper is the shell program around a line: $1 is the directory, $2 the line.
const wrapper = `[ -f "$1/state" ] && . "$1/state" >/dev/null 2>&1
__d=$1 __l=$2; set --
[ -f "$__d/cwd" ] && cd -- "$(cat "$__d/cwd")" 2>/dev/null
__save() { __c=$?; trap - EXIT
if [ -n "$BASH_VERSION" ]; then declare -p | grep -v '^declare -[a-zA-Z]*r'; declare -f; alias -p; else export -p; fi >"$__d/state.$$" 2>/dev/null
mv -f "$__d/state.$$" "$__d/state" 2>/dev/null; pwd >"$__d/cwd" 2>/dev/null; exit $__c; }
trap __save EXIT
[ -n "$BASH_VERSION" ] && shopt -s expand_aliases
eval "$__l"`

// mostKept is for how long the output of a line is kept after its end, in seconds.
const mostKept = 24 * 3600

func (d *Dialect) shellRoutes() {
	const shells = box + "/process/session"
	d.handle("POST "+shells, "createShell", d.createShell)
	d.handle("GET "+shells, "listShells", d.listShells)
	d.handle("GET "+shells+"/{shell}", "getShell", d.getShell)
	d.handle("DELETE "+shells+"/{shell}", "deleteShell", d.deleteShell)
	d.handle("POST "+shells+"/{shell}/exec", "executeInShell", d.execInShell)
	d.handle("GET "+shells+"/{shell}/command/{command}", "getShellCommand", d.getLine)
	d.handle("GET "+shells+"/{shell}/command/{command}/logs", "getShellCommandLogs", d.lineLogs)
	d.handle("POST "+shells+"/{shell}/command/{command}/input", "sendShellCommandInput", d.lineInput)
}

// mark is the metadata of the command that a line is.
type mark struct {
	Shell string `json:"daytona.shell,omitempty"`
	Line  string `json:"daytona.line,omitempty"`
	terminalMark
}

func markOf(j job.Job) (m mark) {
	_ = json.Unmarshal(j.Metadata, &m) // of a command that was started otherwise
	return m
}

func (m mark) metadata() json.RawMessage {
	data, err := json.Marshal(m)
	if err != nil {
		return nil // texts can be encoded
	}
	return data
}

// shellDir is the directory of a shell: its name may have any characters.
func shellDir(name string) string {
	return shellsDir + "/" + base64.RawURLEncoding.EncodeToString([]byte(name))
}

const mostShellName = 150

func noShell(name string) error {
	return dialect.NewFault(http.StatusNotFound, "shell_not_found", "session %s not found", clipped(name))
}

func (d *Dialect) createShell(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		SessionID string `json:"sessionId"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	if body.SessionID == "" || len(body.SessionID) > mostShellName {
		return badRequest("sessionId: send a name of 1 to %d characters", mostShellName)
	}
	_, err := d.fs(r, job.FSRequest{Do: job.FSMakeDir, Path: []byte(shellDir(body.SessionID)), Mode: 0o700, Parents: true})
	if hasCode(err, job.FailFileExists) {
		return dialect.NewFault(http.StatusConflict, "shell_exists", "session %s already exists", clipped(body.SessionID))
	}
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusCreated, nil)
}

// shellLine is a line as the SDKs know it. Without an exit code it runs.
type shellLine struct {
	ID       string `json:"id"`
	Command  string `json:"command"`
	ExitCode *int   `json:"exitCode,omitempty"`
}

type shellView struct {
	SessionID string      `json:"sessionId"`
	Commands  []shellLine `json:"commands"`
}

func (d *Dialect) listShells(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r)
	if err != nil {
		return err
	}
	var names []string
	err = d.entries(r.Context(), se.ID, []byte(shellsDir), 1, func(e job.Entry) {
		if name, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(e.Path, shellsDir+"/")); err == nil && e.Type == job.EntryDirectory {
			names = append(names, string(name))
		}
	})
	if err != nil && !hasCode(err, job.FailNoFile) {
		return err
	}
	views := []shellView{}
	for _, name := range names {
		view, err := d.shell(r.Context(), se.ID, name)
		if err != nil {
			return err
		}
		views = append(views, view)
	}
	return answerJSON(w, http.StatusOK, views)
}

// shell looks a shell up with its lines, in their order.
func (d *Dialect) shell(ctx context.Context, session, name string) (shellView, error) {
	view := shellView{SessionID: name, Commands: []shellLine{}}
	if len(name) > mostShellName {
		return view, noShell(name)
	}
	var ids []string
	err := d.entries(ctx, session, []byte(shellDir(name)), 1, func(e job.Entry) {
		if id := strings.TrimPrefix(e.Path, shellDir(name)+"/"); service.IsID(id) {
			ids = append(ids, id)
		}
	})
	if hasCode(err, job.FailNoFile) {
		return view, noShell(name)
	}
	if err != nil {
		return view, err
	}
	slices.Sort(ids) // they grow with time
	for _, id := range ids[max(0, len(ids)-mostFiles):] {
		j, err := d.service.Command(ctx, service.CallerOf(ctx), session, id, 0)
		if errors.Is(err, job.ErrNotFound) || errors.Is(err, job.ErrGone) {
			continue
		}
		if err != nil {
			return view, err
		}
		view.Commands = append(view.Commands, lineOf(j))
	}
	return view, nil
}

func lineOf(j job.Job) shellLine {
	line := shellLine{ID: j.ID, Command: markOf(j).Line}
	if j.State.Terminal() {
		code := -1
		if j.Result != nil {
			code = ranOf(j.Result).code
		}
		line.ExitCode = &code
	}
	return line
}

func (d *Dialect) getShell(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r)
	if err != nil {
		return err
	}
	view, err := d.shell(r.Context(), se.ID, r.PathValue("shell"))
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, view)
}

// deleteShell ends a shell with all that its lines have started.
func (d *Dialect) deleteShell(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r)
	if err != nil {
		return err
	}
	ctx, name := r.Context(), r.PathValue("shell")
	_, err = d.fs(r, job.FSRequest{Do: job.FSRemove, Path: []byte(shellDir(clipped(name))), Recursive: true})
	if hasCode(err, job.FailNoFile) {
		return noShell(name)
	}
	if err != nil {
		return err
	}
	running, err := d.service.Commands(ctx, service.CallerOf(ctx), se.ID)
	if err != nil {
		return err
	}
	for _, j := range running {
		if markOf(j).Shell != name {
			continue
		}
		_, _, err := d.service.EndCommand(ctx, service.CallerOf(ctx), se.ID, j.ID)
		if err != nil && !errors.Is(err, job.ErrFinished) && !errors.Is(err, job.ErrNotFound) {
			return err
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// shellExecuted is the answer to a line.
type shellExecuted struct {
	CmdID    string `json:"cmdId"`
	Output   string `json:"output"`
	Stdout   string `json:"stdout"`
	Stderr   string `json:"stderr"`
	ExitCode *int   `json:"exitCode,omitempty"`
}

func (d *Dialect) execInShell(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Command  string `json:"command"`
		RunAsync bool   `json:"runAsync"`
		Async    bool   `json:"async"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	if strings.TrimSpace(body.Command) == "" {
		return badRequest("command: send a command")
	}
	se, err := d.live(r)
	if err != nil {
		return err
	}
	j, err := d.startLine(r, se.ID, r.PathValue("shell"), body.Command)
	if err != nil {
		return err
	}
	if body.RunAsync || body.Async {
		return answerJSON(w, http.StatusAccepted, map[string]string{"cmdId": j.ID})
	}
	if j, err = d.awaitLine(r.Context(), se.ID, j.ID); err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, d.logsOf(j))
}

// startLine starts a line of a shell.
func (d *Dialect) startLine(r *http.Request, session, shell, line string) (job.Job, error) {
	ctx, caller := r.Context(), service.CallerOf(r.Context())
	dir := shellDir(shell)
	if _, err := d.fs(r, job.FSRequest{Do: job.FSStat, Path: []byte(dir)}); err != nil {
		if hasCode(err, job.FailNoFile) || len(shell) > mostShellName {
			err = noShell(shell)
		}
		return job.Job{}, err
	}
	kept := min(mostKept, d.service.Limits().MaxResultTTL.Seconds())
	created, err := d.service.Submit(ctx, caller, service.Submission{Request: job.Request{
		SessionID: session, Command: `exec "$(command -v bash || echo sh)" -c ` + quoted(wrapper) + " sh " + quoted(dir) + " " + quoted(line),
		Background: true, Events: true, ResultTTL: &kept, Metadata: mark{Shell: shell, Line: firstBytes(line)}.metadata(),
	}})
	if err != nil {
		return job.Job{}, err
	}
	_, err = d.service.WriteSessionFS(ctx, caller, session, job.FSRequest{Do: job.FSWrite, Path: []byte(dir + "/" + created.Job.ID), Replace: true}, strings.NewReader(""))
	return created.Job, err
}

// firstBytes is as much of a line as has room in the metadata.
func firstBytes(line string) string {
	const most = 2000
	if len(line) > most {
		return strings.ToValidUTF8(line[:most], "")
	}
	return line
}

// quoted is a text as a word of the shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// awaitLine waits for the end of a line, which ends if the caller goes away.
func (d *Dialect) awaitLine(ctx context.Context, session, id string) (job.Job, error) {
	caller := service.CallerOf(ctx)
	for {
		j, err := d.service.Command(ctx, caller, session, id, time.Minute)
		if err == nil && j.State.Terminal() {
			return j, nil
		}
		if ctx.Err() != nil {
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), firstTime)
			defer cancel()
			_, _, _ = d.service.EndCommand(late, caller, session, id) // it may have ended
			return j, ctx.Err()
		}
		if err != nil {
			return j, err
		}
	}
}

func (d *Dialect) logsOf(j job.Job) shellExecuted {
	logs := shellExecuted{CmdID: j.ID, ExitCode: lineOf(j).ExitCode}
	if j.Result != nil {
		logs.Stdout, logs.Stderr, logs.Output = j.Result.Stdout, j.Result.Stderr, textOf(&job.Result{Outputs: j.Result.Outputs, Status: job.StatusExit})
	}
	return logs
}

// line finds the command of a request, which is a line of its shell.
func (d *Dialect) line(r *http.Request) (job.Session, job.Job, error) {
	se, err := d.live(r)
	if err != nil {
		return se, job.Job{}, err
	}
	if shell := r.PathValue("shell"); len(shell) > mostShellName {
		return se, job.Job{}, noShell(shell)
	}
	j, err := d.service.Command(r.Context(), service.CallerOf(r.Context()), se.ID, r.PathValue("command"), 0)
	if errors.Is(err, job.ErrNotFound) || errors.Is(err, job.ErrGone) || err == nil && markOf(j).Shell != r.PathValue("shell") {
		err = dialect.NewFault(http.StatusNotFound, "command_not_found", "command %s not found", clipped(r.PathValue("command")))
	}
	return se, j, err
}

func (d *Dialect) getLine(w http.ResponseWriter, r *http.Request) error {
	_, j, err := d.line(r)
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, lineOf(j))
}

func (d *Dialect) lineLogs(w http.ResponseWriter, r *http.Request) error {
	se, j, err := d.line(r)
	if err != nil {
		return err
	}
	if r.URL.Query().Get("follow") == "true" {
		return d.followLine(w, r, se.ID, j.ID)
	}
	if !j.State.Terminal() {
		if j, err = d.soFar(r.Context(), se.ID, j); err != nil {
			return err
		}
	}
	return answerJSON(w, http.StatusOK, d.logsOf(j))
}

// soFar reads what a line that runs has put out.
func (d *Dialect) soFar(ctx context.Context, session string, j job.Job) (job.Job, error) {
	var result job.Result
	var stdout, stderr strings.Builder
	err := d.eachPiece(ctx, session, j.ID, 200*time.Millisecond, func(stream, text string) error {
		if stream == "stderr" {
			stderr.WriteString(text)
		} else {
			stdout.WriteString(text)
		}
		result.Outputs = append(result.Outputs, job.Output{Type: stream, Text: text})
		return nil
	})
	result.Stdout, result.Stderr = stdout.String(), stderr.String()
	j.Result = &result
	return j, err
}

// mostReading is for how long the output of a line that never pauses is read: the next call has what comes later.
const mostReading = time.Second

// eachPiece passes on the output of a line from its beginning to its end, or, if quiet is not 0, until nothing has come for so long, and for
// mostReading at most.
func (d *Dialect) eachPiece(ctx context.Context, session, id string, quiet time.Duration, use func(stream, text string) error) error {
	f, err := d.service.FollowCommand(ctx, service.CallerOf(ctx), session, id, job.EventID{})
	if err != nil {
		return err
	}
	defer f.Close()
	for begun := time.Now(); quiet == 0 || time.Since(begun) < mostReading; {
		wait := quiet
		if wait == 0 {
			wait = time.Minute
		}
		event, err := f.Next(ctx, wait)
		switch {
		case errors.Is(err, service.ErrOver), errors.Is(err, service.ErrEnded), errors.Is(err, service.ErrQuiet) && quiet > 0:
			return nil
		case errors.Is(err, service.ErrQuiet):
			continue
		case err != nil:
			return err
		}
		var data job.StreamData
		if event.Type == job.EventStream && json.Unmarshal(event.Data, &data) == nil {
			if err := use(data.Stream, data.Text); err != nil {
				return err
			}
		}
	}
	return nil
}

// followLine sends the output of a line over a WebSocket, with a prefix for each stream.
func (d *Dialect) followLine(w http.ResponseWriter, r *http.Request, session, id string) error {
	s, err := d.accept(w, r, session)
	if err != nil {
		return err
	}
	defer s.done()
	ctx := s.conn.CloseRead(s.ctx)
	err = d.eachPiece(ctx, session, id, 0, func(stream, text string) error {
		prefix := "\x01\x01\x01"
		if stream == "stderr" {
			prefix = "\x02\x02\x02"
		}
		return s.write(websocket.MessageBinary, []byte(prefix+text))
	})
	if err == nil {
		err = &over{websocket.StatusNormalClosure, ""}
	} else if !errors.Is(err, errGone) {
		err = d.closing(ctx, err)
	}
	s.bye(err)
	return nil
}

func (d *Dialect) lineInput(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Data string `json:"data"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	se, j, err := d.line(r)
	if err != nil {
		return err
	}
	if j.State.Terminal() {
		return dialect.NewFault(http.StatusGone, codeCommandOver, "the command has ended")
	}
	if err := d.service.TellCommand(r.Context(), service.CallerOf(r.Context()), se.ID, j.ID, job.CommandMessage{Data: []byte(body.Data)}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
