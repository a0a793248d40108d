package dialect_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// kernel starts a kernel, and returns its id.
func (k kaa) kernel(t *testing.T, key string) string {
	t.Helper()
	made := k.call(t, http.MethodPost, "/jupyter/api/kernels", "", "Authorization: token "+key)
	if made.status != http.StatusCreated {
		t.Fatalf("start: %d %s", made.status, made.raw)
	}
	return made.field("id")
}

// run executes code, and returns what it shows and the status of the reply.
func (n *notebook) run(code string) string {
	n.t.Helper()
	var shown []string
	for _, line := range n.until(n.send("shell", "execute_request", fields{"code": code, "allow_stdin": false}), nil) {
		for _, head := range []string{"iopub execute_result ", "iopub stream ", "iopub error ", "shell execute_reply "} {
			if rest, ok := strings.CutPrefix(line, head); ok {
				shown = append(shown, rest)
			}
		}
	}
	return strings.Join(shown, "|")
}

// jupyterForks: Kaa's own API forks a kernel that lives and rolls it back, and its clients go on.
func jupyterForks(t *testing.T, k kaa, one, _ string) {
	t.Helper()
	mine := "Authorization: Bearer " + one
	body := `{"path": "f.ipynb", "type": "notebook", "kernel": {"name": "python3"}}`
	id := k.call(t, http.MethodPost, "/jupyter/api/sessions", body, mine).field("id")
	n := k.connect(t, id, one)
	expect := func(n *notebook, code, want string) {
		t.Helper()
		if got := n.run(code); got != want {
			t.Errorf("%s: %s, want %s", code, got, want)
		}
	}
	expect(n, "x = [1]\nopen('note', 'w').write('before') and None", "ok 1")
	if a := k.call(t, http.MethodPost, "/v1/sessions/"+id+"/checkpoint", "{}", mine); a.status != http.StatusCreated {
		t.Fatalf("checkpoint: %d %s", a.status, a.raw)
	}
	expect(n, "x.append(2)\nopen('note', 'w').write('after') and None", "ok 2")
	a := k.call(t, http.MethodPost, "/v1/sessions/"+id+"/fork", `{"count": 1}`, mine)
	var made struct{ Sessions []struct{ ID string } }
	if err := json.Unmarshal([]byte(a.raw), &made); err != nil || len(made.Sessions) != 1 {
		t.Fatalf("fork: %d %s", a.status, a.raw)
	}
	fork := made.Sessions[0].ID
	forked := k.connect(t, fork, one)
	expect(forked, "x, open('note').read()", "([1, 2], 'after')|ok 1")
	expect(forked, "x.append(3)", "ok 2")
	expect(n, "x", "[1, 2]|ok 3")
	if a := k.call(t, http.MethodPost, "/v1/sessions/"+id+"/rollback", "{}", mine); a.status != http.StatusOK {
		t.Fatalf("rollback: %d %s", a.status, a.raw)
	}
	expect(n, "x, open('note').read()", "([1], 'before')|ok 4")
	expect(n, "x.append(9)\nx", "[1, 9]|ok 5")
	expect(forked, "x", "[1, 2, 3]|ok 3")
	if a := k.call(t, http.MethodGet, "/jupyter/api/kernels/"+fork, "", mine); a.status != http.StatusOK || a.field("name") != "python3" {
		t.Errorf("the fork: %d %s", a.status, a.raw)
	}
	if a := k.call(t, http.MethodPost, "/jupyter/api/sessions", body, mine); a.field("id") != id {
		t.Errorf("the session of the path: %s, want %s, of which %s is a fork", a.raw, id, fork)
	}
}

