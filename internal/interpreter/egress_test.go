package interpreter_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kaa-run/kaa/internal/egress"
	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// withEgress lets a pool's sandboxes reach this machine's loopback by the name a.example, and nothing else. metadata.example has a
// private address.
func withEgress(c *interpreter.Config) {
	all, _ := job.ParseNetworkRules([]string{"*:*"})
	gate := egress.New(egress.Config{
		Allow: all, Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Connections: 8,
		Lookup: func(_ context.Context, name string) ([]netip.Addr, error) {
			switch name {
			case "a.example":
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
			case "metadata.example":
				return []netip.Addr{netip.MustParseAddr("169.254.169.254")}, nil
			}
			return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
		},
	})
	c.Egress = func(l net.Listener, n job.Network, id string) interpreter.Proxy { return gate.Open(l, n, id) }
}

// site is a server of this machine. It counts what comes.
func site(t *testing.T) (port string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		_, _ = w.Write([]byte("reached"))
	}))
	t.Cleanup(s.Close)
	_, port, _ = net.SplitHostPort(s.Listener.Addr().String())
	return port, requests
}

// fetch is code that asks for URLs, one a line of argv, and prints what becomes of each.
const fetch = `
import sys, urllib.request
for url in sys.argv[1:]:
    try: print(urllib.request.urlopen(url, timeout=60).read().decode())
    except urllib.error.HTTPError as error: print(error.code, error.read().decode().strip())
    except OSError as error: print(error)
`

// TestNetwork: code reaches what its request allows, by name, and nothing else; the result tells what it did.
func TestNetwork(t *testing.T) {
	t.Parallel()
	port, requests := site(t)
	pool := newPool(t, withEgress, func(c *interpreter.Config) { c.Size = 1 })
	network := &job.Network{Allow: []string{"a.example:" + port, "metadata.example:*"}}
	spec := job.Spec{Code: fetch + `
import socket
def direct(host, port):
    try: socket.create_connection((host, port), 5).close(); print('open')
    except OSError: print('refused')
direct('127.0.0.1', ` + port + `)
direct('127.0.0.1', 3128)
direct('::1', 3128)
try: socket.getaddrinfo('a.example', 80); print('resolved')
except OSError: print('no name')
`, Argv: []string{"http://a.example:" + port, "http://b.example:" + port, "http://metadata.example", "https://b.example"}, Network: network}
	res := execute(t, pool, spec)
	want := "reached\n403 Kaa: b.example:" + port + " is not in network.allow\n403 Kaa: metadata.example:80 has no public address\n" +
		"<urlopen error Tunnel connection failed: 403 Kaa: b.example:443 is not in network.allow>\nrefused\nopen\nrefused\nno name\n"
	if res.Stdout != want || requests.Load() != 1 {
		t.Errorf("%s; %d requests\n%s", outcome(res), requests.Load(), res.Stdout)
	}
	if u := res.Network; u == nil || u.Connections != 1 || u.Refused != 3 || len(u.Destinations) != 4 || u.BytesReceived == 0 || u.Destinations[0].Host != "a.example" || u.Destinations[2].Outcome != job.NetworkPrivate {
		t.Errorf("%+v", u)
	}
	// The next one has nothing of it.
	res = execute(t, pool, job.Spec{Code: spec.Code + "import os\nprint([n for n in os.environ if 'proxy' in n.lower()], open('/proc/net/tcp').read().count('\\n'))", Argv: []string{"http://a.example:" + port}})
	if !strings.HasSuffix(res.Stdout, "refused\nrefused\nrefused\nno name\n[] 1\n") || requests.Load() != 1 || res.Network != nil {
		t.Errorf("without a network: %s %+v\n%s", outcome(res), res.Network, res.Stdout)
	}
	res = execute(t, pool, job.Spec{Command: &job.Command{Argv: []string{"python3", "-c", fetch, "http://a.example:" + port}}, Network: network})
	if res.Stdout != "reached\n" || requests.Load() != 2 || res.Network == nil || res.Network.Connections != 1 {
		t.Errorf("a command: %s %+v\n%s%s", outcome(res), res.Network, res.Stdout, res.Stderr)
	}
}

// TestNetworkHostile: code cannot take the proxy's place, keep its socket, or hold the runner up with connections that it never uses.
func TestNetworkHostile(t *testing.T) {
	t.Parallel()
	port, requests := site(t)
	pool := newPool(t, withEgress, func(c *interpreter.Config) { c.Size = 1 })
	network := &job.Network{Allow: []string{"a.example:*"}}
	res := execute(t, pool, job.Spec{Network: network, Argv: []string{"http://a.example:" + port}, Code: `
import os, socket
for options in [()], [(socket.SOL_SOCKET, socket.SO_REUSEADDR)], [(socket.SOL_SOCKET, socket.SO_REUSEPORT)]:
    for address in '127.0.0.1', '0.0.0.0':
        s = socket.socket()
        for option in filter(None, options): s.setsockopt(*option, 1)
        try: s.bind((address, 3128)); s.listen(); print('took', address, options)
        except OSError: pass
listeners = 0
for fd in range(1024):
    try: listeners += socket.socket(fileno=os.dup(fd)).getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError: pass
print(listeners)
held = []
for i in range(500):
    try:
        s = socket.socket()
        s.settimeout(0.01)
        s.connect(('127.0.0.1', 3128))
        s.send(b'\x05' if i % 2 else b'CONNECT a.')
    except OSError: pass
    held.append(s)
if os.fork() == 0: os.setsid(); __import__('time').sleep(600)
`})
	if res.Stdout != "0\n" || res.Network == nil || res.Network.Connections != 0 {
		t.Errorf("%s %+v\n%s", outcome(res), res.Network, res.Stdout)
	}
	res = execute(t, pool, job.Spec{Network: network, Argv: []string{"http://a.example:" + port}, Code: fetch})
	if res.Stdout != "reached\n" || requests.Load() != 1 {
		t.Errorf("the next one: %s\n%s", outcome(res), res.Stdout)
	}
}

