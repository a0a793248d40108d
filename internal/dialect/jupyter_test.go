package dialect_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// notebook is a client of a kernel over its WebSocket.
type notebook struct {
	t    *testing.T
	conn *websocket.Conn
	sent int
	kept []jupyterMessage // that were read, and are not about what was asked for
}

// jupyterMessage is what a test reads of a message of a kernel.
type jupyterMessage struct {
	Channel string `json:"channel"`
	Type    string `json:"msg_type"`
	Parent  struct {
		ID string `json:"msg_id"`
	} `json:"parent_header"`
	Content map[string]any `json:"content"`
}

// connect opens the WebSocket of a kernel.
func (k kaa) connect(t *testing.T, kernel, token string) *notebook {
	t.Helper()
	conn, res, err := websocket.Dial(t.Context(), k.url+"/jupyter/api/kernels/"+kernel+"/channels?session_id=s&token="+token, nil)
	if err != nil {
		t.Fatalf("connect: %v (%v)", err, res)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	conn.SetReadLimit(8 << 20)
	return &notebook{t: t, conn: conn}
}

// send sends a message, and returns its id.
func (n *notebook) send(channel, typ string, content fields) string {
	n.t.Helper()
	n.sent++
	id := fmt.Sprintf("m%d", n.sent)
	text := bodyOf(n.t, fields{
		"channel": channel, "header": fields{"msg_id": id, "msg_type": typ, "session": "s", "username": "u", "version": "5.3"},
		"parent_header": fields{}, "metadata": fields{}, "content": content, "buffers": []any{},
	})
	if err := n.conn.Write(n.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		n.t.Fatalf("send %s: %v", typ, err)
	}
	return id
}

func (n *notebook) read() jupyterMessage {
	n.t.Helper()
	_, data, err := n.conn.Read(n.t.Context())
	if err != nil {
		n.t.Fatalf("read: %v", err)
	}
	var m jupyterMessage
	if err := json.Unmarshal(data, &m); err != nil {
		n.t.Fatalf("%v in %s", err, data)
	}
	return m
}

// next returns the next message about one of ours, and keeps the others.
func (n *notebook) next(id string) jupyterMessage {
	n.t.Helper()
	if i := slices.IndexFunc(n.kept, func(m jupyterMessage) bool { return m.Parent.ID == id }); i >= 0 {
		m := n.kept[i]
		n.kept = slices.Delete(n.kept, i, i+1)
		return m
	}
	for {
		m := n.read()
		if m.Parent.ID == id {
			return m
		}
		n.kept = append(n.kept, m)
	}
}

// until reads the messages about one of ours until the kernel is idle, as lines. Output that comes in pieces is one line.
func (n *notebook) until(id string, input func(jupyterMessage)) (lines []string) {
	n.t.Helper()
	for {
		m := n.next(id)
		line := m.Channel + " " + m.Type
		switch m.Type {
		case "status":
			line += fmt.Sprint(" ", m.Content["execution_state"])
		case "stream":
			line += fmt.Sprintf(" %s %q", m.Content["name"], m.Content["text"])
			if last := len(lines) - 1; last >= 0 && strings.HasPrefix(lines[last], fmt.Sprintf("iopub stream %s ", m.Content["name"])) {
				lines[last] = strings.TrimSuffix(lines[last], `"`) + strings.TrimPrefix(fmt.Sprintf("%q", m.Content["text"]), `"`)
				continue
			}
		case "execute_reply":
			line += fmt.Sprint(" ", m.Content["status"], " ", m.Content["execution_count"])
			if values, _ := m.Content["user_expressions"].(map[string]any); len(values) > 0 {
				a, _ := values["a"].(map[string]any)
				line += fmt.Sprint(" ", a["status"], a["data"])
			}
			if pages, _ := m.Content["payload"].([]any); len(pages) > 0 {
				line += fmt.Sprint(" ", pages[0].(map[string]any)["source"])
			}
		case "execute_result", "display_data", "update_display_data":
			data, _ := m.Content["data"].(map[string]any)
			line += fmt.Sprint(" ", data["text/plain"])
		case "error":
			line += fmt.Sprint(" ", m.Content["ename"])
		case "input_request":
			line += fmt.Sprintf(" %q", m.Content["prompt"])
			input(m)
		case "complete_reply":
			line += fmt.Sprint(" ", m.Content["matches"], m.Content["cursor_start"], m.Content["cursor_end"])
		case "inspect_reply":
			line += fmt.Sprint(" ", m.Content["found"])
		case "is_complete_reply":
			line += fmt.Sprintf(" %s %q", m.Content["status"], m.Content["indent"])
		}
		if lines = append(lines, line); line == "iopub status idle" {
			return lines
		}
	}
}

// jupyter: kernels over HTTP, files, and the order of messages.
func jupyter(t *testing.T, k kaa, one, two string) {
	t.Helper()
	mine := "Authorization: token " + one
	made := k.call(t, http.MethodPost, "/jupyter/api/kernels", `{"name": "python3"}`, mine)
	id := made.field("id")
	if made.status != http.StatusCreated || id == "" || made.field("name") != "python3" {
		t.Fatalf("start: %d %s", made.status, made.raw)
	}
	kernel, files := "/jupyter/api/kernels/"+id, "/jupyter/api/contents/"+id
	k.exchange(t, mine, []exchange{
		{"version", http.MethodGet, "/jupyter/api", "", 200, []string{`"version"`}, ""},
		{"specs", http.MethodGet, "/jupyter/api/kernelspecs", "", 200, []string{`"default":"python3"`, `"language":"python"`}, ""},
		{"a slash at the end", http.MethodGet, "/jupyter/api/kernelspecs/", "", 200, []string{`"default":"python3"`}, ""},
		{"no such spec", http.MethodGet, "/jupyter/api/kernelspecs/ir", "", 404, []string{`"message":`}, ""},
		{"no such kernel", "", "/jupyter/api/kernels", `{"name": "ir"}`, 404, []string{`No such kernel named ir`}, ""},
		{"half a body", "", "/jupyter/api/kernels", `{"name"`, 400, []string{`ends early`}, ""},
		{"kernels", http.MethodGet, "/jupyter/api/kernels", "", 200, []string{id}, ""},
		{"kernel", http.MethodGet, kernel, "", 200, []string{`"execution_state":`}, ""},
		{"interrupt nothing", "", kernel + "/interrupt", "", 204, nil, ""},
		{"no WebSocket", http.MethodGet, kernel + "/channels", "", 426, []string{`"message":`}, ""},
		{"a session", "", "/jupyter/api/sessions", `{"path": "a.ipynb", "name": "a", "type": "notebook", "kernel": {"id": "` + id + `"}}`, 201, []string{id, `"path":"a.ipynb"`}, ""},
		{"the same session", "", "/jupyter/api/sessions", `{"path": "a.ipynb", "type": "notebook", "kernel": {"name": "python3"}}`, 201, []string{id}, ""},
		{"sessions", http.MethodGet, "/jupyter/api/sessions", "", 200, []string{id}, ""},
		{"rename", http.MethodPatch, "/jupyter/api/sessions/" + id, `{"path": "b.ipynb"}`, 200, []string{`"path":"b.ipynb"`}, ""},
		{"no path", "", "/jupyter/api/sessions", `{}`, 400, []string{`path: `}, ""},
		{"write", http.MethodPut, files + "/d/a.txt", `{"type": "file", "format": "text", "content": "hé"}`, 201, []string{`"name":"a.txt"`, `"size":3`}, ""},
		{"read", http.MethodGet, files + "/d/a.txt", "", 200, []string{`"content":"hé"`, `"format":"text"`}, ""},
		{"read bytes", http.MethodGet, files + "/d/a.txt?format=base64", "", 200, []string{`"content":"aMOp"`}, ""},
		{"list", http.MethodGet, files + "/d", "", 200, []string{`"path":"` + id + `/d/a.txt"`, `"type":"directory"`}, ""},
		{"list the kernel", http.MethodGet, files, "", 200, []string{`"path":"` + id + `/d"`}, ""},
		{"list all", http.MethodGet, "/jupyter/api/contents", "", 200, []string{`"path":"` + id + `"`}, ""},
		{"a new notebook", "", files, `{"type": "notebook"}`, 201, []string{`Untitled.ipynb`, `"type":"notebook"`}, ""},
		{"a second one", "", files, `{"type": "notebook"}`, 201, []string{`Untitled1.ipynb`}, ""},
		{"read it", http.MethodGet, files + "/Untitled.ipynb", "", 200, []string{`"nbformat":4`, `"format":"json"`}, ""},
		{"move", http.MethodPatch, files + "/d/a.txt", `{"path": "` + id + `/b.txt"}`, 200, []string{`"name":"b.txt"`}, ""},
		{"delete", http.MethodDelete, files + "/b.txt", "", 204, nil, ""},
		{"no such file", http.MethodGet, files + "/b.txt", "", 404, []string{`"message":`}, ""},
		{"above the directory", http.MethodGet, files + "/%2e%2e/%2e%2e/etc/passwd", "", 404, nil, "root:"},
		{"files of no kernel", http.MethodGet, "/jupyter/api/contents/a/b", "", 404, []string{`"message":`}, ""},
		{"another route", http.MethodGet, "/jupyter/api/nothing", "", 404, []string{`"message":`}, ""},
	})
	k.exchange(t, "Authorization: Bearer "+two, []exchange{
		{"another tenant's kernel", http.MethodGet, kernel, "", 404, []string{`Kernel does not exist`}, ""},
		{"its interrupt", "", kernel + "/interrupt", "", 404, nil, ""},
		{"its restart", "", kernel + "/restart", "", 404, nil, ""},
		{"its end", http.MethodDelete, kernel, "", 404, nil, ""},
		{"its files", http.MethodGet, files, "", 404, nil, ""},
		{"its socket", http.MethodGet, kernel + "/channels", "", 404, nil, ""},
		{"all kernels", http.MethodGet, "/jupyter/api/kernels", "", 200, []string{"[]"}, id},
	})
	k.exchange(t, "Authorization: token three", []exchange{{"a wrong key", http.MethodGet, kernel, "", 403, []string{`"message":`}, ""}})
	messages(t, k, id, one, mine)
	n := k.connect(t, id, one)
	if a := k.call(t, http.MethodDelete, kernel, "", mine); a.status != http.StatusNoContent {
		t.Errorf("delete: %d %s", a.status, a.raw)
	}
	if a := k.call(t, http.MethodGet, kernel, "", mine); a.status != http.StatusNotFound {
		t.Errorf("after that: %d %s", a.status, a.raw)
	}
	if m := n.read(); m.Type != "status" || m.Content["execution_state"] != "dead" {
		t.Errorf("a client of a kernel that has ended gets %+v", m)
	}
}

// messages executes code, and compares what comes with what ipykernel sends.
func messages(t *testing.T, k kaa, id, key, header string) {
	t.Helper()
	n := k.connect(t, id, key)
	const busy, idle = "iopub status busy", "iopub status idle"
	code := func(text string) fields { return fields{"code": text} }
	quiet := func(text string) fields { return fields{"code": text, "allow_stdin": false} }
	for _, tt := range []struct {
		name, typ string
		content   fields
		want      []string
	}{
		{"kernel_info", "kernel_info_request", fields{}, []string{busy, "shell kernel_info_reply", idle}},
		{"a value", "execute_request", code("x = 41\nprint('a')\nx + 1"), []string{busy, "iopub execute_input", `iopub stream stdout "a\n"`, "iopub execute_result 42", "shell execute_reply ok 1", idle}},
		{"both streams", "execute_request", quiet("import sys\nprint('a', end='')\nprint('b', file=sys.stderr)"), []string{
			busy, "iopub execute_input", `iopub stream stdout "a"`, `iopub stream stderr "b\n"`, "shell execute_reply ok 2", idle,
		}},
		{"an error", "execute_request", code("1/0"), []string{busy, "iopub execute_input", "iopub error ZeroDivisionError", "shell execute_reply error 3", idle}},
		{"input", "execute_request", code("print('>', input('name? '))"), []string{
			busy, "iopub execute_input", `stdin input_request "name? "`, `iopub stream stdout "> Ada\n"`, "shell execute_reply ok 4", idle,
		}},
		{"a prompt behind output", "execute_request", fields{"code": "print('a', end='', flush=True)\ninput('b ') and None", "silent": true}, []string{
			busy, `iopub stream stdout "a"`, `stdin input_request "b "`, "shell execute_reply ok 4", idle,
		}},
		{"no input", "execute_request", quiet("input()"), []string{busy, "iopub execute_input", "iopub error StdinNotImplementedError", "shell execute_reply error 5", idle}},
		{"silent", "execute_request", fields{"code": "y = 2\ny", "silent": true}, []string{busy, "shell execute_reply ok 5", idle}},
		{"an expression", "execute_request", fields{"code": "pass", "silent": true, "user_expressions": fields{"a": "x + 1"}}, []string{
			busy, "shell execute_reply ok 5 okmap[text/plain:42]", idle,
		}},
		{"a large one", "execute_request", fields{"code": "pass", "silent": true, "user_expressions": fields{"a": "type('A', (), {'_repr_html_': lambda s: 'x' * 1100000})()"}}, []string{
			busy, "shell execute_reply ok 5 error<nil>", idle,
		}},
		{"a large file", "execute_request", fields{"code": "open('big', 'wb').truncate(17 << 20) and None", "silent": true}, []string{busy, "shell execute_reply ok 5", idle}},
		{"an exit", "execute_request", code("import sys; sys.exit(0)"), []string{busy, "iopub execute_input", "iopub error SystemExit", "shell execute_reply error 6", idle}},
		{"nothing", "execute_request", code(" "), []string{busy, "iopub execute_input", "shell execute_reply ok 6", idle}},
		{"a magic", "execute_request", code("%matplotlib inline\ny"), []string{busy, "iopub execute_input", "iopub execute_result 2", "shell execute_reply ok 7", idle}},
		{"an update", "execute_request", code("h = display('first', display_id=True)\nh.update('second')\ndel h"), []string{
			busy, "iopub execute_input", "iopub display_data 'first'", "iopub update_display_data 'second'", "shell execute_reply ok 8", idle,
		}},
		{"no input, twice", "execute_request", fields{"code": "for _ in 'ab':\n    try:\n        input('prompt')\n    except EOFError:\n        print('refused')", "silent": true, "allow_stdin": false}, []string{
			busy, `iopub stream stdout "refused\nrefused\n"`, "shell execute_reply ok 8", idle,
		}},
		{"help", "execute_request", code("print?"), []string{busy, "iopub execute_input", "shell execute_reply ok 9 page", idle}},
		{"help about nothing", "execute_request", code("??nothing.at"), []string{
			busy, "iopub execute_input", "iopub stream stdout \"Object `nothing.at` not found.\\n\"", "shell execute_reply ok 10", idle,
		}},
		{"complete", "complete_request", fields{"code": "xyz = x.bit_c", "cursor_pos": 13}, []string{busy, "shell complete_reply [x.bit_count] 6 13", idle}},
		{"complete nothing", "complete_request", fields{"code": "nothing.a", "cursor_pos": 9}, []string{busy, "shell complete_reply [] 0 9", idle}},
		{"inspect", "inspect_request", fields{"code": "print", "cursor_pos": 3, "detail_level": 0}, []string{busy, "shell inspect_reply true", idle}},
		{"inspect nothing", "inspect_request", fields{"code": "nothing", "cursor_pos": 3}, []string{busy, "shell inspect_reply false", idle}},
		{"is_complete", "is_complete_request", code("for i in x:"), []string{busy, `shell is_complete_reply incomplete "    "`, idle}},
		{"history", "history_request", fields{}, []string{busy, "shell history_reply", idle}},
		{"comms", "comm_info_request", fields{}, []string{busy, "shell comm_info_reply", idle}},
		{"a comm", "comm_open", fields{"comm_id": "c", "target_name": "t", "data": fields{}}, []string{busy, "iopub comm_close", idle}},
		{"its message", "comm_msg", fields{"comm_id": "c", "data": fields{}}, []string{busy, idle}},
		{"an unknown request", "nothing_request", fields{}, []string{busy, "shell nothing_reply", idle}},
		{"wrong types", "execute_request", fields{"code": 5}, []string{busy, "shell execute_reply error <nil>", idle}},
		{"no traces", "execute_request", code("sorted(n for n in globals() if not n.startswith('_'))"), []string{
			busy, "iopub execute_input", "iopub execute_result ['sys', 'x', 'y']", "shell execute_reply ok 11", idle,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n.t = t
			got := n.until(n.send("shell", tt.typ, tt.content), func(jupyterMessage) { n.send("stdin", "input_reply", fields{"value": "Ada"}) })
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	n.t = t
	if a := k.call(t, http.MethodGet, "/jupyter/api/contents/"+id+"/big", "", header); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large file: %d, %d bytes", a.status, len(a.raw))
	}
	endless := n.send("shell", "execute_request", code("print('begins', flush=True)\nwhile True: pass"))
	after := n.send("shell", "execute_request", code("1"))
	for m := n.read(); m.Type != "stream"; m = n.read() { //nolint:revive // it runs now
	}
	if a := k.call(t, http.MethodPost, "/jupyter/api/kernels/"+id+"/interrupt", "", header); a.status != http.StatusNoContent {
		t.Errorf("interrupt: %d %s", a.status, a.raw)
	}
	if diff := cmp.Diff([]string{"iopub error KeyboardInterrupt", "shell execute_reply error 12", idle}, n.until(endless, nil)); diff != "" {
		t.Errorf("interrupted: %s", diff)
	}
	if diff := cmp.Diff([]string{busy, "shell execute_reply aborted 12", idle}, n.until(after, nil)); diff != "" {
		t.Errorf("after an error: %s", diff)
	}
	if a := k.call(t, http.MethodPost, "/jupyter/api/kernels/"+id+"/restart", "", header); a.status != http.StatusOK {
		t.Errorf("restart: %d %s", a.status, a.raw)
	}
	want := []string{busy, "iopub execute_input", "iopub error NameError", "shell execute_reply error 1", idle}
	if diff := cmp.Diff(want, n.until(n.send("shell", "execute_request", code("x")), nil)); diff != "" {
		t.Errorf("after a restart: %s", diff)
	}
}
