package e2b

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"
)

// TestSignedURLs: a URL is of the sandbox whose token it is signed with, for one operation on one path, until its end.
func TestSignedURLs(t *testing.T) {
	t.Parallel()
	var known tokens
	known.note("one", "token-one")
	known.note("two", "token-two")
	url := func(method, query string) *http.Request {
		return httptest.NewRequestWithContext(t.Context(), method, "/files?"+query, nil)
	}
	sealed := func(method, query, token string) *http.Request {
		r := url(method, query)
		q := r.URL.Query()
		before, after := signed(r)
		sum := sha256.Sum256([]byte(before + token + after))
		q.Set("signature", "v1_"+base64.RawStdEncoding.EncodeToString(sum[:]))
		return url(method, q.Encode())
	}
	later, before := strconv.FormatInt(time.Now().Unix()+60, 10), strconv.FormatInt(time.Now().Unix()-60, 10)
	other := sealed(http.MethodGet, "path=a", "token-two")
	other.Method = http.MethodPost
	for _, tt := range []struct {
		name, want string
		r          *http.Request
	}{
		{"one's", "one", sealed(http.MethodGet, "path=a&username=user", "token-one")},
		{"with an end", "two", sealed(http.MethodPost, "path=a&signature_expiration="+later, "token-two")},
		{"expired", "", sealed(http.MethodGet, "path=a&signature_expiration="+before, "token-two")},
		{"an end that is none", "", sealed(http.MethodGet, "path=a&signature_expiration=x", "token-two")},
		{"of an unknown sandbox", "", sealed(http.MethodGet, "path=a", "token-three")},
		{"for another operation", "", other},
		{"wrong", "", url(http.MethodGet, "path=a&signature=v1_x")},
	} {
		got := ""
		if p := proofOf(tt.r); p != nil {
			got, _ = known.signer(p)
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if r := url(http.MethodGet, "path=a"); isSigned(r) {
		t.Error("a URL without a signature is signed")
	}
}

// TestTokensAreBounded: when there are too many, the first one goes, and not those of all tenants.
func TestTokensAreBounded(t *testing.T) {
	t.Parallel()
	var known tokens
	for i := range mostTokens + 1 {
		known.note(strconv.Itoa(i), "token")
		known.note(strconv.Itoa(i), "token") // a client that connects again
	}
	if _, first := known.all["0"]; first || known.all["1"] == "" || len(known.all) != mostTokens || len(known.order) != mostTokens {
		t.Errorf("the first one is there: %v; %d tokens in an order of %d", first, len(known.all), len(known.order))
	}
}
