package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// Errors about the list of keys.
var (
	// ErrNoKey: no key has the id.
	ErrNoKey = errors.New("no key has this id")
	// ErrNoKeys: callers need no key here, so there is no operator who may make one.
	ErrNoKeys = errors.New("this Kaa asks for no keys")
	// ErrKeyElsewhere: the key is listed where the API cannot change it.
	ErrKeyElsewhere = errors.New("the key is in the configuration or the file of keys")
)

// Scope is a right of a key.
type Scope = access.Scope

// UsualScopes are the rights of a key for which none are named.
func UsualScopes() []Scope { return access.UsualScopes() }

// KeyRequest asks for a key.
type KeyRequest struct {
	Tenant, Name string
	Scopes       access.Scopes // nil for access.UsualScopes
	Expires      *time.Time    // nil for never
	Limits       *job.KeyLimits
}

// KeyInfo is a key as operators see it.
type KeyInfo struct {
	access.Key
	Source string    // environment, file or redis
	Used   time.Time // time of the last use, to within a minute; zero for none that is known
}

// mayOperate is the check of the actions of operators. There is no operator where callers need no key.
func (s *Service) mayOperate(c Caller) error {
	if s.cfg.Keyring == nil {
		return ErrNoKeys
	}
	return c.may(access.Admin)
}

// OwnKey returns whether keys are asked for, the scopes of a caller, and the limits of the caller's key. It needs no scope.
func (s *Service) OwnKey(c Caller) (required bool, scopes access.Scopes, limits *job.KeyLimits) {
	scopes = c.Scopes
	if len(scopes) == 0 {
		scopes = access.UsualScopes()
	}
	return s.cfg.Keyring != nil, scopes, c.limits()
}

// CreateKey makes a key of a tenant, and returns it with its secret, which is shown only now.
func (s *Service) CreateKey(ctx context.Context, c Caller, r KeyRequest) (k access.Key, secret string, err error) {
	if err := s.mayOperate(c); err != nil {
		return access.Key{}, "", err
	}
	id, err := newID("key")
	if err != nil {
		return access.Key{}, "", err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	secret = access.NewSecret()
	k = access.Key{ID: id, Tenant: r.Tenant, Name: r.Name, Scopes: r.Scopes, Created: now, SHA256: access.Digest(secret), Limits: r.Limits}
	if k.Scopes == nil {
		k.Scopes = access.UsualScopes()
	}
	if r.Expires != nil {
		k.Expires = *r.Expires
	}
	var invalid job.ValidationError
	described := k
	described.Limits = nil // all of their mistakes are listed
	if err := described.Check(); err != nil {
		of, _ := errors.AsType[*access.FieldError](err)
		invalid.Fields = append(invalid.Fields, job.FieldError{Field: of.Field, Message: of.Err.Error()})
	}
	if r.Expires != nil && !k.Expires.After(now) {
		invalid.Fields = append(invalid.Fields, job.FieldError{Field: "expiresAt", Message: "must be in the future"})
	}
	invalid.Fields = append(invalid.Fields, k.Limits.Check()...)
	if len(invalid.Fields) > 0 {
		return access.Key{}, "", &invalid
	}
	if err := s.checkRuntimes(ctx, k.Limits, time.Now()); err != nil {
		return access.Key{}, "", err
	}
	if err := s.cfg.Keys.PutKey(ctx, k); err != nil {
		return access.Key{}, "", err
	}
	CallOf(ctx).APIKeyID = k.ID
	return k, secret, nil
}

// checkRuntimes refuses runtimes that no runner offers, if runners say what there is.
func (s *Service) checkRuntimes(ctx context.Context, limits *job.KeyLimits, asked time.Time) error {
	if limits == nil {
		return nil
	}
	var invalid job.ValidationError
	for _, name := range limits.Runtimes {
		known, err := s.runtimes.known(ctx, name, asked)
		if err != nil {
			return err
		}
		if len(known) > 0 && !slices.Contains(known, name) {
			invalid.Fields = append(invalid.Fields, job.FieldError{
				Field: "limits.runtimes", Message: fmt.Sprintf("%q is not a runtime; use some of %s", name, strings.Join(known, ", ")),
			})
		}
	}
	if len(invalid.Fields) > 0 {
		return &invalid
	}
	return nil
}

// Keys lists the keys of a tenant, or of all; those of the configuration have no tenant.
func (s *Service) Keys(ctx context.Context, c Caller, tenant string) ([]KeyInfo, error) {
	if err := s.mayOperate(c); err != nil {
		return nil, err
	}
	_, stored, err := s.cfg.Keys.Keys(ctx, "none")
	if err != nil {
		return nil, err
	}
	used, err := s.cfg.Keys.LastUses(ctx)
	if err != nil {
		return nil, err
	}
	var all []KeyInfo
	add := func(source string, keys []access.Key) {
		for _, k := range keys {
			if tenant == "" || tenant == k.Tenant {
				all = append(all, KeyInfo{Key: k, Source: source, Used: used[k.ID]})
			}
		}
	}
	add(access.SourceRedis, stored) // as they are, and not as this process knows them
	for _, source := range []string{access.SourceFile, access.SourceEnvironment} {
		add(source, s.cfg.Keyring.Of(source))
	}
	slices.SortStableFunc(all, func(a, b KeyInfo) int { return cmp.Compare(a.Tenant, b.Tenant) })
	return all, nil
}

// RevokeKey ends the validity of a key, and its calls that are under way, within 5 s.
func (s *Service) RevokeKey(ctx context.Context, c Caller, id string) error {
	CallOf(ctx).APIKeyID = id
	if err := s.mayOperate(c); err != nil {
		return err
	}
	for _, source := range []string{access.SourceFile, access.SourceEnvironment} {
		if slices.ContainsFunc(s.cfg.Keyring.Of(source), func(k access.Key) bool { return k.ID == id }) {
			return ErrKeyElsewhere
		}
	}
	if err := s.cfg.Keys.DropKey(ctx, id); errors.Is(err, job.ErrNotFound) {
		return ErrNoKey
	} else if err != nil {
		return err
	}
	return nil
}
