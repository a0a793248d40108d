package egress_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/egress"
	"github.com/kaa-run/kaa/internal/job"
)

// theSecret is a value that code must not see.
const theSecret = "Bearer s3cret-s3cret-s3cret"

// origin is a destination with TLS and one without, for all names of a certificate. It keeps what it was asked.
type origin struct {
	secure, plain string // ports
	roots         *x509.CertPool

	mu   sync.Mutex
	seen []string
}

func newOrigin(t *testing.T, names ...string) *origin {
	t.Helper()
	o := &origin{roots: x509.NewCertPool()}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "origin"}, DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	text, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	o.roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: text}))
	secure, plain := httptest.NewUnstartedServer(o), httptest.NewServer(o)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{text}, PrivateKey: key}}}
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	t.Cleanup(plain.Close)
	_, o.secure, _ = net.SplitHostPort(secure.Listener.Addr().String())
	_, o.plain, _ = net.SplitHostPort(plain.Listener.Addr().String())
	return o
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if to := r.URL.Query().Get("to"); to != "" {
		http.Redirect(w, r, to, http.StatusFound)
		return
	}
	if r.Header.Get("Upgrade") == "websocket" {
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfrom the socket with "+fmt.Sprint(r.Header.Get("Authorization") == theSecret))
			_ = c.Close()
		}
		return
	}
	body, _ := io.ReadAll(r.Body)
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	header := r.Header.Clone()
	header.Del("User-Agent")
	header.Del("Accept-Encoding")
	text := fmt.Sprintf("%s %s://%s%s %v %q", r.Method, scheme, r.Host, r.RequestURI, header, body)
	if len(r.Trailer) > 0 {
		text += fmt.Sprint(" trailer ", r.Trailer)
	}
	o.mu.Lock()
	o.seen = append(o.seen, text)
	o.mu.Unlock()
	_, _ = io.WriteString(w, "reached")
}

// last returns what was asked since the last call.
func (o *origin) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := strings.Join(o.seen, "\n")
	o.seen = nil
	return all
}

// secretFor is the secret "s" for destinations.
func secretFor(t *testing.T, to ...string) job.NetworkSecret {
	t.Helper()
	rules, err := job.ParseNetworkRules(to)
	if err != nil {
		t.Fatal(err)
	}
	return job.NetworkSecret{Name: "s", Value: theSecret, To: rules, Tenants: []string{"*"}}
}

// inspecting opens a door with rules for requests.
func inspecting(t *testing.T, o *origin, n job.Network, change ...func(*egress.Config)) (*egress.Door, string) {
	t.Helper()
	all, _ := job.ParseNetworkRules([]string{"*:*"})
	cfg := egress.Config{
		Allow: all, Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Connections: 64, Lookup: lookup,
		Intercept: true, Roots: o.roots, Secrets: job.NewNetworkSecrets(secretFor(t, "a.example:*")),
	}
	for _, f := range change {
		f(&cfg)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := egress.New(cfg).Open(l, n, "sandbox")
	t.Cleanup(d.Close)
	return d, l.Addr().String()
}

// trusting is a client that uses a proxy and trusts its authority alone.
func trusting(t *testing.T, scheme, proxy string, d *egress.Door) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(d.Authority()) {
		t.Fatal("the door has no authority")
	}
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: scheme, Host: proxy}), TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// fetched asks and returns status and body.
func fetched(t *testing.T, c *http.Client, method, to string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, strings.TrimSpace(string(body))
}

// rulesAt are a rule with a secret, and one without, for the ports of an origin.
func rulesAt(o *origin) job.Network {
	return job.Network{Allow: []string{"b.example:*", "a.example:" + o.plain}, HTTP: []job.HTTPRule{
		{To: "a.example:" + o.secure, Methods: []string{"GET"}, Paths: []string{"/ok/*"}, Headers: map[string]job.HeaderValue{"Authorization": {Secret: "s"}, "X-Api-Key": {Secret: "s"}}},
		{To: "a.example:" + o.secure, Methods: []string{"POST"}, Paths: []string{"/post"}},
		{To: "a.example:" + o.plain, Paths: []string{"/plain/*/end"}},
	}}
}

