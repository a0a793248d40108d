package egress_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/egress"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
)

// answeringGate has destinations that answer what serve says, each over a pipe in memory.
func answeringGate(change func(*egress.Config), serve func(net.Conn)) *egress.Gate {
	all, _ := job.ParseNetworkRules([]string{"*:*"})
	cfg := egress.Config{Allow: all, Dial: func(context.Context, string, uint16) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() { serve(theirs); _ = theirs.Close() }()
		return ours, nil
	}}
	change(&cfg)
	return egress.New(cfg)
}

// greet answers each request of HTTP.
func greet(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		if _, err = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"); err != nil {
			return
		}
	}
}

// TestGate: all sandboxes together have the gate's places, and each that ends gives its own back.
func TestGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const places, doors = 1024, 4
		gate := answeringGate(func(*egress.Config) {}, greet)
		var listeners []*pipes
		for i := range doors {
			l := newPipes()
			d := gate.Open(l, job.Network{Allow: []string{"*:*"}}, fmt.Sprint(i))
			defer d.Close()
			listeners = append(listeners, l)
		}
		for range 2 { // the second time, places have to be free again
			var held []net.Conn
			for i := range places {
				c := listeners[i%doors].dial()
				held = append(held, c)
			}
			synctest.Wait()
			for _, l := range listeners {
				c := l.dial()
				if answer, _ := io.ReadAll(c); !strings.HasPrefix(string(answer), "HTTP/1.1 503 Kaa: ") {
					t.Errorf("one more than there are places: %q", answer)
				}
				_ = c.Close()
			}
			for _, c := range held {
				if line, err := ask(c, "CONNECT a.example:80 HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(line, "HTTP/1.1 200") {
					t.Fatalf("a place: %q, %v", line, err)
				}
				_ = c.Close()
			}
			time.Sleep(time.Second)
		}
	})
}

// TestGateShares: the connections of a tenant's sandboxes leave some to the next tenant, however many sandboxes it has.
func TestGateShares(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := answeringGate(func(*egress.Config) {}, greet)
		doors := func(owner string, n int) (all []*pipes) {
			for i := range n {
				l := newPipes()
				d := gate.Open(l, job.Network{Allow: []string{"*:*"}, Owner: owner}, fmt.Sprint(owner, i))
				t.Cleanup(d.Close)
				all = append(all, l)
			}
			return all
		}
		connect := func(l *pipes) (served bool) {
			c := l.dial()
			t.Cleanup(func() { _ = c.Close() })
			line, _ := ask(c, "CONNECT a.example:80 HTTP/1.1\r\nHost: x\r\n\r\n")
			return strings.HasPrefix(line, "HTTP/1.1 200")
		}
		// fill opens as many as it gets.
		fill := func(of []*pipes) (n int) {
			for connect(of[n%len(of)]) {
				n++
			}
			return n
		}
		first, second, third := doors("first", 8), doors("second", 1), doors("third", 1)
		if n := fill(first); n != 512 {
			t.Errorf("the first tenant has %d connections", n)
		}
		if n := fill(second); n != 256 {
			t.Errorf("the second tenant has %d connections", n)
		}
		if !connect(third[0]) {
			t.Error("the third tenant has no connection")
		}
	})
}

// TestRest: a connection that is refused is followed by a pause, so that code which connects over and over does not take the runner's processors.
func TestRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		gate := answeringGate(func(c *egress.Config) { c.Connections = 1 }, greet)
		d := gate.Open(l, job.Network{Allow: []string{"*:*"}}, "rest")
		defer d.Close()
		held := l.dial()
		defer held.Close()
		began := time.Now()
		const refused = 10
		for range refused {
			c := l.dial()
			_, _ = io.ReadAll(c)
			_ = c.Close()
		}
		if took := time.Since(began); took < (refused-1)*10*time.Millisecond {
			t.Errorf("%d refused connections took %s", refused, took)
		}
	})
}

// TestKeptConnections: a connection of HTTP that stays open has its time for the next request, and for what is left of it.
func TestKeptConnections(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		next string
		time time.Duration
	}{"nothing": {"", 2 * time.Minute}, "half a request": {"GET http://a.exa", 30 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newPipes()
				d := answeringGate(func(*egress.Config) {}, greet).Open(l, job.Network{Allow: []string{"*:*"}}, "kept")
				defer d.Close()
				c := l.dial()
				defer c.Close()
				go func() { _, _ = io.WriteString(c, "GET http://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n") }()
				in := bufio.NewReader(c)
				a, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatal(err)
				}
				if body, err := io.ReadAll(a.Body); string(body) != "hello" || err != nil {
					t.Fatalf("%q, %v", body, err)
				}
				began := time.Now()
				go func() { _, _ = io.WriteString(c, test.next) }()
				_, err = io.ReadAll(in)
				if took := time.Since(began); took < test.time || took > test.time+time.Second || err != nil && !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("it took %s, %v", took, err)
				}
			})
		})
	}
}

