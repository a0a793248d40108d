package app_test

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

// keysFile writes a file of keys for KAA_API_KEYS_FILE.
func keysFile(tb testing.TB, path string, keys ...access.Key) {
	tb.Helper()
	text, err := json.Marshal(map[string]any{"keys": append([]access.Key{}, keys...)})
	if err != nil {
		tb.Fatal(err)
	}
	replaceFile(tb, path, string(text))
}

// replaceFile writes a file in one step.
func replaceFile(tb testing.TB, path, text string) {
	tb.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		tb.Fatal(err)
	}
}

func tenantKey(tenant, secret string, scopes ...access.Scope) access.Key {
	return access.Key{ID: access.Digest(secret)[:12], Tenant: tenant, SHA256: access.Digest(secret), Scopes: scopes}
}

const adminOfTests = "key-of-the-operator-of-tests"

// withTenants starts a Kaa that two tenants use, and returns a client of each.
func withTenants(t *testing.T, vars ...string) (acme, rival *kaa) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.json")
	one, two := access.NewSecret(), access.NewSecret()
	keysFile(t, path, tenantKey("acme", one), tenantKey("rival", two))
	k := start(t, 1, append([]string{"KAA_API_KEYS_FILE=" + path, "KAA_ADMIN_KEYS=" + adminOfTests}, vars...)...)
	other := *k
	k.key, other.key = one, two
	return k, &other
}

// operationsWithIDs lists the operations of the OpenAPI document that take an id in the path.
func (k *kaa) operationsWithIDs() []string {
	k.tb.Helper()
	var all []string
	for _, o := range k.operations() {
		if strings.Contains(o[1], "{") {
			all = append(all, o[0]+" "+o[1])
		}
	}
	return all
}

// aForm is a form with one file.
const aForm = "--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"in\"\r\n\r\nx\r\n--b--\r\n"