// TestIntercept: requests get through as the rules say, over TLS and without, with CONNECT, SOCKS and absolute URLs, and get their secrets on the way.
func TestIntercept(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "a.example", "b.example")
	d, proxy := inspecting(t, o, rulesAt(o))
	secure, plain := "https://a.example:"+o.secure, "http://a.example:"+o.plain
	sent := fmt.Sprintf("[%s]", theSecret)
	for _, test := range []struct {
		method, to string
		header     []string
		status     int
		want       string // of what the destination saw, or of the refusal
	}{
		{"GET", secure + "/ok/x?q=%2e%2e/", nil, 200, "GET https://a.example:" + o.secure + "/ok/x?q=%2e%2e/ map[Authorization:" + sent + " X-Api-Key:" + sent + "]"},
		{"GET", secure + "/ok/x/%61?", []string{"Authorization", "mine", "Cookie", "a=b"}, 200, "/ok/x/%61? map[Authorization:" + sent + " Cookie:[a=b]"},
		{"POST", secure + "/post", []string{"Authorization", "mine"}, 200, "POST https://a.example:" + o.secure + "/post map[Authorization:[mine]"},
		{"POST", secure + "/ok/x", nil, 403, "network.http has no rule for such a request at a.example:" + o.secure + " (POST)"},
		{"GET", secure + "/", nil, 403, "has no rule"},
		{"GET", secure, nil, 403, "has no rule"},
		{"GET", secure + "/ok", nil, 403, "has no rule"},
		{"HEAD", secure + "/ok/x", nil, 403, ""},
		{"TRACE", secure + "/ok/x", nil, 403, "TRACE is not allowed"},
		{"DELETE", plain + "/plain/x/end", nil, 200, "DELETE http://a.example:" + o.plain + "/plain/x/end map[]"},
		{"GET", plain + "/plain/x/y/end", nil, 403, "has no rule"},
		{"GET", plain + "/plain//end", nil, 403, "empty part"},
		{"GET", "http://b.example:" + o.plain + "/anything", nil, 200, "GET http://b.example"},
	} {
		for _, scheme := range []string{"http", "socks5h"} {
			status, body := fetched(t, trusting(t, scheme, proxy, d), test.method, test.to, test.header...)
			saw := o.last()
			if status != test.status || status == 200 && (body != "reached" || !strings.Contains(saw, test.want)) || status != 200 && (saw != "" || !strings.Contains(body, test.want)) {
				t.Errorf("%s %s by %s: %d %s\nthe destination saw %s", test.method, test.to, scheme, status, body, saw)
			}
		}
	}
	// What has no rules for requests is not looked into: its own certificate comes through.
	if status, body := fetched(t, trusting(t, "http", proxy, d), "GET", "https://b.example:"+o.secure+"/"); status != 0 || !strings.Contains(body, "certificate") {
		t.Errorf("b.example: %d %s", status, body)
	}
	socket := inTLS(t, d, proxy, "a.example", o.secure, "GET /ok/x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	if !strings.HasPrefix(socket, "HTTP/1.1 101") || !strings.HasSuffix(socket, "from the socket with true") {
		t.Errorf("a WebSocket: %q", socket)
	}
	u := d.Usage()
	found := map[job.NetworkOutcome]bool{}
	for _, to := range u.Destinations {
		found[to.Outcome] = true
	}
	if !found[job.NetworkRequest] || !found[job.NetworkConnected] || u.Refused != 16 {
		t.Errorf("%d refused, %s", u.Refused, outcomes(u))
	}
}

// inTLS sends a text through CONNECT and TLS and returns all that comes back.
func inTLS(t *testing.T, d *egress.Door, proxy, host, port, text string) string {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(d.Authority())
	c := dial(t, proxy)
	_, _ = io.WriteString(c, "CONNECT "+host+":"+port+" HTTP/1.1\r\nHost: x\r\n\r\n")
	line, err := bufio.NewReaderSize(c, 16).ReadString('\n') // the end of the answer follows
	if err != nil || !strings.Contains(line, "200") {
		t.Fatalf("%q, %v", line, err)
	}
	secure := tls.Client(&afterAnswer{TCPConn: c}, &tls.Config{RootCAs: pool, ServerName: host})
	if _, err := io.WriteString(secure, text); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(secure)
	return string(answer)
}

