package egress

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/kaa-run/kaa/internal/job"
)

// serveHTTP answers one request of a client that speaks HTTP.
func (d *Door) serveHTTP(forward http.Handler, w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		d.tunnel(w, r)
		return
	}
	why := ""
	switch {
	case r.URL.Host == "":
		why = "this is a proxy: send a request with an absolute URL (GET http://host/path), or CONNECT"
	case r.URL.Scheme != "http":
		why = "send CONNECT for other URLs than http://"
	}
	if why != "" {
		refuseHTTP(w, d.count.refuse("", 0, &refusal{job.NetworkBadRequest, why}))
		return
	}
	if d.inspect == nil {
		passOn(forward, w, r)
		return
	}
	host, port, err := destinationOf(r.URL)
	switch {
	case err != nil:
		refuseHTTP(w, d.count.refuse("", 0, badRequest(err)))
	case !d.inspect.has(host, port):
		passOn(forward, w, r)
	default:
		if err := d.inspect.admit(host, port); err != nil {
			refuseHTTP(w, err)
			return
		}
		d.inspect.pass(w, r, "http", host, port)
	}
}

// passOn passes a request on, and its answer. A destination may answer while the body is on its way, or at the very moment of its last byte. Without
// full duplex the server would close the body before it writes the answer's header, and the transport would take that for a fault of the
// connection and cut the answer off.
func passOn(to http.Handler, w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/1.1 has it
	to.ServeHTTP(w, r)
}

// destinationOf reads the host and the port of a URL with http://.
func destinationOf(u *url.URL) (string, uint16, error) {
	at := u.Host
	if u.Port() == "" {
		at = strings.TrimSuffix(at, ":") + ":80"
	}
	return job.ParseDestination(at)
}

// rewrite makes a request one to its destination, which its URL names. The header Host counts for nothing: a rule for one name must not
// lead to another one at the same address. ReverseProxy has removed the headers that are between the client and this proxy.
func rewrite(p *httputil.ProxyRequest) {
	p.Out.URL = p.In.URL
	p.Out.Host = p.In.URL.Host
	keepForwarded(p)
}

// keepForwarded leaves headers to the client that ReverseProxy has taken for those of another proxy.
func keepForwarded(p *httputil.ProxyRequest) {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := p.In.Header[name]; ok {
			p.Out.Header[name] = values
		}
	}
}

// tunnel connects a client with a destination (CONNECT).
func (d *Door) tunnel(w http.ResponseWriter, r *http.Request) {
	host, port, err := job.ParseDestination(r.RequestURI)
	if err != nil {
		refuseHTTP(w, d.count.refuse("", 0, badRequest(err)))
		return
	}
	if d.inspect.has(host, port) {
		if err := d.inspect.admit(host, port); err != nil {
			d.refuseTunnel(w, err)
			return
		}
		if client, early, ok := establish(w); ok {
			d.inspect.take(client, early, host, port)
		}
		return
	}
	// Not with the request's context: that ends when the client ends its direction, which it may.
	out, err := d.connect(d.life, host, port)
	if err != nil {
		d.refuseTunnel(w, err)
		return
	}
	defer out.Close()
	in, early, ok := establish(w)
	if !ok {
		return
	}
	defer in.Close()
	if len(early) > 0 {
		if _, err := out.Write(early); err != nil {
			return
		}
	}
	pipe(in, out)
}

// establish answers a CONNECT. The caller owns the connection then; early is what the client has sent already.
func establish(w http.ResponseWriter) (in *inside, early []byte, ok bool) {
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, false
	}
	if in, ok = client.(*inside); ok {
		early = make([]byte, buffered.Reader.Buffered())
		_, _ = io.ReadFull(buffered.Reader, early)
		_, err = io.WriteString(in, "HTTP/1.1 200 Connection established\r\n\r\n")
	}
	if !ok || err != nil {
		_ = client.Close()
		return nil, nil, false
	}
	return in, early, true
}

// refuseTunnel answers a CONNECT. Most clients show the text of the status line only, so the reason is there.
func (d *Door) refuseTunnel(w http.ResponseWriter, err error) {
	client, _, hijackErr := http.NewResponseController(w).Hijack()
	if hijackErr != nil {
		return
	}
	defer client.Close()
	_, _ = io.WriteString(client, statusLine(statusOf(err), err.Error()))
}

// statusLine is a whole answer with a text in its status line and as its body.
func statusLine(status int, text string) string {
	text = printable("Kaa: " + text)
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nProxy-Status: kaa\r\nConnection: close\r\n\r\n%s\n", status, text, len(text)+1, text)
}

func refuseHTTP(w http.ResponseWriter, err error) {
	w.Header().Set("Proxy-Status", "kaa")
	w.Header().Set("Connection", "close") // what follows may be a part of the request
	http.Error(w, "Kaa: "+err.Error(), statusOf(err))
}

// answerError answers a request that did not reach its destination.
func answerError(w http.ResponseWriter, _ *http.Request, err error) {
	var timeout net.Error
	if why, ok := errors.AsType[*refusal](err); ok {
		err = why
	} else if errors.As(err, &timeout) && timeout.Timeout() {
		err = &refusal{job.NetworkTimeout, "the destination does not answer"}
	} else if untrusted(err) {
		err = errors.New("the destination has no certificate that this runner trusts")
	} else {
		err = errors.New("the destination did not answer as a server of HTTP")
	}
	refuseHTTP(w, err)
}

func statusOf(err error) int {
	why := (*refusal)(nil)
	if !errors.As(err, &why) {
		return http.StatusBadGateway
	}
	switch why.outcome {
	case job.NetworkNotAllowed, job.NetworkPrivate, job.NetworkBytes, job.NetworkRequest:
		return http.StatusForbidden
	case job.NetworkBadRequest:
		return http.StatusBadRequest
	case job.NetworkTooMany:
		return http.StatusServiceUnavailable
	case job.NetworkTimeout:
		return http.StatusGatewayTimeout
	case job.NetworkNotFound, job.NetworkUnreachable, job.NetworkConnected:
	}
	return http.StatusBadGateway
}

// printable leaves out what has no place in a status line.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}
