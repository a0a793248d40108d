package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"reflect"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandboxport"
	"github.com/kaa-run/kaa/internal/service"
)

const (
	attachOperation = "attachCommand"
	startOperation  = "startCommand"
	// connectionKept is how long the record of a connection with a port outlives it. Its last bytes wait a minute for a slow client, who then asks how it has ended.
	connectionKept = 2 * time.Minute
)

// errCommandOver: the command has ended, and everything is sent.
var errCommandOver = errors.New("the command has ended, and everything is sent")

// commandSocket is one client that is attached to a command. Its input reaches the command on one goroutine, and
// the output goes out on another. Neither has a buffer: output that the client does not take makes the command wait, and
// input that the command does not take makes the client wait.
type commandSocket struct {
	*socket
	of     *service.Attached
	stream string // to which the binary frames belong
}

// serveCommandSocket answers GET /v1/sessions/{id}/commands/{command}/ws, and without an id /v1/sessions/{id}/commands/ws,
// which starts a command.
func (s *server) serveCommandSocket(c *gin.Context) {
	ctx, session, id := c.Request.Context(), c.Param("id"), c.Param("command")
	service.CallOf(ctx).Operation = attachOperation
	if id == "" {
		service.CallOf(ctx).Operation = startOperation
	}
	if p := s.refuseUpgrade(c.Request); p != nil {
		if p.Status == http.StatusUpgradeRequired {
			c.Header("Upgrade", "websocket")
		}
		abort(c, p)
		return
	}
	caller := service.CallerOf(ctx)
	end, of, err := s.beginCommandSocket(ctx, caller, session, id)
	if err != nil {
		p, unforeseen := problemOf(err)
		if unforeseen {
			s.cfg.Log.ErrorContext(ctx, "open socket of a command", slog.Any("err", err))
		}
		abort(c, p)
		return
	}
	defer end()
	conn, err := websocket.Accept(c.Writer, c.Request, &websocket.AcceptOptions{
		Subprotocols:       []string{socketProtocol},
		InsecureSkipVerify: true, // the door has checked the origin
	})
	if err != nil {
		s.cfg.Log.DebugContext(ctx, "accept socket", slog.Any("err", err)) // it has answered
		if of != nil {
			of.Close()
		}
		return
	}
	service.CallOf(ctx).Upgraded()
	conn.SetReadLimit(s.cfg.MaxFrameBytes)
	k := &commandSocket{stream: job.OutputStdout, of: of, socket: &socket{
		s: s, conn: conn, session: session, caller: caller, log: s.cfg.Log.With(slog.String("session_id", session)),
	}}
	// The access line of the request is not about its frames.
	k.run(service.WithCall(ctx, &service.Call{Caller: caller}))
}

// beginCommandSocket does what may fail before the request becomes a socket. A client that starts a command is attached to none
// yet.
func (s *server) beginCommandSocket(ctx context.Context, caller service.Caller, session, id string) (end func(), of *service.Attached, err error) {
	end, err = s.cfg.Service.BeginCommandSocket(caller, session)
	if err != nil {
		return nil, nil, err
	}
	if id == "" {
		err = s.cfg.Service.CheckLive(ctx, caller, session)
	} else {
		of, err = s.cfg.Service.AttachCommand(ctx, caller, session, id)
	}
	if err != nil {
		end()
		return nil, nil, err
	}
	return end, of, nil
}

// run serves the client until either side has enough.
func (k *commandSocket) run(ctx context.Context) {
	defer func() { _ = k.conn.CloseNow() }()
	sending, enough := context.WithCancelCause(ctx)
	defer enough(nil)
	if k.of == nil {
		if err := k.start(ctx); err != nil {
			k.goodbye(err)
			return
		}
	}
	defer k.of.Close()
	var others sync.WaitGroup
	others.Go(func() { enough(k.readFrames(sending)) })
	others.Go(func() { k.keepAlive(sending, enough) })
	err := k.showOutput(sending)
	if sending.Err() != nil {
		err = context.Cause(sending)
	}
	k.goodbye(err)
	enough(nil)
	_ = k.conn.CloseNow()
	others.Wait()
}

// start starts the command that the first frame describes, or the connection.
func (k *commandSocket) start(ctx context.Context) error {
	kind, data, err := k.readText(ctx)
	if err != nil {
		return err
	}
	if kind != "start" && kind != "connect" {
		const msg = "must be start or connect, in the first frame"
		return k.fail(badRequest("type: "+msg, FieldIssue{"type", msg}))
	}
	request, p := k.firstFrame(kind, data)
	if p != nil {
		return k.fail(p)
	}
	k.of, err = k.s.cfg.Service.StartAttached(ctx, k.caller, service.Submission{Request: request})
	if err != nil {
		if ctx.Err() != nil {
			return errClientGone
		}
		p, unforeseen := problemOf(err)
		if unforeseen {
			k.log.ErrorContext(ctx, "start command for a socket", slog.Any("err", err))
		}
		return k.fail(p)
	}
	return nil
}

