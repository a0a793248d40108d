package api

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
)

// sameSite refuses what the page of another site has the reader's browser send: without keys
// it could else execute code on any Kaa that the browser reaches, such as one on the reader's own
// machine. Browsers ask first about most requests, but not about forms and bodies without a type.
// What is no browser sends none of these headers. What only reads passes, since a browser
// does not show the answer to such a page.
func sameSite(origins []string) gin.HandlerFunc {
	return func(c *gin.Context) {
		r := c.Request
		if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions {
			return
		}
		switch origin, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site"); {
		case site == "same-origin", site == "none", site == "" && origin == "":
		case origin != "" && isOurs(origin, r.Host, origins):
		default:
			abort(c, foreignOrigin())
		}
	}
}

func foreignOrigin() *Problem {
	return newProblem(http.StatusForbidden, "origin_refused",
		"pages of this origin may not do this; the operator can allow it with KAA_ALLOWED_ORIGINS")
}

// isOurs reports whether a page of that origin is one that this host served, or that the
// operator allows.
func isOurs(origin, host string, allowed []string) bool {
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	if strings.EqualFold(u.Host, host) {
		return true
	}
	return slices.ContainsFunc(allowed, func(pattern string) bool {
		ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(u.Host))
		return ok && err == nil
	})
}
