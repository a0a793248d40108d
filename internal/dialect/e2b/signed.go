package e2b

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// tokens are those of sandboxes that this process has given out. A signed URL of a file names no sandbox: it is found by the token
// that the signature was made with.
type tokens struct {
	mu    sync.Mutex
	all   map[string]string // by session
	order []string          // the sessions, the first noted one first
}

func (t *tokens) note(session, token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[string]string{}
	}
	if _, known := t.all[session]; !known {
		t.order = append(t.order, session)
	}
	t.all[session] = token
	if len(t.order) > mostTokens {
		delete(t.all, t.order[0])
		t.order = t.order[1:]
	}
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

// signature begins all signatures.
const signature = "v1_"

// digestOf is the digest that a signature has; nil if it has none.
func digestOf(given string) []byte {
	text, ok := strings.CutPrefix(given, signature)
	sum, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(sum) != sha256.Size {
		return nil
	}
	return sum
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
	given := digestOf(r.URL.Query().Get("signature"))
	before, after := signed(r)
	if given == nil || len(before) > mostSigned {
		return "", ""
	}
	// The long part of the text is the same for all tokens, and is hashed once.
	common := sha256.New()
	common.Write([]byte(before))
	t.mu.Lock()
	defer t.mu.Unlock()
	for session, token := range t.all {
		own := cloned(common)
		own.Write([]byte(token + after))
		if subtle.ConstantTimeCompare(own.Sum(nil), given) == 1 {
			return session, token
		}
	}
	return "", ""
}

// cloned is a hash with what was written to another one so far.
func cloned(of hash.Hash) hash.Hash {
	cloner, ok := of.(hash.Cloner)
	if !ok {
		panic("SHA-256 cannot be cloned") // it can
	}
	same, err := cloner.Clone()
	if err != nil {
		panic(err) // it can
	}
	return same
}
