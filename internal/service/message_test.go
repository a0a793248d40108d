package service_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/service"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestReadMessage: after a message that was refused the next one is read, and its bytes count no more.
func TestReadMessage(t *testing.T) {
	t.Parallel()
	const most = 1 << 20
	for _, tt := range []struct {
		name    string
		bytes   int
		limits  service.MessageLimits
		counted int // bytes that the process may hold
		refused func(error) bool
	}{
		{"as large as it may be", most, service.MessageLimits{Most: most}, 4 * most, nil},
		{"too large", most + 1, service.MessageLimits{Most: most}, 4 * most, func(err error) bool { return errors.Is(err, service.ErrMessageTooLarge) }},
		{"much too large", 8 * most, service.MessageLimits{Most: most}, 4 * most, func(err error) bool { return errors.Is(err, service.ErrMessageTooLarge) }},
		{"more than the process may hold", 2 * most, service.MessageLimits{}, most, func(err error) bool {
			_, busy := errors.AsType[*service.BusyError](err)
			return busy
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			hub := service.NewHub("h")
			s := service.New(service.Config{Hub: hub, BodyMemory: int64(tt.counted)})
			conn := connect(t, func(conn *websocket.Conn) {
				var reading service.Reading
				held := s.HoldBody(service.Caller{})
				limits := tt.limits
				limits.Pause, limits.Held = testenv.Timeout, held
				next := func() ([]byte, error) {
					_, r, err := reading.Next(t.Context(), conn)
					if err != nil {
						return nil, err
					}
					return service.ReadMessage(conn, r, limits)
				}
				data, err := next()
				switch {
				case tt.refused == nil && (err != nil || len(data) != tt.bytes):
					t.Errorf("%d bytes, %v", len(data), err)
				case tt.refused != nil && (!tt.refused(err) || hub.BodyBytes() != 0):
					t.Errorf("%v; %d bytes are held", err, hub.BodyBytes())
				}
				held.Release()
				if data, err := next(); err != nil || string(data) != "next" {
					t.Errorf("the next one: %.20q, %v", data, err)
				}
				held.Release()
			})
			for _, message := range [][]byte{bytes.Repeat([]byte("x"), tt.bytes), []byte("next")} {
				if err := conn.Write(t.Context(), websocket.MessageText, message); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
				t.Error(err)
			}
		})
	}
}

// TestReadMessageThatStops: a client that stops within a message is told, and loses the connection.
func TestReadMessageThatStops(t *testing.T) {
	t.Parallel()
	conn := connect(t, func(conn *websocket.Conn) {
		var reading service.Reading
		_, r, err := reading.Next(t.Context(), conn)
		if err != nil {
			t.Error(err)
			return
		}
		if data, err := service.ReadMessage(conn, r, service.MessageLimits{Pause: 50 * time.Millisecond}); err == nil {
			t.Errorf("it is %q", data)
		}
	})
	w, err := conn.Writer(t.Context(), websocket.MessageText)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<16)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Error(err)
	}
}

// connect serves one WebSocket, and returns its client.
func connect(t *testing.T, serve func(*websocket.Conn)) *websocket.Conn {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		conn.SetReadLimit(-1)
		serve(conn)
		_ = conn.Close(websocket.StatusNormalClosure, "")
	}))
	t.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Timeout)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}
