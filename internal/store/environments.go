package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// environmentsTTL is how long the environments of a caller are listed after the last one was prepared.
const environmentsTTL = 30 * 24 * time.Hour

func environmentsKey(caller string) string {
	return prefix + "environments:of:" + cmp.Or(caller, anonymous)
}

// SaveEnvironment records what a caller has had prepared. The oldest environments of the caller make room.
func (s *Store) SaveEnvironment(ctx context.Context, caller string, e job.Environment) error {
	const op = "record environment"
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	key := environmentsKey(caller)
	_, err = s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, key, e.ID, text)
		p.PExpire(ctx, key, environmentsTTL)
		return nil
	})
	if err != nil {
		return wrap(op, err)
	}
	all, err := s.Environments(ctx, caller)
	if err != nil || len(all) <= job.MaxEnvironments {
		return err
	}
	var oldest []string
	for _, e := range all[job.MaxEnvironments:] {
		oldest = append(oldest, e.ID)
	}
	return wrap(op, s.rdb.HDel(ctx, key, oldest...).Err())
}

// Environments returns what a caller has had prepared, newest first.
func (s *Store) Environments(ctx context.Context, caller string) ([]job.Environment, error) {
	const op = "list environments"
	texts, err := s.rdb.HVals(ctx, environmentsKey(caller)).Result()
	if err != nil {
		return nil, wrap(op, err)
	}
	all := make([]job.Environment, len(texts))
	for i, text := range texts {
		if err := json.Unmarshal([]byte(text), &all[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
	}
	slices.SortFunc(all, func(a, b job.Environment) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return all, nil
}

// Environment returns one of them. job.ErrNoEnvironment: the caller has prepared none with this id.
func (s *Store) Environment(ctx context.Context, caller, id string) (e job.Environment, err error) {
	const op = "look for environment"
	text, err := s.rdb.HGet(ctx, environmentsKey(caller), id).Bytes()
	if errors.Is(err, redis.Nil) {
		return e, fmt.Errorf("%s: %w", op, job.ErrNoEnvironment)
	}
	if err != nil {
		return e, wrap(op, err)
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return e, fmt.Errorf("%s: %w", op, err)
	}
	return e, nil
}
