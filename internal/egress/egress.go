// Package egress serves the proxies through which code in sandboxes reaches the network.
//
// A sandbox has no interface but its loopback. Where a request allows destinations, the sandbox's slot makes a listening socket on that
// loopback and passes it to the runner, which gives it to a Gate. The gate accepts connections there: HTTP (CONNECT, and requests with an
// absolute URL) and SOCKS5 at the same port. It compares the name that the code asks for with the rules, looks it up outside, checks the
// address (package netguard), and connects. Where the request has rules for requests of HTTP, it looks into them (intercept.go).
//
// All that code sends is hostile. So each connection has bounded memory and a goroutine of its own, and sandboxes share neither
// connections to destinations nor anything else but the gate's supply of places, of which each tenant gets a share.
package egress

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/netguard"
)

const (
	// mostOfGate is the number of connections of all sandboxes of a runner together.
	mostOfGate = 1024
	// beginTime is the time that a client has for its request.
	beginTime = 30 * time.Second
	// connectTime is the time limit for a connection to a destination.
	connectTime = 30 * time.Second
	// keepTime is how long a client may leave a connection of HTTP open between requests.
	keepTime = 2 * time.Minute
)

// Config has the operator's bounds of all sandboxes.
type Config struct {
	Allow   []job.NetworkRule // destinations; others are refused, whatever a request allows
	Private []netip.Prefix    // addresses that are not public and allowed all the same
	// Connections are those that a sandbox may have at once, and Bytes those that it may send and receive in all; 0 is no limit.
	Connections int
	Bytes       int64
	Lookup      netguard.Lookup // the machine's resolver by default
	// Dial connects to a destination after the checks of its name: a guard with Private and Lookup by default.
	Dial func(ctx context.Context, host string, port uint16) (net.Conn, error)
	// Intercept lets doors look into requests for which a network has rules. Secrets are values of headers that such rules name. Roots are
	// whom the gate trusts to certify destinations: the machine's by default.
	Intercept bool
	Secrets   *job.NetworkSecrets
	Roots     *x509.CertPool
	Log       *slog.Logger
}

// Gate serves the proxies of a runner's sandboxes.
type Gate struct {
	cfg    Config
	places job.Shares // connections of each owner of code
}

// New returns a gate.
func New(cfg Config) *Gate {
	if cfg.Lookup == nil {
		cfg.Lookup = netguard.SystemLookup
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Dial == nil {
		guard := netguard.Guard{Private: cfg.Private}
		cfg.Dial = func(ctx context.Context, host string, port uint16) (net.Conn, error) {
			return guard.Dial(ctx, cfg.Lookup, host, port)
		}
	}
	return &Gate{cfg: cfg}
}

// refusal is the reason why there is no connection. Code sees its text.
type refusal struct {
	outcome job.NetworkOutcome
	text    string
}

func (r *refusal) Error() string { return r.text }

// connect connects to a destination for a sandbox. Every error is a *refusal.
func (d *Door) connect(ctx context.Context, host string, port uint16) (*outside, error) {
	if !job.Reaches(d.rules, host, port) || d.inspect.has(host, port) {
		return nil, d.count.refuse(host, port, notAllowed(host, port))
	}
	return d.reach(ctx, host, port)
}

func notAllowed(host string, port uint16) *refusal {
	return &refusal{job.NetworkNotAllowed, place(host, port) + " is not in network.allow"}
}

// reach is connect without the rules of the request.
func (d *Door) reach(ctx context.Context, host string, port uint16) (*outside, error) {
	to := place(host, port)
	if !job.Reaches(d.gate.cfg.Allow, host, port) {
		return nil, d.count.refuse(host, port, notAllowed(host, port))
	}
	if d.count.isOverBytes() {
		return nil, d.count.refuse(host, port, &refusal{job.NetworkBytes, "this sandbox has sent and received all bytes that it may"})
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := d.gate.cfg.Dial(ctx, host, port)
	if err != nil {
		return nil, d.count.refuse(host, port, reasonOf(to, err))
	}
	counted := d.count.connected(conn, host, port)
	if counted.d = d; !d.hold(counted) {
		_ = conn.Close()
		return nil, &refusal{job.NetworkUnreachable, "the sandbox ends"}
	}
	return counted, nil
}

// reasonOf words why a destination was not reached, without addresses of the operator's network.
func reasonOf(to string, err error) *refusal {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, netguard.ErrNotPublic):
		return &refusal{job.NetworkPrivate, to + " has no public address"}
	case errors.As(err, &dns) && dns.IsNotFound:
		return &refusal{job.NetworkNotFound, "there is no host of the name in " + to}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return &refusal{job.NetworkTimeout, to + " does not answer"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &refusal{job.NetworkUnreachable, to + " refuses the connection"}
	case dns != nil:
		return &refusal{job.NetworkUnreachable, "the name in " + to + " cannot be looked up now"}
	}
	return &refusal{job.NetworkUnreachable, to + " cannot be reached"}
}
