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

// UsePackageBuild records that a runner has taken a set from the blob store.
func (s *Store) UsePackageBuild(ctx context.Context, set string) error {
	member := redis.Z{Score: float64(time.Now().UnixMilli()), Member: packageSetKey(set)}
	return wrap("record packages", s.rdb.ZAddXX(ctx, packagesKey, member).Err())
}

// EvictPackageBuilds drops the records of the sets that were not used for the longest time, until the archives of the others take at most that
// many bytes. The set that was used last stays. It returns the keys of their blobs, which no runner looks for any more.
func (s *Store) EvictPackageBuilds(ctx context.Context, most int64) (blobs []string, err error) {
	const op = "make room for packages"
	sets, err := s.rdb.ZRevRange(ctx, packagesKey, 0, -1).Result() // the newest first
	if err != nil {
		return nil, wrap(op, err)
	}
	found := make([]*redis.StringSliceCmd, len(sets))
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, key := range sets {
			found[i] = p.HVals(ctx, key)
		}
		return nil
	})
	if err != nil {
		return nil, wrap(op, err)
	}
	var total int64
	var dropped []string
	for i, texts := range found {
		var keys []string
		for _, text := range texts.Val() {
			var b job.PackageBuild
			if err := json.Unmarshal([]byte(text), &b); err != nil {
				return nil, fmt.Errorf("%s: %w", op, err)
			}
			total += b.Packed
			for _, key := range []string{b.Archive, b.Details} {
				if key != "" {
					keys = append(keys, key)
				}
			}
		}
		if i > 0 && total > most {
			dropped, blobs = append(dropped, sets[i]), append(blobs, keys...)
		}
	}
	if len(dropped) == 0 {
		return nil, nil
	}
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range dropped { // one by one: a cluster has them in several places
			p.Del(ctx, key)
			p.ZRem(ctx, packagesKey, key)
		}
		return nil
	})
	return blobs, wrap(op, err)
}

// TakeInstallation reports whether the caller is the one that installs a set. It is so for the lease; KeepInstallation prolongs that.
func (s *Store) TakeInstallation(ctx context.Context, set string, lease time.Duration) (bool, error) {
	const op = "take installation"
	text, err := json.Marshal(job.Installation{Step: job.InstallWaits})
	if err != nil {
		return false, fmt.Errorf("%s: %w", op, err)
	}
	r, err := s.install(ctx, op, set, text, lease)
	return err == nil && r.word() == "taken", err
}

// AwaitInstallation says that a runner waits for a place to install a set, if none installs it.
func (s *Store) AwaitInstallation(ctx context.Context, set string, lease time.Duration) error {
	_, err := s.install(ctx, "wait for an installation", set, nil, lease)
	return err
}

func (s *Store) install(ctx context.Context, op, set string, now []byte, lease time.Duration) (reply, error) {
	return s.run(ctx, op, s.scripts.install, keys{{"installing", installingKey(set)}}, args{{"now", now}, {"lease", lease.Milliseconds()}})
}

// KeepInstallation prolongs the right to install a set, and records how far that is.
func (s *Store) KeepInstallation(ctx context.Context, set string, now job.Installation, lease time.Duration) error {
	const op = "keep installation"
	text, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return wrap(op, s.rdb.Set(ctx, installingKey(set), text, lease).Err())
}

// LeaveInstallation gives up the right to install a set.
func (s *Store) LeaveInstallation(ctx context.Context, set string) error {
	return wrap("leave installation", s.rdb.Del(ctx, installingKey(set)).Err())
}

// Installing returns how far a runner is that installs a set, or unpacks it; nil if none does.
func (s *Store) Installing(ctx context.Context, set string) (*job.Installation, error) {
	const op = "look for an installation"
	text, err := s.rdb.Get(ctx, installingKey(set)).Bytes()
	if err == redis.Nil { //nolint:errorlint // go-redis returns it bare
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	if err != nil {
		return nil, wrap(op, err)
	}
	now := &job.Installation{Step: job.InstallWaits}
	if len(text) > 0 { // it is empty while a runner waits
		if err := json.Unmarshal(text, now); err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
	}
	return now, nil
}

// SessionRuntime returns the runtime that a session was opened with: the name as its request has it, with the set of its packages.
func (s *Store) SessionRuntime(ctx context.Context, id string) (string, error) {
	const op = "look for the packages of a session"
	text, err := s.rdb.HGet(ctx, sessionKey(id), "spec").Bytes()
	if errors.Is(err, redis.Nil) {
		return "", fmt.Errorf("%s: %w", op, job.ErrNoSession)
	}
	if err != nil {
		return "", wrap(op, err)
	}
	var spec job.SessionSpec
	if err := json.Unmarshal(text, &spec); err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	return spec.Runtime, nil
}
