package app_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/testenv"
)

var upgrade = []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}

// TestCommandSocketOpening: who may attach to commands and watch directories, and what the audit log says about it.
func TestCommandSocketOpening(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys, audit := filepath.Join(dir, "keys.json"), filepath.Join(dir, "audit")
	mine, others, reader := access.NewSecret(), access.NewSecret(), access.NewSecret()
	keysFile(t, keys, tenantKey("acme", mine), tenantKey("rival", others), tenantKey("acme", reader, access.Read))
	k := start(t, 1, "KAA_API_KEYS_FILE="+keys, "KAA_ALLOWED_ORIGINS=*.example.com", "KAA_AUDIT_LOG="+audit)
	k.key = mine
	session, ended := k.open(nil), k.open(nil)
	k.call(http.MethodDelete, sessionsPath+"/"+ended, nil)
	command := k.background(session, fields{"command": "sleep 1000"})
	const never = "01900000-0000-7000-8000-000000000000"
	for name, path := range map[string]string{
		"startCommand": sessionsPath + "/" + session + "/commands/ws", "attachCommand": command + "/ws", "watchSessionDirectory": sessionsPath + "/" + session + "/fs/watch?path=/work",
	} {
		for what, tt := range map[string]struct {
			key, path, origin string
			status            int
			code              string
		}{
			"no key":             {"", path, "", 401, "unauthorized"},
			"another tenant's":   {others, path, "", 404, ""},
			"no such session":    {mine, strings.Replace(path, session, never, 1), "", 404, ""},
			"a key without":      {reader, path, "", 403, "scope_missing"},
			"page of another's":  {mine, path, "https://evil.org", 403, "origin_refused"},
			"page of nobody's":   {mine, path, "null", 403, "origin_refused"},
			"an ended session":   {mine, strings.Replace(path, session, ended, 1), "", 410, "session_ended"},
			"of another session": {mine, strings.Replace(command, session, ended, 1) + "/ws", "", 404, ""},
			"no such command":    {mine, sessionsPath + "/" + session + "/commands/" + never + "/ws", "", 404, ""},
		} {
			if what == "an ended session" && name == "attachCommand" {
				continue // that command is not of that session
			}
			headers := upgrade
			if tt.origin != "" {
				headers = append([]string{"Origin: " + tt.origin}, upgrade...)
			}
			if a := k.as(tt.key).call(http.MethodGet, tt.path, nil, headers...); a.status != tt.status || tt.code != "" && a.str("code") != tt.code {
				t.Errorf("%s, %s: %d %s, want %d %s", name, what, a.status, a.raw, tt.status, tt.code)
			}
		}
	}
	k.attach(command).frame("attached")
	k.startAttached(session, fields{"command": "true"}).exit()
	k.watchDirectory(session, "path=/work").close()
	path := sessionsPath + "/" + session + "/commands/ws"
	for _, want := range []fields{
		{"operation": "startCommand", "session_id": session, "tenant": "acme", "status": 101.0},
		{"operation": "attachCommand", "session_id": session, "tenant": "acme", "status": 101.0},
		{"path": path, "outcome": "refused", "code": "unauthorized", "status": 401.0},
		{"path": path, "outcome": "refused", "code": "origin_refused", "status": 403.0},
		{"path": path, "outcome": "refused", "code": "scope_missing", "status": 403.0, "key_id": access.Digest(reader)[:12]},
		{"path": command + "/ws", "outcome": "refused", "code": "origin_refused", "status": 403.0},
	} {
		testenv.Eventually(t, fmt.Sprint("an audit line with ", want), func() bool {
			text, err := os.ReadFile(audit)
			if err != nil {
				t.Fatal(err)
			}
			return find(logLines(t, string(text[:bytes.LastIndexByte(text, '\n')+1])), "audit", want) != nil
		})
	}
}

