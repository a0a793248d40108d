package app_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/access"
)

// atHost sends a request to a host name that leads to this Kaa, with no key but that of the headers.
func (k *kaa) atHost(t *testing.T, host, path string, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, k.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	a, err := k.read(r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// portHosts: a port has a host name, which is signed for browsers, and reached with a key otherwise.
func (k *kaa) portHosts(t *testing.T, session string, other *kaa) {
	t.Helper()
	link := k.call(http.MethodGet, sessionsPath+"/"+session+"/ports/8000", nil)
	u, err := url.Parse(link.str("url"))
	if err != nil || link.str("path") != "/base"+sessionsPath+"/"+session+"/ports/8000/" || u.Scheme != "https" || !strings.HasSuffix(u.Host, ".ports.test:1234") {
		t.Fatalf("%d %s", link.status, link.raw)
	}
	a := k.atHost(t, u.Host, "/a?b", "Cookie: c=d", "Authorization: Basic abc")
	if a.status != http.StatusOK || !strings.HasPrefix(a.raw, "GET /a?b\n") || !strings.Contains(a.raw, "c=d") || !strings.Contains(a.raw, "Basic abc") || !strings.Contains(a.raw, "Host: "+u.Host+"\n") {
		t.Errorf("a signed name: %d %s", a.status, a.raw)
	}
	if a.header.Get("Set-Cookie") != "a=b" || a.header.Get("Content-Security-Policy") != "" {
		t.Errorf("%v", a.header)
	}
	plain := "8000-" + session + ".ports.test"
	key, rival := "Authorization: Bearer "+k.key, "Authorization: Bearer "+other.key
	if a := k.atHost(t, plain, "/", key); a.status != http.StatusOK || strings.Contains(a.raw, k.key) {
		t.Errorf("a name without a signature: %d %s", a.status, a.raw)
	}
	box := k.call(http.MethodPost, "/e2b/sandboxes/"+strings.ReplaceAll(session, "-", "")+"/connect", fields{"timeout": 300}, "X-API-Key: "+k.key)
	traffic := "E2b-Traffic-Access-Token: " + box.str("trafficAccessToken")
	ofSDK := "8000-" + box.str("sandboxID") + "." + box.str("domain")
	if a := k.atHost(t, ofSDK, "/", traffic); a.status != http.StatusOK || strings.Contains(a.raw, box.str("trafficAccessToken")) {
		t.Errorf("E2B's name %s: %d %s", ofSDK, a.status, a.raw)
	}
	// Another port, session, key or ticket.
	label, domain, _ := strings.Cut(u.Host, ".")
	unsigned := other.open(nil)
	for name, tt := range map[string]struct {
		host, header string
		status       int
	}{
		"no key":                           {plain, "A: b", http.StatusUnauthorized},
		"a wrong key":                      {plain, "Authorization: Bearer " + access.NewSecret(), http.StatusUnauthorized},
		"another tenant":                   {plain, rival, http.StatusNotFound},
		"another tenant's session":         {"8000-" + unsigned + ".ports.test", key, http.StatusNotFound},
		"the token of another sandbox":     {"8000-" + unsigned + ".ports.test", traffic, http.StatusUnauthorized},
		"a signature for another port":     {"8001" + strings.TrimPrefix(label, "8000") + "." + domain, "A: b", http.StatusUnauthorized},
		"a changed signature":              {label[:len(label)-4] + "aaaa." + domain, "A: b", http.StatusUnauthorized},
		"a changed signature and a key":    {label[:len(label)-4] + "aaaa." + domain, key, http.StatusUnauthorized},
		"a port where nothing listens":     {strings.Replace(plain, "8000", "8001", 1), key, http.StatusBadGateway},
		"the port of the proxy":            {strings.Replace(plain, "8000", "3128", 1), key, http.StatusNotFound},
		"a name that is none":              {"x.ports.test", key, http.StatusNotFound},
		"a name that is none, without key": {"x.ports.test", "A: b", http.StatusUnauthorized},
	} {
		if a := k.atHost(t, tt.host, "/", tt.header); a.status != tt.status {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
	// None of Kaa's own paths is there.
	for _, path := range []string{"/v1/key", "/base/v1/key"} {
		if a := k.atHost(t, u.Host, path); !strings.HasPrefix(a.raw, "GET "+path+"\n") {
			t.Errorf("%s: %d %s", path, a.status, a.raw)
		}
	}
	if a := k.atHost(t, "ports.test", "/healthz"); a.status != http.StatusOK {
		t.Errorf("the domain itself: %d %s", a.status, a.raw)
	}
}
