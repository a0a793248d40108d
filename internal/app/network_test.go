package app_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestNetwork: a request allows destinations within what the operator allows, of an execution, a job and a session; the result and the job's
// record have what the code did, and the log has it, too.
func TestNetwork(t *testing.T) {
	t.Parallel()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("reached")) }))
	t.Cleanup(site.Close)
	_, port, _ := net.SplitHostPort(site.Listener.Addr().String())
	k := start(t, 1, "KAA_SANDBOX=strict", "KAA_EGRESS=127.0.0.1:*,*.example.com", "KAA_EGRESS_PRIVATE=127.0.0.1")
	// Clients do not ask the proxy for addresses of the loopback unless they are told to.
	code := "import urllib.request as u\nfor to in '127.0.0.1:" + port + "', '127.0.0.1:1':\n" +
		"    r = u.Request('http://' + to)\n    r.set_proxy('127.0.0.1:3128', 'http')\n" +
		"    try: print(u.urlopen(r).read().decode())\n    except u.HTTPError as e: print(e.code)"
	network := fields{"allow": []string{"127.0.0.1:" + port}}
	check := func(what string, a answer, at string) {
		t.Helper()
		if a.str(at+"stdout") != "reached\n403\n" || a.str(at+"network.connections") != "1" || a.str(at+"network.refused") != "1" ||
			!strings.Contains(a.raw, `"outcome":"not_allowed"`) {
			t.Errorf("%s: %d %s", what, a.status, a.raw)
		}
	}
	check("an execution", k.execute(fields{"code": code, "network": network}), "")
	check("a job", k.await(k.submit(fields{"code": code, "network": network})), "result.")
	id := k.open(fields{"network": network})
	check("a session", k.execute(fields{"code": code, "sessionId": id}), "")
	check("a command of it", k.execute(fields{"argv": []string{"python3", "-c", code}, "sessionId": id}), "")
	if a := k.execute(fields{"code": "print(1)"}); strings.Contains(a.raw, "network") {
		t.Errorf("an execution without a network: %s", a.raw)
	}
	if log := k.logs.String(); !strings.Contains(log, "network: code asks for a destination") || !strings.Contains(log, "not_allowed") {
		t.Error("the log has no destination")
	}
	if a := k.call(http.MethodGet, "/v1/runners", nil); !strings.Contains(a.raw, `"egress":true`) {
		t.Errorf("%s", a.raw)
	}
	for body, want := range map[string]string{
		`{"code": "1", "network": {"allow": ["pypi.org"]}}`:                  `body.network.allow[0]: "pypi.org" is not allowed; the operator allows 127.0.0.1:*, *.example.com`,
		`{"code": "1", "network": {"allow": ["a.example.com", "127.1"]}}`:    "body.network.allow[1]: \"127.1\" has an address in an unusual notation",
		`{"code": "1", "network": {}}`:                                       "network",
		`{"code": "1", "network": {"allow": "*"}}`:                           "network",
		`{"code": "1", "sessionId": "` + id + `", "network": {"allow": []}}`: "body.network: cannot be chosen for one execution of a session",
	} {
		if a := k.call(http.MethodPost, executePath, body); a.status != http.StatusBadRequest || !strings.Contains(a.str("detail"), want) {
			t.Errorf("%s: %d %s", body, a.status, a.raw)
		}
	}
}

// TestNetworkOff: without KAA_EGRESS no request is allowed any destination.
func TestNetworkOff(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	for _, path := range []string{executePath, "/v1/jobs", sessionsPath} {
		body := fields{"code": "1", "network": fields{"allow": []string{"pypi.org"}}}
		if path == sessionsPath {
			delete(body, "code")
		}
		if a := k.call(http.MethodPost, path, body); a.status != http.StatusBadRequest || !strings.Contains(a.str("detail"), "KAA_EGRESS") {
			t.Errorf("%s: %d %s", path, a.status, a.raw)
		}
	}
}

// TestSecretsAreReadAgain: a change of the file of secrets holds in the API and for sandboxes that run, without a restart. One that is wrong changes
// nothing, and the log says why.
func TestSecretsAreReadAgain(t *testing.T) {
	t.Parallel()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Header.Get("X-Key"))) }))
	t.Cleanup(site.Close)
	_, port, _ := net.SplitHostPort(site.Listener.Addr().String())
	file := filepath.Join(t.TempDir(), "secrets.json")
	write := func(name, value string) {
		t.Helper()
		text := `{"secrets": [{"name": "` + name + `", "value": "` + value + `", "to": ["127.0.0.1:` + port + `"], "tenants": ["*"], "plain": true}]}`
		replaceFile(t, file, text)
	}
	write("site", "one")
	k := start(t, 1, "KAA_SANDBOX=strict", "KAA_EGRESS=127.0.0.1:*", "KAA_EGRESS_PRIVATE=127.0.0.1", "KAA_EGRESS_INTERCEPT=true", "KAA_SECRETS_FILE="+file)
	network := func(name string) fields {
		return fields{"http": []fields{{"to": "127.0.0.1:" + port, "headers": fields{"X-Key": fields{"secret": name}}}}}
	}
	id := k.open(fields{"network": network("site")})
	fetched := func() string {
		return k.in(id, "import http.client\nc = http.client.HTTPConnection('127.0.0.1', 3128)\nc.request('GET', 'http://127.0.0.1:"+port+"/')\nprint(c.getresponse().read().decode().strip())")
	}
	if got := fetched(); got != "one\n" {
		t.Fatalf("%q", got)
	}
	write("site", "two")
	testenv.Eventually(t, "the new value in a session that runs", func() bool { return fetched() == "two\n" })
	replaceFile(t, file, "{")
	testenv.Eventually(t, "the log to say that the file is wrong", func() bool {
		return strings.Contains(k.logs.String(), "the secrets of KAA_SECRETS_FILE stay as they were")
	})
	if got := fetched(); got != "two\n" {
		t.Errorf("after a file that is wrong: %q", got)
	}
	write("other", "three")
	accepted := func(name string) func() bool {
		return func() bool {
			return k.call(http.MethodPost, executePath, fields{"code": "1", "network": network(name)}).status == http.StatusOK
		}
	}
	testenv.Eventually(t, "a new secret", accepted("other"))
	if accepted("site")() {
		t.Error("a secret that is gone is accepted")
	}
	testenv.Eventually(t, "a secret that is gone to be refused", func() bool { return strings.Contains(fetched(), "this runner does not have the secret site") })
}

