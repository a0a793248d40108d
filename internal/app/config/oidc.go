package config

import (
	"github.com/kaa-run/kaa/internal/oidc"
)

// OIDC says whose tokens callers may use instead of keys.
type OIDC struct {
	Issuer       string   `env:"KAA_OIDC_ISSUER"` // empty for none
	Audiences    []string `env:"KAA_OIDC_AUDIENCE"`
	TenantClaim  string   `env:"KAA_OIDC_TENANT_CLAIM" envDefault:"tenant"`
	ScopesClaim  string   `env:"KAA_OIDC_SCOPES_CLAIM" envDefault:"scope"`
	ScopesPrefix string   `env:"KAA_OIDC_SCOPES_PREFIX" envDefault:"kaa:"`
	AdminTokens  bool     `env:"KAA_OIDC_ADMIN" envDefault:"false"`
	AllowHTTP    bool     `env:"KAA_OIDC_ALLOW_HTTP" envDefault:"false"`
}

// Tokens is how tokens are judged.
func (o OIDC) Tokens() oidc.Config {
	return oidc.Config{
		Issuer: o.Issuer, Audiences: o.Audiences, TenantClaim: o.TenantClaim, ScopesClaim: o.ScopesClaim,
		Prefix: o.ScopesPrefix, Admin: o.AdminTokens, AllowHTTP: o.AllowHTTP,
	}
}

func (o OIDC) check(bad func(format string, args ...any)) {
	if o.Issuer == "" {
		if len(o.Audiences) > 0 || o.AdminTokens {
			bad("KAA_OIDC_AUDIENCE or KAA_OIDC_ADMIN is set, and KAA_OIDC_ISSUER is not: no token would be accepted")
		}
		return
	}
	if err := oidc.CheckURL(o.Issuer, o.AllowHTTP); err != nil {
		bad("KAA_OIDC_ISSUER: %w", err)
	}
	if len(o.Audiences) == 0 {
		bad("KAA_OIDC_ISSUER is set, and KAA_OIDC_AUDIENCE is not: tokens that are for other services would be accepted")
	}
}
