package app_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/testenv"
)

// portServer shows what it was asked, sends events, speaks WebSocket, and counts the requests that never get an answer.
const portServer = `
import base64, hashlib, http.server, threading
go, waiting = threading.Event(), []
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def head(self, status=200, *headers):
        self.send_response(status)
        for name, value in headers: self.send_header(name, value)
        self.end_headers()
    def text(self, text):
        self.head(200, ('Content-Length', str(len(text))), ('Set-Cookie', 'a=b'))
        if self.command != 'HEAD': self.wfile.write(text.encode())
    def do_GET(self):
        if self.path == '/events':
            self.head(200, ('Content-Type', 'text/event-stream'), ('Connection', 'close'))
            self.wfile.write(b'data: one\n\n')
            go.wait()
            self.wfile.write(b'data: two\n\n')
            self.close_connection = True
        elif self.path == '/go': go.set(); self.text('gone')
        elif self.path == '/silent': waiting.append(self); self.rfile.read(1); waiting.pop()
        elif self.path == '/waiting': self.text(str(len(waiting)))
        elif self.path == '/ws': self.socket()
        else: self.text(self.command + ' ' + self.path + '\n' + str(self.headers))
    do_HEAD = do_DELETE = do_GET
    def do_POST(self):
        self.text(self.rfile.read(int(self.headers['Content-Length'])).decode()[::-1])
    def do_PUT(self):
        self.head(200, ('Connection', 'close'))
        while size := int(self.rfile.readline(), 16):
            self.wfile.write(self.rfile.read(size).upper()); self.rfile.readline()
        self.close_connection = True
    def socket(self):
        accept = base64.b64encode(hashlib.sha1((self.headers['Sec-WebSocket-Key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').encode()).digest()).decode()
        self.head(101, ('Upgrade', 'websocket'), ('Connection', 'Upgrade'), ('Sec-WebSocket-Accept', accept))
        while head := self.rfile.read(2):
            n = head[1] & 127
            if n == 126: n = int.from_bytes(self.rfile.read(2), 'big')
            mask, data = self.rfile.read(4), self.rfile.read(n)
            data = bytes(b ^ mask[i % 4] for i, b in enumerate(data))
            self.wfile.write(bytes((head[0], n) if n < 126 else (head[0], 126, n >> 8, n & 255)) + data)
            if head[0] & 15 == 8: break
        self.close_connection = True
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(('127.0.0.1', 8000), H).serve_forever()
`

// serving opens a session with the server of a program, and returns the path below which it is reached.
func (k *kaa) serving(program string) (session, at string) {
	k.tb.Helper()
	session = k.open(nil)
	k.call(http.MethodPut, sessionsPath+"/"+session+"/files/server.py", program, "Content-Type: application/octet-stream")
	if out := k.in(session, "import subprocess, sys\nserver = subprocess.Popen([sys.executable, 'server.py'])"); out != "" {
		k.tb.Fatal(out)
	}
	at = sessionsPath + "/" + session + "/ports/8000/"
	testenv.Eventually(k.tb, "the server to listen", func() bool { return k.call(http.MethodGet, at, nil).status == http.StatusOK })
	return session, at
}

// TestPorts: a server that code has started in a session is reached below the session's ports: without the key of the caller, streamed both ways, with
// answers that are harmless at this address, and by the owner only.
func TestPorts(t *testing.T) {
	t.Parallel()
	k, other := withTenants(t, "KAA_PORTS_HOST=*.ports.test:1234", "KAA_BASE_PATH=/base")
	session, at := k.serving(portServer)
	t.Run("requests", func(t *testing.T) { k.portRequests(t, at) })                //nolint:paralleltest // they share the server
	t.Run("refused", func(t *testing.T) { k.portRefusals(t, session, at, other) }) //nolint:paralleltest // they share the server
	t.Run("streams", func(t *testing.T) { k.portStreams(t, at) })                  //nolint:paralleltest // they share the server
	t.Run("websocket", func(t *testing.T) { k.portSocket(t, at) })                 //nolint:paralleltest // they share the server
	t.Run("host names", func(t *testing.T) { k.portHosts(t, session, other) })     //nolint:paralleltest // they share the server
	t.Run("ends", func(t *testing.T) { k.portEnds(t, session, at) })               //nolint:paralleltest // they share the server
}

func (k *kaa) portRequests(t *testing.T, at string) {
	t.Helper()
	a := k.call(http.MethodDelete, at+"a%2Fb?c=d;e&f=%zz", nil, "Cookie: e=f", "X-Forwarded-For: 10.1.2.3")
	if a.status != http.StatusOK || !strings.HasPrefix(a.raw, "DELETE /a%2Fb?c=d;e&f=%zz\n") {
		t.Errorf("%d %s", a.status, a.raw)
	}
	if strings.Contains(a.raw, k.key) || strings.Contains(a.raw, "Bearer") || strings.Contains(a.raw, "e=f") || strings.Contains(a.raw, "10.1.2.3") {
		t.Errorf("a secret reaches the code: %s", a.raw)
	}
	if a.header.Get("Set-Cookie") != "" || !strings.HasPrefix(a.header.Get("Content-Security-Policy"), "sandbox") || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%v", a.header)
	}
	if a := k.call(http.MethodHead, at+"x", nil); a.status != http.StatusOK || a.raw != "" || a.header.Get("Content-Length") == "0" {
		t.Errorf("HEAD: %d %v", a.status, a.header)
	}
	for _, kind := range []string{"multipart/form-data; boundary=x", "application/json"} {
		if a := k.call(http.MethodPost, at, "abc\xff"[:3], "Content-Type: "+kind, "Content-Encoding: br"); a.raw != "cba" {
			t.Errorf("%s: %d %s", kind, a.status, a.raw)
		}
	}
	// Two lengths of one body: net/http takes neither.
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(k.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: 3\r\nContent-Length: 30\r\n\r\nabcGET %sgo HTTP/1.1\r\n\r\n", at, k.key, at)
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, " 400 ") {
		t.Errorf("two lengths: %q %v", line, err)
	}
}