// watched is Python whose objects note each call of their own code in seen.
const watched = `
seen = []
def note(name, value=None):
    def method(self, *args, **more):
        seen.append(name)
        return value
    return method
def noted(name, value=None):
    def method(self, *args, **more):
        seen.append(name)
        if name.startswith("meta"):
            return type.__getattribute__(self, *args)
        return object.__getattribute__(self, *args)
    return method
class Meta(type):
    __getattribute__, __dir__ = noted("meta getattribute"), note("meta dir", ["planted"])
    __instancecheck__ = __subclasscheck__ = note("instancecheck", True)
    __repr__, __call__ = note("meta repr", "repr"), note("meta call")
class Getter:
    __get__ = note("get")
class Watched:
    __getattribute__, __getattr__, __dir__ = noted("getattribute"), note("getattr"), note("dir", ["planted"])
    __repr__, __str__, __len__, __bool__, __call__ = note("repr", "r"), note("str", "s"), note("len", 1), note("bool", True), note("call")
    __eq__, __iter__ = note("eq", True), note("iter", iter(()))
    __class__ = property(note("class", int))
    __doc__ = property(note("doc", "doc"))
    __signature__, __wrapped__ = property(note("signature")), property(note("wrapped"))
    prop, getter, plain, inner = property(note("prop")), Getter(), 5, Meta("Inner", (), {"deep": 1})
    def method(self, a=1):
        "doc of method"
class Slotted:
    __slots__ = ["slot"]
    __getattr__ = note("slotted getattr")
class Made(metaclass=Meta):
    attribute = 1
    __doc__ = property(note("made doc"))
def function(a: Watched, b=Watched(), *, c: list[int] = (), **more) -> "text":
    "doc of function"
def decorated():
    pass
decorated.__wrapped__ = Watched()
w, slotted, box = Watched(), Slotted(), [Watched()]
seen.clear()
`

// jupyterLooks: completion and inspection run no code of the objects that they look at, and leave nothing behind.
func jupyterLooks(t *testing.T, k kaa, one, _ string) {
	t.Helper()
	n := k.connect(t, k.kernel(t, one), one)
	if got := n.run(watched); got != "ok 1" {
		t.Fatal(got)
	}
	names := n.run("[n for n in sorted(globals()) if n[0] != '_']")
	for code, want := range map[string]string{
		"w.pl": "w.plain", "w.": "w.getter w.inner w.method w.plain w.prop", "w.method.__na": "", "w.prop.": "", "w.getter.": "", "w.nothing.": "",
		"w.inner.de": "w.inner.deep", "slotted.": "slotted.slot", "Made.": "Made.attribute", "Watched.pl": "Watched.plain", "Watched.prop.": "", "Watched.getter.": "",
		"box[0].": "", "w().": "", "function.__co": "function.__code__", "function.__code__.": "", "decor": "decorated", "pri": "print", "import js": "json",
	} {
		got := n.look("complete_request", fields{"code": code, "cursor_pos": len(code)})
		var matches []string
		for _, m := range got["matches"].([]any) {
			matches = append(matches, m.(string))
		}
		if strings.Join(matches, " ") != want {
			t.Errorf("complete %s: %q, want %s", code, matches, want)
		}
	}
	for code, want := range map[string][]string{
		"w": {"Type:      Watched"}, "w.method": {"Signature: w.method(a=1)", "doc of method"}, "Made": {"Type:      Meta"}, "Watched": {"Type:      type"},
		"function":  {`Signature: function(a: Watched, b=<Watched>, *, c: list[int] = (), **more) -> text`, "doc of function", "Source:\ndef function(a"},
		"decorated": {"Type:      function"}, "slotted": {"Type:      Slotted"}, "len": {"Signature: len(obj, /)", "Docstring:"}, "w.plain": {"Type:      int"},
		"int": {"Type:      type", "Docstring:"},
	} {
		got := n.look("inspect_request", fields{"code": code, "cursor_pos": len(code), "detail_level": 1})
		data, _ := got["data"].(map[string]any)
		text, _ := data["text/plain"].(string)
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("inspect %s: %s is missing in %s", code, part, text)
			}
		}
	}
	for _, code := range []string{"w.prop", "w.getter", "Watched.getter", "nothing", "w.nothing"} {
		if got := n.look("inspect_request", fields{"code": code, "cursor_pos": len(code)}); got["found"] != false {
			t.Errorf("inspect %s: %v", code, got)
		}
	}
	if got := n.run("seen"); got != "[]|ok 3" {
		t.Errorf("code of the objects ran: %s", got)
	}
	if got := n.run("[n for n in sorted(globals()) if n[0] != '_']"); strings.ReplaceAll(got, "ok 4", "ok 2") != names {
		t.Errorf("names: %s, before: %s", got, names)
	}
	if got := n.run("import io, sys\nkept, sys.stdout = sys.stdout, io.StringIO()"); got != "ok 5" {
		t.Error(got)
	}
	if got := n.look("complete_request", fields{"code": "w.pl", "cursor_pos": 4}); len(got["matches"].([]any)) != 1 {
		t.Errorf("with another sys.stdout: %v", got)
	}
	if got := n.run("text, sys.stdout = sys.stdout.getvalue(), kept\ntext"); got != "''|ok 6" {
		t.Error(got)
	}
}

