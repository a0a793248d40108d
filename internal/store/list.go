package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

const (
	// listedAtOnce is the number of records of a listing that one command of Redis reads. It bounds the time for which others wait.
	listedAtOnce = 64
	// jobsRead is how many jobs a narrowed listing reads at once, and jobsLooked how many it reads for one page. A page
	// may have fewer jobs than were asked for, and a cursor all the same.
	jobsRead   = 250
	jobsLooked = 5000
)

// List returns a page of jobs without their results, newest first, and the
// cursor of the next page, empty after the last.
func (s *Store) List(ctx context.Context, f job.Filter) ([]job.Job, string, error) {
	if !f.Narrows() {
		return s.listAll(ctx, f)
	}
	found, limit := []job.Job{}, f.Limit
	f.Limit = jobsRead
	for looked := 0; ; {
		some, next, err := s.listAll(ctx, f)
		if err != nil {
			return nil, "", err
		}
		for i, j := range some {
			if !f.Fits(j) {
				job.Let(ctx, int64(len(j.Metadata)))
				continue
			}
			found = append(found, j)
			if len(found) == limit && (next != "" || i < len(some)-1) {
				for _, rest := range some[i+1:] {
					job.Let(ctx, int64(len(rest.Metadata)))
				}
				return found, j.ID, nil
			}
		}
		if looked += jobsRead; next == "" || looked >= jobsLooked {
			return found, next, nil
		}
		f.Cursor = next
	}
}

// listAll is List for a filter that does not narrow.
func (s *Store) listAll(ctx context.Context, f job.Filter) ([]job.Job, string, error) {
	const op = "list jobs"
	if f.Queue == job.OperationQueue || strings.Contains(f.Queue, ":") {
		return nil, "", nil // these listings are not for callers
	}
	first := min(f.Limit, listedAtOnce)
	held := int64(first) * s.cfg.MaxMetadata
	if err := job.Hold(ctx, held); err != nil {
		return nil, "", fmt.Errorf("%s: %w", op, err)
	}
	ids, records, err := s.newest(ctx, f, first)
	if err != nil {
		return nil, "", wrap(op, err)
	}
	cursor := ""
	if len(ids) > f.Limit {
		ids = ids[:f.Limit]
		cursor = ids[f.Limit-1]
	}
	if more := int64(max(0, len(ids)-first)) * s.cfg.MaxMetadata; more > 0 {
		if err := job.Hold(ctx, more); err != nil {
			return nil, "", fmt.Errorf("%s: %w", op, err)
		}
		held += more
	}
	for some := range slices.Chunk(ids[min(len(ids), len(records)):], listedAtOnce) {
		next, err := s.summaries(ctx, some)
		if err != nil {
			return nil, "", wrap(op, err)
		}
		records = append(records, next...)
	}
	fields, jobs := summaryFields(), make([]job.Job, 0, len(ids))
	for i, id := range ids {
		j, ok, err := decode(id, fields, records[i], nil)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", op, err)
		}
		// A record may have expired, or moved on, since its id was read.
		if ok && (f.State == "" || j.State == f.State) && f.Viewer.Sees(j) {
			jobs = append(jobs, j)
			held -= int64(len(j.Metadata))
		}
	}
	job.Let(ctx, held)
	return jobs, cursor, nil
}

// newest returns the ids that f selects, up to Limit+1 below the cursor, and the records of the first of them.
func (s *Store) newest(ctx context.Context, f job.Filter, first int) (ids []string, records [][]any, err error) {
	above, below, of := "-", "+", ""
	if !f.From.IsZero() {
		above = "[" + job.IDsFrom(f.From)
	}
	if !f.Before.IsZero() {
		below = "(" + job.IDsFrom(f.Before)
	}
	if cursor := "(" + f.Cursor; f.Cursor != "" && (below == "+" || cursor < below) {
		below = cursor
	}
	if !f.Viewer.All {
		of = cmp.Or(f.Viewer.Caller, anonymous)
	}
	var states []string
	for _, state := range job.States() {
		states = append(states, string(state))
	}
	var fields []args
	for _, name := range summaryFields() {
		fields = append(fields, args{{"field", name}})
	}
	v, err := s.call(ctx, s.scripts.list, keys{{"queues", queuesKey}}, args{
		{"queue", f.Queue},
		{"state", string(f.State)},
		{"states", strings.Join(states, " ")},
		{"of", of},
		{"above", above},
		{"below", below},
		{"most", f.Limit + 1},
		{"records", first},
	}, fields...).Slice()
	if err != nil {
		return nil, nil, err
	}
	for i, part := range v {
		values, ok := part.([]any)
		switch {
		case !ok:
			return nil, nil, fmt.Errorf("the script answers with %T", part)
		case i > 0:
			records = append(records, values)
		default:
			for at := range values {
				ids = append(ids, reply(values).text(at))
			}
		}
	}
	return ids, records, nil
}

// summaries reads the records of a listing.
func (s *Store) summaries(ctx context.Context, ids []string) ([][]any, error) {
	fields, cmds := summaryFields(), make([]*redis.SliceCmd, len(ids))
	if _, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			cmds[i] = p.HMGet(ctx, jobKey(id), fields...)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	records := make([][]any, len(ids))
	for i, cmd := range cmds {
		records[i] = cmd.Val()
	}
	return records, nil
}