// afterAnswer leaves out what is before the first byte of TLS: the rest of the answer to CONNECT.
type afterAnswer struct {
	*net.TCPConn
	begun bool
}

func (a *afterAnswer) Read(p []byte) (int, error) {
	for !a.begun {
		one := make([]byte, 1)
		if _, err := a.TCPConn.Read(one); err != nil {
			return 0, err
		}
		if one[0] == 0x16 {
			a.begun = true
			p[0] = one[0]
			return 1, nil
		}
	}
	return a.TCPConn.Read(p)
}

// TestInterceptHostile: no request of hostile code gets where no rule leads, whatever form it has, and none keeps its secret out or gets at it.
func TestInterceptHostile(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "a.example", "b.example")
	d, proxy := inspecting(t, o, rulesAt(o))
	const end = "\r\nHost: a.example\r\nConnection: close\r\n\r\n"
	at := "https://a.example:" + o.secure
	for request, want := range map[string]string{ // what the destination has to see; nothing: it must see nothing
		"GET /ok/../admin HTTP/1.1" + end:                                    "",
		"GET /ok/%2e%2e/admin HTTP/1.1" + end:                                "",
		"GET /ok/.%2E/admin HTTP/1.1" + end:                                  "",
		"GET /ok/..%2fadmin HTTP/1.1" + end:                                  "",
		"GET /ok/%2e%2e%2fadmin HTTP/1.1" + end:                              "",
		"GET /ok/%252e%252e/admin HTTP/1.1" + end:                            "",
		"GET /ok/..;/admin HTTP/1.1" + end:                                   "",
		"GET /ok/..;a=b/admin HTTP/1.1" + end:                                "",
		"GET /ok/..\\admin HTTP/1.1" + end:                                   "",
		"GET /ok/%5c..%5cadmin HTTP/1.1" + end:                               "",
		"GET /ok/./x HTTP/1.1" + end:                                         "",
		"GET /ok//x HTTP/1.1" + end:                                          "",
		"GET //ok/x HTTP/1.1" + end:                                          "",
		"GET /ok/%00 HTTP/1.1" + end:                                         "",
		"GET /ok/%0d%0aX:y HTTP/1.1" + end:                                   "",
		"GET /admin#/ok/x HTTP/1.1" + end:                                    "",
		"GET /admin?/ok/x HTTP/1.1" + end:                                    "",
		"GET /OK/x HTTP/1.1" + end:                                           "",
		"GET ok/x HTTP/1.1" + end:                                            "",
		"GET * HTTP/1.1" + end:                                               "",
		"OPTIONS * HTTP/1.1" + end:                                           "",
		"get /ok/x HTTP/1.1" + end:                                           "",
		"DELETE /ok/x HTTP/1.1" + end:                                        "",
		"TRACE /ok/x HTTP/1.1" + end:                                         "",
		"CONNECT b.example:" + o.secure + " HTTP/1.1" + end:                  "",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":                                   "",
		"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n":                               "",
		"GET https://b.example:" + o.secure + "/ok/1 HTTP/1.1" + end:         "GET " + at + "/ok/1 map[Authorization:[" + theSecret + "]",
		"GET https://b.example/admin HTTP/1.1" + end:                         "",
		"GET /ok/2 HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n": "GET " + at + "/ok/2 map[Authorization:[" + theSecret + "]",
		"GET /ok/3 HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\nConnection: close\r\n\r\n":                                                                                                                                              "",
		"GET /ok/4 HTTP/1.1\r\nHost: x\r\nConnection: close, Authorization, X-Api-Key\r\n\r\n":                                                                                                                                               "/ok/4 map[Authorization:[" + theSecret + "] X-Api-Key:[" + theSecret + "]] ",
		"GET /ok/5 HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nauthorization: b\r\nX_Api_Key: c\r\nx-api_key: d\r\nConnection: close\r\n\r\n":                                                                                                 "/ok/5 map[Authorization:[" + theSecret + "] X-Api-Key:[" + theSecret + "]] ",
		"GET /ok/6 HTTP/1.1\r\nHost: x\r\nX-HTTP-Method-Override: DELETE\r\nX_Http_Method: PUT\r\nx-method-override: PATCH\r\nConnection: close\r\n\r\n":                                                                                     "/ok/6 map[Authorization:[" + theSecret + "] X-Api-Key:[" + theSecret + "]] ",
		"GET /ok/7 HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nConnection: Upgrade, HTTP2-Settings, close\r\n\r\n":                                                                                                          "/ok/7 map[Authorization:[" + theSecret + "] X-Api-Key:[" + theSecret + "]] ",
		"GET /ok/9 HTTP/1.1\r\nHost: x\r\nX.HTTP.Method.Override: DELETE\r\nX-Original-URL: /admin\r\nX_Rewrite_Url: /admin\r\nx-forwarded-uri: /admin\r\nDestination: https://a.example/admin\r\nX!Api~Key: c\r\nConnection: close\r\n\r\n": "/ok/9 map[Authorization:[" + theSecret + "] X-Api-Key:[" + theSecret + "]] ",
		"POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 50\r\n\r\nGET /admin HTTP/1.1\r\nHost: a.example\r\n\r\n":                                                                                                    "",
		"POST /post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\nConnection: close\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\n":                                                                      "POST " + at + "/post map[] \"\"",
		"POST /post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization\r\nConnection: close\r\n\r\n1\r\na\r\n0\r\nAuthorization: mine\r\n\r\n":                                                                      "POST " + at + "/post map[] \"a\"",
		"GET /ok/8 HTTP/1.1\r\nHost: x\r\nX: a\rAuthorization: b\r\nConnection: close\r\n\r\n":                                                                                                                                               "",
	} {
		answer := inTLS(t, d, proxy, "a.example", o.secure, request)
		saw := o.last()
		if want == "" && (saw != "" || strings.Contains(answer, "reached")) || want != "" && (!strings.Contains(saw, want) || strings.Contains(saw, "\n")) {
			t.Errorf("%q: the destination saw %q, the code %q", request, saw, answer)
		}
		if strings.Contains(answer, theSecret) || strings.Contains(saw, "trailer") {
			t.Errorf("%q: the code saw %q, the destination %q", request, answer, saw)
		}
	}
	// Of requests behind each other, each is looked at.
	answer := inTLS(t, d, proxy, "a.example", o.secure, "GET /ok/1 HTTP/1.1\r\nHost: x\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\nGET /ok/2 HTTP/1.1\r\nHost: x\r\n\r\n")
	if saw := o.last(); !strings.Contains(saw, "/ok/1") || strings.Contains(saw, "admin") || !strings.Contains(answer, "403") {
		t.Errorf("pipelined: the destination saw %q, the code %q", saw, answer)
	}
	// Without TLS at the port of TLS, the secret does not go out.
	plain := say(t, proxy, "CONNECT a.example:"+o.secure+" HTTP/1.1\r\nHost: x\r\n\r\nGET /ok/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if !strings.Contains(plain, "the secret s goes out by https:// only") || o.last() != "" {
		t.Errorf("in the clear: %q", plain)
	}
	absolute := say(t, proxy, "GET http://a.example:"+o.secure+"/ok/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if !strings.Contains(absolute, "goes out by https:// only") || o.last() != "" {
		t.Errorf("in the clear, with an absolute URL: %q", absolute)
	}
}