// TestNetworkSecrets: a request may name those secrets of the operator that are for its tenant and go where they may go. The value reaches the
// destination, and is in no answer, record or log.
func TestNetworkSecrets(t *testing.T) {
	t.Parallel()
	const value = "Bearer s3cret-s3cret-s3cret"
	var seen atomic.Value
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization"))
		_, _ = w.Write([]byte("reached"))
	}))
	t.Cleanup(site.Close)
	_, port, _ := net.SplitHostPort(site.Listener.Addr().String())
	dir := t.TempDir()
	secrets, keys := filepath.Join(dir, "secrets.json"), filepath.Join(dir, "keys.json")
	file := `{"secrets": [{"name": "site", "value": "` + value + `", "to": ["127.0.0.1:` + port + `"], "tenants": ["acme"], "plain": true}]}`
	if err := os.WriteFile(secrets, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	acme, other := access.NewSecret(), access.NewSecret()
	keysFile(t, keys, tenantKey("acme", acme), tenantKey("other", other))
	k := start(t, 1, "KAA_SANDBOX=strict", "KAA_EGRESS=127.0.0.1:*,b.example", "KAA_EGRESS_PRIVATE=127.0.0.1", "KAA_EGRESS_INTERCEPT=true", "KAA_SECRETS_FILE="+secrets, "KAA_API_KEYS_FILE="+keys)
	request := func(to string) fields {
		return fields{
			"code": "import http.client, os\nc = http.client.HTTPConnection('127.0.0.1', 3128)\nfor path in '/ok/x', '/no':\n" +
				"    c.request('GET', 'http://127.0.0.1:" + port + "' + path, headers={'Authorization': 'mine'})\n    r = c.getresponse()\n    print(r.status, r.read().decode().strip())\n" +
				"print('s3c' + 'ret' in str(os.environ), 'SSL_CERT_FILE' in os.environ)",
			"network": fields{"http": []fields{{"to": to, "methods": []string{"GET"}, "paths": []string{"/ok/*"}, "headers": fields{"Authorization": fields{"secret": "site"}}}}},
		}
	}
	own := k.as(acme)
	id := own.submit(request("127.0.0.1:" + port))
	a := own.await(id)
	want := "200 reached\n403 Kaa: network.http has no rule for such a request at 127.0.0.1:" + port + " (GET)\nFalse True\n"
	if a.str("result.stdout") != want || seen.Load() != "GET /ok/x "+value || !strings.Contains(a.raw, `"outcome":"request_not_allowed"`) {
		t.Errorf("%s\nthe site saw %v", a.raw, seen.Load())
	}
	all := a.raw + own.call(http.MethodGet, "/v1/jobs/"+id+"/request", nil).raw + k.logs.String()
	rdb := k.redis.Client(t)
	for _, name := range rdb.Keys(t.Context(), "*").Val() {
		all += rdb.Dump(t.Context(), name).Val()
	}
	if strings.Contains(all, "s3cret") {
		t.Error("the secret is to be seen")
	}
	if a := own.call(http.MethodPost, executePath, request("b.example")); a.status != http.StatusBadRequest || !strings.Contains(a.str("detail"), `body.network.http[0].headers.Authorization.secret: "site" may not go to b.example`) {
		t.Errorf("another destination: %d %s", a.status, a.raw)
	}
	stranger := k.as(other)
	for _, path := range []string{executePath, "/v1/jobs", sessionsPath} {
		body := request("127.0.0.1:" + port)
		if path == sessionsPath {
			delete(body, "code")
		}
		if a := stranger.call(http.MethodPost, path, body); a.status != http.StatusBadRequest || !strings.Contains(a.str("detail"), `"site" is no secret that this API key may use`) {
			t.Errorf("another tenant, %s: %d %s", path, a.status, a.raw)
		}
	}
	for body, want := range map[string]string{
		`{"code": "1", "network": {}}`:                                                                                  "body.network: names no destination",
		`{"code": "1", "network": {"http": [{"methods": ["GET"]}]}}`:                                                    "to",
		`{"code": "1", "network": {"http": [{"to": "b.example", "path": "/"}]}}`:                                        "path",
		`{"code": "1", "network": {"http": [{"to": "b.example", "headers": {"A": "literal"}}]}}`:                        "headers",
		`{"code": "1", "network": {"http": [{"to": "b.example", "headers": {"A": {"secret": "site", "value": "x"}}}]}}`: "value",
	} {
		if a := own.call(http.MethodPost, executePath, body); a.status != http.StatusBadRequest || !strings.Contains(a.raw, want) {
			t.Errorf("%s: %d %s", body, a.status, a.raw)
		}
	}
}
