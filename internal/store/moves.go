package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/job"
)

// Claim takes the next attempt of a queued job for a runner and one of its sessions.
// job.ErrStale: the job must not run any more. job.ErrHeld: it must not run now, and gets
// another task.
func (s *Store) Claim(ctx context.Context, id, runner, session string) (job.Claim, error) {
	const op = "claim job"
	r, err := s.run(ctx, op, s.scripts.claim, []string{jobKey(id), runnerKey(runner)}, id, runner, session)
	if err != nil {
		return job.Claim{}, err
	}
	switch r.word() {
	case "unregistered":
		return job.Claim{}, fmt.Errorf("%s: %w", op, job.ErrUnregistered)
	case "held":
		return job.Claim{}, fmt.Errorf("%s: %w", op, job.ErrHeld)
	}
	c := job.Claim{
		JobID: id, Runner: runner, SessionID: session, Queue: r.text(3),
		Attempt: int(atoi(r.text(1))),
		Waited:  time.Duration(atoi(r.text(2))) * time.Millisecond,
		Filled:  r.text(5) != "" && r.text(5) != "0",
		Events:  r.text(6) != "",
	}
	if err := json.Unmarshal([]byte(r.text(4)), &c.Spec); err != nil {
		return job.Claim{}, fmt.Errorf("%s: decode spec: %w", op, err)
	}
	return c, nil
}

// Finish records the end of a claim's attempt. job.ErrStale: the claim has been lost, and
// nothing was written.
func (s *Store) Finish(ctx context.Context, c job.Claim, o job.Outcome) error {
	done, err := s.awaitTurn(ctx, o)
	if err != nil {
		return err
	}
	defer done()
	result, err := resultOf(o)
	if err != nil {
		return err
	}
	_, err = s.finish(ctx, c, o.State, result, o.Failure, "0", filesOf(o))
	return err
}

func resultOf(o job.Outcome) ([]byte, error) {
	if o.Result == nil {
		return o.Data, nil
	}
	result, err := encodeResult(o.Result)
	if err != nil {
		return nil, fmt.Errorf("finish job: encode result: %w", err)
	}
	return result, nil
}

// GiveBack ends an attempt that the runner could not complete. The job is queued again while
// attempts are left; otherwise it fails with f. It returns the job's new state.
func (s *Store) GiveBack(ctx context.Context, c job.Claim, f job.Failure) (job.State, error) {
	return s.finish(ctx, c, job.Failed, nil, &f, "1", "")
}

func (s *Store) finish(ctx context.Context, c job.Claim, to job.State, result []byte, f *job.Failure, retry, files string) (job.State, error) {
	if f == nil {
		f = &job.Failure{}
	}
	r, err := s.run(ctx, "finish job", s.scripts.finish, []string{jobKey(c.JobID)},
		c.JobID, c.Attempt, c.Runner, string(to), result, string(f.Code), f.Message, retry, s.cfg.TombstoneTTL.Milliseconds(), files)
	return job.State(r.word()), err
}

// Reject fails a job for which no attempt could be started.
func (s *Store) Reject(ctx context.Context, id string, f job.Failure) error {
	_, err := s.run(ctx, "reject job", s.scripts.reject, []string{jobKey(id)},
		id, string(f.Code), f.Message, s.cfg.TombstoneTTL.Milliseconds())
	return err
}

// Unstarted records that a runner could start no interpreter for a job. It fails the job with f
// if the first such record is older than after; never if after is 0. It returns the job's new
// state and the age of that record.
func (s *Store) Unstarted(ctx context.Context, id string, after time.Duration, f job.Failure) (job.State, time.Duration, error) {
	most := ""
	if after > 0 {
		most = strconv.FormatInt(after.Milliseconds(), 10)
	}
	r, err := s.run(ctx, "note an interpreter that did not start", s.scripts.unstarted, []string{jobKey(id)},
		id, most, string(f.Code), f.Message, s.cfg.TombstoneTTL.Milliseconds())
	return job.State(r.word()), time.Duration(atoi(r.text(1))) * time.Millisecond, err
}

// Unclaim takes back a claim whose code has not started. It uses up no attempt, and the task,
// which the runner still has, is valid again. It returns the job's state.
func (s *Store) Unclaim(ctx context.Context, c job.Claim) (job.State, error) {
	r, err := s.run(ctx, "take back claim", s.scripts.unclaim, []string{jobKey(c.JobID)},
		c.JobID, c.Attempt, c.Runner, s.cfg.TombstoneTTL.Milliseconds())
	return job.State(r.word()), err
}

// Cancel ends a waiting job and requests the end of a running one, by a durable flag that its
// runner checks every second, and by a message. It returns the job's new state. job.ErrFinished:
// it has ended already.
func (s *Store) Cancel(ctx context.Context, id string) (job.State, error) {
	return s.cancel(ctx, id, "0", job.Failure{Code: job.FailCancelled, Message: "cancelled before it had started"})
}

// Abandon cancels a job that still waits, with the failure f, and leaves a running one alone. It
// returns the job's new state.
func (s *Store) Abandon(ctx context.Context, id string, f job.Failure) (job.State, error) {
	return s.cancel(ctx, id, "1", f)
}

func (s *Store) cancel(ctx context.Context, id, waitingOnly string, f job.Failure) (job.State, error) {
	r, err := s.run(ctx, "cancel job", s.scripts.cancel, []string{jobKey(id)},
		id, waitingOnly, string(f.Code), f.Message, s.cfg.TombstoneTTL.Milliseconds(), uuid.NewString())
	return job.State(r.word()), err
}

// Remove deletes the record of an ended job, with its result and events. Its webhook is no
// longer delivered. It reports whether the job has blobs: the caller deletes them and calls
// ForgetBlobs. job.ErrUnfinished: the job has not ended.
func (s *Store) Remove(ctx context.Context, id string) (hasBlobs bool, err error) {
	r, err := s.run(ctx, "delete job", s.scripts.remove, []string{jobKey(id)}, id, uuid.NewString())
	return r.text(1) != "", err
}

// Sweep takes expired jobs out of the listings, at most most of them, and returns their number.
// It also repairs the windows of callers with held jobs, and ends overdue sessions.
func (s *Store) Sweep(ctx context.Context, most int) (int, error) {
	if some, err := s.exists(ctx, "sweep", expiryKey, bytesDueKey, holdingKey, hooksKey, sessionsKey); err != nil || !some {
		return 0, err
	}
	n, err := s.scripts.sweep.Run(ctx, s.rdb, []string{expiryKey, holdingKey, hooksKey}, most, s.cfg.TombstoneTTL.Milliseconds()).Int()
	return n, wrap("sweep", err)
}

// exists checks for a key before a script that has nothing to do on an idle system. That is one
// command, and a script costs one more for each command that it runs.
func (s *Store) exists(ctx context.Context, op string, keys ...string) (bool, error) {
	n, err := s.rdb.Exists(ctx, keys...).Result()
	return n > 0, wrap(op, err)
}