// TestSecrets: a secret goes to its destinations only, also when one of them redirects, and is in no log and no count.
func TestSecrets(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "a.example", "b.example")
	var log bytes.Buffer
	with := func(name string) map[string]job.HeaderValue {
		return map[string]job.HeaderValue{"Authorization": {Secret: name}}
	}
	n := job.Network{HTTP: []job.HTTPRule{
		{To: "a.example:" + o.secure, Paths: []string{"/gone"}, Headers: with("gone")},
		{To: "a.example:" + o.secure, Headers: with("s")},
		{To: "b.example:" + o.secure, Paths: []string{"/open"}},
		{To: "b.example:*", Headers: with("s")}, // such a rule is refused where it is asked for; the runner looks again
	}}
	d, proxy := inspecting(t, o, n, func(c *egress.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	c := trusting(t, "http", proxy, d)
	a, b := "https://a.example:"+o.secure, "https://b.example:"+o.secure
	if status, _ := fetched(t, c, "GET", a+"/x"); status != 200 || !strings.Contains(o.last(), theSecret) {
		t.Error("its destination does not get it")
	}
	if status, body := fetched(t, c, "GET", a+"/x?to="+url.QueryEscape(b+"/open")); status != 200 || body != "reached" {
		t.Errorf("a redirect: %d %s", status, body)
	}
	if saw := o.last(); !strings.Contains(saw, "/open") || strings.Contains(saw, "s3cret") {
		t.Errorf("after a redirect: %s", saw)
	}
	for to, want := range map[string]string{
		b + "/x":                               "the secret s may not go to b.example:" + o.secure,
		a + "/gone":                            "this runner does not have the secret gone",
		a + "/x?to=" + url.QueryEscape(b+"/x"): "the secret s may not go to b.example:" + o.secure,
		a + "/x?to=" + url.QueryEscape("http://a.example:"+o.secure+"/x"):   "goes out by https:// only",
		a + "/x?to=" + url.QueryEscape("http://b.example:"+o.plain+"/open"): "may not go to b.example",
	} {
		if status, body := fetched(t, c, "GET", to); status != 403 || !strings.Contains(body, want) || strings.Contains(o.last(), "s3cret") {
			t.Errorf("%s: %d %s", to, status, body)
		}
	}
	d.Close()
	usage, _ := json.Marshal(d.Usage())
	secret := secretFor(t, "a.example")
	if all := log.String() + string(usage) + fmt.Sprintf("%v %+v %#v %s", secret, secret, secret, []job.NetworkSecret{secret}); strings.Contains(all, "s3cret") {
		t.Errorf("it is to be seen in %s", all)
	}
	if !strings.Contains(log.String(), "request_not_allowed") {
		t.Errorf("the log has no refused request: %s", &log)
	}
}

// TestPlainSecret: the operator may let a secret go out without TLS.
func TestPlainSecret(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "a.example")
	n := job.Network{HTTP: []job.HTTPRule{{To: "a.example:*", Headers: map[string]job.HeaderValue{"X-Key": {Secret: "s"}}}}}
	_, proxy := inspecting(t, o, n, func(c *egress.Config) {
		s := secretFor(t, "a.example:*")
		s.Plain = true
		c.Secrets.Set([]job.NetworkSecret{s})
	})
	if a := say(t, proxy, "GET http://a.example:"+o.plain+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.Contains(a, "reached") || !strings.Contains(o.last(), "X-Key:["+theSecret+"]") {
		t.Errorf("%s", a)
	}
}

// TestNotIntercepted: what keeps a door from looking into requests leaves the destination closed.
func TestNotIntercepted(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "a.example")
	n := job.Network{Allow: []string{"*:*"}, HTTP: []job.HTTPRule{{To: "a.example:*"}, {To: "c.example:*"}, {To: "no rule"}}}
	connect := func(host string) string { return "CONNECT " + host + ":" + o.secure + " HTTP/1.1\r\nHost: x\r\n\r\n" }
	off, proxy := inspecting(t, o, n, func(c *egress.Config) { c.Intercept = false })
	if a := say(t, proxy, connect("a.example")); !strings.HasPrefix(a, "HTTP/1.1 403 Kaa: this runner does not look into requests") || off.Authority() != nil {
		t.Errorf("a gate that does not: %q", a)
	}
	if a := say(t, proxy, "GET http://a.example:"+o.plain+"/ HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(a, "HTTP/1.1 403 ") {
		t.Errorf("a gate that does not, without TLS: %q", a)
	}
	if reply := socks(t, proxy, "a.example", o.secure); reply != 2 {
		t.Errorf("a gate that does not, by SOCKS: %d", reply)
	}
	_, proxy = inspecting(t, o, n, func(c *egress.Config) { c.Allow, _ = job.ParseNetworkRules([]string{"b.example:*"}) })
	if a := say(t, proxy, connect("a.example")); !strings.HasPrefix(a, "HTTP/1.1 403 Kaa: a.example:"+o.secure+" is not in network.allow") {
		t.Errorf("an operator that does not allow it: %q", a)
	}
	d, proxy := inspecting(t, o, n, func(c *egress.Config) { c.Roots = x509.NewCertPool() })
	if status, body := fetched(t, trusting(t, "http", proxy, d), "GET", "https://a.example:"+o.secure+"/"); status != 502 || !strings.Contains(body, "no certificate that this runner trusts") {
		t.Errorf("a destination that is not trusted: %d %s", status, body)
	}
	if status, body := fetched(t, trusting(t, "http", proxy, d), "GET", "https://c.example:"+o.secure+"/"); status != 502 || !strings.Contains(body, "there is no host of the name") {
		t.Errorf("a destination that does not exist: %d %s", status, body)
	}
	if o.last() != "" {
		t.Error("the destination was asked")
	}
}

