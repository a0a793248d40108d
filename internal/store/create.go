package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
)

// Create records a job. Unless the job is held or was enqueued in the same step, the caller
// enqueues its task next and calls Enqueued. If the caller dies in between, the maintenance loop
// enqueues it.
func (s *Store) Create(ctx context.Context, n job.NewJob) (job.Created, error) {
	c := s.CreateAll(ctx, []job.NewJob{n})[0]
	return c, c.Err
}

// createAtOnce is the number of jobs that are recorded in one round trip. It bounds the time
// that Redis blocks other commands: some 30 µs for each.
const createAtOnce = 16

// CreateAll records many jobs in few round trips; each has its own outcome.
func (s *Store) CreateAll(ctx context.Context, jobs []job.NewJob) []job.Created {
	out := make([]job.Created, 0, len(jobs))
	for some := range slices.Chunk(jobs, createAtOnce) {
		out = append(out, s.createSome(ctx, some)...)
	}
	return out
}

func (s *Store) createSome(ctx context.Context, jobs []job.NewJob) []job.Created {
	out := make([]job.Created, len(jobs))
	if err := s.hasRoom(ctx); err != nil {
		for i := range out {
			out[i] = job.Created{Err: fmt.Errorf("create job: %w", err)}
		}
		return out
	}
	cmds := make([]*redis.Cmd, len(jobs))
	send := func(eval func(p redis.Pipeliner, byKey []string, byNumber []any) *redis.Cmd) error {
		_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, n := range jobs {
				k, a, err := s.createArgs(n)
				if err != nil {
					return err
				}
				byKey, byNumber := s.scripts.create.Bind(k, a)
				cmds[i] = eval(p, byKey, s.withTask(ctx, n.Job, byNumber))
			}
			return nil
		})
		return err
	}
	err := send(func(p redis.Pipeliner, byKey []string, byNumber []any) *redis.Cmd {
		return s.scripts.create.EvalSha(ctx, p, byKey, byNumber...)
	})
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		// Redis has not seen the script, or has restarted. Creation is idempotent
		// by id, so the whole batch may be sent again.
		err = send(func(p redis.Pipeliner, byKey []string, byNumber []any) *redis.Cmd {
			return s.scripts.create.Eval(ctx, p, byKey, byNumber...)
		})
	}
	for i, n := range jobs {
		if cmds[i] == nil {
			out[i] = job.Created{Err: wrap("create job", err)}
			continue
		}
		out[i] = s.created(ctx, n, cmds[i])
	}
	return out
}

// createArgs are the arguments of the script that creates a job, without the commands that withTask adds.
func (s *Store) createArgs(n job.NewJob) (keys, args, error) {
	n.Spec.Network = n.Spec.Network.OwnedBy(n.Caller)
	spec, err := json.Marshal(n.Spec)
	if err != nil {
		return nil, nil, fmt.Errorf("encode spec: %w", err)
	}
	j := n.Job
	idempotency := jobKey(j.ID)
	if n.IdempotencyKey != "" {
		idempotency = idempotencyKey(n.Scope, n.IdempotencyKey)
	}
	notify := ""
	if n.Subscriber != "" {
		notify = finishedChannel(n.Subscriber)
	}
	session, lane := "", ""
	if j.InSession {
		session, lane = j.SessionID, laneOf(j)
	}
	hookURL := ""
	if j.Webhook != nil {
		hookURL = j.Webhook.URL
	}
	most, shared := s.memory.mostOfCaller(s.cfg)
	return keys{{"job", jobKey(j.ID)}, {"idempotency", idempotency}}, args{
		{"id", j.ID},
		{"queue", j.Queue},
		{"state", string(j.State)},
		{"max_attempts", j.MaxAttempts},
		{"scheduled_at", millis(j.ScheduledAt)},
		{"timeout", j.Timeout.Milliseconds()},
		{"result_ttl", j.ResultTTL.Milliseconds()},
		{"metadata", []byte(j.Metadata)},
		{"spec", spec},
		{"notify", notify},
		{"fingerprint", n.Fingerprint},
		{"idempotency_ttl", s.cfg.IdempotencyTTL.Milliseconds()},
		{"outbox_delay", s.cfg.OutboxDelay.Milliseconds()},
		{"runtime", j.Runtime},
		{"waiter", n.Subscriber},
		{"waiter_ttl", s.cfg.RunnerTTL.Milliseconds()},
		{"caller", cmp.Or(n.Caller, anonymous)},
		{"hook_url", hookURL},
		{"hook_secret", string(n.WebhookSecret)},
		{"session", session},
		{"events", mark(n.Events)},
		{"files", mark(len(n.Spec.Files) > 0 || job.LeavesOutput(n.Spec.Op))},
		{"most_waiting", n.MostWaiting},
		{"most_running", n.MostRunning},
		{"most_bytes", most},
		{"shared", shared},
		{"alone", mark(s.cfg.OneCaller && n.Caller != "")},
		{"after", j.After},
		{"rerun_of", j.RerunOf},
		{"lane", lane},
		{"wakes", mark(n.Spec.Op == job.OpResume)},
	}, nil
}

