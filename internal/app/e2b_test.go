package app_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
)

// TestE2BSignedURLs: each API process serves the signed URLs of a sandbox that another one has opened, for as long as its key is valid, and no others.
func TestE2BSignedURLs(t *testing.T) {
	t.Parallel()
	const one, two = "one-0123456789abcdef", "two-0123456789abcdef"
	k := start(t, 1, "KAA_SANDBOX=strict", "KAA_API_KEYS="+one+","+two)
	second, _ := k.run(app.RunAPI)
	boxes := map[string]answer{}
	for _, key := range []string{one, two} {
		boxes[key] = k.call(http.MethodPost, "/v2/sandboxes", fields{"templateID": "base"}, "X-API-Key: "+key)
	}
	box := boxes[one]
	if a := k.call(http.MethodPost, "/files?path=a", "text", "X-Access-Token: "+box.str("envdAccessToken"), "E2b-Sandbox-Id: "+box.str("sandboxID"), "Content-Type: application/octet-stream"); a.status != http.StatusOK {
		t.Fatalf("%d %s %s", a.status, a.raw, box.raw)
	}
	get := func(token string) int {
		sum := sha256.Sum256([]byte("a:read::" + token))
		query := url.Values{"path": {"a"}, "signature": {"v1_" + base64.RawStdEncoding.EncodeToString(sum[:])}}
		k := *k
		k.url = "http://" + second.String()
		return k.call(http.MethodGet, "/files?"+query.Encode(), nil).status
	}
	if got := get(box.str("envdAccessToken")); got != http.StatusOK {
		t.Errorf("signed by its token: %d", got)
	}
	if got := get(boxes[two].str("envdAccessToken")); got != http.StatusNotFound { // the other sandbox has no such file
		t.Errorf("signed by another's token: %d", got)
	}
	if got := get("another text"); got != http.StatusUnauthorized {
		t.Errorf("signed by no token: %d", got)
	}
}
