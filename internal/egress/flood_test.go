package egress_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/egress"
	"github.com/kaa-run/kaa/internal/job"
)

// pipes is a listener for connections in memory, so that a test of time needs none.
type pipes struct {
	conns chan net.Conn
	over  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), over: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.over:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.over) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// dial connects. It waits until the connection is accepted.
func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours
}

// silentGate has destinations that nobody answers at: deaf.example gives no connection, and others say nothing.
func silentGate(most int) *egress.Gate {
	all, _ := job.ParseNetworkRules([]string{"*:*"})
	return egress.New(egress.Config{Allow: all, Connections: most, Dial: func(ctx context.Context, host string, _ uint16) (net.Conn, error) {
		if host == "deaf.example" {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		ours, theirs := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, theirs); _ = theirs.Close() }()
		return ours, nil
	}})
}

// ask sends a text and returns the first line of the answer, or nothing.
func ask(c net.Conn, text string) (string, error) {
	go func() { _, _ = io.WriteString(c, text) }()
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line), err
}

// TestFlood: of 10,000 connections that a sandbox opens at once and leaves silent, it has as many as it may; each of the others is refused and
// counted, and a neighbour is served meanwhile. When the silent ones have had their time, the sandbox is served again.
func TestFlood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const flood, most = 10_000, 64
		gate := silentGate(most)
		listener, beside := newPipes(), newPipes()
		d := gate.Open(listener, job.Network{Allow: []string{"a.example:*"}}, "flood")
		neighbour := gate.Open(beside, job.Network{Allow: []string{"b.example:*"}}, "neighbour")
		defer neighbour.Close()
		defer d.Close()
		var refused, silent atomic.Int64
		var all sync.WaitGroup
		for range flood {
			all.Go(func() {
				c := listener.dial()
				defer c.Close()
				answer, _ := io.ReadAll(c)
				switch {
				case strings.HasPrefix(string(answer), "HTTP/1.1 503 Kaa: "):
					refused.Add(1)
				case len(answer) == 0:
					silent.Add(1)
				default:
					t.Errorf("%q", answer)
				}
			})
		}
		time.Sleep(time.Second)
		c := beside.dial()
		if line, err := ask(c, "CONNECT b.example:80 HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(line, "HTTP/1.1 200") {
			t.Errorf("the neighbour: %q, %v", line, err)
		}
		_ = c.Close()
		all.Wait()
		// Each 30 s as many silent ones as it may have; all others one after the other, 10 ms apart.
		if refused.Load()+silent.Load() != flood || silent.Load() < most || silent.Load() > 5*most {
			t.Errorf("%d refused, %d silent", refused.Load(), silent.Load())
		}
		if u := d.Usage(); u.Refused != refused.Load() || len(u.Destinations) != 1 || u.Destinations[0].Outcome != job.NetworkTooMany || u.Destinations[0].Count != u.Refused {
			t.Errorf("%+v, %d were refused", u, refused.Load())
		}
		c = listener.dial()
		defer c.Close()
		if line, err := ask(c, "CONNECT a.example:80 HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(line, "HTTP/1.1 200") {
			t.Errorf("after the flood: %q, %v", line, err)
		}
	})
}

// TestSilence: a destination that never answers has its time: to connect, to answer a request, and between bytes of a tunnel.
func TestSilence(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		request, want string
		time          time.Duration
		outcome       job.NetworkOutcome
	}{
		"a connection":          {"CONNECT deaf.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 504 Kaa: deaf.example:443 does not answer", 30 * time.Second, job.NetworkTimeout},
		"a connection of SOCKS": {"\x05\x01\x00\x05\x01\x00\x03\x0cdeaf.example\x01\xbb", "\x05\x00\x05\x04", 30 * time.Second, job.NetworkTimeout},
		"a request":             {"GET http://silent.example/ HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 504 Gateway Timeout", 15 * time.Minute, job.NetworkConnected},
		"a tunnel":              {"CONNECT silent.example:443 HTTP/1.1\r\nHost: x\r\n\r\nhello", "HTTP/1.1 200 Connection established", 15 * time.Minute, job.NetworkConnected},
		"half a request":        {"GET http://silent.exa", "HTTP/1.1 4", 30 * time.Second, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				listener := newPipes()
				d := silentGate(4).Open(listener, job.Network{Allow: []string{"*:*"}}, "silence")
				defer d.Close()
				c := listener.dial()
				defer c.Close()
				began := time.Now()
				go func() { _, _ = io.WriteString(c, test.request) }()
				answer, err := io.ReadAll(c)
				if took := time.Since(began); took < test.time || took > test.time+time.Second || err != nil && !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("it took %s, %v", took, err)
				}
				if !strings.HasPrefix(string(answer), test.want) && (test.outcome != "" || len(answer) > 0) {
					t.Errorf("%q", answer)
				}
				if u := d.Usage(); test.outcome != "" && (len(u.Destinations) != 1 || u.Destinations[0].Outcome != test.outcome) {
					t.Errorf("%s", outcomes(u))
				}
			})
		})
	}
}

// TestSlowTunnel: a tunnel in which a byte comes now and then goes on, however long it takes.
func TestSlowTunnel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		listener := newPipes()
		d := silentGate(4).Open(listener, job.Network{Allow: []string{"*:*"}}, "slow")
		defer d.Close()
		c := listener.dial()
		defer c.Close()
		if line, err := ask(c, "CONNECT silent.example:443 HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(line, "HTTP/1.1 200") {
			t.Fatal(line, err)
		}
		go func() { _, _ = io.Copy(io.Discard, c) }()
		for range 10 {
			time.Sleep(10 * time.Minute)
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if u := d.Usage(); u.BytesSent != 10 {
			t.Errorf("%+v", u)
		}
	})
}

// TestRebinding: a name whose addresses change between two lookups leads nowhere but to the address of the one lookup that is checked.
func TestRebinding(t *testing.T) {
	t.Parallel()
	port := web(t)
	var lookups atomic.Int64
	d, proxy := open(t, []string{"a.example:*"}, func(c *egress.Config) {
		c.Lookup = func(context.Context, string) ([]netip.Addr, error) {
			if lookups.Add(1)%2 == 1 {
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
			}
			return []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("::ffff:10.0.0.1")}, nil
		}
	})
	for i, protocol := range []string{"connect", "connect", "get", "get", "socks", "socks"} {
		reached := false
		switch protocol {
		case "connect":
			reached = strings.HasPrefix(say(t, proxy, "CONNECT a.example:"+port+" HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.0\r\n\r\n"), "HTTP/1.1 200 ")
		case "get":
			reached = strings.HasPrefix(say(t, proxy, "GET http://a.example:"+port+"/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "HTTP/1.1 200 ")
		case "socks":
			reached = socks(t, proxy, "a.example", port) == 0
		}
		if reached != (i%2 == 0) || lookups.Load() != int64(i+1) {
			t.Errorf("%s, attempt %d: reached is %v after %d lookups", protocol, i, reached, lookups.Load())
		}
	}
	d.Close()
	if u := d.Usage(); u.Connections != 3 || u.Refused != 3 || len(u.Destinations) != 2 || u.Destinations[1].Outcome != job.NetworkPrivate {
		t.Errorf("%+v", u)
	}
}
