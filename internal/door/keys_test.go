package door

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/service"
)

// keyed is an entrance with keys and tokens. spoken.Refuse answers 418 with the error.
func keyed(keys []access.Key, tokens func(context.Context, string) (*access.Grant, error)) *entrance {
	ring := access.NewKeyring()
	ring.Set(access.SourceFile, keys)
	return &entrance{Door: New(Config{
		Service: service.New(service.Config{Hub: service.NewHub("test")}), Log: slog.New(slog.DiscardHandler), Keys: ring, Tokens: tokens, Background: new(sync.WaitGroup),
	}), dialect: spoken{}}
}

func keyOf(secret string) access.Key {
	return access.Key{ID: "key", Tenant: "acme", SHA256: access.Digest(secret)}
}

// TestKeysBeforeTokens: what is a key is none for the judge of tokens, and only what has the form of a token goes there.
func TestKeysBeforeTokens(t *testing.T) {
	t.Parallel()
	var judged []string
	in := keyed([]access.Key{keyOf("plain"), keyOf("a.b.c")}, func(_ context.Context, token string) (*access.Grant, error) {
		judged = append(judged, token)
		switch token {
		case "down.down.down":
			return nil, access.ErrProvider
		case "good.good.good":
			return access.TokenGrant(access.Key{ID: "sub:ada", Tenant: "acme", Scopes: access.NoScopes(), Expires: time.Now().Add(time.Hour)}, t.Context()), nil
		}
		return nil, &access.TokenError{Reason: "the token is bad"}
	})
	damaged := access.NewSecret()
	for _, tt := range []struct {
		key, id string
		wrong   error
		judged  bool
	}{
		{"plain", "key", nil, false},
		{"a.b.c", "key", nil, false}, // an operator's own key may look like a token
		{"good.good.good", "sub:ada", nil, true},
		{"bad.bad.bad", "", service.ErrUnauthorized, true},
		{"down.down.down", "", service.ErrProvider, true},
		{"unknown", "", access.ErrUnknown, false},
		{damaged[:len(damaged)-1] + "..", "", access.ErrDamaged, false},
	} {
		judged = nil
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Header.Set("Key", tt.key)
		g, err := in.grant(r)
		if !errors.Is(err, tt.wrong) || err == nil && g.ID != tt.id || (len(judged) > 0) != tt.judged {
			t.Errorf("%q: %v, judged %q", tt.key, err, judged)
		}
		if tt.wrong != nil && errors.Is(err, service.ErrUnauthorized) == errors.Is(err, service.ErrProvider) {
			t.Errorf("%q: %v", tt.key, err)
		}
	}
}

// BenchmarkAuthenticated is the step of the door that looks at the key, beside 10,000 other keys.
func BenchmarkAuthenticated(b *testing.B) {
	keys := []access.Key{keyOf("the key of the caller")}
	for n := range 10_000 {
		k := keyOf(fmt.Sprint("other ", n))
		k.ID = fmt.Sprint(n)
		keys = append(keys, k)
	}
	grant := access.TokenGrant(access.Key{ID: "sub:ada", Tenant: "acme", Scopes: access.UsualScopes(), Expires: time.Now().Add(time.Hour)}, context.Background())
	in := keyed(keys, func(context.Context, string) (*access.Grant, error) { return grant, nil })
	for name, secret := range map[string]string{"key": "the key of the caller", "token": strings.Repeat("x", 50) + "." + strings.Repeat("y", 600) + "." + strings.Repeat("z", 342)} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequestWithContext(service.WithCall(b.Context(), new(service.Call)), http.MethodGet, "/", nil)
			r.Header.Set("Key", secret)
			passed := 0
			for b.Loop() {
				in.authenticated(nil, r, func(http.ResponseWriter, *http.Request) { passed++ })
			}
			if passed == 0 {
				b.Fatal("refused")
			}
		})
	}
}
