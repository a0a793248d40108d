package daytona

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// mostKept is for how long the output of a line is kept after its end, in seconds.
const mostKept = 24 * 3600

// lineRun is the answer to a line. The SDKs expect all fields; a line that runs has only an id.
type lineRun struct {
	CmdID    string  `json:"cmdId"`
	Output   *string `json:"output"`
	Stdout   string  `json:"stdout"`
	Stderr   string  `json:"stderr"`
	ExitCode *int    `json:"exitCode"`
}

// lineRequest is a line that a shell is to execute.
type lineRequest struct {
	Command  string `json:"command"`
	RunAsync bool   `json:"runAsync"`
	Async    bool   `json:"async"`
	NoEcho   bool   `json:"suppressInputEcho"`
}

func (d *Dialect) execInShell(w http.ResponseWriter, r *http.Request) error {
	var q lineRequest
	if err := decode(r, &q); err != nil {
		return err
	}
	if strings.TrimSpace(q.Command) == "" {
		return emptyCommand("SessionExecuteRequest")
	}
	se, err := d.live(r)
	if err != nil {
		return err
	}
	j, err := d.startLine(r, se, r.PathValue("shell"), q)
	if err != nil {
		return err
	}
	if q.RunAsync || q.Async {
		return answerJSON(w, http.StatusAccepted, lineRun{CmdID: j.ID})
	}
	if j, err = d.awaitLine(r.Context(), se.ID, j.ID); err != nil {
		return err
	}
	logs := logsOf(j, split(r))
	return answerJSON(w, http.StatusOK, lineRun{CmdID: j.ID, Output: &logs.Output, Stdout: logs.Stdout, Stderr: logs.Stderr, ExitCode: lineOf(j).ExitCode})
}

// startLine starts a line of a shell. Its entry is written first, so a line whose entry has no room does not run.
func (d *Dialect) startLine(r *http.Request, se job.Session, shell string, q lineRequest) (job.Job, error) {
	ctx, caller, session := r.Context(), service.CallerOf(r.Context()), se.ID
	if len(shell) > mostShellName {
		return job.Job{}, noShell()
	}
	dir := shellDir(shell)
	entry := dir + openDir + "/" + uuid.NewString()
	if err := d.writeEntry(ctx, session, entry); err != nil {
		return job.Job{}, d.closedShell(r, dir, err)
	}
	kept := min(mostKept, d.service.Limits().MaxResultTTL.Seconds())
	created, err := d.service.Submit(ctx, caller, service.Submission{Request: job.Request{
		SessionID: se.ID, Envs: envsOf(se, nil), Command: `exec "$(command -v bash || echo sh)" -c ` + quoted(wrapper) + " sh " + quoted(dir) + " " + quoted(q.Command),
		Background: true, Events: true, ResultTTL: &kept, Metadata: mark{Shell: shell, Line: firstBytes(q.Command), NoEcho: q.NoEcho}.metadata(),
	}})
	if err != nil {
		_, _ = d.fs(r, job.FSRequest{Do: job.FSRemove, Path: []byte(entry)}) // an entry without a line is not listed
		return job.Job{}, err
	}
	_, err = d.service.SessionFS(ctx, caller, session, job.FSRequest{Do: job.FSMove, Path: []byte(entry), To: []byte(dir + "/" + created.Job.ID)})
	if hasCode(err, job.FailNoFile) { // the line has ended the shell already
		err = d.writeEntry(ctx, session, dir+"/"+created.Job.ID)
	}
	if err != nil {
		d.endLine(ctx, session, created.Job.ID)
		return job.Job{}, d.closedShell(r, dir, err)
	}
	return created.Job, nil
}

func (d *Dialect) writeEntry(ctx context.Context, session, entry string) error {
	_, err := d.service.WriteSessionFS(ctx, service.CallerOf(ctx), session, job.FSRequest{Do: job.FSWrite, Path: []byte(entry), Replace: true}, strings.NewReader(""))
	return err
}

// closedShell says why an entry could not be written: the shell has exited, or there is none, or the error of the file.
func (d *Dialect) closedShell(r *http.Request, dir string, err error) error {
	if !hasCode(err, job.FailNoFile) {
		return err
	}
	_, err = d.fs(r, job.FSRequest{Do: job.FSStat, Path: []byte(dir)})
	switch {
	case err == nil:
		return dialect.NewFault(http.StatusGone, codeSessionEnded, "session process has exited")
	case hasCode(err, job.FailNoFile):
		return noShell()
	}
	return err
}