// laneOf is the lane of a job of a session by its name.
func laneOf(j job.Job) string {
	if j.Lane == job.LaneBeside {
		return job.Beside(j.ID)
	}
	return j.Lane
}

// withTask adds the commands that enqueue the job's task, each after its length, if it is to run at once.
func (s *Store) withTask(ctx context.Context, j job.Job, byNumber []any) []any {
	if s.cfg.Enqueue != nil && j.State == job.Queued && !j.InSession {
		for _, command := range s.cfg.Enqueue(ctx, j) {
			byNumber = append(append(byNumber, len(command)), command...)
		}
	}
	return byNumber
}

func (s *Store) created(ctx context.Context, n job.NewJob, cmd *redis.Cmd) job.Created {
	const op = "create job"
	v, err := cmd.Slice()
	if err != nil {
		return job.Created{Err: wrap(op, err)}
	}
	r := reply(v)
	if err := wordError(op, r); err != nil {
		return job.Created{Err: aboutSession(n.Job.SessionID, err)}
	}
	switch r.word() {
	case "full":
		return job.Created{Err: fmt.Errorf("%s: %w", op, &job.FullError{Queue: r.text(1), Depth: atoi(r.text(2)), Limit: atoi(r.text(3)), OfKey: r.text(4) == "key"})}
	case "bytes":
		return job.Created{Err: fmt.Errorf("%s: %w", op, bytesFull(r))}
	case "lanes":
		return job.Created{Err: fmt.Errorf("%s: %w", op, &job.LanesError{Busy: atoi(r.text(1)), Limit: atoi(r.text(2))})}
	case "old_runner":
		return job.Created{Err: fmt.Errorf("%s: %w", op, job.ErrOldRunner)}
	case "no_batch":
		return job.Created{Err: fmt.Errorf("%s: %w", op, job.ErrNoBatch)}
	case "awaited":
		return job.Created{Err: fmt.Errorf("%s: %w", op, &job.AwaitedError{Depth: atoi(r.text(1)), Limit: atoi(r.text(2))})}
	case "stopped":
		return job.Created{Err: fmt.Errorf("%s: %w", op, job.ErrBatchStopped)}
	case "replay":
		j, err := s.Get(ctx, r.text(1))
		if errors.Is(err, job.ErrNotFound) || errors.Is(err, job.ErrGone) {
			err = fmt.Errorf("%s: %w", op, job.ErrReplayGone) // the key outlives the record
		}
		return job.Created{Job: j, Replayed: true, Err: err}
	}
	j := n.Job
	j.Lane = laneOf(j)
	j.CreatedAt = parseMillis(r.text(1))
	if j.State == job.Queued {
		j.QueuedAt = j.CreatedAt
	}
	return job.Created{Job: j, Held: r.text(2) == "held", Enqueued: r.text(2) == "enqueued"}
}

// Enqueued confirms that tasks are on their queues.
func (s *Store) Enqueued(ctx context.Context, tasks ...job.Task) error {
	each := make([]args, len(tasks))
	for i, t := range tasks {
		each[i] = args{{"id", t.JobID}, {"attempt", t.Attempt}, {"passes", t.Passes}}
	}
	return wrap("confirm enqueued", s.call(ctx, s.scripts.enqueued, keys{{"outbox", outboxKey}}, nil, each...).Err())
}

// Due returns the tasks to enqueue now, at most most of them. It returns the time until the next
// one is due; negative if none is known.
func (s *Store) Due(ctx context.Context, most int) ([]job.Task, time.Duration, error) {
	const op = "look for due jobs"
	if some, err := s.exists(ctx, op, outboxKey); err != nil || !some {
		return nil, -1, err
	}
	v, err := s.call(ctx, s.scripts.due, keys{{"outbox", outboxKey}}, args{{"most", most}}).Slice()
	if err != nil {
		return nil, 0, wrap(op, err)
	}
	r := reply(v)
	next := time.Duration(atoi(r.text(0))) * time.Millisecond
	return dueTasks(r[1:]), next, nil
}

// dueTasks reads a script's answer about each of some jobs.
func dueTasks(r reply) []job.Task {
	var due []job.Task
	for i := 0; i+5 < len(r); i += 6 {
		due = append(due, job.Task{
			JobID: r.text(i), Queue: r.text(i + 1), Attempt: int(atoi(r.text(i+2))) + 1,
			Timeout: time.Duration(atoi(r.text(i+3))) * time.Millisecond, Runtime: r.text(i + 4), Passes: int(atoi(r.text(i + 5))),
		})
	}
	return due
}