// look sends a request, and returns the content of its reply.
func (n *notebook) look(typ string, content fields) (reply map[string]any) {
	n.t.Helper()
	id := n.send("shell", typ, content)
	for {
		m := n.next(id)
		switch {
		case m.Type == "status" && m.Content["execution_state"] == "idle":
			return reply
		case m.Channel == "shell":
			reply = m.Content
		}
	}
}

// jupyterWire: what is no message ends the connection with the code for that, and the kernel goes on.
func jupyterWire(t *testing.T, k kaa, one, two string) {
	t.Helper()
	id := k.kernel(t, one)
	if got := k.connect(t, id, one).run("x = 1"); got != "ok 1" {
		t.Fatal(got)
	}
	little := func(all ...uint64) (data []byte) {
		for _, v := range all {
			data = binary.LittleEndian.AppendUint64(data, v)
		}
		return data
	}
	big := func(all ...uint32) (data []byte) {
		for _, v := range all {
			data = binary.BigEndian.AppendUint32(data, v)
		}
		return data
	}
	const v1 = "v1.kernel.websocket.jupyter.org"
	for _, tt := range []struct {
		name, protocol string
		kind           websocket.MessageType
		data           []byte
		code           websocket.StatusCode
	}{
		{"v1: lengths beyond the end", v1, websocket.MessageBinary, little(6, 56, 1<<40, 1<<41, 1<<42, 1<<43, 1<<44), websocket.StatusInvalidFramePayloadData},
		{"v1: lengths that go back", v1, websocket.MessageBinary, little(6, 56, 50, 40, 30, 20, 10), websocket.StatusInvalidFramePayloadData},
		{"v1: many parts", v1, websocket.MessageBinary, little(^uint64(0)), websocket.StatusInvalidFramePayloadData},
		{"v1: no bytes", v1, websocket.MessageBinary, nil, websocket.StatusInvalidFramePayloadData},
		{"JSON: lengths beyond the end", "", websocket.MessageBinary, big(2, 12, 1<<30), websocket.StatusInvalidFramePayloadData},
		{"JSON: many parts", "", websocket.MessageBinary, big(^uint32(0), 0), websocket.StatusInvalidFramePayloadData},
		{"JSON: no header", "", websocket.MessageText, []byte(`{"channel": "shell", "content": {}}`), websocket.StatusInvalidFramePayloadData},
		{"JSON: half a message", "", websocket.MessageText, []byte(`{"channel": "shell", "hea`), websocket.StatusInvalidFramePayloadData},
		{"64 MiB as text", "", websocket.MessageText, []byte(strings.Repeat(" ", 64<<20)), websocket.StatusMessageTooBig},
		{"64 MiB with v1", v1, websocket.MessageBinary, make([]byte, 64<<20), websocket.StatusMessageTooBig},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address := k.url + "/jupyter/api/kernels/" + id + "/channels?token=" + one
			conn, _, err := websocket.Dial(t.Context(), address, &websocket.DialOptions{Subprotocols: strings.Fields(tt.protocol)})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.CloseNow() }()
			if conn.Subprotocol() != tt.protocol {
				t.Errorf("subprotocol %q", conn.Subprotocol())
			}
			if err := conn.Write(t.Context(), tt.kind, tt.data); err != nil {
				t.Errorf("write: %v", err)
			}
			if _, data, err := conn.Read(t.Context()); websocket.CloseStatus(err) != tt.code {
				t.Errorf("%s, %v, want the code %d", data, err, tt.code)
			}
		})
	}
	// The first one may be closed by now, as it has answered no ping meanwhile.
	if got := k.connect(t, id, one).run("x"); got != "1|ok 2" {
		t.Errorf("another client after that: %s", got)
	}
	for key, want := range map[string]int{"wrong": http.StatusForbidden, two: http.StatusNotFound} {
		_, res, err := websocket.Dial(t.Context(), k.url+"/jupyter/api/kernels/"+id+"/channels?token="+key, nil)
		if err == nil || res == nil || res.StatusCode != want {
			t.Errorf("a wrong key: %v, %v", res, err)
		}
	}
}

