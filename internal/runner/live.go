package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Registry are the store's methods for the registration of a runner.
type Registry interface {
	Beat(ctx context.Context, r job.Runner) error
	Leave(ctx context.Context, runner string) error
	// Revoked returns which of the claims must stop: cancelled ones because their owner asked
	// for it, lost ones because they are not the job's current claim any more. watched are the
	// claims whose events a caller follows.
	Revoked(ctx context.Context, claims []job.Claim) (cancelled, lost, watched []job.Claim, err error)
	// Runners returns the runners that are alive.
	Runners(ctx context.Context) ([]job.Runner, error)
	// Held returns the claims that the registry attributes to a runner.
	Held(ctx context.Context, runner string) ([]job.Claim, error)
	// Drained reports whether an operator lets a runner take nothing new.
	Drained(ctx context.Context, runner string) (bool, error)
	// Joined admits jobs to the slots of a runner that takes jobs again.
	Joined(ctx context.Context, runner string) error
	// SessionsUse notes how many bytes of memory the sandboxes of a runner's sessions use, for a while.
	SessionsUse(ctx context.Context, runner string, bytes map[string]int64, ttl time.Duration) error
}

// lookEvery is the number of heartbeats after which a runner compares its executions with its
// claims in the registry, even if it knows of no fault.
const lookEvery = 15

// Start registers the runner and keeps it registered until Close.
func (r *Runner) Start(ctx context.Context) error {
	if err := r.beat(ctx); err != nil {
		return fmt.Errorf("register runner: %w", err)
	}
	ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	r.done.Go(func() {
		beats := 0
		everyOr(ctx, r.cfg.HeartbeatEvery, r.beatNow, func() {
			if beats++; beats%lookEvery == 0 {
				r.suspect()
			}
			resumed := r.followDrain(ctx, beats%drainLook == 0)
			err := r.beat(ctx)
			if err == nil && resumed {
				err = r.cfg.Registry.Joined(ctx, r.cfg.Self.ID)
			}
			if err != nil && ctx.Err() == nil {
				r.cfg.Log.WarnContext(ctx, "heartbeat was not sent: will try again", slog.Any("err", err))
				return
			}
			r.giveBackForgotten(ctx)
		})
	})
	r.done.Go(func() { every(ctx, lookEvery*r.cfg.HeartbeatEvery, func() { r.weighSessions(ctx) }) })
	r.done.Go(func() {
		every(ctx, r.cfg.WatchEvery, func() {
			r.endRevoked(ctx)
			r.sessions.lookAfter(ctx)
			r.sessions.saveDue(time.Now())
			r.findAnswers(ctx)
			r.findReplies(ctx)
			r.wakeCommands()
			r.failUnstarted(ctx)
		})
	})
	return nil
}

// Close ends the heartbeat and all sessions, and takes the runner out of the registry. Another
// process's Maintainer rescues the jobs that it still executes.
func (r *Runner) Close(ctx context.Context) error {
	if r.stop == nil {
		return nil
	}
	r.stop()
	r.done.Wait()
	var err error
	if r.cfg.SessionRecords != nil {
		// A session may have been opened on this runner after the drain had begun.
		_, err = r.cfg.SessionRecords.LeaveSessions(ctx, r.cfg.Self.ID, false)
		r.sessions.close()
	}
	return errors.Join(err, r.cfg.Registry.Leave(ctx, r.cfg.Self.ID))
}

// Cancelled ends the execution of a job whose owner has cancelled it.
func (r *Runner) Cancelled(jobID string) {
	r.endJob(jobID, errCancelled)
}

// Active returns the number of executions.
func (r *Runner) Active() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.active)
}

// Sessions returns the number of sessions that have an interpreter here or are getting one.
func (r *Runner) Sessions() int { return r.sessions.count() }

// Draining reports whether the runner takes nothing new, because it stops or is drained.
func (r *Runner) Draining() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.draining || r.drained
}

// BeginDrain makes the runner announce that it is draining.
func (r *Runner) BeginDrain(ctx context.Context) error {
	r.mu.Lock()
	r.draining = true
	r.mu.Unlock()
	return r.beat(ctx)
}

// EndExecutions interrupts the executions that are left at the end of a drain. Their jobs go back
// to the queue while attempts are left, else they fail.
func (r *Runner) EndExecutions() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	time.AfterFunc(SaveAtEnd, r.sessions.stopSaving)
	for _, e := range r.active {
		e.end(errDraining)
	}
}

