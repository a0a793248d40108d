package oidc_test

import (
	"context"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/oidc"
	"github.com/kaa-run/kaa/internal/testenv"
)

type claims = map[string]any

// clock is a time that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func config(issuer string) oidc.Config {
	return oidc.Config{Issuer: issuer, Audiences: []string{"kaa", "kaa-staging"}, TenantClaim: "tenant", ScopesClaim: "scope", Prefix: "kaa:"}
}

// judge returns a judge of the tokens of an issuer that asks for keys only when a call needs them.
func judge(tb testing.TB, i *testenv.Issuer, change func(*oidc.Config)) *oidc.Tokens {
	tb.Helper()
	cfg := config(i.URL)
	if change != nil {
		change(&cfg)
	}
	tokens := oidc.New(cfg)
	tb.Cleanup(tokens.Close)
	return tokens
}

func TestGoodTokens(t *testing.T) {
	t.Parallel()
	i := testenv.NewIssuer(t)
	usual := access.UsualScopes()
	nested := func(c *oidc.Config) { c.TenantClaim, c.ScopesClaim = "app.org.name", "realm_access.roles" }
	for _, tt := range []struct {
		name, token string
		change      func(*oidc.Config)
		id, tenant  string
		scopes      access.Scopes
	}{
		{"RSA", i.Token("rsa", nil), nil, "sub:ada", "acme", usual},
		{"elliptic curve", i.Token("ec", nil), nil, "sub:ada", "acme", usual},
		{"Ed25519", i.Token("ed", nil), nil, "sub:ada", "acme", usual},
		{"PSS", testenv.Sign(i.Key("rsa"), claims{"kid": "rsa", "alg": "PS256"}, i.Claims(nil)), nil, "sub:ada", "acme", usual},
		{"access token", testenv.Sign(i.Key("ec"), claims{"kid": "ec", "alg": "ES256", "typ": "at+JWT"}, i.Claims(nil)), nil, "sub:ada", "acme", usual},
		{"one of several audiences", i.Token("ec", claims{"aud": []string{"account", "kaa-staging"}}), nil, "sub:ada", "acme", usual},
		{"list of scopes", i.Token("ec", claims{"scope": []string{"kaa:read", "other"}}), nil, "sub:ada", "acme", access.Scopes{access.Read}},
		{"no scope", i.Token("ec", claims{"scope": nil}), nil, "sub:ada", "acme", access.NoScopes()},
		{"scopes of others", i.Token("ec", claims{"scope": "read execute kaa:unknown KAA:read kaa: kaa:kaa:read"}), nil, "sub:ada", "acme", access.NoScopes()},
		{"scopes of another kind", i.Token("ec", claims{"scope": []any{"kaa:read", 7}}), nil, "sub:ada", "acme", access.NoScopes()},
		{"admin is not taken", i.Token("ec", claims{"scope": "kaa:admin"}), nil, "sub:ada", "acme", access.NoScopes()},
		{"admin is taken", i.Token("ec", claims{"scope": "kaa:admin"}), func(c *oidc.Config) { c.Admin = true }, "sub:ada", "acme", access.Scopes{access.Admin}},
		{"other prefix", i.Token("ec", claims{"scope": "read kaa:execute"}), func(c *oidc.Config) { c.Prefix = "" }, "sub:ada", "acme", access.Scopes{access.Read}},
		{"paths", i.Token("ec", claims{"app": claims{"org": claims{"name": "deep"}}, "realm_access": claims{"roles": []string{"kaa:files"}}}), nested, "sub:ada", "deep", access.Scopes{access.Files}},
		{"a name with dots", i.Token("ec", claims{"https://kaa.example/tenant": "named"}), func(c *oidc.Config) { c.TenantClaim = "https://kaa.example/tenant" }, "sub:ada", "named", usual},
		{"the issuer's clock is ahead", i.Token("ec", claims{"iat": time.Now().Add(20 * time.Second).Unix(), "nbf": time.Now().Add(20 * time.Second).Unix()}), nil, "sub:ada", "acme", usual},
		{"fractions of a second", i.Token("ec", claims{"exp": float64(time.Now().Unix()) + 99.5}), nil, "sub:ada", "acme", usual},
		{"odd subject", i.Token("ec", claims{"sub": "a\nb"}), nil, "sub:a_b~7e18f737311b", "acme", usual},
		{"long subject", i.Token("ec", claims{"sub": strings.Repeat("x", 300)}), nil, "sub:" + strings.Repeat("x", 51) + "~0d4e2ca9e9cb", "acme", usual},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tokens := judge(t, i, tt.change)
			g, err := tokens.Find(t.Context(), tt.token)
			if err != nil {
				t.Fatal(err)
			}
			if g.ID != tt.id || g.Tenant != tt.tenant || !slices.Equal(g.Scopes, tt.scopes) || g.Expires.IsZero() {
				t.Errorf("id %q, tenant %q, scopes %v, until %v", g.ID, g.Tenant, g.Scopes, g.Expires)
			}
			if again, err := tokens.Find(t.Context(), tt.token); err != nil || again != g {
				t.Errorf("the token is judged again: %v", err)
			}
		})
	}
}

