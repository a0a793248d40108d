package api_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
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
			server := httptest.NewServer(newAPI(cfg))
			defer server.Close()
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if err := conn.SetDeadline(time.Now().Add(testenv.Timeout)); err != nil {
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

// TestRefusalsAreRead: a client that sends all of its body before it reads gets to know why it
// is refused, and goes on with the connection if the body was short.
func TestRefusalsAreRead(t *testing.T) {
	t.Parallel()
	const large = 16_000_000
	tests := []struct {
		name, head string
		size       int // in chunks if it is negative
		status     int
		again      bool // the connection can be used again
	}{
		{"no key", "POST /v1/jobs HTTP/1.1\r\nX-API-Key: x", large, 401, false},
		{"no key, in chunks", "POST /v1/jobs HTTP/1.1\r\nX-API-Key: x", -large, 401, false},
		{"no key, short", "POST /v1/jobs HTTP/1.1\r\nX-API-Key: x", 100_000, 401, true},
		{"foreign origin", "POST /v1/jobs HTTP/1.1\r\nX-API-Key: key\r\nOrigin: http://elsewhere", large, 403, false},
		{"no such path", "POST /none HTTP/1.1\r\nX-API-Key: key", large, 413, false},
		{"too large", "POST /v1/jobs HTTP/1.1\r\nX-API-Key: key", large, 413, false},
		{"too large, in chunks", "POST /v1/jobs HTTP/1.1\r\nX-API-Key: key", -large, 413, false},
		{"too large, short", "POST /v1/jobs HTTP/1.1\r\nX-API-Key: key", 100_000, 413, true},
		{"too large, in chunks that were asked for", "POST /v1/jobs HTTP/1.1\r\nX-API-Key: key\r\nExpect: 100-continue", -large, 413, false},
		{"compressed", "POST /v1/jobs HTTP/1.1\r\nX-API-Key: key\r\nContent-Encoding: gzip", large, 415, false},
		{"too often", "POST /v1/jobs HTTP/1.1\r\nX-API-Key: other", large, 429, false},
		{"file for no session", "PUT /v1/sessions/x/files/f HTTP/1.1\r\nX-API-Key: key", large, 404, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := config(&fakeStore{})
			cfg.apiKeys, cfg.MaxFileBytes = []string{"key", "other"}, large
			other := callerOf("other")
			cfg.Allow = func(_ context.Context, caller, _ string, _ job.RateLimit) (job.Rate, error) {
				return job.Rate{Allowed: caller != other, Limit: 1}, nil
			}
			server := httptest.NewServer(newAPI(cfg))
			defer server.Close()
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if err := conn.SetDeadline(time.Now().Add(testenv.Timeout)); err != nil {
				t.Fatal(err)
			}
			if err := sendBody(conn, tt.head, tt.size); err != nil {
				t.Fatalf("the body is not taken: %v", err)
			}
			reader := bufio.NewReader(conn)
			res, err := http.ReadResponse(reader, nil)
			if err == nil && res.StatusCode == http.StatusContinue {
				res, err = http.ReadResponse(reader, nil)
			}
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != tt.status || res.ContentLength <= 0 || res.Close == tt.again {
				t.Errorf("%d %s (%v), %d bytes, close %v", res.StatusCode, body, err, res.ContentLength, res.Close)
			}
			if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil && tt.again {
				t.Fatal(err)
			}
			if _, err := http.ReadResponse(reader, nil); (err == nil) != tt.again {
				t.Errorf("the next request: %v, want it answered: %v", err, tt.again)
			}
		})
	}
}

// sendBody sends a request with a body of zeros, all of it.
func sendBody(w io.Writer, head string, size int) error {
	piece := strings.Repeat("0", 10_000)
	length := "Content-Length: " + strconv.Itoa(size)
	if size < 0 {
		size, length, piece = -size, "Transfer-Encoding: chunked", "2710\r\n"+piece+"\r\n"
	}
	out := bufio.NewWriter(w)
	_, _ = out.WriteString(head + "\r\nHost: x\r\nContent-Type: application/json\r\n" + length + "\r\n\r\n")
	for ; size > 0; size -= 10_000 {
		_, _ = out.WriteString(piece)
	}
	if strings.HasPrefix(length, "Transfer") {
		_, _ = out.WriteString("0\r\n\r\n")
	}
	return out.Flush()
}

// callerOf is how a key is known.
func callerOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:8])
}
