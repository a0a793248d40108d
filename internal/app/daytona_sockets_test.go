package app_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// daytonaSocket opens a WebSocket of a toolbox with the key one.
func (k *kaa) daytonaSocket(t *testing.T, path string) *websocket.Conn {
	t.Helper()
	conn, res, err := websocket.Dial(t.Context(), k.url+path, &websocket.DialOptions{HTTPClient: k.client, HTTPHeader: http.Header{"Authorization": {"Bearer one"}}})
	if err != nil {
		t.Fatalf("%s: %v, %+v", path, err, res)
	}
	conn.SetReadLimit(-1)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

// until reads to the end of a connection, or to a text, and returns what came and how it was closed.
func until(t *testing.T, conn *websocket.Conn, text string) (all string, code websocket.StatusCode) {
	t.Helper()
	for {
		_, data, err := conn.Read(t.Context())
		if err != nil {
			return all, websocket.CloseStatus(err)
		}
		if all += string(data); text != "" && strings.Contains(all, text) {
			return all, 0
		}
	}
}

func write(t *testing.T, conn *websocket.Conn, text string) {
	t.Helper()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		t.Error(err)
	}
}

// writeLarge sends a message of 64 MiB, as much of it as the other side takes.
func writeLarge(t *testing.T, conn *websocket.Conn) {
	t.Helper()
	w, err := conn.Writer(t.Context(), websocket.MessageText)
	if err != nil {
		t.Error(err)
		return
	}
	piece := bytes.Repeat([]byte("x"), 1<<20)
	for range 64 {
		if _, err := w.Write(piece); err != nil {
			return
		}
	}
	_ = w.Close()
}

// sockets sends the WebSockets of a sandbox what they do not expect. All of it ends with a code, and nothing hangs.
func (k *kaa) sockets(t *testing.T, box string) {
	t.Helper()
	const execute = "/process/interpreter/execute"
	t.Run("a large message", func(t *testing.T) {
		t.Parallel()
		for _, path := range []string{execute, "/process/pty/create-connect?id=large"} {
			conn := k.daytonaSocket(t, box+path)
			over := make(chan websocket.StatusCode, 1)
			go func() {
				_, code := until(t, conn, "")
				over <- code
			}()
			writeLarge(t, conn)
			// Where the refusal crosses the rest of the message, the connection is reset before its code arrives.
			if code := <-over; code != websocket.StatusMessageTooBig && code != -1 {
				t.Errorf("%s: closed with %d", path, code)
			}
		}
	})
	t.Run("a second message", func(t *testing.T) {
		t.Parallel()
		conn := k.daytonaSocket(t, box+execute)
		write(t, conn, `{"code": "print('began'); import time; time.sleep(1000)"}`)
		until(t, conn, "began")
		write(t, conn, `{"code": "1"}`)
		if _, code := until(t, conn, ""); code != websocket.StatusPolicyViolation {
			t.Errorf("closed with %d", code)
		}
	})
	t.Run("unknown fields, and two clients of a context", func(t *testing.T) {
		t.Parallel()
		made := k.call(http.MethodPost, box+"/process/interpreter/context", `{"unknown": 1}`, "Authorization: Bearer one")
		first, second := k.daytonaSocket(t, box+execute), k.daytonaSocket(t, box+execute)
		write(t, first, `{"code": "x = 1; print('began'); import time; time.sleep(0.2); x += 1", "contextId": "`+made.str("id")+`", "unknown": []}`)
		until(t, first, "began")
		write(t, second, `{"code": "print('x is', x)", "contextId": "`+made.str("id")+`"}`)
		if all, code := until(t, second, ""); code != websocket.StatusNormalClosure || !strings.Contains(all, "x is 2") {
			t.Errorf("closed with %d after %s", code, all)
		}
	})
	t.Run("terminals", func(t *testing.T) {
		t.Parallel()
		const create = "/process/pty/create-connect"
		conn := k.daytonaSocket(t, box+create+"?id=term&cols=5000")
		if all, code := until(t, conn, ""); code != websocket.StatusPolicyViolation || !strings.Contains(all, `"status":"error"`) {
			t.Errorf("too wide: closed with %d after %s", code, all)
		}
		conn = k.daytonaSocket(t, box+create+"?id=term")
		until(t, conn, "connected")
		if all, code := until(t, k.daytonaSocket(t, box+create+"?id=term"), ""); code != websocket.StatusPolicyViolation || !strings.Contains(all, "already exists") {
			t.Errorf("twice: closed with %d after %s", code, all)
		}
		write(t, conn, "echo $((6*7)); exit 5\n")
		if all, code := until(t, conn, ""); code != websocket.StatusNormalClosure || !strings.Contains(all, "42\r\n") {
			t.Errorf("closed with %d after %s", code, all)
		}
	})
	t.Run("half a body", func(t *testing.T) {
		t.Parallel()
		for path, body := range map[string]string{
			"/files/bulk-upload": "--b\r\nContent-Disposition: form-data; name=\"files[0].path\"\r\n\r\nx\r\n--b\r\nContent-Disposition: form-data; name=\"files[0].file\"; filename=\"x\"\r\n\r\nhal",
			"/files/upload":      "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\nhal",
			"/process/execute":   `{"command": "touch /tmp/half`,
		} {
			a := k.call(http.MethodPost, box+path+"?path=half", body, "Authorization: Bearer one", "Content-Type: multipart/form-data; boundary=b")
			if a.status != http.StatusBadRequest || a.str("message") == "" {
				t.Errorf("%s: %d %s", path, a.status, a.raw)
			}
		}
		for _, name := range []string{"x", "half", "/tmp/half"} {
			if a := k.call(http.MethodGet, box+"/files/info?path="+name, "", "Authorization: Bearer one"); a.status != http.StatusNotFound {
				t.Errorf("%s is there: %s", name, a.raw)
			}
		}
	})
}

// ended ends a sandbox under what it executes.
func (k *kaa) ended(t *testing.T) {
	t.Helper()
	made := k.call(http.MethodPost, "/daytona/api/sandbox", "{}", "Authorization: Bearer one")
	box := "/daytona/toolbox/" + made.str("id")
	run, terminal := k.daytonaSocket(t, box+"/process/interpreter/execute"), k.daytonaSocket(t, box+"/process/pty/create-connect?id=t")
	write(t, run, `{"code": "print('began'); import time; time.sleep(1000)"}`)
	until(t, run, "began")
	until(t, terminal, "connected")
	if a := k.call(http.MethodDelete, "/daytona/api/sandbox/"+made.str("id"), "", "Authorization: Bearer one"); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.raw)
	}
	// 1001 is a success for the SDK for JavaScript.
	if all, code := until(t, run, ""); code != websocket.StatusInternalError || !strings.Contains(all, "SandboxError") {
		t.Errorf("the interpreter: closed with %d after %s", code, all)
	}
	if _, code := until(t, terminal, ""); code == websocket.StatusGoingAway {
		t.Errorf("the terminal: closed with %d", code)
	}
}
