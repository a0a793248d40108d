package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// Times of the waiting for a job's end.
const (
	// settleTime is what a job may take beyond its timeout to reach its end: the
	// kill ladder, a lost runner's rescue, a retry of the write.
	settleTime = 30 * time.Second
	// cleanUpTime bounds what is done for a caller who is not there any more, and
	// retryPause is the pause between attempts.
	cleanUpTime = 30 * time.Second
	retryPause  = 250 * time.Millisecond
)

// Submission asks for one job.
type Submission struct {
	Request job.Request
	// IdempotencyKey makes one job only of the submissions of a caller that have it, and
	// Fingerprint identifies the content of the request. Both empty for none.
	IdempotencyKey, Fingerprint string
}

// draft checks a submission, which came at now, against the limits and gives it
// an id.
func (s *Service) draft(ctx context.Context, c Caller, sub Submission, now time.Time) (job.NewJob, error) {
	n, err := s.accept(ctx, c, sub, now)
	if err != nil {
		return job.NewJob{}, err
	}
	n.Job.ID, err = newID("job")
	return n, err
}

// accept checks a submission against the limits.
func (s *Service) accept(ctx context.Context, c Caller, sub Submission, now time.Time) (job.NewJob, error) {
	if err := ctx.Err(); err != nil { // the caller has gone, and the work on what was sent is not done
		return job.NewJob{}, fmt.Errorf("submit job: %w", err)
	}
	own := c.limits()
	limits := s.cfg.Limits.For(own)
	limits.Tenant = c.Tenant
	if id := sub.Request.SessionID; id != "" {
		if err := checkSession(id); err != nil {
			return job.NewJob{}, err
		}
	}
	if id := sub.Request.ContextID; id != "" {
		if err := checkContext(id); err != nil {
			return job.NewJob{}, err
		}
	}
	if id := sub.Request.After; id != "" {
		if _, err := s.ownBatch(ctx, c, id); err != nil {
			return job.NewJob{}, err
		}
	}
	if sub.Request.SessionID == "" { // the session has one
		var err error
		if sub.Request.Runtime, err = own.Runtime(sub.Request.Runtime); err != nil {
			return job.NewJob{}, err
		}
	}
	if name := sub.Request.Runtime; name != "" {
		var err error
		if limits.Runtimes, err = s.runtimes.known(ctx, name, now); err != nil {
			return job.NewJob{}, err
		}
	}
	n, err := limits.Accept(sub.Request, now)
	if err != nil {
		return job.NewJob{}, err
	}
	n.Caller, n.MostWaiting, n.MostRunning = c.ID(), own.MostWaiting(), own.MostRunning()
	if w := sub.Request.Webhook; w != nil {
		n.WebhookSecret = w.Secret
	}
	if sub.IdempotencyKey != "" {
		n.IdempotencyKey, n.Scope, n.Fingerprint = sub.IdempotencyKey, c.idempotencyScope(), sub.Fingerprint
	}
	return n, nil
}

func newID(of string) (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make %s id: %w", of, err)
	}
	return id.String(), nil
}

// Submit records one job, which will run when a runner is free, or later.
func (s *Service) Submit(ctx context.Context, c Caller, sub Submission) (job.Created, error) {
	if err := c.may(access.Execute); err != nil {
		return job.Created{}, err
	}
	draft, err := s.draft(ctx, c, sub, time.Now())
	if err != nil {
		return job.Created{}, err
	}
	created := s.submit(ctx, []job.NewJob{draft})[0]
	return created, created.Err
}

// SubmitAll records jobs, each by itself: what is wrong with one is its Created's error. An
// error means that none was recorded, so that all may be submitted again.
func (s *Service) SubmitAll(ctx context.Context, c Caller, subs []Submission) ([]job.Created, error) {
	if err := c.may(access.Execute); err != nil {
		return nil, err
	}
	all := make([]job.Created, len(subs))
	drafts, places := make([]job.NewJob, 0, len(subs)), make([]int, 0, len(subs))
	now := time.Now()
	for i, sub := range subs {
		draft, err := s.draft(ctx, c, sub, now)
		var invalid *job.ValidationError
		var runtime *job.RuntimeError
		switch {
		case err == nil:
			drafts, places = append(drafts, draft), append(places, i)
		case errors.As(err, &invalid), errors.As(err, &runtime), errors.Is(err, job.ErrNoSession), errors.Is(err, ErrNoContext), errors.Is(err, job.ErrNoBatch), errors.Is(err, ErrBatchGone):
			all[i].Err = err
		default:
			return nil, err
		}
	}
	created := s.submit(ctx, drafts)
	failed := slices.IndexFunc(created, func(c job.Created) bool {
		return errors.Is(c.Err, job.ErrUnavailable) || errors.Is(c.Err, job.ErrStoreFull)
	})
	if failed >= 0 &&
		!slices.ContainsFunc(created, func(c job.Created) bool { return c.Err == nil }) {
		return nil, created[failed].Err
	}
	for i, c := range created {
		all[places[i]] = c
	}
	return all, nil
}

