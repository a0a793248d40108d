package app_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestPortFrame: a WebSocket on commands whose first frame asks for a port of the session carries the bytes of a connection, which has no process.
func TestPortFrame(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_SANDBOX=strict")
	session, _ := k.serving(portServer)
	connect := func(port int) (*attached, string) {
		a := k.attach(sessionsPath + "/" + session + "/commands")
		a.send(fields{"type": "connect", "port": port})
		f := a.frame("attached")
		if f.str("id") == "" || f.data["pid"] != nil {
			t.Errorf("port %d: attached: %v", port, f.data)
		}
		return a, f.str("id")
	}
	a, id := connect(8000)
	a.send(fields{"type": "connect", "port": 8000})
	if e := a.frame("error"); e.str("code") != "invalid_request" || !strings.Contains(e.str("detail"), "first frame") {
		t.Errorf("a second one: %v", e.data)
	}
	if j := k.call(http.MethodGet, "/v1/jobs/"+id, nil); j.str("resultTtl") != "120" { // longer than its last bytes wait for a slow client
		t.Errorf("the record: %s", j.raw)
	}
	a.send("POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello")
	a.sees("HTTP/1.1 200")
	a.sees("olleh") // the server closes the connection then
	if e := a.exit(); e.str("exitCode") != "0" || a.out["stderr"].String() != "+" {
		t.Errorf("after the answer: %v, %q", e.data, a.out["stderr"])
	}
	a, _ = connect(8001)
	if e := a.exit(); e.str("exitCode") != "1" || a.out["stderr"].String() != "connection refused\n" {
		t.Errorf("where nothing listens: %v, %q", e.data, a.out["stderr"])
	}
}