// TestNetworkSession: a session, its forks and the interpreter that replaces one have the network of the session. Each execution tells what
// it did.
func TestNetworkSession(t *testing.T) {
	t.Parallel()
	port, _ := site(t)
	pool := newPool(t, withEgress)
	s := session(t, pool, job.SessionSpec{Network: &job.Network{Allow: []string{"a.example:" + port}}, Quota: job.Quota{MemoryBytes: 128 << 20}})
	code := fmt.Sprintf("import urllib.request\nprint(urllib.request.urlopen('http://a.example:%s').read().decode())", port)
	once := func(what string, s *interpreter.Session) {
		t.Helper()
		if res := step(t, s, job.Spec{Code: code}); res.Stdout != "reached\n" || res.Network == nil || res.Network.Connections != 1 || len(res.Network.Destinations) != 1 || res.Network.Destinations[0].Count != 1 {
			t.Errorf("%s: %s %+v\n%s", what, outcome(res), res.Network, res.Stdout)
		}
	}
	once("the first", s)
	once("the second", s)
	if res := step(t, s, job.Spec{Code: "print(1)"}); res.Network == nil || res.Network.Connections != 0 || len(res.Network.Destinations) != 0 {
		t.Errorf("one that does nothing: %+v", res.Network)
	}
	if _, end := last(t, s, job.Spec{Code: "import os\nos._exit(3)"}); end == nil {
		t.Fatal("it goes on")
	}
	fresh, err := s.Renew(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fresh.Close() })
	once("after a crash", fresh)
	forks, err := fresh.Fork(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = forks[0].Close() })
	once("a fork", forks[0])
	if err := fresh.Close(); err != nil {
		t.Fatal(err)
	}
	once("a fork whose origin has ended", forks[0])
}

// TestNetworkNeighbour: sandboxes beside each other have each its own proxy, with its own rules and counts, and one without a network has none.
func TestNetworkNeighbour(t *testing.T) {
	t.Parallel()
	port, requests := site(t)
	pool := newPool(t, withEgress)
	open := func(n *job.Network) *interpreter.Session {
		return session(t, pool, job.SessionSpec{Network: n, Quota: job.Quota{MemoryBytes: 128 << 20}})
	}
	one, other, none := open(&job.Network{Allow: []string{"a.example:" + port}}), open(&job.Network{Allow: []string{"b.example:*"}}), open(nil)
	code := "import sys\nsys.argv[1:] = ['http://a.example:" + port + "']\n" + fetch
	held := "import socket\nheld = socket.create_connection(('127.0.0.1', 3128))\nheld.sendall(b'CONNECT a.example:" + port + " HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\nprint(held.recv(12))"
	says(t, one, held, "b'HTTP/1.1 200'\n")
	if res := step(t, other, job.Spec{Code: code}); !strings.HasPrefix(res.Stdout, "403 Kaa: a.example:") || res.Network == nil || res.Network.Connections != 0 || res.Network.Refused != 1 {
		t.Errorf("with rules of its own: %s %+v\n%s", outcome(res), res.Network, res.Stdout)
	}
	direct := "import socket\ntry: socket.create_connection(('127.0.0.1', 3128), 5); print('open')\nexcept OSError: print('refused')"
	if res := step(t, none, job.Spec{Code: direct}); res.Stdout != "refused\n" || res.Network != nil {
		t.Errorf("without a network: %s %+v\n%s", outcome(res), res.Network, res.Stdout)
	}
	if res := step(t, one, job.Spec{Code: code}); res.Stdout != "reached\n" || res.Network.Connections != 1 || res.Network.Refused != 0 || requests.Load() != 1 {
		t.Errorf("the first one: %s %+v, %d requests\n%s", outcome(res), res.Network, requests.Load(), res.Stdout)
	}
}

// TestNetworkUnavailable: where there is no network namespace, or the operator allows no destination, code with a network does not start.
func TestNetworkUnavailable(t *testing.T) {
	t.Parallel()
	network := &job.Network{Allow: []string{"a.example"}}
	basic := shared(t, withLevel(sandbox.Basic))
	for name, pool := range map[string]*interpreter.Pool{"basic": basic, "off": shared(t)} {
		for _, spec := range []job.Spec{{Code: "print(1)", Network: network}, {Command: &job.Command{Line: "echo 1"}, Network: network}} {
			w := acquire(t, pool)
			if _, err := w.Execute(t.Context(), spec, job.Live{}); !errors.Is(err, job.ErrNoNetwork) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if s, err := pool.Session(t.Context(), job.SessionSpec{Network: network}); !errors.Is(err, job.ErrNoNetwork) {
			t.Errorf("%s: session %v, %v", name, s, err)
		}
	}
}
