package sandboxport

import (
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/kaa-run/kaa/internal/service"
)

// policy is what keeps a page of a sandbox apart from other pages of this address, which is Kaa's: it belongs to no origin.
const policy = "sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads"

const (
	protocolHeader = "Sec-Websocket-Protocol"
	cookieHeader   = "Set-Cookie"
)

// ofProxies are the beginnings of headers that proxies in front of Kaa add: who the caller is, and from where.
func ofProxies() []string {
	return []string{
		"X-Forwarded", "X-Envoy-", "X-Auth-Request-", "X-Amzn-Oidc-", "X-Goog-Iap-", "X-Goog-Authenticated-", "X-Ms-Client-Principal", "X-Ms-Token-", "Cf-", "Fly-",
		"Tailscale-", "Remote-",
	}
}

// isSecret reports whether a header of a request is about the caller or the way to Kaa, and not for the code.
func (p *Request) isSecret(name, value string) bool {
	switch name {
	case "Kaa-Tenant", "Forwarded", "Via", "Proxy-Authorization", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "True-Client-Ip", "X-Client-Cert", "X-Ssl-Client-Cert",
		"Client-Cert", "Client-Cert-Chain":
		return true
	case "Authorization", "X-Api-Key":
		return !p.Signed || strings.Contains(value, "kaa_") // the beginning of a key, sent without need
	case "Cookie", "Referer", "Origin": // at Kaa's own address they are about Kaa
		return p.Below != ""
	}
	if slices.ContainsFunc(ofProxies(), func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
		return true
	}
	return slices.ContainsFunc(p.Secrets, func(secret string) bool { return textproto.CanonicalMIMEHeaderKey(secret) == name })
}

// toPort makes a request one to the server in the sandbox.
func (p *Request) toPort(to *httputil.ProxyRequest) {
	out := to.Out
	call := service.CallOf(to.In.Context())
	if call.HeadOnly { // the door has made a GET of it
		out.Method = http.MethodHead
	}
	out.URL = &url.URL{Scheme: "http", Host: p.local(), RawQuery: to.In.URL.RawQuery}
	out.URL.Path, out.URL.RawPath = p.Path, p.Path
	if plain, err := url.PathUnescape(p.Path); err == nil {
		out.URL.Path = plain
	}
	p.withoutParameters(out.URL)
	out.Host = p.host()
	for name, values := range out.Header {
		if p.isSecret(textproto.CanonicalMIMEHeaderKey(name), strings.Join(values, " ")) {
			delete(out.Header, name)
		}
	}
	if p.Prefix != "" {
		out.Header.Set("X-Forwarded-Prefix", p.Prefix)
	}
	p.keepProtocols(out.Header)
}

// local is the address of the server as programs in the sandbox know it.
func (p *Request) local() string { return "localhost:" + strconv.Itoa(p.Number) }

// host is what the server is told as its name. One with a host name of its own gets that: it compares it with the origin of its pages.
func (p *Request) host() string {
	if p.Host != "" {
		return p.Host
	}
	return p.local()
}

// withoutParameters removes the parameters that bring a key.
func (p *Request) withoutParameters(u *url.URL) {
	q := u.Query()
	for _, name := range p.Parameters {
		if q.Has(name) {
			q.Del(name)
			u.RawQuery = q.Encode()
		}
	}
}

// keepProtocols removes the subprotocols of a WebSocket that bring a key.
func (p *Request) keepProtocols(h http.Header) {
	if p.SecretProtocol == "" || len(h[protocolHeader]) == 0 {
		return
	}
	var kept []string
	for _, line := range h[protocolHeader] {
		for item := range strings.SplitSeq(line, ",") {
			if item = strings.TrimSpace(item); !strings.HasPrefix(item, p.SecretProtocol) {
				kept = append(kept, item)
			}
		}
	}
	h.Del(protocolHeader)
	if len(kept) > 0 {
		h.Set(protocolHeader, strings.Join(kept, ", "))
	}
}