// jupyterOrder: messages that come when none is expected, and two clients of one kernel.
func jupyterOrder(t *testing.T, k kaa, one, _ string) {
	t.Helper()
	id := k.kernel(t, one)
	n, other := k.connect(t, id, one), k.connect(t, id, one)
	n.send("stdin", "input_reply", fields{"value": "early"}) // nothing reads
	n.send("iopub", "status", fields{"execution_state": "dead"})
	n.send("nowhere", "execute_reply", fields{})
	if got := n.until(n.send("control", "execute_request", fields{"code": "y = 1"}), nil); !slices.Contains(got, "control execute_reply error <nil>") {
		t.Errorf("an execution on control: %q", got)
	}
	answers := 0
	asked := n.send("shell", "execute_request", fields{"code": "input('a '), input('b ')"})
	got := n.until(asked, func(jupyterMessage) {
		answers++
		n.send("stdin", "input_reply", fields{"value": fmt.Sprint("line ", answers)})
	})
	if !slices.Contains(got, "iopub execute_result ('line 1', 'line 2')") {
		t.Errorf("answers: %q", got)
	}
	endless := n.send("shell", "execute_request", fields{"code": "z = 1\nprint('begins', flush=True)\nwhile True: pass"})
	for m := n.read(); m.Type != "stream"; m = n.read() { //nolint:revive // it runs now
	}
	waits := other.send("shell", "execute_request", fields{"code": "z"})
	if m := other.read(); m.Type != "status" {
		t.Errorf("the other client gets %+v", m)
	}
	if got := other.until(other.send("control", "interrupt_request", fields{}), nil); len(got) == 0 {
		t.Error("no answer to the interrupt")
	}
	if got := n.until(endless, nil); !slices.Contains(got, "iopub error KeyboardInterrupt") {
		t.Errorf("interrupted by the other client: %q", got)
	}
	if diff := cmp.Diff([]string{"iopub execute_result 1", "shell execute_reply ok 3", "iopub status idle"}, lastOf(other.until(waits, nil), 3)); diff != "" {
		t.Errorf("the other client: %s", diff)
	}
}

func lastOf(lines []string, n int) []string { return lines[max(0, len(lines)-n):] }

// jupyterEnds: kernels that end while they execute, and that expire.
func jupyterEnds(t *testing.T, k kaa, one, _ string) {
	t.Helper()
	mine := "Authorization: Bearer " + one
	id := k.kernel(t, one)
	n := k.connect(t, id, one)
	endless := n.send("shell", "execute_request", fields{"code": "print('begins', flush=True)\nwhile True: pass"})
	for m := n.read(); m.Type != "stream"; m = n.read() { //nolint:revive // it runs now
	}
	if a := k.call(t, http.MethodDelete, "/jupyter/api/kernels/"+id, "", mine); a.status != http.StatusNoContent {
		t.Errorf("delete: %d %s", a.status, a.raw)
	}
	want := []string{"iopub error DeadKernelError", "shell execute_reply error 1", "iopub status idle"}
	if diff := cmp.Diff(want, lastOf(n.until(endless, nil), 3)); diff != "" {
		t.Errorf("a kernel that ends while it executes: %s", diff)
	}
	n.dies()
	expires := k.kernel(t, one)
	n = k.connect(t, expires, one)
	if a := k.call(t, http.MethodPatch, "/v1/sessions/"+expires, `{"idleTimeout": 1}`, mine, "Content-Type: application/merge-patch+json"); a.status != http.StatusOK {
		t.Fatalf("change: %d %s", a.status, a.raw)
	}
	n.dies()
	_, res, err := websocket.Dial(t.Context(), k.url+"/jupyter/api/kernels/"+expires+"/channels?token="+one, nil)
	if err == nil || res == nil || res.StatusCode != http.StatusNotFound {
		t.Errorf("an expired kernel: %v, %v", res, err)
	}
	id = k.kernel(t, one)
	n = k.connect(t, id, one)
	crash := n.until(n.send("shell", "execute_request", fields{"code": "import os\nos._exit(3)"}), nil)
	if last := lastOf(crash, 2); !strings.HasPrefix(last[0], "shell execute_reply error") {
		t.Errorf("a crash: %q", crash)
	}
}

// dies reads until the kernel is reported dead and the connection is closed.
func (n *notebook) dies() {
	n.t.Helper()
	for m := n.read(); m.Content["execution_state"] != "dead"; m = n.read() { //nolint:revive // other messages come first
	}
	if _, data, err := n.conn.Read(n.t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		n.t.Errorf("after the end: %s, %v", data, err)
	}
}
