package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// tlsHandshake is the first byte of a client that speaks TLS.
const tlsHandshake = 0x16

// http11 is the only protocol in TLS (ALPN). Clients that speak HTTP/2, too, use it then.
const http11 = "http/1.1"

// idleOutside is how long a connection to a destination stays open between requests.
const idleOutside = 30 * time.Second

// interceptor looks into the requests of one sandbox to those destinations for which its request has rules, and lets through what a rule allows.
type interceptor struct {
	door      *Door
	rules     []requestRule
	authority *authority
	forward   http.Handler
	onward    *http.Transport
	server    *http.Server
	requests  *queue // of clients whose destination has rules
}

// requestRule is a rule with its destinations.
type requestRule struct {
	job.HTTPRule
	to job.NetworkRule
}

// newInterceptor returns nil if a network has no rules for requests.
func newInterceptor(d *Door, n job.Network) *interceptor {
	if len(n.HTTP) == 0 {
		return nil
	}
	i := &interceptor{door: d, requests: newQueue(d.listener.Addr())}
	for _, r := range n.HTTP {
		// One that cannot be read, of a later release, allows nothing.
		if to, err := job.ParseNetworkRule(r.To); err == nil {
			i.rules = append(i.rules, requestRule{r, to})
		}
	}
	var err error
	if i.authority, err = newAuthority(); err != nil {
		d.gate.cfg.Log.Error("network: no certificates for a sandbox", slog.Any("err", err))
	}
	i.onward = &http.Transport{
		DialContext: i.dial, TLSClientConfig: &tls.Config{RootCAs: d.gate.cfg.Roots, MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: connectTime,
		MaxResponseHeaderBytes: mostHeaders, ResponseHeaderTimeout: idleTime, DisableCompression: true, MaxIdleConnsPerHost: 2, MaxIdleConns: 8, IdleConnTimeout: idleOutside,
	}
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	i.forward = &httputil.ReverseProxy{Transport: i.onward, FlushInterval: -1, Rewrite: rewriteAllowed, ErrorHandler: answerError, ErrorLog: quiet, BufferPool: buffers{}}
	i.server = &http.Server{
		Handler: http.HandlerFunc(i.serve), ErrorLog: quiet, ReadHeaderTimeout: beginTime, IdleTimeout: keepTime, MaxHeaderBytes: mostHeaders,
		BaseContext: func(net.Listener) context.Context { return d.life }, ConnContext: withClient,
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, // HTTP/1.1 only
	}
	d.working.Go(func() { _ = i.server.Serve(i.requests) })
	return i
}

// close ends what the interceptor has, but for connections, which the door closes.
func (i *interceptor) close() {
	if i != nil {
		_ = i.server.Close()
		i.onward.CloseIdleConnections()
	}
}

// has reports whether there are rules for requests to a destination. Then there is no other way to it.
func (i *interceptor) has(host string, port uint16) bool {
	return i != nil && slices.ContainsFunc(i.rules, func(r requestRule) bool { return r.to.Matches(host, port) })
}

// admit says why a client cannot begin to send requests to a destination.
func (i *interceptor) admit(host string, port uint16) error {
	d := i.door
	switch to := place(host, port); {
	case !job.Reaches(d.gate.cfg.Allow, host, port):
		return d.count.refuse(host, port, notAllowed(host, port))
	case !d.gate.cfg.Intercept || i.authority == nil:
		return d.count.refuse(host, port, &refusal{job.NetworkNotAllowed, "this runner does not look into requests (KAA_EGRESS_INTERCEPT), which the rules for " + to + " need"})
	}
	return nil
}

// client is a connection whose requests go to one destination.
type client struct {
	net.Conn
	reader *bufio.Reader
	host   string
	port   uint16
	secure bool // it speaks TLS
}

func (c *client) Read(p []byte) (int, error) { return c.reader.Read(p) }

// CloseWrite shows the client that nothing follows.
func (c *client) CloseWrite() error { return closeWrite(c.Conn) }

// take serves the requests of a client, which may have sent some bytes already. It owns the connection then.
func (i *interceptor) take(in net.Conn, early []byte, host string, port uint16) {
	c := &client{Conn: in, reader: bufio.NewReaderSize(io.MultiReader(strings.NewReader(string(early)), in), 4<<10), host: host, port: port}
	_ = in.SetDeadline(time.Now().Add(beginTime))
	first, err := c.reader.Peek(1)
	if err != nil {
		_ = in.Close()
		return
	}
	_ = in.SetDeadline(time.Time{}) // the server sets its own
	if first[0] != tlsHandshake {
		i.requests.put(c)
		return
	}
	c.secure = true
	i.requests.put(tls.Server(c, &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{http11}, SessionTicketsDisabled: true,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if len(hello.SupportedProtos) > 0 && !slices.Contains(hello.SupportedProtos, http11) { // the handshake fails
				_ = i.door.count.refuse(host, port, &refusal{job.NetworkBadRequest, "a client that does not speak HTTP/1.1, as gRPC, cannot send requests to " + place(host, port) + ", for which network.http has rules"})
			}
			return nil, nil //nolint:nilnil // this configuration
		},
		// The name in the client's greeting (SNI) does not count: a certificate for another name would be of no use to it.
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.authority.certify(host) },
	}))
}

type (
	clientKey  struct{}
	allowedKey struct{}
)

// withClient lets the handler know from which client a request comes.
func withClient(ctx context.Context, c net.Conn) context.Context {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	return context.WithValue(ctx, clientKey{}, c)
}

// serve answers a request of a client whose destination has rules.
func (i *interceptor) serve(w http.ResponseWriter, r *http.Request) {
	c, ok := r.Context().Value(clientKey{}).(*client)
	if !ok {
		return
	}
	scheme := "http"
	if c.secure {
		scheme = "https"
	}
	i.pass(w, r, scheme, c.host, c.port)
}

// pass passes a request on if a rule allows it. Only the method and the path of the request count; host and scheme are the destination's.
func (i *interceptor) pass(w http.ResponseWriter, r *http.Request, scheme, host string, port uint16) {
	a, why := i.judge(r, scheme, host, port)
	if why != nil {
		refuseHTTP(w, i.door.count.refuse(host, port, why))
		return
	}
	passOn(i.forward, w, r.WithContext(context.WithValue(r.Context(), allowedKey{}, a)))
}

// dial connects for an allowed request.
func (i *interceptor) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, port, err := job.ParseDestination(address)
	if err != nil {
		return nil, i.door.count.refuse("", 0, badRequest(err))
	}
	out, err := i.door.reach(ctx, host, port)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// untrusted reports whether a destination has no certificate that the runner trusts.
func untrusted(err error) bool {
	_, wrong := errors.AsType[*tls.CertificateVerificationError](err)
	return wrong
}
