package oidc

import (
	"context"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/access"
)

// TestVerifiedIsBounded: tokens that are remembered are no more than so many. Those that are no longer valid go first.
func TestVerifiedIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	v := verified{most: 20}
	put := func(name string, expires time.Time) [sha256.Size]byte {
		sum := sha256.Sum256([]byte(name))
		v.put(sum, access.TokenGrant(access.Key{Expires: expires}, context.Background()), now)
		return sum
	}
	good := put("good", now.Add(time.Hour))
	for n := range 19 {
		put(string(rune('a'+n)), now.Add(-time.Second))
	}
	if put("another", now.Add(time.Hour)); v.get(good) == nil || len(v.grants) != 2 {
		t.Errorf("%d are left of 20 of which 19 have expired", len(v.grants))
	}
	for n := range 1000 {
		put(string(rune(1000+n)), now.Add(time.Hour))
		if len(v.grants) > 20 {
			t.Fatalf("%d, may be 20", len(v.grants))
		}
	}
	if len(v.grants) < 15 {
		t.Errorf("%d are left of 20 that are valid", len(v.grants))
	}
}
