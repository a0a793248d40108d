package testenv

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Issuer is an identity provider with keys of its own: discovery, and the set of its keys. It signs without the
// library that Kaa verifies with.
type Issuer struct {
	URL    string
	Asked  atomic.Int64 // how often the set of keys was read
	tb     testing.TB
	server *httptest.Server
	mu     sync.Mutex
	keys   map[string]crypto.Signer // those that are published, by their ids
	down   bool
}

// NewIssuer starts an issuer with the keys rsa, ec and ed.
func NewIssuer(tb testing.TB) *Issuer {
	tb.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	i := &Issuer{tb: tb, keys: map[string]crypto.Signer{"rsa": rsaKey(), "ed": ed}}
	i.Add("ec")
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.answer(w, map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.Asked.Add(1)
		i.answer(w, map[string]any{"keys": i.published()})
	})
	i.server = httptest.NewServer(mux)
	i.URL = i.server.URL
	tb.Cleanup(i.server.Close)
	return i
}

// rsaKey is made once: it takes a second of a processor at times.
var rsaKey = sync.OnceValue(func() crypto.Signer { //nolint:gochecknoglobals // a constant
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// Add publishes a new key of an elliptic curve, in place of one with the same id.
func (i *Issuer) Add(id string) crypto.Signer {
	i.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.tb.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys[id] = key
	return key
}

// Withdraw takes a key back.
func (i *Issuer) Withdraw(id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.keys, id)
}

// Key returns a published key.
func (i *Issuer) Key(id string) crypto.Signer {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[id]
}

// SetDown makes the issuer answer with 503, or as it should.
func (i *Issuer) SetDown(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

func (i *Issuer) answer(w http.ResponseWriter, document any) {
	i.mu.Lock()
	down := i.down
	i.mu.Unlock()
	if down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	_ = json.NewEncoder(w).Encode(document)
}

// published returns the keys as a JSON Web Key Set has them, and one of an unknown kind.
func (i *Issuer) published() []map[string]any {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := []map[string]any{{"kty": "future", "kid": "future"}}
	for id, key := range i.keys {
		all = append(all, jwk(id, key.Public()))
	}
	return all
}

// JWK returns a published key as a set has it.
func (i *Issuer) JWK(id string) map[string]any { return jwk(id, i.Key(id).Public()) }

func jwk(id string, public any) map[string]any {
	k := map[string]any{"kid": id, "use": "sig"}
	switch key := public.(type) {
	case *rsa.PublicKey:
		k["kty"], k["n"], k["e"] = "RSA", encoded(key.N.Bytes()), "AQAB"
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			panic(err)
		}
		k["kty"], k["crv"], k["x"], k["y"] = "EC", "P-256", encoded(point[1:33]), encoded(point[33:])
	case ed25519.PublicKey:
		k["kty"], k["crv"], k["x"] = "OKP", "Ed25519", encoded(key)
	}
	return k
}

// Claims are those of a token for the audience kaa of the tenant acme, changed; nil takes a claim away.
func (i *Issuer) Claims(changed map[string]any) map[string]any {
	now := time.Now()
	claims := map[string]any{
		"iss": i.URL, "aud": "kaa", "sub": "ada", "tenant": "acme", "scope": "openid kaa:execute kaa:read kaa:files kaa:sessions",
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(claims, changed)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return claims
}

// Token returns a token with these claims changed, signed with a published key.
func (i *Issuer) Token(id string, changed map[string]any) string {
	key := i.Key(id)
	return Sign(key, map[string]any{"kid": id, "alg": AlgorithmOf(key), "typ": "JWT"}, i.Claims(changed))
}

// AlgorithmOf returns the algorithm with which Sign uses a key, unless the header has another.
func AlgorithmOf(key crypto.Signer) string {
	switch key.Public().(type) {
	case *rsa.PublicKey:
		return "RS256"
	case *ecdsa.PublicKey:
		return "ES256"
	}
	return "EdDSA"
}

// Sign returns a token. An algorithm PS256 in the header is heeded; others are those of the key, whatever the header says.
func Sign(key crypto.Signer, header, claims any) string {
	text := object(header) + "." + object(claims)
	var signature []byte
	var err error
	hash := crypto.SHA256.New()
	_, _ = hash.Write([]byte(text))
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if h, ok := header.(map[string]any); ok && h["alg"] == "PS256" {
			signature, err = rsa.SignPSS(rand.Reader, k, crypto.SHA256, hash.Sum(nil), nil)
			break
		}
		signature, err = rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, hash.Sum(nil))
	case *ecdsa.PrivateKey:
		r, s, failed := ecdsa.Sign(rand.Reader, k, hash.Sum(nil))
		signature, err = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), failed
	case ed25519.PrivateKey:
		signature = ed25519.Sign(k, []byte(text))
	}
	if err != nil {
		panic(err)
	}
	return text + "." + encoded(signature)
}

// object encodes a part of a token. A text is JSON already.
func object(value any) string {
	text, ok := value.(string)
	if !ok {
		encoded, err := json.Marshal(value)
		if err != nil {
			panic(err)
		}
		text = string(encoded)
	}
	return encoded([]byte(text))
}

func encoded(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
