package store

import (
	"cmp"
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

// summaryFields are the fields of a listing. They leave out the spec, and the result, which may
// have megabytes.
func summaryFields() []string {
	return []string{
		"state", "queue", "attempt", "max_attempts", "created_at", "scheduled_at", "queued_at", "started_at",
		"finished_at", "runner", "session", "timeout", "result_ttl", "metadata", "runtime", "cancel", "failure_code", "failure_message",
		"hook_url", "hook_state", "hook_attempts", "hook_status", "hook_error",
		"in_session", "failure_reason", "caller", "after", "schedule", "rerun_of", "lane", "pid", "status", "attempts",
	}
}

// attemptFields is the number of fields of a line about an earlier attempt.
const attemptFields = 5

// resultParts is the number of copies of a large result that are held: its text, its values, and
// an answer's pieces.
const resultParts = 3

// Get returns a job with its result. For a large one the request has to hold memory (job.Hold).
func (s *Store) Get(ctx context.Context, id string) (job.Job, error) {
	return s.get(ctx, "get job", id, append(summaryFields(), "result", "dropped", "large_bytes"), false)
}

// get reads the named fields of a job. again: it was not there a moment ago.
func (s *Store) get(ctx context.Context, op, id string, fields []string, again bool) (job.Job, error) {
	v, err := s.rdb.HMGet(ctx, jobKey(id), fields...).Result()
	if err != nil {
		return job.Job{}, wrap(op, err)
	}
	if owner, inSession, there := ownerIn(fields, v); there && !job.ViewerIn(ctx).Knew(owner, inSession) {
		return job.Job{}, s.unseen(ctx, op, id)
	}
	var large []byte
	if size, ok := v[len(v)-1].(string); ok && fields[len(fields)-1] == "large_bytes" {
		if err := job.Hold(ctx, resultParts*atoi(size)); err != nil {
			return job.Job{}, fmt.Errorf("%s: %w", op, err)
		}
		// It never changes, but it may expire.
		if large, err = s.rdb.HGet(ctx, jobKey(id), "large").Bytes(); err != nil && !errors.Is(err, redis.Nil) {
			return job.Job{}, wrap(op, err)
		}
	}
	j, ok, err := decode(id, fields, v, large)
	if err != nil {
		return job.Job{}, fmt.Errorf("%s: %w", op, err)
	}
	if ok {
		return j, nil
	}
	switch j, err := s.pending(ctx, op, id); {
	case err == nil && !job.ViewerIn(ctx).Sees(j):
		return job.Job{}, s.absent(ctx, op, id)
	case err == nil:
		return j, nil
	case errors.Is(err, job.ErrStale) && !again:
		return s.get(ctx, op, id, fields, true)
	case !errors.Is(err, job.ErrNotFound) && !errors.Is(err, job.ErrStale):
		return job.Job{}, err
	}
	return job.Job{}, s.absent(ctx, op, id)
}

// ownerIn returns the owner of a record, and whether it is an execution of a session, without decoding the rest; false when there is no record.
func ownerIn(fields []string, values []any) (owner string, inSession, there bool) {
	for i, name := range fields {
		text, ok := values[i].(string)
		switch name {
		case "state":
			there = ok
		case "caller":
			owner = ownerOf(text)
		case "in_session":
			inSession = text != ""
		}
	}
	return owner, inSession, there
}

// unseen takes the steps of get for a job that never was.
func (s *Store) unseen(ctx context.Context, op, id string) error {
	if _, err := s.pending(ctx, op, id); errors.Is(err, job.ErrUnavailable) {
		return err
	}
	if err := s.absent(ctx, op, id); errors.Is(err, job.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%s: %w", op, job.ErrNotFound)
}

// absent distinguishes a job that was never known from one whose record has expired.
func (s *Store) absent(ctx context.Context, op, id string) error {
	tombstone, err := s.rdb.Get(ctx, goneKey(id)).Result()
	if errors.Is(err, redis.Nil) {
		return fmt.Errorf("%s: %w", op, job.ErrNotFound)
	}
	if err != nil {
		return wrap(op, err)
	}
	if owner, private := strings.CutPrefix(tombstone, ownedBy); private {
		return fmt.Errorf("%s: %w", op, &job.PrivateGoneError{Owner: ownerOf(owner), Private: true})
	}
	if owner, ok := strings.CutPrefix(tombstone, tenantsOf); ok {
		return fmt.Errorf("%s: %w", op, &job.PrivateGoneError{Owner: owner})
	}
	return fmt.Errorf("%s: %w", op, &job.PrivateGoneError{})
}

// ownedBy precedes the caller in values that the scripts write about private records.
const ownedBy = "of:"

// tenantsOf precedes the owner where others of its tenant may know of a record, too.
const tenantsOf = "tenant:"

// ownerOf is the caller of a record by the name that the rest of Kaa uses.
func ownerOf(caller string) string {
	if caller == anonymous {
		return ""
	}
	return caller
}

// Summary returns a job without its result.
func (s *Store) Summary(ctx context.Context, id string) (job.Job, error) {
	return s.get(ctx, "look at job", id, summaryFields(), false)
}

// WaitsFor returns the reason why a job waits; empty if it is not queued, and is not to run after a batch.
func (s *Store) WaitsFor(ctx context.Context, id string) (job.Wait, error) {
	r, err := s.run(ctx, "look why a job waits", s.scripts.waits, keys{{"job", jobKey(id)}}, args{{"id", id}})
	if err != nil {
		return "", err
	}
	return job.Wait(r.text(1)), nil
}

// Watch registers a subscriber for the job's end, unless it has ended. Call it, then Get: an end
// between the two is seen by Get, a later one is announced.
func (s *Store) Watch(ctx context.Context, id, subscriber string) error {
	err := s.call(ctx, s.scripts.watch, keys{{"job", jobKey(id)}}, args{{"channel", finishedChannel(subscriber)}}).Err()
	return wrap("watch job", err)
}

// listing is the name under which the jobs of a queue that a viewer sees are listed. A tenant has
// one of its own for each queue.
func listing(queue string, v job.Viewer) string {
	if !v.All && (queue == job.SessionQueue || job.TenantOf(v.Caller) != "") {
		return queue + ":" + ownedBy + cmp.Or(v.Caller, anonymous)
	}
	return queue
}

// Queues counts the jobs of each of the named queues that a viewer sees, and of every other queue
// that has had one.
func (s *Store) Queues(ctx context.Context, names []string, v job.Viewer) ([]job.QueueStats, error) {
	const op = "count queues"
	seen, err := s.rdb.SMembers(ctx, queuesKey).Result()
	if err != nil {
		return nil, wrap(op, err)
	}
	slices.Sort(seen)
	names = slices.Clone(names)
	for _, q := range seen {
		if !slices.Contains(names, q) {
			names = append(names, q)
		}
	}
	type counts struct {
		depth, active, scheduled *redis.IntCmd
		oldest                   *redis.StringSliceCmd
	}
	cmds := make([]counts, len(names))
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, q := range names {
			if q != job.SessionQueue { // its numbers show nothing of a session
				q = listing(q, v)
			}
			cmds[i] = counts{
				depth:     p.ZCard(ctx, indexKey(q, job.Queued)),
				active:    p.ZCard(ctx, indexKey(q, job.Running)),
				scheduled: p.ZCard(ctx, indexKey(q, job.Scheduled)),
				oldest:    p.ZRangeByLex(ctx, indexKey(q, job.Queued), &redis.ZRangeBy{Min: "-", Max: "+", Count: 1}),
			}
		}
		return nil
	})
	if err != nil {
		return nil, wrap(op, err)
	}
	stats := make([]job.QueueStats, len(names))
	for i, q := range names {
		stats[i] = job.QueueStats{
			Name: q, Depth: cmds[i].depth.Val(), Active: cmds[i].active.Val(), Scheduled: cmds[i].scheduled.Val(),
		}
		if oldest := cmds[i].oldest.Val(); len(oldest) == 1 {
			if stats[i].OldestAgeSec, err = s.readyFor(ctx, oldest[0]); err != nil {
				return nil, wrap(op, err)
			}
		}
	}
	return stats, nil
}