// lateListener has one connection, which is accepted when the listener is closed.
type lateListener struct {
	closed chan struct{}
	once   sync.Once
	given  atomic.Bool
}

func (l *lateListener) Accept() (net.Conn, error) {
	<-l.closed
	if !l.given.CompareAndSwap(false, true) {
		return nil, net.ErrClosed
	}
	c, _ := net.Pipe()
	return c, nil
}

func (l *lateListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *lateListener) Addr() net.Addr { return &net.TCPAddr{} }

// TestLateConnection: a connection that comes when the door is closed, since its execution has ended, counts as nothing.
func TestLateConnection(t *testing.T) {
	t.Parallel()
	l := &lateListener{closed: make(chan struct{})}
	d := answeringGate(func(*egress.Config) {}, greet).Open(l, job.Network{Allow: []string{"*:*"}}, "late")
	d.Close()
	if u := d.Usage(); !l.given.Load() || u.Refused != 0 || u.Connections != 0 || len(u.Destinations) != 0 {
		t.Errorf("taken: %v, %+v", l.given.Load(), u)
	}
}

// TestSmallBytes: bytes that come one by one count as well as a flood, in both directions and with each protocol.
func TestSmallBytes(t *testing.T) {
	t.Parallel()
	const most = 1000
	for name, test := range map[string]struct {
		request string
		sends   bool
	}{
		"sent by a tunnel":     {"CONNECT a.example:80 HTTP/1.1\r\nHost: x\r\n\r\n", true},
		"received by a tunnel": {"CONNECT a.example:80 HTTP/1.1\r\nHost: x\r\n\r\n", false},
		"sent by a request":    {"POST http://a.example/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", true},
		"received by one":      {"GET http://a.example/ HTTP/1.1\r\nHost: x\r\n\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var got atomic.Int64
				gate := answeringGate(func(c *egress.Config) { c.Bytes = most }, func(c net.Conn) {
					if test.sends {
						n, _ := io.Copy(io.Discard, c)
						got.Store(n)
						return
					}
					if strings.HasPrefix(test.request, "GET") { // an answer follows its request
						if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
							return
						}
					}
					go func() { _, _ = io.Copy(io.Discard, c) }()
					_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
					for err == nil {
						_, err = c.Write(make([]byte, 10))
					}
				})
				l := newPipes()
				d := gate.Open(l, job.Network{Allow: []string{"*:*"}}, "bytes")
				defer d.Close()
				c := l.dial()
				defer c.Close()
				go func() {
					_, err := io.WriteString(c, test.request)
					for test.sends && err == nil {
						_, err = c.Write(make([]byte, 10))
					}
				}()
				answer, _ := io.ReadAll(c) // ends
				synctest.Wait()
				if test.sends && (got.Load() == 0 || got.Load() > 2*most+64<<10) || !test.sends && (len(answer) < most/2 || len(answer) > 2*most) {
					t.Errorf("%d bytes were sent, %d received", got.Load(), len(answer))
				}
				if u := d.Usage(); u.BytesSent+u.BytesReceived < most {
					t.Errorf("%+v", u)
				}
			})
		})
	}
}

// TestSentBytes: a flood that a sandbox sends ends at its limit, too.
func TestSentBytes(t *testing.T) {
	t.Parallel()
	sink, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan int64, 1)
	go func() {
		c, err := sink.Accept()
		if err != nil {
			return
		}
		n, _ := io.Copy(io.Discard, c)
		_ = c.Close()
		got <- n
	}()
	t.Cleanup(func() { _ = sink.Close() })
	_, port, _ := net.SplitHostPort(sink.Addr().String())
	const most = 4 << 20
	d, proxy := open(t, []string{"a.example:*"}, func(c *egress.Config) { c.Bytes = most })
	c := dial(t, proxy)
	_, err = io.WriteString(c, "CONNECT a.example:"+port+" HTTP/1.1\r\nHost: x\r\n\r\n")
	for sent := 0; err == nil && sent < 16*most; sent += 1 << 20 {
		_, err = c.Write(make([]byte, 1<<20))
	}
	_ = c.CloseWrite()
	if n := <-got; n < most/2 || n > most+1<<20 {
		t.Errorf("%d bytes arrived", n)
	}
	if u := d.Usage(); u.BytesSent < most {
		t.Errorf("%+v", u)
	}
}

