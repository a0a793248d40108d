package dialect_test

import (
	"bytes"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
)

// form is a form with parts, each "name|file name|content", and its content type.
func form(t *testing.T, parts ...string) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		f := strings.SplitN(p, "|", 3)
		h := textproto.MIMEHeader{}
		h.Set("Content-Disposition", `form-data; name="`+f[0]+`"; filename="`+f[1]+`"`)
		part, err := w.CreatePart(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write([]byte(f[2])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), "Content-Type: " + w.FormDataContentType()
}

// events are the types and texts of a stream.
func events(raw string) string {
	var all []string
	for line := range strings.Lines(raw) {
		var e struct {
			Type, Text string
			Results    map[string]any
			Error      struct{ Ename, Evalue string }
		}
		if text, ok := strings.CutPrefix(line, "data: "); ok && json.Unmarshal([]byte(text), &e) == nil {
			switch e.Type {
			case "init", "ping":
				e.Text = ""
			case "result":
				e.Text, _ = e.Results["text"].(string)
			case "error":
				e.Text = e.Error.Ename + " " + e.Error.Evalue
			}
			all = append(all, strings.TrimSpace(e.Type+" "+strings.ReplaceAll(e.Text, "\n", "/")))
		}
	}
	return strings.Join(all, "|")
}

