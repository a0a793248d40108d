package mcp

import (
	"errors"
	"net/http"
	"strings"

	"github.com/kaa-run/kaa/internal/dialect"
	"github.com/kaa-run/kaa/internal/service"
)

const (
	path = "/mcp"
	// metadataPath is where clients look for the identity provider of a protected resource (RFC 9728). The path of the resource
	// follows it.
	metadataPath = "/.well-known/oauth-protected-resource"
)

// Owns reports whether a request beside the path of the dialect is for it.
func Owns(r *http.Request) bool { return r.URL.Path == metadataPath || r.URL.Path == metadataPath+path }

// challenge says how a client gets a key or a token.
func (d *Dialect) challenge(r *http.Request, err error) string {
	challenge := `Bearer realm="kaa"`
	if token := (*service.TokenError)(nil); errors.As(err, &token) {
		challenge += `, error="invalid_token", error_description="` + quotable(token.Reason) + `"`
	}
	if d.Issuer != "" {
		challenge += `, resource_metadata="` + origin(r) + d.BasePath + metadataPath + path + `"`
		if len(d.Scopes) > 0 {
			challenge += `, scope="` + strings.Join(d.Scopes, " ") + `"`
		}
	}
	return challenge
}

// origin is the beginning of the URL by which a client has sent a request.
func origin(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	return scheme + "://" + quotable(r.Host)
}

// quotable returns a text as RFC 6750 allows it between quotes.
func quotable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '\''
		}
		return r
	}, text)
}

// describe names the identity provider whose tokens are keys.
func (d *Dialect) describe(w http.ResponseWriter, r *http.Request) {
	call := service.CallOf(r.Context())
	call.Route, call.Operation = metadataPath, "protectedResource"
	if d.Issuer == "" || r.Method != http.MethodGet && r.Method != http.MethodHead {
		call.Problem = "not_found"
		answerError(w, http.StatusNotFound, nil, rpcInvalidRequest, "keys of this Kaa do not come from an identity provider; send an API key as Authorization: Bearer <key>")
		return
	}
	w.Header().Set("Cache-Control", "max-age=300")
	dialect.WriteJSON(w, http.StatusOK, map[string]any{
		"resource": origin(r) + d.BasePath + path, "resource_name": "Kaa", "authorization_servers": []string{d.Issuer},
		"scopes_supported": d.Scopes, "bearer_methods_supported": []string{"header"},
	})
}
