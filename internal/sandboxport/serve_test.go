package sandboxport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// pipe is a line to a server in this process.
type pipe struct {
	to     net.Conn
	pieces chan []byte
	begun  bool
	closed chan struct{}
}

func newPipe(to net.Conn) *pipe {
	p := &pipe{to: to, pieces: make(chan []byte), closed: make(chan struct{})}
	go func() {
		defer close(p.pieces)
		for {
			piece := make([]byte, 4096)
			n, err := to.Read(piece)
			if err != nil {
				return
			}
			select {
			case p.pieces <- piece[:n]:
			case <-p.closed:
				return
			}
		}
	}()
	return p
}

func (p *pipe) Next(ctx context.Context) (job.CommandOutput, error) {
	if !p.begun {
		p.begun = true
		return job.CommandOutput{Kind: job.OutputStderr, Data: []byte{Reached}}, nil
	}
	select {
	case piece, ok := <-p.pieces:
		if !ok {
			return job.CommandOutput{}, service.ErrOver
		}
		return job.CommandOutput{Kind: job.OutputStdout, Data: piece}, nil
	case <-ctx.Done():
		return job.CommandOutput{}, ctx.Err()
	}
}

func (p *pipe) Send(ctx context.Context, m job.CommandMessage) error {
	stop := context.AfterFunc(ctx, func() { _ = p.to.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := p.to.Write(m.Data); err != nil {
		return job.ErrCommandEnded
	}
	return nil
}

func (p *pipe) Close() {
	close(p.closed)
	_ = p.to.Close()
}

// asked is what the server in the sandbox got. ended is closed when the command of its connection is ended.
type asked struct {
	text  string
	ended chan struct{}
}

// through has a server answer one request, which comes as net/http hands it to handlers, and returns what the client gets.
func through(t *testing.T, change func(*Request), r *http.Request, answer func(io.Writer)) (*http.Response, string, *asked, error) {
	t.Helper()
	got := &asked{ended: make(chan struct{})}
	var failed error
	p := &Request{Port: Port{Number: 8000}, Below: "/below", Prefix: "/below", SecretProtocol: "kaa-key.", Fail: func(w http.ResponseWriter, _ *http.Request, err error) {
		failed = err
		w.WriteHeader(http.StatusTeapot)
	}}
	if change != nil {
		change(p)
	}
	done := make(chan struct{})
	dial := func(ctx context.Context) (*conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer close(done)
			defer func() { _ = theirs.Close() }()
			in := bufio.NewReader(theirs)
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			var text strings.Builder
			_, _ = fmt.Fprintf(&text, "%s %s\nHost: %s\n", req.Method, req.RequestURI, req.Host)
			_ = req.Header.Write(&text)
			body, _ := io.ReadAll(req.Body)
			got.text = strings.ReplaceAll(text.String(), "\r", "") + string(body)
			answer(theirs)
		}()
		return connect(ctx, 8000, newPipe(ours), func(context.Context) { close(got.ended) })
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "ours")
		w.Header().Set("Cache-Control", "no-store")
		p.Path = r.URL.EscapedPath()
		p.serve(w, r, dial)
	}))
	defer server.Close()
	out := r.Clone(t.Context())
	out.RequestURI, out.URL.Scheme, out.URL.Host = "", "http", strings.TrimPrefix(server.URL, "http://")
	a, err := server.Client().Transport.RoundTrip(out)
	if err != nil {
		return nil, "", got, err
	}
	text, err := io.ReadAll(a.Body)
	_ = a.Body.Close()
	<-done
	if failed != nil {
		err = failed
	}
	return a, string(text), got, err
}