// walked says how to call each operation that takes an id: with which body, and what the id is of.
func walked() map[string]struct {
	of   string // job, waiting, session, key, queue, runner, schedule or a batch
	body any
} {
	type way = struct {
		of   string
		body any
	}
	none := fields{}
	return map[string]way{
		"GET /v1/jobs/{id}":                                     {"job", nil},
		"GET /v1/jobs/{id}/events":                              {"job", nil},
		"GET /v1/jobs/{id}/files":                               {"job", nil},
		"GET /v1/jobs/{id}/files/{path}":                        {"job", nil},
		"DELETE /v1/jobs/{id}/files/{path}":                     {"job", nil},
		"DELETE /v1/jobs/{id}/record":                           {"job", nil},
		"DELETE /v1/jobs/{id}":                                  {"waiting", nil},
		"POST /v1/jobs/{id}/rerun":                              {"job", nil},
		"GET /v1/jobs/{id}/request":                             {"job", nil},
		"POST /v1/jobs/{id}/calls/{callId}":                     {"calling", fields{"value": 1}},
		"GET /v1/sessions/{id}":                                 {"session", nil},
		"GET /v1/sessions/by-name/{name}":                       {"name", nil},
		"GET /v1/volumes/{name}":                                {"volume", nil},
		"DELETE /v1/volumes/{name}":                             {"volume", nil},
		"PUT /v1/sessions/by-name/{name}":                       {"own name", none},
		"DELETE /v1/sessions/by-name/{name}":                    {"name", nil},
		"PATCH /v1/sessions/{id}":                               {"session", fields{"endsIn": 3600}},
		"GET /v1/sessions/{id}/files":                           {"session", nil},
		"POST /v1/sessions/{id}/files":                          {"session", aForm},
		"GET /v1/sessions/{id}/files/{path}":                    {"session", nil},
		"PUT /v1/sessions/{id}/files/{path}":                    {"session", "content"},
		"GET /v1/sessions/{id}/fs/entry":                        {"session", nil},
		"PATCH /v1/sessions/{id}/fs/entry":                      {"session", none},
		"DELETE /v1/sessions/{id}/fs/entry":                     {"session", nil},
		"GET /v1/sessions/{id}/fs/entries":                      {"session", nil},
		"GET /v1/sessions/{id}/fs/content":                      {"session", nil},
		"PUT /v1/sessions/{id}/fs/content":                      {"session", "content"},
		"POST /v1/sessions/{id}/fs/content":                     {"session", fields{"files": []any{fields{"path": "/tmp/posted", "content": "x"}}}},
		"GET /v1/sessions/{id}/fs/archive":                      {"session", nil},
		"GET /v1/sessions/{id}/fs/watch":                        {"session", nil},
		"PUT /v1/sessions/{id}/fs/archive":                      {"session", ""},
		"POST /v1/sessions/{id}/fs/directory":                   {"session", none},
		"POST /v1/sessions/{id}/fs/move":                        {"session", none},
		"POST /v1/sessions/{id}/fs/copy":                        {"session", none},
		"GET /v1/sessions/{id}/ws":                              {"session", nil},
		"POST /v1/sessions/{id}/interrupt":                      {"session", none},
		"POST /v1/sessions/{id}/pause":                          {"paused", fields{"autoResume": true}},
		"POST /v1/sessions/{id}/resume":                         {"paused", none},
		"POST /v1/sessions/{id}/checkpoint":                     {"session", none},
		"POST /v1/sessions/{id}/rollback":                       {"session", none},
		"POST /v1/sessions/{id}/fork":                           {"session", none},
		"POST /v1/sessions/{id}/restart":                        {"session", none},
		"DELETE /v1/sessions/{id}/files/{path}":                 {"session", nil},
		"DELETE /v1/sessions/{id}":                              {"session", nil},
		"DELETE /v1/keys/{id}":                                  {"key", nil},
		"POST /v1/queues/{name}/pause":                          {"queue", none},
		"POST /v1/queues/{name}/resume":                         {"queue", none},
		"GET /v1/queues/{name}/tasks":                           {"queue", nil},
		"POST /v1/runners/{id}/drain":                           {"runner", none},
		"POST /v1/runners/{id}/resume":                          {"runner", none},
		"GET /v1/batches/{id}":                                  {"ended batch", nil},
		"GET /v1/batches/{id}/results":                          {"ended batch", nil},
		"GET /v1/batches/{id}/archive":                          {"ended batch", nil},
		"GET /v1/batches/{id}/events":                           {"ended batch", nil},
		"POST /v1/batches/{id}/lines":                           {"cut batch", `{"code":"2"}`},
		"DELETE /v1/batches/{id}":                               {"batch", nil},
		"POST /v1/batches/{id}/rerun":                           {"ended batch", fields{"status": []string{"ok"}}},
		"DELETE /v1/batches/{id}/record":                        {"ended batch", nil},
		"GET /v1/environments/{id}":                             {"environment", nil},
		"GET /v1/schedules/{id}":                                {"schedule", nil},
		"PUT /v1/schedules/{id}":                                {"schedule", aSchedule()},
		"POST /v1/schedules/{id}/pause":                         {"schedule", none},
		"POST /v1/schedules/{id}/resume":                        {"schedule", none},
		"POST /v1/schedules/{id}/run":                           {"schedule", none},
		"DELETE /v1/schedules/{id}":                             {"schedule", nil},
		"POST /v1/sessions/{id}/packages":                       {"session", fields{"packages": []string{"alpha"}}},
		"GET /v1/sessions/{id}/contexts":                        {"session", nil},
		"POST /v1/sessions/{id}/contexts":                       {"session", none},
		"DELETE /v1/sessions/{id}/contexts/{contextId}":         {"session with a context", nil},
		"POST /v1/sessions/{id}/contexts/{contextId}/restart":   {"session with a context", none},
		"POST /v1/sessions/{id}/contexts/{contextId}/interrupt": {"session with a context", none},
	}
}

// walkedCommands is walked for the commands of a session.
func walkedCommands() map[string]struct {
	of   string
	body any
} {
	type way = struct {
		of   string
		body any
	}
	const one = "/v1/sessions/{id}/commands/{command}"
	return map[string]way{
		"GET /v1/sessions/{id}/commands":            {"session", nil},
		"POST /v1/sessions/{id}/commands":           {"session", fields{"command": "true"}},
		"GET " + one:                                {"session", nil},
		"GET " + one + "/events":                    {"session", nil},
		"POST " + one + "/input":                    {"session", fields{"data": "x"}},
		"POST " + one + "/signal":                   {"session", fields{"signal": "WINCH"}},
		"POST " + one + "/resize":                   {"session", fields{"columns": 1, "rows": 1}},
		"DELETE " + one:                             {"session", nil},
		"GET /v1/sessions/{id}/commands/ws":         {"session", nil},
		"GET " + one + "/ws":                        {"session", nil},
		"GET /v1/sessions/{id}/ports/{port}/{path}": {"session", nil},
		"GET /v1/sessions/{id}/ports/{port}":        {"session", nil},
	}
}

