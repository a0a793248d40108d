package daytona

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/service"
	"github.com/kaa-run/kaa/internal/testenv"
)

// serve serves one WebSocket, and returns its client and the connection below it.
func serve(t *testing.T, of service.Config, handle func(*Dialect, *socket)) (*websocket.Conn, net.Conn) {
	t.Helper()
	of.Hub = service.NewHub("h")
	d := New(dialect.Parts{Service: service.New(of)})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		conn.SetReadLimit(mostMessage)
		ctx, cancel := context.WithCancel(r.Context())
		s := &socket{conn: conn, ctx: ctx, cancel: cancel, end: func() {}, held: d.service.HoldBody(service.Caller{}), patience: testPatience}
		handle(d, s)
		s.done()
		if n := of.Hub.BodyBytes(); n != 0 {
			t.Errorf("%d bytes are held after the connection", n)
		}
	}))
	t.Cleanup(server.Close)
	var wire net.Conn
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		var err error
		wire, err = new(net.Dialer).DialContext(ctx, network, addr)
		return wire, err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial}}
	conn, _, err := websocket.Dial(t.Context(), server.URL, &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn, wire
}

// testPatience is how long the rest of a message may take that never comes.
const testPatience = 200 * time.Millisecond

// TestAlone: a message that is not expected ends what a WebSocket is for at once, with the code for it.
func TestAlone(t *testing.T) {
	t.Parallel()
	handled := make(chan struct{})
	conn, _ := serve(t, service.Config{}, func(d *Dialect, s *socket) {
		s.patience = testenv.Timeout
		alone := s.alone()
		<-alone.Done()
		close(handled)
		s.bye(d.closing(alone, alone.Err()))
	})
	if err := conn.Write(t.Context(), websocket.MessageText, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	<-handled // before the close, which waits for this client
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Error(err)
	}
}

// TestHostileMessages: who stops in the middle of a message, or sends more than its memory is good for, loses the connection, with
// the code for it.
func TestHostileMessages(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		header []byte // of a frame whose mask is zero
		size   int
		code   websocket.StatusCode
	}{
		"half a message": {[]byte{0x01, 0x80 | 10, 0, 0, 0, 0}, 10, websocket.StatusPolicyViolation},
		"half a frame":   {[]byte{0x81, 0x80 | 10, 0, 0, 0, 0}, 5, websocket.StatusPolicyViolation},
		"too many bytes": {[]byte{0x81, 0x80 | 126, 5000 >> 8, 5000 & 0xff, 0, 0, 0, 0}, 5000, websocket.StatusTryAgainLater},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, wire := serve(t, service.Config{BodyMemory: 4096}, func(_ *Dialect, s *socket) {
				if tt.code != websocket.StatusPolicyViolation {
					s.patience = testenv.Timeout
				}
				if _, err := s.read(s.ctx); err == nil {
					t.Error("it was read as a message")
				}
			})
			if _, err := wire.Write(append(tt.header, make([]byte, tt.size)...)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != tt.code {
				t.Errorf("%v, want the code %d", err, tt.code)
			}
		})
	}
}
