package door

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/kaa-run/kaa/internal/service"
)

// sameSite refuses what the page of another site has the reader's browser send: without keys
// it could else execute code on any Kaa that the browser reaches, such as one on the reader's own
// machine. Browsers ask first about most requests, but not about forms and bodies without a type.
// Other clients send none of these headers. Requests that only read pass, because a browser
// does not show the answer to such a page.
func (in *entrance) sameSite(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	if in.isForeign(r) {
		in.refuse(w, r, service.ErrOrigin)
		return
	}
	next(w, r)
}

func (in *entrance) isForeign(r *http.Request) bool {
	origin, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")
	ours := origin != "" && isOurs(origin, r.Host, in.cfg.Origins)
	// Browsers let a page of any site open a WebSocket and read it.
	if len(r.Header.Values("Upgrade")) > 0 && origin != "" && !ours {
		return true
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions {
		return false
	}
	return site != "same-origin" && site != "none" && (site != "" || origin != "") && !ours
}

// isOurs reports whether a page of that origin is one that this host served, or that the
// operator allows.
func isOurs(origin, host string, allowed []string) bool {
	of, ok := hostOfOrigin(origin)
	return ok && (strings.EqualFold(of, host) || matchesHost(of, allowed))
}

// hostOfOrigin returns the host of an origin, with its port if that is given. "null", which a
// file or a frame in a sandbox sends, has none and belongs to no site.
func hostOfOrigin(origin string) (string, bool) {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return "", false
	}
	return u.Host, true
}

// matchesHost reports whether one of the patterns is of the host.
func matchesHost(host string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(host))
		return ok && err == nil
	})
}

// Methods and headers for pages of the allowed origins. Keys are in headers that a page sets itself, so
// cookies and the like are not asked for.
const (
	corsMethods = "GET, HEAD, POST, PUT, PATCH, DELETE"
	corsHeaders = "Accept, Authorization, Content-Type, Idempotency-Key, If-Match, If-Modified-Since, If-None-Match, If-Range, " +
		"If-Unmodified-Since, Kaa-Tenant, Last-Event-ID, Mcp-Method, Mcp-Name, Mcp-Protocol-Version, Mcp-Session-Id, Prefer, Range, Traceparent, Tracestate, X-API-Key, X-Request-Id"
	corsExposed = "Accept-Ranges, Content-Disposition, Content-Range, ETag, Idempotent-Replayed, Location, Mcp-Session-Id, Preference-Applied, " +
		"RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, Traceparent, Tracestate, WWW-Authenticate, X-Request-Id"
	corsMaxAge = "600" // seconds for which a browser may remember the answer to a preflight
)

// crossOrigin lets pages of the allowed origins call and read the answers, refusals included. It
// answers a browser's preflight, which has no key, before keys are checked.
func (in *entrance) crossOrigin(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	header := w.Header()
	if len(in.cfg.Origins) > 0 {
		header.Add("Vary", "Origin") // whatever is answered
	}
	origin := r.Header.Get("Origin")
	preflight := r.Method == http.MethodOptions && origin != "" && r.Header.Get("Access-Control-Request-Method") != ""
	of, ok := hostOfOrigin(origin)
	if !ok || !matchesHost(of, in.cfg.Origins) {
		if preflight {
			in.refuse(w, r, service.ErrOrigin)
			return
		}
		next(w, r)
		return
	}
	header.Set("Access-Control-Allow-Origin", origin)
	if !preflight {
		header.Set("Access-Control-Expose-Headers", corsExposed)
		next(w, r)
		return
	}
	for _, asked := range []string{"Access-Control-Request-Method", "Access-Control-Request-Headers", "Access-Control-Request-Private-Network"} {
		header.Add("Vary", asked)
	}
	header.Set("Access-Control-Allow-Methods", corsMethods)
	header.Set("Access-Control-Allow-Headers", corsHeaders)
	header.Set("Access-Control-Max-Age", corsMaxAge)
	if r.Header.Get("Access-Control-Request-Private-Network") == "true" {
		header.Set("Access-Control-Allow-Private-Network", "true")
	}
	w.WriteHeader(http.StatusNoContent)
}