// fsQuery is the query of an operation on all files of a session. The copy comes before the move.
func fsQuery(method, path string) string {
	switch {
	case method == http.MethodPost && strings.HasSuffix(path, "/fs/content"):
		return ""
	case !strings.HasSuffix(path, "/fs/entry"):
	case method == http.MethodPatch:
		return "?path=out&mode=700"
	case method == http.MethodDelete:
		return "?path=/tmp/moved&missing=true"
	default:
		return "?path=out"
	}
	for what, query := range map[string]string{
		"entries": "path=/work", "watch": "path=/work", "content": "path=out", "archive": "path=/work", "directory": "path=/tmp/made",
		"copy": "from=out&to=/tmp/copied", "move": "from=/tmp/copied&to=/tmp/moved",
	} {
		if strings.HasSuffix(path, "/fs/"+what) {
			return "?" + query
		}
	}
	return ""
}

// TestTenantsSeeNothingOfEachOther calls every operation that takes an id with another tenant's: it is
// answered as an id that never was. A new operation fails the test until walked says how to call it.
func TestTenantsSeeNothingOfEachOther(t *testing.T) {
	t.Parallel()
	index := testenv.PackageIndex(t, testenv.Wheel{Name: "alpha", Version: "1"})
	acme, rival := withTenants(t, "KAA_UV="+testenv.UV(t), "KAA_PACKAGE_INDEX="+index.URL)
	admin := acme.as(adminOfTests)
	ids := map[string]string{
		"job":     acme.submit(fields{"code": "open('out', 'w').write('x')"}, "Idempotency-Key: the same"),
		"waiting": acme.submit(fields{"code": "1", "delay": 3600}),
		"session": acme.open(fields{}),
	}
	acme.await(ids["job"])
	acme.in(ids["session"], "open('out', 'w').write('x')")
	made := admin.call(http.MethodPost, "/v1/keys", fields{"tenant": "acme", "name": "second"})
	if made.status != http.StatusCreated {
		t.Fatalf("%d %s", made.status, made.raw)
	}
	ids["key"], ids["queue"], ids["runner"] = made.str("id"), "low", admin.runnerIDs()[0]
	ids["ended batch"] = acme.batch("", `{"batch":{"keepLines":true,"archive":true}}`+"\n"+`{"code":"1"}`).str("id")
	acme.awaitArchive(ids["ended batch"])
	ids["cut batch"] = acme.cutBatch("", `{"code":"1"}`+"\n")
	ids["calling"] = acme.submit(calling("f()", fields{"timeout": 3000, "limits": fields{"callSeconds": 3000}}))
	calls := acme.stream(http.MethodGet, "/v1/jobs/"+ids["calling"]+"/events", nil, "Authorization: Bearer "+acme.key)
	calls.await(isCall)
	calls.close()
	ids["batch"] = acme.batch("", `{"code":"import time; time.sleep(3000)","timeout":3000}`).str("id") // nothing of the tenant's runs after it
	ids["paused"] = acme.open(fields{})
	ids["name"], ids["own name"] = "chat-1", "chat-2"
	if a := acme.call(http.MethodPut, "/v1/sessions/by-name/chat-1", fields{}); a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	ids["volume"] = "files-1"
	withVolume := acme.persistent(ids["volume"])
	acme.in(withVolume, "open('out', 'w').write('x')")
	acme.end(withVolume)
	acme.volume(ids["volume"], func(a answer) bool { return a.str("savedAt") != "" && a.str("sessionId") == "" })
	ids["session with a context"] = acme.open(fields{})
	inContext := acme.context(ids["session with a context"], fields{})
	ids["schedule"] = acme.call(http.MethodPost, "/v1/schedules", aSchedule()).str("id")
	ids["environment"] = acme.call(http.MethodPost, "/v1/environments", fields{"packages": []string{"alpha"}}).str("id")
	ids["command"] = acme.call(http.MethodPost, "/v1/sessions/"+ids["session"]+"/commands", fields{"command": "sleep 3000", "background": true, "terminal": fields{"columns": 80, "rows": 24}}).str("id")
	ways := walked()
	maps.Copy(ways, walkedCommands())
	never := uuid.Must(uuid.NewV7()).String()
	call := func(k *kaa, operation, id string) (int, string) {
		method, path, _ := strings.Cut(operation, " ")
		command := ids["command"]
		if id == never {
			command = never
		}
		if k != rival && strings.HasSuffix(path, "/events") && strings.Contains(path, "{command}") {
			done := k.call(http.MethodPost, "/v1/sessions/"+id+"/commands", fields{"command": "true", "background": true}).str("id")
			command = done // which has an end
		}
		path = strings.NewReplacer("{id}", id, "{name}", id, "{path}", "out", "{command}", command, "{callId}", "1-1", "{port}", "8000", "{contextId}", inContext).Replace(path)
		headers := []string(nil)
		if strings.HasSuffix(path, "/lines") {
			path += "?from=1"
		}
		path += fsQuery(method, path)
		if strings.HasSuffix(path, "/ws") {
			headers = []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}
		}
		switch ways[operation].body {
		case "content":
			headers = append(headers, "Content-Type: application/octet-stream")
		case aForm:
			headers = append(headers, "Content-Type: multipart/form-data; boundary=b")
		}
		a := k.call(method, path, ways[operation].body, headers...)
		return a.status, strings.ReplaceAll(a.raw, id, "ID")
	}
	for _, operation := range acme.operationsWithIDs() {
		way, ok := ways[operation]
		if !ok {
			t.Errorf("%s: say in walked how to call it", operation)
			continue
		}
		if way.of == "own name" {
			continue // TestNamedSession: each tenant has names of its own
		}
		status, body := call(rival, operation, ids[way.of])
		unknownStatus, unknownBody := call(rival, operation, never)
		if status != unknownStatus || body != unknownBody || status != http.StatusNotFound && status != http.StatusForbidden {
			t.Errorf("%s: another tenant's id is answered with %d %s, one that never was with %d %s", operation, status, body, unknownStatus, unknownBody)
		}
	}
	// The calls were right: the owner's succeed. What ends something comes last, files before what
	// has them.
	order := slices.Sorted(maps.Keys(ways))
	slices.SortStableFunc(order, func(a, b string) int {
		isDelete := func(o string) int { return strings.Count(o, "DELETE") }
		return cmp.Or(cmp.Compare(isDelete(a), isDelete(b)), isDelete(a)*cmp.Compare(len(b), len(a)))
	})
	for _, operation := range order {
		k := acme
		if slices.Contains([]string{"key", "queue", "runner"}, ways[operation].of) {
			k = admin
		}
		if strings.HasSuffix(operation, "/ws") || strings.HasSuffix(operation, "/fs/watch") {
			continue // TestTenantsOfSockets, TestWatchFiles: they have no end
		}
		if strings.HasSuffix(operation, "/ports/{port}/{path}") {
			continue // TestPorts: a server has to listen
		}
		if strings.HasSuffix(operation, "/{command}") && strings.HasPrefix(operation, "DELETE") {
			continue // TestCommandInput; here the restart of the session has ended it
		}
		if strings.HasSuffix(operation, "/drain") {
			continue // TestDrainedRunner; here it would end the session
		}
		if status, body := call(k, operation, ids[ways[operation].of]); status >= http.StatusBadRequest {
			t.Errorf("%s of its owner: %d %s", operation, status, body)
		}
	}
	acme.knowsItsKeys(t)
}