// TestAuthority: each door has an authority of its own, whose certificates are good for its destinations and for nothing else.
func TestAuthority(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "a.example")
	n := job.Network{HTTP: []job.HTTPRule{{To: "*.example:*"}, {To: "127.0.0.1:*"}}}
	one, proxy := inspecting(t, o, n)
	other, _ := inspecting(t, o, n)
	if status, body := fetched(t, trusting(t, "http", proxy, other), "GET", "https://a.example:"+o.secure+"/"); status != 0 || !strings.Contains(body, "unknown authority") {
		t.Errorf("a neighbour's: %d %s", status, body)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(one.Authority())
	hosts := []string{"127.0.0.1", strings.Repeat("long.", 20) + "example"}
	for i := range 70 { // more than are kept
		hosts = append(hosts, fmt.Sprintf("n%d.example", i))
	}
	for _, host := range hosts {
		c := dial(t, proxy)
		_, _ = io.WriteString(c, "CONNECT "+host+":443 HTTP/1.1\r\nHost: x\r\n\r\n")
		// The client asks for another name, which does not count.
		secure := tls.Client(&afterAnswer{TCPConn: c}, &tls.Config{InsecureSkipVerify: true, ServerName: "b.example"})
		if err := secure.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		leaf := secure.ConnectionState().PeerCertificates[0]
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: host}); err != nil {
			t.Error(err)
		}
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: "b.example"}); err == nil {
			t.Error("a certificate is good for another name")
		}
		if leaf.IsCA || len(leaf.AuthorityKeyId) == 0 || len(leaf.Subject.CommonName) > 64 || time.Since(leaf.NotBefore) < time.Hour {
			t.Errorf("%+v", leaf)
		}
		_ = c.Close()
	}
	if n := one.Certificates(); n > 64 {
		t.Errorf("%d certificates are kept", n)
	}
	block, _ := pem.Decode(one.Authority())
	if ca, err := x509.ParseCertificate(block.Bytes); err != nil || !ca.IsCA || len(ca.SubjectKeyId) == 0 || ca.MaxPathLen != 0 {
		t.Errorf("%+v, %v", ca, err)
	}
	none, _ := inspecting(t, o, job.Network{Allow: []string{"a.example"}})
	if none.Authority() != nil {
		t.Error("a door without rules for requests has an authority")
	}
}

// TestInterceptEnds: the end of a door ends what the rules let through.
func TestInterceptEnds(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "a.example")
	d, proxy := inspecting(t, o, job.Network{HTTP: []job.HTTPRule{{To: "a.example:*"}}})
	client := trusting(t, "http", proxy, d)
	if status, _ := fetched(t, client, "GET", "https://a.example:"+o.secure+"/"); status != 200 {
		t.Fatal(status)
	}
	silent := dial(t, proxy)
	_, _ = io.WriteString(silent, "CONNECT a.example:"+o.secure+" HTTP/1.1\r\nHost: x\r\n\r\n")
	half := dial(t, proxy)
	_, _ = io.WriteString(half, "CONNECT a.example:"+o.secure+" HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03\x01")
	d.Close()
	for _, c := range []*net.TCPConn{silent, half} {
		if _, err := io.ReadAll(c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Error("a connection is open")
		}
	}
	if status, _ := fetched(t, client, "GET", "https://a.example:"+o.secure+"/"); status != 0 {
		t.Errorf("after the end: %d", status)
	}
}
