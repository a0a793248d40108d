package app_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// operations are those of the OpenAPI document, each with its method and its path, in one order.
func (k *kaa) operations() [][2]string {
	k.tb.Helper()
	var document struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	a := k.call(http.MethodGet, "/openapi.json", nil)
	if err := json.Unmarshal([]byte(a.raw), &document); err != nil {
		k.tb.Fatal(err)
	}
	var all [][2]string
	for path, methods := range document.Paths {
		for method := range methods {
			all = append(all, [2]string{strings.ToUpper(method), path})
		}
	}
	slices.SortFunc(all, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	return all
}

// jobOperations are the operations that take the id of a job, of the OpenAPI document: what is added
// to Kaa is among them by itself.
func (k *kaa) jobOperations() [][2]string {
	k.tb.Helper()
	all := slices.DeleteFunc(k.operations(), func(o [2]string) bool { return !strings.HasPrefix(o[1], "/v1/jobs/{id}") })
	if len(all) < 6 {
		k.tb.Fatalf("operations on jobs: %v", all)
	}
	return all
}

// jobCall returns the path and the body with which an operation on a job is called. One that needs a body is
// refused without it, whichever job it names.
func jobCall(path, id string) (string, any) {
	var body any
	if strings.HasSuffix(path, "/calls/{callId}") {
		body = fields{"value": 1}
	}
	return strings.NewReplacer("{id}", id, "{path}", "f", "{callId}", "1-1").Replace(path), body
}

// TestPrivateExecutions: to other keys, what a session executes is not there, in any operation and
// listing, while it runs and after its end; a key that may see all does.
func TestPrivateExecutions(t *testing.T) {
	t.Parallel()
	const mine, strange, admin = "key-of-the-owner-1", "key-of-a-stranger", "key-of-the-operator"
	k := start(t, 1, "KAA_API_KEYS="+mine+","+strange, "KAA_ADMIN_KEYS="+admin)
	as := func(key string) { k.key = key }
	as(mine)
	session := k.open(nil)
	done := k.await(k.submit(fields{"code": "open('f', 'w').write('secret')\nprint('secret')", "sessionId": session})).str("id")
	// It ignores interrupts: a cancel would end the session.
	running := k.submit(fields{"code": "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ninput_ = 'secret'\nprint('begun')\nwhile True: pass", "sessionId": session, "timeout": 600})
	operations := k.jobOperations()
	missing := k.call(http.MethodGet, "/v1/jobs/018f0000-0000-7000-8000-000000000000", nil)

	as(strange)
	for _, id := range []string{done, running} {
		for _, op := range operations {
			path, body := jobCall(op[1], id)
			a := k.call(op[0], path, body)
			if a.status != http.StatusNotFound || a.str("detail") != missing.str("detail") || strings.Contains(a.raw, "secret") {
				t.Errorf("%s %s of a stranger: %d %s", op[0], path, a.status, a.raw)
			}
		}
		if a := k.call(http.MethodGet, "/v1/jobs/"+id+"?wait=1s", nil); a.status != http.StatusNotFound {
			t.Errorf("waiting: %d %s", a.status, a.raw)
		}
	}
	for _, query := range []string{"", "?queue=sessions", "?state=running", "?queue=sessions&limit=1", "?queue=sessions:of:" + session} {
		if a := k.call(http.MethodGet, "/v1/jobs"+query, nil); a.status != http.StatusOK || strings.Contains(a.raw, session) || a.str("nextCursor") != "" {
			t.Errorf("%q lists for a stranger: %d %s", query, a.status, a.raw)
		}
	}
	for _, key := range []string{mine, strange, admin} {
		as(key)
		if a := k.call(http.MethodGet, "/v1/jobs?queue=operations", nil); a.status != http.StatusBadRequest {
			t.Errorf("operations are listed: %d %s", a.status, a.raw)
		}
	}

	// The owner still has all of it, and the session lives.
	as(mine)
	if a := k.call(http.MethodGet, sessionsPath+"/"+session, nil); a.str("state") != "busy" {
		t.Errorf("the session: %s", a.raw)
	}
	if a := k.call(http.MethodGet, "/v1/jobs/"+done+"/files/f", nil); a.raw != "secret" {
		t.Errorf("the owner's file: %d %s", a.status, a.raw)
	}
	as(admin)
	for _, query := range []string{"/v1/jobs", "/v1/jobs?queue=sessions", sessionsPath} {
		if a := k.call(http.MethodGet, query, nil); !strings.Contains(a.raw, session) {
			t.Errorf("%s of the operator: %d %s", query, a.status, a.raw)
		}
	}
	if a := k.call(http.MethodGet, "/v1/jobs/"+done, nil); a.str("result.stdout") != "secret\n" {
		t.Errorf("the operator reads: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodPost, executePath, fields{"code": "1", "sessionId": session}); a.status != http.StatusNotFound {
		t.Errorf("the operator executes in it: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodDelete, sessionsPath+"/"+session, nil); a.str("state") != "ended" {
		t.Errorf("the operator ends it: %d %s", a.status, a.raw)
	}
	as(mine)
	k.wantEnded(session, "deleted")
}

// TestPrivateAfterExpiry: that a record has expired is for its owner to know.
func TestPrivateAfterExpiry(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_API_KEYS=key-of-the-owner-1,key-of-a-stranger")
	k.key = "key-of-the-owner-1"
	session := k.open(nil)
	id := k.await(k.submit(fields{"code": "1", "sessionId": session})).str("id")
	k.expire(id)
	if a := k.call(http.MethodGet, "/v1/jobs/"+id, nil); a.status != http.StatusGone {
		t.Fatalf("for its owner: %d %s", a.status, a.raw)
	}
	k.key = "key-of-a-stranger"
	for _, op := range k.jobOperations() {
		path, body := jobCall(op[1], id)
		if a := k.call(op[0], path, body); a.status != http.StatusNotFound {
			t.Errorf("%s %s: %d %s", op[0], path, a.status, a.raw)
		}
	}
}

// TestRebinding: what a page sends whose name is made to point to this machine does nothing where there
// are no keys, and names that are allowed work.
func TestRebinding(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_ALLOWED_HOSTS=kaa.test")
	for host, want := range map[string]int{"rebound.example:8080": http.StatusMisdirectedRequest, "kaa.test": http.StatusOK, "localhost": http.StatusOK} {
		for _, path := range []string{"/v1/jobs", "/docs", "/metrics"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, k.url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = host
			if a, err := k.read(req); err != nil || a.status != want {
				t.Errorf("%s %s: %d %v, want %d", host, path, a.status, err, want)
			}
		}
	}
	// Keys do what names do here.
	keyed := start(t, 0, "KAA_API_KEYS=a-key-of-some-length")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, keyed.url+"/v1/jobs", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "kaa.example"
	req.Header.Set("X-API-Key", "a-key-of-some-length")
	if a, err := keyed.read(req); err != nil || a.status != http.StatusOK {
		t.Errorf("with a key: %d %v", a.status, err)
	}
}

// TestShortKeys: keys that can be guessed are told of, without showing them.
func TestShortKeys(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_API_KEYS=hunter2,a-key-of-some-length")
	lines := strings.Split(k.logs.String(), "\n")
	if !slices.ContainsFunc(lines, func(l string) bool {
		return strings.Contains(l, `"WARN"`) && strings.Contains(l, "can be guessed") && strings.Contains(l, `"keys":1`)
	}) || strings.Contains(k.logs.String(), "hunter2") {
		t.Errorf("log: %s", k.logs)
	}
}
