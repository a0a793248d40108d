package e2b

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// tokens are those of sandboxes that this process has given out. A signed URL of a file names no sandbox: it is found by the token
// that the signature was made with.
type tokens struct {
	mu  sync.Mutex
	all map[string]string // by session
}

func (t *tokens) note(session, token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil || len(t.all) >= mostCounted {
		t.all = map[string]string{}
	}
	t.all[session] = token
}

// sign is the signature of a URL by a token.
func sign(r *http.Request, token string) string {
	q, op := r.URL.Query(), "read"
	if r.Method == http.MethodPost {
		op = "write"
	}
	text := q.Get("path") + ":" + op + ":" + q.Get("username") + ":" + token
	if until := q.Get("signature_expiration"); until != "" {
		text += ":" + until
	}
	sum := sha256.Sum256([]byte(text))
	return "v1_" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// isSigned reports whether a request is one for a signed URL.
func isSigned(r *http.Request) bool {
	return r.URL.Path == "/files" && r.Header.Get(sandboxHeader) == "" && r.URL.Query().Get("signature") != ""
}

// hasExpired reports whether the time of a signed URL is over, or cannot be read.
func hasExpired(r *http.Request) bool {
	text := r.URL.Query().Get("signature_expiration")
	if text == "" {
		return false
	}
	until, err := strconv.ParseInt(text, 10, 64)
	return err != nil || time.Now().Unix() > until
}

// signer finds the sandbox whose token a URL is signed with, and that token.
func (t *tokens) signer(r *http.Request) (session, token string) {
	if hasExpired(r) {
		return "", ""
	}
	given := []byte(r.URL.Query().Get("signature"))
	t.mu.Lock()
	defer t.mu.Unlock()
	for session, token := range t.all {
		if subtle.ConstantTimeCompare([]byte(sign(r, token)), given) == 1 {
			return session, token
		}
	}
	return "", ""
}
