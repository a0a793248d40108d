package escape_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/testenv"
)

// portServer is a server in a session that attacks whoever connects to it: by what it learns of the connection, over the connection, and by its answers.
// At /found it says what it has found so far, and elsewhere it answers as the path says.
const portServer = attack + `
import socket, struct, threading
secret = re.compile(rb"kaa-secret-[a-z]+-[0-9a-f]{32}")
seen = []
def tables():
    own = {"1F40", "%04X" % 8000}
    for name in "tcp", "tcp6", "udp", "unix":
        with open("/proc/net/" + name) as table:
            for line in table.readlines()[1:]:
                ports = {end.rsplit(":", 1)[1] for end in line.split()[1:3] if ":" in end}
                if name == "unix" and ("redis" in line or "kaa-" in line): return line
                if name in ("tcp", "tcp6") and not ports & own: return line
def look(c):
    peer = c.getpeername()
    if peer[0] != "127.0.0.1": bad.append(f"the peer is {peer}")
    tried("the process of the peer", lambda: struct.unpack("3i", c.getsockopt(socket.SOL_SOCKET, 17, 12))[0] or None)
    tried("a descriptor of the peer", lambda: c.getsockopt(socket.SOL_SOCKET, 77))
    tried("the network of the peer", lambda: fcntl.ioctl(c, 0x894C))
    for family, address in (socket.AF_INET, peer[0]), (socket.AF_INET6, "::1"):
        def connect():
            s = socket.socket(family)
            s.settimeout(1)
            s.connect((address, peer[1]))
            return 1 if s.getsockname() != s.getpeername() else None # it met itself
        tried(f"a connection to the peer at {address}", connect)
    tried("connections of others in the kernel's tables", tables)
    for p in others():
        for fd in range(9): tried(f"descriptor {fd} of {p}", lambda: os.readlink(f"/proc/{p}/fd/{fd}"))
def serve(c):
    look(c)
    asked = b""
    while b"\r\n\r\n" not in asked:
        more = c.recv(65536)
        if not more: return
        asked += more
    if secret.search(asked): bad.append("a secret: %r" % asked)
    path = asked.split()[1].decode()
    ok = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
    if path == "/found":
        c.sendall(ok + b"Content-Type: application/json\r\n\r\n{\"found\": \"%s\"}" % ("ESCAPED " + "; ".join(bad[:9]) if bad else "HELD").encode())
    elif path == "/urgent":
        for _ in range(100): c.send(b"x", socket.MSG_OOB)
    elif path == "/reset":
        c.sendall(ok + b"Content-Length: 100\r\n\r\nhalf")
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif path == "/flood":
        try:
            while True: c.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
        except OSError: pass
    elif path == "/garbage":
        c.sendall(os.urandom(1 << 20))
    elif path == "/lead":
        c.sendall(b"HTTP/1.1 307 Go\r\nLocation: ../../../../../v1/sessions\r\nContent-Length: 0\r\n\r\n")
    elif path == "/set":
        c.sendall(ok + b"Set-Cookie: a=b\r\nService-Worker-Allowed: /\r\nClear-Site-Data: \"*\"\r\nContent-Length: 0\r\n\r\n")
    elif path == "/inject":
        c.sendall(ok + b"Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    c.close()
def listen():
    l = socket.socket()
    l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    l.bind(("127.0.0.1", 8000))
    l.listen(100)
    while True: threading.Thread(target=serve, args=(l.accept()[0],), daemon=True).start()
listen()
`

// TestHostilePorts: a server in a session learns nothing of who connects to it and gets nowhere over the connection, and its answers harm neither Kaa
// nor the address at which they are shown.
func TestHostilePorts(t *testing.T) { //nolint:paralleltest // as the other suites
	const level = "strict" // at basic there is no server, and at none the network is the machine's
	k := startKaa(t, level, secret("runner"))
	session := k.open(t)
	k.background(t, session, map[string]any{"argv": []string{"python3", "-c", portServer}})
	at := k.url + "/v1/sessions/" + session + "/ports/8000"
	client := &http.Client{Transport: k.client.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(path string) (status int, h http.Header, text string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+secret("caller"))
		r.Header.Set("Cookie", "a="+secret("cookie"))
		r.Header.Set("X-Forwarded-For", secret("address"))
		a, err := client.Do(r)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		defer a.Body.Close()
		body := make([]byte, 1<<10)
		n, _ := a.Body.Read(body)
		return a.StatusCode, a.Header, string(body[:n])
	}
	var found struct{ Found string }
	testenv.Eventually(t, "the server to listen", func() bool {
		status, _, text := get("/found")
		return status == http.StatusOK && json.Unmarshal([]byte(text), &found) == nil
	})
	for _, path := range []string{"/urgent", "/flood", "/garbage"} {
		if status, _, text := get(path); status != http.StatusBadGateway || !strings.Contains(text, "port_failed") {
			t.Errorf("%s: %d %.100q", path, status, text)
		}
	}
	if _, _, text := get("/reset"); strings.Contains(text, "port_") {
		t.Errorf("/reset: %q", text)
	}
	if _, h, _ := get("/lead"); h.Get("Location") != "/v1/sessions/"+session+"/ports/8000/v1/sessions" {
		t.Errorf("/lead: to %q", h.Get("Location"))
	}
	if _, h, _ := get("/set"); h.Get("Set-Cookie")+h.Get("Service-Worker-Allowed")+h.Get("Clear-Site-Data") != "" || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("/set: %v", h)
	}
	for range 5 { // what is behind one answer is not the next one's
		if _, _, text := get("/inject"); text != "ok" {
			t.Errorf("/inject: %q", text)
		}
	}
	if _, _, text := get("/found"); json.Unmarshal([]byte(text), &found) != nil || found.Found != "HELD" {
		t.Errorf("the server has found: %s", text)
	}
	if r, err := k.execute(t.Context(), map[string]any{"sessionId": session, "code": "print(x)"}); err != nil || r.Stdout != "kaa-kept\n" {
		t.Errorf("the session afterwards: %v %s", err, r)
	}
}
