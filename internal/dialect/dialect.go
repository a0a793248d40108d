// Package dialect has what the dialects share that are not Kaa's own: the parts that they get of their process, and
// the words for errors. Each dialect is a package below it, which imports no other one. docs/dialects/README.md
// says how to add one.
package dialect

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"path"
	"strings"

	"github.com/kaa-run/kaa/internal/service"
)

// Parts are what a dialect gets of its process.
type Parts struct {
	Service *service.Service
	Log     *slog.Logger
	Version string // of Kaa
	// BasePath is what the paths of all dialects begin with for callers; empty for nothing.
	BasePath string
	// Issuer is the identity provider whose tokens are accepted; empty for none.
	Issuer string
	// Scopes are the scopes of a token that Kaa knows, as its claim has them.
	Scopes []string
	// PortsDomain is what the host names of ports of sessions end with, perhaps with a port; empty for none.
	PortsDomain string
}

// Bearer returns the key of the header Authorization: Bearer; empty for none.
func Bearer(r *http.Request) string {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// WriteJSON answers with a value as JSON.
func WriteJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // a caller that has gone needs nothing
}

// Attachment sets the headers of a file that code has made. No browser shows it: a page of it would act as this Kaa's.
func Attachment(h http.Header) {
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", "attachment")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
}

// Straight reports whether http.ServeMux takes the path of a request as it is. It leads a client with another one, such as
// //files, to a path without the prefix of the dialect, by a page of HTML.
func Straight(r *http.Request) bool {
	at := r.URL.EscapedPath()
	clean := path.Clean(at)
	return at == clean || clean != "/" && at == clean+"/"
}

// BaseURL is the address at which the caller has reached the dialect, without a slash at its end.
func BaseURL(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	if forwarded := r.Header.Get("X-Forwarded-Proto"); forwarded == "https" || forwarded == "http" {
		scheme = forwarded
	}
	return scheme + "://" + r.Host + service.CallOf(r.Context()).Prefix
}
