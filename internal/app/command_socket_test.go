package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/testenv"
)

// attached is a client of a command, over a WebSocket.
type attached struct {
	tb     testing.TB
	conn   *websocket.Conn
	stream string // of the binary frames
	out    map[string]*bytes.Buffer
	frames []event // those that are text
	err    error   // why it ended
}

func (k *kaa) dialCommand(path string) (*attached, *http.Response, error) {
	o := &websocket.DialOptions{HTTPClient: k.client, HTTPHeader: http.Header{}}
	if k.key != "" {
		o.HTTPHeader.Set("Authorization", "Bearer "+k.key)
	}
	conn, res, err := websocket.Dial(k.tb.Context(), k.url+path+"/ws", o)
	if err != nil {
		return nil, res, err
	}
	conn.SetReadLimit(1 << 20)
	k.tb.Cleanup(func() { _ = conn.CloseNow() })
	return &attached{tb: k.tb, conn: conn, stream: "stdout", out: map[string]*bytes.Buffer{"stdout": {}, "stderr": {}}}, res, nil
}

// attach attaches to a command that runs.
func (k *kaa) attach(path string) *attached {
	k.tb.Helper()
	a, _, err := k.dialCommand(path)
	if err != nil {
		k.tb.Fatal(err)
	}
	return a
}

// startAttached starts a command, attached from its beginning.
func (k *kaa) startAttached(session string, body fields) *attached {
	k.tb.Helper()
	a := k.attach("/v1/sessions/" + session + "/commands")
	body["type"] = "start"
	a.send(body)
	return a
}

func (a *attached) send(frame any) {
	a.tb.Helper()
	kind, data := websocket.MessageText, []byte(nil)
	switch f := frame.(type) {
	case string:
		kind, data = websocket.MessageBinary, []byte(f)
	case []byte:
		data = f
	default:
		var err error
		if data, err = json.Marshal(frame); err != nil {
			a.tb.Fatal(err)
		}
	}
	if err := a.conn.Write(a.tb.Context(), kind, data); err != nil {
		a.tb.Fatalf("send: %v", err)
	}
}

// next takes one frame; false at the end.
func (a *attached) next() bool {
	ctx, cancel := context.WithTimeout(a.tb.Context(), testenv.Timeout)
	defer cancel()
	kind, data, err := a.conn.Read(ctx)
	if err != nil {
		a.err = err
		return false
	}
	if kind == websocket.MessageBinary {
		a.out[a.stream].Write(data)
		return true
	}
	e := event{at: time.Now()}
	if err := json.Unmarshal(data, &e.data); err != nil {
		a.tb.Errorf("%q: %v", data, err)
	}
	e.name = e.str("type")
	if e.name == "stream" {
		a.stream = e.str("stream")
	}
	a.frames = append(a.frames, e)
	return true
}

// sees waits until standard output has a text, and forgets it up to there.
func (a *attached) sees(text string) {
	a.tb.Helper()
	for !strings.Contains(a.out["stdout"].String(), text) {
		if !a.next() {
			a.tb.Fatalf("ended with %v before %q came: %q, %v", a.err, text, a.out["stdout"], briefs(a.frames))
		}
	}
	a.out["stdout"].Next(strings.Index(a.out["stdout"].String(), text) + len(text))
}

// frame waits for a text frame of a type.
func (a *attached) frame(kind string) event {
	a.tb.Helper()
	for {
		for i, e := range a.frames {
			if e.name == kind {
				a.frames = append(a.frames[:i:i], a.frames[i+1:]...)
				return e
			}
		}
		if !a.next() {
			a.tb.Fatalf("ended with %v before %s came: %q, %v", a.err, kind, a.out["stdout"], briefs(a.frames))
		}
	}
}

// exit waits for the end, and returns its frame.
func (a *attached) exit() event {
	a.tb.Helper()
	e := a.frame("exit")
	for a.next() {
		continue
	}
	if code := websocket.CloseStatus(a.err); code != websocket.StatusNormalClosure {
		a.tb.Errorf("closed with %d (%v)", code, a.err)
	}
	return e
}

