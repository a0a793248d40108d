package daytona

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

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
			if err != nil || dialect.Unmarshal(data, &t.Envs) != nil {
				return badRequest("the variables in the subprotocol are no JSON in base64")
			}
		}
	}
	s, err := d.begin(w, r, se.ID)
	if err != nil {
		return err
	}
	defer s.done()
	if err = t.check(); err == nil {
		err = d.free(s.ctx, se.ID, t.ID)
	}
	var attached *service.Attached
	if err == nil {
		attached, err = d.service.StartAttached(s.ctx, s.caller, t.submission(se))
	}
	return d.attach(w, r, s, attached, err)
}

func (d *Dialect) connectTerminal(w http.ResponseWriter, r *http.Request) error {
	se, j, _, err := d.terminal(r)
	if err != nil {
		return err
	}
	s, err := d.begin(w, r, se.ID)
	if err != nil {
		return err
	}
	defer s.done()
	attached, err := d.service.AttachCommand(s.ctx, s.caller, se.ID, j.ID)
	return d.attach(w, r, s, attached, err)
}

// control is a message about the state of a terminal.
type control struct {
	Type   string `json:"type"`
	Status string `json:"status"`
	Error  string `json:"error,omitempty"`
}

// attach serves a terminal until either side has enough, and closes the connection. The upgrade comes when
// the terminal is there, with the first message behind it: the SDK for Python takes the terminal for broken if that takes 100 ms more.
func (d *Dialect) attach(w http.ResponseWriter, r *http.Request, s *socket, attached *service.Attached, failed error) error {
	if failed == nil {
		defer attached.Close()
	}
	if err := s.upgrade(w, r); err != nil {
		return err
	}
	if failed != nil {
		f := dialect.FaultOf(s.ctx, d.log, failed)
		_ = s.send(control{"control", "error", f.Message})
		s.bye(&over{websocket.StatusPolicyViolation, f.Message})
		return nil
	}
	if s.send(control{Type: "control", Status: "connected"}) == nil {
		d.converse(s, attached)
	}
	return nil
}

// converse passes on both directions.
func (d *Dialect) converse(s *socket, attached *service.Attached) {
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
		data, err := s.read(ctx)
		if err != nil {
			return
		}
		for len(data) > 0 {
			n := min(len(data), job.MaxCommandInput)
			if attached.Send(ctx, job.CommandMessage{Data: data[:n]}) != nil && ctx.Err() != nil {
				return
			}
			data = data[n:]
		}
	}
}
