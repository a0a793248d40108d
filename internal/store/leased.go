package store

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// leased is the list of the processes that had a lease when a look for lapsed ones last read it. A
// process that is not in it has got its lease since, so the lease lasts until its RunnerTTL after
// that. Until then looks need no newer list, which halves what an idle process asks of Redis for
// them.
type leased struct {
	mu      sync.Mutex
	members []string
	readAt  time.Time
}

// all returns the list, which its caller may change. It is read anew if it is older than keep.
func (l *leased) all(ctx context.Context, keep time.Duration, read func(context.Context) ([]string, error)) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.readAt.IsZero() || now.Sub(l.readAt) >= keep {
		members, err := read(ctx)
		if err != nil {
			return nil, err
		}
		l.members, l.readAt = members, now
	}
	return slices.Clone(l.members), nil
}

// forget makes the next look read the list.
func (l *leased) forget() {
	l.mu.Lock()
	l.readAt = time.Time{}
	l.mu.Unlock()
}

// Lapsed returns, for Rescue, the registered runners whose heartbeat has lapsed and the waiters
// whose lease has. It takes two commands at most for any number of them that live, and three more
// if there are lapsed ones. self, if not empty, is the runner that calls, which is alive.
func (s *Store) Lapsed(ctx context.Context, self string) ([]string, error) {
	const op = "look for lapsed runners"
	members, keys, err := s.leases(ctx, self)
	if err != nil || len(members) == 0 {
		return nil, wrap(op, err)
	}
	alive, err := s.rdb.Exists(ctx, keys...).Result()
	if err != nil || int(alive) == len(members) {
		return nil, wrap(op, err)
	}
	s.leased.forget() // one that was written off may still be in the list
	if members, keys, err = s.leases(ctx, self); err != nil || len(members) == 0 {
		return nil, wrap(op, err)
	}
	values, err := s.rdb.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, wrap(op, err)
	}
	var lapsed []string
	for i, v := range values {
		if v == nil {
			lapsed = append(lapsed, members[i])
		}
	}
	return lapsed, nil
}

// leases returns those that have a lease, except self, and the keys of the leases.
func (s *Store) leases(ctx context.Context, self string) (members, keys []string, err error) {
	members, err = s.leased.all(ctx, s.cfg.KeepLeased, func(ctx context.Context) ([]string, error) {
		return s.rdb.SUnion(ctx, runnersKey, waitersKey).Result()
	})
	members = slices.DeleteFunc(members, func(m string) bool { return m == self })
	for _, m := range members {
		if waiter, ok := strings.CutPrefix(m, waiterMember("")); ok {
			keys = append(keys, waiterKey(waiter))
		} else {
			keys = append(keys, runnerKey(m))
		}
	}
	return members, keys, err
}