func TestCommandSocket(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	session := k.open(fields{})
	terminal := fields{"columns": 80, "rows": 24}
	for name, test := range map[string]func(*testing.T, *kaa){
		"bytes": func(t *testing.T, k *kaa) {
			t.Helper()
			a := k.startAttached(session, fields{"command": "cat; echo end >&2; exit 3"})
			if f := a.frame("attached"); f.str("id") == "" || f.str("pid") == "" {
				t.Errorf("attached: %v", f.data)
			}
			all := make([]byte, 1000)
			for i := range all {
				all[i] = byte(i)
			}
			a.send(string(all))
			a.send(fields{"type": "end"})
			e := a.exit()
			if e.str("exitCode") != "3" || e.str("state") != "completed" || e.str("status") != "exit" {
				t.Errorf("exit: %v", e.data)
			}
			if !bytes.Equal(a.out["stdout"].Bytes(), all) || a.out["stderr"].String() != "end\n" {
				t.Errorf("stdout %q, stderr %q", a.out["stdout"], a.out["stderr"])
			}
		},
		"job control": func(t *testing.T, k *kaa) {
			t.Helper()
			a := k.startAttached(session, fields{"argv": []string{"bash", "--norc", "-i"}, "terminal": terminal, "envs": fields{"PS1": "> ", "TERM": "xterm"}})
			a.sees("> ")
			a.send("sh -c 'echo on; exec sleep 1000'\r")
			a.sees("on\r\n") // it has the terminal
			a.send("\x1a")
			a.sees("Stopped")
			a.sees("> ")
			a.send("bg; kill %1; wait; stty size\r")
			a.sees("24 80")
			a.sees("> ")
			a.send(fields{"type": "resize", "columns": 101, "rows": 33})
			a.send("until test \"$(stty size)\" = '33 101'; do :; done; stty size\r") // input does not wait for the size
			a.sees("33 101\r\n")
			a.send("exit 7\r")
			if e := a.exit(); e.str("exitCode") != "7" {
				t.Errorf("exit: %v", e.data)
			}
		},
		"a REPL": func(_ *testing.T, k *kaa) {
			a := k.startAttached(session, fields{"argv": []string{"python3", "-q"}, "terminal": terminal, "envs": fields{"TERM": "xterm", "PYTHON_BASIC_REPL": "1"}})
			a.sees(">>> ")
			a.send("print('x' * 5)\r")
			a.sees("xxxxx\r\n")
			a.send("import time; time.sleep(1000)\r")
			a.sees("sleep(1000)\r\n")
			a.send("\x03")
			a.sees("KeyboardInterrupt")
			a.sees(">>> ")
			a.send("\x04")
			a.exit()
		},
		"Vim": func(t *testing.T, k *kaa) {
			t.Helper()
			a := k.startAttached(session, fields{"argv": []string{"vi", "-N", "-u", "NONE", "by-vim"}, "terminal": terminal, "envs": fields{"TERM": "xterm"}})
			a.sees("by-vim")
			a.send("ihello\x1b:wq\r")
			if e := a.exit(); e.str("exitCode") != "0" {
				t.Errorf("exit: %v", e.data)
			}
			if got := k.command(session, fields{"command": "cat by-vim"}).str("stdout"); got != "hello\n" {
				t.Errorf("vim wrote %q", got)
			}
		},
		"top": func(t *testing.T, k *kaa) {
			t.Helper()
			a := k.startAttached(session, fields{"argv": []string{"top"}, "terminal": terminal, "envs": fields{"TERM": "xterm"}})
			a.sees("PID")
			a.send("q")
			if e := a.exit(); e.str("exitCode") != "0" {
				t.Errorf("exit: %v", e.data)
			}
		},
		"attach": func(t *testing.T, k *kaa) {
			t.Helper()
			path := k.background(session, fields{"command": "read a; echo got $a; read b; echo and $b"})
			a, b := k.attach(path), k.attach(path)
			a.frame("attached")
			b.frame("attached")
			a.send("1\n")
			a.sees("got 1\n")
			b.sees("got 1\n")
			_ = a.conn.CloseNow() // the command goes on
			b.send("2\n")
			b.sees("and 2\n")
			if e := b.exit(); e.str("status") != "ok" {
				t.Errorf("exit: %v", e.data)
			}
			if _, res, err := k.dialCommand(path); err == nil || res.StatusCode != http.StatusConflict {
				t.Errorf("after the end: %v, %v", res, err)
			}
		},
		"a signal": func(t *testing.T, k *kaa) {
			t.Helper()
			a := k.startAttached(session, fields{"command": "echo on; exec sleep 1000"})
			a.sees("on\n")
			a.send(fields{"type": "signal", "signal": "NONESUCH"})
			if e := a.frame("error"); e.str("code") != "invalid_request" || !strings.Contains(e.str("detail"), "NONESUCH") {
				t.Errorf("error: %v", e.data)
			}
			a.send(fields{"type": "resize", "columns": 0, "rows": 33})
			a.frame("error")
			a.send(fields{"type": "nonesuch"})
			a.frame("error")
			a.send(fields{"type": "resize", "columns": 80, "rows": 33})
			if e := a.frame("error"); e.str("code") != "no_terminal" {
				t.Errorf("error: %v", e.data)
			}
			a.send(fields{"type": "signal", "signal": "TERM"})
			if e := a.exit(); e.str("signal") != "SIGTERM" || e.str("exitCode") != "143" {
				t.Errorf("exit: %v", e.data)
			}
		},
		"what cannot start": func(t *testing.T, k *kaa) {
			t.Helper()
			if e := k.startAttached(session, fields{"argv": []string{"nonesuch"}}).exit(); e.str("exitCode") != "127" || !strings.Contains(e.str("error"), "FileNotFoundError") {
				t.Errorf("no such program: %v", e.data)
			}
			for code, body := range map[string]fields{"command": {}, "terminal.rows": {"command": "ls", "terminal": fields{"columns": 1, "rows": 0}}, "nonesuch": {"command": "ls", "nonesuch": 1}} {
				a := k.startAttached(session, body)
				if e := a.frame("error"); e.str("code") != "invalid_request" || !strings.Contains(e.str("detail"), code) {
					t.Errorf("%v: %v", body, e.data)
				}
				if a.next() || websocket.CloseStatus(a.err) != websocket.StatusPolicyViolation {
					t.Errorf("%v: %v", body, a.err)
				}
			}
			a := k.attach("/v1/sessions/" + session + "/commands")
			a.send([]byte("{"))
			if a.next() || websocket.CloseStatus(a.err) != websocket.StatusInvalidFramePayloadData {
				t.Errorf("no JSON: %v", a.err)
			}
		},
		"a flood":            func(t *testing.T, k *kaa) { t.Helper(); followFlood(t, k, session, 12<<20) },
		"many print at once": func(t *testing.T, k *kaa) { t.Helper(); printTogether(t, k, 50, 2000) },
		"input that waits": func(_ *testing.T, k *kaa) {
			const size = 900 << 10
			k.command(session, fields{"command": "mkfifo fifo"})
			a := k.startAttached(session, fields{"command": "read go < fifo; wc -c"})
			for range 3 { // more than may wait
				a.send(strings.Repeat("x", size))
			}
			k.command(session, fields{"command": "echo > fifo"})
			a.send(fields{"type": "end"})
			a.sees(fmt.Sprint(3 * size))
			a.exit()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := *k
			own.tb = t
			test(t, &own)
		})
	}
}

