package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

func (k *kaa) accepted() bool {
	return k.call(http.MethodGet, "/v1/jobs", nil).status == http.StatusOK
}

// TestKeysFile: the file of keys is read again when it changes. One that does not parse changes
// nothing, and the log says so.
func TestKeysFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	keysFile(t, path, tenantKey("acme", "the first key"))
	k := start(t, 0, "KAA_API_KEYS_FILE="+path, "KAA_API_KEYS=key-of-the-configuration")
	first, second, configured := k.as("the first key"), k.as("the second key"), k.as("key-of-the-configuration")
	if !first.accepted() || second.accepted() || !configured.accepted() {
		t.Fatal("the keys at the start are not those of the file and the configuration")
	}
	keysFile(t, path, tenantKey("acme", "the first key"), tenantKey("acme", "the second key"))
	testenv.Eventually(t, "the second key is valid", second.accepted)
	if err := os.WriteFile(path, []byte(`{"keys": [`), 0o600); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the log says that the file is wrong", func() bool {
		return strings.Contains(k.logs.String(), "the keys of KAA_API_KEYS_FILE stay as they were")
	})
	if !first.accepted() || !second.accepted() {
		t.Error("a file that does not parse has taken keys away")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the log says that there is no file", func() bool {
		return strings.Contains(k.logs.String(), "no such file")
	})
	keysFile(t, path, tenantKey("acme", "the second key"))
	testenv.Eventually(t, "the first key is refused", func() bool { return !first.accepted() })
	if !second.accepted() || !configured.accepted() {
		t.Error("keys that stayed are refused")
	}
	k.environ = k.environ.With("KAA_API_KEYS_FILE", path+".none")
	if err := app.RunAPI(t.Context(), app.Process{Environ: k.environ, Stdout: io.Discard, Stderr: io.Discard}); err == nil || !strings.Contains(err.Error(), "KAA_API_KEYS_FILE") {
		t.Errorf("a start without the file: %v", err)
	}
}

// TestKeysOfOperators: an operator makes, lists and revokes keys; what they may be is checked.
func TestKeysOfOperators(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_ADMIN_KEYS="+adminOfTests)
	admin := k.as(adminOfTests)
	for name, body := range map[string]fields{
		"tenant": {}, "body.tenant": {"tenant": "a b"}, "body.scopes": {"tenant": "a", "scopes": []string{"write"}},
		"body.expiresAt": {"tenant": "a", "expiresAt": "0001-01-01T00:00:00Z"}, "body.name": {"tenant": "a", "name": "a\nb"}, "scope": {"tenant": "a", "scope": "read"},
	} {
		if a := admin.call(http.MethodPost, "/v1/keys", body); a.status != http.StatusBadRequest || !strings.Contains(a.raw, name) {
			t.Errorf("%v: %d %s, want %s named", body, a.status, a.raw, name)
		}
	}
	for _, body := range []fields{{"tenant": "a", "scopes": []string{}}, {"tenant": "a", "expiresAt": "1970-01-01T00:00:00Z"}} {
		if a := admin.call(http.MethodPost, "/v1/keys", body); a.status != http.StatusBadRequest {
			t.Errorf("%v: %d %s", body, a.status, a.raw)
		}
	}
	made := admin.call(http.MethodPost, "/v1/keys", fields{"tenant": "acme", "name": "ci", "scopes": []string{"read"}, "expiresAt": time.Now().Add(time.Hour)})
	secret := made.str("key")
	if made.status != http.StatusCreated || access.CheckSecret(secret) != nil || !strings.HasPrefix(secret, "kaa_") {
		t.Fatalf("%d %s", made.status, made.raw)
	}
	tenant := k.as(secret)
	if !tenant.accepted() {
		t.Error("the key is not valid at once")
	}
	list := admin.call(http.MethodGet, "/v1/keys", nil)
	if strings.Contains(list.raw, secret) || strings.Contains(list.raw, access.Digest(secret)) || strings.Contains(list.raw, adminOfTests) || !strings.Contains(list.raw, made.str("id")) || !strings.Contains(list.raw, `"source":"environment"`) {
		t.Errorf("list: %s", list.raw)
	}
	if a := admin.call(http.MethodGet, "/v1/keys?tenant=other", nil); a.raw != "{\"keys\":[]}\n" {
		t.Errorf("list of a tenant without keys: %s", a.raw)
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if a := tenant.call(method, "/v1/keys", fields{"tenant": "acme"}); method == http.MethodPost && (a.status != http.StatusForbidden || a.str("scope") != "admin") {
			t.Errorf("%s of a tenant: %d %s", method, a.status, a.raw)
		}
	}
	for secret, says := range map[string]string{secret[:len(secret)-1]: "checksum", access.NewSecret(): "valid API key", "": "valid API key"} {
		if a := k.as(secret).call(http.MethodGet, "/v1/jobs", nil); a.status != http.StatusUnauthorized || !strings.Contains(a.str("detail"), says) {
			t.Errorf("%q: %d %s", secret, a.status, a.raw)
		}
	}
	if a := admin.call(http.MethodDelete, "/v1/keys/none", nil); a.status != http.StatusNotFound {
		t.Errorf("revoke one that is not: %d %s", a.status, a.raw)
	}
	if a := admin.call(http.MethodDelete, "/v1/keys/"+access.Digest(adminOfTests)[:16], nil); a.status != http.StatusConflict {
		t.Errorf("revoke one of the configuration: %d %s", a.status, a.raw)
	}
	if a := admin.call(http.MethodDelete, "/v1/keys/"+made.str("id"), nil); a.status != http.StatusNoContent || tenant.accepted() {
		t.Errorf("revoke: %d %s; or it is valid still", a.status, a.raw)
	}
	soon := admin.call(http.MethodPost, "/v1/keys", fields{"tenant": "acme", "expiresAt": time.Now().Add(time.Second)})
	testenv.Eventually(t, "the key has expired", func() bool {
		return strings.Contains(k.as(soon.str("key")).call(http.MethodGet, "/v1/jobs", nil).str("detail"), "expired")
	})

	open := start(t, 0)
	if a := open.call(http.MethodPost, "/v1/keys", fields{"tenant": "acme"}); a.status != http.StatusForbidden || a.str("code") != "keys_off" {
		t.Errorf("where no keys are asked for: %d %s", a.status, a.raw)
	}
}

