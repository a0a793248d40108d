package egress_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/egress"
	"github.com/kaa-run/kaa/internal/job"
)

// lookingInto has a gate look into requests.
func lookingInto(c *egress.Config) { c.Intercept, c.Roots = true, x509.NewCertPool() }

// anyRequest allows all requests to all destinations, each of which is looked at.
func anyRequest() job.Network { return job.Network{HTTP: []job.HTTPRule{{To: "*:*"}}} }

// TestInterceptSilence: a client whose requests are looked into has its time for each part, and a destination for its answer.
func TestInterceptSilence(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sends []string // each after an answer
		want  string
		time  time.Duration
	}{
		"nothing":                {nil, "", 30 * time.Second},
		"half a greeting of TLS": {[]string{"\x16\x03\x01\x02\x00"}, "", 30 * time.Second},
		"half a request":         {[]string{"GET /a HT"}, "", 30 * time.Second},
		"no second request":      {[]string{"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"}, "hello", 2 * time.Minute},
		"half a second request":  {[]string{"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a"}, "hello", 30 * time.Second},
		"a silent destination":   {[]string{"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n"}, "HTTP/1.1 504 ", 15 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				gate := answeringGate(lookingInto, func(c net.Conn) {
					in := bufio.NewReader(c)
					for {
						r, err := http.ReadRequest(in)
						if err != nil {
							return
						}
						if r.URL.Path == "/silent" {
							_, _ = io.Copy(io.Discard, in)
							return
						}
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
					}
				})
				l := newPipes()
				d := gate.Open(l, anyRequest(), "silence")
				defer d.Close()
				c := l.dial()
				defer c.Close()
				if line, err := ask(c, "CONNECT a.example:80 HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(line, "HTTP/1.1 200") {
					t.Fatal(line, err)
				}
				for i, text := range test.sends {
					go func() { _, _ = io.WriteString(c, text) }()
					if i+1 < len(test.sends) {
						if a, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || a.StatusCode != 200 {
							t.Fatal(a, err)
						}
						test.want = ""
					}
				}
				began := time.Now()
				answer, err := io.ReadAll(c)
				if took := time.Since(began); took < test.time || took > test.time+time.Second || err != nil && !errors.Is(err, io.ErrClosedPipe) || !strings.Contains(string(answer), test.want) {
					t.Errorf("it took %s, %v: %q", took, err, answer)
				}
			})
		})
	}
}

// TestInterceptBounds: headers are bounded, a long method does not fill the answer, and no rule allows a tunnel in a tunnel.
func TestInterceptBounds(t *testing.T) {
	t.Parallel()
	gate := answeringGate(lookingInto, func(c net.Conn) {
		if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: "+strings.Repeat("x", len(r.URL.Path)<<10)+"\r\n\r\n")
		}
	})
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := gate.Open(l, job.Network{HTTP: []job.HTTPRule{{To: "a.example:80"}, {To: "b.example:80", Methods: []string{"GET"}}}}, "bounds")
	t.Cleanup(d.Close)
	const end = " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	for name, test := range map[string]struct{ host, request, want string }{
		"a request":                    {"a.example", "GET /" + end, "HTTP/1.1 200"},
		"a large header of an answer":  {"a.example", "GET /" + strings.Repeat("x", 100) + end, "HTTP/1.1 502"},
		"a large header of a request":  {"a.example", "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 100<<10) + "\r\n\r\n", "HTTP/1.1 431"},
		"a tunnel in a tunnel":         {"a.example", "CONNECT c.example:80" + end, "CONNECT is not allowed at a.example:80"},
		"what would show the headers":  {"a.example", "TRACE /" + end, "TRACE is not allowed at a.example:80"},
		"a method of many characters":  {"b.example", strings.Repeat("M", 1000) + " /" + end, "(" + strings.Repeat("M", 20) + "…)"},
		"a method that is not allowed": {"b.example", "PUT /" + end, "no rule for such a request at b.example:80 (PUT)"},
	} {
		c := dial(t, l.Addr().String())
		go func() {
			_, _ = io.WriteString(c, "CONNECT "+test.host+":80 HTTP/1.1\r\nHost: x\r\n\r\n"+test.request)
		}()
		var answer []byte
		for part := make([]byte, 4096); err == nil && !strings.Contains(string(answer), test.want); {
			var n int
			n, err = c.Read(part)
			answer = append(answer, part[:n]...)
		}
		if err != nil {
			t.Errorf("%s: %v, %.300q", name, err, answer)
			err = nil
		}
		_ = c.Close()
	}
}

// TestUsualPorts: a request to the usual port of its scheme has a Host without it, as from a client. It keeps what it says about proxies.
func TestUsualPorts(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "a.example")
	n := job.Network{HTTP: []job.HTTPRule{{To: "a.example"}, {To: "a.example:8080"}}}
	d, proxy := inspecting(t, o, n, func(c *egress.Config) {
		c.Dial = func(ctx context.Context, _ string, port uint16) (net.Conn, error) {
			to := map[uint16]string{80: o.plain, 443: o.secure, 8080: o.plain}[port]
			return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+to)
		}
	})
	client := trusting(t, "http", proxy, d)
	for to, want := range map[string]string{
		"http://a.example/":      "GET http://a.example/ map[X-Forwarded-For:[192.0.2.1]]",
		"https://a.example/":     "GET https://a.example/ map[X-Forwarded-For:[192.0.2.1]]",
		"http://a.example:8080/": "GET http://a.example:8080/ map[X-Forwarded-For:[192.0.2.1]]",
	} {
		if status, body := fetched(t, client, "GET", to, "X-Forwarded-For", "192.0.2.1"); status != 200 || !strings.Contains(o.last(), want) {
			t.Errorf("%s: %d %s", to, status, body)
		}
	}
}

// TestNoValue: a secret without a value, as in the file of an API process, lets no request through.
func TestNoValue(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "a.example")
	d, proxy := inspecting(t, o, rulesAt(o), func(c *egress.Config) {
		s := secretFor(t, "a.example:*")
		s.Value = ""
		c.Secrets.Set([]job.NetworkSecret{s})
	})
	if status, body := fetched(t, trusting(t, "http", proxy, d), "GET", "https://a.example:"+o.secure+"/ok/x"); status != 403 || !strings.Contains(body, "does not have the secret s") || o.last() != "" {
		t.Errorf("%d %s", status, body)
	}
}

// TestInterceptPrivate: a destination with rules for requests has no other addresses than one without.
func TestInterceptPrivate(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "a.example")
	d, proxy := inspecting(t, o, anyRequest())
	client := trusting(t, "http", proxy, d)
	for _, host := range []string{"metadata.example", "private.example", "v6.example", "mapped.example", "nat64.example", "zero.example", "169.254.169.254", "[::1]"} {
		for _, scheme := range []string{"http", "https"} {
			if status, body := fetched(t, client, "GET", fmt.Sprintf("%s://%s:%s/", scheme, host, o.plain)); status != 403 || !strings.Contains(body, "has no public address") {
				t.Errorf("%s by %s: %d %s", host, scheme, status, body)
			}
		}
	}
	if o.last() != "" {
		t.Error("the destination was asked")
	}
}
