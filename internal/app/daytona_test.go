package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/testenv"
)

// TestDaytona: a sandbox of another tenant is one that never was, to every route of the Daytona dialect, and bad input is answered in
// its shape.
func TestDaytona(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t), "KAA_API_KEYS=one,two", "KAA_MAX_BODY_BYTES=1048576", "KAA_BODY_MEMORY=4194304")
	k.startAll(1)
	const api, boxes = "/daytona/api", "/daytona/toolbox/"
	call := func(key, method, path, body string) answer {
		return k.call(method, path, body, "Authorization: Bearer "+key)
	}
	made := call("one", http.MethodPost, api+"/sandbox", `{"name": "mine", "labels": {"a": "b"}, "unknown": 1}`)
	id := made.str("id")
	if made.status != http.StatusOK || !strings.HasPrefix(made.str("toolboxProxyUrl"), k.url+"/daytona/toolbox/~") {
		t.Fatalf("%d %s", made.status, made.raw)
	}
	box := boxes + id
	t.Run("another tenant", func(t *testing.T) {
		t.Parallel()
		for _, route := range []string{
			"GET " + api + "/sandbox/" + id, "GET " + api + "/sandbox/mine", "DELETE " + api + "/sandbox/" + id, "POST " + api + "/sandbox/" + id + "/stop",
			"POST " + api + "/sandbox/" + id + "/start", "POST " + api + "/sandbox/" + id + "/autostop/5", "POST " + api + "/sandbox/" + id + "/ttl/5",
			"PUT " + api + "/sandbox/" + id + "/labels", "POST " + api + "/sandbox/" + id + "/last-activity", "GET " + api + "/sandbox/" + id + "/ports/80/preview-url",
			"GET " + api + "/sandbox/" + id + "/ports/80/signed-preview-url", "POST " + api + "/sandbox/" + id + "/ports/80/signed-preview-url/x/expire",
			"GET " + api + "/sandbox/" + id + "/signing-key", "POST " + api + "/sandbox/" + id + "/signing-key/rotate", "POST " + api + "/sandbox/" + id + "/network-settings",
			"GET " + api + "/sandbox/" + id + "/telemetry/metrics", "GET /daytona/preview/" + id + "/80/", "GET " + box + "/system/metrics", "POST " + box + "/env",
			"GET " + box + "/port", "GET " + box + "/port/80/in-use", "GET " + box + "/process/session/entrypoint", "GET " + box + "/process/session/entrypoint/logs",
			"GET " + box + "/process/session/s/command/" + id, "POST " + box + "/process/session/s/command/" + id + "/input", "GET " + box + "/process/pty/p",
			"GET " + box + "/git/remotes?path=.", "GET " + box + "/git/config?key=user.name", "POST " + box + "/git/credentials",
			"GET " + box + "/work-dir", "POST " + box + "/process/execute", "POST " + box + "/process/code-run", "POST " + box + "/process/interpreter/context",
			"GET " + box + "/process/interpreter/context", "DELETE " + box + "/process/interpreter/context/default", "GET " + box + "/process/interpreter/execute",
			"POST " + box + "/process/session", "GET " + box + "/process/session", "GET " + box + "/process/session/s", "POST " + box + "/process/session/s/exec",
			"DELETE " + box + "/process/session/s", "GET " + box + "/process/session/s/command/" + id + "/logs", "GET " + box + "/process/pty", "POST " + box + "/process/pty",
			"GET " + box + "/process/pty/create-connect", "GET " + box + "/process/pty/p/connect", "DELETE " + box + "/process/pty/p", "GET " + box + "/files?path=.",
			"GET " + box + "/files/info?path=.", "POST " + box + "/files/folder?path=x", "DELETE " + box + "/files?path=x", "POST " + box + "/files/move?source=a&destination=b",
			"POST " + box + "/files/permissions?path=a&mode=644", "GET " + box + "/files/search?path=.&pattern=a", "GET " + box + "/files/find?path=.&pattern=a",
			"POST " + box + "/files/replace", "POST " + box + "/files/bulk-download", "GET " + box + "/files/download?path=a", "POST " + box + "/files/upload-v2?path=a",
			"POST " + box + "/git/add", "GET " + box + "/git/status?path=.",
		} {
			method, path, _ := strings.Cut(route, " ")
			a := call("two", method, path, `{"command": "id", "code": "1", "sessionId": "s", "paths": ["a"], "files": ["a"], "pattern": "a", "newValue": "b", "path": "a", "labels": {}, "username": "u", "password": "p"}`)
			if a.status != http.StatusNotFound || a.str("message") != "sandbox not found" {
				t.Errorf("%s: %d %s", route, a.status, a.raw)
			}
		}
		if a := call("two", http.MethodGet, api+"/sandbox", ""); a.status != http.StatusOK || strings.Contains(a.raw, id) {
			t.Errorf("its list: %d %s", a.status, a.raw)
		}
	})
	t.Run("bad input", func(t *testing.T) {
		t.Parallel()
		for _, tt := range []struct {
			route, body string
			status      int
			says        string
		}{
			{"POST " + api + "/sandbox", `{"name": "mine"}`, http.StatusConflict, "exists already"},
			{"POST " + api + "/sandbox", `{"name": "a/b"}`, http.StatusBadRequest, "name: "},
			{"POST " + api + "/sandbox", `{"snapshot": "none"}`, http.StatusBadRequest, "snapshot none not found"},
			{"POST " + api + "/sandbox", `{"buildInfo": {}}`, http.StatusBadRequest, "builds no images"},
			{"POST " + api + "/sandbox", `{"memory": 100000}`, http.StatusBadRequest, "limits.memoryBytes"},
			{"POST " + api + "/sandbox", `{"volumes": [{"volumeId": "v", "mountPath": "/mnt"}]}`, http.StatusBadRequest, "/home/daytona"},
			{"POST " + api + "/sandbox", `{"env": 5`, http.StatusBadRequest, "no JSON"},
			{"GET " + api + "/sandbox?labels=5", "", http.StatusBadRequest, "labels: "},
			{"GET " + api + "/sandbox?cursor=x", "", http.StatusBadRequest, "cursor: "},
			{"POST " + api + "/sandbox/" + id + "/autostop/x", "", http.StatusBadRequest, "minutes"},
			{"GET " + api + "/volumes/by-name/none", "", http.StatusNotFound, "not found"},
			{"GET " + box + "/files/info", "", http.StatusBadRequest, "send a path"},
			{"GET " + box + "/files/info?path=none", "", http.StatusNotFound, "FILE_NOT_FOUND"},
			{"GET " + box + "/files/info?path=/etc/passwd", "", http.StatusForbidden, "FILE_ACCESS_DENIED"},
			{"POST " + box + "/files/folder?path=d&mode=9", "", http.StatusBadRequest, "octal"},
			{"POST " + box + "/files/bulk-upload", "", http.StatusBadRequest, "form"},
			{"GET " + box + "/files/search?path=.&pattern=%5B", "", http.StatusBadRequest, "pattern"},
			{"POST " + box + "/process/execute", `{"command": " "}`, http.StatusBadRequest, "ExecuteRequest.Command"},
			{"POST " + box + "/process/code-run", `{"code": "1", "language": "ruby"}`, http.StatusBadRequest, "ruby"},
			{"GET " + box + "/process/session/none", "", http.StatusNotFound, "not found"},
			{"POST " + box + "/process/session/" + strings.Repeat("x", 200) + "/exec", `{"command": "id"}`, http.StatusNotFound, "not found"},
			{"GET " + box + "/process/pty/none", "", http.StatusNotFound, "PROCESS_NOT_FOUND"},
			{"POST " + box + "/process/pty", `{"cols": 1001}`, http.StatusBadRequest, "cols"},
			{"DELETE " + box + "/process/interpreter/context/default", "", http.StatusBadRequest, "default"},
			{"POST " + box + "/git/clone", `{"url": "--upload-pack=id", "path": "x"}`, http.StatusBadRequest, "url: "},
			{"POST " + api + "/sandbox", `{"ttlMinutes": -1}`, http.StatusBadRequest, "ttlMinutes: "},
			{"POST " + api + "/sandbox", `{"ttlMinutes": 100000000}`, http.StatusBadRequest, "endsIn"},
			{"POST " + api + "/sandbox", `{"kvm": true}`, http.StatusBadRequest, "kvm: "},
			{"GET " + api + "/sandbox?minCpu=x", "", http.StatusBadRequest, "minCpu: "},
			{"GET " + api + "/sandbox?createdAtAfter=x", "", http.StatusBadRequest, "createdAtAfter: "},
			{"GET " + api + "/sandbox/" + id + "/ports/0/preview-url", "", http.StatusBadRequest, "port: "},
			{"GET " + api + "/sandbox/" + id + "/ports/80/signed-preview-url?expiresInSeconds=0", "", http.StatusBadRequest, "expiresInSeconds: "},
			{"POST " + api + "/sandbox/" + id + "/resize", `{"cpu": 2}`, http.StatusNotImplemented, "not support"},
			{"POST " + api + "/sandbox/" + id + "/ssh-access", "", http.StatusNotImplemented, "not support"},
			{"POST " + api + "/snapshots", `{"name": "x"}`, http.StatusNotImplemented, "not support"},
			{"POST " + box + "/process/execute", `{"command": ""}`, http.StatusBadRequest, "INVALID_REQUEST_BODY"},
			{"POST " + box + "/process/execute", `{"command": "id"`, http.StatusBadRequest, "INVALID_REQUEST_BODY"},
			{"POST " + box + "/process/session", `{"sessionId": "entrypoint"}`, http.StatusConflict, "already exists"},
			{"POST " + box + "/process/session", `{"sessionId": ""}`, http.StatusBadRequest, "sessionId: "},
			{"POST " + box + "/process/session/none/exec", `{"command": "id"}`, http.StatusNotFound, "PROCESS_NOT_FOUND"},
			{"GET " + box + "/process/session/none/command/" + id + "/logs", "", http.StatusNotFound, "PROCESS_NOT_FOUND"},
			{"POST " + box + "/env", `{"set": {"a=b": "c"}}`, http.StatusBadRequest, "set: "},
			{"GET " + box + "/port/70000/in-use", "", http.StatusBadRequest, "port: "},
			{"GET " + box + "/files/download?path=x&signature=v1_x&expires=0", "", http.StatusForbidden, "signature"},
			{"POST " + box + "/git/reset", `{"path": ".", "mode": "hard --x"}`, http.StatusNotFound, "GIT_REPO_NOT_FOUND"},
			{"POST " + box + "/git/remotes", `{"path": ".", "name": "--x", "url": "y"}`, http.StatusBadRequest, "name: "},
			{"POST " + box + "/git/config", `{"key": "user.name", "value": "x", "scope": "worktree"}`, http.StatusBadRequest, "scope: "},
			{"GET " + box + "/git/config?key=name", "", http.StatusBadRequest, "key: "},
			{"POST " + box + "/git/credentials", `{"username": "u"}`, http.StatusBadRequest, "username"},
			{"POST " + box + "/lsp/start", "", http.StatusNotImplemented, "not support"},
			{"GET " + api + "/socket.io/", "", http.StatusNotFound, "not support"},
		} {
			method, path, _ := strings.Cut(tt.route, " ")
			a := call("one", method, path, tt.body)
			if a.status != tt.status || a.str("statusCode") == "" || !strings.Contains(a.raw, tt.says) {
				t.Errorf("%.120s %.60s: %d %s", tt.route, tt.body, a.status, a.raw)
			}
		}
	})
	t.Run("logs of a line that never pauses", func(t *testing.T) {
		t.Parallel()
		call("one", http.MethodPost, box+"/process/session", `{"sessionId": "s"}`)
		a := call("one", http.MethodPost, box+"/process/session/s/exec", `{"command": "while :; do echo x; sleep 0.05; done", "runAsync": true}`)
		line := box + "/process/session/s/command/" + a.str("cmdId") + "/logs"
		testenv.Eventually(t, "the logs, which have no end", func() bool {
			a = call("one", http.MethodGet, line, "")
			return a.status != http.StatusOK || strings.HasPrefix(a.str("stdout"), "x\nx")
		})
		if a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, a.raw)
		}
		if a := call("one", http.MethodDelete, box+"/process/session/s", ""); a.status != http.StatusNoContent {
			t.Errorf("delete: %d %s", a.status, a.raw)
		}
	})
	t.Run("a text that takes too much memory", func(t *testing.T) {
		t.Parallel()
		call("one", http.MethodPost, box+"/process/execute", `{"command": "head -c 3000000 /dev/zero | tr '\\0' a >large"}`)
		if a := call("one", http.MethodPost, box+"/files/replace", `{"files": ["large"], "pattern": "b", "newValue": "c"}`); a.status != http.StatusOK || !strings.Contains(a.raw, `"success":false`) {
			t.Errorf("%d %s", a.status, a.raw)
		}
	})
	t.Run("a list that takes too much memory", func(t *testing.T) {
		t.Parallel()
		const code = "import os\nos.mkdir('deep'); os.chdir('deep')\nfor i in range(15): os.mkdir('d' * 250); os.chdir('d' * 250)\nfor i in range(4600): open(str(i).zfill(90), 'w')"
		if a := call("one", http.MethodPost, box+"/process/code-run", `{"code": "`+strings.ReplaceAll(code, "\n", `\n`)+`"}`); a.str("exitCode") != "0" {
			t.Fatalf("%d %s", a.status, a.raw)
		}
		if a := call("one", http.MethodGet, box+"/files?path=deep&depth=100", ""); a.status != http.StatusBadRequest || !strings.Contains(a.raw, "too many entries") {
			t.Errorf("%d %.300s", a.status, a.raw)
		}
	})
	t.Run("interpreter", func(t *testing.T) {
		t.Parallel()
		for message, want := range map[string]struct {
			code websocket.StatusCode
			last string
		}{
			`{"code": "print(1)"}`: {websocket.StatusNormalClosure, "control completed"},
			`{"code": "1/0"}`:      {websocket.StatusNormalClosure, "error ZeroDivisionError"},
			`{"code": "import time; time.sleep(60)", "timeout": 0.2}`: {4008, ""},
			`{"code": " "}`:                      {websocket.StatusPolicyViolation, ""},
			`{"code": "1", "timeout": -1}`:       {websocket.StatusPolicyViolation, ""},
			`{"code": "1", "contextId": "none"}`: {websocket.StatusPolicyViolation, ""},
			`{"code": `:                          {websocket.StatusProtocolError, ""},
		} {
			code, frames := k.interpret(box, message)
			if code != want.code || !strings.Contains(frames, want.last) {
				t.Errorf("%s: closed with %d after %q", message, code, frames)
			}
		}
	})
}

// interpret sends one message to the interpreter of a sandbox, and returns the close code and what came before.
func (k *kaa) interpret(box, message string) (code websocket.StatusCode, frames string) {
	k.tb.Helper()
	o := &websocket.DialOptions{HTTPClient: k.client, HTTPHeader: http.Header{"Authorization": {"Bearer one"}}}
	conn, _, err := websocket.Dial(k.tb.Context(), k.url+box+"/process/interpreter/execute", o)
	if err != nil {
		k.tb.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	if err := conn.Write(k.tb.Context(), websocket.MessageText, []byte(message)); err != nil {
		k.tb.Fatal(err)
	}
	for {
		_, data, err := conn.Read(k.tb.Context())
		if err != nil {
			return websocket.CloseStatus(err), frames
		}
		var f map[string]string
		if err := json.Unmarshal(data, &f); err != nil || len(f) != 5 {
			k.tb.Errorf("%s: %v", data, err)
		}
		frames += strings.Join([]string{f["type"], f["name"] + f["text"]}, " ") + "|"
	}
}
