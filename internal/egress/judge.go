package egress

import (
	"cmp"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"

	"github.com/kaa-run/kaa/internal/job"
)

// allowed is a request that a rule allows, with its destination and its secrets.
type allowed struct {
	scheme, host string // of the destination
	rule         *requestRule
	headers      http.Header // values of secrets
}

// judge looks for the rule that allows a request, and for the secrets that the rule names.
func (i *interceptor) judge(r *http.Request, scheme, host string, port uint16) (*allowed, *refusal) {
	to := place(host, port)
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace { // TRACE would show the code the secrets
		return nil, &refusal{job.NetworkRequest, r.Method + " is not allowed at " + to + ", for which network.http has rules"}
	}
	path, clean := job.CleanPath(cmp.Or(r.URL.Path, "/"), r.URL.EscapedPath())
	odd := false
	for k := range i.rules {
		rule := &i.rules[k]
		switch {
		case !rule.to.Matches(host, port):
			continue
		case len(rule.Paths) > 0 && !clean:
			odd = true
			continue
		case !rule.Allows(r.Method, path):
			continue
		}
		a := &allowed{scheme: scheme, host: hostOf(scheme, host, port), rule: rule, headers: http.Header{}}
		for name, value := range rule.Headers {
			text, why := i.secret(value.Secret, scheme, host, port)
			if why != nil {
				return nil, why
			}
			a.headers.Set(name, text)
		}
		return a, nil
	}
	if odd {
		return nil, &refusal{job.NetworkRequest, "the path has . or .., an empty part, a backslash or an escape of one of /, \\ and %, which rules with paths do not allow at " + to}
	}
	return nil, &refusal{job.NetworkRequest, "network.http has no rule for such a request at " + to + " (" + clip(r.Method) + ")"}
}

// secret returns a value for a destination that may have it.
func (i *interceptor) secret(name, scheme, host string, port uint16) (string, *refusal) {
	all := i.door.gate.cfg.Secrets.All()
	k := slices.IndexFunc(all, func(s job.NetworkSecret) bool { return s.Name == name })
	switch to := place(host, port); {
	case k < 0 || all[k].Value == "":
		return "", &refusal{job.NetworkRequest, "this runner does not have the secret " + name + " (KAA_SECRETS_FILE)"}
	case !job.Reaches(all[k].To, host, port):
		return "", &refusal{job.NetworkRequest, "the secret " + name + " may not go to " + to}
	case scheme != "https" && !all[k].Plain:
		return "", &refusal{job.NetworkRequest, "the secret " + name + " goes out by https:// only"}
	}
	return string(all[k].Value), nil
}

// hostOf is the host of a URL, without the port that its scheme has anyway.
func hostOf(scheme, host string, port uint16) string {
	at := place(host, port)
	if scheme == "https" && port == 443 || scheme == "http" && port == 80 {
		return at[:strings.LastIndexByte(at, ':')]
	}
	return at
}

// methodHeaders let some servers take a request for one with another method.
var methodHeaders = []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"} //nolint:gochecknoglobals // constant

// pathHeaders let some servers take a request for one with another path, and name the path to which one copies or moves.
var pathHeaders = []string{"X-Original-Url", "X-Rewrite-Url", "X-Original-Uri", "X-Override-Url", "X-Forwarded-Uri", "X-Forwarded-Path", "Destination"} //nolint:gochecknoglobals // constant

// rewriteAllowed makes an allowed request one to its destination. ReverseProxy has removed the headers that are between the client and this proxy.
func rewriteAllowed(p *httputil.ProxyRequest) {
	a, ok := p.In.Context().Value(allowedKey{}).(*allowed)
	if !ok {
		p.Out.URL = &url.URL{} // it leads nowhere
		return
	}
	p.Out.URL = &url.URL{Scheme: a.scheme, Host: a.host, Path: p.In.URL.Path, RawPath: p.In.URL.RawPath, RawQuery: p.In.URL.RawQuery, ForceQuery: p.In.URL.ForceQuery}
	p.Out.Host, p.Out.Trailer = a.host, nil
	keepForwarded(p)
	if !strings.EqualFold(p.Out.Header.Get("Upgrade"), "websocket") { // after another upgrade, requests would not be looked at
		p.Out.Header.Del("Upgrade")
		p.Out.Header.Del("Connection")
	}
	if len(a.rule.Methods) > 0 {
		for _, name := range methodHeaders {
			removeHeader(p.Out.Header, name)
		}
	}
	if len(a.rule.Paths) > 0 {
		for _, name := range pathHeaders {
			removeHeader(p.Out.Header, name)
		}
	}
	for name, values := range a.headers {
		removeHeader(p.Out.Header, name)
		p.Out.Header[name] = values
	}
}

// removeHeader removes a header in all forms that some servers take for the same one: names of variables have no other characters than letters and
// digits, so all others may become the same.
func removeHeader(h http.Header, name string) {
	same := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}
	for other := range h {
		if strings.Map(same, strings.ToLower(other)) == strings.Map(same, strings.ToLower(name)) {
			delete(h, other)
		}
	}
}

// clip shortens a text of the code for a message.
func clip(text string) string {
	const most = 20
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
