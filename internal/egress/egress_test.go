package egress_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/egress"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// names are the addresses of the names of these tests. Names that it lacks do not exist.
var names = map[string]string{
	"a.example": "127.0.0.1", "b.example": "127.0.0.1", "metadata.example": "169.254.169.254", "private.example": "10.0.0.1", "v6.example": "::1", "mapped.example": "::ffff:10.0.0.1",
	"nat64.example": "64:ff9b::a9fe:a9fe", "zero.example": "0.0.0.0",
}

func lookup(_ context.Context, name string) ([]netip.Addr, error) { return lookUp(names, name) }

func lookUp(names map[string]string, name string) ([]netip.Addr, error) {
	if text, ok := names[name]; ok {
		return []netip.Addr{netip.MustParseAddr(text)}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// withNames gives a gate other names.
func withNames(names map[string]string) func(*egress.Config) {
	return func(c *egress.Config) {
		c.Lookup = func(_ context.Context, name string) ([]netip.Addr, error) { return lookUp(names, name) }
	}
}

// open opens a door whose operator allows everything at this machine's loopback.
func open(t *testing.T, allow []string, change ...func(*egress.Config)) (*egress.Door, string) {
	t.Helper()
	all, err := job.ParseNetworkRules([]string{"*:*"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := egress.Config{Allow: all, Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Connections: 64, Lookup: lookup}
	for _, f := range change {
		f(&cfg)
	}
	return openAt(t, egress.New(cfg), allow)
}

func openAt(t *testing.T, gate *egress.Gate, allow []string) (*egress.Door, string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := gate.Open(l, job.Network{Allow: allow}, "sandbox")
	t.Cleanup(d.Close)
	return d, l.Addr().String()
}

// say sends a text to the proxy and returns all that comes back, once the proxy has ended the connection.
func say(t *testing.T, proxy, text string) string {
	t.Helper()
	c := dial(t, proxy)
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(c)
	return string(answer)
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(testenv.Timeout))
	return c.(*net.TCPConn)
}

// web is a server that answers with what it was asked.
func web(t *testing.T) (port string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s host=%s auth=%q proxy=%q body=%q", r.Method, r.URL, r.Host, r.Header.Get("Authorization"), r.Header.Get("Proxy-Authorization"), body)
	}))
	t.Cleanup(s.Close)
	_, port, _ = net.SplitHostPort(s.Listener.Addr().String())
	return port
}

func outcomes(u job.NetworkUsage) string {
	var all []string
	for _, d := range u.Destinations {
		all = append(all, fmt.Sprintf("%s:%d %s %d", d.Host, d.Port, d.Outcome, d.Count))
	}
	return strings.Join(all, ", ")
}

// TestDestinations: what is reached and what is refused, by the name that a client asks for and by its address, with each protocol.
func TestDestinations(t *testing.T) {
	t.Parallel()
	port := web(t)
	allow := []string{"a.example:*", "*.example:" + port, "127.0.0.1:" + port, "169.254.169.254", "[::1]:*", "localhost:*", "gone.test:*"}
	for _, test := range []struct {
		host string
		want job.NetworkOutcome
	}{
		{"a.example", job.NetworkConnected},
		{"A.EXAMPLE.", job.NetworkConnected},
		{"b.example", job.NetworkConnected},
		{"127.0.0.1", job.NetworkConnected},
		{"c.test", job.NetworkNotAllowed},
		{"xa.exampl", job.NetworkNotAllowed},
		{"127.0.0.2", job.NetworkNotAllowed},
		{"8.8.8.8", job.NetworkNotAllowed},
		{"metadata.example", job.NetworkPrivate},
		{"private.example", job.NetworkPrivate},
		{"v6.example", job.NetworkPrivate},
		{"mapped.example", job.NetworkPrivate},
		{"nat64.example", job.NetworkPrivate},
		{"zero.example", job.NetworkPrivate},
		{"[::1]", job.NetworkPrivate},
		{"gone.test", job.NetworkNotFound},
		{"127.1", job.NetworkBadRequest},
		{"2130706433", job.NetworkBadRequest},
		{"0x7f.0.0.1", job.NetworkBadRequest},
		{"0177.0.0.1", job.NetworkBadRequest},
		{"a_b..example", job.NetworkBadRequest},
	} {
		for _, protocol := range []string{"connect", "get", "socks"} {
			d, proxy := open(t, allow)
			reached := false
			switch protocol {
			case "connect":
				reached = strings.HasPrefix(say(t, proxy, "CONNECT "+test.host+":"+port+" HTTP/1.1\r\nHost: a.example\r\n\r\nGET / HTTP/1.0\r\n\r\n"), "HTTP/1.1 200 ")
			case "get":
				reached = strings.HasPrefix(say(t, proxy, "GET http://"+test.host+":"+port+"/ HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"), "HTTP/1.1 200 ")
			case "socks":
				reached = socks(t, proxy, strings.Trim(test.host, "[]"), port) == 0
			}
			d.Close()
			u := d.Usage()
			if reached != (test.want == job.NetworkConnected) || len(u.Destinations) != 1 || u.Destinations[0].Outcome != test.want || u.Destinations[0].Count != 1 {
				t.Errorf("%s by %s: reached is %v, %s", test.host, protocol, reached, outcomes(u))
			}
		}
	}
}