// followFlood has a command print for a slow and a fast follower. Both get all of it, and the command waits for
// the slow one.
func followFlood(t *testing.T, k *kaa, session string, size int) {
	t.Helper()
	path := k.background(session, fields{"command": fmt.Sprintf("read; yes | head -c %d", size)})
	slow, fast := k.attach(path), k.attach(path)
	slow.frame("attached")
	fast.frame("attached")
	fast.send("\n")
	var got atomic.Int64
	fastEnd := make(chan error, 1)
	go func() {
		for {
			_, r, err := fast.conn.Reader(t.Context())
			if err != nil {
				fastEnd <- err
				return
			}
			n, _ := io.Copy(io.Discard, r)
			got.Add(n)
		}
	}()
	// What the sockets, Redis and the pipe hold is far less than all of it.
	before, still := int64(-1), 0
	testenv.Eventually(t, "the command waits for the slow follower", func() bool {
		now := got.Load()
		if still++; now != before || now == 0 {
			before, still = now, 0
		}
		return still > 20
	})
	if got := got.Load(); got > int64(size)*3/4 {
		t.Errorf("the command did not wait: the fast follower has %d bytes of %d", got, size)
	}
	slow.exit()
	if n := slow.out["stdout"].Len(); n != size {
		t.Errorf("the slow follower has %d bytes, want %d", n, size)
	}
	if text := slow.out["stdout"].String(); strings.Count(text, "y\n")*2 != len(text) {
		t.Error("the output of the slow follower is not in order")
	}
	if err := <-fastEnd; websocket.CloseStatus(err) != websocket.StatusNormalClosure || got.Load() < int64(size) {
		t.Errorf("the fast follower has %d bytes, want %d: %v", got.Load(), size, err)
	}
}

// TestCommandSocketFlood is the same for some seconds.
func TestCommandSocketFlood(t *testing.T) {
	t.Parallel()
	testenv.Long(t)
	k := start(t, 1)
	followFlood(t, k, k.open(fields{}), 128<<20)
}
