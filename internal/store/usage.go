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
	// usageSumsKey has the figures of all days: those of callers with metrics of their own, and of all others together.
	usageSumsKey = prefix + "used"
)

// At each tally, Redis blocks other commands for about a microsecond an entry.
const (
	tallyAtOnce = 500
	tallies     = 200
)

// tally adds what the log of usage has to the figures. It leaves the rest to the next tally if the log grows as fast.
func (s *Store) tally(ctx context.Context) error {
	for range tallies {
		n, err := s.call(ctx, s.scripts.tally, keys{{"log", usageLogKey}}, args{{"most", tallyAtOnce}, {"named", s.cfg.named()}}).Int()
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
		of := decodeUsage(f, "")
		of.Day, of.Owner = d.day, ownerOf(d.caller)
		usage = append(usage, of)
	}
	return usage, nil
}

// decodeUsage reads figures whose names begin with a prefix.
func decodeUsage(f map[string]string, prefix string) job.Usage {
	n := func(name string) int64 { return atoi(f[prefix+name]) }
	return job.Usage{
		Executions: n("executions"), Run: time.Duration(n("run")) * time.Microsecond, CPU: time.Duration(n("cpu")) * time.Microsecond, MemoryKiBMs: n("memory"),
		BytesIn: n("in"), BytesOut: n("out"), Sessions: n("sessions"), SessionTime: time.Duration(n("session_time")) * time.Millisecond,
	}
}

// named is the callers with metrics of their own, for tally.
func (c Config) named() string {
	var text strings.Builder
	text.WriteByte(' ')
	for _, tenant := range c.Named {
		text.WriteString(job.OwnerOfTenant(tenant) + " ")
	}
	return text.String()
}

// TenantSums returns what tenants with metrics of their own took since the figures began, and then what all others took
// together.
func (s *Store) TenantSums(ctx context.Context) ([]job.TenantSum, error) {
	callers := make([]string, len(s.cfg.Named), len(s.cfg.Named)+1)
	for i, tenant := range s.cfg.Named {
		callers[i] = job.OwnerOfTenant(tenant)
	}
	callers = append(callers, "*")
	var sums *redis.MapStringStringCmd
	var bytes, files *redis.SliceCmd
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		sums, bytes, files = p.HGetAll(ctx, usageSumsKey), p.HMGet(ctx, prefix+"bytes", callers...), p.HMGet(ctx, prefix+"files", callers...)
		return nil
	})
	if err != nil {
		return nil, wrap("read sums of usage", err)
	}
	all := make([]job.TenantSum, len(callers))
	others := len(all) - 1
	for i := range all {
		name := ""
		if i < others {
			name = callers[i]
		}
		all[i] = job.TenantSum{Usage: decodeUsage(sums.Val(), name+" "), Bytes: atoi(reply(bytes.Val()).text(i)), Files: atoi(reply(files.Val()).text(i))}
		if i < others {
			all[i].Tenant = s.cfg.Named[i]
		}
	}
	for _, sum := range all[:others] { // the last has had all
		all[others].Bytes, all[others].Files = max(0, all[others].Bytes-sum.Bytes), max(0, all[others].Files-sum.Files)
	}
	return all, nil
}
