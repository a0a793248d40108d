package sandboxport

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync/atomic"

	"github.com/kaa-run/kaa/internal/service"
)

var (
	// ErrNoHTTP says that what listens on the port does not answer as a server of HTTP.
	ErrNoHTTP = errors.New("what listens on the port does not answer as a server of HTTP")
	// ErrUpgrade refuses other protocols than WebSocket.
	ErrUpgrade = errors.New("of the protocols to which a connection can change, only WebSocket is passed on, without a body")
)

const (
	// mostHeader bounds the line and the header of an answer, and all that comes before it.
	mostHeader = 64 << 10
	// writePiece is how much of a request is sent to the sandbox at once: each piece is a message.
	writePiece = 64 << 10
)

// Request is a request of HTTP, or for a WebSocket, to a port.
type Request struct {
	Port
	// Path is the path at the server as it is written in a URL, with a slash at its beginning.
	Path string
	// Below is the path outside below which the server is seen, without a slash at its end. Empty: the server has a host name of its own, Host.
	Below, Host string
	// Prefix tells the server the path below which it is seen; empty if that is secret.
	Prefix string
	// Signed: the host name has proved who calls, so all other proofs are for the server.
	Signed bool
	// Secrets are further headers, and Parameters those of the query, that the server must not see: keys and tokens.
	Secrets, Parameters []string
	// SecretProtocol begins subprotocols of WebSockets that bring a key.
	SecretProtocol string
	// Fail answers a request that has no answer: a *ClosedError, ErrNoHTTP, ErrSilent, ErrUpgrade, or an error of the service.
	Fail func(w http.ResponseWriter, r *http.Request, err error)
}

// Serve passes a request on, and its answer back.
func (p *Request) Serve(w http.ResponseWriter, r *http.Request) {
	if !upgradable(r) {
		p.Fail(w, r, ErrUpgrade)
		return
	}
	end, err := p.Service.BeginCommandSocket(service.CallerOf(r.Context()), p.Session)
	if err != nil {
		p.Fail(w, r, err)
		return
	}
	defer end()
	p.serve(w, r, p.dial)
}

// upgradable reports whether a request stays one of HTTP, or asks for a WebSocket.
func upgradable(r *http.Request) bool {
	all := r.Header.Values("Upgrade")
	return len(all) == 0 || len(all) == 1 && strings.EqualFold(all[0], "websocket") && (r.Body == nil || r.Body == http.NoBody)
}

// serve is Serve with the way to the port.
func (p *Request) serve(w http.ResponseWriter, r *http.Request, dial func(context.Context) (*conn, error)) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel() // the connection ends with the request
	var reached atomic.Pointer[conn]
	transport := &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			c, err := dial(ctx)
			if err != nil {
				return nil, &dialError{err}
			}
			reached.Store(c)
			return c, nil
		},
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: mostHeader, WriteBufferSize: writePiece,
	}
	proxy := &httputil.ReverseProxy{
		Transport:      answers{transport, ctx},
		FlushInterval:  -1,
		Rewrite:        p.toPort,
		ModifyResponse: func(a *http.Response) error { return p.fromPort(w.Header(), r, a) },
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, err error) { p.Fail(w, r, cause(ctx, reached.Load(), err)) },
		ErrorLog:       log.New(io.Discard, "", 0), // the code could write there
	}
	proxy.ServeHTTP(w, r)
}

// dialError says that the port was not reached.
type dialError struct{ error }

func (e *dialError) Unwrap() error { return e.error }

// cause is why a request has no answer.
func cause(ctx context.Context, reached *conn, err error) error {
	if body, ok := errors.AsType[*service.BodyError](err); ok {
		return body
	}
	if dial, ok := errors.AsType[*dialError](err); ok {
		return dial.error
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if reached != nil && reached.Failed() != nil {
		return reached.Failed()
	}
	return ErrNoHTTP
}

// answers passes on only what the proxy can make harmless: neither answers of the kind 1xx, which it would send as they are, nor trailers.
type answers struct {
	transport *http.Transport
	ctx       context.Context //nolint:containedctx // of the request, without the proxy's trace
}

// RoundTrip is for http.RoundTripper.
func (t answers) RoundTrip(r *http.Request) (*http.Response, error) {
	a, err := t.transport.RoundTrip(r.WithContext(t.ctx))
	if err != nil {
		return nil, err //nolint:wrapcheck // cause looks at it
	}
	own := *a // the trailers arrive in the other one
	own.Trailer = nil
	return &own, nil
}
