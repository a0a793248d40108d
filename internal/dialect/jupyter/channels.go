package jupyter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

const (
	slowestTime  = 30 * time.Second // for a client to take a message, to send the next bytes of one, or to answer a ping
	pingEvery    = 15 * time.Second
	observeEvery = 5 * time.Second // makes up for a wake that was lost
	mostWaiting  = 1024            // messages of a client that wait for their turn
	// mostAround is what a message has besides code.
	mostAround = 1 << 20
)

// socket is one client of a kernel. One goroutine reads its messages, and does those of the control and stdin channels at
// once; another one does those of the shell channel in their order.
type socket struct {
	d       *Dialect
	conn    *websocket.Conn
	out     *writer
	most    int64 // bytes of a message
	session string
	caller  service.Caller
	shell   chan waiting
	reading service.Reading
	taken   []waiting // of shell; they come first

	turn sync.Mutex // held while a message of the shell channel is done

	mu    sync.Mutex
	asked job.Answer // the input that the client was asked for; a zero JobID if none
}

// waiting is a message of the shell channel that waits for its turn.
type waiting struct {
	*message
	held *service.Held
}

// end ends a connection with a code.
type end struct {
	code   websocket.StatusCode
	reason string
}

func (e *end) Error() string { return e.reason }

// channels answers GET /api/kernels/{id}/channels.
func (d *Dialect) channels(w http.ResponseWriter, r *http.Request) error {
	se, err := d.live(r, r.PathValue("id"))
	if err != nil {
		return err
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		w.Header().Set("Upgrade", "websocket")
		return dialect.NewFault(http.StatusUpgradeRequired, "upgrade_required", "this is a WebSocket")
	}
	caller := service.CallerOf(r.Context())
	over, err := d.service.BeginSocket(caller, se.ID)
	if err != nil {
		return err
	}
	defer over()
	wake := make(chan struct{}, 1)
	defer d.service.ListenSession(se.ID, func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})()
	known, err := d.service.ObserveFirst(r.Context(), caller, se.ID)
	if err != nil {
		return err
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:       []string{protocolV1},
		InsecureSkipVerify: true, // the door has checked the origin
	})
	if err != nil {
		return errGone // it has answered
	}
	defer d.counts.connect(se.ID)()
	service.CallOf(r.Context()).Upgraded()
	conn.SetReadLimit(-1) // next has a limit
	// The access line of the request is not about its messages.
	ctx := service.WithCall(r.Context(), &service.Call{Caller: caller, SessionID: se.ID})
	k := &socket{
		d: d, conn: conn, out: newWriter(conn.Subprotocol() == protocolV1), most: int64(2*d.service.LimitsOf(caller).MaxCodeBytes) + mostAround,
		session: se.ID, caller: caller, shell: make(chan waiting, mostWaiting),
	}
	k.run(ctx, wake, known)
	return nil
}

// run serves the client until either side has enough.
func (k *socket) run(ctx context.Context, wake <-chan struct{}, known job.Observation) {
	defer func() { _ = k.conn.CloseNow() }()
	ctx, enough := context.WithCancelCause(ctx)
	var all sync.WaitGroup
	all.Go(func() { enough(k.read(ctx)) })
	all.Go(func() { enough(k.serve(ctx)) })
	all.Go(func() { enough(k.observe(ctx, wake, known)) })
	all.Go(func() {
		if k.reading.KeepAlive(ctx, k.conn, pingEvery, slowestTime) != nil {
			enough(errGone)
		}
	})
	<-ctx.Done()
	if o, ok := errors.AsType[*end](context.Cause(ctx)); ok {
		_ = k.conn.Close(o.code, o.reason) // the client may be gone
	}
	_ = k.conn.CloseNow()
	all.Wait()
	close(k.shell)
	for m := range k.shell {
		m.held.Release()
	}
}

// observe reports the end of the session, as Jupyter reports a kernel that has died.
func (k *socket) observe(ctx context.Context, wake <-chan struct{}, known job.Observation) error {
	var looks service.Looks
	defer looks.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-k.d.service.Draining():
			return &end{websocket.StatusGoingAway, "this process is being stopped; connect again"}
		case <-wake:
			looks.Soon()
		case <-looks.Due():
			looks.Seldomer()
		}
		o, err := k.d.service.Observe(ctx, k.caller, k.session, known)
		switch {
		case errors.Is(err, job.ErrNoSession) || err == nil && o.End != nil:
			k.turn.Lock() // what was executed has its end first
			defer k.turn.Unlock()
			_ = k.send(chanIOPub, "status", nil, map[string]string{"execution_state": "dead"})
			return &end{websocket.StatusNormalClosure, "the kernel has ended"}
		case err == nil:
			known = o
		}
	}
}

// send sends a message. A client that does not take it in time has lost the connection.
func (k *socket) send(channel, typ string, parent json.RawMessage, content any) error {
	kind, data, err := k.out.encode(channel, typ, parent, content)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), slowestTime)
	defer cancel()
	if k.conn.Write(ctx, kind, data) != nil {
		return errGone
	}
	return nil
}

// status sends the state of the kernel.
func (k *socket) status(m *message, state string) error {
	return k.send(chanIOPub, "status", m.Header, map[string]string{"execution_state": state})
}

// read reads messages until the client goes.
func (k *socket) read(ctx context.Context) error {
	for {
		held := k.d.service.HoldBody(k.caller)
		m, err := k.next(ctx, held)
		if err != nil {
			held.Release()
			return err
		}
		if m.Channel == chanShell || m.Channel == "" {
			select {
			case k.shell <- waiting{m, held}:
				continue
			default:
				held.Release()
				return &end{websocket.StatusPolicyViolation, "too many messages wait for their turn"}
			}
		}
		err = k.aside(ctx, m)
		held.Release()
		if err != nil {
			return err
		}
	}
}

// next reads a message.
func (k *socket) next(ctx context.Context, held *service.Held) (*message, error) {
	// The end of ctx would close the connection before its code is sent. After that, run closes it.
	kind, r, err := k.reading.Next(context.WithoutCancel(ctx), k.conn)
	if err != nil {
		return nil, errGone
	}
	data, err := service.ReadMessage(k.conn, r, service.MessageLimits{Pause: slowestTime, Most: k.most, Held: held})
	if _, busy := errors.AsType[*service.BusyError](err); busy {
		return nil, &end{websocket.StatusTryAgainLater, "the process holds as many bytes of messages as it may; connect again"}
	}
	if errors.Is(err, service.ErrMessageTooLarge) {
		return nil, &end{websocket.StatusMessageTooBig, fmt.Sprintf("a message may have %d bytes", k.most)}
	}
	if err != nil {
		return nil, errGone
	}
	m, err := decode(kind, k.out.v1, data)
	if err != nil {
		return nil, &end{websocket.StatusInvalidFramePayloadData, "a message is none of Jupyter's messaging protocol"}
	}
	return m, nil
}

// aside does a message that waits for no other one.
func (k *socket) aside(ctx context.Context, m *message) error {
	if m.Channel == chanStdin {
		if m.typ == "input_reply" {
			return k.input(ctx, m)
		}
		return nil
	}
	return k.answer(ctx, m)
}
