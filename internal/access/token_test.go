package access_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/access"
)

// TestTokenGrant: what a token began ends at its end, when its key is withdrawn, and with the call.
func TestTokenGrant(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		expires := time.Now().Add(time.Minute)
		valid, withdraw := context.WithCancelCause(context.Background())
		g := access.TokenGrant(access.Key{Expires: expires}, valid)
		ctx, end := g.Bound(t.Context())
		over, endOver := g.Bound(t.Context())
		endOver()
		if !errors.Is(context.Cause(over), context.Canceled) {
			t.Errorf("a call that is over: %v", context.Cause(over))
		}
		time.Sleep(time.Minute - time.Nanosecond)
		synctest.Wait()
		if err := errors.Join(ctx.Err(), g.Check(time.Now())); err != nil {
			t.Errorf("before its end: %v", err)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if cause := context.Cause(ctx); !errors.Is(cause, access.ErrExpired) || !errors.Is(g.Check(time.Now()), access.ErrExpired) {
			t.Errorf("at its end: %v", cause)
		}
		end()

		g = access.TokenGrant(access.Key{Expires: time.Now().Add(time.Hour)}, valid)
		ctx, end = g.Bound(t.Context())
		defer end()
		withdraw(access.ErrRevoked)
		<-ctx.Done()
		if cause := context.Cause(ctx); !errors.Is(cause, access.ErrRevoked) || !errors.Is(g.Check(time.Now()), access.ErrRevoked) {
			t.Errorf("when its key is withdrawn: %v", cause)
		}
	})
}

func TestIsToken(t *testing.T) {
	t.Parallel()
	for text, is := range map[string]bool{"a.b.c": true, "a.b": false, "a.b.c.d.e": false, "kaa_a.b.c": false, "": false} {
		if access.IsToken(text) != is {
			t.Errorf("%q: %v", text, !is)
		}
	}
	if access.NoScopes().Has(access.Read) || access.NoScopes().Has(access.Admin) {
		t.Error("no scopes are some")
	}
}
