package store

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// PauseQueue lets no job of a queue be claimed until UnpauseQueue. Executions of sessions are those
// of job.SessionQueue.
func (s *Store) PauseQueue(ctx context.Context, queue string) error {
	return wrap("pause queue", s.call(ctx, s.scripts.pause, keys{{"paused", pausedKey}}, args{{"queue", queue}}).Err())
}

// UnpauseQueue ends a PauseQueue.
func (s *Store) UnpauseQueue(ctx context.Context, queue string) error {
	return wrap("resume queue", s.call(ctx, s.scripts.unpause, keys{{"paused", pausedKey}}, args{{"queue", queue}}).Err())
}

// PausedQueues returns the queues that are paused, and since when.
func (s *Store) PausedQueues(ctx context.Context) (map[string]time.Time, error) {
	since, err := s.rdb.HGetAll(ctx, pausedKey).Result()
	paused := make(map[string]time.Time, len(since))
	for queue, at := range since {
		paused[queue] = parseMillis(at)
	}
	return paused, wrap("list paused queues", err)
}

// DrainRunner asks a live runner to take nothing new, or, unless on, to take jobs again.
// job.ErrNotFound: no such runner is alive.
func (s *Store) DrainRunner(ctx context.Context, runner string, on bool) error {
	_, err := s.run(ctx, "drain runner", s.scripts.drain, keys{{"runner", runnerKey(runner)}, {"drained", drainedKey}},
		args{{"runner", runner}, {"on", mark(on)}})
	return err
}

// Drained reports whether a runner is asked to take nothing new.
func (s *Store) Drained(ctx context.Context, runner string) (bool, error) {
	drained, err := s.rdb.SIsMember(ctx, drainedKey, runner).Result()
	return drained, wrap("look for a drain", err)
}

// Joined admits jobs to the slots of a runner that has begun to take jobs.
func (s *Store) Joined(ctx context.Context, runner string) error {
	return wrap("join", s.call(ctx, s.scripts.joined, keys{{"runners", runnersKey}, {"holding", holdingKey}}, args{{"runner", runner}}).Err())
}

// runnerIDs returns the ids of the registered runners, and those of them that are drained.
func (s *Store) runnerIDs(ctx context.Context) (ids []string, drained map[string]bool, err error) {
	var all, asked *redis.StringSliceCmd
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		all, asked = p.SMembers(ctx, runnersKey), p.SMembers(ctx, drainedKey)
		return nil
	})
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // the caller names the operation
	}
	drained = make(map[string]bool, len(asked.Val()))
	for _, id := range asked.Val() {
		drained[id] = true
	}
	return all.Val(), drained, nil
}
