package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// A runner that can start no interpreter takes no jobs: Config.Health reports it, and the process
// that made the runner stops the queue. Tasks that it has already taken go back to their place,
// for another runner. A job fails only if no runner could start it for StartPatience and no other
// runner seems able to.

// unstarted is a job that was passed on to other runners.
type unstarted struct {
	runtime string
	since   time.Time
}

// maxUnstarted bounds the number of such jobs that a runner remembers. Others just wait.
const maxUnstarted = 1024

// HealthChanged makes the runner report its health to the registry soon.
func (r *Runner) HealthChanged() {
	select {
	case r.beatNow <- struct{}{}:
	default:
	}
}

// Unhealthy returns the registration's reason why the runner can start no interpreter at all; empty if
// it can start some.
func (r *Runner) Unhealthy() string { return r.described().Sick }

// described returns the runner's registration, completed with the answers of Health.
func (r *Runner) described() job.Runner {
	self := r.cfg.Self
	if r.cfg.Health == nil {
		return self
	}
	health := r.cfg.Health()
	self.Runtimes = slices.Clone(self.Runtimes)
	sick := 0
	for i, rt := range self.Runtimes {
		if err := health[rt.Name]; err != nil {
			self.Runtimes[i].Sick = err.Error()
			sick++
		}
	}
	if sick > 0 && sick == len(self.Runtimes) {
		self.Sick = self.Runtimes[0].Sick
	}
	return self
}

// unable returns why no interpreter of a runtime can be started here. An empty name means the
// default runtime.
func (r *Runner) unable(runtime string) error {
	if r.cfg.Health == nil {
		return nil
	}
	return r.cfg.Health()[r.runtimeName(runtime)]
}

func (r *Runner) runtimeName(runtime string) string {
	runtime, _ = job.SplitPackages(runtime)
	if runtime == "" && len(r.cfg.Self.Runtimes) > 0 {
		return r.cfg.Self.Runtimes[0].Name
	}
	return runtime
}