// TestDamagedRecordOfAKey: a record in Redis that describes no key takes no other key away, neither at
// the start nor later, and gives none. It can be revoked like a key.
func TestDamagedRecordOfAKey(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_ADMIN_KEYS="+adminOfTests)
	admin := k.as(adminOfTests)
	tenant := k.as(admin.call(http.MethodPost, "/v1/keys", fields{"tenant": "acme"}).str("key"))
	nobody := tenantKey("", "key of no tenant")
	text, err := json.Marshal(nobody)
	if err != nil {
		t.Fatal(err)
	}
	client := k.redis.Client(t)
	if err := client.HSet(t.Context(), "{kaa}:keys", "damaged", "{", nobody.ID, text, "other", text).Err(); err != nil {
		t.Fatal(err)
	}
	second := k.as(admin.call(http.MethodPost, "/v1/keys", fields{"tenant": "acme"}).str("key"))
	addr, _ := k.run(app.RunAPI)
	there := *k
	there.url = "http://" + addr.String()
	for name, kaa := range map[string]*kaa{"this": k, "the other": &there} {
		if !kaa.as(tenant.key).accepted() || !kaa.as(second.key).accepted() || kaa.as("key of no tenant").accepted() {
			t.Errorf("the keys at %s process are not those that are described", name)
		}
	}
	if !strings.Contains(k.logs.String(), "damaged") {
		t.Error("the log does not name the record")
	}
	if a := admin.call(http.MethodGet, "/v1/keys?tenant=acme", nil); a.status != http.StatusOK || strings.Count(a.raw, `"id"`) != 2 {
		t.Errorf("list: %d %s", a.status, a.raw)
	}
	if a := admin.call(http.MethodDelete, "/v1/keys/damaged", nil); a.status != http.StatusNoContent {
		t.Errorf("revoke the record: %d %s", a.status, a.raw)
	}
}

