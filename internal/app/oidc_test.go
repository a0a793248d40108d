package app_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// withIssuer starts a Kaa that takes the tokens of an issuer, and keys.
func withIssuer(t *testing.T, runners int, vars ...string) (*kaa, *testenv.Issuer) {
	t.Helper()
	i := testenv.NewIssuer(t)
	return start(t, runners, append([]string{"KAA_OIDC_ISSUER=" + i.URL, "KAA_OIDC_AUDIENCE=kaa", "KAA_ADMIN_KEYS=" + adminOfTests}, vars...)...), i
}

// TestTokens: a token is a way in like a key of its tenant, with the rights that its scopes give.
func TestTokens(t *testing.T) {
	t.Parallel()
	k, i := withIssuer(t, 1)
	ada, rival := k.as(i.Token("rsa", nil)), k.as(i.Token("ec", map[string]any{"tenant": "rival"}))
	if got := ada.execute(fields{"code": "print(6 * 7)"}).str("stdout"); got != "42\n" {
		t.Errorf("stdout %q", got)
	}
	id := ada.submit(fields{"code": "1"})
	bob := k.as(i.Token("ed", map[string]any{"sub": "bob", "scope": "kaa:read"}))
	key := k.as(k.as(adminOfTests).call(http.MethodPost, "/v1/keys", fields{"tenant": "acme"}).str("key"))
	for name, of := range map[string]struct {
		*kaa
		status int
	}{
		"another of the tenant": {bob, http.StatusOK}, "a key of the tenant": {key, http.StatusOK}, "another tenant": {rival, http.StatusNotFound}, "an operator": {k.as(adminOfTests), http.StatusOK},
	} {
		if a := of.call(http.MethodGet, "/v1/jobs/"+id, nil); a.status != of.status {
			t.Errorf("the job for %s: %d %s", name, a.status, a.raw)
		}
	}
	session := ada.open(fields{})
	socket := ada.connect(session)
	socket.send(fields{"type": "ping"})
	if e, more := socket.next(); !more {
		t.Errorf("socket: %v, %v", e, socket.err)
	}
	secret := i.Token("ec", map[string]any{"sub": "carol", "exp": time.Now().Add(-time.Hour).Unix()})
	for name, tt := range map[string]struct {
		token, method, path string
		status              int
		says, challenge     string
	}{
		"no right to execute": {bob.key, http.MethodPost, "/v1/jobs", 403, "lacks the scope execute", ""},
		"no right at all":     {i.Token("ec", map[string]any{"scope": nil}), http.MethodGet, "/v1/jobs", 403, "lacks the scope read", ""},
		"keys":                {i.Token("ec", map[string]any{"scope": "kaa:admin kaa:read"}), http.MethodGet, "/v1/keys", 403, "lacks the scope admin", ""},
		"another tenant":      {ada.key, http.MethodGet, "/v1/jobs?acting", 403, "lacks the scope admin", ""},
		"expired":             {secret, http.MethodGet, "/v1/jobs", 401, "the token has expired", `Bearer realm="kaa", error="invalid_token", error_description="the token has expired"`},
		"unknown key":         {testenv.Sign(i.Key("ec"), fields{"kid": "x", "alg": "ES256"}, i.Claims(nil)), http.MethodGet, "/v1/jobs", 401, "no key with the id", `error="invalid_token"`},
		"no tenant":           {i.Token("ec", map[string]any{"tenant": nil}), http.MethodGet, "/v1/jobs", 401, "no tenant", `error="invalid_token"`},
		"no token":            {"", http.MethodGet, "/v1/jobs", 401, "valid API key", `Bearer realm="kaa"`},
	} {
		var headers []string
		if strings.HasSuffix(tt.path, "acting") {
			headers = []string{"Kaa-Tenant: rival"}
		}
		a := k.as(tt.token).call(tt.method, tt.path, fields{"code": "1"}, headers...)
		if a.status != tt.status || !strings.Contains(a.str("detail"), tt.says) || !strings.Contains(a.header.Get("Www-Authenticate"), tt.challenge) {
			t.Errorf("%s: %d %s %s", name, a.status, a.raw, a.header.Get("Www-Authenticate"))
		}
	}
	testenv.Eventually(t, "the log names the subject", func() bool {
		return strings.Contains(k.logs.String(), `"caller":"@acme","key_id":"sub:bob"`)
	})
	for _, token := range []string{ada.key, rival.key, bob.key, secret} {
		if strings.Contains(k.logs.String(), token[strings.LastIndexByte(token, '.'):]) {
			t.Error("a token is in the log")
		}
	}
}

