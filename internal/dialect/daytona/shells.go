package daytona

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// A session of processes is a shell that keeps its directory, variables and functions from one line to the next. Here each line
// is a command of Kaa's session, whose id is that of the line. The wrapper around it restores what the line before has left,
// and saves what this one leaves, in a directory of the sandbox. So any API process can go on with a shell, and logs can be followed.

const (
	// shellsDir has a directory for each shell, and that an entry for each line.
	shellsDir = "/tmp/.daytona/shells"
	// openDir is the directory of a shell's directory that is there as long as the shell has not exited. A line that is about to
	// begin has its entry there: where that cannot be written nothing runs.
	openDir = "/open"
)

// wrapper is the shell program around a line: $1 is the directory, $2 the line. A line that exits ends the shell.
const wrapper = `[ -f "$1/state" ] && . "$1/state" >/dev/null 2>&1
__d=$1 __l=$2 __ran=; set --
[ -f "$__d/cwd" ] && cd -- "$(cat "$__d/cwd")" 2>/dev/null
__save() { __c=$?; trap - EXIT
if [ -z "$__ran" ]; then rm -rf "$__d/open" "$__d/state" "$__d/cwd"; exit $__c; fi
if [ -n "$BASH_VERSION" ]; then declare -p | grep -v '^declare -[a-zA-Z]*r'; declare -f; alias -p; else export -p; fi >"$__d/state.$$" 2>/dev/null
mv -f "$__d/state.$$" "$__d/state" 2>/dev/null; pwd >"$__d/cwd" 2>/dev/null; exit $__c; }
trap __save EXIT
[ -n "$BASH_VERSION" ] && shopt -s expand_aliases
eval "$__l"
__c=$? __ran=1; exit $__c`

func (d *Dialect) shellRoutes() {
	const shells = box + "/process/session"
	d.handle("POST "+shells, "createShell", d.createShell)
	d.handle("GET "+shells, "listShells", d.listShells)
	d.handle("GET "+shells+"/entrypoint", "getShell", d.getEntrypoint)
	d.handle("GET "+shells+"/entrypoint/logs", "getShellCommandLogs", d.entrypointLogs)
	d.handle("GET "+shells+"/{shell}", "getShell", d.getShell)
	d.handle("DELETE "+shells+"/{shell}", "deleteShell", d.deleteShell)
	d.handle("POST "+shells+"/{shell}/exec", "executeInShell", d.execInShell)
	d.handle("GET "+shells+"/{shell}/command/{command}", "getShellCommand", d.getLine)
	d.handle("GET "+shells+"/{shell}/command/{command}/logs", "getShellCommandLogs", d.lineLogs)
	d.handle("POST "+shells+"/{shell}/command/{command}/input", "sendShellCommandInput", d.lineInput)
}

// mark is the metadata of the command that a line is.
type mark struct {
	Shell  string `json:"daytona.shell,omitempty"`
	Line   string `json:"daytona.line,omitempty"`
	NoEcho bool   `json:"daytona.quiet,omitempty"` // input is not shown in the log
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

// noShell says that there is no such shell. It is the answer of Daytona, word by word.
func noShell() error {
	return dialect.NewFault(http.StatusNotFound, codeNoProcess, "session not found")
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
	if body.SessionID == entrypoint {
		return dialect.NewFault(http.StatusConflict, "shell_exists", "session %s already exists", entrypoint)
	}
	_, err := d.fs(r, job.FSRequest{Do: job.FSMakeDir, Path: []byte(shellDir(body.SessionID) + openDir), Mode: 0o700, Parents: true})
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
		return view, noShell()
	}
	var ids []string
	err := d.entries(ctx, session, []byte(shellDir(name)), 1, func(e job.Entry) {
		if id := strings.TrimPrefix(e.Path, shellDir(name)+"/"); service.IsID(id) {
			ids = append(ids, id)
		}
	})
	if hasCode(err, job.FailNoFile) {
		return view, noShell()
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
		return noShell()
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

// entrypoint is the name of the session that a sandbox of Daytona is begun with. Here no command is behind it.
const entrypoint = "entrypoint"

func (d *Dialect) getEntrypoint(w http.ResponseWriter, r *http.Request) error {
	if _, err := d.live(r); err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, shellView{entrypoint, []shellLine{{ID: "entrypoint_command", Command: "'sleep' 'infinity'"}}})
}

// entrypointLogs answers that the entry point has put out nothing. A client that follows it waits until it goes.
func (d *Dialect) entrypointLogs(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r)
	if err != nil {
		return err
	}
	if r.URL.Query().Get("follow") != "true" {
		return answerJSON(w, http.StatusOK, lineLogs{})
	}
	s, err := d.accept(w, r, se.ID)
	if err != nil {
		return err
	}
	defer s.done()
	select {
	case <-s.alone().Done():
	case <-s.draining:
		s.bye(&over{websocket.StatusGoingAway, "Kaa stops"})
	}
	return nil
}