// knowsItsKeys: docs/architecture/bounds.md says of each key in Redis what keeps a tenant from filling it.
func (k *kaa) knowsItsKeys(t *testing.T) {
	t.Helper()
	kinds := testenv.ReadKeyKinds(t)
	keys, err := k.redis.Client(t).Keys(t.Context(), "{kaa}:*").Result()
	if err != nil || len(keys) < 20 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	for _, key := range keys {
		if kinds.Of(key) == "" {
			t.Errorf("docs/architecture/bounds.md does not list the key %s", key)
		}
	}
}

// TestTenantsInBodies: nor does an id of another tenant's do anything in a body, a header, a query or
// a list.
func TestTenantsInBodies(t *testing.T) {
	t.Parallel()
	acme, rival := withTenants(t, "KAA_TOMBSTONE_TTL=1h")
	session := acme.open(fields{})
	checkpoint := acme.call(http.MethodPost, "/v1/sessions/"+session+"/checkpoint", fields{}).str("checkpointId")
	ofSession := acme.context(session, fields{})
	id := acme.submit(fields{"code": "print('acme')"}, "Idempotency-Key: one")
	acme.await(id)
	never := uuid.Must(uuid.NewV7()).String()
	for name, body := range map[string]func(id string) (path string, body fields){
		"execute": func(id string) (string, fields) { return executePath, fields{"code": "1", "sessionId": id} },
		"job":     func(id string) (string, fields) { return "/v1/jobs", fields{"code": "1", "sessionId": id} },
		"batch": func(id string) (string, fields) {
			return "/v1/jobs:batch", fields{"jobs": []fields{{"code": "1", "sessionId": id}}}
		},
	} {
		path, with := body(session)
		_, without := body(never)
		a, b := rival.call(http.MethodPost, path, with), rival.call(http.MethodPost, path, without)
		if a.status != b.status || a.raw != b.raw || !strings.Contains(a.raw, "404") && a.status != http.StatusNotFound {
			t.Errorf("%s: %d %s, of one that never was %d %s", name, a.status, a.raw, b.status, b.raw)
		}
	}
	own := rival.open(fields{})
	for _, a := range []answer{
		rival.call(http.MethodPost, executePath, fields{"code": "1", "sessionId": own, "contextId": ofSession}),
		rival.call(http.MethodDelete, "/v1/sessions/"+own+"/contexts/"+ofSession, nil),
		rival.call(http.MethodPost, "/v1/sessions/"+own+"/contexts/"+ofSession+"/restart", fields{}),
		rival.call(http.MethodPost, "/v1/sessions/"+own+"/contexts/"+ofSession+"/interrupt", fields{}),
	} {
		if a.status != http.StatusNotFound || a.str("code") != "context_not_found" {
			t.Errorf("a context of another tenant's session: %d %s", a.status, a.raw)
		}
	}
	if a := rival.call(http.MethodPost, "/v1/sessions/"+own+"/rollback", fields{"checkpointId": checkpoint}); a.status < http.StatusBadRequest {
		t.Errorf("a checkpoint of another tenant's session: %d %s", a.status, a.raw)
	}
	// An idempotency key is the tenant's, and any key of the tenant's may repeat the call.
	if other := rival.submit(fields{"code": "print('acme')"}, "Idempotency-Key: one"); other == id {
		t.Error("another tenant's Idempotency-Key replays a job")
	}
	second := acme.as(acme.as(adminOfTests).call(http.MethodPost, "/v1/keys", fields{"tenant": "acme"}).str("key"))
	second.await(id)
	if again := second.submit(fields{"code": "print('acme')"}, "Idempotency-Key: one"); again != id {
		t.Errorf("another key of the tenant makes job %s, and not %s", again, id)
	}
	if second.in(session, "print(1)") != "1\n" {
		t.Error("another key of the tenant does not reach the session")
	}
	// Lists, counts, and a cursor of another tenant's.
	for _, path := range []string{"/v1/jobs", "/v1/sessions", "/v1/jobs?queue=default&state=completed", "/v1/jobs?cursor=" + never, "/v1/jobs?queue=sessions"} {
		if a := rival.call(http.MethodGet, path, nil); a.status != http.StatusOK || strings.Contains(a.raw, id) || strings.Contains(a.raw, session) {
			t.Errorf("%s: %d %s", path, a.status, a.raw)
		}
		if a := acme.as(adminOfTests).call(http.MethodGet, path, nil); path != "/v1/sessions" && path != "/v1/jobs?queue=sessions" && !strings.Contains(a.raw, id) {
			t.Errorf("%s of the operator: %d %s", path, a.status, a.raw)
		}
	}
	batch := acme.batch("", `{"code":"1"}`, "Idempotency-Key: two").str("id")
	if other := rival.batch("", `{"code":"1"}`, "Idempotency-Key: two").str("id"); other == batch {
		t.Error("another tenant's Idempotency-Key replays a batch")
	}
	for _, path := range []string{"/v1/batches", "/v1/batches?cursor=" + batch[:14] + "8fff-bfff-ffffff000000"} {
		if a := rival.call(http.MethodGet, path, nil); a.status != http.StatusOK || strings.Contains(a.raw, batch) {
			t.Errorf("%s: %d %s", path, a.status, a.raw)
		}
		if a := acme.as(adminOfTests).call(http.MethodGet, path, nil); !strings.Contains(a.raw, batch) {
			t.Errorf("%s of the operator: %d %s", path, a.status, a.raw)
		}
	}
	ofBatch := job.BatchJobID(batch, 0)
	acme.await(ofBatch)
	if a, never := rival.call(http.MethodGet, "/v1/jobs/"+ofBatch, nil), rival.call(http.MethodGet, "/v1/jobs/"+never, nil); a.status != http.StatusNotFound || a.raw != never.raw {
		t.Errorf("a job of another tenant's batch: %d %s", a.status, a.raw)
	}
	acme.submit(fields{"code": "1", "delay": 3600})
	if a := rival.call(http.MethodGet, "/v1/queues", nil); strings.Contains(a.raw, `"scheduled":1`) {
		t.Errorf("queues show another tenant's jobs: %s", a.raw)
	}
	if a := acme.call(http.MethodGet, "/v1/queues", nil); !strings.Contains(a.raw, `"scheduled":1`) {
		t.Errorf("queues do not show the tenant's own job: %s", a.raw)
	}
	// After its record has expired, too.
	short := acme.submit(fields{"code": "1"})
	acme.await(short)
	acme.expire(short)
	if a := acme.call(http.MethodGet, "/v1/jobs/"+short, nil); a.status != http.StatusGone {
		t.Errorf("an expired job of its tenant: %d %s", a.status, a.raw)
	}
	if a := rival.call(http.MethodGet, "/v1/jobs/"+short, nil); a.status != http.StatusNotFound {
		t.Errorf("an expired job of another tenant: %d %s", a.status, a.raw)
	}
}

