package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// Sets of packages that runners share. Losing these records costs installations, so they are bounded by dropping the oldest.

// mostPackageSets is the largest number of sets that have a record.
const mostPackageSets = 2000

const packagesKey = prefix + "packages"

func packageSetKey(set string) string { return packagesKey + ":" + digest(set)[:32] }
func installingKey(set string) string { return prefix + "installing:" + digest(set)[:32] }

// PackageBuild returns what a set is for one kind of runner. job.ErrNotFound: no runner of that kind has shared it.
func (s *Store) PackageBuild(ctx context.Context, set, kind string) (b job.PackageBuild, err error) {
	const op = "look for packages"
	text, err := s.rdb.HGet(ctx, packageSetKey(set), kind).Bytes()
	if errors.Is(err, redis.Nil) {
		return b, fmt.Errorf("%s: %w", op, job.ErrNotFound)
	}
	if err != nil {
		return b, wrap(op, err)
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return b, fmt.Errorf("%s: %w", op, err)
	}
	return b, nil
}

// NewestPackageBuild returns what a set is for the kind of runner that has shared it last. job.ErrNotFound: none has.
func (s *Store) NewestPackageBuild(ctx context.Context, set string) (newest job.PackageBuild, err error) {
	const op = "look for packages"
	texts, err := s.rdb.HVals(ctx, packageSetKey(set)).Result()
	if err != nil {
		return newest, wrap(op, err)
	}
	if len(texts) == 0 {
		return newest, fmt.Errorf("%s: %w", op, job.ErrNotFound)
	}
	for _, text := range texts {
		var b job.PackageBuild
		if err := json.Unmarshal([]byte(text), &b); err != nil {
			return newest, fmt.Errorf("%s: %w", op, err)
		}
		if newest.BuiltAt.IsZero() || b.BuiltAt.After(newest.BuiltAt) {
			newest = b
		}
	}
	return newest, nil
}

// SavePackageBuild records a set that a runner of a kind has shared, for as long as its blobs are kept. The records of the oldest sets make room.
func (s *Store) SavePackageBuild(ctx context.Context, set, kind string, b job.PackageBuild) error {
	const op = "record packages"
	text, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	key, now := packageSetKey(set), time.Now()
	var dropped *redis.StringSliceCmd
	_, err = s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, key, kind, text)
		p.PExpire(ctx, key, job.PackagesKept)
		p.ZAdd(ctx, packagesKey, redis.Z{Score: float64(now.UnixMilli()), Member: key})
		p.ZRemRangeByScore(ctx, packagesKey, "-inf", strconv.FormatInt(now.Add(-job.PackagesKept).UnixMilli(), 10))
		dropped = p.ZRange(ctx, packagesKey, 0, -mostPackageSets-1)
		p.ZRemRangeByRank(ctx, packagesKey, 0, -mostPackageSets-1)
		return nil
	})
	if err == nil && len(dropped.Val()) > 0 {
		err = s.rdb.Del(ctx, dropped.Val()...).Err()
	}
	return wrap(op, err)
}

// TakeInstallation reports whether the caller is the one that installs a set. It is so for the lease; KeepInstallation prolongs that.
func (s *Store) TakeInstallation(ctx context.Context, set string, lease time.Duration) (bool, error) {
	err := s.rdb.SetArgs(ctx, installingKey(set), "", redis.SetArgs{Mode: "NX", TTL: lease}).Err()
	if err == redis.Nil { //nolint:errorlint // go-redis returns it bare
		return false, nil
	}
	return err == nil, wrap("take installation", err)
}

// KeepInstallation prolongs the right to install a set.
func (s *Store) KeepInstallation(ctx context.Context, set string, lease time.Duration) error {
	return wrap("keep installation", s.rdb.Set(ctx, installingKey(set), "", lease).Err())
}

// LeaveInstallation gives up the right to install a set.
func (s *Store) LeaveInstallation(ctx context.Context, set string) error {
	return wrap("leave installation", s.rdb.Del(ctx, installingKey(set)).Err())
}

// Installing reports whether a runner installs a set.
func (s *Store) Installing(ctx context.Context, set string) (bool, error) {
	n, err := s.rdb.Exists(ctx, installingKey(set)).Result()
	return n > 0, wrap("look for an installation", err)
}
