package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/oidc"
)

const (
	// keysEvery is how often the file and Redis are asked for changes: a revocation is in force
	// everywhere within 5 s.
	keysEvery = time.Second
	// usedEvery is how often the times of the last use are written to Redis.
	usedEvery = 15 * time.Second
)

// keyFeed keeps the keys of a process up to date.
type keyFeed struct {
	*shared
	keyring *access.Keyring
	tokens  *oidc.Tokens // nil if no identity provider is set
	file    followedFile[access.Key]
	reading sync.Mutex
	version string // of the keys in Redis; guarded by reading
	done    chan struct{}
	end     context.CancelFunc
}

// newKeys returns the keys of the process before anything is read; without a keyring if callers need none.
func (s *shared) newKeys() *keyFeed {
	k := &keyFeed{shared: s, done: make(chan struct{}), end: func() {}}
	if s.cfg.Keyless() {
		close(k.done)
		return k
	}
	k.keyring = access.NewKeyring()
	k.keyring.Set(access.SourceEnvironment, access.Configured(plain(s.cfg.APIKeys), plain(s.cfg.AdminKeys)))
	k.file = followedFile[access.Key]{
		path: s.cfg.APIKeysFile, variable: "KAA_API_KEYS_FILE", what: "keys", log: s.log, read: access.ReadFile,
		set: func(keys []access.Key) { k.keyring.Set(access.SourceFile, keys) }, done: make(chan struct{}),
	}
	if tokens := s.cfg.Tokens(); tokens.Issuer != "" {
		tokens.Log = s.log
		k.tokens = oidc.New(tokens)
	}
	return k
}

// startKeys returns the keys of the process.
func (s *shared) startKeys(ctx context.Context) (*keyFeed, error) {
	k := s.newKeys()
	if k.keyring == nil {
		return k, nil
	}
	return k, k.start(ctx)
}

// start reads the keys and keeps them up to date. A file system that hangs stalls the file of keys only, and not
// expiry and the keys in Redis.
func (k *keyFeed) start(ctx context.Context) error {
	following, end := context.WithCancel(context.WithoutCancel(ctx))
	first := make(chan error, 1)
	go k.file.follow(following, first)
	var err error
	select {
	case err = <-first:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err == nil {
		err = k.insist(ctx, func() error { return k.readRedis(ctx) })
	}
	if err != nil {
		end()
		return err
	}
	k.end = end
	go k.keep(following)
	if k.tokens != nil {
		k.tokens.Start()
	}
	return nil
}

// judge returns how the door judges tokens; nil if there are none.
func (k *keyFeed) judge() func(context.Context, string) (*access.Grant, error) {
	if k.tokens == nil {
		return nil
	}
	return k.tokens.Find
}

// close ends the updates.
func (k *keyFeed) close(ctx context.Context) error {
	k.end()
	<-k.done
	k.file.ended(ctx)
	if k.tokens != nil {
		k.tokens.Close()
	}
	return nil
}

// keep updates the keys until ctx ends.
func (k *keyFeed) keep(ctx context.Context) {
	defer close(k.done)
	tick := time.NewTicker(keysEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			k.writeUsed(context.WithoutCancel(ctx))
			return
		case <-tick.C:
		}
		k.keyring.Expire()
		if err := k.readRedis(ctx); err != nil && ctx.Err() == nil {
			k.log.DebugContext(ctx, "keys were not read from Redis", slog.Any("err", err))
		}
		if n%int(usedEvery/keysEvery) == 0 {
			k.writeUsed(ctx)
		}
	}
}

// readRedis reads the keys in Redis if they have changed.
func (k *keyFeed) readRedis(ctx context.Context) error {
	if !k.cfg.HasTenants() {
		return nil // no operator can have put them there
	}
	ctx, cancel := context.WithTimeout(ctx, redisStartTime)
	defer cancel()
	k.reading.Lock()
	defer k.reading.Unlock()
	version, keys, wrong, err := k.store.Keys(ctx, k.version)
	if err != nil {
		return err
	}
	if version != k.version {
		if len(wrong) > 0 {
			k.log.ErrorContext(ctx, "ignored records in Redis that describe no key", slog.Int("records", len(wrong)), slog.Any("wrong", wrong[:min(len(wrong), 5)]))
		}
		k.version = version
		k.keyring.Set(access.SourceRedis, keys)
	}
	return nil
}

// PutKey adds a key to those in Redis. It is valid at this process when it returns.
func (k *keyFeed) PutKey(ctx context.Context, key access.Key) error {
	return k.change(ctx, k.store.PutKey(ctx, key))
}

// DropKey removes a key from those in Redis. It is no longer valid at this process when it returns.
func (k *keyFeed) DropKey(ctx context.Context, id string) error {
	return k.change(ctx, k.store.DropKey(ctx, id))
}

// change reads the keys after a change that has succeeded.
func (k *keyFeed) change(ctx context.Context, err error) error {
	if err != nil {
		return err
	}
	if err := k.readRedis(ctx); err != nil {
		k.log.WarnContext(ctx, "a change of keys is in force here a second later", slog.Any("err", err))
	}
	return nil
}

// Keys and LastUses are the store's.
func (k *keyFeed) Keys(ctx context.Context, before string) (string, []access.Key, error) {
	version, keys, _, err := k.store.Keys(ctx, before)
	return version, keys, err
}

// LastUses returns when keys were last used.
func (k *keyFeed) LastUses(ctx context.Context) (map[string]time.Time, error) {
	return k.store.LastUses(ctx)
}

// writeUsed writes when keys were last used.
func (k *keyFeed) writeUsed(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, keysEvery)
	defer cancel()
	if err := k.store.KeysUsed(ctx, k.keyring.Used()); err != nil {
		k.log.DebugContext(ctx, "times of the last use of keys were not written", slog.Any("err", err))
	}
}
