package job

import (
	"fmt"
	"log/slog"
	"maps"
	"net/textproto"
	"slices"
	"strings"
)

// HTTPRule allows requests of HTTP at destinations into which the proxy of the sandbox looks. Where a network has such rules for a
// destination, they alone count there.
type HTTPRule struct {
	To      string   `json:"to"`                // destinations: see ParseNetworkRule
	Methods []string `json:"methods,omitempty"` // all without any
	Paths   []string `json:"paths,omitempty"`   // see MatchPath; all without any
	// Headers are put into the request outside of the sandbox, in place of the code's own of the same name.
	Headers map[string]HeaderValue `json:"headers,omitempty"`
}

// HeaderValue is the value of a header: the secret with a name. The value itself is in no record.
type HeaderValue struct {
	Secret string `json:"secret"`
}

const (
	maxHTTPMethods = 16
	maxHTTPPaths   = 32
	maxHTTPPath    = 512
	maxHTTPHeaders = 8
	maxHTTPHeader  = 64
	maxSecretName  = 64
	maxSecretValue = 8 << 10
)

// NetworkSecret is a value of a header that the operator gives to requests of code without showing it to the code. It hides its value from logs.
type NetworkSecret struct {
	Name    string
	Value   Secret        // empty in an API process that is not to know it
	To      []NetworkRule // the destinations that may get it
	Tenants []string      // whose requests may name it; "*" is every tenant
	Plain   bool          // it may go out without TLS
}

// LogValue hides the value.
func (s NetworkSecret) LogValue() slog.Value { return slog.StringValue("secret " + s.Name) }

// String hides the value.
func (s NetworkSecret) String() string { return "secret " + s.Name }

// GoString hides the value.
func (s NetworkSecret) GoString() string { return s.String() }