// TestRevokedKeyEndsWhatItBegan: calls, streams and sockets of a revoked key end, at every process.
func TestRevokedKeyEndsWhatItBegan(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_ADMIN_KEYS="+adminOfTests)
	addr, _ := k.run(app.RunAPI)
	admin, there := k.as(adminOfTests), *k
	there.url = "http://" + addr.String()
	made := admin.call(http.MethodPost, "/v1/keys", fields{"tenant": "acme"})
	there.key = made.str("key")
	kept := there.as(admin.call(http.MethodPost, "/v1/keys", fields{"tenant": "acme"}).str("key"))
	testenv.Eventually(t, "the keys are valid at the other process", func() bool { return there.accepted() && kept.accepted() })

	session := there.open(fields{})
	socket, sibling := there.connect(session), kept.connect(session)
	id := there.submit(fields{"code": "import time\nprint('begun', flush=True)\ntime.sleep(3000)", "timeout": 3500, "events": true})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, there.url+"/v1/jobs/"+id+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+there.key)
	stream, err := there.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Body.Close() }()
	ended := make(chan string, 2)
	go func() {
		text, err := io.ReadAll(stream.Body)
		ended <- fmt.Sprint("stream ", strings.Contains(string(text), `"unauthorized"`), err)
	}()
	go func() {
		a, err := there.try(t.Context(), http.MethodGet, "/v1/jobs/"+id+"?wait=60s", nil)
		ended <- fmt.Sprint("call ", a.status, a.header.Get("WWW-Authenticate"), a.raw, err)
	}()
	if a := admin.call(http.MethodDelete, "/v1/keys/"+made.str("id"), nil); a.status != http.StatusNoContent {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	for {
		if _, more := socket.next(); !more {
			break
		}
	}
	if code := websocket.CloseStatus(socket.err); code == -1 && !errors.Is(socket.err, io.EOF) {
		t.Errorf("the socket ended with %v", socket.err)
	}
	got := []string{<-ended, <-ended}
	slices.Sort(got)
	if !strings.HasPrefix(got[0], `call 401Bearer realm="kaa"`) || !strings.HasPrefix(got[1], "stream true") {
		t.Errorf("the call and the stream ended with %q", got)
	}
	if there.accepted() {
		t.Errorf("a revoked key is accepted after its streams have ended: %v", got)
	}
	// The tenant's other key goes on, with all that is the tenant's.
	sibling.send(fields{"type": "ping"})
	if e, more := sibling.next(); !more {
		t.Errorf("the socket of the other key ended: %v, %v", e, sibling.err)
	}
	if a := kept.call(http.MethodGet, "/v1/jobs/"+id, nil); a.str("state") == "" {
		t.Errorf("the job: %d %s", a.status, a.raw)
	}
	kept.call(http.MethodDelete, "/v1/jobs/"+id, nil)
}