func says(text string) func(io.Writer) {
	return func(w io.Writer) { _, _ = io.WriteString(w, text) }
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// TestRequestsReachThePort: method, path, query, body and header arrive; what proves who the caller is, and tells of the way to Kaa, does not.
func TestRequestsReachThePort(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://kaa.example/a%2Fb//c/../d%20e?q=1;2&token=t&q=%ff", strings.NewReader("the body"))
	const secret = "s3cret"
	for _, name := range []string{
		"Authorization", "X-API-Key", "Cookie", "Kaa-Tenant", "X-Forwarded-For", "X-Forwarded-Client-Cert", "Forwarded", "X-Real-IP", "Via", "CF-Connecting-IP", "Cf-Access-Jwt-Assertion",
		"X-Amzn-Oidc-Data", "X-Goog-IAP-JWT-Assertion", "Proxy-Authorization", "Remote-User", "X-Token", "Referer", "Origin", "X-Hop",
	} {
		r.Header.Set(name, secret)
	}
	r.Header.Set("Connection", "X-Hop, keep-alive")
	r.Header.Set("Sec-WebSocket-Protocol", "chat, kaa-key."+secret)
	r.Header.Set("X-Mine", "arrives")
	_, text, got, err := through(t, func(p *Request) { p.Secrets, p.Parameters = []string{"x-token"}, []string{"token"} }, r, says(ok))
	if err != nil || text != "ok" {
		t.Fatalf("%q %v", text, err)
	}
	if strings.Contains(got.text, secret) || strings.Contains(got.text, "token") {
		t.Errorf("a secret reaches the code:\n%s", got.text)
	}
	for _, want := range []string{"POST /a%2Fb//c/../d%20e?q=", "Host: localhost:8000\n", "X-Mine: arrives\n", "X-Forwarded-Prefix: /below\n", "Sec-Websocket-Protocol: chat\n", "the body"} {
		if !strings.Contains(got.text, want) {
			t.Errorf("%q does not reach the code:\n%s", want, got.text)
		}
	}
	if strings.Contains(got.text, "X-Hop") {
		t.Errorf("a header of one hop reaches the code:\n%s", got.text)
	}
}

// TestRequestsToAHostName: a server with a host name of its own gets its own cookies, and what proves a caller to it.
func TestRequestsToAHostName(t *testing.T) {
	t.Parallel()
	own := func(p *Request) { p.Below, p.Prefix, p.Host, p.Signed = "", "", "8000-x.ports.example.com", true }
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://8000-x.ports.example.com/", nil)
	for name, value := range map[string]string{"Authorization": "Basic abc", "X-API-Key": "kaa_0123", "Cookie": "a=b", "Origin": "http://8000-x.ports.example.com", "X-Forwarded-For": "10.0.0.1"} {
		r.Header.Set(name, value)
	}
	a, _, got, err := through(t, own, r, says("HTTP/1.1 302 Found\r\nSet-Cookie: a=b; Domain=example.com; Path=/\r\nSet-Cookie: c=d;DOMAIN = x\r\nLocation: http://8000-x.ports.example.com/to?x#y\r\nCache-Control: max-age=60\r\nX-Accel-Redirect: /secret\r\nX-Accel-Buffering: no\r\nRefresh: 0;url=/to\r\nContent-Length: 0\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Host: 8000-x.ports.example.com\n", "Authorization: Basic abc\n", "Cookie: a=b\n", "Origin: http://8000-x.ports.example.com\n"} {
		if !strings.Contains(got.text, want) {
			t.Errorf("%q does not reach the code:\n%s", want, got.text)
		}
	}
	if strings.Contains(got.text, "kaa_") || strings.Contains(got.text, "10.0.0.1") {
		t.Errorf("a secret reaches the code:\n%s", got.text)
	}
	if cookies := strings.Join(a.Header.Values("Set-Cookie"), "|"); cookies != "a=b; Path=/|c=d" {
		t.Errorf("cookies %q", cookies)
	}
	for name, want := range map[string]string{"Location": "/to?x#y", "Cache-Control": "max-age=60", "Content-Security-Policy": "", "Referrer-Policy": "same-origin", "X-Accel-Redirect": "", "X-Accel-Buffering": "no", "Refresh": "0;url=/to"} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestAnswersAreHarmless: an answer at Kaa's own address sets nothing there and is a page without an origin.
func TestAnswersAreHarmless(t *testing.T) {
	t.Parallel()
	gone := []string{
		"Set-Cookie", "Clear-Site-Data", "Strict-Transport-Security", "Alt-Svc", "Nel", "Report-To", "Reporting-Endpoints", "Service-Worker-Allowed", "Access-Control-Allow-Credentials", "WWW-Authenticate",
		"X-Hop", "Refresh", "X-Accel-Redirect", "x-accel-expires", "X-Sendfile", "X-LIGHTTPD-send-file", "X-REPROXY-URL", "CDN-Cache-Control", "Cloudflare-CDN-Cache-Control", "Surrogate-Control",
	}
	var answer strings.Builder
	answer.WriteString("HTTP/1.1 103 Early Hints\r\nSet-Cookie: early=1\r\nX-Early: 1\r\n\r\nHTTP/1.1 301 Moved\r\nConnection: X-Hop\r\nX-Request-Id: theirs\r\nCache-Control: public\r\n" +
		"Content-Security-Policy: sandbox allow-same-origin allow-scripts\r\nReferrer-Policy: unsafe-url\r\nLocation: http://localhost:8000/to\r\nTrailer: Set-Cookie\r\nTransfer-Encoding: chunked\r\nX-Mine: arrives\r\n")
	for _, name := range gone {
		_, _ = fmt.Fprintf(&answer, "%s: a=b\r\n", name)
	}
	answer.WriteString("\r\n2\r\nok\r\n0\r\nSet-Cookie: late=1\r\nX-Late: 1\r\n\r\n")
	a, text, _, err := through(t, nil, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), says(answer.String()))
	if err != nil || text != "ok" {
		t.Fatalf("%q %v", text, err)
	}
	for _, name := range append(gone, "X-Early", "X-Late") {
		if a.Header.Get(name) != "" || a.Trailer.Get(name) != "" {
			t.Errorf("%s: %q, trailer %q", name, a.Header.Get(name), a.Trailer.Get(name))
		}
	}
	for name, want := range map[string]string{
		"X-Request-Id": "ours", "Cache-Control": "no-store", "Referrer-Policy": "same-origin", "X-Content-Type-Options": "nosniff", "Location": "/below/to", "X-Mine": "arrives",
		"Content-Security-Policy": "sandbox allow-same-origin allow-scripts|" + policy,
	} {
		if got := strings.Join(a.Header.Values(name), "|"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestRefresh: at Kaa's own address the header may name a time, and no address.
func TestRefresh(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"5": "5", "1.5": "1.5", "0;url=/v1/keys": "", "0; URL='//localhost:8080/v1/keys'": "", "0,/v1/keys": "", "0 /v1/keys": "", "x": "", "5\r\nRefresh: 0;url=/v1/keys": "",
	} {
		a, _, _, err := through(t, nil, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), says("HTTP/1.1 200 OK\r\nRefresh: "+text+"\r\nContent-Length: 0\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(a.Header.Values("Refresh"), "|"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestSeveralLocations: clients follow different ones of several, so none passes.
func TestSeveralLocations(t *testing.T) {
	t.Parallel()
	for lines, want := range map[string]string{
		"Location:\r\nLocation: /v1/keys\r\n": "", "Location: /a\r\nLocation: /a\r\n": "", "location: /a\r\nLOCATION: /b\r\n": "", "Location: /a\r\n": "/below/a",
	} {
		a, _, _, err := through(t, nil, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), says("HTTP/1.1 302 Found\r\n"+lines+"Content-Length: 0\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(a.Header.Values("Location"), "|"); got != want {
			t.Errorf("%q: %q, want %q", lines, got, want)
		}
	}
}

// TestHostileServers: what does not speak HTTP, or does not stop, is an error and not an answer; an answer that breaks off does not look whole.
func TestHostileServers(t *testing.T) {
	t.Parallel()
	forever := func(begin, piece string) func(io.Writer) {
		return func(w io.Writer) {
			_, err := io.WriteString(w, begin)
			for err == nil {
				_, err = io.WriteString(w, piece)
			}
		}
	}
	for name, tt := range map[string]struct {
		answer func(io.Writer)
		broken bool // after the beginning of the answer
	}{
		"closes":                      {answer: says("")},
		"another protocol":            {answer: says("SSH-2.0-OpenSSH_9.6\r\n")},
		"a large header":              {answer: says("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*mostHeader) + "\r\nContent-Length: 0\r\n\r\n")},
		"a header without end":        {answer: forever("HTTP/1.1 200 OK\r\n", "X: y\r\n")},
		"a line without end":          {answer: forever("HTTP/1.1 200 OK\r\nX: ", "yyyyyyyyyyyyyyyy")},
		"informs without end":         {answer: forever("", "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n")},
		"two lengths":                 {answer: says("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok")},
		"a length that is none":       {answer: says("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok")},
		"a coding that is none":       {answer: says("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, x\r\n\r\nok")},
		"switches without being told": {answer: says("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")},
		"a wrong chunk":               {answer: says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n"), broken: true},
		"a chunk that is cut":         {answer: says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nok"), broken: true},
		"fewer bytes":                 {answer: says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok"), broken: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, text, got, err := through(t, nil, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), tt.answer)
			if tt.broken {
				if err == nil || errors.Is(err, ErrNoHTTP) {
					t.Errorf("looks whole: %q %v", text, err)
				}
				return
			}
			if !errors.Is(err, ErrNoHTTP) || a.StatusCode != http.StatusTeapot {
				t.Errorf("%v, %q", err, text)
			}
			if strings.Contains(name, "without end") {
				<-got.ended
			}
		})
	}
	// What follows an answer is none of another request's: the connection has one.
	if _, text, _, err := through(t, nil, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), says(ok+"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")); err != nil || text != "ok" {
		t.Errorf("%q %v", text, err)
	}
}

// TestOtherProtocols: of the protocols that a connection may change to, only WebSocket passes.
func TestOtherProtocols(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		upgrade []string
		body    io.Reader
		want    bool
	}{
		"none": {want: true}, "a WebSocket": {upgrade: []string{"WebSocket"}, want: true}, "HTTP/2": {upgrade: []string{"h2c"}}, "two": {upgrade: []string{"websocket", "h2c"}},
		"a list": {upgrade: []string{"websocket, h2c"}}, "a WebSocket with a body": {upgrade: []string{"websocket"}, body: strings.NewReader("x")},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", tt.body)
		r.Header["Upgrade"] = tt.upgrade
		if upgradable(r) != tt.want {
			t.Errorf("%s: %t", name, !tt.want)
		}
	}
}

// TestSilence: a connection on which nothing passes ends after a time, and its command with it. Each byte begins that time anew.
func TestSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		ended := false
		c, err := connect(t.Context(), 8000, newPipe(ours), func(context.Context) { ended = true })
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(Silence - time.Second)
			go func() { _, _ = theirs.Write([]byte("x")) }()
			if n, err := c.Read(make([]byte, 8)); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		if _, err := c.Read(make([]byte, 8)); !errors.Is(err, ErrSilent) || !errors.Is(c.Failed(), ErrSilent) {
			t.Errorf("%v, %v", err, c.Failed())
		}
		if err := cause(t.Context(), c, io.ErrUnexpectedEOF); !errors.Is(err, ErrSilent) {
			t.Errorf("%v", err)
		}
		if err := c.Close(); err != nil || !ended {
			t.Errorf("%v, ended %t", err, ended)
		}
		_ = theirs.Close()
	})
}

// says one thing and ends.
type farewell struct{ said string }

func (f *farewell) Next(context.Context) (o job.CommandOutput, err error) {
	if f.said == "" {
		return o, service.ErrOver
	}
	o = job.CommandOutput{Kind: job.OutputStderr, Data: []byte(f.said)}
	f.said = ""
	return o, nil
}
func (*farewell) Send(context.Context, job.CommandMessage) error { return nil }
func (*farewell) Close()                                         {}

// TestNothingListens: the reason is the bridge's, which may be one that the code has made.
func TestNothingListens(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"Connection refused\n":    "nothing listens on port 8000 of the sandbox: Connection refused",
		"":                        "nothing listens on port 8000 of the sandbox: python3 does not start in the session, or the code has ended it",
		"a\x1b[2Jb\r\nSet-C: x\n": "nothing listens on port 8000 of the sandbox: a [2Jb  Set-C: x",
		strings.Repeat("ü", 1000): "nothing listens on port 8000 of the sandbox: " + strings.Repeat("ü", mostReason/2),
	} {
		_, err := connect(t.Context(), 8000, &farewell{said}, func(context.Context) { t.Error("the command has ended") })
		if closed := (*ClosedError)(nil); !errors.As(err, &closed) || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestNumber: a port has one notation, and the port of the proxy is none.
func TestNumber(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{"1": nil, "8000": nil, "65535": nil, "3128": ErrProxyPort, "0": ErrPort, "65536": ErrPort, "+80": ErrPort, "080": ErrPort, "-1": ErrPort, "": ErrPort, "x": ErrPort, "8 0": ErrPort} {
		if _, err := Number(text); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}
