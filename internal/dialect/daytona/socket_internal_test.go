package daytona

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/dialect"
)

// TestAlone: a message that is not expected ends what a WebSocket is for at once, with the code for it.
func TestAlone(t *testing.T) {
	t.Parallel()
	d, handled := New(dialect.Parts{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		s := &socket{conn: conn, ctx: ctx, cancel: cancel, end: func() {}}
		defer s.done()
		alone := s.alone()
		<-alone.Done()
		close(handled)
		s.bye(d.closing(alone, alone.Err()))
	}))
	defer server.Close()
	conn, _, err := websocket.Dial(t.Context(), server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	<-handled // before the close, which waits for this client
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Error(err)
	}
}