// openSandbox: a sandbox is made, found, used and deleted with a key, its daemon with its token only, and no other
// tenant sees it.
func openSandbox(t *testing.T, k kaa, one, two string) {
	t.Helper()
	one, two = "OPEN-SANDBOX-API-KEY: "+one, "OPEN-SANDBOX-API-KEY: "+two
	const all = "/opensandbox/v1/sandboxes"
	create := func(key string) string {
		t.Helper()
		a := k.call(t, http.MethodPost, all, `{"image": {"uri": "python:3.12"}, "entrypoint": ["/x"], "timeout": 300, "env": {"A": "b"}, "metadata": {"m": "1"}, "resourceLimits": {"cpu": "1", "memory": "256Mi"}, "networkPolicy": {"defaultAction": "deny"}}`, key)
		if a.status != http.StatusAccepted || a.field("status.state") != "Running" || a.field("expiresAt") == "" {
			t.Fatalf("create: %d %s", a.status, a.raw)
		}
		return a.field("id")
	}
	id := create(one)
	k.exchange(t, two, []exchange{
		{"another tenant gets it", http.MethodGet, all + "/" + id, "", 404, []string{`"code":"SANDBOX_NOT_FOUND"`}, ""},
		{"another tenant deletes it", http.MethodDelete, all + "/" + id, "", 404, []string{`"code":"SANDBOX_NOT_FOUND"`}, ""},
		{"another tenant asks for its endpoint", http.MethodGet, all + "/" + id + "/endpoints/44772", "", 404, []string{`"code":"SANDBOX_NOT_FOUND"`}, ""},
		{"another tenant uses its daemon", "", "/opensandbox/proxy/" + id + "/44772/code", `{"code": "1", "context": {"language": "python"}}`, 404, []string{`"code":"SANDBOX_NOT_FOUND"`}, ""},
		{"another tenant reads its files", http.MethodGet, "/opensandbox/proxy/" + id + "/44772/files/info?path=/etc/passwd", "", 404, []string{`"code":"SANDBOX_NOT_FOUND"`}, ""},
		{"another tenant lists", http.MethodGet, all, "", 200, []string{`"items":[`}, id},
	})
	k.exchange(t, one, []exchange{
		{"get", http.MethodGet, all + "/" + id, "", 200, []string{`"metadata":{"m":"1"}`, `"image":{"uri":"python:3.12"}`, `"entrypoint":["/x"]`}, ""},
		{"list", http.MethodGet, all + "?metadata=m%3D1&state=Running&pageSize=1", "", 200, []string{id, `"totalItems":1`}, ""},
		{"list of others", http.MethodGet, all + "?metadata=m%3D2", "", 200, []string{`"items":[]`}, ""},
		{"a wrong page", http.MethodGet, all + "?page=0", "", 400, []string{`"code":"INVALID_REQUEST"`}, ""},
		{"no such sandbox", http.MethodGet, all + "/nope", "", 404, []string{`"code":"SANDBOX_NOT_FOUND"`}, ""},
		{"another port", http.MethodGet, all + "/" + id + "/endpoints/80", "", 404, []string{`"code":"NOT_SUPPORTED"`}, ""},
		{"metadata", http.MethodPatch, all + "/" + id + "/metadata", `{"n": "2"}`, 200, []string{`"n":"2"`}, ""},
		{"renew to the past", "", all + "/" + id + "/renew-expiration", `{"expiresAt": "2020-01-01T00:00:00Z"}`, 400, []string{`"code":"INVALID_REQUEST"`}, ""},
		{"snapshots", "", all + "/" + id + "/snapshots", `{}`, 404, []string{`"code":"NOT_SUPPORTED"`}, ""},
		{"a snapshot", "", all, `{"snapshotId": "s"}`, 404, []string{`"code":"SNAPSHOT_NOT_FOUND"`}, ""},
		{"volumes", "", all, `{"image": {"uri": "a"}, "volumes": [{"name": "v"}]}`, 400, []string{`"code":"INVALID_REQUEST"`}, ""},
		{"a wrong timeout", "", all, `{"image": {"uri": "a"}, "timeout": -1}`, 400, []string{`"code":"INVALID_REQUEST"`}, ""},
		{"a wrong quantity", "", all, `{"image": {"uri": "a"}, "resourceLimits": {"memory": "many"}}`, 400, []string{`"code":"INVALID_REQUEST"`}, ""},
		{"a time that is none", "", all + "/" + id + "/renew-expiration", `{"expiresAt": "tomorrow"}`, 400, []string{`"code":"INVALID_REQUEST"`, "RFC 3339"}, ""},
		{"a path with two slashes", http.MethodGet, "/opensandbox//v1/sandboxes", "", 404, []string{`"code":"NOT_SUPPORTED"`}, ""},
		{"half a body", "", all, `{"image": `, 400, []string{`"code":"INVALID_REQUEST"`}, ""},
	})
	a := k.call(t, http.MethodGet, all+"/"+id+"/endpoints/44772", "", one)
	daemon, ok := strings.CutPrefix("http://"+a.field("endpoint"), k.url)
	token := "X-EXECD-ACCESS-TOKEN: " + a.field("headers.X-EXECD-ACCESS-TOKEN")
	if !ok || !strings.HasSuffix(daemon, "/44772") {
		t.Fatalf("endpoint: %d %s", a.status, a.raw)
	}
	t.Run("daemon", func(t *testing.T) { daemonOf(t, k, daemon, token) })
	other := create(one)
	if a := k.call(t, http.MethodGet, "/opensandbox/proxy/"+other+"/44772/ping", "", token); a.status != http.StatusUnauthorized {
		t.Errorf("the token of one sandbox opens another: %d %s", a.status, a.raw)
	}
	if a := k.call(t, http.MethodGet, daemon+"/ping", ""); a.status != http.StatusUnauthorized {
		t.Errorf("no token: %d %s", a.status, a.raw)
	}
	if a := k.call(t, http.MethodGet, all+"/"+id, "", token); a.status != http.StatusUnauthorized {
		t.Errorf("the token opens the control plane: %d %s", a.status, a.raw)
	}
	for _, step := range []struct {
		method, path string
		status       int
	}{
		{http.MethodPost, "/pause", 202}, {http.MethodPost, "/resume", 202}, {http.MethodDelete, "", 204}, {http.MethodDelete, "", 404}, {http.MethodGet, "", 404},
	} {
		if a := k.call(t, step.method, all+"/"+id+step.path, "", one); a.status != step.status {
			t.Errorf("%s %s: %d %s", step.method, step.path, a.status, a.raw)
		}
	}
	if a := k.call(t, http.MethodPost, daemon+"/code", `{"code": "1", "context": {"language": "python"}}`, token); a.status != http.StatusNotFound || a.field("code") != "SANDBOX_NOT_FOUND" {
		t.Errorf("code in a deleted sandbox: %d %s", a.status, a.raw)
	}
}