// socks asks for a destination by its name and returns the reply.
func socks(t *testing.T, proxy, host, port string) byte {
	t.Helper()
	c := dial(t, proxy)
	n, _ := strconv.Atoi(port)
	request := append([]byte{5, 1, 0, 5, 1, 0, 3, byte(len(host))}, host...)
	if _, err := c.Write(binary.BigEndian.AppendUint16(request, uint16(n))); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 12)
	if _, err := io.ReadFull(c, answer); err != nil {
		t.Fatalf("%s: %v", host, err)
	}
	return answer[3]
}

// TestOperator: what a request allows counts only within what the operator allows.
func TestOperator(t *testing.T) {
	t.Parallel()
	port := web(t)
	d, proxy := open(t, []string{"*:*"}, func(c *egress.Config) { c.Allow, _ = job.ParseNetworkRules([]string{"b.example:*"}) })
	if a := say(t, proxy, "CONNECT a.example:"+port+" HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(a, "HTTP/1.1 403 Kaa: a.example:"+port+" is not in network.allow\r\n") {
		t.Errorf("%s", a)
	}
	if reply := socks(t, proxy, "b.example", port); reply != 0 {
		t.Errorf("reply %d", reply)
	}
	if u := d.Usage(); u.Connections != 1 || u.Refused != 1 {
		t.Errorf("%+v", u)
	}
}