// fromPort makes the answer of the server in the sandbox harmless for the address at which it is shown. ours is the header of the answer so far.
func (p *Request) fromPort(ours http.Header, r *http.Request, a *http.Response) error {
	for name := range ours { // such as the id of the request, and what lets pages of other origins read it
		if name != "Vary" && name != "Connection" && name != "Cache-Control" {
			a.Header.Del(name)
		}
	}
	if a.Header.Get("Cache-Control") != "" && p.Below == "" {
		ours.Del("Cache-Control")
	} else {
		a.Header.Del("Cache-Control") // it is for one caller
	}
	for _, name := range []string{
		"Clear-Site-Data", "Strict-Transport-Security", "Public-Key-Pins", "Alt-Svc", "Nel", "Report-To", "Reporting-Endpoints", "Expect-Ct", "Accept-Ch", "Critical-Ch",
	} {
		a.Header.Del(name) // they would be about the whole address, and outlive the session
	}
	for name := range a.Header {
		if isForProxies(name) {
			a.Header.Del(name)
		}
	}
	if ours.Get("Access-Control-Allow-Origin") != "" {
		for name := range a.Header {
			if strings.HasPrefix(name, "Access-Control-") {
				a.Header.Del(name)
			}
		}
	}
	if p.Below == "" {
		p.onOwnHost(a.Header)
	} else {
		p.onThisHost(a.Header)
	}
	if all := a.Header.Values("Location"); len(all) > 0 {
		a.Header.Del("Location") // of several, clients follow different ones
		if to := p.outside(all[0], r.Host); to != "" && len(all) == 1 {
			a.Header.Set("Location", to)
		}
	}
	// The address of the page may be a secret, and has ids.
	a.Header.Set("Referrer-Policy", "same-origin")
	a.Header.Set("X-Content-Type-Options", "nosniff")
	if a.StatusCode == http.StatusSwitchingProtocols {
		service.CallOf(r.Context()).Upgraded()
	}
	return nil
}

// isForProxies reports whether a header of an answer is for a proxy in front of Kaa: it has the proxy answer with a file or another address of its own, or
// keep the answer.
func isForProxies(name string) bool {
	switch name {
	case "X-Accel-Buffering": // of streams
		return false
	case "X-Sendfile", "X-Sendfile2", "Cdn-Cache-Control", "Surrogate-Control", "Edge-Control":
		return true
	}
	return strings.HasSuffix(name, "-Cdn-Cache-Control") ||
		slices.ContainsFunc([]string{"X-Accel-", "X-Lighttpd-", "X-Reproxy-"}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// isDelay reports whether a Refresh header has a time only, and no address, which clients read in different ways.
func isDelay(text string) bool {
	return text != "" && strings.Trim(text, "0123456789.") == ""
}

// onThisHost changes the header of an answer that is shown at Kaa's own address.
func (*Request) onThisHost(h http.Header) {
	for _, name := range []string{cookieHeader, "Set-Cookie2", "Service-Worker-Allowed", "Access-Control-Allow-Credentials", "Www-Authenticate", "Authentication-Info"} {
		h.Del(name)
	}
	if !isDelay(strings.Join(h.Values("Refresh"), ",")) {
		h.Del("Refresh") // it leads a client as Location does
	}
	h.Add("Content-Security-Policy", policy)
}

// onOwnHost changes the header of an answer that is shown at a host name of its own. Its cookies must not reach the host names of other sandboxes.
func (*Request) onOwnHost(h http.Header) {
	lines := h[cookieHeader]
	delete(h, cookieHeader)
	for _, line := range lines {
		kept := slices.DeleteFunc(strings.Split(line, ";"), func(part string) bool {
			name, _, _ := strings.Cut(part, "=")
			return strings.EqualFold(strings.TrimSpace(name), "domain")
		})
		h.Add(cookieHeader, strings.Join(kept, ";"))
	}
	h.Set("X-Robots-Tag", "noindex")
}