// daemonOf uses code, commands and files of a sandbox.
func daemonOf(t *testing.T, k kaa, daemon, token string) {
	t.Helper()
	for _, tt := range []struct{ name, path, body, want string }{
		{"code", "/code", `{"code": "import sys\nprint('out')\nx = 20\nx + 1", "context": {"language": "python"}}`, "init|stdout out/|result 21|execution_complete"},
		{"its state", "/code", `{"code": "print(x)", "context": {"language": "python"}}`, "init|stdout 20/|execution_complete"},
		{"an exception", "/code", `{"code": "raise ValueError('no')", "context": {"language": "python"}}`, "init|error ValueError no|execution_complete"},
		{"an exit", "/code", `{"code": "raise SystemExit", "context": {"language": "python"}}`, "init|error SystemExit|execution_complete"},
		{"code in bash", "/code", `{"code": "echo hi", "context": {"language": "bash"}}`, "init|stdout hi|execution_complete"},
		{"a command", "/command", `{"command": "printf 'a\\nb'; echo $A $C >&2", "envs": {"C": "d"}, "timeout": 300000}`, "init|stdout a|stdout b|stderr b d|execution_complete"},
		{"its exit code", "/command", `{"command": "exit 7"}`, "init|error CommandExecError 7"},
		{"argv", "/command", `{"argv": ["echo", "a b"]}`, "init|stdout a b|execution_complete"},
		{"the probe of the SDK", "/command", `{"command": "bash -c 'exec 3<>/dev/tcp/127.0.0.1/${JUPYTER_PORT:-44771}' && exit 0 || exit 1"}`, "init|execution_complete"},
	} {
		a := k.call(t, http.MethodPost, daemon+tt.path, tt.body, token)
		got := events(a.raw)
		if strings.Contains(tt.want, "stderr") { // two pipes have no order
			got = strings.ReplaceAll(got, "stderr b d|stdout a|stdout b", "stdout a|stdout b|stderr b d")
			got = strings.ReplaceAll(got, "stdout a|stderr b d|stdout b", "stdout a|stdout b|stderr b d")
		}
		if a.status != http.StatusOK || got != tt.want {
			t.Errorf("%s: %d %q, want %q", tt.name, a.status, got, tt.want)
		}
	}
	made := k.call(t, http.MethodPost, daemon+"/code/context", `{"language": "python"}`, token)
	context := made.field("id")
	if a := k.call(t, http.MethodPost, daemon+"/code", bodyOf(t, fields{"code": "print('x' in globals())", "context": fields{"id": context, "language": "python"}}), token); !strings.Contains(events(a.raw), "stdout False/") {
		t.Errorf("a context: %s %d %s", made.raw, a.status, a.raw)
	}
	upload, contentType := form(t, `metadata|metadata|{"path": "/tmp/d/a.txt", "mode": 640}`, "file|a.txt|one\ntwo\nthree\n", `metadata|metadata|{"path": "b.txt"}`, "file|b.txt|")
	if a := k.call(t, http.MethodPost, daemon+"/files/upload", upload, token, contentType); a.status != http.StatusOK {
		t.Errorf("upload: %d %s", a.status, a.raw)
	}
	for _, n := range []int{3, 2} { // in the first description, in the first file
		if a := k.call(t, http.MethodPost, daemon+"/files/upload", upload[:len(upload)/n], token, contentType); a.status != http.StatusBadRequest {
			t.Errorf("a part of an upload: %d %s", a.status, a.raw)
		}
	}
	started := k.call(t, http.MethodPost, daemon+"/command", `{"command": "echo bg; cat; exit 3", "background": true}`, token)
	_, rest, _ := strings.Cut(started.raw, `"text":"`)
	command, _, _ := strings.Cut(rest, `"`)
	status := k.call(t, http.MethodGet, daemon+"/command/status/"+command, "", token)
	for strings.Contains(status.raw, `"running":true`) {
		status = k.call(t, http.MethodGet, daemon+"/command/status/"+command, "", token)
	}
	if !strings.Contains(status.raw, `"exit_code":3`) || !strings.Contains(status.raw, "echo bg") {
		t.Errorf("a command in the background: %s", status.raw)
	}
	endless := k.call(t, http.MethodPost, daemon+"/command", `{"command": "while :; do echo x; sleep 0.005; done", "background": true}`, token)
	_, rest, _ = strings.Cut(endless.raw, `"text":"`)
	endlessID, _, _ := strings.Cut(rest, `"`)
	for logs := ""; !strings.Contains(logs, "x\n"); { // the call ends, though the output does not
		logs = k.call(t, http.MethodGet, daemon+"/command/"+endlessID+"/logs", "", token).raw
	}
	k.exchange(t, token, []exchange{
		{"its end", http.MethodDelete, daemon + "/command?id=" + endlessID, "", 200, nil, ""},
		{"ping", http.MethodGet, daemon + "/ping", "", 200, nil, ""},
		{"metrics", http.MethodGet, daemon + "/metrics", "", 200, []string{`"mem_total_mib":`}, ""},
		{"contexts", http.MethodGet, daemon + "/code/contexts?language=python", "", 200, []string{context}, ""},
		{"a context", http.MethodGet, daemon + "/code/contexts/" + context, "", 200, []string{`"language":"python"`}, ""},
		{"no such context", http.MethodGet, daemon + "/code/contexts/nope", "", 404, []string{`"code":"CONTEXT_NOT_FOUND"`}, ""},
		{"code in no such context", "", daemon + "/code", `{"code": "1", "context": {"id": "nope", "language": "python"}}`, 404, []string{`"code":"CONTEXT_NOT_FOUND"`}, ""},
		{"another language", "", daemon + "/code", `{"code": "1", "context": {"language": "java"}}`, 400, []string{`"code":"NOT_SUPPORTED"`}, ""},
		{"no code", "", daemon + "/code", `{"context": {"language": "python"}}`, 400, []string{`"code":"INVALID_REQUEST"`}, ""},
		{"no command", "", daemon + "/command", `{}`, 400, []string{`"code":"INVALID_REQUEST"`}, ""},
		{"interrupt nothing", http.MethodDelete, daemon + "/code?id=default", "", 200, nil, ""},
		{"interrupt no id", http.MethodDelete, daemon + "/code", "", 400, []string{`"code":"MISSING_QUERY"`}, ""},
		{"no such command", http.MethodGet, daemon + "/command/status/nope", "", 404, []string{`"code":"COMMAND_NOT_FOUND"`}, ""},
		{"logs", http.MethodGet, daemon + "/command/" + command + "/logs", "", 200, []string{"bg\n"}, ""},
		{"later logs", http.MethodGet, daemon + "/command/" + command + "/logs?cursor=1", "", 200, nil, "bg"},
		{"a bash session", "", daemon + "/session", `{}`, 404, []string{`"code":"NOT_SUPPORTED"`}, ""},
		{"info", http.MethodGet, daemon + "/files/info?path=/tmp/d/a.txt", "", 200, []string{`"/tmp/d/a.txt":{`, `"size":14`, `"mode":640`, `"type":"file"`}, ""},
		{"info of nothing", http.MethodGet, daemon + "/files/info?path=/tmp/d/no", "", 404, []string{`"code":"FILE_NOT_FOUND"`}, ""},
		{"download", http.MethodGet, daemon + "/files/download?path=/tmp/d/a.txt", "", 200, []string{"one\ntwo\nthree\n"}, ""},
		{"lines", http.MethodGet, daemon + "/files/download?path=/tmp/d/a.txt&offset=2&limit=1", "", 200, []string{"two\n"}, "three"},
		{"download nothing", http.MethodGet, daemon + "/files/download?path=/tmp/d/no", "", 404, []string{`"code":"FILE_NOT_FOUND"`}, ""},
		{"download no path", http.MethodGet, daemon + "/files/download", "", 400, []string{`"code":"MISSING_QUERY"`}, ""},
		{"search", http.MethodGet, daemon + "/files/search?path=/tmp/d&pattern=*.txt", "", 200, []string{`/tmp/d/a.txt`}, ""},
		{"list", http.MethodGet, daemon + "/directories/list?path=/tmp/d", "", 200, []string{`/tmp/d/a.txt`}, ""},
		{"list nothing", http.MethodGet, daemon + "/directories/list?path=/tmp/no", "", 404, []string{`"code":"FILE_NOT_FOUND"`}, ""},
		{"a wrong mode", "", daemon + "/files/permissions", `{"/tmp/d/a.txt": {"mode": 999}}`, 400, []string{`"code":"INVALID_REQUEST"`}, ""},
	})
	k.attached(t, daemon+"/files/download?path=/tmp/d/a.txt", token)
	k.attached(t, daemon+"/files/download?path=/tmp/d/a.txt&offset=2", token)
	for _, step := range []struct{ method, path, body, has string }{
		{http.MethodPost, "/directories", `{"/tmp/e/f": {"mode": 755}}`, ""},
		{http.MethodPost, "/files/mv", `[{"src": "/tmp/d/a.txt", "dest": "/tmp/e/f/c.txt"}]`, ""},
		{http.MethodPost, "/files/replace?verbose=true", `{"/tmp/e/f/c.txt": {"old": "t", "new": "TT"}}`, `"replacedCount":2`},
		{http.MethodGet, "/files/download?path=/tmp/e/f/c.txt", "", "one\nTTwo\nTThree\n"},
		{http.MethodPost, "/files/permissions", `{"/tmp/e/f/c.txt": {"mode": 600, "owner": "root"}}`, ""},
		{http.MethodGet, "/files/info?path=/tmp/e/f/c.txt", "", `"mode":600`},
		{http.MethodDelete, "/files?path=/tmp/e/f/c.txt&path=/tmp/e/f/gone", "", ""},
		{http.MethodDelete, "/directories?path=/tmp/e", "", ""},
		{http.MethodDelete, "/code/contexts?language=python", "", ""},
		{http.MethodGet, "/code/contexts?language=python", "", "[]"},
	} {
		if a := k.call(t, step.method, daemon+step.path, step.body, token); a.status != http.StatusOK || !strings.Contains(a.raw, step.has) {
			t.Errorf("%s %s: %d %s", step.method, step.path, a.status, a.raw)
		}
	}
}
