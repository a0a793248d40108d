package api_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/api"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestUnfinishedBodies: a caller who does not send what was announced gets an
// answer, and the connection is closed.
func TestUnfinishedBodies(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		length string
		body   string
		end    bool // the caller says that nothing more comes
		status int
		code   string
	}{
		{"stalled", "900", "{", false, 408, "body_timeout"},
		{"cut short", "900", "{", true, 400, "invalid_request"},
		{"announced too large", "1001", "{", false, 413, "body_too_large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := config(&fakeStore{})
			cfg.BodyTimeout = 200 * time.Millisecond
			server := httptest.NewServer(api.New(cfg))
			defer server.Close()
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if err := conn.SetDeadline(time.Now().Add(testenv.Patience)); err != nil {
				t.Fatal(err)
			}
			request := "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: " + tt.length + "\r\n\r\n" + tt.body
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			if tt.end {
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			reader := bufio.NewReader(conn)
			res, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != tt.status || !strings.Contains(string(body), tt.code) {
				t.Errorf("%d %s (%v)", res.StatusCode, body, err)
			}
			if _, err := reader.ReadByte(); err == nil {
				t.Error("the connection stays open")
			}
		})
	}
}
