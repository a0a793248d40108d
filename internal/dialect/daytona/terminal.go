package daytona

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
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

func viewOfTerminal(j job.Job, m terminalMark, work string) terminalView {
	view := terminalView{ID: m.Terminal, Cwd: firstText(m.Cwd, work), Envs: m.Envs, Cols: m.Cols, Rows: m.Rows, CreatedAt: j.CreatedAt.UTC(), Active: true}
	if view.Envs == nil {
		view.Envs = map[string]string{}
	}
	return view
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
		err = dialect.NewFault(http.StatusNotFound, codeNoProcess, "PTY session %s not found", clipped(r.PathValue("terminal")))
	}
	return se, found, m, err
}

func (d *Dialect) listTerminals(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r)
	if err != nil {
		return err
	}
	views := []terminalView{}
	err = d.terminals(r.Context(), se.ID, func(j job.Job, m terminalMark) { views = append(views, viewOfTerminal(j, m, homeOf(se))) })
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
	return answerJSON(w, http.StatusOK, viewOfTerminal(j, m, homeOf(se)))
}

// size is the size of the terminal; check has bounded it.
func (t *terminalRequest) size() job.TerminalSize {
	return job.TerminalSize{Columns: uint16(t.Cols), Rows: uint16(t.Rows)} //nolint:gosec // see above
}

// submission is the shell with a terminal.
func (t *terminalRequest) submission(session string) service.Submission {
	size := t.size()
	m := mark{terminalMark: terminalMark{Terminal: t.ID, Cwd: t.Cwd, Envs: t.Envs, Cols: size.Columns, Rows: size.Rows}}
	envs := map[string]string{"TERM": "xterm-256color"}
	maps.Copy(envs, t.Envs)
	return service.Submission{Request: job.Request{
		SessionID: session, Command: `exec "$(command -v bash || echo sh)"`, Background: true, Cwd: t.Cwd, Envs: envs, Metadata: m.metadata(),
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
	if _, err := d.service.Submit(r.Context(), service.CallerOf(r.Context()), t.submission(se.ID)); err != nil {
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
	return answerJSON(w, http.StatusOK, viewOfTerminal(j, m, homeOf(se)))
}

func (d *Dialect) deleteTerminal(w http.ResponseWriter, r *http.Request) error {
	se, j, _, err := d.terminal(r)
	if err != nil {
		return err
	}
	// A shell at its prompt ignores the interrupt with which a command is ended first.
	_ = d.service.TellCommand(r.Context(), service.CallerOf(r.Context()), se.ID, j.ID, job.CommandMessage{Signal: "HUP"})
	_, _, err = d.service.EndCommand(r.Context(), service.CallerOf(r.Context()), se.ID, j.ID)
	if err != nil && !errors.Is(err, job.ErrFinished) && !errors.Is(err, job.ErrNotFound) {
		return err
	}
	return answerJSON(w, http.StatusOK, map[string]string{"message": "PTY session deleted"})
}

// createAndConnect makes a terminal and attaches to it. What is wrong with the request is said over the WebSocket.
func (d *Dialect) createAndConnect(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	t := terminalRequest{ID: q.Get("id"), Cwd: q.Get("cwd")}
	t.Cols, _ = strconv.Atoi(q.Get("cols"))
	t.Rows, _ = strconv.Atoi(q.Get("rows"))
	for _, one := range offered(r) {
		if text, ok := strings.CutPrefix(one, envsProtocol); ok {
			data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
			if err != nil || json.Unmarshal(data, &t.Envs) != nil {
				return badRequest("the variables in the subprotocol are no JSON in base64")
			}
		}
	}
	s, err := d.accept(w, r, se.ID)
	if err != nil {
		return err
	}
	defer s.done()
	if err = t.check(); err == nil {
		err = d.free(s.ctx, se.ID, t.ID)
	}
	var attached *service.Attached
	if err == nil {
		attached, err = d.service.StartAttached(s.ctx, s.caller, t.submission(se.ID))
	}
	d.attach(s, attached, err)
	return nil
}

func (d *Dialect) connectTerminal(w http.ResponseWriter, r *http.Request) error {
	se, j, _, err := d.terminal(r)
	if err != nil {
		return err
	}
	s, err := d.accept(w, r, se.ID)
	if err != nil {
		return err
	}
	defer s.done()
	attached, err := d.service.AttachCommand(s.ctx, s.caller, se.ID, j.ID)
	d.attach(s, attached, err)
	return nil
}

// control is a message about the state of a terminal.
type control struct {
	Type   string `json:"type"`
	Status string `json:"status"`
	Error  string `json:"error,omitempty"`
}

// attach passes on what goes to and comes from a terminal, until either side has enough, and closes the connection.
func (d *Dialect) attach(s *socket, attached *service.Attached, err error) {
	if err != nil {
		f := dialect.FaultOf(s.ctx, d.log, err)
		_ = s.send(control{"control", "error", f.Message})
		s.bye(&over{websocket.StatusPolicyViolation, f.Message})
		return
	}
	defer attached.Close()
	if s.send(control{Type: "control", Status: "connected"}) != nil {
		return
	}
	ctx, gone := context.WithCancel(s.ctx)
	defer gone()
	var input sync.WaitGroup
	defer input.Wait()
	defer s.cancel()
	input.Go(func() {
		defer gone()
		s.pass(ctx, attached)
	})
	// The input is still read then: the client's answer to the close comes there.
	s.bye(d.show(ctx, s, attached))
}

// show passes on what comes from a terminal. The error says how the connection ends.
func (d *Dialect) show(ctx context.Context, s *socket, attached *service.Attached) error {
	for {
		o, err := attached.Next(ctx)
		switch {
		case errors.Is(err, service.ErrOver):
			return d.terminalEnd(ctx, s, attached)
		case ctx.Err() != nil:
			return errGone
		case err != nil:
			return d.closing(ctx, err)
		case o.Kind == job.OutputStdout || o.Kind == job.OutputStderr:
			if err := s.write(websocket.MessageBinary, o.Data); err != nil {
				return err
			}
		}
	}
}

// terminalEnd says how the shell has ended.
func (d *Dialect) terminalEnd(ctx context.Context, s *socket, attached *service.Attached) error {
	j, err := attached.Ended(ctx)
	if err != nil {
		return d.closing(ctx, err)
	}
	end := struct {
		ExitCode   int    `json:"exitCode"`
		ExitReason string `json:"exitReason,omitempty"`
	}{ExitCode: -1}
	if j.Result != nil {
		end.ExitCode = ranOf(j.Result).code
		end.ExitReason = j.Result.Signal
	}
	reason, err := json.Marshal(end)
	if err != nil {
		return errGone // it can be encoded
	}
	if s.conn.Subprotocol() == exitProtocol {
		_ = s.send(map[string]any{"type": "control", "status": "exited", "exitCode": end.ExitCode, "exitReason": end.ExitReason})
	}
	return &over{websocket.StatusNormalClosure, string(reason)}
}

// pass gives a terminal what the client sends.
func (s *socket) pass(ctx context.Context, attached *service.Attached) {
	for {
		_, data, err := s.conn.Read(ctx)
		if err != nil {
			return
		}
		for len(data) > 0 {
			n := min(len(data), job.MaxCommandInput)
			if attached.Send(ctx, job.CommandMessage{Data: data[:n]}, func() {}) != nil && ctx.Err() != nil {
				return
			}
			data = data[n:]
		}
	}
}
