package daytona

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// mostSide is the largest number of columns or rows of a terminal.
const mostSide = 1000

func (d *Dialect) terminalRoutes() {
	const terminals = box + "/process/pty"
	d.handle("GET "+terminals, "listTerminals", d.listTerminals)
	d.handle("POST "+terminals, "createTerminal", d.createTerminal)
	d.handle("GET "+terminals+"/create-connect", "createTerminal", d.createAndConnect)
	d.handle("GET "+terminals+"/{terminal}", "getTerminal", d.getTerminal)
	d.handle("GET "+terminals+"/{terminal}/connect", "connectTerminal", d.connectTerminal)
	d.handle("POST "+terminals+"/{terminal}/resize", "resizeTerminal", d.resizeTerminal)
	d.handle("DELETE "+terminals+"/{terminal}", "deleteTerminal", d.deleteTerminal)
}

// terminalMark is the metadata of the command that a terminal is: as it was asked for.
type terminalMark struct {
	Terminal string            `json:"daytona.pty,omitempty"`
	Cwd      string            `json:"daytona.cwd,omitempty"`
	Envs     map[string]string `json:"daytona.envs,omitempty"`
	Cols     uint16            `json:"daytona.cols,omitempty"`
	Rows     uint16            `json:"daytona.rows,omitempty"`
}

// terminalView is a terminal as the SDKs know it.
type terminalView struct {
	ID        string            `json:"id"`
	Cwd       string            `json:"cwd"`
	Envs      map[string]string `json:"envs"`
	Cols      uint16            `json:"cols"`
	Rows      uint16            `json:"rows"`
	CreatedAt time.Time         `json:"createdAt"`
	Active    bool              `json:"active"`
	LazyStart bool              `json:"lazyStart"`
}

// terminalsDir has a file for each terminal whose size was changed, with its columns and rows.
const terminalsDir = "/tmp/.daytona/terminals"

// keepSize keeps the size of a terminal for those who look it up. A session whose disk is full has the size of its beginning.
func (d *Dialect) keepSize(ctx context.Context, session, id string, size job.TerminalSize) {
	_ = d.write(ctx, session, terminalsDir+"/"+id, strings.NewReader(fmt.Sprint(size.Columns, " ", size.Rows)))
}

// sized is the mark of a terminal with its present size.
func (d *Dialect) sized(ctx context.Context, session string, j job.Job, m terminalMark) terminalMark {
	_, content, err := d.read(ctx, session, terminalsDir+"/"+j.ID)
	if err != nil {
		return m
	}
	defer content.Close()
	text, _ := io.ReadAll(io.LimitReader(content, 16)) // what cannot be read is no size
	t := terminalRequest{}
	if n, _ := fmt.Sscan(string(text), &t.Cols, &t.Rows); n == 2 && t.check() == nil { // code may have written it
		m.Cols, m.Rows = t.size().Columns, t.size().Rows
	}
	return m
}

func viewOfTerminal(j job.Job, m terminalMark, work string) terminalView {
	view := terminalView{ID: m.Terminal, Cwd: firstText(m.Cwd, work), Cols: m.Cols, Rows: m.Rows, CreatedAt: j.CreatedAt.UTC(), Active: true}
	view.Envs = terminalEnvs(m.Envs)
	return view
}

// terminalEnvs are the variables of a terminal that is asked for with those.
func terminalEnvs(asked map[string]string) map[string]string {
	envs := map[string]string{"TERM": "xterm-256color"}
	maps.Copy(envs, asked)
	return envs
}

// terminalRequest is what a terminal is to be.
type terminalRequest struct {
	ID   string            `json:"id"`
	Cwd  string            `json:"cwd"`
	Envs map[string]string `json:"envs"`
	Cols int               `json:"cols"`
	Rows int               `json:"rows"`
}

func (t *terminalRequest) check() error {
	if t.Cols == 0 {
		t.Cols = 80
	}
	if t.Rows == 0 {
		t.Rows = 24
	}
	switch {
	case len(t.ID) > mostShellName:
		return badRequest("id: send at most %d characters", mostShellName)
	case t.Cols < 1 || t.Cols > mostSide || t.Rows < 1 || t.Rows > mostSide:
		return badRequest("cols and rows: must be from 1 to %d", mostSide)
	}
	if t.ID == "" {
		t.ID = uuid.NewString()
	}
	return nil
}

// terminals are the commands of a sandbox that are terminals and run.
func (d *Dialect) terminals(ctx context.Context, session string, use func(job.Job, terminalMark)) error {
	running, err := d.service.Commands(ctx, service.CallerOf(ctx), session)
	for _, j := range running {
		if m := markOf(j).terminalMark; m.Terminal != "" && !j.State.Terminal() {
			use(j, m)
		}
	}
	return err
}

