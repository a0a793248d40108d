package opensandbox

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// commands adds the routes of the daemon's commands.
func (d *Dialect) commands() {
	d.handle("POST "+daemonPath+"/command", "runCommand", d.runCommand)
	d.handle("DELETE "+daemonPath+"/command", "interruptCommand", d.interruptCommand)
	// Neither of /command/status/<id> and /command/<id>/logs is the more specific pattern.
	d.handle("GET "+daemonPath+"/command/{one}/{two}", "command", func(w http.ResponseWriter, r *http.Request) error {
		switch one, two := r.PathValue("one"), r.PathValue("two"); {
		case one == "status":
			return d.commandStatus(w, r, two)
		case two == "logs":
			return d.commandLogs(w, r, one)
		}
		return errNoRoute
	})
}

// probe is a part of the command by which the SDK of the code interpreter finds out whether that runs. Code is executed
// by Kaa, and no port of the sandbox serves it.
const probe = "/dev/tcp/127.0.0.1/${JUPYTER_PORT:-44771}"

// shownCommand is how much of a command its status shows.
const shownCommand = 1 << 10

func (d *Dialect) runCommand(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Command    string
		Argv       []string
		Cwd        string
		Background bool
		Timeout    float64 // milliseconds; 0 is none
		Envs       map[string]string
	}
	if err := dialect.ReadJSON(r, &body); err != nil {
		return err
	}
	switch {
	case strings.TrimSpace(body.Command) == "" && len(body.Argv) == 0:
		return invalid("command is required")
	case body.Command != "" && len(body.Argv) > 0:
		return invalid("send command or argv, not both")
	case body.Timeout < 0:
		return invalid("timeout must not be negative")
	}
	if _, err := d.sandbox(r); err != nil {
		return err
	}
	if strings.Contains(body.Command, probe) {
		return probed(w)
	}
	shown := body.Command
	if shown == "" {
		shown = strings.Join(body.Argv, " ")
	}
	metadata, err := json.Marshal(map[string]string{"command": strings.ToValidUTF8(shown[:min(len(shown), shownCommand)], "")})
	if err != nil {
		return err
	}
	request := job.Request{
		Command: body.Command, Program: body.Argv, Cwd: body.Cwd, Envs: body.Envs, SessionID: r.PathValue("id"),
		Timeout: dialect.Timeout(r.Context(), d.service, body.Timeout/1000), Metadata: metadata,
	}
	if body.Background {
		request.Background, request.Events = true, true
		return d.runBackground(w, r, request)
	}
	if request.Timeout == nil {
		request.Timeout = dialect.LongestTimeout(r.Context(), d.service)
	}
	watching, err := d.service.Watch(r.Context(), service.CallerOf(r.Context()), service.Submission{Request: request})
	if err != nil {
		return err
	}
	return d.stream(w, r, watching, new(commandWords))
}

func probed(w http.ResponseWriter) error {
	out := newSender(w)
	if err := out.send(frame{Type: "init", Text: "probe"}); err != nil {
		return nil // the caller has gone
	}
	_ = out.send(complete(0))
	return nil
}

// runBackground starts a command and answers at once.
func (d *Dialect) runBackground(w http.ResponseWriter, r *http.Request, request job.Request) error {
	request.Stdin = "" // it reads the end of its input at once, as there
	created, err := d.service.Submit(r.Context(), service.CallerOf(r.Context()), service.Submission{Request: request})
	if err != nil {
		return err
	}
	_ = d.service.TellCommand(r.Context(), service.CallerOf(r.Context()), request.SessionID, created.Job.ID, job.CommandMessage{EOF: true})
	out := newSender(w)
	if out.send(frame{Type: "init", Text: created.Job.ID}) == nil {
		_ = out.send(complete(0))
	}
	return nil
}

// command returns a command of the sandbox.
func (d *Dialect) command(r *http.Request, id string) (job.Job, error) {
	gone := dialect.NewFault(http.StatusNotFound, "command_not_found", "command %s not found", clipped(id))
	if _, err := d.sandbox(r); err != nil {
		return job.Job{}, err
	}
	if !service.IsID(id) {
		return job.Job{}, gone
	}
	j, err := d.service.Command(r.Context(), service.CallerOf(r.Context()), r.PathValue("id"), id, 0)
	if errors.Is(err, job.ErrNotFound) || errors.Is(err, job.ErrGone) {
		return j, gone
	}
	return j, err
}

func (d *Dialect) interruptCommand(w http.ResponseWriter, r *http.Request) error {
	id := r.URL.Query().Get("id")
	if id == "" {
		return dialect.NewFault(http.StatusBadRequest, "missing_query", "missing query parameter 'id'")
	}
	if _, err := d.command(r, id); err != nil {
		return err
	}
	_, _, err := d.service.EndCommand(r.Context(), service.CallerOf(r.Context()), r.PathValue("id"), id)
	if err != nil && !errors.Is(err, job.ErrFinished) {
		return err
	}
	done(w)
	return nil
}