// TestCommandSocketAbuse: what no client should send ends its connection or is refused, and neither the command nor the session notices.
func TestCommandSocketAbuse(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_MAX_BODY_BYTES=100000", "KAA_MAX_CODE_BYTES=1000")
	session := k.open(nil)
	path := k.background(session, fields{"command": "cat > /dev/null", "timeout": 600})
	for name, tt := range map[string]struct {
		kind    websocket.MessageType
		message string
		code    websocket.StatusCode
	}{
		"a huge frame of input": {websocket.MessageBinary, strings.Repeat("x", 300_000), websocket.StatusMessageTooBig},
		"a huge text frame":     {websocket.MessageText, `{"type":"` + strings.Repeat("x", 5000) + `"}`, websocket.StatusMessageTooBig},
		"text that is no UTF-8": {websocket.MessageText, "{\"type\":\"\xff\"}", websocket.StatusInvalidFramePayloadData},
		"text that is no JSON":  {websocket.MessageText, "ls", websocket.StatusInvalidFramePayloadData},
	} {
		a := k.attach(path)
		a.frame("attached")
		_ = a.conn.Write(t.Context(), tt.kind, []byte(tt.message)) // it may be refused before its end
		for a.next() {
			continue
		}
		if code := websocket.CloseStatus(a.err); code != tt.code {
			t.Errorf("%s: closed with %d (%v), want %d", name, code, a.err, tt.code)
		}
	}
	for name, tt := range map[string]struct {
		kind  websocket.MessageType
		first string
		code  websocket.StatusCode
	}{
		"input before the start":   {websocket.MessageBinary, "ls\n", websocket.StatusUnsupportedData},
		"a size before the start":  {websocket.MessageText, `{"type":"resize","columns":1,"rows":1}`, websocket.StatusPolicyViolation},
		"an end before the start":  {websocket.MessageText, `{"type":"end"}`, websocket.StatusPolicyViolation},
		"a start that is too long": {websocket.MessageText, `{"type":"start","command":"` + strings.Repeat("x", 200_000) + `"}`, websocket.StatusMessageTooBig},
		"the port of the proxy":    {websocket.MessageText, `{"type":"connect","port":3128}`, websocket.StatusPolicyViolation},
		"no port":                  {websocket.MessageText, `{"type":"connect","port":65536}`, websocket.StatusPolicyViolation},
		"a port and a program":     {websocket.MessageText, `{"type":"connect","port":8000,"argv":["true"]}`, websocket.StatusPolicyViolation},
		"no object":                {websocket.MessageText, `["start"]`, websocket.StatusPolicyViolation},
	} {
		a := k.attach("/v1/sessions/" + session + "/commands")
		_ = a.conn.Write(t.Context(), tt.kind, []byte(tt.first)) // it may be refused before its end
		for a.next() {
			continue
		}
		if code := websocket.CloseStatus(a.err); code != tt.code {
			t.Errorf("%s: closed with %d (%v), want %d", name, code, a.err, tt.code)
		}
	}
	if a := k.call(http.MethodGet, path, nil); a.str("state") != "running" {
		t.Errorf("the command is %s", a.raw)
	}
	k.call(http.MethodDelete, path, nil)
	testFloodOfFrames(t, k, session)
}

// testFloodOfFrames sends frames in the wrong order, and many of them. It reads nothing of what comes before it has sent
// some hundreds; a client that reads nothing at all is closed in the end.
func testFloodOfFrames(t *testing.T, k *kaa, session string) {
	t.Helper()
	const flood, unread = 2000, 400
	a, read := k.startAttached(session, fields{"command": "cat; exit 5"}), make(chan struct{})
	a.frame("attached")
	a.send(fields{"type": "start", "command": "ls"})
	if e := a.frame("error"); !strings.Contains(e.str("detail"), "type") {
		t.Errorf("a second start: %v", e.data)
	}
	for i := range flood {
		if i == unread {
			go func() {
				defer close(read)
				for a.next() {
					continue
				}
			}()
		}
		switch i % 3 {
		case 0:
			a.send(fields{"type": "ping"})
		case 1:
			a.send(fields{"type": "resize", "columns": 1, "rows": 1})
		default:
			a.send("x")
		}
	}
	a.send(fields{"type": "end"})
	<-read
	counts := map[string]int{}
	for _, e := range a.frames {
		counts[strings.TrimSpace(e.name+" "+e.str("code")+" "+e.str("exitCode"))]++
	}
	if counts["pong"] != (flood+2)/3 || counts["error no_terminal"] != (flood+1)/3 || counts["exit  5"] != 1 || websocket.CloseStatus(a.err) != websocket.StatusNormalClosure {
		t.Errorf("frames %v, %v", counts, a.err)
	}
	if got := a.out["stdout"].String(); got != strings.Repeat("x", flood/3) {
		t.Errorf("the command has read %d bytes, want %d", len(got), flood/3)
	}
	a = k.startAttached(session, fields{"command": "exec sleep 1000"})
	a.frame("attached")
	a.send(fields{"type": "end"})
	a.send("late")
	if e := a.frame("error"); e.str("code") != "input_ended" {
		t.Errorf("input after its end: %v", e.data)
	}
	a.send(fields{"type": "signal", "signal": "KILL"})
	a.exit()
	if got := k.command(session, fields{"command": "echo on"}).str("stdout"); got != "on\n" {
		t.Errorf("afterwards %q", got)
	}
}

