package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/job"
)

// Claim takes the next attempt of a queued job for a runner and one of its sessions.
// job.ErrStale: the job must not run any more. job.ErrHeld: it must not run now, and gets
// another task. job.ErrPaused: nor may the other jobs of its queue, and the task is still valid.
func (s *Store) Claim(ctx context.Context, id, runner, session string) (job.Claim, error) {
	const op = "claim job"
	r, err := s.run(ctx, op, s.scripts.claim, keys{{"job", jobKey(id)}, {"runner", runnerKey(runner)}},
		args{{"id", id}, {"runner", runner}, {"session", session}})
	if err != nil {
		return job.Claim{}, err
	}
	switch r.word() {
	case "unregistered":
		return job.Claim{}, fmt.Errorf("%s: %w", op, job.ErrUnregistered)
	case "held":
		return job.Claim{}, fmt.Errorf("%s: %w", op, job.ErrHeld)
	case "paused":
		return job.Claim{}, fmt.Errorf("%s: %w", op, job.ErrPaused)
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
	_, err := s.finish(ctx, c, o, "")
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
	r, err := s.settle(ctx, c, job.Outcome{State: job.Failed, Failure: &f}, nil, true, "")
	return job.State(r.word()), err
}

// finish records the end of an attempt of a job, or of an execution of a session.
func (s *Store) finish(ctx context.Context, c job.Claim, o job.Outcome, session string) (reply, error) {
	done, err := s.awaitTurn(ctx, o)
	if err != nil {
		return nil, err
	}
	defer done()
	result, err := resultOf(o)
	if err != nil {
		return nil, err
	}
	return s.settle(ctx, c, o, result, false, session)
}

func (s *Store) settle(ctx context.Context, c job.Claim, o job.Outcome, result []byte, retry bool, session string) (reply, error) {
	var f job.Failure
	if o.Failure != nil {
		f = *o.Failure
	}
	var end job.SessionEnd
	if o.End != nil {
		end = *o.End
	}
	spent := o.Spent
	if o.Result != nil {
		spent = o.Result.Spent()
	}
	return s.run(ctx, "finish job", s.scripts.finish, keys{{"job", jobKey(c.JobID)}}, args{
		{"id", c.JobID},
		{"attempt", c.Attempt},
		{"runner", c.Runner},
		{"to", string(o.State)},
		{"result", result},
		{"code", string(f.Code)},
		{"message", f.Message},
		{"retry", mark(retry)},
		s.tombstone(),
		{"files", filesOf(o)},
		{"session", session},
		{"reason", string(end.Reason)},
		{"end_message", end.Message},
		{"restarted", mark(o.Restarted)},
		{"bound", boundText(f.Bound)},
		{"spent", fmt.Sprintf("%d %d %d", spent.Run.Microseconds(), spent.CPU.Microseconds(), spent.MemoryKiBMs)},
	})
}

// boundText is the bound of a failure in its record; empty for none.
func boundText(b *job.InUse) string {
	if b == nil {
		return ""
	}
	return fmt.Sprintf("%d/%d", b.Used, b.Allowed)
}

// Reject fails a job for which no attempt could be started.
func (s *Store) Reject(ctx context.Context, id string, f job.Failure) error {
	_, err := s.run(ctx, "reject job", s.scripts.reject, keys{{"job", jobKey(id)}},
		args{{"id", id}, {"code", string(f.Code)}, {"message", f.Message}, s.tombstone()})
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
	r, err := s.run(ctx, "note an interpreter that did not start", s.scripts.unstarted, keys{{"job", jobKey(id)}},
		args{{"id", id}, {"age", most}, {"code", string(f.Code)}, {"message", f.Message}, s.tombstone()})
	return job.State(r.word()), time.Duration(atoi(r.text(1))) * time.Millisecond, err
}

// Unclaim takes back a claim whose code has not started. It uses up no attempt, and the task,
// which the runner still has, is valid again. It returns the job's state.
func (s *Store) Unclaim(ctx context.Context, c job.Claim) (job.State, error) {
	r, err := s.run(ctx, "take back claim", s.scripts.unclaim, keys{{"job", jobKey(c.JobID)}},
		args{{"id", c.JobID}, {"attempt", c.Attempt}, {"runner", c.Runner}, s.tombstone()})
	return job.State(r.word()), err
}

// Cancel ends a waiting job and requests the end of a running one, by a durable flag that its
// runner checks every second, and by a message. It returns the job's new state. job.ErrFinished:
// it has ended already.
func (s *Store) Cancel(ctx context.Context, id string) (job.State, error) {
	return s.cancel(ctx, id, false, cancelled())
}

func cancelled() job.Failure {
	return job.Failure{Code: job.FailCancelled, Message: "cancelled before it had started"}
}

// Abandon cancels a job that still waits, with the failure f, and leaves a running one alone. It
// returns the job's new state.
func (s *Store) Abandon(ctx context.Context, id string, f job.Failure) (job.State, error) {
	return s.cancel(ctx, id, true, f)
}

func (s *Store) cancel(ctx context.Context, id string, waitingOnly bool, f job.Failure) (job.State, error) {
	k, a := s.cancelArgs(id, waitingOnly, f)
	r, err := s.run(ctx, "cancel job", s.scripts.cancel, k, a)
	if errors.Is(err, job.ErrNotFound) {
		if recorded, err := s.cancelUnfed(ctx, "cancel job", id); err != nil || !recorded {
			return job.Cancelled, err
		}
		return s.cancel(ctx, id, waitingOnly, f)
	}
	return job.State(r.word()), err
}

func (s *Store) cancelArgs(id string, waitingOnly bool, f job.Failure) (keys, args) {
	return keys{{"job", jobKey(id)}}, args{
		{"id", id},
		{"waiting_only", mark(waitingOnly)},
		{"code", string(f.Code)},
		{"message", f.Message},
		s.tombstone(),
		{"nonce", uuid.NewString()},
	}
}

// Remove deletes the record of an ended job, with its result and events. Its webhook is no
// longer delivered. It reports whether the job has blobs: the caller deletes them and calls
// ForgetBlobs. job.ErrUnfinished: the job has not ended.
func (s *Store) Remove(ctx context.Context, id string) (hasBlobs bool, err error) {
	r, err := s.run(ctx, "delete job", s.scripts.remove, keys{{"job", jobKey(id)}}, args{{"id", id}, {"nonce", uuid.NewString()}, s.tombstone()})
	if errors.Is(err, job.ErrNotFound) {
		if j, pending := s.pending(ctx, "delete job", id); pending == nil && j.State == job.Queued {
			err = fmt.Errorf("delete job: %w", job.ErrUnfinished)
		}
	}
	return r.text(1) != "", err
}

// Sweep takes expired jobs out of the listings, at most most of them, and returns their number.
// It also repairs the windows of callers with held jobs, ends overdue sessions and lanes that older processes left behind, and adds up usage.
func (s *Store) Sweep(ctx context.Context, most int) (int, error) {
	if some, err := s.exists(ctx, "sweep", expiryKey, bytesDueKey, holdingKey, hooksKey, batchHooksKey, sessionsKey, lanedKey, usageLogKey, batchesAwaitedKey); err != nil || !some {
		return 0, err
	}
	n, err := s.call(ctx, s.scripts.sweep, keys{{"expiry", expiryKey}, {"holding", holdingKey}, {"hooks", hooksKey}, {"awaited", batchesAwaitedKey}},
		args{{"most", most}, s.tombstone()}).Int()
	if err == nil {
		err = s.tally(ctx)
	}
	return n, wrap("sweep", err)
}
