package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// Beat is a runner's heartbeat. It registers the runner, or keeps it registered for RunnerTTL
// more.
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
		return s.Joined(ctx, r.ID)
	}
	return wrap(op, err)
}

// Leave takes a stopped runner out of the registry. The next Rescue settles the jobs that it
// still holds.
func (s *Store) Leave(ctx context.Context, runner string) error {
	return wrap("leave", s.rdb.Del(ctx, runnerKey(runner)).Err())
}

// SessionsUse notes how many bytes of memory the sandboxes of a runner's sessions use, for a while.
func (s *Store) SessionsUse(ctx context.Context, runner string, bytes map[string]int64, ttl time.Duration) error {
	const op = "note memory of sessions"
	text, err := json.Marshal(bytes)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return wrap(op, s.rdb.Set(ctx, runnerUseKey(runner), text, ttl).Err())
}

// SessionsUsed returns what SessionsUse noted last of the sessions of some runners, by session.
func (s *Store) SessionsUsed(ctx context.Context, runners []string) (map[string]int64, error) {
	const op = "read memory of sessions"
	keys := make([]string, len(runners))
	for i, id := range runners {
		keys[i] = runnerUseKey(id)
	}
	all := make(map[string]int64)
	if len(keys) == 0 {
		return all, nil
	}
	values, err := s.rdb.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, wrap(op, err)
	}
	for _, v := range values {
		text, ok := v.(string)
		if !ok {
			continue // it has no sessions
		}
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
	}
	return all, nil
}

// Runners returns the live runners, by id.
func (s *Store) Runners(ctx context.Context) ([]job.Runner, error) {
	const op = "list runners"
	ids, drained, err := s.runnerIDs(ctx)
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
		r.Drained = drained[r.ID]
		runners = append(runners, r)
	}
	slices.SortFunc(runners, func(a, b job.Runner) int { return strings.Compare(a.ID, b.ID) })
	return runners, nil
}

// Attend renews the lease of a process whose callers wait for jobs with it as their Subscriber.
// The lease lapses RunnerTTL after the last call or creation. Rescue then ends those jobs.
func (s *Store) Attend(ctx context.Context, waiter string) error {
	_, err := s.rdb.SetArgs(ctx, waiterKey(waiter), 1, redis.SetArgs{Get: true, TTL: s.cfg.RunnerTTL}).Result()
	if errors.Is(err, redis.Nil) {
		err = s.rdb.SAdd(ctx, waitersKey, waiterMember(waiter)).Err()
	}
	return wrap("attend", err)
}

// Rescue settles the jobs of the processes that Lapsed returned, if they have still lapsed:
// executions of runners, and jobs of waiters. It reports whether there was a runner among them.
// Any process may call it at any time.
func (s *Store) Rescue(ctx context.Context, lapsed ...string) (rescued []job.Rescued, runner bool, err error) {
	const op = "rescue"
	var runners, waiters []args
	for _, member := range lapsed {
		if strings.HasPrefix(member, waiterMember("")) {
			waiters = append(waiters, args{{"waiter", member}})
		} else {
			runners = append(runners, args{{"runner", member}})
		}
	}
	if runner = len(runners) > 0; runner {
		v, err := s.call(ctx, s.scripts.rescue, keys{{"runners", runnersKey}},
			args{{"message", "the runner that executed it was lost"}, s.tombstone()}, runners...).Slice()
		if err != nil {
			return nil, false, wrap(op, err)
		}
		rescued = rescuedOf(v, false)
	}
	if len(waiters) > 0 {
		v, err := s.call(ctx, s.scripts.unattended, keys{{"waiters", waitersKey}}, args{
			{"code", string(job.FailWaiterLost)}, {"message", "the API process whose caller waited for it was lost"}, s.tombstone(),
		}, waiters...).Slice()
		if err != nil {
			return rescued, runner, wrap(op, err)
		}
		rescued = append(rescued, rescuedOf(v, true)...)
	}
	return rescued, runner, nil
}

func rescuedOf(r reply, unattended bool) []job.Rescued {
	var rescued []job.Rescued
	for i := 0; i+1 < len(r); i += 2 {
		rescued = append(rescued, job.Rescued{JobID: r.text(i), State: job.State(r.text(i + 1)), Unattended: unattended})
	}
	return rescued
}

// Revoked returns the claims that must stop, because their owner has cancelled them or they are
// no longer the job's current claim. It also returns those whose jobs have followers.
func (s *Store) Revoked(ctx context.Context, claims []job.Claim) (cancelled, lost, watched []job.Claim, err error) {
	if len(claims) == 0 {
		return nil, nil, nil, nil
	}
	cmds := make([]*redis.SliceCmd, len(claims))
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, c := range claims {
			cmds[i] = p.HMGet(ctx, jobKey(c.JobID), "state", "attempt", "runner", "cancel", "events")
		}
		return nil
	})
	if err != nil {
		return nil, nil, nil, wrap("look for cancels", err)
	}
	for i, c := range claims {
		v := reply(cmds[i].Val())
		switch {
		case v.text(0) != string(job.Running) || atoi(v.text(1)) != int64(c.Attempt) || v.text(2) != c.Runner:
			lost = append(lost, c)
		case v.text(3) != "":
			cancelled = append(cancelled, c)
		}
		if v.text(4) != "" {
			watched = append(watched, c)
		}
	}
	return cancelled, lost, watched, nil
}

// Held returns the claims of a runner in the registry.
func (s *Store) Held(ctx context.Context, runner string) ([]job.Claim, error) {
	const op = "list claims"
	ids, err := s.rdb.SMembers(ctx, runnerKey(runner)+":jobs").Result()
	if err != nil || len(ids) == 0 {
		return nil, wrap(op, err)
	}
	cmds := make([]*redis.SliceCmd, len(ids))
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			cmds[i] = p.HMGet(ctx, jobKey(id), "attempt", "in_session", "lane")
		}
		return nil
	})
	if err != nil {
		return nil, wrap(op, err)
	}
	claims := make([]job.Claim, len(ids))
	for i, id := range ids {
		v := reply(cmds[i].Val())
		claims[i] = job.Claim{JobID: id, Runner: runner, Attempt: int(atoi(v.text(0))), SessionID: v.text(1), InSession: v.text(1) != "", Lane: v.text(2)}
	}
	return claims, nil
}