type commandView struct {
	ID         string     `json:"id"`
	Content    string     `json:"content"`
	Running    bool       `json:"running"`
	ExitCode   *int       `json:"exit_code"`
	Error      string     `json:"error,omitempty"`
	StartedAt  time.Time  `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
}

func (d *Dialect) commandStatus(w http.ResponseWriter, r *http.Request, id string) error {
	j, err := d.command(r, id)
	if err != nil {
		return err
	}
	var of struct{ Command string }
	_ = json.Unmarshal(j.Metadata, &of) // a command of Kaa's own API may have anything
	v := commandView{ID: j.ID, Content: of.Command, Running: !j.State.Terminal(), StartedAt: j.StartedAt.UTC()}
	if j.StartedAt.IsZero() {
		v.StartedAt = j.CreatedAt.UTC()
	}
	switch {
	case v.Running:
	case j.Result != nil:
		code := exitOf(j.Result.ExitCode)
		v.ExitCode = &code
		if code != 0 {
			v.Error = "exit status " + strconv.Itoa(code)
		}
	default:
		v.ExitCode = new(255)
		if j.Failure != nil {
			v.Error = j.Failure.Message
		}
	}
	if !v.Running {
		v.FinishedAt = new(j.FinishedAt.UTC())
	}
	dialect.WriteJSON(w, http.StatusOK, v)
	return nil
}

// exitOf is the exit code of a command: -1 for one that was ended at its time limit, or by an interrupt.
func exitOf(code *int) int {
	if code == nil {
		return -1
	}
	return *code
}

// commandLogs answers with the output of a command after some lines. The cursor is the number of lines that there are.
func (d *Dialect) commandLogs(w http.ResponseWriter, r *http.Request, id string) error {
	cursor, err := number(r, "cursor", 0, 0)
	if err != nil {
		return err
	}
	j, err := d.command(r, id)
	if err != nil {
		return err
	}
	text, err := d.outputOf(r, j)
	if err != nil {
		return err
	}
	lines := strings.SplitAfter(text, "\n")
	if last := len(lines) - 1; lines[last] == "" || !j.State.Terminal() {
		lines = lines[:last] // what is not a line yet comes with the next poll
	}
	from := min(cursor, int64(len(lines)))
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("EXECD-COMMANDS-TAIL-CURSOR", strconv.Itoa(len(lines)))
	_, _ = w.Write([]byte(strings.Join(lines[from:], ""))) //nolint:gosec // plain text; a caller that has gone needs nothing
	return nil
}

const (
	// quietFor is how long a running command has to write nothing for its output to be read.
	quietFor = 20 * time.Millisecond
	// mostReading is for how long the output of one that never pauses is read: the next call has what comes later.
	mostReading = time.Second
)

// outputOf is both streams of a command, in their order.
func (d *Dialect) outputOf(r *http.Request, j job.Job) (string, error) {
	if j.Result != nil {
		return dialect.ProgramOf(j.Result).Output, nil
	}
	follower, err := d.service.FollowCommand(r.Context(), service.CallerOf(r.Context()), r.PathValue("id"), j.ID, job.EventID{})
	if err != nil {
		return "", err
	}
	defer follower.Close()
	var all strings.Builder
	begun := time.Now()
	for most := int(d.service.Limits().MaxQuota.OutputBytes); all.Len() <= 2*most && time.Since(begun) < mostReading; {
		e, err := follower.Next(r.Context(), quietFor)
		if errors.Is(err, service.ErrQuiet) || errors.Is(err, service.ErrOver) {
			break
		}
		if err != nil {
			return "", err
		}
		var data dialect.Event
		if e.Type == job.EventStream && json.Unmarshal(e.Data, &data) == nil {
			all.WriteString(data.Text)
		}
	}
	return all.String(), nil
}

// longestLine is how much of a line is kept back until the line ends.
const longestLine = 64 << 10

// commandWords words the execution of a command: one event for each line, without its end, and either an error or an end.
type commandWords struct {
	stdout, stderr string // lines that have not ended
}

func (c *commandWords) rest(stream string) *string {
	if stream == "stderr" {
		return &c.stderr
	}
	return &c.stdout
}

func (c *commandWords) output(stream, text string) []frame {
	rest := c.rest(stream)
	lines := strings.Split(*rest+text, "\n")
	last := len(lines) - 1
	*rest = lines[last]
	var frames []frame
	for _, line := range lines[:last] {
		frames = append(frames, frame{Type: stream, Text: line})
	}
	if len(*rest) > longestLine {
		frames = append(frames, frame{Type: stream, Text: *rest})
		*rest = ""
	}
	return frames
}

func (c *commandWords) end(e dialect.Event, failed bool) []frame {
	var frames []frame
	for _, stream := range []string{"stdout", "stderr"} {
		if rest := c.rest(stream); *rest != "" {
			frames = append(frames, frame{Type: stream, Text: *rest})
		}
	}
	code := exitOf(e.ExitCode)
	switch {
	case failed:
		return frames
	case code != 0:
		reason := "exit status " + strconv.Itoa(code)
		if e.Error != nil {
			reason = e.Error.Value
		}
		return append(frames, errorFrame(job.Error{Name: "CommandExecError", Value: strconv.Itoa(code), Traceback: reason}))
	}
	return append(frames, complete(e.DurationMs))
}