// submit records jobs and enqueues their tasks, unless both was done at once. Once
// recorded, a job will run even if the rest fails: the outbox has it. So only
// recording decides.
func (s *Service) submit(ctx context.Context, drafts []job.NewJob) []job.Created {
	for i := range drafts {
		drafts[i].Spec.Trace = job.TraceOf(ctx)
	}
	created := s.record(ctx, drafts)
	// A synchronous job is claimed, which confirms it, before a confirmation would arrive.
	s.enqueue(ctx, created, len(drafts) > 0 && drafts[0].Subscriber == "")
	CallOf(ctx).recorded(drafts, created)
	return created
}

// enqueue puts the tasks of jobs that were recorded on their queues, unless that is done, and confirms it if confirm is set.
func (s *Service) enqueue(ctx context.Context, created []job.Created, confirm bool) {
	var enqueued []job.Task
	for _, c := range created {
		if c.Err != nil || c.Replayed {
			continue
		}
		s.cfg.Submitted(c.Job.Queue)
		if c.Job.State != job.Queued || c.Held || c.Enqueued || c.Job.InSession {
			continue // what a session has to do waits in the session
		}
		if err := s.cfg.Queue.Enqueue(ctx, c.Job.Task()); err != nil {
			s.cfg.Log.WarnContext(ctx, "task was not enqueued: left to the outbox", slog.String("job_id", c.Job.ID), slog.Any("err", err))
			continue
		}
		enqueued = append(enqueued, c.Job.Task())
	}
	if confirm && len(enqueued) > 0 {
		if err := s.cfg.Records.Enqueued(ctx, enqueued...); err != nil {
			s.cfg.Log.WarnContext(ctx, "enqueueing was not confirmed: left to the outbox", slog.Any("err", err))
		}
	}
}

// Execute submits a job and returns it once it has ended, with its result. If ctx ends, the job
// is cancelled, and also if no runner takes it in time. EndError: it ended without a result.
func (s *Service) Execute(ctx context.Context, c Caller, sub Submission) (job.Job, error) {
	if err := c.may(access.Execute); err != nil {
		return job.Job{}, err
	}
	end, err := s.cfg.Hub.beginCall(c.ID(), s.cfg.MaxSyncWaits)
	if err != nil {
		return job.Job{}, err
	}
	defer end()
	draft, err := s.draft(ctx, c, sub, time.Now())
	if err != nil {
		return job.Job{}, err
	}
	draft.Subscriber = s.cfg.Hub.Subscriber
	j, err := s.createAndWait(ctx, draft)
	if err == nil && j.Result == nil {
		err = &EndError{j}
	}
	return j, err
}

// createAndWait records a job that this call waits for, and does that.
func (s *Service) createAndWait(ctx context.Context, draft job.NewJob) (job.Job, error) {
	told, forget := s.cfg.Hub.wait(draft.Job.ID)
	defer forget()
	submitted, err := s.submitForCaller(ctx, draft)
	if err != nil {
		return job.Job{}, err
	}
	j, err := s.awaitEnd(ctx, submitted, told)
	if err != nil {
		return job.Job{}, &JobError{submitted.ID, err}
	}
	return j, nil
}

// submitForCaller submits a job for a caller who waits for it.
func (s *Service) submitForCaller(ctx context.Context, draft job.NewJob) (job.Job, error) {
	created := s.submit(ctx, []job.NewJob{draft})[0]
	if errors.Is(created.Err, job.ErrUnavailable) {
		// It may have been recorded all the same, and the answer asks the caller to try again.
		s.cancelLater(ctx, draft.Job)
		return job.Job{}, &JobError{draft.Job.ID, created.Err}
	}
	return created.Job, created.Err
}

