package egress_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/egress"
	"github.com/kaa-run/kaa/internal/job"
)

// modern is a destination that speaks HTTP/2 and HTTP/1.1, and says which one it was asked with. Its name is example.com.
func modern(t *testing.T) (s *httptest.Server, port string) {
	t.Helper()
	s = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, _ = net.SplitHostPort(s.Listener.Addr().String())
	return s, port
}

// asked asks a destination by a proxy, as a client that prefers HTTP/2 does, and returns the protocols on both sides of the proxy.
func asked(t *testing.T, proxy, port string, roots *x509.CertPool) (ours, theirs string) {
	t.Helper()
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: proxy}), TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://example.com:"+port+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.Proto, string(body)
}

// TestHTTP2: a client that prefers HTTP/2 has HTTP/1.1 where requests are looked into, and one that speaks nothing else is refused, and counted. A
// tunnel that is not looked into carries HTTP/2.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	s, port := modern(t)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	change := func(c *egress.Config) {
		c.Roots = roots
		withNames(map[string]string{"example.com": "127.0.0.1"})(c)
	}
	_, plain := open(t, []string{"example.com:*"}, change)
	if ours, theirs := asked(t, plain, port, roots); ours != "HTTP/2.0" || theirs != "HTTP/2.0" {
		t.Errorf("a tunnel: %s, %s", ours, theirs)
	}
	d, proxy := inspecting(t, &origin{}, job.Network{HTTP: []job.HTTPRule{{To: "example.com:*"}}}, change)
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(d.Authority())
	if ours, theirs := asked(t, proxy, port, trusted); ours != "HTTP/1.1" || theirs != "HTTP/1.1" {
		t.Errorf("looked into: %s, %s", ours, theirs)
	}
	c := dial(t, proxy)
	_, _ = io.WriteString(c, "CONNECT example.com:"+port+" HTTP/1.1\r\nHost: x\r\n\r\n")
	for answer := make([]byte, 0, 100); !strings.HasSuffix(string(answer), "\r\n\r\n"); {
		one := make([]byte, 1)
		if _, err := c.Read(one); err != nil {
			t.Fatalf("%q, %v", answer, err)
		}
		answer = append(answer, one...)
	}
	grpc := tls.Client(c, &tls.Config{RootCAs: trusted, ServerName: "example.com", NextProtos: []string{"h2"}})
	if err := grpc.HandshakeContext(t.Context()); err == nil || !strings.Contains(err.Error(), "no application protocol") {
		t.Errorf("a client that speaks nothing else: %v", err)
	}
	d.Close()
	if u := d.Usage(); u.Connections != 1 || u.Refused != 1 || outcomes(u) != "example.com:"+port+" connected 1, example.com:"+port+" bad_request 1" {
		t.Errorf("%+v", u)
	}
}
