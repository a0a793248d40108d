package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// API keys: a hash with the description of each key by its id, a counter that each change
// raises, and a hash with the times of the last use in milliseconds.
const (
	keysKey        = prefix + "keys"
	keysVersionKey = prefix + "keys:version"
	keysUsedKey    = prefix + "keys:used"
)

// Keys returns the API keys, and the version of their list; no keys if that is still before. A
// record that describes no key takes no other key away: wrong says what is wrong with such.
func (s *Store) Keys(ctx context.Context, before string) (version string, keys []access.Key, wrong []string, err error) {
	const op = "read API keys"
	version, err = s.rdb.Get(ctx, keysVersionKey).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", nil, nil, wrap(op, err)
	}
	if version == before {
		return version, nil, nil, nil
	}
	// A change after the version was read is found the next time.
	texts, err := s.rdb.HGetAll(ctx, keysKey).Result()
	if err != nil {
		return "", nil, nil, wrap(op, err)
	}
	for id, text := range texts {
		k, err := decodeKey(id, text)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%q: %v", id, err))
			continue
		}
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b access.Key) int { return a.Created.Compare(b.Created) })
	slices.Sort(wrong)
	return version, keys, wrong, nil
}

// errOtherID: a key has another id than its record, by which it could not be revoked.
var errOtherID = errors.New("the record is that of another id")

func decodeKey(id, text string) (k access.Key, err error) {
	if err := json.Unmarshal([]byte(text), &k); err != nil {
		return k, err //nolint:wrapcheck // the caller names the record
	}
	if k.ID != id {
		return k, errOtherID
	}
	return k, k.Check() //nolint:wrapcheck // so it does here
}

// PutKey adds a key.
func (s *Store) PutKey(ctx context.Context, k access.Key) error {
	const op = "add API key"
	text, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	_, err = s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, keysKey, k.ID, text)
		p.Incr(ctx, keysVersionKey)
		return nil
	})
	return wrap(op, err)
}

// DropKey removes a key. job.ErrNotFound: there is none with this id.
func (s *Store) DropKey(ctx context.Context, id string) error {
	const op = "remove API key"
	var dropped *redis.IntCmd
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		dropped = p.HDel(ctx, keysKey, id)
		p.HDel(ctx, keysUsedKey, id)
		p.Incr(ctx, keysVersionKey)
		return nil
	})
	if err == nil && dropped.Val() == 0 {
		return fmt.Errorf("%s: %w", op, job.ErrNotFound)
	}
	return wrap(op, err)
}

// KeysUsed notes when keys were last used.
func (s *Store) KeysUsed(ctx context.Context, used map[string]time.Time) error {
	if len(used) == 0 {
		return nil
	}
	values := make([]any, 0, 2*len(used))
	for id, at := range used {
		values = append(values, id, at.UnixMilli())
	}
	return wrap("note the use of API keys", s.rdb.HSet(ctx, keysUsedKey, values...).Err())
}

// LastUses returns when keys were last used.
func (s *Store) LastUses(ctx context.Context) (map[string]time.Time, error) {
	texts, err := s.rdb.HGetAll(ctx, keysUsedKey).Result()
	if err != nil {
		return nil, wrap("read the use of API keys", err)
	}
	used := make(map[string]time.Time, len(texts))
	for id, text := range texts {
		if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
			used[id] = time.UnixMilli(ms)
		}
	}
	return used, nil
}