// expire lets the time to live of a job's record run out.
func (k *kaa) expire(id string) {
	k.tb.Helper()
	if n, err := k.redis.Client(k.tb).Del(k.tb.Context(), "{kaa}:job:"+id).Result(); n != 1 || err != nil {
		k.tb.Fatalf("expire %s: %d, %v", id, n, err)
	}
}

// TestActingForATenant: an operator sees all, and acts for a tenant with the rights of its keys.
func TestActingForATenant(t *testing.T) {
	t.Parallel()
	acme, rival := withTenants(t)
	admin := acme.as(adminOfTests)
	id := acme.submit(fields{"code": "1"})
	acme.await(id)
	admin.await(id)
	if a := admin.call(http.MethodGet, "/v1/jobs/"+id, nil, "Kaa-Tenant: rival"); a.status != http.StatusNotFound {
		t.Errorf("for the other tenant: %d %s", a.status, a.raw)
	}
	made := admin.submit(fields{"code": "1"}, "Kaa-Tenant: rival")
	rival.await(made)
	if a := acme.call(http.MethodGet, "/v1/jobs/"+made, nil); a.status != http.StatusNotFound {
		t.Errorf("what was made for the other tenant: %d %s", a.status, a.raw)
	}
	for header, want := range map[string]int{"Kaa-Tenant: acme": http.StatusForbidden, "Kaa-Tenant: a/b": http.StatusForbidden} {
		if a := rival.call(http.MethodGet, "/v1/jobs", nil, header); a.status != want || a.str("scope") != "admin" {
			t.Errorf("%s of a tenant: %d %s", header, a.status, a.raw)
		}
	}
	for _, name := range []string{"a/b", "", "a,b", "@acme", "*"} {
		if a := admin.call(http.MethodGet, "/v1/jobs", nil, "Kaa-Tenant: "+name); a.status != http.StatusBadRequest {
			t.Errorf("a name that no tenant has, %q: %d %s", name, a.status, a.raw)
		}
	}
	if a := admin.call(http.MethodGet, "/v1/keys", nil, "Kaa-Tenant: acme"); a.status != http.StatusForbidden {
		t.Errorf("keys, for a tenant: %d %s", a.status, a.raw)
	}
}
