package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	// sessionsRead is how many sessions a filtered listing reads at once, and sessionsLooked how many it reads for
	// one page. A page may have fewer sessions than were asked for, and a cursor all the same.
	sessionsRead   = 200
	sessionsLooked = 2000
)

// ListSessions returns a page of the live sessions that fit the filter, newest first, and the cursor
// of the next page, empty after the last.
func (s *Store) ListSessions(ctx context.Context, f job.SessionFilter) ([]job.Session, string, error) {
	const op = "list sessions"
	found, cursor := []job.Session{}, f.Cursor
	for looked := 0; ; {
		read := f.Limit - len(found)
		if f.Narrows() {
			read = max(read, sessionsRead)
		}
		ids, err := s.sessionIDs(ctx, f.Viewer, cursor, int64(read)+1)
		if err != nil {
			return nil, "", wrap(op, err)
		}
		more := len(ids) > read
		ids = ids[:min(len(ids), read)]
		all, err := s.readSessions(ctx, ids)
		if err != nil {
			return nil, "", wrap(op, err)
		}
		for i, o := range all {
			if o.State == job.SessionEnded || !f.Fits(o.Session) { // it may have ended meanwhile
				continue
			}
			found = append(found, o.Session)
			if len(found) == f.Limit && (more || i < len(all)-1) {
				return found, o.ID, nil
			}
		}
		if !more {
			return found, "", nil
		}
		cursor = ids[len(ids)-1]
		if looked += len(ids); looked >= sessionsLooked || !f.Narrows() {
			return found, cursor, nil
		}
	}
}

// sessionIDs returns the ids of live sessions below the cursor, newest first, at most that many.
func (s *Store) sessionIDs(ctx context.Context, v job.Viewer, cursor string, most int64) ([]string, error) {
	if !v.All {
		below := "+"
		if cursor != "" {
			below = "(" + cursor
		}
		return s.rdb.ZRevRangeByLex(ctx, callerSessionsKey(v.Caller), &redis.ZRangeBy{Max: below, Min: "-", Count: most}).Result()
	}
	// The sessions of all callers are listed only by their end. There are as many as runners
	// have room for.
	ids, err := s.rdb.ZRange(ctx, sessionsKey, 0, -1).Result()
	ids = slices.DeleteFunc(ids, func(id string) bool { return cursor != "" && id >= cursor })
	slices.SortFunc(ids, func(a, b string) int { return cmp.Compare(b, a) })
	return ids[:min(int64(len(ids)), most)], err
}

// SessionNamed returns the id of the caller's live session of this name. job.ErrNoSession: there is none.
func (s *Store) SessionNamed(ctx context.Context, caller, name string) (string, error) {
	const op = "look for a session by name"
	id, err := s.rdb.HGet(ctx, callerNamesKey(caller), name).Result()
	if errors.Is(err, redis.Nil) {
		return "", fmt.Errorf("%s: %w", op, job.ErrNoSession)
	}
	return id, wrap(op, err)
}