func (r *Runner) beat(ctx context.Context) error {
	select {
	case r.beating <- struct{}{}:
		defer func() { <-r.beating }()
	case <-ctx.Done():
		return fmt.Errorf("heartbeat: %w", context.Cause(ctx))
	}
	self := r.described()
	r.mu.Lock()
	self.Active = len(r.active)
	self.Draining = r.draining || r.drained
	self.NoFiles = time.Since(r.storeFailure) < storeDoubt
	r.mu.Unlock()
	self.Sessions = r.sessions.count()
	if r.cfg.Parked != nil {
		for _, n := range r.cfg.Parked() {
			self.Parked += n
		}
	}
	if r.cfg.Memory != nil {
		self.MemoryBytes, self.MemoryLimit = r.cfg.Memory()
	}
	return r.cfg.Registry.Beat(ctx, self)
}

// endRevoked ends the executions that must not go on. It finds cancels whose message was lost,
// and claims that this process lost while it was frozen or cut off from Redis.
func (r *Runner) endRevoked(ctx context.Context) {
	r.mu.Lock()
	claims := make([]job.Claim, 0, len(r.active))
	for _, e := range r.active {
		claims = append(claims, e.claim)
	}
	r.mu.Unlock()
	cancelled, lost, watched, err := r.cfg.Registry.Revoked(ctx, claims)
	if err != nil {
		if ctx.Err() == nil {
			r.cfg.Log.WarnContext(ctx, "could not look for cancels: will try again", slog.Any("err", err))
		}
		return
	}
	for _, c := range watched {
		r.Watched(c.JobID)
	}
	for _, c := range cancelled {
		r.end(c, errCancelled)
	}
	for _, c := range lost {
		// An execution that has just written its end looks lost, too. To end it changes nothing.
		r.end(c, errLost)
	}
}

// suspect records that Redis may have a claim of this runner that it does not execute.
func (r *Runner) suspect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.suspects = true
}

func (r *Runner) claiming(jobID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claims[jobID]++
}

func (r *Runner) claimed(jobID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.claims[jobID]--; r.claims[jobID] == 0 {
		delete(r.claims, jobID)
		delete(r.early, jobID)
	}
}

// giveBackForgotten settles the claims that Redis has for this runner and that the runner does not
// execute: the answer to the claim was lost, or the end of the execution could not be written. No
// other process settles them, because this one is alive.
func (r *Runner) giveBackForgotten(ctx context.Context) {
	r.mu.Lock()
	suspects := r.suspects
	r.suspects = false
	r.mu.Unlock()
	if !suspects {
		return
	}
	// Held is called before the look at the executions, so that a claim made in between is not
	// given back.
	held, err := r.cfg.Registry.Held(ctx, r.cfg.Self.ID)
	for _, c := range held {
		if r.busyWith(c.JobID) || c.InSession && r.sessions.serves(c.SessionID, c.Lane) {
			r.suspect() // look again later
			continue
		}
		r.cfg.Log.WarnContext(ctx, "a claim without an execution is given back", slog.String("job_id", c.JobID))
		_, giveErr := r.cfg.Records.GiveBack(ctx, c, job.Failure{
			Code: job.FailRunnerLost, Message: "its runner lost touch with Redis at its start or its end",
		})
		if giveErr != nil && !errors.Is(giveErr, job.ErrStale) && !errors.Is(giveErr, job.ErrNotFound) && !errors.Is(giveErr, job.ErrGone) {
			err = errors.Join(err, giveErr)
		}
	}
	if err != nil {
		r.suspect()
		r.cfg.Log.WarnContext(ctx, "jobs without an execution were not given back: will try again", slog.Any("err", err))
	}
}

func (r *Runner) busyWith(jobID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.active[jobID] != nil || r.claims[jobID] > 0
}

func (r *Runner) end(c job.Claim, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.active[c.JobID]; e != nil && e.claim.Attempt == c.Attempt {
		e.end(cause)
	}
}

// every calls f after each period until ctx ends.
func every(ctx context.Context, period time.Duration, f func()) { everyOr(ctx, period, nil, f) }

// everyOr calls f after each period, and also when there is a token in now.
func everyOr(ctx context.Context, period time.Duration, now <-chan struct{}, f func()) {
	t := time.NewTicker(period)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-now:
			f()
		case <-t.C:
			f()
		}
	}
}
