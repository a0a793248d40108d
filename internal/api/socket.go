package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const (
	// socketProtocol is the subprotocol that a client may name.
	socketProtocol  = "kaa"
	socketOperation = "connectSession"
	// statusSessionEnded is the close code after the end of the session: HTTP's 410 in the range
	// that is free for use.
	statusSessionEnded websocket.StatusCode = 4410
)

// Why a socket ends, for errors.Is, besides what ends streams of events.
var (
	errClientGone  = errors.New("the client has gone")
	errSessionOver = errors.New("the session has ended, and everything is sent")
)

// socket is one client of a session: its frames come in on one goroutine, and all that the
// session executes goes out on another. There is no buffer in between: what a slow client
// does not take stays in Redis, and after a time limit the connection is closed.
type socket struct {
	s       *server
	conn    *websocket.Conn
	session string
	caller  service.Caller
	log     *slog.Logger
	reading service.Reading

	mu    sync.Mutex
	mine  map[string]ownExecution // by job
	asked job.Answer              // what the client was asked last, to be answered; a zero JobID if nothing
}

// ownExecution is one that this client has started.
type ownExecution struct {
	id    string        // the client's
	acked chan struct{} // closed when the client has been notified of the acceptance
}

// serveSocket answers GET /v1/sessions/{id}/ws.
func (s *server) serveSocket(c *gin.Context) {
	ctx, id := c.Request.Context(), c.Param("id")
	service.CallOf(ctx).Operation = socketOperation
	if p := s.refuseUpgrade(c.Request); p != nil {
		if p.Status == http.StatusUpgradeRequired {
			c.Header("Upgrade", "websocket")
		}
		abort(c, p)
		return
	}
	caller := service.CallerOf(ctx)
	end, err := s.cfg.Service.BeginSocket(caller, id)
	if err != nil {
		p, _ := problemOf(err)
		abort(c, p)
		return
	}
	defer end()
	t := &sender{wake: make(chan struct{}, 1)}
	defer s.cfg.Service.ListenSession(id, t.notify)()
	first, err := s.cfg.Service.ObserveFirst(ctx, caller, id)
	if err != nil {
		p, unforeseen := problemOf(err)
		if unforeseen {
			s.cfg.Log.ErrorContext(ctx, "open socket", slog.Any("err", err))
		}
		abort(c, p)
		return
	}
	conn, err := websocket.Accept(c.Writer, c.Request, &websocket.AcceptOptions{
		Subprotocols:       []string{socketProtocol},
		InsecureSkipVerify: true, // the door has checked the origin
	})
	if err != nil {
		s.cfg.Log.DebugContext(ctx, "accept socket", slog.Any("err", err)) // it has answered
		return
	}
	service.CallOf(ctx).Upgraded()
	conn.SetReadLimit(s.cfg.MaxFrameBytes)
	k := &socket{
		s: s, conn: conn, session: id, caller: caller, mine: make(map[string]ownExecution),
		log: s.cfg.Log.With(slog.String("session_id", id)),
	}
	t.socket = k
	t.learn(first)
	// The access line of the request is not about its frames.
	k.run(service.WithCall(ctx, &service.Call{Caller: caller}), t)
}

// refuseUpgrade says what keeps a request from becoming a socket.
func (s *server) refuseUpgrade(r *http.Request) *Problem {
	if service.CallOf(r.Context()).HeadOnly || !hasToken(r.Header, "Connection", "upgrade") || !hasToken(r.Header, "Upgrade", "websocket") {
		return newProblem(http.StatusUpgradeRequired, "upgrade_required", "this is a WebSocket; connect with a client for these, to ws:// or wss://")
	}
	select {
	case <-s.cfg.Service.Draining():
		p := newProblem(http.StatusServiceUnavailable, "draining", "this process is being stopped; connect again")
		p.retryAfter = time.Second
		return p
	default:
		return nil
	}
}