// readyFor returns the seconds for which a job has been ready to run.
func (s *Store) readyFor(ctx context.Context, id string) (float64, error) {
	at, err := s.rdb.HGet(ctx, jobKey(id), "queued_at").Result()
	if err == redis.Nil { //nolint:errorlint // go-redis returns it bare; it left the queue meanwhile
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	now, err := s.rdb.Time(ctx).Result()
	if err != nil {
		return 0, err
	}
	return max(0, now.Sub(parseMillis(at)).Seconds()), nil
}

// decode turns the values of the named fields, and a large result, into a job; false when
// there is no record.
func decode(id string, fields []string, values []any, large []byte) (job.Job, bool, error) {
	f := make(map[string]string, len(fields))
	for i, name := range fields {
		if v, ok := values[i].(string); ok {
			f[name] = v
		}
	}
	if f["state"] == "" {
		return job.Job{}, false, nil
	}
	j := job.Job{
		ID: id, State: job.State(f["state"]), Queue: f["queue"],
		Attempt: int(atoi(f["attempt"])), MaxAttempts: int(atoi(f["max_attempts"])),
		CreatedAt: parseMillis(f["created_at"]), ScheduledAt: parseMillis(f["scheduled_at"]),
		QueuedAt: parseMillis(f["queued_at"]), StartedAt: parseMillis(f["started_at"]), FinishedAt: parseMillis(f["finished_at"]),
		Runner: f["runner"], SessionID: f["session"], InSession: f["in_session"] != "", Lane: f["lane"], PID: int(atoi(f["pid"])), Runtime: f["runtime"],
		Timeout:         time.Duration(atoi(f["timeout"])) * time.Millisecond,
		ResultTTL:       time.Duration(atoi(f["result_ttl"])) * time.Millisecond,
		CancelRequested: f["cancel"] != "", Owner: ownerOf(f["caller"]), After: f["after"], ScheduleID: f["schedule"], RerunOf: f["rerun_of"], Status: job.Status(f["status"]),
	}
	for line := range strings.Lines(f["attempts"]) {
		if v := strings.Fields(line); len(v) == attemptFields {
			j.Earlier = append(j.Earlier, job.PastAttempt{
				Attempt: int(atoi(v[0])), StartedAt: parseMillis(v[1]), EndedAt: parseMillis(v[2]), Runner: v[3], Reason: job.FailureCode(v[4]),
			})
		}
	}
	if m := f["metadata"]; m != "" {
		j.Metadata = json.RawMessage(m)
	}
	if c := f["failure_code"]; c != "" {
		j.Failure = &job.Failure{Code: job.FailureCode(c), Message: f["failure_message"], Reason: job.EndReason(f["failure_reason"])}
		if used, allowed, ok := strings.Cut(f["failure_reason"], "/"); ok {
			j.Failure.Reason, j.Failure.Bound = "", &job.InUse{Used: atoi(used), Allowed: atoi(allowed)}
		}
	}
	if u := f["hook_url"]; u != "" {
		j.Webhook = &job.Webhook{
			URL: u, State: job.WebhookState(f["hook_state"]), Attempts: int(atoi(f["hook_attempts"])),
			LastStatus: int(atoi(f["hook_status"])), LastError: f["hook_error"],
		}
	}
	if r := f["result"]; r != "" && j.Queue == job.OperationQueue {
		j.Data = json.RawMessage(r)
	} else if r != "" || large != nil {
		if large == nil {
			large = []byte(r)
		}
		j.Result = new(job.Result)
		if err := json.Unmarshal(large, j.Result); err != nil {
			return job.Job{}, false, fmt.Errorf("decode result of %s: %w", id, err)
		}
		j.Result.Expand()
		j.Status = j.Result.Status
		j.Result.Files = present(j, f["dropped"])
	}
	return j, true, nil
}

// Packages returns the packages of a job, as far as its request is kept. job.ErrNotFound: it is not there any more.
func (s *Store) Packages(ctx context.Context, id string) (job.PackageSpec, error) {
	var spec job.PackageSpec
	const op = "read packages of job"
	f, err := s.rdb.HMGet(ctx, jobKey(id), "spec", "caller").Result()
	if err != nil {
		return spec, wrap(op, err)
	}
	text, ok := f[0].(string)
	if !ok {
		return spec, fmt.Errorf("%s: %w", op, job.ErrNotFound)
	}
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return spec, fmt.Errorf("%s: decode: %w", op, err)
	}
	caller, _ := f[1].(string)
	spec.Owner = ownerOf(caller)
	return spec, nil
}
