package interpreter

import (
	"errors"
	"fmt"
	"maps"
	"net"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// Proxy is the way of one sandbox to the network.
type Proxy interface {
	// Usage returns what the sandbox did with it so far, also after Close.
	Usage() job.NetworkUsage
	// Authority is a certificate, in PEM, that clients have to trust, because the proxy looks into TLS; nil if it does not.
	Authority() []byte
	// Close ends all connections. Further calls do nothing.
	Close()
}

const (
	// proxyAddress is where the proxy of a sandbox listens: ADDRESS in proxy.py.
	proxyAddress = "127.0.0.1:3128"
	// trustFile has the certificates that clients trust, where the proxy looks into TLS: TRUST in root.py.
	trustFile = "/etc/kaa/trust.pem"
)

// trustVariables are those that lead clients to such a file: OpenSSL with Python's ssl, httpx, aiohttp and uv; requests; curl; git; pip; Node.js.
func trustVariables() []string {
	return []string{"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT", "NODE_EXTRA_CA_CERTS"}
}

// proxyVariables lead clients to the proxy. ALL_PROXY does not name SOCKS5, though the proxy speaks it: clients without a library for it
// would fail, which do well with HTTP.
func proxyVariables() map[string]string {
	const proxy, direct = "http://" + proxyAddress, "localhost,127.0.0.1,::1"
	return map[string]string{
		"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "ALL_PROXY": proxy, "NO_PROXY": direct,
		"http_proxy": proxy, "https_proxy": proxy, "all_proxy": proxy, "no_proxy": direct,
	}
}

// withProxy returns the variables of a sandbox with those for its proxy, if it has one. Those of the request hold.
func (w *Worker) withProxy(envs map[string]string) map[string]string {
	proxy := w.slot.proxyOf()
	if proxy == nil {
		return envs
	}
	all := proxyVariables()
	if proxy.Authority() != nil {
		for _, name := range trustVariables() {
			all[name] = trustFile
		}
	}
	maps.Copy(all, envs)
	return all
}

// openNetwork gives a fresh worker's sandbox a proxy, if n is not nil. It must be called before the code begins: the socket comes from
// the slot, and its port must be free. The slot gets no other worker.
func (w *Worker) openNetwork(n *job.Network) error {
	if n == nil {
		return nil
	}
	if w.pool.cfg.Egress == nil || w.pool.cfg.Sandbox != sandbox.Strict {
		return job.ErrNoNetwork
	}
	m, err := w.askSlot("N")
	if err != nil {
		return fmt.Errorf("open network: %w", err)
	}
	if m.File == nil {
		return errors.New("open network: no socket came with the answer")
	}
	l, err := net.FileListener(m.File)
	_ = m.File.Close() // FileListener has duplicated it
	if err != nil {
		return fmt.Errorf("open network: %w", err)
	}
	proxy := w.pool.cfg.Egress(l, *n, w.id)
	w.slot.setProxy(proxy)
	if trusted := proxy.Authority(); trusted != nil {
		if _, err := w.askSlot("T " + string(trusted)); err != nil {
			return fmt.Errorf("open network: trust its proxy: %w", err)
		}
	}
	return nil
}

// networkUsage returns what the worker's sandbox did with its network so far; nil if it has none.
func (w *Worker) networkUsage() *job.NetworkUsage {
	proxy := w.slot.proxyOf()
	if proxy == nil {
		return nil
	}
	u := proxy.Usage()
	return &u
}

// usageSince returns what was added to the usage since a state of it.
func (w *Worker) usageSince(before *job.NetworkUsage) *job.NetworkUsage {
	u := w.networkUsage()
	if u != nil && before != nil {
		*u = u.Since(*before)
	}
	return u
}

func (s *slot) setProxy(p Proxy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proxy = p
}

func (s *slot) proxyOf() Proxy {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proxy
}

// closeProxy ends the connections of the sandbox, if it has any.
func (s *slot) closeProxy() {
	if p := s.proxyOf(); p != nil {
		p.Close()
	}
}
