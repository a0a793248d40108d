package access

import (
	"context"
	"errors"
	"strings"
	"time"
)

// TokenError says why a token of the identity provider is not accepted.
type TokenError struct{ Reason string }

func (e *TokenError) Error() string { return e.Reason }

// ErrProvider says that a token cannot be judged, since the identity provider does not answer.
var ErrProvider = errors.New("the identity provider does not answer")

// IsToken reports whether a text that is no known key has the form of a signed JWT.
func IsToken(text string) bool {
	return strings.Count(text, ".") == 2 && !strings.HasPrefix(text, keyPrefix)
}

// NoScopes are the rights of a call that has none. An empty list would stand for UsualScopes.
func NoScopes() Scopes { return Scopes{"none"} }

// TokenGrant returns the grant of a token. It ends when the token expires, or with valid.
func TokenGrant(k Key, valid context.Context) *Grant { //nolint:revive // it is kept, and not of this call
	g := &Grant{Key: k, valid: valid}
	g.expire(k.Expires)
	return g
}

// Check says whether the grant is valid now.
func (g *Grant) Check(now time.Time) error {
	switch {
	case g.expired(now):
		return ErrExpired
	case g.valid.Err() != nil:
		return ErrRevoked
	}
	return nil
}

// Bound returns a context that ends, with the cause ErrRevoked or ErrExpired, when the grant does. The caller
// calls end.
func (g *Grant) Bound(parent context.Context) (ctx context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(parent)
	stop := context.AfterFunc(g.valid, func() { cancel(context.Cause(g.valid)) })
	var timer *time.Timer
	if g.end == nil { // no keyring ends it
		timer = time.AfterFunc(time.Until(g.Expires), func() { cancel(ErrExpired) })
	}
	return ctx, func() {
		if timer != nil {
			timer.Stop()
		}
		stop()
		cancel(nil)
	}
}