// TestRequests: a request goes to the host of its URL, whatever its headers say, and headers for the proxy stay there.
func TestRequests(t *testing.T) {
	t.Parallel()
	port := web(t)
	_, proxy := open(t, []string{"a.example:*"})
	const end = "\r\nConnection: close\r\n\r\n"
	for name, test := range map[string]struct{ request, want, not string }{
		"another Host":        {"GET http://a.example:" + port + "/x?a;b HTTP/1.1\r\nHost: b.example" + end, "host=a.example:" + port, "b.example"},
		"its query":           {"GET http://a.example:" + port + "/x?a;b HTTP/1.1\r\nHost: b.example" + end, "GET /x?a;b ", "502"},
		"keys of the proxy":   {"GET http://a.example:" + port + "/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic YQ==\r\nAuthorization: mine" + end, `auth="mine" proxy=""`, "YQ"},
		"two lengths":         {"POST http://a.example:" + port + "/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 40\r\n\r\nabcGET http://b.example/ HTTP/1.1\r\n\r\n", "400 Bad Request", "200"},
		"length and chunks":   {"POST http://a.example:" + port + "/ HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n", `body="abc"`, "502"},
		"an unknown encoding": {"POST http://a.example:" + port + "/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n", "501", "200"},
		"a space before":      {"GET http://a.example:" + port + "/ HTTP/1.1\r\nHost : x\r\n\r\n", "400", "200"},
		"a user":              {"GET http://a.example:" + port + "@b.example/ HTTP/1.1\r\nHost: x" + end, "403", "200 OK"},
		"a user that hides":   {"GET http://b.example@a.example:" + port + "/ HTTP/1.1\r\nHost: x" + end, "host=a.example", "b.example:"},
		"no URL":              {"GET / HTTP/1.1\r\nHost: a.example:" + port + end, "absolute URL", "200"},
		"another scheme":      {"GET ftp://a.example:" + port + "/ HTTP/1.1\r\nHost: x" + end, "send CONNECT", "200"},
		"a path for CONNECT":  {"CONNECT /a.example:" + port + " HTTP/1.1\r\nHost: x\r\n\r\n", "400", "200"},
		"a URL for CONNECT":   {"CONNECT http://a.example:" + port + " HTTP/1.1\r\nHost: x\r\n\r\n", "400", "200"},
		"no port for CONNECT": {"CONNECT a.example HTTP/1.1\r\nHost: x\r\n\r\n", "400", "200"},
		"CONNECT with a body": {"CONNECT a.example:" + port + " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /in-the-tunnel HTTP/1.0\r\n\r\n", "GET /in-the-tunnel host=", "400"},
		"a refused CONNECT with a request as its body": {"CONNECT b.example:" + port + " HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nGET http://a.example:" + port + "/smuggled HTTP/1.0\r\n\r\n", "403", "smuggled"},
		"a CONNECT in chunks":                          {"CONNECT b.example:" + port + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET http://a.example:" + port + "/smuggled HTTP/1.0\r\n\r\n", "403", "smuggled"},
		"lines in the URL":                             {"GET http://a.example:" + port + "/x%0d%0aHost:%20b.example HTTP/1.1\r\nHost: x" + end, "GET /x%0d%0aHost:%20b.example host=a.example", "502"},
		"lines in the host":                            {"GET http://a.example%0d%0aX:" + port + "/ HTTP/1.1\r\nHost: x" + end, "400", "200 OK"},
		"a bare CR":                                    {"GET http://a.example:" + port + "/ HTTP/1.1\r\nHost: x\r\nX: a\rAuthorization: b" + end, "400", "200 OK"},
		"a NUL":                                        {"GET http://a.example:" + port + "/ HTTP/1.1\r\nHost: x\r\nX: a\x00b" + end, "400", "200 OK"},
		"a line that goes on":                          {"GET http://a.example:" + port + "/ HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\n b" + end, `auth="a b"`, "400"},
		"two hosts":                                    {"GET http://a.example:" + port + "/ HTTP/1.1\r\nHost: x\r\nHost: b.example" + end, "400", "200 OK"},
		"no version":                                   {"GET http://a.example:" + port + "/\r\n\r\n", "400", "200 OK"},
		"a chunk with a minus":                         {"POST http://a.example:" + port + "/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", "502", "200 OK"},
		"a length with a plus":                         {"POST http://a.example:" + port + "/ HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc", "400", "200 OK"},
		"bytes":                                        {"\x16\x03\x01\x02\x00\r\n\r\n", "400", "200"},
	} {
		if a := say(t, proxy, test.request); !strings.Contains(a, test.want) || strings.Contains(a, test.not) {
			t.Errorf("%s: %s", name, a)
		}
	}
}

// TestClient: Go's own client works with the proxy, over connections that stay, and with bytes that follow at once.
func TestClient(t *testing.T) {
	t.Parallel()
	port := web(t)
	d, proxy := open(t, []string{"a.example:*"})
	through := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})}
	socks5 := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "socks5h", Host: proxy})}
	for range 3 {
		for _, transport := range []*http.Transport{through, socks5} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://a.example:"+port+"/p", strings.NewReader("abc"))
			if err != nil {
				t.Fatal(err)
			}
			res, err := (&http.Client{Transport: transport}).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode != 200 || !strings.Contains(string(body), `body="abc"`) {
				t.Errorf("%d %s", res.StatusCode, body)
			}
		}
	}
	through.CloseIdleConnections()
	socks5.CloseIdleConnections()
	c := dial(t, proxy)
	_, _ = io.WriteString(c, "CONNECT a.example:"+port+" HTTP/1.1\r\nHost: x\r\n\r\nGET /early HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	_ = c.CloseWrite()
	if all, _ := io.ReadAll(c); !strings.Contains(string(all), "GET /early host=a") {
		t.Errorf("%s", all)
	}
	d.Close()
	u := d.Usage()
	if u.Connections != 5 || u.Refused != 0 || len(u.Destinations) != 1 || u.BytesSent == 0 || u.BytesReceived < u.BytesSent || u.Destinations[0].BytesSent != u.BytesSent || u.Destinations[0].BytesReceived != u.BytesReceived {
		t.Errorf("%+v", u)
	}
}

