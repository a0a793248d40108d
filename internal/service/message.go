package service

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/coder/websocket"
)

// mostDropped bounds what is read of a message that is refused. A client that sends before it reads would not see
// the reason otherwise, and a hostile client could send without an end.
const mostDropped = 256 << 20

// ErrMessageTooLarge says that a message has more bytes than its limit.
var ErrMessageTooLarge = errors.New("the message is too large")

// MessageLimits are those of one message of a client.
type MessageLimits struct {
	// Pause is how long the client may pause within the message: see InTime.
	Pause time.Duration
	// Most is in bytes; 0 leaves it to the limit of the connection.
	Most int64
	// Held counts the bytes, if they are to be counted.
	Held *Held
}

// Incoming is a WebSocket. Reader returns the next message.
type Incoming interface {
	Reader(ctx context.Context) (websocket.MessageType, io.Reader, error)
}

// Next waits for a message of the client.
func (r *Reading) Next(ctx context.Context, conn Incoming) (websocket.MessageType, io.Reader, error) {
	r.turns.Add(1)
	defer r.turns.Add(1)
	return conn.Reader(ctx)
}

// ReadMessage reads a message. A client that pauses for too long within it loses the connection. The error is
// ErrMessageTooLarge or a *BusyError if the message is refused, after its rest has been passed over: then the client can receive
// the reason, and the connection goes on. With every other error the client is gone.
func ReadMessage(conn *websocket.Conn, r io.Reader, limits MessageLimits) ([]byte, error) {
	r, stop := InTime(r, limits.Pause, func() {
		_ = conn.Close(websocket.StatusPolicyViolation, "a message did not arrive in time")
	})
	defer stop()
	from := r
	if limits.Held != nil {
		from = limits.Held.Reader(from)
	}
	if limits.Most > 0 {
		from = io.LimitReader(from, limits.Most+1)
	}
	data, err := io.ReadAll(from)
	if _, busy := errors.AsType[*BusyError](err); !busy && err != nil {
		return nil, err
	}
	if err == nil && limits.Most > 0 && int64(len(data)) > limits.Most {
		err = ErrMessageTooLarge
	}
	if err == nil {
		return data, nil
	}
	if limits.Held != nil {
		limits.Held.Release()
	}
	if n, lost := io.Copy(io.Discard, io.LimitReader(r, mostDropped)); lost != nil {
		return nil, lost
	} else if n == mostDropped {
		return nil, io.ErrShortBuffer
	}
	return nil, err
}
