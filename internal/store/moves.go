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

// Claim takes the next attempt of a queued job for a runner and one of its
// sessions. job.ErrStale means that the job is not to be run any more, job.ErrHeld that it is
// not to be run now: it gets another task.
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

// Finish records how a claim's attempt ended. job.ErrStale means that the claim
// has been lost and nothing was written.
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

// GiveBack ends an attempt that the runner could not carry through: the job is
// queued again while attempts are left, else it fails with f. It returns the
// state the job is in then.
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

// Reject fails a job that no attempt could be started for.
func (s *Store) Reject(ctx context.Context, id string, f job.Failure) error {
	_, err := s.run(ctx, "reject job", s.scripts.reject, []string{jobKey(id)},
		id, string(f.Code), f.Message, s.cfg.TombstoneTTL.Milliseconds())
	return err
}

// Unstarted notes that a runner could start no interpreter for a job, and fails it with f if
// that was noted first so long ago; never if after is 0. It returns the state that the job is
// in then, and for how long nobody could start it.
func (s *Store) Unstarted(ctx context.Context, id string, after time.Duration, f job.Failure) (job.State, time.Duration, error) {
	most := ""
	if after > 0 {
		most = strconv.FormatInt(after.Milliseconds(), 10)
	}
	r, err := s.run(ctx, "note an interpreter that did not start", s.scripts.unstarted, []string{jobKey(id)},
		id, most, string(f.Code), f.Message, s.cfg.TombstoneTTL.Milliseconds())
	return job.State(r.word()), time.Duration(atoi(r.text(1))) * time.Millisecond, err
}

// Unclaim takes back a claim whose code has not started: no attempt is used up, and the task,
// which the runner still has, is worth something again. It returns the job's state.
func (s *Store) Unclaim(ctx context.Context, c job.Claim) (job.State, error) {
	r, err := s.run(ctx, "take back claim", s.scripts.unclaim, []string{jobKey(c.JobID)},
		c.JobID, c.Attempt, c.Runner, s.cfg.TombstoneTTL.Milliseconds())
	return job.State(r.word()), err
}

// Cancel ends a job that waits, and asks for the end of one that runs: a durable
// flag which its runner looks at every second, and a message to it. It returns
// the job's state after that. job.ErrFinished: too late.
func (s *Store) Cancel(ctx context.Context, id string) (job.State, error) {
	return s.cancel(ctx, id, "0", job.Failure{Code: job.FailCancelled, Message: "cancelled before it had started"})
}

// Abandon cancels a job that still waits, for the reason f, and leaves a running
// one alone. It returns the job's state after that.
func (s *Store) Abandon(ctx context.Context, id string, f job.Failure) (job.State, error) {
	return s.cancel(ctx, id, "1", f)
}

func (s *Store) cancel(ctx context.Context, id, waitingOnly string, f job.Failure) (job.State, error) {
	r, err := s.run(ctx, "cancel job", s.scripts.cancel, []string{jobKey(id)},
		id, waitingOnly, string(f.Code), f.Message, s.cfg.TombstoneTTL.Milliseconds(), uuid.NewString())
	return job.State(r.word()), err
}

// Remove deletes the record of a job that has ended, with its result and events, as if it had never
// been; its webhook is not delivered any more. It reports whether the job has blobs: these are the
// caller's to delete, and ForgetBlobs says that they are. job.ErrUnfinished: it has not ended.
func (s *Store) Remove(ctx context.Context, id string) (hasBlobs bool, err error) {
	r, err := s.run(ctx, "delete job", s.scripts.remove, []string{jobKey(id)}, id, uuid.NewString())
	return r.text(1) != "", err
}

// Sweep takes expired jobs out of the listings, most at a time, and returns how
// many it found. It also mends the seats of callers who have jobs held, and ends sessions
// that are overdue.
func (s *Store) Sweep(ctx context.Context, most int) (int, error) {
	if some, err := s.exists(ctx, "sweep", expiryKey, bytesDueKey, holdingKey, hooksKey, sessionsKey); err != nil || !some {
		return 0, err
	}
	n, err := s.scripts.sweep.Run(ctx, s.rdb, []string{expiryKey, holdingKey, hooksKey}, most, s.cfg.TombstoneTTL.Milliseconds()).Int()
	return n, wrap("sweep", err)
}

// exists looks before a script is run that has nothing to do on an idle system:
// one command, where a script costs one more for each that it runs.
func (s *Store) exists(ctx context.Context, op string, keys ...string) (bool, error) {
	n, err := s.rdb.Exists(ctx, keys...).Result()
	return n > 0, wrap(op, err)
}
