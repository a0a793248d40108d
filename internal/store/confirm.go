package store

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

func confirmKey(token string) string { return prefix + "confirm:" + digest(token) }

// Time returns the time of Redis, which the records have.
func (s *Store) Time(ctx context.Context) (time.Time, error) {
	now, err := s.rdb.Time(ctx).Result()
	return now, wrap("read the time", err)
}

// PutConfirmation keeps a value under a token for some time.
func (s *Store) PutConfirmation(ctx context.Context, token, value string, ttl time.Duration) error {
	return wrap("keep confirmation", s.rdb.Set(ctx, confirmKey(token), value, ttl).Err())
}

// Confirmation returns the value of a token; empty if there is none.
func (s *Store) Confirmation(ctx context.Context, token string) (string, error) {
	value, err := s.rdb.Get(ctx, confirmKey(token)).Result()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	return value, wrap("read confirmation", err)
}

// DropConfirmation forgets a token.
func (s *Store) DropConfirmation(ctx context.Context, token string) error {
	return wrap("forget confirmation", s.rdb.Del(ctx, confirmKey(token)).Err())
}