// Check says what is wrong with a secret, without its value.
func (s NetworkSecret) Check() error {
	switch {
	case s.Name == "" || len(s.Name) > maxSecretName || strings.ContainsFunc(s.Name, func(r rune) bool { return isNoHostRune(r) && r != '.' }):
		return fmt.Errorf("name %s is not one; use up to %d lower-case letters, digits, dots, underscores and dashes", quote(s.Name), maxSecretName)
	case len(s.Value) > maxSecretValue || strings.ContainsFunc(string(s.Value), func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("secret %s: its value is not one of a header; use one line of at most %d bytes", s.Name, maxSecretValue)
	case len(s.To) == 0:
		return fmt.Errorf("secret %s: to is empty; name the destinations that may get it", s.Name)
	case len(s.Tenants) == 0:
		return fmt.Errorf(`secret %s: tenants is empty; name the tenants whose requests may use it, or ["*"] for everybody`, s.Name)
	}
	return nil
}

// isFor reports whether requests of a tenant may name the secret.
func (s NetworkSecret) isFor(tenant string) bool {
	return slices.ContainsFunc(s.Tenants, func(t string) bool { return t == "*" || t != "" && t == tenant })
}

// Allows reports whether the rule has a request. A path is one that CleanPath has accepted.
func (r HTTPRule) Allows(method, path string) bool {
	return (len(r.Methods) == 0 || slices.Contains(r.Methods, method)) &&
		(len(r.Paths) == 0 || slices.ContainsFunc(r.Paths, func(p string) bool { return MatchPath(p, path) }))
}

// MatchPath reports whether a pattern has a path. A part of the pattern that is * stands for one part of the path, and at the end for all that follows.
func MatchPath(pattern, path string) bool {
	parts, of := strings.Split(pattern, "/"), strings.Split(path, "/")
	for i, part := range parts {
		switch {
		case i >= len(of):
			return false
		case part == "*" && i == len(parts)-1:
			return true
		case part == "*" && of[i] != "", part == of[i]:
		default:
			return false
		}
	}
	return len(parts) == len(of)
}

// CleanPath returns a path of a URL with its escapes resolved. It refuses paths that servers read in different ways: with . or .., empty parts, backslashes,
// control characters, and escapes of these or of slashes, also if they are escaped twice.
func CleanPath(decoded, raw string) (string, bool) {
	lower := strings.ToLower(raw)
	for _, escape := range []string{"%2f", "%5c", "%25"} {
		if strings.Contains(lower, escape) {
			return "", false
		}
	}
	if !strings.HasPrefix(decoded, "/") || strings.Contains(decoded, "//") || strings.ContainsFunc(decoded, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
		return "", false
	}
	for part := range strings.SplitSeq(decoded, "/") {
		part, _, _ = strings.Cut(part, ";") // some servers take parameters off before they look for dots
		if part == "." || part == ".." {
			return "", false
		}
	}
	return decoded, true
}

// httpRules checks rules for requests, and returns them in their usual form.
func (l Limits) httpRules(v *validation, rules []HTTPRule) []HTTPRule {
	const field = "network.http"
	switch {
	case len(rules) == 0:
		return nil
	case !l.Intercept:
		v.add(field, "is not allowed: this Kaa does not look into requests; name the destinations in network.allow, or ask its operator (KAA_EGRESS_INTERCEPT)")
		return nil
	case len(rules) > maxNetworkRules:
		v.add(field, "has %d rules, the limit is %d", len(rules), maxNetworkRules)
		return nil
	}
	clean := make([]HTTPRule, 0, len(rules))
	for i, r := range rules {
		at := fmt.Sprintf("%s[%d]", field, i)
		rule, ok := l.networkRule(v, at+".to", r.To)
		r.Methods = httpMethods(v, at+".methods", r.Methods)
		httpPaths(v, at+".paths", r.Paths)
		if ok {
			r.To = rule.String()
			r.Headers = l.httpHeaders(v, at+".headers", rule, r.Headers)
		}
		clean = append(clean, r)
	}
	return clean
}

func httpMethods(v *validation, field string, methods []string) []string {
	if len(methods) > maxHTTPMethods {
		v.add(field, "has %d methods, the limit is %d", len(methods), maxHTTPMethods)
		return nil
	}
	var clean []string
	for i, m := range methods {
		upper := strings.ToUpper(m)
		switch {
		case upper == "CONNECT" || upper == "TRACE":
			v.add(fmt.Sprintf("%s[%d]", field, i), "%s cannot be allowed", upper)
		case m == "" || len(m) > maxHTTPHeader || strings.ContainsFunc(upper, func(r rune) bool { return (r < 'A' || r > 'Z') && r != '-' && r != '_' }):
			v.add(fmt.Sprintf("%s[%d]", field, i), "%s is no method; use GET, HEAD, POST, …", quote(m))
		case !slices.Contains(clean, upper):
			clean = append(clean, upper)
		}
	}
	return clean
}

func httpPaths(v *validation, field string, paths []string) {
	if len(paths) > maxHTTPPaths {
		v.add(field, "has %d paths, the limit is %d", len(paths), maxHTTPPaths)
		return
	}
	for i, p := range paths {
		at := fmt.Sprintf("%s[%d]", field, i)
		_, ok := CleanPath(p, p)
		switch {
		case len(p) > maxHTTPPath:
			v.add(at, "has %d bytes, the limit is %d", len(p), maxHTTPPath)
		case strings.ContainsAny(p, "?#%"):
			v.add(at, "%s has a query, a fragment or an escape; write the path alone, without escapes", quote(p))
		case !ok:
			v.add(at, "%s is no path; write it from its slash, without . and .. and empty parts, as /repos/acme/*", quote(p))
		case slices.ContainsFunc(strings.Split(p, "/"), func(part string) bool { return part != "*" && strings.Contains(part, "*") }):
			v.add(at, "%s has a * that is only a piece of a part; * stands for a whole part between slashes, and at the end for all that follows", quote(p))
		}
	}
}

// ownHeaders belong to the connection, or choose the destination.
var ownHeaders = []string{ //nolint:gochecknoglobals // constant
	"Connection", "Content-Length", "Expect", "Host", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

func (l Limits) httpHeaders(v *validation, field string, to NetworkRule, headers map[string]HeaderValue) map[string]HeaderValue {
	if len(headers) > maxHTTPHeaders {
		v.add(field, "has %d headers, the limit is %d", len(headers), maxHTTPHeaders)
		return nil
	}
	clean := make(map[string]HeaderValue, len(headers))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		usual := textproto.CanonicalMIMEHeaderKey(name)
		_, twice := clean[usual]
		switch {
		case name == "" || len(name) > maxHTTPHeader || strings.ContainsFunc(strings.ToLower(name), isNoHostRune):
			v.add(field, "%s is no name of a header; use letters, digits, - and _", quote(name))
		case slices.Contains(ownHeaders, usual):
			v.add(field, "%s cannot be set", usual)
		case twice:
			v.add(field, "%s occurs twice", usual)
		default:
			clean[usual] = headers[name]
			l.checkSecret(v, field+"."+name+".secret", headers[name].Secret, to)
		}
	}
	if len(clean) == 0 {
		return nil
	}
	return clean
}

// checkSecret checks that a rule may name a secret. The secret of another tenant is as one that does not exist.
func (l Limits) checkSecret(v *validation, field, name string, to NetworkRule) {
	secrets := l.Secrets.All()
	i := slices.IndexFunc(secrets, func(s NetworkSecret) bool { return s.Name == name && s.isFor(l.Tenant) })
	switch {
	case i < 0:
		v.add(field, "%s is no secret that this API key may use; the operator defines secrets (KAA_SECRETS_FILE)", quote(name))
	case !covered(secrets[i].To, to):
		v.add(field, "%s may not go to %s; it may go to %s", quote(name), to, rulesText(secrets[i].To))
	}
}

// acceptNetworkAgain checks the network of a request that was accepted before.
func (l Limits) acceptNetworkAgain(v *validation, n *Network) *Network {
	if n == nil {
		return nil
	}
	return l.network(v, n)
}
