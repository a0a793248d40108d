package store

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// Elect reports whether this process is elected for a task that any process does once in a
// period.
func (s *Store) Elect(ctx context.Context, what string, period time.Duration) (bool, error) {
	const op = "elect"
	err := s.rdb.SetArgs(ctx, prefix+"elected:"+what, "", redis.SetArgs{Mode: "NX", TTL: period}).Err()
	if err == redis.Nil { //nolint:errorlint // go-redis returns it bare
		return false, nil
	}
	return err == nil, wrap(op, err)
}

// Mend makes the registry and the listings of the queues agree with the records again, at most
// most jobs of each listing. It counts the repairs by kind; nil means that all jobs have ended.
func (s *Store) Mend(ctx context.Context, queues []string, most int) (map[string]int, error) {
	const op = "mend registry and listings"
	runners, err := s.rdb.SMembers(ctx, runnersKey).Result()
	if err != nil {
		return nil, wrap(op, err)
	}
	var listings []string
	for _, r := range runners {
		listings = append(listings, runnerKey(r)+":jobs")
	}
	for _, q := range queues {
		for _, st := range []job.State{job.Running, job.Queued, job.Scheduled} {
			listings = append(listings, indexKey(q, st))
		}
	}
	if some, err := s.exists(ctx, op, listings...); err != nil || !some {
		return nil, err
	}
	counts := make(map[string]int)
	for _, q := range queues { // one at a time, since a script blocks Redis
		v, err := s.call(ctx, s.scripts.mend, keys{{"runners", runnersKey}}, args{{"queue", q}, {"most", most}}).Slice()
		if err != nil {
			return nil, wrap(op, err)
		}
		r := reply(v)
		for i := 0; i+1 < len(r); i += 2 {
			counts[r.text(i)] += int(atoi(r.text(i + 1)))
		}
	}
	return counts, nil
}

// Waiting returns the tasks that must exist in asynq: those of the oldest queued jobs that are
// not in the outbox, at most most of them.
func (s *Store) Waiting(ctx context.Context, queue string, most int) ([]job.Task, error) {
	const op = "list waiting jobs"
	v, err := s.call(ctx, s.scripts.waiting, keys{{"outbox", outboxKey}}, args{{"queue", queue}, {"most", most}}).Slice()
	return dueTasks(v), wrap(op, err)
}

// Requeue puts jobs whose tasks are lost into the outbox. It returns the number of jobs that
// still waited for them.
func (s *Store) Requeue(ctx context.Context, tasks ...job.Task) (int, error) {
	each := make([]args, len(tasks))
	for i, t := range tasks {
		each[i] = args{{"id", t.JobID}, {"attempt", t.Attempt}}
	}
	n, err := s.call(ctx, s.scripts.requeue, keys{{"outbox", outboxKey}}, nil, each...).Int()
	return n, wrap("requeue jobs", err)
}

// Unwanted returns the tasks that no job waits for: the job has ended, runs, or waits for
// another attempt.
func (s *Store) Unwanted(ctx context.Context, tasks []job.Task) ([]job.Task, error) {
	if len(tasks) == 0 {
		return nil, nil
	}
	cmds := make([]*redis.SliceCmd, len(tasks))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, t := range tasks {
			cmds[i] = p.HMGet(ctx, jobKey(t.JobID), "state", "attempt")
		}
		return nil
	})
	if err != nil {
		return nil, wrap("look for the jobs of tasks", err)
	}
	var unwanted []job.Task
	for i, t := range tasks {
		r := reply(cmds[i].Val())
		state := job.State(r.text(0))
		if (state != job.Queued && state != job.Scheduled) || int(atoi(r.text(1)))+1 != t.Attempt {
			unwanted = append(unwanted, t)
		}
	}
	return unwanted, nil
}