// TestSOCKS: requests that are none, and kinds that are not served, have their replies.
func TestSOCKS(t *testing.T) {
	t.Parallel()
	port := web(t)
	n, _ := strconv.Atoi(port)
	at := func(b ...byte) string { return "\x05\x01\x00" + string(binary.BigEndian.AppendUint16(b, uint16(n))) }
	d, proxy := open(t, []string{"127.0.0.1:*"})
	for name, test := range map[string]struct {
		request string
		want    string // its beginning
	}{
		"an address":      {at(5, 1, 0, 1, 127, 0, 0, 1), "\x05\x00\x05\x00"},
		"another address": {at(5, 1, 0, 1, 127, 0, 0, 2), "\x05\x00\x05\x02"},
		"IPv6":            {at(append([]byte{5, 1, 0, 4}, make([]byte, 16)...)...), "\x05\x00\x05\x02"},
		"bind":            {at(5, 2, 0, 1, 127, 0, 0, 1), "\x05\x00\x05\x07"},
		"datagrams":       {at(5, 3, 0, 1, 127, 0, 0, 1), "\x05\x00\x05\x07"},
		"an unknown kind": {at(5, 1, 0, 9, 127, 0, 0, 1), "\x05\x00\x05\x08"},
		"no port":         {"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x00", "\x05\x00\x05\x01"},
		"authentication":  {"\x05\x01\x02", "\x05\xff"},
		"no name":         {at(5, 1, 0, 3, 0), "\x05\x00\x05\x01"},
		"a name with NUL": {at(append([]byte{5, 1, 0, 3, 10}, "127.0.0.1\x00"...)...), "\x05\x00\x05\x01"},
		"half a greeting": {"\x05", "\x05\x01"},
		"SOCKS4":          {"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", "HTTP/1.1 400"},
	} {
		c := dial(t, proxy)
		_, _ = io.WriteString(c, test.request)
		_ = c.CloseWrite()
		if answer, _ := io.ReadAll(c); !strings.HasPrefix(string(answer), test.want) {
			t.Errorf("%s: %q", name, answer)
		}
	}
	if u := d.Usage(); u.Connections != 1 {
		t.Errorf("%+v", u)
	}
}

