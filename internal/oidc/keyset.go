package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/kaa-run/kaa/internal/access"
)

const (
	// refreshEvery is how often the keys of the issuer are read. A key that it withdraws is refused so much later.
	refreshEvery = 5 * time.Minute
	// refreshFloor is the least time between two looks at the provider, however many tokens of unknown keys come.
	refreshFloor = 5 * time.Second
	// mostWaits is how many calls may wait for a look at the provider.
	mostWaits = 100
	// Sizes of RSA keys.
	leastRSA, mostRSA = 2048, 8192
)

// signingKey is a public key of the issuer.
type signingKey struct {
	jose.JSONWebKey
	valid context.Context // ends when the issuer no longer has it
	end   context.CancelCauseFunc
}

// parseKey returns nil for a key that is not a public one for signatures.
func parseKey(raw []byte) *signingKey {
	k := new(signingKey)
	if err := k.UnmarshalJSON(raw); err != nil || !k.Valid() || !k.IsPublic() || k.Use != "" && k.Use != "sig" {
		return nil
	}
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < leastRSA || bits > mostRSA {
			return nil
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return nil
	}
	k.valid, k.end = context.WithCancelCause(context.Background())
	return k
}

// same reports whether two keys are one.
func (k *signingKey) same(other *signingKey) bool {
	return k.KeyID == other.KeyID && k.Algorithm == other.Algorithm && reflect.DeepEqual(k.Key, other.Key)
}

// fits reports whether the key may have signed with an algorithm.
func (k *signingKey) fits(algorithm string) bool {
	if k.Algorithm != "" {
		return k.Algorithm == algorithm
	}
	switch k.Key.(type) {
	case *rsa.PublicKey:
		return algorithm[:2] == "RS" || algorithm[:2] == "PS"
	case *ecdsa.PublicKey:
		return algorithm[:2] == "ES"
	}
	return algorithm == string(jose.EdDSA)
}

// keySet has the keys of the issuer as they were read last.
type keySet struct {
	provider *provider
	now      func() time.Time
	log      *slog.Logger
	current  atomic.Pointer[[]*signingKey]
	waits    chan struct{} // has room for calls that wait for a look
	looking  context.Context
	stop     context.CancelFunc
	done     sync.WaitGroup

	mu     sync.Mutex
	look   chan struct{} // closed at the end of the look that is under way; nil for none
	last   time.Time     // end of the last look
	failed error         // how that went
}

func newKeySet(p *provider, now func() time.Time, log *slog.Logger) *keySet {
	s := &keySet{provider: p, now: now, log: log, waits: make(chan struct{}, mostWaits)}
	s.looking, s.stop = context.WithCancel(context.Background())
	s.current.Store(new([]*signingKey))
	return s
}

func (s *keySet) start() {
	s.done.Go(func() {
		for wait := time.Duration(0); ; {
			select {
			case <-s.looking.Done():
				return
			case <-time.After(wait):
			}
			wait = refreshEvery
			if look := s.ask(); look != nil {
				<-look
			}
			if s.lastError() != nil {
				wait = 2 * refreshFloor
			}
		}
	})
}

func (s *keySet) close() {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	s.done.Wait()
}

func (s *keySet) lastError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// known returns the key of the issuer with an id that fits an algorithm; nil for none. A token without an id is of the only key.
func (s *keySet) known(id, algorithm string) *signingKey {
	keys := *s.current.Load()
	for _, k := range keys {
		if (k.KeyID == id || id == "" && len(keys) == 1) && k.fits(algorithm) {
			return k
		}
	}
	return nil
}

// find returns the key with an id. If it is not known, the provider is asked, unless that was just done.
func (s *keySet) find(ctx context.Context, id, algorithm string) (*signingKey, error) {
	if k := s.known(id, algorithm); k != nil {
		return k, nil
	}
	select {
	case s.waits <- struct{}{}:
		defer func() { <-s.waits }()
	default:
		return nil, access.ErrProvider
	}
	if look := s.ask(); look != nil {
		select {
		case <-look:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if k := s.known(id, algorithm); k != nil {
		return k, nil
	}
	if s.lastError() != nil {
		return nil, access.ErrProvider // the key may be one that the issuer has by now
	}
	return nil, refuse("the issuer has no key with the id (kid) and the algorithm of the token")
}

// ask begins a look at the provider, or joins the one under way; nil if the last has just ended.
func (s *keySet) ask() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.look == nil && s.looking.Err() == nil && (s.last.IsZero() || s.now().Sub(s.last) >= refreshFloor) {
		s.look = make(chan struct{})
		s.done.Go(s.refresh)
	}
	return s.look
}

// refresh reads the keys. If that fails, the known ones stay in force.
func (s *keySet) refresh() {
	keys, ignored, err := s.provider.keys(s.looking)
	if err == nil {
		s.replace(keys, ignored)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.looking.Err() == nil && (s.failed == nil || s.failed.Error() != err.Error()) {
		s.log.Error("the keys of KAA_OIDC_ISSUER were not read: those that are known stay in force", slog.Int("known", len(*s.current.Load())), slog.Any("err", err))
	}
	close(s.look)
	s.look, s.last, s.failed = nil, s.now(), err
}

// replace puts the keys in force. Calls with tokens of other keys end.
func (s *keySet) replace(keys []*signingKey, ignored int) {
	before, kept := *s.current.Load(), map[*signingKey]bool{}
	changed := len(before) != len(keys)
	for i, k := range keys {
		for _, old := range before {
			if !kept[old] && old.same(k) {
				k.end(nil)
				keys[i], kept[old] = old, true
				break
			}
		}
		changed = changed || !kept[keys[i]]
	}
	s.current.Store(&keys)
	for _, old := range before {
		if !kept[old] {
			old.end(access.ErrRevoked)
		}
	}
	if changed {
		s.log.Info("keys of KAA_OIDC_ISSUER read", slog.Int("keys", len(keys)), slog.Int("ignored", ignored))
	}
}