// numbered counts lines that have a prefix and the next number.
type numbered struct {
	prefix string
	n      int
	rest   []byte
	wrong  string
}

func (c *numbered) Write(p []byte) (int, error) {
	c.rest = append(c.rest, p...)
	for {
		line, rest, ok := bytes.Cut(c.rest, []byte("\n"))
		if !ok {
			c.rest = append(c.rest[:0:0], c.rest...)
			return len(p), nil
		}
		c.n++
		if want := c.prefix + strconv.Itoa(c.n); string(line) != want && c.wrong == "" {
			c.wrong = fmt.Sprintf("%q, want %q", line, want)
		}
		c.rest = rest
	}
}

// printTogether has many commands of one session print at once, each with a follower of its own, and returns the most that the
// heap grew meanwhile. Each follower gets all lines, in order.
func printTogether(t *testing.T, k *kaa, commands, lines int) int64 {
	t.Helper()
	session := k.open(fields{"limits": fields{"processes": commands + 50}})
	k.command(session, fields{"command": "mkfifo gate"})
	heap := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	var all, looking sync.WaitGroup
	attached := make([]*attached, commands)
	for i := range attached {
		attached[i] = k.startAttached(session, fields{"command": fmt.Sprintf("read go < gate; exec seq -f 'line-%d-%%.0f' %d", i, lines)})
		attached[i].frame("attached")
	}
	runtime.GC()
	before, most, over := heap(), int64(0), make(chan struct{})
	looking.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(20 * time.Millisecond):
				most = max(most, heap())
			}
		}
	})
	// Each reader takes one byte, and a reader that comes late finds a writer.
	k.background(session, fields{"command": fmt.Sprintf("exec 3<>gate; yes '' | head -n %d >&3; exec sleep 3000", commands)})
	for i, a := range attached {
		all.Go(func() {
			c := &numbered{prefix: fmt.Sprintf("line-%d-", i)}
			err := readOutput(t, a, c)
			if websocket.CloseStatus(err) != websocket.StatusNormalClosure || c.n != lines || c.wrong != "" || len(c.rest) > 0 {
				t.Errorf("command %d: %d lines of %d, %s, rest %q: %v", i, c.n, lines, c.wrong, c.rest, err)
			}
		})
	}
	all.Wait()
	close(over)
	looking.Wait()
	return most - before
}

// readOutput copies the binary frames until the connection ends.
func readOutput(t *testing.T, a *attached, to io.Writer) error {
	t.Helper()
	for {
		kind, r, err := a.conn.Reader(t.Context())
		if err != nil {
			return err
		}
		into := to
		if kind != websocket.MessageBinary {
			into = io.Discard
		}
		if _, err := io.Copy(into, r); err != nil {
			return err
		}
	}
}

// TestManyPrintLong: many commands that print cost no memory, however much they print.
func TestManyPrintLong(t *testing.T) { //nolint:paralleltest // it measures memory
	testenv.Long(t)
	// An API process reads 1 MiB at once for each follower, and the collector lets the heap double.
	const most = 256 << 20
	grew := printTogether(t, start(t, 1), 50, 1_000_000)
	t.Logf("the heap grew by %d MiB while 850 MB were printed", grew>>20)
	if grew > most {
		t.Errorf("want at most %d", most>>20)
	}
}
