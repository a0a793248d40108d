package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Errors about the key of a request.
var (
	ErrUnknown = errors.New("the API key is not known")
	ErrExpired = errors.New("the API key has expired")
	// ErrRevoked is the cause by which what a key began ends when the key is no longer valid.
	ErrRevoked = errors.New("the API key is no longer valid")
)

// Grant is a key that is valid now.
type Grant struct {
	Key
	valid context.Context // ends with the key's validity
	end   context.CancelCauseFunc
	used  atomic.Int64 // time of the last use in milliseconds; 0 for none since it was reported
	until atomic.Int64 // time of expiry in milliseconds
	// limits change while the grant goes on: what the key began is not ended by other limits.
	limits atomic.Pointer[job.KeyLimits]
}

// Valid ends, with the cause ErrRevoked or ErrExpired, when the key is revoked or expires.
func (g *Grant) Valid() context.Context { return g.valid }

// Limits returns the limits of the key as they are now; nil for none.
func (g *Grant) Limits() *job.KeyLimits { return g.limits.Load() }

// Keyring has the keys of a process. It is safe for concurrent use.
type Keyring struct {
	now     func() time.Time
	mu      sync.Mutex
	sources map[string][]Key
	current atomic.Pointer[map[[sha256.Size]byte]*Grant]
	// tickets has the same grants by the beginning of the digest.
	tickets atomic.Pointer[map[string]*Grant]
}

// Sources of keys. Where two have a digest in common, the first of them counts.
const (
	SourceEnvironment = "environment"
	SourceFile        = "file"
	SourceRedis       = "redis"
)

// NewKeyring returns a keyring without keys.
func NewKeyring() *Keyring {
	r := &Keyring{now: time.Now, sources: map[string][]Key{}}
	r.current.Store(&map[[sha256.Size]byte]*Grant{})
	r.tickets.Store(&map[string]*Grant{})
	return r
}

// Of returns the keys of one source.
func (r *Keyring) Of(source string) []Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sources[source]
}

// Set replaces the keys of one source. The grants of keys that stay as they were go on.
func (r *Keyring) Set(source string, keys []Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sources[source] = keys
	r.build()
}

// build makes the table from the sources. The caller holds mu.
func (r *Keyring) build() {
	before, table := *r.current.Load(), map[[sha256.Size]byte]*Grant{}
	for _, source := range []string{SourceEnvironment, SourceFile, SourceRedis} {
		for _, k := range r.sources[source] {
			var sum [sha256.Size]byte
			if n, err := hex.Decode(sum[:], []byte(k.SHA256)); err != nil || n != len(sum) {
				continue // Check refuses it where it is read
			}
			if _, taken := table[sum]; taken {
				continue
			}
			g, ok := before[sum]
			if !ok || !g.allows(k) {
				g = &Grant{Key: k}
				g.valid, g.end = context.WithCancelCause(context.Background())
			}
			g.expire(k.Expires)
			g.limits.Store(k.Limits)
			table[sum] = g
		}
	}
	r.current.Store(&table)
	tickets := make(map[string]*Grant, len(table))
	for _, g := range table {
		tickets[g.SHA256[:shortDigest]] = g
	}
	r.tickets.Store(&tickets)
	for sum, g := range before {
		if table[sum] != g {
			g.end(ErrRevoked)
		}
	}
	r.expire(table)
}

// Expire ends what keys began that have expired. It is to be called every second or so.
func (r *Keyring) Expire() { r.expire(*r.current.Load()) }

func (r *Keyring) expire(table map[[sha256.Size]byte]*Grant) {
	now := r.now()
	for _, g := range table {
		if g.expired(now) {
			g.end(ErrExpired)
		}
	}
}

// Find returns the grant of a key. The time it takes depends on the digest of the text only, of
// which a guess says nothing about the digests of others.
func (r *Keyring) Find(secret string) (*Grant, error) {
	g, ok := (*r.current.Load())[sha256.Sum256([]byte(secret))]
	if !ok {
		if err := CheckSecret(secret); err != nil {
			return nil, err
		}
		return nil, ErrUnknown
	}
	now := r.now()
	if g.expired(now) {
		return nil, ErrExpired
	}
	g.used.Store(now.UnixMilli())
	return g, nil
}

// Used returns when keys were last used since the call before, by their ids.
func (r *Keyring) Used() map[string]time.Time {
	used := map[string]time.Time{}
	for _, g := range *r.current.Load() {
		if at := g.used.Swap(0); at != 0 {
			used[g.ID] = time.UnixMilli(at)
		}
	}
	return used
}

// expire sets when the key expires. A key that is replaced gets an end; the sessions and streams
// that it began go on until then.
func (g *Grant) expire(at time.Time) {
	if at.IsZero() {
		g.until.Store(math.MaxInt64)
	} else {
		g.until.Store(at.UnixMilli())
	}
}

func (g *Grant) expired(now time.Time) bool {
	return now.UnixMilli() >= g.until.Load()
}

// allows reports whether a description gives the rights that the grant has.
func (g *Grant) allows(k Key) bool {
	return g.ID == k.ID && g.Tenant == k.Tenant && slices.Equal(g.Scopes, k.Scopes) && g.valid.Err() == nil
}
