package netguard_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/kaa-run/kaa/internal/netguard"
)

// TestCheck: the public addresses are allowed, and those that the operator names, in any notation that an address has.
func TestCheck(t *testing.T) {
	t.Parallel()
	operator := netguard.Guard{Private: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/32")}}
	for text, want := range map[string][2]bool{ // by default, and with the operator's addresses
		"8.8.8.8": {true, true}, "2606:4700::1111": {true, true}, "::ffff:8.8.8.8": {true, true},
		"10.1.2.3": {false, true}, "::ffff:10.1.2.3": {false, true}, "fd00:1::5": {false, true}, "10.2.0.1": {}, "fd00:2::5": {},
		"127.0.0.1": {}, "127.8.9.10": {}, "0.0.0.0": {}, "::": {}, "::1": {}, "::ffff:127.0.0.1": {}, "::ffff:0:127.0.0.1": {}, "::127.0.0.1": {},
		"169.254.169.254": {}, "fd00:ec2::254": {}, "168.63.129.16": {}, "100.100.100.200": {}, "192.0.0.192": {},
		"fe80::1": {}, "fe80::1%eth0": {}, "224.0.0.1": {}, "ff02::1": {}, "255.255.255.255": {}, "240.0.0.1": {},
		"64:ff9b::a00:1": {}, "64:ff9b::808:808": {}, "64:ff9b:1::a9fe:a9fe": {}, "2002:7f00:1::": {}, "2001:0:a00:1::": {},
		"192.168.1.1": {}, "172.31.255.255": {}, "172.32.0.1": {true, true}, "100.64.0.1": {}, "198.18.0.1": {}, "fec0::1": {},
	} {
		a := netip.MustParseAddr(text)
		for i, g := range []netguard.Guard{{}, operator} {
			if err := g.Check(a); (err == nil) != want[i] || err != nil && !errors.Is(err, netguard.ErrNotPublic) {
				t.Errorf("%s: guard %d says %v", text, i, err)
			}
			if err := g.Control("tcp", netip.AddrPortFrom(a, 80).String(), nil); (err == nil) != want[i] {
				t.Errorf("%s: control %d says %v", text, i, err)
			}
		}
	}
	if err := operator.Check(netip.Addr{}); err == nil {
		t.Error("no address is allowed")
	}
	if err := operator.Control("tcp", "name:80", nil); err == nil {
		t.Error("a name is allowed as an address")
	}
}

// server accepts connections at a port of loopback and counts them.
func server(t *testing.T) (port uint16, count *atomic.Int64) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	count = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			_ = c.Close()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String()).Port(), count
}

// counted closes a connection after the server has counted it: the server closes its side then.
func counted(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Error(err)
	}
	_ = c.Close()
}

// TestDial: a name is looked up once, and a connection goes to one of the addresses of that lookup, if one is allowed.
func TestDial(t *testing.T) {
	t.Parallel()
	port, count := server(t)
	loopback := netguard.Guard{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	addresses := func(texts ...string) (all []netip.Addr) {
		for _, text := range texts {
			all = append(all, netip.MustParseAddr(text))
		}
		return all
	}
	lookups := 0
	// Rebinding: the first answer is allowed, all later ones are not.
	rebinding := func(context.Context, string) ([]netip.Addr, error) {
		if lookups++; lookups == 1 {
			return addresses("127.0.0.1"), nil
		}
		return addresses("169.254.169.254"), nil
	}
	c, err := loopback.Dial(t.Context(), rebinding, "rebinding.example", port)
	if err != nil || lookups != 1 {
		t.Fatalf("%v after %d lookups", err, lookups)
	}
	if to := c.RemoteAddr().(*net.TCPAddr).AddrPort(); to.Addr().String() != "127.0.0.1" {
		t.Errorf("connected to %s", to)
	}
	counted(t, c)
	if _, err := loopback.Dial(t.Context(), rebinding, "rebinding.example", port); !errors.Is(err, netguard.ErrNotPublic) {
		t.Errorf("the second answer: %v", err)
	}
	always := func(texts ...string) netguard.Lookup {
		return func(context.Context, string) ([]netip.Addr, error) { return addresses(texts...), nil }
	}
	if c, err := loopback.Dial(t.Context(), always("10.0.0.1", "::1", "127.0.0.1"), "several.example", port); err != nil {
		t.Errorf("one of several addresses: %v", err)
	} else {
		counted(t, c)
	}
	for _, host := range []string{"127.0.0.1", "::ffff:127.0.0.1", "::1", "0.0.0.0"} {
		if _, err := (netguard.Guard{}).Dial(t.Context(), netguard.SystemLookup, host, port); !errors.Is(err, netguard.ErrNotPublic) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := (netguard.Guard{}).Dial(t.Context(), always("127.0.0.1"), "private.example", port); !errors.Is(err, netguard.ErrNotPublic) {
		t.Errorf("a name of a private address: %v", err)
	}
	var none *net.DNSError
	if _, err := loopback.Dial(t.Context(), always(), "nothing.example", port); !errors.As(err, &none) || !none.IsNotFound {
		t.Errorf("a name without addresses: %v", err)
	}
	// The server takes connections in their order: those of the loop above are counted before this one.
	if c, err := loopback.Dial(t.Context(), always("127.0.0.1"), "last.example", port); err != nil {
		t.Error(err)
	} else {
		counted(t, c)
	}
	if now := count.Load(); now != 3 {
		t.Errorf("%d connections; 3 go to addresses that are allowed", now)
	}
}