func TestBadTokens(t *testing.T) {
	t.Parallel()
	i := testenv.NewIssuer(t)
	stranger := testenv.NewIssuer(t)
	ec, now := i.Key("ec"), time.Now()
	signed := func(header claims, changed claims) string { return testenv.Sign(ec, header, i.Claims(changed)) }
	good := i.Token("ec", nil)
	parts := strings.Split(good, ".")
	other := strings.Split(i.Token("ec", claims{"tenant": "rival"}), ".")
	public, err := x509.MarshalPKIXPublicKey(i.Key("rsa").Public())
	if err != nil {
		t.Fatal(err)
	}
	modulus := i.Key("rsa").Public().(*rsa.PublicKey).N.Bytes()
	text := base64.RawURLEncoding
	for _, tt := range []struct{ name, token, says string }{
		{"no JWT", "a.b.c", "neither a known API key nor a JWT"},
		{"empty parts", "..", "the algorithm"},
		{"no object", text.EncodeToString([]byte("7")) + "." + parts[1] + "." + parts[2], "neither"},
		{"algorithm none", text.EncodeToString([]byte(`{"alg":"none","kid":"ec"}`)) + "." + parts[1] + ".", "the algorithm of the token is none of RS256"},
		{"algorithm None", text.EncodeToString([]byte(`{"alg":"None","kid":"ec"}`)) + "." + parts[1] + "." + parts[2], "the algorithm of the token is none of"},
		{"no algorithm", signed(claims{"kid": "ec"}, nil), "the algorithm"},
		{"the public key as a secret", symmetric(i, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})), "the algorithm"},
		{"the modulus as a secret", symmetric(i, modulus), "the algorithm"},
		{"another tenant put in", parts[0] + "." + other[1] + "." + parts[2], "signature"},
		{"no signature", parts[0] + "." + parts[1] + ".", "signature"},
		{"signed by another with the same id", testenv.Sign(stranger.Key("ec"), claims{"kid": "ec", "alg": "ES256"}, i.Claims(nil)), "signature"},
		{"unknown key", signed(claims{"kid": "none", "alg": "ES256"}, nil), "the issuer has no key with the id (kid)"},
		{"no id of a key", signed(claims{"alg": "ES256"}, nil), "the issuer has no key"},
		{"key of another kind", signed(claims{"kid": "rsa", "alg": "ES256"}, nil), "the issuer has no key"},
		{"id of a key as a path", signed(claims{"kid": "../../dev/null", "alg": "ES256"}, nil), "the issuer has no key"},
		{"id of a key as code", signed(claims{"kid": "ec' OR '1'='1", "alg": "ES256"}, nil), "the issuer has no key"},
		{"id of a key as a number", signed(claims{"kid": 7, "alg": "ES256"}, nil), "neither"},
		{"a key that the token brings", testenv.Sign(stranger.Key("ec"), claims{"kid": "mine", "alg": "ES256", "jku": stranger.URL + "/keys", "jwk": stranger.JWK("ec")}, i.Claims(nil)), "the issuer has no key"},
		{"critical header", signed(claims{"kid": "ec", "alg": "ES256", "crit": []string{"exp"}}, nil), "critical"},
		{"payload as it is", signed(claims{"kid": "ec", "alg": "ES256", "crit": []string{"b64"}, "b64": false}, nil), "critical"},
		{"logout token", signed(claims{"kid": "ec", "alg": "ES256", "typ": "logout+jwt"}, nil), "another kind"},
		{"kind of another kind", signed(claims{"kid": "ec", "alg": "ES256", "typ": 7}, nil), "another kind"},
		{"other issuer", i.Token("ec", claims{"iss": stranger.URL}), "of another issuer (iss) than " + i.URL},
		{"issuer with a slash", i.Token("ec", claims{"iss": i.URL + "/"}), "of another issuer"},
		{"issuers", i.Token("ec", claims{"iss": []string{i.URL}}), "of another issuer"},
		{"no issuer", i.Token("ec", claims{"iss": nil}), "of another issuer"},
		{"other audience", i.Token("ec", claims{"aud": "other"}), "for another audience (aud) than kaa, kaa-staging"},
		{"other audiences", i.Token("ec", claims{"aud": []string{"other", "kaa "}}), "for another audience"},
		{"audiences in one", i.Token("ec", claims{"aud": "kaa other"}), "for another audience"},
		{"odd audiences", i.Token("ec", claims{"aud": []any{"kaa", 7}}), "for another audience"},
		{"no audience", i.Token("ec", claims{"aud": nil}), "for another audience"},
		{"expired", i.Token("ec", claims{"exp": now.Add(-time.Second).Unix()}), "the token has expired"},
		{"without an end", i.Token("ec", claims{"exp": nil}), "never expires"},
		{"end as text", i.Token("ec", claims{"exp": fmt.Sprint(now.Add(time.Hour).Unix())}), "exp of the token is no time"},
		{"end beyond all numbers", i.Token("ec", claims{"exp": 1e300}), "exp of the token is no time"},
		{"end in the past beyond all numbers", i.Token("ec", claims{"exp": -1e300}), "exp of the token is no time"},
		{"end is null", testenv.Sign(ec, claims{"kid": "ec", "alg": "ES256"}, `{"iss":"`+i.URL+`","aud":"kaa","sub":"ada","tenant":"acme","exp":null}`), "exp of the token is no time"},
		{"not yet", i.Token("ec", claims{"nbf": now.Add(time.Hour).Unix()}), "not valid yet (nbf)"},
		{"made in the future", i.Token("ec", claims{"iat": now.Add(time.Hour).Unix()}), "of the future (iat)"},
		{"no subject", i.Token("ec", claims{"sub": nil}), "no subject"},
		{"no tenant", i.Token("ec", claims{"tenant": nil}), "no tenant: want a text in the claim tenant"},
		{"tenants", i.Token("ec", claims{"tenant": []string{"acme"}}), "no tenant"},
		{"tenant of odd characters", i.Token("ec", claims{"tenant": "acme/../rival"}), "the tenant of the token, in the claim tenant: want 1 to 64 letters"},
		{"empty tenant", i.Token("ec", claims{"tenant": ""}), "the tenant of the token"},
		{"tenant with a line", i.Token("ec", claims{"tenant": "acme\n"}), "the tenant of the token"},
		{"long tenant", i.Token("ec", claims{"tenant": strings.Repeat("a", 65)}), "the tenant of the token"},
		{"a claim twice", testenv.Sign(ec, claims{"kid": "ec", "alg": "ES256"}, `{"iss":"`+i.URL+`","aud":"kaa","sub":"ada","tenant":"acme","exp":99999999999,"tenant":"rival"}`), "one is there twice"},
		{"claims as a list", testenv.Sign(ec, claims{"kid": "ec", "alg": "ES256"}, `[]`), "no JSON object"},
		{"claims as null", testenv.Sign(ec, claims{"kid": "ec", "alg": "ES256"}, `null`), "no JSON object"},
		{"huge", i.Token("ec", claims{"x": strings.Repeat("x", 13000)}), "longer than 16384 bytes"},
		{"deep", testenv.Sign(ec, claims{"kid": "ec", "alg": "ES256"}, `{"x":`+strings.Repeat("[", 5000)+strings.Repeat("]", 5000)+`}`), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tokens := judge(t, i, nil)
			for range 2 { // nothing is remembered that was refused
				_, err := tokens.Find(t.Context(), tt.token)
				wrong := (*access.TokenError)(nil)
				if !errors.As(err, &wrong) || !strings.Contains(wrong.Reason, tt.says) || strings.Contains(wrong.Reason, parts[1]) {
					t.Errorf("%v, want %q", err, tt.says)
				}
			}
		})
	}
	if _, err := judge(t, i, nil).Find(t.Context(), good); err != nil {
		t.Errorf("the token of which the bad ones are made: %v", err)
	}
}