func hasToken(h http.Header, name, token string) bool {
	for _, line := range h.Values(name) {
		for item := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(item), token) {
				return true
			}
		}
	}
	return false
}

// run serves the client until either side has enough.
func (k *socket) run(ctx context.Context, t *sender) {
	defer func() { _ = k.conn.CloseNow() }()
	sending, enough := context.WithCancelCause(ctx)
	defer enough(nil)
	var others sync.WaitGroup
	others.Go(func() { enough(k.readFrames(ctx)) })
	others.Go(func() { k.keepAlive(sending, enough) })
	err := t.showAll(sending)
	if sending.Err() != nil {
		err = context.Cause(sending)
	}
	// Its reading goroutine is there until the client has answered that.
	k.goodbye(err)
	enough(nil)
	_ = k.conn.CloseNow()
	others.Wait()
}

// goodbye closes the connection with a code that says why.
func (k *socket) goodbye(err error) {
	code, reason := websocket.StatusInternalError, "internal error; it has been logged"
	bad := (*badMessageError)(nil)
	switch {
	case errors.Is(err, errClientGone):
		return
	case errors.As(err, &bad):
		code, reason = bad.code, bad.reason
	case errors.Is(err, errCommandOver):
		code, reason = websocket.StatusNormalClosure, "the command has ended"
	case errors.Is(err, service.ErrFellBehind), errors.Is(err, service.ErrNotAttached):
		code, reason = websocket.StatusTryAgainLater, err.Error()
	case errors.Is(err, errSessionOver):
		code, reason = statusSessionEnded, "the session has ended"
	case errors.Is(err, service.ErrStopping):
		code, reason = websocket.StatusGoingAway, "this process is being stopped; connect again"
	case errors.Is(err, job.ErrUnavailable):
		code, reason = websocket.StatusTryAgainLater, "the job store does not answer; connect again"
	default:
		k.log.Error("socket failed", slog.Any("err", err))
	}
	_ = k.conn.Close(code, reason) // the client may be gone
}

// keepAlive pings the client, and ends the connection when it is gone.
func (k *socket) keepAlive(ctx context.Context, enough context.CancelCauseFunc) {
	if k.reading.KeepAlive(ctx, k.conn, k.s.cfg.PingEvery, k.s.cfg.SlowestWrite) != nil && ctx.Err() == nil {
		enough(errClientGone)
	}
}

// write sends a frame. A client who does not take it in time has lost the connection.
func (k *socket) write(frame []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), k.s.cfg.SlowestWrite)
	defer cancel()
	if err := k.conn.Write(ctx, websocket.MessageText, frame); err != nil {
		return errClientGone
	}
	return nil
}

// send writes a frame of ours.
func (k *socket) send(frame any) error {
	return k.write(job.NewEvent("", frame).Data)
}

// registerSocket adds the operation. OpenAPI knows of no WebSockets: it says how one begins.
func (s *server) registerSocket(engine *gin.Engine) {
	s.frames = s.socketSchemas()
	engine.GET("/v1/sessions/:id/ws", s.serveSocket)
	responses := map[string]*huma.Response{"101": {Description: "The connection is a WebSocket from here on; its frames are JSON as text."}}
	for _, status := range []int{400, 401, 403, 404, 410, 421, 426, 429, 503} {
		responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status), Content: map[string]*huma.MediaType{
			"application/problem+json": {Schema: s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")},
		}}
	}
	s.api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: socketOperation, Method: http.MethodGet, Path: "/v1/sessions/{id}/ws", Tags: []string{sessionsTag},
		Summary: "Execute, answer and watch over a WebSocket",
		Description: "Any number of clients may be connected to a session. Each executes code and interrupts, and sees everything that the session executes, also that of other clients. " +
			"input() asks the clients.",
		Parameters: []*huma.Param{{Name: "id", In: "path", Required: true, Description: "Id of the session.", Schema: &huma.Schema{Type: huma.TypeString}}, tenantParameter()},
		Responses:  responses,
	})
}