// awaitEnd returns a synchronous job once it has ended: as it was submitted, with its
// result, if the message brought that, else as its record is.
func (s *Service) awaitEnd(ctx context.Context, submitted job.Job, told <-chan *job.Result) (job.Job, error) {
	id := submitted.ID
	most := s.queueWait(submitted) + submitted.Timeout + settleTime
	overall := time.NewTimer(most)
	defer overall.Stop()
	queueWait := time.NewTimer(s.queueWait(submitted))
	defer queueWait.Stop()
	var looks Looks
	defer looks.Stop()
	for {
		select {
		case r := <-told:
			if r != nil {
				submitted.State, submitted.Result = job.Completed, r
				return submitted, nil
			}
			// Look now. Should the record not show the end yet, look again soon.
			looks.Soon()
		case <-looks.Due():
			looks.Seldomer()
		case <-queueWait.C:
			err := s.abandon(ctx, submitted)
			if errors.Is(err, job.ErrUnavailable) {
				queueWait.Reset(lookEvery)
			} else if err != nil {
				return job.Job{}, err
			}
			continue
		case <-overall.C:
			if more := s.pausedFor(ctx, submitted, most); more > 0 {
				overall.Reset(more)
				continue
			}
			s.cancelLater(ctx, submitted)
			return job.Job{}, fmt.Errorf("wait for job %s: %w", id, context.DeadlineExceeded)
		case <-ctx.Done():
			s.cancelLater(ctx, submitted)
			return job.Job{}, fmt.Errorf("wait for job %s: %w", id, ctx.Err())
		}
		j, err := s.cfg.Lookup.Get(ctx, id)
		switch {
		case err == nil && j.State.Terminal():
			return j, nil
		case errors.Is(err, job.ErrNotFound), errors.Is(err, job.ErrGone):
			return job.Job{}, err
		case err != nil:
			s.cfg.Log.WarnContext(ctx, "could not look for the end of a job: will try again", slog.String("job_id", id), slog.Any("err", err))
		}
	}
}

// queueWait returns how long a synchronous job may wait until it starts.
func (s *Service) queueWait(j job.Job) time.Duration {
	if j.PackageSet() != "" {
		return s.cfg.SyncQueueWait + s.cfg.PackagesWait
	}
	return s.cfg.SyncQueueWait
}

// pausedFor returns how much longer a job may take because its session is paused, or was: as long as it may at most, from the end of
// the pause on.
func (s *Service) pausedFor(ctx context.Context, j job.Job, most time.Duration) time.Duration {
	if !j.InSession {
		return 0
	}
	se, err := s.cfg.Sessions.Session(ctx, j.SessionID, job.Viewer{All: true})
	switch {
	case err != nil:
		return 0
	case !se.PausedAt.IsZero():
		return most
	case se.ResumedAt.IsZero():
		return 0
	}
	return most - time.Since(se.ResumedAt)
}

// abandon gives up on a job that no runner has taken. A job that runs, or has
// ended, meanwhile is left alone.
func (s *Service) abandon(ctx context.Context, j job.Job) error {
	why, err := s.cfg.Lookup.WaitsFor(ctx, j.ID)
	if err != nil {
		return err
	}
	state, err := s.cfg.Records.Abandon(ctx, j.ID, job.Failure{
		Code: job.FailQueueTimeout, Message: fmt.Sprintf("after %s it still waited for %s", s.queueWait(j), why.Words()),
	})
	if errors.Is(err, job.ErrFinished) {
		return nil
	}
	if err != nil {
		return err
	}
	if state != job.Cancelled {
		return nil
	}
	s.removeTask(ctx, j)
	switch why {
	case job.WaitSession:
		return ErrSessionBusy
	case job.WaitKey:
		return ErrKeyBusy
	case job.WaitRunner:
		return ErrNoRunner
	case job.WaitPaused:
		return ErrPaused
	case job.WaitSlot, job.WaitBatch, job.WaitPackages:
	}
	return ErrNoSlot
}

// cancelLater ends a job whose synchronous caller is not there any more, without
// keeping the request for it. It tries until Redis answers, for cleanUpTime; the
// app waits for it before it stops.
func (s *Service) cancelLater(ctx context.Context, j job.Job) {
	s.cfg.Background.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
		defer cancel()
		for {
			state, err := s.cfg.Records.Cancel(ctx, j.ID)
			switch {
			case err == nil && state == job.Cancelled:
				s.removeTask(ctx, j)
				return
			case err == nil, errors.Is(err, job.ErrFinished), errors.Is(err, job.ErrNotFound), errors.Is(err, job.ErrGone):
				return
			}
			select {
			case <-ctx.Done():
				s.cfg.Log.WarnContext(ctx, "job of a caller who went away was not cancelled", slog.String("job_id", j.ID), slog.Any("err", err))
				return
			case <-time.After(retryPause):
			}
		}
	})
}