// handOver decides about a job for which no worker was available. Another runner is to take it,
// unless giveUp fails it. An error means that the task is to be delivered again.
func (r *Runner) handOver(ctx context.Context, jobID, runtime string, cause error) error {
	again := fmt.Errorf("not started here: %w", cause)
	if ctx.Err() != nil || !errors.Is(cause, job.ErrNoWorker) {
		return again // this process stops
	}
	over, err := r.giveUp(ctx, jobID, runtime, cause)
	switch {
	case over:
		return nil
	case err != nil:
		return errors.Join(again, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.unstarted[jobID]; !known && len(r.unstarted) < maxUnstarted {
		r.unstarted[jobID] = unstarted{runtime, time.Now()}
	}
	return again
}

// giveUp fails a job that no runner could start for StartPatience, if no other runner seems able
// to start it. It reports whether the job needs no further attempt.
func (r *Runner) giveUp(ctx context.Context, jobID, runtime string, cause error) (over bool, err error) {
	after := r.cfg.StartPatience
	if others, err := r.others(ctx, runtime); err != nil || len(others) > 0 {
		after = 0
	}
	f := job.Failure{Code: job.FailStart, Message: startMessage(r.cfg.StartPatience, cause)}
	state, _, err := r.cfg.Records.Unstarted(ctx, jobID, after, f)
	switch {
	case errors.Is(err, job.ErrStale), errors.Is(err, job.ErrNotFound), errors.Is(err, job.ErrGone):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("note that %s was not started: %w", jobID, err)
	case state == job.Failed:
		r.ended(ctx, r.cfg.Log.With(slog.String("job_id", jobID)), job.Claim{JobID: jobID}, job.Outcome{Failure: &f}, job.Failed, 0)
		return true, nil
	}
	return false, nil
}

func startMessage(within time.Duration, cause error) string {
	text := fmt.Sprintf("no runner could start a Python interpreter for it within %s", within)
	if start, ok := errors.AsType[*job.StartError](cause); ok {
		text += "; what failed: " + start.Part
	}
	return text
}

// others returns the other runners that take jobs of a runtime.
func (r *Runner) others(ctx context.Context, runtime string) ([]job.Runner, error) {
	all, err := r.cfg.Registry.Runners(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(o job.Runner) bool { return o.ID == r.cfg.Self.ID || !o.Takes(runtime) }), nil
}

// failUnstarted fails the jobs that were passed on long ago and that no runner has started. It
// forgets the jobs of a runtime once an interpreter of it can be started here.
func (r *Runner) failUnstarted(ctx context.Context) {
	r.mu.Lock()
	due := make(map[string]string)
	for id, u := range r.unstarted {
		switch {
		case r.unable(u.runtime) == nil:
			delete(r.unstarted, id)
		case time.Since(u.since) > r.cfg.StartPatience:
			due[id] = u.runtime
		}
	}
	r.mu.Unlock()
	for id, runtime := range due {
		cause := r.unable(runtime)
		if cause == nil {
			continue
		}
		over, err := r.giveUp(ctx, id, runtime, cause)
		if err != nil && ctx.Err() == nil {
			r.cfg.Log.WarnContext(ctx, "could not look after a job that was not started: will try again", slog.String("job_id", id), slog.Any("err", err))
		}
		r.mu.Lock()
		if u, known := r.unstarted[id]; known && over {
			delete(r.unstarted, id)
		} else if known { // the other runners get StartPatience once more
			u.since = time.Now()
			r.unstarted[id] = u
		}
		r.mu.Unlock()
	}
}

// lookAgain is the period in which a session that waits for its interpreter checks whether one
// can be started, here or on another runner.
const lookAgain = 250 * time.Millisecond

// awaitAble waits, for a session without an interpreter, until one can be started here. If
// another runner can start one meanwhile, the session moves there. If no runner can for
// StartPatience, awaitAble returns the session's end.
func (s *sessions) awaitAble(ctx context.Context, log *slog.Logger, se *served, claim job.Claim) (moved bool, end *job.SessionEnd) {
	for began := time.Now(); se.attached() == nil && claim.Spec.Op != job.OpRestart; {
		cause := s.r.unable(se.spec.Runtime)
		if cause == nil || ctx.Err() != nil {
			return false, nil
		}
		if s.move(ctx, log, se, claim, cause) {
			return true, nil
		}
		if time.Since(began) > s.r.cfg.StartPatience {
			log.ErrorContext(ctx, "no interpreter could be started for a session", slog.Any("err", cause))
			return false, &job.SessionEnd{Reason: job.EndStartFailed, Message: startMessage(s.r.cfg.StartPatience, cause)}
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookAgain):
		}
	}
	return false, nil
}

// move moves a session that has no interpreter and no checkpoints to a runner that can start one. It reports whether the
// session is not this runner's any more. The claims of all its lanes are the other runner's then, so that no lane may open an
// interpreter meanwhile or later.
func (s *sessions) move(ctx context.Context, log *slog.Logger, se *served, claim job.Claim, cause error) bool {
	select {
	case se.opening <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-se.opening }()
	if se.attached() != nil || se.hasCheckpoints() {
		return false
	}
	runtime := s.r.runtimeName(se.spec.Runtime)
	others, err := s.r.others(ctx, runtime)
	moved := false
	if others = se.spec.Placeable(others); err == nil && len(others) > 0 {
		moved, err = s.r.cfg.SessionRecords.MoveSession(ctx, claim, job.Candidates(others, runtime))
	}
	switch {
	case moved:
		log.WarnContext(ctx, "no interpreter can be started for a session: it lives on another runner now", slog.Any("reason", cause))
		s.mu.Lock()
		defer s.mu.Unlock()
		se.moved, se.over = true, true
		return true
	case errors.Is(err, job.ErrStale):
		return true // the session is not this runner's any more
	case err != nil && ctx.Err() == nil:
		log.WarnContext(ctx, "could not move a session: will try again", slog.Any("err", err))
	}
	return false
}

// unclaim takes back the claim of a job whose code has not started, and passes the job on, because
// no worker can be started or its files cannot be read here. It reports whether the claim was taken back.
func (r *Runner) unclaim(ctx context.Context, log *slog.Logger, e *execution, claim job.Claim, cause error) (bool, error) {
	state, err := r.cfg.Records.Unclaim(ctx, claim)
	if err != nil {
		log.WarnContext(ctx, "a claim was not taken back", slog.Any("err", err))
		return false, nil
	}
	r.unwatch(e, job.Outcome{})
	if state != job.Queued {
		r.ended(ctx, log, claim, job.Outcome{State: state}, state, 0)
		return true, nil
	}
	return true, r.handOver(ctx, claim.JobID, claim.Spec.Runtime, cause)
}
