package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Registry is what a runner's own life needs of the store.
type Registry interface {
	Beat(ctx context.Context, r job.Runner) error
	Leave(ctx context.Context, runner string) error
	// Revoked returns which of the claims must stop, because their owner asked for
	// it or because they are not the job's current claim any more; and whose events
	// somebody wants to see.
	Revoked(ctx context.Context, claims []job.Claim) (cancelled, lost, watched []job.Claim, err error)
	// Runners returns the runners that are alive.
	Runners(ctx context.Context) ([]job.Runner, error)
	// Held returns the claims that the registry has for a runner.
	Held(ctx context.Context, runner string) ([]job.Claim, error)
}

// lookEvery is after how many heartbeats a runner compares what it executes with what
// it has claimed, even if nothing went wrong that it knows of.
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
			if err := r.beat(ctx); err != nil && ctx.Err() == nil {
				r.cfg.Log.WarnContext(ctx, "heartbeat was not sent: will try again", slog.Any("err", err))
				return
			}
			r.giveBackForgotten(ctx)
		})
	})
	r.done.Go(func() {
		every(ctx, r.cfg.WatchEvery, func() {
			r.endRevoked(ctx)
			r.sessions.lookAfter(ctx)
			r.findAnswers(ctx)
			r.failUnstarted(ctx)
		})
	})
	return nil
}

// Close ends the heartbeat and all sessions, and takes the runner out of the registry.
// What it still executes is for the rescuer.
func (r *Runner) Close(ctx context.Context) error {
	if r.stop == nil {
		return nil
	}
	r.stop()
	r.done.Wait()
	var err error
	if r.cfg.SessionRecords != nil {
		// One may have been opened here after the drain had begun.
		_, err = r.cfg.SessionRecords.LeaveSessions(ctx, r.cfg.Self.ID, false)
		r.sessions.close()
	}
	return errors.Join(err, r.cfg.Registry.Leave(ctx, r.cfg.Self.ID))
}

// Cancelled tells the runner that the owner of a job asks for its end.
func (r *Runner) Cancelled(jobID string) {
	r.endJob(jobID, errCancelled)
}

// Active returns how many executions there are.
func (r *Runner) Active() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.active)
}

// Sessions returns how many sessions have an interpreter here, or are getting one.
func (r *Runner) Sessions() int { return r.sessions.count() }

// Draining reports whether the runner says that it is draining.
func (r *Runner) Draining() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.draining
}

// BeginDrain makes the runner say that it is draining.
func (r *Runner) BeginDrain(ctx context.Context) error {
	r.mu.Lock()
	r.draining = true
	r.mu.Unlock()
	return r.beat(ctx)
}

// EndExecutions interrupts what is still executed at the end of a drain; the
// jobs go back to their queue while attempts are left, else they fail.
func (r *Runner) EndExecutions() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	for _, e := range r.active {
		e.end(errDraining)
	}
}

func (r *Runner) beat(ctx context.Context) error {
	self := r.described()
	r.mu.Lock()
	self.Active = len(r.active)
	self.Draining = r.draining
	r.mu.Unlock()
	self.Sessions = r.sessions.count()
	return r.cfg.Registry.Beat(ctx, self)
}

// endRevoked ends the executions that must not go on: the durable side of cancel,
// for when the message was lost, and the end of claims that this process lost
// while it was frozen or cut off.
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
		// An execution that has just written its end looks lost too; ending it
		// then changes nothing.
		r.end(c, errLost)
	}
}

// suspect notes that Redis may know of a claim of ours that nobody executes.
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

// giveBackForgotten settles the claims that Redis has for this runner and that
// nobody executes: the answer to a claim was lost for good, or the end of an
// execution could not be written. No other process would: this one is alive.
func (r *Runner) giveBackForgotten(ctx context.Context) {
	r.mu.Lock()
	suspects := r.suspects
	r.suspects = false
	r.mu.Unlock()
	if !suspects {
		return
	}
	// Asked before looking at what is executed: a claim made since is in neither.
	held, err := r.cfg.Registry.Held(ctx, r.cfg.Self.ID)
	for _, c := range held {
		if r.busyWith(c.JobID) || c.InSession && r.sessions.serves(c.SessionID) {
			r.suspect() // look again later
			continue
		}
		r.cfg.Log.WarnContext(ctx, "a claim that nobody executes is given back", slog.String("job_id", c.JobID))
		_, giveErr := r.cfg.Records.GiveBack(ctx, c, job.Failure{
			Code: job.FailRunnerLost, Message: "its runner lost touch with Redis at its start or its end",
		})
		if giveErr != nil && !errors.Is(giveErr, job.ErrStale) && !errors.Is(giveErr, job.ErrNotFound) && !errors.Is(giveErr, job.ErrGone) {
			err = errors.Join(err, giveErr)
		}
	}
	if err != nil {
		r.suspect()
		r.cfg.Log.WarnContext(ctx, "jobs that nobody executes were not given back: will try again", slog.Any("err", err))
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

// everyOr does it also when there is a token in now.
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
