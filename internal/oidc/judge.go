package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // refuses objects with two fields of one name

	"github.com/kaa-run/kaa/internal/access"
)

// leeway is by how much the clock of the issuer may be ahead. A token expires by the clock of this host.
const leeway = 30 * time.Second

// algorithms are those whose keys are public. With HS256 the public key would be the secret.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
}

func refuse(format string, args ...any) error {
	return &access.TokenError{Reason: fmt.Sprintf(format, args...)}
}

// claims are those of a token.
type claims map[string]any

// judge verifies a token. Whether it is meant for this Kaa at all is looked at first, so that other tokens cause
// no request to the provider.
func (t *Tokens) judge(ctx context.Context, token string, now time.Time) (*access.Grant, error) {
	signed, err := jose.ParseSignedCompact(token, algorithms())
	if wrong := (*jose.ErrUnexpectedSignatureAlgorithm)(nil); errors.As(err, &wrong) {
		return nil, refuse("the algorithm of the token is none of %s", names(algorithms()))
	}
	if err != nil || len(signed.Signatures) != 1 {
		return nil, refuse("the token is neither a known API key nor a JWT")
	}
	header := signed.Signatures[0].Protected
	if _, critical := header.ExtraHeaders["crit"]; critical {
		return nil, refuse("the token has critical headers (crit), which Kaa does not know")
	}
	if kind, given := header.ExtraHeaders[jose.HeaderType]; given && !isKind(kind) {
		return nil, refuse("the token is of another kind (typ) than JWT and at+jwt")
	}
	if _, err := t.read(signed.UnsafePayloadWithoutVerification(), now); err != nil {
		return nil, err
	}
	key, err := t.keys.find(ctx, header.KeyID, header.Algorithm)
	if err != nil {
		return nil, err
	}
	payload, err := signed.Verify(key.Key)
	if err != nil {
		return nil, refuse("the signature of the token is wrong")
	}
	k, err := t.read(payload, now)
	if err != nil {
		return nil, err
	}
	return access.TokenGrant(k, key.valid), nil
}

// isKind reports whether a token is for calls. A logout token, for example, is signed with the same keys.
func isKind(kind any) bool {
	text, _ := kind.(string)
	text = strings.TrimPrefix(strings.ToLower(text), "application/")
	return text == "jwt" || text == "at+jwt"
}

// read checks the claims of a token, and returns them as a key.
func (t *Tokens) read(payload []byte, now time.Time) (access.Key, error) {
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil || c == nil {
		return access.Key{}, refuse("the claims of the token are no JSON object, or one is there twice")
	}
	if c["iss"] != t.cfg.Issuer {
		return access.Key{}, refuse("the token is of another issuer (iss) than %s", t.cfg.Issuer)
	}
	if !slices.ContainsFunc(texts(c["aud"]), func(a string) bool { return slices.Contains(t.cfg.Audiences, a) }) {
		return access.Key{}, refuse("the token is for another audience (aud) than %s", strings.Join(t.cfg.Audiences, ", "))
	}
	expires, err := c.times(now)
	if err != nil {
		return access.Key{}, err
	}
	subject, _ := c["sub"].(string)
	if subject == "" {
		return access.Key{}, refuse("the token has no subject (sub)")
	}
	tenant, ok := c.at(t.cfg.TenantClaim).(string)
	if !ok {
		return access.Key{}, refuse("the token has no tenant: want a text in the claim %s", t.cfg.TenantClaim)
	}
	if err := access.CheckTenant(tenant); err != nil {
		return access.Key{}, refuse("the tenant of the token, in the claim %s: %v", t.cfg.TenantClaim, err)
	}
	return access.Key{
		ID: subjectID(subject), Tenant: tenant, Scopes: t.scopes(c), Expires: expires, SHA256: access.Digest(t.cfg.Issuer + "\n" + subject),
	}, nil
}

// latest is the last moment that a claim may name: the end of the year 9999.
const latest = 253402300799

// times checks when the token is valid, and returns when it expires.
func (c claims) times(now time.Time) (time.Time, error) {
	moment := func(name string) (at time.Time, given bool, err error) {
		value, given := c[name]
		if !given {
			return at, false, nil
		}
		seconds, ok := value.(float64)
		if !ok || !(seconds >= 0 && seconds <= latest) {
			return at, true, refuse("the claim %s of the token is no time", name)
		}
		whole, part := math.Modf(seconds)
		return time.Unix(int64(whole), int64(part*float64(time.Second))), true, nil
	}
	expires, given, err := moment("exp")
	switch {
	case err != nil:
		return expires, err
	case !given:
		return expires, refuse("the token never expires: it has no claim exp")
	case !now.Before(expires):
		return expires, refuse("the token has expired")
	}
	for name, wrong := range map[string]string{"nbf": "the token is not valid yet (nbf)", "iat": "the token is of the future (iat)"} {
		at, given, err := moment(name)
		switch {
		case err != nil:
			return expires, err
		case given && at.After(now.Add(leeway)):
			return expires, refuse("%s; compare the clocks", wrong)
		}
	}
	return expires, nil
}

// at returns the claim with a name, or at a path whose parts dots separate.
func (c claims) at(path string) any {
	if value, ok := c[path]; ok {
		return value
	}
	var value any = map[string]any(c)
	for part := range strings.SplitSeq(path, ".") {
		object, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = object[part]
	}
	return value
}

// scopes returns the rights that the token gives. Scopes of others are ignored.
func (t *Tokens) scopes(c claims) access.Scopes {
	value := c.at(t.cfg.ScopesClaim)
	given := texts(value)
	if text, ok := value.(string); ok {
		given = strings.Fields(text)
	}
	possible := access.UsualScopes()
	if t.cfg.Admin {
		possible = append(possible, access.Admin)
	}
	possible = slices.DeleteFunc(possible, func(s access.Scope) bool { return !slices.Contains(given, t.cfg.Prefix+string(s)) })
	if len(possible) == 0 {
		return access.NoScopes()
	}
	return possible
}

// texts returns a text, or the texts of a list. A list with anything else in it has none.
func texts(value any) []string {
	if text, ok := value.(string); ok {
		return []string{text}
	}
	list, _ := value.([]any)
	all := make([]string, len(list))
	for i, one := range list {
		text, ok := one.(string)
		if !ok {
			return nil
		}
		all[i] = text
	}
	return all
}

// Lengths of the id of a subject.
const (
	mostSubject   = 64
	subjectDigest = 12
)

// subjectID names a subject in logs. A long one, or one with odd characters, is cut and gets some of its digest.
func subjectID(subject string) string {
	plain := strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, subject)
	if plain == subject && len(plain) <= mostSubject {
		return "sub:" + plain
	}
	sum := sha256.Sum256([]byte(subject))
	return "sub:" + plain[:min(len(plain), mostSubject-subjectDigest-1)] + "~" + hex.EncodeToString(sum[:])[:subjectDigest]
}

func names(all []jose.SignatureAlgorithm) string {
	list := make([]string, len(all))
	for i, one := range all {
		list[i] = string(one)
	}
	return strings.Join(list, ", ")
}