// TestTokensOfOperators: a token may have the scope admin if the operator says so.
func TestTokensOfOperators(t *testing.T) {
	t.Parallel()
	k, i := withIssuer(t, 0, "KAA_OIDC_ADMIN=true", "KAA_OIDC_TENANT_CLAIM=org.name", "KAA_OIDC_SCOPES_CLAIM=roles", "KAA_OIDC_SCOPES_PREFIX=kaa-")
	token := func(roles ...string) *kaa {
		return k.as(i.Token("ec", map[string]any{"tenant": nil, "org": fields{"name": "ops"}, "roles": roles}))
	}
	if a := token("kaa-admin").call(http.MethodGet, "/v1/keys", nil); a.status != http.StatusOK {
		t.Errorf("an operator: %d %s", a.status, a.raw)
	}
	if a := token("kaa-read").call(http.MethodGet, "/v1/keys", nil); a.status != http.StatusForbidden {
		t.Errorf("another: %d %s", a.status, a.raw)
	}
	if a := token("kaa-admin").call(http.MethodGet, "/v1/jobs", nil, "Kaa-Tenant: acme"); a.status != http.StatusOK {
		t.Errorf("acting for a tenant: %d %s", a.status, a.raw)
	}
}

// TestTokenEndsWhatItBegan: calls, streams and sockets of a token end when its key is withdrawn, and streams when it
// expires.
func TestTokenEndsWhatItBegan(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	k, i := withIssuer(t, 1)
	owner := k.as(i.Token("ec", nil))
	id := owner.submit(fields{"code": "import time\nprint('begun', flush=True)\ntime.sleep(3000)", "timeout": 3500, "events": true})
	// However slow the machine is, one of these tokens lives long enough to begin a stream.
	for life := 4 * time.Second; ; life *= 2 {
		short := k.as(i.Token("ed", map[string]any{"exp": time.Now().Add(life).Unix()}))
		status, text := short.readStream(t, "/v1/jobs/"+id+"/events")
		if status == http.StatusUnauthorized && life < testenv.Timeout {
			continue
		}
		if status != http.StatusOK || !strings.Contains(text, `"unauthorized"`) || !strings.Contains(text, "has expired") {
			t.Errorf("the stream of a token that expired: %d %s", status, text)
		}
		break
	}
	i.Add("old")
	var old *kaa
	testenv.Eventually(t, "the new key is known", func() bool {
		old = k.as(i.Token("old", nil))
		return old.accepted()
	})
	socket := old.connect(old.open(fields{}))
	ended := make(chan string, 1)
	go func() {
		a, err := old.try(t.Context(), http.MethodGet, "/v1/jobs/"+id+"?wait=60s", nil)
		ended <- fmt.Sprint(a.status, err)
	}()
	i.Withdraw("old")
	testenv.Eventually(t, "the key is withdrawn", func() bool {
		// A token of an unknown key makes Kaa look, once in 5 s.
		k.as(testenv.Sign(i.Key("ec"), fields{"kid": "unknown", "alg": "ES256"}, i.Claims(nil))).accepted()
		return !old.accepted()
	})
	for {
		if _, more := socket.next(); !more {
			break
		}
	}
	if got := <-ended; got != "401 <nil>" {
		t.Errorf("the call ended with %s", got)
	}
	if a := owner.call(http.MethodGet, "/v1/jobs/"+id, nil); a.status != http.StatusOK {
		t.Errorf("the job: %d %s", a.status, a.raw)
	}
	owner.call(http.MethodDelete, "/v1/jobs/"+id, nil)
}

// readStream reads a stream to its end.
func (k *kaa) readStream(t *testing.T, path string) (status int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, k.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+k.key)
	response, err := k.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	all, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, string(all)
}

// TestProviderDown: a process starts without the identity provider, and says that it cannot judge tokens until that is there. Keys
// are valid meanwhile.
func TestProviderDown(t *testing.T) {
	t.Parallel()
	i := testenv.NewIssuer(t)
	i.SetDown(true)
	k := start(t, 0, "KAA_OIDC_ISSUER="+i.URL, "KAA_OIDC_AUDIENCE=kaa", "KAA_API_KEYS=key-of-the-configuration")
	token := k.as(i.Token("ec", nil))
	if a := token.call(http.MethodGet, "/v1/jobs", nil); a.status != http.StatusServiceUnavailable || a.str("code") != "provider_unavailable" || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.raw)
	}
	if !k.as("key-of-the-configuration").accepted() || k.as("another").accepted() {
		t.Error("keys are judged otherwise without the provider")
	}
	if !strings.Contains(k.logs.String(), "the keys of KAA_OIDC_ISSUER were not read") {
		t.Error("the log does not say that the provider does not answer")
	}
	i.SetDown(false)
	testenv.Eventually(t, "the token is accepted", token.accepted)
}

// TestOIDCSettings: settings that would let others in, or nobody, stop the start.
func TestOIDCSettings(t *testing.T) {
	t.Parallel()
	for says, vars := range map[string][]string{
		"KAA_OIDC_AUDIENCE is not":                     {"KAA_OIDC_ISSUER=https://id.example"},
		"KAA_OIDC_ISSUER: want https://; KAA_OIDC":     {"KAA_OIDC_ISSUER=http://id.example", "KAA_OIDC_AUDIENCE=kaa"},
		"KAA_OIDC_ISSUER is not: no token":             {"KAA_OIDC_AUDIENCE=kaa"},
		"tokens that are for other services would be ": {"KAA_OIDC_ISSUER=https://id.example", "KAA_OIDC_AUDIENCE= , "},
	} {
		err := app.RunAPI(t.Context(), app.Process{Environ: vars, Stdout: io.Discard, Stderr: io.Discard})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", vars, err, says)
		}
	}
}
