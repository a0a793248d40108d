package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// Beat is a runner's heartbeat: it registers the runner, or keeps it registered
// for RunnerTTL more.
func (s *Store) Beat(ctx context.Context, r job.Runner) error {
	const op = "heartbeat"
	info, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	_, err = s.rdb.SetArgs(ctx, runnerKey(r.ID), info, redis.SetArgs{Get: true, TTL: s.cfg.RunnerTTL}).Result()
	if errors.Is(err, redis.Nil) {
		// The first beat, or the first after a lapse in which the rescuer may have
		// written this runner off.
		err = s.rdb.SAdd(ctx, runnersKey, r.ID).Err()
	}
	return wrap(op, err)
}

// Leave takes a runner that has stopped out of the registry. Jobs that it still
// holds are settled by the next Rescue.
func (s *Store) Leave(ctx context.Context, runner string) error {
	return wrap("leave", s.rdb.Del(ctx, runnerKey(runner)).Err())
}

// Runners returns the runners that are alive, by id.
func (s *Store) Runners(ctx context.Context) ([]job.Runner, error) {
	const op = "list runners"
	ids, err := s.rdb.SMembers(ctx, runnersKey).Result()
	if err != nil || len(ids) == 0 {
		return nil, wrap(op, err)
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = runnerKey(id)
	}
	values, err := s.rdb.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, wrap(op, err)
	}
	var runners []job.Runner
	for _, v := range values {
		text, ok := v.(string)
		if !ok {
			continue // lapsed; the rescuer takes it out
		}
		var r job.Runner
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
		runners = append(runners, r)
	}
	slices.SortFunc(runners, func(a, b job.Runner) int { return strings.Compare(a.ID, b.ID) })
	return runners, nil
}

// Lapsed returns the registered runners whose heartbeat has lapsed, in two commands
// for any number of runners that have not.
func (s *Store) Lapsed(ctx context.Context) ([]string, error) {
	const op = "look for lapsed runners"
	ids, err := s.rdb.SMembers(ctx, runnersKey).Result()
	if err != nil || len(ids) == 0 {
		return nil, wrap(op, err)
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = runnerKey(id)
	}
	alive, err := s.rdb.Exists(ctx, keys...).Result()
	if err != nil || int(alive) == len(ids) {
		return nil, wrap(op, err)
	}
	values, err := s.rdb.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, wrap(op, err)
	}
	var lapsed []string
	for i, v := range values {
		if v == nil {
			lapsed = append(lapsed, ids[i])
		}
	}
	return lapsed, nil
}

// Rescue settles the jobs of those of the named runners whose heartbeat has lapsed.
// Any process may call it at any time.
func (s *Store) Rescue(ctx context.Context, runners ...string) ([]job.Rescued, error) {
	const op = "rescue"
	args := []any{"the runner that executed it was lost", s.cfg.TombstoneTTL.Milliseconds()}
	for _, id := range runners {
		args = append(args, id)
	}
	v, err := s.scripts.rescue.Run(ctx, s.rdb, []string{runnersKey}, args...).Slice()
	if err != nil {
		return nil, wrap(op, err)
	}
	r := reply(v)
	var rescued []job.Rescued
	for i := 0; i+1 < len(r); i += 2 {
		rescued = append(rescued, job.Rescued{JobID: r.text(i), State: job.State(r.text(i + 1))})
	}
	return rescued, nil
}

// Doomed returns which of the claims must stop: their owner has asked for it, or
// they are not the job's current claim any more.
func (s *Store) Doomed(ctx context.Context, claims []job.Claim) (cancelled, lost []job.Claim, err error) {
	if len(claims) == 0 {
		return nil, nil, nil
	}
	cmds := make([]*redis.SliceCmd, len(claims))
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, c := range claims {
			cmds[i] = p.HMGet(ctx, jobKey(c.JobID), "state", "attempt", "runner", "cancel")
		}
		return nil
	})
	if err != nil {
		return nil, nil, wrap("look for cancels", err)
	}
	for i, c := range claims {
		v := reply(cmds[i].Val())
		switch {
		case v.text(0) != string(job.Running) || atoi(v.text(1)) != int64(c.Attempt) || v.text(2) != c.Runner:
			lost = append(lost, c)
		case v.text(3) != "":
			cancelled = append(cancelled, c)
		}
	}
	return cancelled, lost, nil
}

// Held returns the claims that the registry has for a runner.
func (s *Store) Held(ctx context.Context, runner string) ([]job.Claim, error) {
	const op = "list claims"
	ids, err := s.rdb.SMembers(ctx, runnerKey(runner)+":jobs").Result()
	if err != nil || len(ids) == 0 {
		return nil, wrap(op, err)
	}
	cmds := make([]*redis.StringCmd, len(ids))
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			cmds[i] = p.HGet(ctx, jobKey(id), "attempt")
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, wrap(op, err)
	}
	claims := make([]job.Claim, len(ids))
	for i, id := range ids {
		claims[i] = job.Claim{JobID: id, Runner: runner, Attempt: int(atoi(cmds[i].Val()))}
	}
	return claims, nil
}