// TestScopes: an operation needs one scope. A key with all others is refused, and the refusal names the
// scope; a key with the one alone is let in. A new operation fails the test until it is listed.
func TestScopes(t *testing.T) {
	t.Parallel()
	needed := map[string]access.Scope{
		"POST /process/interpreter/execute": access.Execute, "POST /v1/jobs": access.Execute, "POST /v1/jobs:batch": access.Execute, "POST /v1/jobs/{id}/rerun": access.Execute, "POST /v1/jobs/{id}/calls/{callId}": access.Execute,
		"POST /v1/batches": access.Execute, "POST /v1/batches/{id}/lines": access.Execute, "DELETE /v1/batches/{id}": access.Execute, "DELETE /v1/batches/{id}/record": access.Execute, "POST /v1/batches/{id}/rerun": access.Execute,
		"GET /v1/batches": access.Read, "GET /v1/batches/{id}": access.Read, "GET /v1/batches/{id}/results": access.Read, "GET /v1/batches/{id}/archive": access.Read, "GET /v1/batches/{id}/events": access.Read,
		"DELETE /v1/jobs/{id}": access.Execute, "DELETE /v1/jobs/{id}/record": access.Execute, "POST /v1/sessions/{id}/interrupt": access.Execute,
		"GET /v1/jobs": access.Read, "GET /v1/jobs/{id}/request": access.Read, "GET /v1/jobs/{id}": access.Read, "GET /v1/jobs/{id}/events": access.Read, "GET /v1/jobs/{id}/files": access.Read,
		"GET /v1/queues": access.Read, "GET /v1/runtimes": access.Read, "GET /v1/usage": access.Read, "GET /v1/sessions": access.Read, "GET /v1/sessions/{id}": access.Read, "GET /v1/sessions/{id}/ws": access.Read,
		"GET /v1/jobs/{id}/files/{path}": access.Files, "DELETE /v1/jobs/{id}/files/{path}": access.Files,
		"PATCH /v1/sessions/{id}": access.Sessions, "POST /v1/sessions/{id}/pause": access.Sessions, "POST /v1/sessions/{id}/resume": access.Sessions, "PUT /v1/sessions/by-name/{name}": access.Sessions, "GET /v1/sessions/by-name/{name}": access.Read, "DELETE /v1/sessions/by-name/{name}": access.Sessions,
		"POST /v1/sessions": access.Sessions, "DELETE /v1/sessions/{id}": access.Sessions, "GET /v1/sessions/{id}/files": access.Sessions, "POST /v1/sessions/{id}/files": access.Sessions,
		"GET /v1/sessions/{id}/files/{path}": access.Sessions, "PUT /v1/sessions/{id}/files/{path}": access.Sessions, "DELETE /v1/sessions/{id}/files/{path}": access.Sessions,
		"GET /v1/sessions/{id}/fs/entry": access.Sessions, "PATCH /v1/sessions/{id}/fs/entry": access.Sessions, "DELETE /v1/sessions/{id}/fs/entry": access.Sessions, "GET /v1/sessions/{id}/fs/entries": access.Sessions, "GET /v1/sessions/{id}/fs/content": access.Sessions, "PUT /v1/sessions/{id}/fs/content": access.Sessions, "POST /v1/sessions/{id}/fs/content": access.Sessions, "GET /v1/sessions/{id}/fs/archive": access.Sessions, "GET /v1/sessions/{id}/fs/watch": access.Sessions, "PUT /v1/sessions/{id}/fs/archive": access.Sessions, "POST /v1/sessions/{id}/fs/directory": access.Sessions, "POST /v1/sessions/{id}/fs/move": access.Sessions, "POST /v1/sessions/{id}/fs/copy": access.Sessions,
		"GET /v1/sessions/{id}/contexts": access.Sessions, "POST /v1/sessions/{id}/contexts": access.Sessions, "DELETE /v1/sessions/{id}/contexts/{contextId}": access.Sessions,
		"POST /v1/sessions/{id}/contexts/{contextId}/restart": access.Sessions, "POST /v1/sessions/{id}/contexts/{contextId}/interrupt": access.Execute,
		"POST /v1/sessions/{id}/fork": access.Sessions, "POST /v1/sessions/{id}/restart": access.Sessions, "POST /v1/sessions/{id}/checkpoint": access.Sessions, "POST /v1/sessions/{id}/rollback": access.Sessions,
		"GET /v1/schedules": access.Read, "GET /v1/schedules/{id}": access.Read, "POST /v1/schedules": access.Execute, "PUT /v1/schedules/{id}": access.Execute, "DELETE /v1/schedules/{id}": access.Execute,
		"POST /v1/schedules/{id}/pause": access.Execute, "POST /v1/schedules/{id}/resume": access.Execute, "POST /v1/schedules/{id}/run": access.Execute,
		"GET /v1/keys": access.Admin, "POST /v1/keys": access.Admin, "DELETE /v1/keys/{id}": access.Admin, "GET /v1/runners": access.Admin, "GET /v1/fleet/history": access.Admin,
		"POST /v1/queues/{name}/pause": access.Admin, "POST /v1/queues/{name}/resume": access.Admin, "GET /v1/queues/{name}/tasks": access.Admin,
		"POST /v1/jobs:cancel": access.Execute, "POST /v1/jobs:purge": access.Execute, "GET /v1/config": access.Admin, "POST /v1/runners/{id}/drain": access.Admin, "POST /v1/runners/{id}/resume": access.Admin,
	}
	maps.Copy(needed, map[string]access.Scope{
		"GET /v1/sessions/{id}/ports/{port}": access.Execute, "GET /v1/sessions/{id}/ports/{port}/{path}": access.Execute,
		"POST /v1/environments": access.Execute, "GET /v1/environments": access.Read, "GET /v1/environments/{id}": access.Read, "POST /v1/sessions/{id}/packages": access.Sessions,
		"GET /v1/volumes": access.Read, "GET /v1/volumes/{name}": access.Read, "DELETE /v1/volumes/{name}": access.Sessions,
		"POST /v1/sessions/{id}/commands": access.Execute, "GET /v1/sessions/{id}/commands": access.Read,
		"GET /v1/sessions/{id}/commands/ws": access.Execute, "GET /v1/sessions/{id}/commands/{command}/ws": access.Execute,
		"GET /v1/sessions/{id}/commands/{command}": access.Read, "GET /v1/sessions/{id}/commands/{command}/events": access.Read,
		"POST /v1/sessions/{id}/commands/{command}/input": access.Execute, "POST /v1/sessions/{id}/commands/{command}/signal": access.Execute,
		"POST /v1/sessions/{id}/commands/{command}/resize": access.Execute, "DELETE /v1/sessions/{id}/commands/{command}": access.Execute,
	})
	bodies := map[string]any{
		"POST /v1/sessions/{id}/commands": fields{"command": "true"}, "POST /v1/sessions/{id}/commands/{command}/input": fields{"data": "x"},
		"POST /v1/sessions/{id}/commands/{command}/signal": fields{"signal": "INT"}, "POST /v1/sessions/{id}/commands/{command}/resize": fields{"columns": 1, "rows": 1},
		"POST /process/interpreter/execute": fields{"code": "1"}, "POST /v1/jobs": fields{"code": "1"}, "POST /v1/jobs:batch": fields{"jobs": []fields{{"code": "1"}}},
		"POST /v1/batches": `{"code":"1"}`, "POST /v1/batches/{id}/lines": `{"code":"1"}`, "POST /v1/batches/{id}/rerun": fields{"status": []string{"ok"}},
		"POST /v1/environments": fields{"packages": []string{"-"}}, "POST /v1/sessions/{id}/packages": fields{"packages": []string{"alpha"}}, "PATCH /v1/sessions/{id}": fields{"endsIn": 60}, "PUT /v1/sessions/by-name/{name}": fields{},
		"POST /v1/keys": fields{"tenant": "new"}, "POST /v1/jobs/{id}/calls/{callId}": fields{"value": 1}, "POST /v1/schedules": aSchedule(), "PUT /v1/schedules/{id}": aSchedule(),
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	scopes := append(access.UsualScopes(), access.Admin)
	var keys []access.Key
	for _, scope := range scopes {
		others := slices.DeleteFunc(slices.Clone(scopes), func(s access.Scope) bool { return s == scope || s == access.Admin })
		keys = append(keys, tenantKey("acme", "only "+string(scope), scope), tenantKey("acme", "without "+string(scope), others...))
	}
	keysFile(t, path, keys...)
	k := start(t, 1, "KAA_API_KEYS_FILE="+path)
	for _, o := range k.operations() {
		method, p := o[0], o[1]
		operation := method + " " + p
		scope, ok := needed[operation]
		if !ok {
			if p != "/healthz" && p != "/readyz" && p != "/v1/key" {
				t.Errorf("%s: list the scope that it needs", operation)
			}
			continue
		}
		call := func(key string) answer {
			body, headers := bodies[operation], []string(nil)
			switch {
			case operation == "POST /v1/sessions/{id}/files", operation == "POST /v1/sessions/{id}/fs/content":
				body, headers = aForm, []string{"Content-Type: multipart/form-data; boundary=b"}
			case method == http.MethodPut && body == nil:
				body, headers = "x", []string{"Content-Type: application/octet-stream"}
			case strings.HasSuffix(p, "/ws"):
				headers = []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}
			case body == nil && method == http.MethodPost:
				body = fields{}
			}
			target := strings.NewReplacer("{id}", "01a00000-0000-7000-8000-000000000000", "{path}", "out", "{name}", "low", "{callId}", "1-1", "{port}", "8000", "{command}", "01a00000-0000-7000-8000-000000000000").Replace(p)
			if strings.HasSuffix(p, "/lines") {
				target += "?from=0"
			}
			target += fsQuery(method, p)
			return k.as(key).call(method, target, body, headers...)
		}
		if a := call("without " + string(scope)); a.status != http.StatusForbidden || a.str("scope") != string(scope) {
			t.Errorf("%s without the scope %s: %d %s", operation, scope, a.status, a.raw)
		}
		if a := call("only " + string(scope)); a.status == http.StatusForbidden || a.status == http.StatusUnauthorized {
			t.Errorf("%s with the scope %s alone: %d %s", operation, scope, a.status, a.raw)
		}
	}
}