// symmetric returns a token that is signed with a secret that everybody knows.
func symmetric(i *testenv.Issuer, secret []byte) string {
	token := testenv.Sign(i.Key("ec"), claims{"kid": "rsa", "alg": "HS256"}, i.Claims(nil))
	text := token[:strings.LastIndexByte(token, '.')]
	mac := hmac.New(sha256.New, secret)
	_, _ = mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// TestUnknownKeys: whatever tokens come, the provider is asked once in so much time. Tokens that are not meant for this Kaa
// make nobody ask.
func TestUnknownKeys(t *testing.T) {
	t.Parallel()
	i := testenv.NewIssuer(t)
	c := &clock{now: time.Now()}
	tokens := judge(t, i, func(cfg *oidc.Config) { cfg.Now = c.Now })
	try := func(from, to int) {
		for n := from; n < to; n++ {
			token := testenv.Sign(i.Key("ec"), claims{"kid": fmt.Sprint("unknown ", n), "alg": "ES256"}, i.Claims(nil))
			if _, err := tokens.Find(t.Context(), token); err == nil {
				t.Fatal("accepted")
			}
		}
	}
	if _, err := tokens.Find(t.Context(), i.Token("ec", claims{"aud": "other"})); err == nil || i.Asked.Load() != 0 {
		t.Errorf("a token for others: %v, asked %d times", err, i.Asked.Load())
	}
	try(0, 50)
	if n := i.Asked.Load(); n != 1 {
		t.Errorf("asked %d times for 50 tokens at once", n)
	}
	c.advance(4 * time.Second)
	try(50, 60)
	if n := i.Asked.Load(); n != 1 {
		t.Errorf("asked %d times within 4 s", n)
	}
	c.advance(time.Second)
	try(60, 70)
	if n := i.Asked.Load(); n != 2 {
		t.Errorf("asked %d times within 5 s, want 2", n)
	}
}

// TestRotatedKeys: a new key of the issuer is taken at its first token, and what a withdrawn one began ends.
func TestRotatedKeys(t *testing.T) {
	t.Parallel()
	i := testenv.NewIssuer(t)
	c := &clock{now: time.Now()}
	tokens := judge(t, i, func(cfg *oidc.Config) { cfg.Now = c.Now })
	old, kept := i.Token("ec", nil), i.Token("ed", nil)
	grant, err := tokens.Find(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	stays, err := tokens.Find(t.Context(), kept)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := grant.Bound(t.Context())
	defer end()
	i.Add("new")
	i.Withdraw("ec")
	c.advance(5 * time.Second)
	if _, err := tokens.Find(t.Context(), i.Token("new", nil)); err != nil {
		t.Fatalf("a token of the new key: %v", err)
	}
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, access.ErrRevoked) {
		t.Errorf("what the token of the withdrawn key began ends with %v", cause)
	}
	if _, err := tokens.Find(t.Context(), old); err == nil {
		t.Error("a token of the withdrawn key is accepted")
	}
	if g, err := tokens.Find(t.Context(), kept); err != nil || g != stays || g.Valid().Err() != nil {
		t.Errorf("a token of a key that stayed: %v", err)
	}
	// Another key under the id of a known one.
	i.Add("new")
	c.advance(5 * time.Second)
	if _, err := tokens.Find(t.Context(), testenv.Sign(i.Key("ed"), claims{"kid": "unknown", "alg": "EdDSA"}, i.Claims(nil))); err == nil {
		t.Error("a token of an unknown key is accepted") // but the provider was asked
	}
	if _, err := tokens.Find(t.Context(), i.Token("new", nil)); err != nil {
		t.Errorf("a token of another key with the same id: %v", err)
	}
}

// TestProviderDown: known keys stay in force. What cannot be judged is not refused as wrong.
func TestProviderDown(t *testing.T) {
	t.Parallel()
	i := testenv.NewIssuer(t)
	c := &clock{now: time.Now()}
	tokens := judge(t, i, func(cfg *oidc.Config) { cfg.Now = c.Now })
	i.SetDown(true)
	for range 2 {
		if _, err := tokens.Find(t.Context(), i.Token("ec", nil)); !errors.Is(err, access.ErrProvider) {
			t.Errorf("before any key is known: %v", err)
		}
	}
	i.SetDown(false)
	c.advance(5 * time.Second)
	if _, err := tokens.Find(t.Context(), i.Token("ec", nil)); err != nil {
		t.Fatal(err)
	}
	i.SetDown(true)
	i.Add("new")
	c.advance(5 * time.Second)
	if _, err := tokens.Find(t.Context(), i.Token("new", nil)); !errors.Is(err, access.ErrProvider) {
		t.Errorf("an unknown key: %v", err)
	}
	if _, err := tokens.Find(t.Context(), i.Token("ec", claims{"sub": "bob"})); err != nil {
		t.Errorf("a new token of a known key: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.advance(5 * time.Second)
	if _, err := tokens.Find(ctx, i.Token("new", nil)); !errors.Is(err, context.Canceled) && !errors.Is(err, access.ErrProvider) {
		t.Errorf("a caller who has gone: %v", err)
	}
}

// TestStart: the keys are read without a call that needs them, and a stop ends all.
func TestStart(t *testing.T) {
	t.Parallel()
	i := testenv.NewIssuer(t)
	tokens := oidc.New(config(i.URL))
	tokens.Start()
	testenv.Eventually(t, "the keys are read", func() bool { return i.Asked.Load() == 1 })
	tokens.Close()
	if _, err := tokens.Find(t.Context(), testenv.Sign(i.Key("ec"), claims{"kid": "x", "alg": "ES256"}, i.Claims(nil))); err == nil || i.Asked.Load() != 1 {
		t.Errorf("after the stop: %v, asked %d times", err, i.Asked.Load())
	}
}

// TestExpiredToken: a token that was accepted is refused from its end on.
func TestExpiredToken(t *testing.T) {
	t.Parallel()
	i := testenv.NewIssuer(t)
	c := &clock{now: time.Now()}
	tokens := judge(t, i, func(cfg *oidc.Config) { cfg.Now = c.Now })
	token := i.Token("ec", claims{"exp": c.Now().Add(time.Minute).Unix()})
	if _, err := tokens.Find(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	c.advance(time.Minute)
	for range 2 {
		if _, err := tokens.Find(t.Context(), token); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("at its end: %v", err)
		}
	}
}

// TestProvidersThatMisbehave: what a provider answers is bounded and checked, and the error says what is wrong.
func TestProvidersThatMisbehave(t *testing.T) {
	t.Parallel()
	discovery := func(keys string) func(self string) string {
		return func(self string) string { return `{"issuer": "` + self + `", "jwks_uri": "` + keys + `"}` }
	}
	at := func(path string) func(string) string {
		return func(self string) string { return discovery(self + path)(self) }
	}
	for _, tt := range []struct {
		name     string
		document func(self string) string
		says     string
	}{
		{"no JSON", func(string) string { return "<html>" }, "not the JSON that it should be"},
		{"another issuer", func(string) string { return `{"issuer": "https://other.example"}` }, `the issuer there is "https://other.example"`},
		{"issuer with a slash", func(self string) string { return `{"issuer": "` + self + `/"}` }, "to the last slash"},
		{"no place of keys", func(self string) string { return `{"issuer": "` + self + `"}` }, "jwks_uri"},
		{"keys without TLS", discovery("http://keys.example/"), "KAA_OIDC_ALLOW_HTTP"},
		{"keys in a file", discovery("file:///etc/passwd"), "want https://"},
		{"no keys", at("/none"), "none of 0 keys"},
		{"keys of other kinds", at("/others"), "none of 6 keys"},
		{"redirect without TLS", at("/away"), "KAA_OIDC_ALLOW_HTTP"},
		{"redirects without end", at("/round"), "too many redirects"},
		{"huge keys", at("/huge"), "larger than 1048576 bytes"},
		{"an error", at("/missing"), "status 404"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			server := httptest.NewServer(mux)
			t.Cleanup(server.Close)
			text := func(path, body string) {
				mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
			}
			text("/.well-known/openid-configuration", tt.document(server.URL))
			text("/none", `{"keys": []}`)
			text("/others", `{"keys": [{"kty": "oct", "kid": "a", "k": "c2VjcmV0"}, {"kty": "RSA", "kid": "short", "n": "`+strings.Repeat("A", 170)+`", "e": "AQAB"},
				{"kty": "EC", "kid": "off the curve", "crv": "P-256", "x": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE", "y": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"},
				{"kty": "OKP", "crv": "Ed25519", "use": "enc", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}, 7, null]}`)
			text("/huge", `{"keys": ["`+strings.Repeat("x", 2<<20)+`"]}`)
			mux.Handle("/away", http.RedirectHandler("http://keys.example/", http.StatusFound))
			mux.Handle("/round", http.RedirectHandler("/round", http.StatusFound))
			if n, err := oidc.Probe(t.Context(), config(server.URL)); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%d keys, %v, want %q", n, err, tt.says)
			}
		})
	}
}

// TestProviderThatHangs: a call that waits for the provider ends with its caller, and a stop waits for neither.
func TestProviderThatHangs(t *testing.T) {
	t.Parallel()
	asked, hangs := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-hangs
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(hangs) })
	tokens := oidc.New(config(server.URL))
	i := testenv.NewIssuer(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := tokens.Find(ctx, i.Token("ec", claims{"iss": server.URL}))
		done <- err
	}()
	<-asked
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	tokens.Close()
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for raw, says := range map[string]string{
		"https://id.example": "", "https://id.example/realms/kaa": "", "http://127.0.0.1:8080": "", "http://localhost/x": "", "http://[::1]:1": "",
		"http://id.example": "want https://;", "http://localhost.example": "want https://;", "http://127.0.0.1.example": "want https://;",
		"id.example": "want https://host", "https://user:secret@id.example": "without a user", "https://id.example#x": "fragment", "ftp://id.example": "want https://", "://": "not a URL",
	} {
		err := oidc.CheckURL(raw, false)
		if (err == nil) != (says == "") || err != nil && (!strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v, want %q", raw, err, says)
		}
	}
	if err := oidc.CheckURL("http://id.example", true); err != nil {
		t.Error(err)
	}
}

// FuzzFind: no text is accepted that the issuer has not signed, and none does harm.
func FuzzFind(f *testing.F) {
	i := testenv.NewIssuer(f)
	tokens := judge(f, i, nil)
	good := i.Token("ec", nil)
	f.Add(good[:len(good)-3])
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		if g, err := tokens.Find(t.Context(), token); err == nil || g != nil {
			t.Errorf("%q is accepted: %v", token, g)
		}
	})
}

func BenchmarkFind(b *testing.B) {
	i := testenv.NewIssuer(b)
	for _, key := range []string{"rsa", "ec", "ed"} {
		token := i.Token(key, nil)
		b.Run(key+" known", func(b *testing.B) {
			tokens := judge(b, i, nil)
			for b.Loop() {
				if _, err := tokens.Find(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(key+" first", func(b *testing.B) {
			tokens := judge(b, i, nil)
			for b.Loop() {
				if _, err := tokens.Judge(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
