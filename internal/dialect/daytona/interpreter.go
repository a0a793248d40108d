package daytona

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const (
	// closeTimeout is the close code of an execution that has exceeded its time.
	closeTimeout = 4008
	// usualInterpreterTimeout is the time of an execution that asks for none, in seconds.
	usualInterpreterTimeout = 600.0
)

// contextView is a context as the SDKs know it.
type contextView struct {
	ID        string    `json:"id"`
	Cwd       string    `json:"cwd"`
	CreatedAt time.Time `json:"createdAt"`
	Active    bool      `json:"active"`
	Language  string    `json:"language"`
}

func viewOfContext(c job.Context, work string) contextView {
	return contextView{ID: c.ID, Cwd: firstText(c.Cwd, work), CreatedAt: c.CreatedAt.UTC(), Active: true, Language: "python"}
}

func (d *Dialect) makeContext(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Cwd      string `json:"cwd"`
		Language string `json:"language"`
	}
	if err := decode(r, &body); err != nil {
		return err
	}
	if body.Language != "" && !strings.EqualFold(body.Language, "python") {
		return badRequest("language: only python is supported")
	}
	se, err := d.live(r)
	if err != nil {
		return err
	}
	c, err := d.service.MakeContext(r.Context(), service.CallerOf(r.Context()), se.ID, body.Cwd, "")
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, viewOfContext(c, homeOf(se)))
}

func (d *Dialect) listContexts(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r)
	if err != nil {
		return err
	}
	all, err := d.service.Contexts(r.Context(), service.CallerOf(r.Context()), se.ID)
	if err != nil {
		return err
	}
	views := []contextView{}
	for _, c := range all {
		if c.ID != job.DefaultContext {
			views = append(views, viewOfContext(c, homeOf(se)))
		}
	}
	return answerJSON(w, http.StatusOK, map[string]any{"contexts": views})
}

func (d *Dialect) deleteContext(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r)
	if err != nil {
		return err
	}
	id := r.PathValue("context")
	if id == job.DefaultContext {
		return badRequest("the default context cannot be deleted")
	}
	err = d.service.DeleteContext(r.Context(), service.CallerOf(r.Context()), se.ID, id)
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, map[string]string{"message": "context deleted"})
}

// frame is a message of an execution. All fields are always there.
type frame struct {
	Type      string `json:"type"`
	Text      string `json:"text"`
	Name      string `json:"name"`
	Value     string `json:"value"`
	Traceback string `json:"traceback"`
}

// over ends a WebSocket with a code.
type over struct {
	code   websocket.StatusCode
	reason string
}

func (o *over) Error() string { return o.reason }

// interpret executes code over a WebSocket: one execution, and its output as it comes.
func (d *Dialect) interpret(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r)
	if err != nil {
		return err
	}
	s, err := d.accept(w, r, se.ID)
	if err != nil {
		return err
	}
	defer s.done()
	s.bye(d.interpreted(s, se))
	return nil
}

// interpreted executes what the first message asks for. The error says how the connection ends.
func (d *Dialect) interpreted(s *socket, se job.Session) error {
	var asked struct {
		Code      string            `json:"code"`
		ContextID string            `json:"contextId"`
		Timeout   *float64          `json:"timeout"`
		Envs      map[string]string `json:"envs"`
	}
	text, err := s.first()
	if err != nil {
		return err
	}
	timeout := min(usualInterpreterTimeout, d.longest())
	switch {
	case dialect.Unmarshal(text, &asked) != nil:
		return &over{websocket.StatusProtocolError, "the first message is no JSON of the right types"}
	case strings.TrimSpace(asked.Code) == "":
		return &over{websocket.StatusPolicyViolation, "code: send code"}
	case asked.Timeout != nil && *asked.Timeout < 0:
		return &over{websocket.StatusPolicyViolation, "timeout: must not be negative"}
	case asked.Timeout != nil && *asked.Timeout == 0:
		timeout = d.longest()
	case asked.Timeout != nil:
		timeout = min(*asked.Timeout, d.longest())
	}
	ctx := s.alone()
	watching, err := d.service.Watch(ctx, s.caller, service.Submission{Request: job.Request{
		SessionID: se.ID, ContextID: asked.ContextID, Code: asked.Code, Envs: envsOf(se, asked.Envs), Timeout: &timeout,
	}})
	if err != nil {
		return d.closing(ctx, err)
	}
	defer watching.Close(ctx)
	return d.interpreting(ctx, s, watching)
}

// interpreting passes on the events of an execution until its end.
func (d *Dialect) interpreting(ctx context.Context, s *socket, watching *service.Watching) error {
	var failed *frame
	for {
		event, err := watching.Next(ctx, time.Minute)
		switch {
		case errors.Is(err, service.ErrQuiet):
			continue
		case err != nil:
			return d.closing(ctx, err)
		}
		switch event.Type { //nolint:exhaustive // the SDKs know no others
		case job.EventStream:
			var data job.StreamData
			if json.Unmarshal(event.Data, &data) == nil {
				err = s.send(frame{Type: data.Stream, Text: data.Text})
			}
		case job.EventError:
			var data job.ErrorData
			if json.Unmarshal(event.Data, &data) == nil {
				failed = &frame{Type: "error", Name: data.Name, Value: data.Value, Traceback: data.Traceback}
			}
		case job.EventStatus:
			var data struct {
				State   job.State    `json:"state"`
				Status  job.Status   `json:"status"`
				Failure *job.Failure `json:"failure"`
				Error   *job.Error   `json:"error"`
				Session *job.SessionAfter
			}
			if json.Unmarshal(event.Data, &data) == nil && data.State.Terminal() {
				if failed == nil && data.Error != nil {
					failed = &frame{Type: "error", Name: data.Error.Name, Value: data.Error.Value, Traceback: data.Error.Traceback}
				}
				return ended(s, data.Status, data.Failure, failed)
			}
		}
		if err != nil {
			return err
		}
	}
}

// ended sends how an execution has ended. The JavaScript SDK takes the first control message for success, so there is none after a timeout.
func ended(s *socket, status job.Status, failure *job.Failure, failed *frame) error {
	switch {
	case failure != nil && failure.Code == job.FailNoContext:
		return &over{websocket.StatusPolicyViolation, "context not found"}
	case failure != nil:
		_ = s.send(frame{Type: "error", Name: "SandboxError", Value: failure.Message})
		return &over{websocket.StatusInternalError, "the execution failed"}
	case status == job.StatusInterrupted:
		return &over{closeTimeout, "execution timed out"}
	case failed != nil:
		if err := s.send(*failed); err != nil {
			return err
		}
	}
	if err := s.send(frame{Type: "control", Text: "completed"}); err != nil {
		return err
	}
	return &over{websocket.StatusNormalClosure, ""}
}

// closing words an error of the service as the end of a connection.
func (d *Dialect) closing(ctx context.Context, err error) error {
	if unexpected, ok := errors.AsType[*over](context.Cause(ctx)); ok {
		return unexpected
	}
	f := dialect.FaultOf(ctx, d.log, err)
	code := websocket.StatusInternalError
	if f.Status < http.StatusInternalServerError {
		code = websocket.StatusPolicyViolation
	}
	return &over{code, f.Message}
}
