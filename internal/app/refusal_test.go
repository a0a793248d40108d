package app_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestRefusalsBeforeARequest: what the server cannot read as a request is answered with a problem, too; and
// what a handler answers is left alone, even if it looks the same.
func TestRefusalsBeforeARequest(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	addr := strings.TrimPrefix(k.url, "http://")
	good := "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for _, c := range []struct {
		name, send string
		first      int // answers before that
		status     int
		code       string
	}{
		{"too large a header", "GET / HTTP/1.1\r\nHost: localhost\r\nX-A: " + strings.Repeat("a", 40_000) + "\r\n\r\n", 0, 431, "header_too_large"},
		{"the second one", good + "GET / HTTP/1.1\r\nHost: localhost\r\nX-A: " + strings.Repeat("a", 40_000) + "\r\n\r\n", 1, 431, "header_too_large"},
		{"no HTTP", "GARBAGE\r\n\r\n", 0, 400, "invalid_request"},
		{"no host", "GET / HTTP/1.1\r\n\r\n", 0, 400, "invalid_request"},
		{"an encoding", "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 0, 501, "unsupported_encoding"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			go func() { _, _ = io.WriteString(conn, c.send) }()
			answers := bufio.NewReader(conn)
			for i := 0; ; i++ {
				res, err := http.ReadResponse(answers, nil)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil {
					t.Fatal(err)
				}
				if i < c.first {
					continue
				}
				var p struct{ Code, Detail string }
				if err := json.Unmarshal(body, &p); err != nil || res.StatusCode != c.status || p.Code != c.code || p.Detail == "" || res.Header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("%d %v %s", res.StatusCode, res.Header, body)
				}
				return
			}
		})
	}
	const alike = "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n431"
	a := k.execute(fields{"code": fmt.Sprintf("open('a', 'w', newline='').write(%q + ' ' * 100_000)", alike)})
	if got := k.call(http.MethodGet, "/v1/jobs/"+a.str("jobId")+"/files/a", nil); got.status != http.StatusOK || got.raw != alike+strings.Repeat(" ", 100_000) {
		t.Errorf("a file that looks like an answer: %d, %.200q", got.status, got.raw)
	}
}
