package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/coder/websocket"
)

// mostFrame bounds a frame of the server.
const mostFrame = 16 << 20

// Socket is a WebSocket of a session or of a command. One goroutine may read while others write.
type Socket struct{ conn *websocket.Conn }

// DialSession opens a WebSocket on a session.
func (c *Client) DialSession(ctx context.Context, session string) (*Socket, error) {
	return c.Dial(ctx, "/v1/sessions/"+url.PathEscape(session)+"/ws")
}

// DialCommand opens a WebSocket whose first frame starts a command in a session.
func (c *Client) DialCommand(ctx context.Context, session string) (*Socket, error) {
	return c.Dial(ctx, "/v1/sessions/"+url.PathEscape(session)+"/commands/ws")
}

// Dial opens a WebSocket at a path.
func (c *Client) Dial(ctx context.Context, path string) (*Socket, error) {
	o := &websocket.DialOptions{HTTPHeader: http.Header{}, HTTPClient: c.http}
	if c.key != "" {
		o.HTTPHeader.Set("Authorization", "Bearer "+c.key)
	}
	conn, res, err := websocket.Dial(ctx, c.url+path, o)
	if err == nil {
		conn.SetReadLimit(mostFrame)
		return &Socket{conn}, nil
	}
	if res != nil && res.Body != nil {
		defer func() { _ = res.Body.Close() }()
		return nil, c.refused(res)
	}
	return nil, c.unreachable(err)
}

// Read returns the next frame, and whether it is of bytes; else it is JSON.
func (s *Socket) Read(ctx context.Context) (data []byte, binary bool, err error) {
	kind, data, err := s.conn.Read(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return data, kind == websocket.MessageBinary, nil
}

// Send sends a frame of JSON.
func (s *Socket) Send(ctx context.Context, frame any) error {
	text, err := json.Marshal(frame)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	if err := s.conn.Write(ctx, websocket.MessageText, text); err != nil {
		return fmt.Errorf("send frame: %w", err)
	}
	return nil
}

// SendBytes sends a frame of bytes.
func (s *Socket) SendBytes(ctx context.Context, data []byte) error {
	if err := s.conn.Write(ctx, websocket.MessageBinary, data); err != nil {
		return fmt.Errorf("send frame: %w", err)
	}
	return nil
}

// Close ends the connection.
func (s *Socket) Close() error { return s.conn.CloseNow() }