// TestHeaders: what a request and an answer may have before the body is bounded; the proxy adds nothing to a request, and takes nothing away but what
// is for a proxy.
func TestHeaders(t *testing.T) {
	t.Parallel()
	const end = "\r\nConnection: close\r\n\r\n"
	seen := make(chan http.Header, 1)
	gate := answeringGate(func(*egress.Config) {}, func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		size := 10
		if r.URL.Path == "/large" {
			size = 100 << 10
		} else {
			seen <- r.Header
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: "+strings.Repeat("x", size)+"\r\n\r\n")
	})
	_, proxy := openAt(t, gate, []string{"*:*"})
	if a := say(t, proxy, "GET http://a.example/ HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\nForwarded: for=x"+end); !strings.HasPrefix(a, "HTTP/1.1 200") {
		t.Errorf("%.200q", a)
	}
	got := <-seen
	got.Del("Connection")
	if text := fmt.Sprint(got); text != "map[Forwarded:[for=x] X-Forwarded-For:[192.0.2.1]]" {
		t.Errorf("the destination saw %s", text)
	}
	if a := say(t, proxy, "GET http://a.example/large HTTP/1.1\r\nHost: x"+end); !strings.HasPrefix(a, "HTTP/1.1 502") || !strings.Contains(a, "\r\nProxy-Status: kaa\r\n") {
		t.Errorf("a large header of an answer: %.200q", a)
	}
	c := dial(t, proxy)
	go func() {
		_, _ = io.WriteString(c, "GET http://a.example/ HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 100<<10)+end)
	}()
	if line, _ := bufio.NewReader(c).ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 431") {
		t.Errorf("a large header of a request: %q", line)
	}
}

// TestNothingIsKept: what has ended is forgotten, and counts that were given out do not change.
func TestNothingIsKept(t *testing.T) {
	t.Parallel()
	port := web(t)
	d, proxy := open(t, []string{"a.example:*"})
	ask := func() {
		t.Helper()
		for _, request := range []string{"GET http://a.example:" + port + "/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "CONNECT a.example:" + port + " HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.0\r\n\r\n"} {
			c := dial(t, proxy)
			_, _ = io.WriteString(c, request)
			if a, _ := io.ReadAll(c); !strings.HasPrefix(string(a), "HTTP/1.1 200") {
				t.Errorf("%q", a)
			}
			_ = c.Close()
		}
	}
	ask()
	testenv.Eventually(t, "nothing to be held", func() bool { return d.Held() == 0 })
	before := d.Usage()
	text := fmt.Sprint(before)
	ask()
	if after := fmt.Sprint(d.Usage()); fmt.Sprint(before) != text || after == text {
		t.Errorf("it was %s, is %v; after another one %s", text, before, after)
	}
}

// TestLookups: a name that cannot be looked up now is another thing than one that does not exist.
func TestLookups(t *testing.T) {
	t.Parallel()
	d, proxy := open(t, []string{"*:*"}, func(c *egress.Config) {
		c.Lookup = func(_ context.Context, name string) ([]netip.Addr, error) {
			return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
		}
	})
	if a := say(t, proxy, "CONNECT a.example:80 HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(a, "HTTP/1.1 502 Kaa: the name in a.example:80 cannot be looked up now\r\n") {
		t.Errorf("%q", a)
	}
	if u := d.Usage(); outcomes(u) != "a.example:80 unreachable 1" {
		t.Errorf("%s", outcomes(u))
	}
}

// TestRefusedBy: a destination at which nothing listens, and one that takes too long, are told apart.
func TestRefusedBy(t *testing.T) {
	t.Parallel()
	_, proxy := open(t, []string{"*:*"}, func(c *egress.Config) {
		c.Dial = func(_ context.Context, host string, _ uint16) (net.Conn, error) {
			if host == "slow.example" {
				return nil, &net.DNSError{Err: "i/o timeout", Name: host, IsTimeout: true}
			}
			return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
		}
	})
	for host, want := range map[string]string{"a.example": "502 Kaa: a.example:80 refuses the connection", "slow.example": "504 Kaa: slow.example:80 does not answer"} {
		if a := say(t, proxy, "CONNECT "+host+":80 HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(a, "HTTP/1.1 "+want) {
			t.Errorf("%q", a)
		}
	}
}
