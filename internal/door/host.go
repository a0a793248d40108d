package door

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/kaa-run/kaa/internal/service"
)

// knownHost refuses requests to names that are not this machine's. A page of a name that its owner
// lets point to 127.0.0.1 is, to the reader's browser, of the same origin as the Kaa there: the name in
// Host is the only difference from a page of ours (DNS rebinding). Addresses cannot be made to point
// elsewhere. Probes pass: their answers are public, and machines send them to any name.
func (in *entrance) knownHost(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	probe := in.dialect.Probe(r) && in.dialect.Public(r)
	if in.cfg.CheckHost && !probe && !isKnownHost(r.Host, in.cfg.Hosts) {
		in.refuse(w, r, service.ErrHost)
		return
	}
	next(w, r)
}

// isKnownHost reports whether a Host header names this machine to itself, or is one that the operator
// allows. Without one, which HTTP/1.0 permits, no browser has sent it.
func isKnownHost(header string, allowed []string) bool {
	host, _, err := net.SplitHostPort(header)
	if err != nil {
		host = header // there is no port
	}
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	if host == "" || strings.EqualFold(host, "localhost") || matchesHost(host, allowed) || matchesHost(header, allowed) {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
