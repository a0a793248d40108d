// Package netguard connects to destinations that callers and their code name, without letting them lead into the operator's
// network. Webhooks and the proxies of sandboxes (internal/egress) use it.
//
// A name proves nothing: its owner decides the addresses that it has, and may change them between two lookups. So a Guard checks
// the address of each connection after the lookup, when the socket is about to connect.
package netguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// ErrNotPublic reports that the address of the destination is not public.
var ErrNotPublic = errors.New("its address is not public, which is not allowed")

const (
	// addressTime is the time limit for one of several addresses of a name.
	addressTime = 10 * time.Second
	// mostAddresses is the number of addresses of one name that are tried.
	mostAddresses = 8
)

// Guard decides which addresses may be connected to: the public ones, and those of Private. The zero value allows the public
// ones.
type Guard struct {
	// Private are further addresses that the operator allows.
	Private []netip.Prefix
}

// Check returns ErrNotPublic for an address that is not allowed.
func (g Guard) Check(a netip.Addr) error {
	a = a.Unmap().WithZone("")
	if job.PublicAddress(a) || a.IsValid() && slices.ContainsFunc(g.Private, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return nil
	}
	return ErrNotPublic
}

// Control is for net.Dialer. It checks the address to which a socket is about to connect.
func (g Guard) Control(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return ErrNotPublic
	}
	return g.Check(a.Addr())
}

// Lookup returns the addresses of a name.
type Lookup func(ctx context.Context, name string) ([]netip.Addr, error)

// SystemLookup asks this machine's resolver. It takes a name as it is, without the machine's search domains.
func SystemLookup(ctx context.Context, name string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name+".")
}

// Dial connects to a port of a host: a name, or an address in its usual notation. It looks a name up once, and connects to one of
// the addresses that it got and that are allowed.
func (g Guard) Dial(ctx context.Context, lookup Lookup, host string, port uint16) (net.Conn, error) {
	addresses := make([]netip.Addr, 1)
	var err error
	if addresses[0], err = netip.ParseAddr(host); err != nil {
		if addresses, err = lookup(ctx, host); err != nil {
			return nil, fmt.Errorf("look up %s: %w", host, err)
		}
	}
	if len(addresses) == 0 {
		return nil, &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	dialer := &net.Dialer{Control: g.Control}
	var failed, refused error
	for _, a := range addresses[:min(len(addresses), mostAddresses)] {
		if refused = g.Check(a); refused != nil {
			continue
		}
		conn, err := dialOne(ctx, dialer, netip.AddrPortFrom(a.Unmap().WithZone(""), port))
		if err == nil {
			return conn, nil
		}
		if failed == nil {
			failed = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	if failed == nil {
		failed = refused
	}
	return nil, fmt.Errorf("connect to %s: %w", net.JoinHostPort(host, strconv.Itoa(int(port))), failed)
}

func dialOne(ctx context.Context, dialer *net.Dialer, to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, addressTime)
	defer cancel()
	return dialer.DialContext(ctx, "tcp", to.String())
}
