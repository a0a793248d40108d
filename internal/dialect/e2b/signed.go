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
	if t.all == nil || len(t.all) >= mostTokens {
		t.all = map[string]string{}
	}
	t.all[session] = token
}

// mostTokens bounds the work that a URL with a wrong signature makes: anyone may send one.
const mostTokens = 2000

// mostSigned is the length of the text that is signed, without the token and the end.
const mostSigned = 4 << 10

// signed returns the text of a URL that is signed, before and after the token.
func signed(r *http.Request) (before, after string) {
	q, op := r.URL.Query(), "read"
	if r.Method == http.MethodPost {
		op = "write"
	}
	if until := q.Get("signature_expiration"); until != "" {
		after = ":" + until
	}
	return q.Get("path") + ":" + op + ":" + q.Get("username") + ":", after
}

// sign is the signature of a text.
func sign(text string) string {
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
	before, after := signed(r)
	if len(before) > mostSigned {
		return "", ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for session, token := range t.all {
		if subtle.ConstantTimeCompare([]byte(sign(before+token+after)), given) == 1 {
			return session, token
		}
	}
	return "", ""
}