// removeTask takes a cancelled job's task off its queue. A task that stays is
// dropped by the runner that takes it.
func (s *Service) removeTask(ctx context.Context, j job.Job) {
	if j.InSession {
		return // it has none
	}
	if err := s.cfg.Queue.Remove(ctx, j.Task()); err != nil {
		s.cfg.Log.WarnContext(ctx, "task of a cancelled job stays: a runner will drop it", slog.String("job_id", j.ID), slog.Any("err", err))
	}
}

// Job returns a job of the caller. If wait is not 0, it does so once the job has ended or after
// that time, whichever comes first.
func (s *Service) Job(ctx context.Context, c Caller, id string, wait time.Duration) (job.Job, error) {
	if err := c.may(access.Read); err != nil {
		return job.Job{}, err
	}
	if wait == 0 {
		j, err := s.visible(ctx, c, id, s.cfg.Lookup.Get)
		return s.explained(ctx, j, err)
	}
	end, err := s.cfg.Hub.beginPoll(c.ID(), s.cfg.MaxSyncWaits)
	if err != nil {
		return job.Job{}, err
	}
	defer end()
	told, forget := s.cfg.Hub.wait(id)
	defer forget()
	if err := s.cfg.Lookup.Watch(ctx, id, s.cfg.Hub.Subscriber); err != nil {
		return job.Job{}, err
	}
	over := time.NewTimer(wait)
	defer over.Stop()
	var looks Looks
	defer looks.Stop()
	for last := false; ; {
		j, err := s.visible(ctx, c, id, s.cfg.Lookup.Get)
		if err != nil || j.State.Terminal() {
			return j, err
		}
		if last {
			return s.explained(ctx, j, nil)
		}
		select {
		case <-told:
			looks.Soon()
		case <-looks.Due():
			looks.Seldomer()
		case <-over.C:
			last = true
		case <-s.cfg.Draining:
			last = true
		case <-ctx.Done():
			return job.Job{}, fmt.Errorf("wait for job %s: %w", id, ctx.Err())
		}
	}
}

// explained adds to a job why it waits.
func (s *Service) explained(ctx context.Context, j job.Job, err error) (job.Job, error) {
	waits := j.State == job.Queued && !j.Unfed || j.State == job.Scheduled && j.After != ""
	if err == nil && waits {
		j.WaitsFor, err = s.cfg.Lookup.WaitsFor(ctx, j.ID)
	}
	if err == nil && j.WaitsFor == job.WaitSlot && j.PackageSet() != "" {
		j.Installation, err = s.cfg.Packages.Installing(ctx, job.WithoutPreload(j.Runtime))
		if err == nil && j.Installation != nil {
			j.WaitsFor = job.WaitPackages
		}
	}
	return j, err
}

// Jobs lists the jobs that the caller may see, newest first. The filter's viewer is the caller.
func (s *Service) Jobs(ctx context.Context, c Caller, f job.Filter) (jobs []job.Job, next string, err error) {
	if err := c.may(access.Read); err != nil {
		return nil, "", err
	}
	f.Viewer = c.viewer()
	if owner := f.Owner; owner != "" {
		if err := c.may(access.Admin); err != nil {
			return nil, "", err
		}
		if job.TenantOf(owner) != "" { // a tenant has a listing of its own
			f.Viewer, f.Owner = job.Viewer{Caller: owner}, ""
		}
	}
	return s.cfg.Lookup.List(ctx, f)
}

// Cancel ends a job of the caller. ended reports whether it has ended, because it waited; else
// its end is under way.
func (s *Service) Cancel(ctx context.Context, c Caller, id string) (j job.Job, ended bool, err error) {
	if err := c.may(access.Execute); err != nil {
		return job.Job{}, false, err
	}
	if _, err := s.visible(ctx, c, id, s.cfg.Lookup.Summary); err != nil {
		return job.Job{}, false, err
	}
	state, err := s.cfg.Records.Cancel(ctx, id)
	if err != nil {
		return job.Job{}, false, err
	}
	if j, err = s.visible(ctx, c, id, s.cfg.Lookup.Get); err != nil {
		return job.Job{}, false, err
	}
	if state == job.Cancelled && !j.Unfed {
		s.removeTask(ctx, j)
	}
	return j, state == job.Cancelled, nil
}