func (k *kaa) portRefusals(t *testing.T, session, at string, other *kaa) {
	t.Helper()
	port := func(n string) string { return strings.Replace(at, "8000", n, 1) }
	for path, want := range map[string]string{
		port("8001"): "502 port_closed", port("0"): "400 invalid_request", port("65536"): "400 invalid_request", port("x"): "400 invalid_request", port("08000"): "400 invalid_request",
		port("3128"): "400 invalid_request",
	} {
		if a := k.call(http.MethodGet, path, nil); a.str("status")+" "+a.str("code") != want {
			t.Errorf("%s: %d %s", path, a.status, a.raw)
		}
	}
	if a := k.call(http.MethodGet, at, nil, "Connection: Upgrade", "Upgrade: h2c"); a.status != http.StatusBadRequest {
		t.Errorf("another protocol: %d %s", a.status, a.raw)
	}
	never := strings.Replace(at, session, "01a00000-0000-7000-8000-000000000000", 1)
	for name, a := range map[string]answer{
		"another tenant": other.call(http.MethodGet, at, nil), "a port that is none": other.call(http.MethodGet, port("0"), nil), "no session": k.call(http.MethodGet, never, nil),
	} {
		if a.status != http.StatusNotFound || a.str("code") != "session_not_found" {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
	if a := k.as("none").call(http.MethodGet, at, nil); a.status != http.StatusUnauthorized {
		t.Errorf("no key: %d %s", a.status, a.raw)
	}
}

// portStreams: an event arrives before the next one is made, and the answer to a part of a body before the rest is sent.
func (k *kaa) portStreams(t *testing.T, at string) {
	t.Helper()
	req := func(method, path string, body io.Reader) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), method, k.url+at+path, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+k.key)
		a, err := k.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = a.Body.Close() })
		return a
	}
	events := bufio.NewReader(req(http.MethodGet, "events", nil).Body)
	if line, err := events.ReadString('\n'); line != "data: one\n" {
		t.Fatalf("%q %v", line, err)
	}
	k.call(http.MethodGet, at+"go", nil)
	if rest, err := io.ReadAll(events); string(rest) != "\ndata: two\n\n" || err != nil {
		t.Errorf("%q %v", rest, err)
	}
	from, to := io.Pipe()
	go func() { _, _ = to.Write([]byte("abc")) }()
	up := req(http.MethodPut, "", from).Body
	first := make([]byte, 3)
	if _, err := io.ReadFull(up, first); string(first) != "ABC" {
		t.Fatalf("%q %v", first, err)
	}
	go func() { _, _ = to.Write([]byte("def")); _ = to.Close() }()
	if rest, err := io.ReadAll(up); string(rest) != "DEF" || err != nil {
		t.Errorf("%q %v", rest, err)
	}
}

func (k *kaa) portSocket(t *testing.T, at string) {
	t.Helper()
	conn, a, err := websocket.Dial(t.Context(), k.url+at+"ws", &websocket.DialOptions{HTTPClient: k.client, HTTPHeader: http.Header{"Authorization": {"Bearer " + k.key}}})
	if err != nil {
		t.Fatalf("%v %v", err, a)
	}
	defer func() { _ = conn.CloseNow() }()
	for _, text := range []string{"hello", strings.Repeat("x", 60000)} {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		conn.SetReadLimit(1 << 20)
		if _, got, err := conn.Read(t.Context()); string(got) != text {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
}

// portEnds: a client that goes away ends its connection inside, and no command stays behind.
func (k *kaa) portEnds(t *testing.T, session, at string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := k.try(ctx, http.MethodGet, at+"silent", nil)
		failed <- err
	}()
	waiting := func(n string) func() bool {
		return func() bool { return k.call(http.MethodGet, at+"waiting", nil).raw == n }
	}
	testenv.Eventually(t, "the request to arrive", waiting("1"))
	cancel()
	if err := <-failed; err == nil {
		t.Error("a request without an answer is answered")
	}
	testenv.Eventually(t, "the connection to end inside", waiting("0"))
	testenv.Eventually(t, "no command to be left", func() bool {
		return k.call(http.MethodGet, sessionsPath+"/"+session+"/commands", nil).raw == "{\"commands\":[]}\n"
	})
	testenv.Eventually(t, "the session to be paused", func() bool { // which waits for the last connection
		return k.call(http.MethodPost, sessionsPath+"/"+session+"/pause", fields{}).status == http.StatusOK
	})
	if a := k.call(http.MethodGet, at, nil); a.status != http.StatusConflict || a.str("code") != "session_paused" {
		t.Errorf("of a paused session: %d %s", a.status, a.raw)
	}
	k.call(http.MethodPost, sessionsPath+"/"+session+"/resume", fields{})
	if a := k.call(http.MethodGet, at, nil); a.status != http.StatusOK {
		t.Errorf("after the resume: %d %s", a.status, a.raw)
	}
	k.end(session)
	if a := k.call(http.MethodGet, at, nil); a.status != http.StatusGone || a.str("code") != "session_ended" {
		t.Errorf("of a session that has ended: %d %s", a.status, a.raw)
	}
}