// endLine ends a line, also if the caller has gone.
func (d *Dialect) endLine(ctx context.Context, session, id string) {
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), firstTime)
	defer cancel()
	_, _, _ = d.service.EndCommand(late, service.CallerOf(ctx), session, id) // it may have ended
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
	for {
		j, err := d.service.Command(ctx, service.CallerOf(ctx), session, id, time.Minute)
		if err == nil && j.State.Terminal() {
			return j, nil
		}
		if ctx.Err() != nil {
			d.endLine(ctx, session, id)
			return j, ctx.Err()
		}
		if err != nil {
			return j, err
		}
	}
}

// lineLogs are the logs of a line. Output has both streams in their order.
type lineLogs struct {
	Output string `json:"output"`
	Stdout string `json:"stdout"`
	Stderr string `json:"stderr"`
}

// logsOf are the logs of a line that has ended, or of what soFar has read. split: each line of Output has the prefix of its stream.
func logsOf(j job.Job, split bool) lineLogs {
	if j.Result == nil {
		return lineLogs{}
	}
	logs := lineLogs{Stdout: j.Result.Stdout, Stderr: j.Result.Stderr}
	if split {
		logs.Output = prefixed(j.Result.Outputs)
	} else {
		logs.Output = textOf(&job.Result{Outputs: j.Result.Outputs, Status: job.StatusExit})
	}
	return logs
}

// The prefixes of the streams, by which the SDKs tell them apart.
const stdoutPrefix, stderrPrefix = "\x01\x01\x01", "\x02\x02\x02"

func prefixOf(stream string) string {
	if stream == "stderr" {
		return stderrPrefix
	}
	return stdoutPrefix
}

// prefixed is the output of a line with the prefix of its stream before each line.
func prefixed(outputs []job.Output) string {
	var text strings.Builder
	unfinished := "" // the stream of a line that has no end yet
	for _, o := range outputs {
		if o.Type != "stdout" && o.Type != "stderr" {
			continue
		}
		for line := range strings.Lines(o.Text) {
			if o.Type != unfinished {
				text.WriteString(prefixOf(o.Type))
			}
			text.WriteString(line)
			if unfinished = ""; !strings.HasSuffix(line, "\n") {
				unfinished = o.Type
			}
		}
		if o.Dropped > 0 {
			text.WriteString(prefixOf(o.Type) + job.DroppedNote(o.Dropped))
			unfinished = ""
		}
	}
	return text.String()
}

// versionHeader is the header with the version of an SDK.
const versionHeader = "X-Daytona-SDK-Version"

// split reports whether a client expects the streams with their prefixes: the SDKs from 0.27 on do. Others get plain text.
func split(r *http.Request) bool {
	version := r.Header.Get(versionHeader)
	for _, one := range offered(r) {
		if text, ok := strings.CutPrefix(one, versionProtocol); ok && version == "" {
			version = text
		}
	}
	if version == "" {
		return r.Header.Get("X-Daytona-Split-Output") == "true"
	}
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 || parts[0] != "0" || strings.HasPrefix(version, "0.0.0-dev") {
		return true
	}
	minor, err := strconv.Atoi(parts[1])
	return err != nil || minor >= 27
}

// line finds the command of a request, which is a line of its shell.
func (d *Dialect) line(r *http.Request) (job.Session, job.Job, error) {
	se, err := d.live(r)
	if err != nil {
		return se, job.Job{}, err
	}
	if len(r.PathValue("shell")) > mostShellName {
		return se, job.Job{}, noShell()
	}
	j, err := d.service.Command(r.Context(), service.CallerOf(r.Context()), se.ID, r.PathValue("command"), 0)
	if errors.Is(err, job.ErrNotFound) || errors.Is(err, job.ErrGone) || err == nil && markOf(j).Shell != r.PathValue("shell") {
		err = dialect.NewFault(http.StatusNotFound, codeNoProcess, "command not found")
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

// echo writes input of a line to what the line puts out. It is for readers of the log only, so a line whose output cannot be opened has none.
func (d *Dialect) echo(ctx context.Context, se job.Session, j job.Job, data string) {
	pid := j.PID
	if pid == 0 {
		pid, _ = dialect.PIDOf(ctx, d.service, service.CallerOf(ctx), se.ID, j.ID) // 0 with an error
	}
	if pid > 0 {
		_, _ = d.program(ctx, se, programRequest{argv: []string{"sh", "-c", `cat >"/proc/$1/fd/1"`, "sh", strconv.Itoa(pid)}, stdin: data, timeout: new(echoTime)})
	}
}

// echoTime is for how many seconds an echo may wait for the output of a line.
const echoTime = 20.0

// lineInput gives a line input. The log has it, too, as that of Daytona, unless the line was started without.
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
	if !markOf(j).NoEcho {
		d.echo(r.Context(), se, j, body.Data)
	}
	if err := d.service.TellCommand(r.Context(), service.CallerOf(r.Context()), se.ID, j.ID, job.CommandMessage{Data: []byte(body.Data)}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