// TestManyConnections: a sandbox has as many connections at once as it may, another one has its own, and the proxy goes on when they have ended.
func TestManyConnections(t *testing.T) {
	t.Parallel()
	port := web(t)
	all, _ := job.ParseNetworkRules([]string{"*:*"})
	gate := egress.New(egress.Config{Allow: all, Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Connections: 4, Lookup: lookup})
	d, proxy := openAt(t, gate, []string{"a.example:*"})
	_, neighbour := openAt(t, gate, []string{"b.example:*"})
	var held []*net.TCPConn
	for range 4 {
		c := dial(t, proxy)
		_, _ = io.WriteString(c, "CONNECT a.example:"+port+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if line, _ := bufio.NewReader(c).ReadString('\n'); !strings.Contains(line, "200") {
			t.Fatal(line)
		}
		held = append(held, c)
	}
	for range 20 {
		c := dial(t, proxy)
		if answer, _ := io.ReadAll(c); !strings.HasPrefix(string(answer), "HTTP/1.1 503 Kaa: ") {
			t.Errorf("one too many: %q", answer)
		}
	}
	if reply := socks(t, neighbour, "b.example", port); reply != 0 {
		t.Errorf("the neighbour: %d", reply)
	}
	if reply := socks(t, neighbour, "a.example", port); reply != 2 {
		t.Errorf("the neighbour, with what it may not: %d", reply)
	}
	for _, c := range held {
		_ = c.Close()
	}
	testenv.Eventually(t, "places are free again", func() bool {
		return strings.HasPrefix(say(t, proxy, "GET http://a.example:"+port+"/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "HTTP/1.1 200")
	})
	if u := d.Usage(); u.Connections != 5 || u.Destinations[1].Outcome != job.NetworkTooMany || u.Destinations[1].Count < 20 {
		t.Errorf("%s", outcomes(u))
	}
}

// TestBytes: a sandbox that has used up its bytes gets no more.
func TestBytes(t *testing.T) {
	t.Parallel()
	flood, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := flood.Accept()
			if err != nil {
				return
			}
			for err == nil {
				_, err = c.Write(make([]byte, 1<<16))
			}
			_ = c.Close()
		}
	})
	t.Cleanup(func() { _ = flood.Close(); served.Wait() })
	_, port, _ := net.SplitHostPort(flood.Addr().String())
	const most = 1 << 20
	d, proxy := open(t, []string{"a.example:*"}, func(c *egress.Config) { c.Bytes = most })
	got := say(t, proxy, "CONNECT a.example:"+port+" HTTP/1.1\r\nHost: x\r\n\r\n")
	if len(got) < most/2 || len(got) > 2*most {
		t.Errorf("%d bytes came", len(got))
	}
	if a := say(t, proxy, "CONNECT a.example:"+port+" HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(a, "HTTP/1.1 403 ") {
		t.Errorf("after that: %s", a)
	}
	if u := d.Usage(); u.BytesReceived < most || u.BytesReceived > 2*most || u.Destinations[1].Outcome != job.NetworkBytes {
		t.Errorf("%+v", u)
	}
}

// TestManyNames: whatever names the code makes up, the record of them is bounded.
func TestManyNames(t *testing.T) {
	t.Parallel()
	d, proxy := open(t, nil)
	const attempts = 3 * job.MaxDestinations
	for i := range attempts {
		if reply := socks(t, proxy, strconv.Itoa(i)+".test", "80"); reply != 2 {
			t.Fatalf("reply %d", reply)
		}
	}
	u := d.Usage()
	if len(u.Destinations) != job.MaxDestinations || u.DestinationsDropped != attempts-job.MaxDestinations || u.Refused != attempts {
		t.Errorf("%d destinations, %d dropped, %d refused", len(u.Destinations), u.DestinationsDropped, u.Refused)
	}
}

// TestClose: the end of a door ends everything that is under way: a tunnel, a request without an answer, a lookup that does not end, a client that says nothing.
func TestClose(t *testing.T) {
	t.Parallel()
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	_, port, _ := net.SplitHostPort(silent.Addr().String())
	looking := make(chan struct{})
	d, proxy := open(t, []string{"*:*"}, func(c *egress.Config) {
		c.Lookup = func(ctx context.Context, name string) ([]netip.Addr, error) {
			if name == "slow.example" {
				close(looking)
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return lookup(ctx, name)
		}
	})
	tunnel := dial(t, proxy)
	_, _ = io.WriteString(tunnel, "CONNECT a.example:"+port+" HTTP/1.1\r\nHost: x\r\n\r\n")
	if line, _ := bufio.NewReader(tunnel).ReadString('\n'); !strings.Contains(line, "200") {
		t.Fatal(line)
	}
	conns := []*net.TCPConn{tunnel, dial(t, proxy)}
	for _, request := range []string{"GET http://a.example:" + port + "/ HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT slow.example:80 HTTP/1.1\r\nHost: x\r\n\r\n", "\x05\x01\x00", "\x05", "GET http://a.ex"} {
		c := dial(t, proxy)
		_, _ = io.WriteString(c, request)
		conns = append(conns, c)
	}
	<-looking
	d.Close()
	for i, c := range conns {
		if _, err := io.ReadAll(c); os.IsTimeout(err) {
			t.Errorf("connection %d is open", i)
		}
	}
	if _, err := new(net.Dialer).DialContext(t.Context(), "tcp", proxy); err == nil {
		t.Error("the proxy still listens")
	}
}
