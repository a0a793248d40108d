package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	usageKey    = prefix + "usage:"
	usageLogKey = usageKey + "log"
)

// At each tally, Redis blocks other commands for about a microsecond an entry.
const (
	tallyAtOnce = 500
	tallies     = 200
)

// tally adds what the log of usage has to the figures. It leaves the rest to the next tally if the log grows as fast.
func (s *Store) tally(ctx context.Context) error {
	for range tallies {
		n, err := s.call(ctx, s.scripts.tally, keys{{"log", usageLogKey}}, args{{"most", tallyAtOnce}}).Int()
		if err != nil || n < tallyAtOnce {
			return err
		}
	}
	return nil
}

// daysAtOnce is the number of days whose owners are read in one round trip.
const daysAtOnce = 31

const day = 24 * time.Hour

// dayNumber is the number of a day since 1970, as in the keys of usage.
func dayNumber(t time.Time) string { return strconv.FormatInt(t.Unix()/int64(day/time.Second), 10) }

// ownersDay is a day of an owner. caller is the owner as records name it.
type ownersDay struct {
	day    time.Time
	caller string
}

// Usage returns a page of the figures of owners for each day, oldest first, and the cursor of the next page, empty after
// the last. job.ErrCursor: the cursor is not one.
func (s *Store) Usage(ctx context.Context, f job.UsageFilter) ([]job.Usage, string, error) {
	const op = "read usage"
	after, err := usageCursor(f.Cursor)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", op, err)
	}
	if some, err := s.exists(ctx, op, usageLogKey); err != nil {
		return nil, "", err
	} else if some {
		if err := s.tally(ctx); err != nil {
			return nil, "", wrap(op, err)
		}
	}
	page, err := s.ownersDays(ctx, f, after)
	if err != nil {
		return nil, "", wrap(op, err)
	}
	next := ""
	if len(page) > f.Limit {
		page = page[:f.Limit]
		last := page[f.Limit-1]
		next = last.day.Format(time.DateOnly) + "." + last.caller
	}
	usage, err := s.readUsage(ctx, page)
	return usage, next, wrap(op, err)
}

// usageCursor reads a cursor: the last day of the page before, and its owner. The zero value is before all.
func usageCursor(cursor string) (after ownersDay, err error) {
	if cursor == "" {
		return after, nil
	}
	at, caller, ok := strings.Cut(cursor, ".")
	if after.day, err = time.Parse(time.DateOnly, at); err != nil || !ok || caller == "" {
		return after, job.ErrCursor
	}
	after.caller = caller
	return after, nil
}

// ownersDays lists the days of the filter's owners after a cursor, at most one more than its limit. A day of a single
// owner is listed whether it has figures or not.
func (s *Store) ownersDays(ctx context.Context, f job.UsageFilter, after ownersDay) ([]ownersDay, error) {
	var days []time.Time
	for d := f.From; !d.After(f.To); d = d.Add(day) {
		if !d.Before(after.day) {
			days = append(days, d)
		}
	}
	var all []ownersDay
	if !f.All {
		caller := cmp.Or(f.Owner, anonymous)
		for _, d := range days {
			if d.After(after.day) {
				all = append(all, ownersDay{d, caller})
			}
		}
		return all[:min(len(all), f.Limit+1)], nil
	}
	for some := range slices.Chunk(days, daysAtOnce) {
		cmds := make([]*redis.StringSliceCmd, len(some))
		_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, d := range some {
				from := "-"
				if d.Equal(after.day) {
					from = "(" + after.caller
				}
				cmds[i] = p.ZRangeByLex(ctx, usageKey+dayNumber(d), &redis.ZRangeBy{Min: from, Max: "+", Count: int64(f.Limit+1) - int64(len(all))})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for i, d := range some {
			for _, caller := range cmds[i].Val() {
				all = append(all, ownersDay{d, caller})
			}
		}
		if len(all) > f.Limit {
			return all[:f.Limit+1], nil
		}
	}
	return all, nil
}

// readUsage returns the figures of those days that have some.
func (s *Store) readUsage(ctx context.Context, page []ownersDay) ([]job.Usage, error) {
	if len(page) == 0 {
		return nil, nil
	}
	cmds := make([]*redis.MapStringStringCmd, len(page))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, d := range page {
			cmds[i] = p.HGetAll(ctx, usageKey+dayNumber(d.day)+":"+d.caller)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var usage []job.Usage
	for i, d := range page {
		f := cmds[i].Val()
		if len(f) == 0 {
			continue
		}
		usage = append(usage, job.Usage{
			Day: d.day, Owner: ownerOf(d.caller), Executions: atoi(f["executions"]),
			Run: time.Duration(atoi(f["run"])) * time.Microsecond, CPU: time.Duration(atoi(f["cpu"])) * time.Microsecond, MemoryKiBMs: atoi(f["memory"]),
			BytesIn: atoi(f["in"]), BytesOut: atoi(f["out"]),
			Sessions: atoi(f["sessions"]), SessionTime: time.Duration(atoi(f["session_time"])) * time.Millisecond,
		})
	}
	return usage, nil
}
