package daytona

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/service"
)

const (
	// versionProtocol begins the subprotocol with the version of a browser's SDK.
	versionProtocol = "X-Daytona-SDK-Version~"
	// exitProtocol asks for the exit code of a terminal as a message.
	exitProtocol = "X-Daytona-Pty-Exit-Control"
	// envsProtocol brings the variables of a new terminal.
	envsProtocol = "X-Daytona-Pty-Envs~"

	firstTime   = 30 * time.Second // for the first message
	slowestTime = 30 * time.Second // for a client to take a message, or to answer a ping
	pingEvery   = 20 * time.Second
	mostMessage = 4 << 20
)

var errGone = errors.New("the client has gone")

// socket is the WebSocket of one request.
type socket struct {
	conn    *websocket.Conn // nil before the upgrade
	ctx     context.Context //nolint:containedctx // of the connection
	cancel  context.CancelFunc
	caller  service.Caller
	end     func()
	reading service.Reading
	readers sync.WaitGroup
	held    *service.Held // the memory of the message that was read last
	// patience is how long the client may pause within a message.
	patience time.Duration
	// draining is closed when the process is about to stop.
	draining <-chan struct{}
}

// offered are the subprotocols that a client offers.
func offered(r *http.Request) (all []string) {
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for one := range strings.SplitSeq(line, ",") {
			all = append(all, strings.TrimSpace(one))
		}
	}
	return all
}

// accept makes a request a WebSocket. It is to be done.
func (d *Dialect) accept(w http.ResponseWriter, r *http.Request, session string) (*socket, error) {
	s, err := d.begin(w, r, session)
	if err != nil {
		return nil, err
	}
	if err := s.upgrade(w, r); err != nil {
		s.done()
		return nil, err
	}
	return s, nil
}

// begin counts the WebSocket of a request, which is not answered yet. It is to be done.
func (d *Dialect) begin(w http.ResponseWriter, r *http.Request, session string) (*socket, error) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		w.Header().Set("Upgrade", "websocket")
		return nil, dialect.NewFault(http.StatusUpgradeRequired, "upgrade_required", "this is a WebSocket")
	}
	caller := service.CallerOf(r.Context())
	end, err := d.service.BeginCommandSocket(caller, session)
	if err != nil {
		return nil, err
	}
	// The access line of the request is not about its messages.
	ctx, cancel := context.WithCancel(service.WithCall(r.Context(), &service.Call{Caller: caller, SessionID: session}))
	return &socket{
		ctx: ctx, cancel: cancel, caller: caller, end: end, held: d.service.HoldBody(caller), patience: slowestTime, draining: d.service.Draining(),
	}, nil
}

// upgrade answers the request.
func (s *socket) upgrade(w http.ResponseWriter, r *http.Request) error {
	var echoed []string
	for _, one := range offered(r) {
		if one == exitProtocol || strings.HasPrefix(one, versionProtocol) {
			echoed = append(echoed, one)
		}
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:       echoed,
		InsecureSkipVerify: true, // the door has checked the origin
	})
	if err != nil {
		return errGone // it has answered
	}
	service.CallOf(r.Context()).Upgraded()
	conn.SetReadLimit(mostMessage)
	s.conn = conn
	go s.keepAlive()
	return nil
}

// keepAlive pings the client, and ends the connection when it is gone.
func (s *socket) keepAlive() {
	_ = s.reading.KeepAlive(s.ctx, s.conn, pingEvery, slowestTime)
	s.cancel()
}

// read waits for a message. The message counts as the caller's memory until the next read. A client that stops in the middle of a
// message, or sends more than the caller may hold, loses the connection.
func (s *socket) read(ctx context.Context) ([]byte, error) {
	s.held.Release()
	_, r, err := s.reading.Next(ctx, s.conn)
	if err != nil {
		return nil, err
	}
	data, err := service.ReadMessage(s.conn, r, service.MessageLimits{Pause: s.patience, Held: s.held})
	if _, busy := errors.AsType[*service.BusyError](err); busy {
		_ = s.conn.Close(websocket.StatusTryAgainLater, "the process holds as many bytes of messages as it may; connect again")
	}
	return data, err
}

func (s *socket) done() {
	s.cancel()
	if s.conn != nil {
		_ = s.conn.CloseNow()
	}
	s.readers.Wait()
	s.held.Release()
	s.end()
}

// first reads the first message. The stop of the process does not wait for it.
func (s *socket) first() ([]byte, error) {
	ctx, cancel := context.WithTimeout(s.ctx, firstTime)
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-s.draining:
		case <-ctx.Done():
		}
	}()
	text, err := s.read(ctx)
	if err != nil {
		return nil, errGone
	}
	return text, nil
}

// alone returns a context that ends when the client goes, or sends a message: none is expected any more. The library's own CloseRead
// would wait for itself for 15 s after such a message.
func (s *socket) alone() context.Context {
	ctx, end := context.WithCancelCause(s.ctx)
	s.readers.Go(func() {
		_, err := s.read(ctx)
		if err == nil {
			end(&over{websocket.StatusPolicyViolation, "this connection takes no more messages"})
		}
		end(errGone)
	})
	return ctx
}

// send sends a message of ours. A client that does not take it in time has lost the connection.
func (s *socket) send(message any) error {
	text, err := json.Marshal(message)
	if err != nil {
		return errGone // texts can be encoded
	}
	return s.write(websocket.MessageText, text)
}

func (s *socket) write(kind websocket.MessageType, data []byte) error {
	ctx, cancel := context.WithTimeout(s.ctx, slowestTime)
	defer cancel()
	if s.conn.Write(ctx, kind, data) != nil {
		return errGone
	}
	return nil
}

// mostReason is the longest reason of a close.
const mostReason = 120

// bye closes the connection as the error says.
func (s *socket) bye(err error) {
	o := (*over)(nil)
	if errors.As(err, &o) {
		reason := o.reason
		if len(reason) > mostReason {
			reason = strings.ToValidUTF8(reason[:mostReason], "")
		}
		_ = s.conn.Close(o.code, reason) // the client may be gone
	}
}
