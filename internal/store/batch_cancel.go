package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/luascript"
)

const (
	// chunksAtOnce is the number of chunks whose jobs end in one round trip, and cancelsAtOnce that of jobs with a record. They
	// bound the time that Redis blocks other commands: some 0.4 ms for a chunk of 500 jobs, and 70 µs for a job.
	chunksAtOnce, cancelsAtOnce = 4, 16
	// chunksOfStep is the number of chunks that CancelChunks ends at most.
	chunksOfStep = 32
)

// CancelChunks ends the jobs without a record of the next chunks of a batch, which need not be known. It returns the number of
// these chunks.
func (s *Store) CancelChunks(ctx context.Context, p job.BatchProgress) (int, error) {
	const op = "cancel jobs of batch without records"
	after, err := s.rdb.ZRangeByScore(ctx, batchKey(p.ID)+":chunks", &redis.ZRangeBy{Min: "(" + strconv.FormatInt(p.Next, 10), Max: "+inf", Count: chunksOfStep}).Result()
	if err != nil {
		return 0, wrap(op, err)
	}
	ends := make([]int64, len(after), len(after)+1)
	for i, first := range after {
		ends[i] = atoi(first)
	}
	if len(ends) < chunksOfStep && p.Next < p.Jobs {
		ends = append(ends, p.Jobs)
	}
	first := p.Next
	for some := range slices.Chunk(ends, chunksAtOnce) {
		var calls []call
		for _, end := range some {
			calls = append(calls, call{keys{{"batch", batchKey(p.ID)}}, s.fedArgs(p.ID, first, int(end-first), job.Cancelled)})
			first = end
		}
		replies, err := s.runAll(ctx, op, s.scripts.batchFed, calls)
		if err != nil {
			return 0, err
		}
		for _, r := range replies {
			if err := batchError(op, r); err != nil {
				return 0, err
			}
		}
	}
	return len(ends), nil
}

// CancelAll cancels jobs in few round trips, as Cancel does. One that has ended, or has gone, is no error.
func (s *Store) CancelAll(ctx context.Context, ids []string) error {
	const op = "cancel jobs"
	for some := range slices.Chunk(ids, cancelsAtOnce) {
		calls := make([]call, len(some))
		for i, id := range some {
			calls[i].keys, calls[i].args = s.cancelArgs(id, false, cancelled())
		}
		replies, err := s.runAll(ctx, op, s.scripts.cancel, calls)
		if err != nil {
			return err
		}
		for i, r := range replies {
			err := wordError(op, r)
			if errors.Is(err, job.ErrNotFound) {
				_, err = s.Cancel(ctx, some[i]) // it has no record
			}
			if err != nil && !errors.Is(err, job.ErrFinished) && !errors.Is(err, job.ErrNotFound) && !errors.Is(err, job.ErrGone) {
				return err
			}
		}
	}
	return nil
}

// call is what a script gets.
type call struct {
	keys keys
	args args
}

// runAll executes a script several times in one round trip, in this order. Each call may be sent twice.
func (s *Store) runAll(ctx context.Context, op string, sc script, calls []call) ([]reply, error) {
	if len(calls) == 0 {
		return nil, nil
	}
	cmds := make([]*redis.Cmd, len(calls))
	send := func(eval func(sc luascript.Script, p redis.Pipeliner, byKey []string, byNumber []any) *redis.Cmd) error {
		_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, c := range calls {
				byKey, byNumber := sc.Bind(c.keys, c.args)
				cmds[i] = eval(sc, p, byKey, byNumber)
			}
			return nil
		})
		return err
	}
	err := send(func(sc luascript.Script, p redis.Pipeliner, byKey []string, byNumber []any) *redis.Cmd {
		return sc.EvalSha(ctx, p, byKey, byNumber...)
	})
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		// Redis has not seen the script, or has restarted.
		err = send(func(sc luascript.Script, p redis.Pipeliner, byKey []string, byNumber []any) *redis.Cmd {
			return sc.Eval(ctx, p, byKey, byNumber...)
		})
	}
	replies := make([]reply, len(cmds))
	for i, cmd := range cmds {
		v, one := cmd.Slice()
		if one != nil {
			return nil, wrap(op, one)
		}
		replies[i] = v
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return replies, nil
}
