// Package oidc lets callers in by the tokens (JWTs) of an identity provider: an OpenID Connect issuer.
package oidc

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"time"

	"github.com/kaa-run/kaa/internal/access"
)

// Config says whose tokens are accepted, and how they are read.
type Config struct {
	Issuer      string   // exactly as tokens have it in iss
	Audiences   []string // a token is for one of them, by aud
	TenantClaim string   // name or dotted path of the claim with the tenant
	ScopesClaim string   // name or dotted path of the claim with the scopes: a text or a list
	Prefix      string   // of those scopes that are Kaa's
	Admin       bool     // whether a token may have the scope admin
	AllowHTTP   bool     // whether the provider may be asked without TLS elsewhere than at this host

	Log    *slog.Logger
	Client *http.Client     // nil for one of its own
	Now    func() time.Time // nil for time.Now
}

const (
	// longestToken bounds what is parsed of an unknown caller.
	longestToken = 16 << 10
	// mostTokens bounds the tokens that are remembered as verified.
	mostTokens = 10_000
)

// Tokens judges the tokens of one issuer. It is safe for concurrent use.
type Tokens struct {
	cfg      Config
	keys     *keySet
	verified verified
}

// New returns a judge of tokens. Start begins to read the keys of the issuer.
func New(cfg Config) *Tokens {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Tokens{cfg: cfg, keys: newKeySet(newProvider(cfg), cfg.Now, cfg.Log), verified: verified{most: mostTokens}}
}

// Start reads the keys of the issuer, now and then again, until Close.
func (t *Tokens) Start() { t.keys.start() }

// Close ends what Start began.
func (t *Tokens) Close() { t.keys.close() }

// Find returns the grant of a token. Errors are a TokenError, access.ErrExpired, access.ErrProvider, or those of ctx.
func (t *Tokens) Find(ctx context.Context, token string) (*access.Grant, error) {
	if len(token) > longestToken {
		return nil, refuse("the token is longer than %d bytes", longestToken)
	}
	sum, now := sha256.Sum256([]byte(token)), t.cfg.Now()
	if g := t.verified.get(sum); g != nil {
		err := g.Check(now)
		if err == nil {
			return g, nil
		}
		t.verified.drop(sum)
		if err == access.ErrExpired { //nolint:errorlint // as Check returns it
			return nil, refuse("the token has expired")
		}
		// Its key is no longer one of the issuer's, so it is judged anew.
	}
	g, err := t.judge(ctx, token, now)
	if err != nil {
		return nil, err
	}
	t.verified.put(sum, g, now)
	return g, nil
}