// firstFrame reads what a first frame asks for.
func (k *commandSocket) firstFrame(kind string, data []byte) (job.Request, *Problem) {
	var parsed any
	if err := unmarshal(data, &parsed); err != nil {
		return job.Request{}, badRequest(withoutGo(err.Error()))
	}
	if err := k.s.validate(k.s.commandFrames[kind], parsed); err != nil {
		p, _ := problemOf(err)
		return job.Request{}, p
	}
	if kind == "connect" {
		var f connectFrame
		_ = json.Unmarshal(data, &f) // the schema has accepted it
		if _, err := sandboxport.Number(strconv.Itoa(f.Port)); err != nil {
			return job.Request{}, badRequest("port: "+err.Error(), FieldIssue{"port", err.Error()})
		}
		r := sandboxport.Connection(k.session, f.Port)
		r.ResultTTL = new(connectionKept.Seconds())
		return r, nil
	}
	var f startFrame
	if err := json.Unmarshal(data, &f); err != nil {
		return job.Request{}, badRequest(withoutGo(err.Error()))
	}
	r := f.request(k.session)
	if r.Events = false; r.Command == "" && len(r.Program) == 0 {
		const msg = "is empty; send a line for the shell, or a program as argv"
		return job.Request{}, badRequest("command: "+msg, FieldIssue{"command", msg})
	}
	return r, nil
}

// fail reports why there is no command, and ends the connection.
func (k *commandSocket) fail(p *Problem) error {
	if err := k.complain("", p); err != nil {
		return err
	}
	return &badMessageError{websocket.StatusPolicyViolation, p.Code}
}

// showOutput sends the output of the command until its end.
func (k *commandSocket) showOutput(ctx context.Context) error {
	for {
		o, err := k.of.Next(ctx)
		switch {
		case errors.Is(err, service.ErrOver):
			return k.showEnd(ctx)
		case err != nil:
			return k.breakOff(ctx, err)
		case o.Kind == job.OutputMark:
			err = k.send(attachedFrame{"attached", k.of.ID(), k.of.PID()})
		case o.Kind != k.stream:
			if err = k.send(streamFrame{"stream", o.Kind}); err == nil {
				k.stream, err = o.Kind, k.writeBytes(o.Data)
			}
		default:
			err = k.writeBytes(o.Data)
		}
		if err != nil {
			return err
		}
	}
}

// writeBytes sends a frame of output.
func (k *commandSocket) writeBytes(data []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), k.s.cfg.SlowestWrite)
	defer cancel()
	if err := k.conn.Write(ctx, websocket.MessageBinary, data); err != nil {
		return errClientGone
	}
	return nil
}

// showEnd sends how the command has ended.
func (k *commandSocket) showEnd(ctx context.Context) error {
	j, err := k.of.Ended(ctx)
	if err != nil {
		return k.breakOff(ctx, err)
	}
	f := exitFrame{Type: "exit", ID: j.ID, State: j.State, Failure: j.Failure}
	if r := j.Result; r != nil {
		f.Status, f.ExitCode, f.Signal, f.DurationMs, f.CPUMs = r.Status, r.ExitCode, r.Signal, &r.DurationMs, &r.CPUMs
		if r.Error != nil {
			f.Error = &exitError{r.Error.Name, r.Error.Value}
		}
	}
	if err := k.send(f); err != nil {
		return err
	}
	return errCommandOver
}

// breakOff reports that the command goes on without this client.
func (k *commandSocket) breakOff(ctx context.Context, err error) error {
	if errors.Is(err, errClientGone) || errors.Is(err, context.Canceled) {
		return err
	}
	p, unforeseen := problemOf(err)
	if errors.Is(err, service.ErrStopping) {
		p, unforeseen = newProblem(http.StatusServiceUnavailable, "draining", "this process is being stopped; the command goes on, so connect to it again"), false
	}
	if unforeseen {
		k.log.ErrorContext(ctx, "socket of a command failed", slog.String("job_id", k.of.ID()), slog.Any("err", err))
	}
	p.JobID = k.of.ID()
	if k.complain("", p) != nil {
		return errClientGone
	}
	return err
}

// registerCommandSocket adds the operations. OpenAPI knows of no WebSockets: it says how one begins.
func (s *server) registerCommandSocket(engine *gin.Engine) {
	s.commandFrames = s.commandSocketSchemas()
	engine.GET("/v1/sessions/:id/commands/ws", s.serveCommandSocket)
	engine.GET("/v1/sessions/:id/commands/:command/ws", s.serveCommandSocket)
	responses := map[string]*huma.Response{"101": {Description: "The connection is a WebSocket from here on. Binary frames are bytes of the terminal, or of standard input and output; others are JSON as text."}}
	for _, status := range []int{400, 401, 403, 404, 409, 410, 421, 426, 429, 503} {
		responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status), Content: map[string]*huma.MediaType{
			"application/problem+json": {Schema: s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")},
		}}
	}
	param := func(name, description string) *huma.Param {
		return &huma.Param{Name: name, In: "path", Required: true, Description: description, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	session := param("id", "Id of the session.")
	s.api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: attachOperation, Method: http.MethodGet, Path: "/v1/sessions/{id}/commands/{command}/ws", Tags: []string{commandsTag},
		Summary:     "Attach to a command over a WebSocket",
		Description: "Bytes both ways. The client gets all output from then on, and the command waits until it has taken it.",
		Parameters:  []*huma.Param{session, param("command", "Id of the command."), tenantParameter()}, Responses: responses,
	})
	s.api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: startOperation, Method: http.MethodGet, Path: "/v1/sessions/{id}/commands/ws", Tags: []string{commandsTag},
		Summary: "Start a command over a WebSocket",
		Description: "The first frame describes the command, which goes on if the client disconnects. The client is attached to it from its beginning. " +
			"Instead of a command, it can ask for a connection with a port of the session.",
		Parameters: []*huma.Param{session, tenantParameter()}, Responses: responses,
	})
}