// terminal finds the one in the path of a request.
func (d *Dialect) terminal(r *http.Request) (se job.Session, found job.Job, m terminalMark, err error) {
	if se, err = d.live(r); err != nil {
		return se, found, m, err
	}
	err = d.terminals(r.Context(), se.ID, func(j job.Job, of terminalMark) {
		if of.Terminal == r.PathValue("terminal") {
			found, m = j, of
		}
	})
	if err == nil && found.ID == "" {
		err = dialect.NewFault(http.StatusNotFound, codeNoProcess, "PTY session not found")
	}
	return se, found, m, err
}

func (d *Dialect) listTerminals(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r)
	if err != nil {
		return err
	}
	views := []terminalView{}
	err = d.terminals(r.Context(), se.ID, func(j job.Job, m terminalMark) {
		views = append(views, viewOfTerminal(j, d.sized(r.Context(), se.ID, j, m), homeOf(se)))
	})
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, map[string]any{"sessions": views})
}

func (d *Dialect) getTerminal(w http.ResponseWriter, r *http.Request) error {
	se, j, m, err := d.terminal(r)
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, viewOfTerminal(j, d.sized(r.Context(), se.ID, j, m), homeOf(se)))
}

// size is the size of the terminal; check has bounded it.
func (t *terminalRequest) size() job.TerminalSize {
	return job.TerminalSize{Columns: uint16(t.Cols), Rows: uint16(t.Rows)} //nolint:gosec // see above
}

// submission is the shell with a terminal.
func (t *terminalRequest) submission(se job.Session) service.Submission {
	size := t.size()
	m := mark{terminalMark: terminalMark{Terminal: t.ID, Cwd: t.Cwd, Envs: t.Envs, Cols: size.Columns, Rows: size.Rows}}
	return service.Submission{Request: job.Request{
		SessionID: se.ID, Command: `exec "$(command -v bash || echo sh)"`, Background: true, Cwd: t.Cwd, Envs: envsOf(se, terminalEnvs(t.Envs)), Metadata: m.metadata(),
		Terminal: &size,
	}}
}

// free refuses an id that a terminal has.
func (d *Dialect) free(ctx context.Context, session, id string) error {
	taken := false
	err := d.terminals(ctx, session, func(_ job.Job, m terminalMark) { taken = taken || m.Terminal == id })
	if err == nil && taken {
		err = dialect.NewFault(http.StatusConflict, "pty_exists", "PTY session %s already exists", clipped(id))
	}
	return err
}

func (d *Dialect) createTerminal(w http.ResponseWriter, r *http.Request) error {
	var t terminalRequest
	if err := decode(r, &t); err != nil {
		return err
	}
	if err := t.check(); err != nil {
		return err
	}
	se, err := d.live(r)
	if err != nil {
		return err
	}
	if err := d.free(r.Context(), se.ID, t.ID); err != nil {
		return err
	}
	if _, err := d.service.Submit(r.Context(), service.CallerOf(r.Context()), t.submission(se)); err != nil {
		return err
	}
	return answerJSON(w, http.StatusCreated, map[string]string{"sessionId": t.ID})
}

func (d *Dialect) resizeTerminal(w http.ResponseWriter, r *http.Request) error {
	var t terminalRequest
	if err := decode(r, &t); err != nil {
		return err
	}
	if err := t.check(); err != nil {
		return err
	}
	se, j, m, err := d.terminal(r)
	if err != nil {
		return err
	}
	size := t.size()
	if err := d.service.TellCommand(r.Context(), service.CallerOf(r.Context()), se.ID, j.ID, job.CommandMessage{Size: &size}); err != nil {
		return err
	}
	m.Cols, m.Rows = size.Columns, size.Rows
	d.keepSize(r.Context(), se.ID, j.ID, size)
	return answerJSON(w, http.StatusOK, viewOfTerminal(j, m, homeOf(se)))
}

func (d *Dialect) deleteTerminal(w http.ResponseWriter, r *http.Request) error {
	se, j, _, err := d.terminal(r)
	if err != nil {
		return err
	}
	ctx, caller := r.Context(), service.CallerOf(r.Context())
	// The SDKs expect the end by SIGKILL. What the shell has started gets the hang-up of its terminal.
	_ = d.service.TellCommand(ctx, caller, se.ID, j.ID, job.CommandMessage{Signal: "KILL"})
	if j, err = d.service.Command(ctx, caller, se.ID, j.ID, commandEnd); err == nil && !j.State.Terminal() {
		_, _, err = d.service.EndCommand(ctx, caller, se.ID, j.ID)
	}
	if err != nil && !errors.Is(err, job.ErrFinished) && !errors.Is(err, job.ErrNotFound) {
		return err
	}
	return answerJSON(w, http.StatusOK, map[string]string{"message": "PTY session deleted"})
}
