package app_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
