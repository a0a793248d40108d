package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/job"
)

// Records is what accepting and ending jobs needs of the store.
type Records interface {
	CreateAll(ctx context.Context, jobs []job.NewJob) []job.Created
	Enqueued(ctx context.Context, tasks ...job.DueTask) error
	// Cancel ends a waiting job and asks for the end of a running one.
	Cancel(ctx context.Context, id string) (job.State, error)
	// Abandon cancels a job only if it still waits.
	Abandon(ctx context.Context, id string, f job.Failure) (job.State, error)
}

// Lookup is what reading jobs needs of the store.
type Lookup interface {
	Get(ctx context.Context, id string) (job.Job, error)
	// Summary is Get without the result.
	Summary(ctx context.Context, id string) (job.Job, error)
	// Watch asks for subscriber to be told of the job's end, unless that has come.
	Watch(ctx context.Context, id, subscriber string) error
	List(ctx context.Context, f job.Filter) (jobs []job.Job, next string, err error)
}

// Queue is where tasks go.
type Queue interface {
	Enqueue(ctx context.Context, t job.DueTask) error
	// Remove takes a task off its queue if it still waits there.
	Remove(ctx context.Context, t job.DueTask) error
}

// Times of the waiting for a job's end.
const (
	// pollEvery makes up for a message that was lost.
	pollEvery = 2 * time.Second
	// settleTime is what a job may take beyond its timeout to reach its end: the
	// kill ladder, a lost runner's rescue, a retry of the write.
	settleTime = 30 * time.Second
	// cleanUpTime bounds what is done for a caller who is not there any more, and
	// cancelAgain is the pause between attempts.
	cleanUpTime = 30 * time.Second
	cancelAgain = 250 * time.Millisecond
)

// submission is one job on its way in.
type submission struct {
	request        job.Request
	idempotencyKey string
	fingerprint    string
	subscriber     string
}

// draft checks a submission, which came at now, against the limits and gives it
// an id.
func (s *server) draft(ctx context.Context, sub submission, now time.Time) (job.NewJob, error) {
	limits := s.cfg.Limits
	if id := sub.request.SessionID; id != "" {
		if err := checkSession(id); err != nil {
			return job.NewJob{}, err
		}
	}
	if name := sub.request.Runtime; name != "" {
		var err error
		if limits.Runtimes, err = s.runtimes.known(ctx, name, now); err != nil {
			return job.NewJob{}, err
		}
	}
	j, spec, err := limits.Accept(sub.request, now)
	if err != nil {
		return job.NewJob{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return job.NewJob{}, fmt.Errorf("make job id: %w", err)
	}
	j.ID = id.String()
	n := job.NewJob{Job: j, Spec: spec, Subscriber: sub.subscriber, Caller: shortCaller(ctx), Events: sub.request.Events}
	if w := sub.request.Webhook; w != nil {
		n.WebhookSecret = w.Secret
	}
	if sub.idempotencyKey != "" {
		n.IdempotencyKey, n.Scope, n.Fingerprint = sub.idempotencyKey, callerOf(ctx), sub.fingerprint
	}
	return n, nil
}

// submit records jobs and enqueues their tasks, unless both was done at once. Once
// recorded, a job will run even if the rest fails: the outbox has it. So only
// recording decides.
func (s *server) submit(ctx context.Context, drafts []job.NewJob) []job.Created {
	for i := range drafts {
		drafts[i].Spec.Trace = job.TraceOf(ctx)
	}
	created := s.record(ctx, drafts)
	var enqueued []job.DueTask
	for _, c := range created {
		if c.Err != nil || c.Replayed {
			continue
		}
		s.cfg.Observer.Submitted(c.Job.Queue)
		if c.Job.State != job.Queued || c.Held || c.Enqueued || c.Job.InSession {
			continue // what a session has to do waits in the session
		}
		if err := s.cfg.Queue.Enqueue(ctx, c.Job.Task()); err != nil {
			s.cfg.Log.WarnContext(ctx, "task was not enqueued: left to the outbox", slog.String("job_id", c.Job.ID), slog.Any("err", err))
			continue
		}
		enqueued = append(enqueued, c.Job.Task())
	}
	// A synchronous job is claimed, which confirms it, before this would arrive.
	if len(enqueued) > 0 && drafts[0].Subscriber == "" {
		if err := s.cfg.Records.Enqueued(ctx, enqueued...); err != nil {
			s.cfg.Log.WarnContext(ctx, "enqueueing was not confirmed: left to the outbox", slog.Any("err", err))
		}
	}
	releaseBody(ctx)
	return created
}

// runAndWait submits a job and returns it once it has ended. If the caller goes
// away the job is cancelled, and also if no runner takes it in time.
func (s *server) runAndWait(ctx context.Context, sub submission) (job.Job, error) {
	end, p := s.cfg.Hub.beginCall(shortCaller(ctx), s.cfg.MaxSyncWaits)
	if p != nil {
		return job.Job{}, p
	}
	defer end()
	sub.subscriber = s.cfg.Hub.Subscriber
	draft, err := s.draft(ctx, sub, time.Now())
	if err != nil {
		return job.Job{}, err
	}
	return s.createAndWait(ctx, draft)
}

// createAndWait records a job that this call waits for, and does that.
func (s *server) createAndWait(ctx context.Context, draft job.NewJob) (job.Job, error) {
	told, forget := s.cfg.Hub.wait(draft.Job.ID)
	defer forget()
	submitted, err := s.submitForCaller(ctx, draft)
	if err != nil {
		return job.Job{}, err
	}
	j, err := s.awaitEnd(ctx, submitted, told)
	if err != nil {
		return job.Job{}, &jobError{submitted.ID, err}
	}
	return j, nil
}

// submitForCaller submits a job for somebody who waits for it.
func (s *server) submitForCaller(ctx context.Context, draft job.NewJob) (job.Job, error) {
	created := s.submit(ctx, []job.NewJob{draft})[0]
	callOf(ctx).submitted(draft.Job, created)
	if errors.Is(created.Err, job.ErrUnavailable) {
		// It may have been recorded all the same, and the caller is told to try again.
		s.cancelLater(ctx, draft.Job)
		return job.Job{}, &jobError{draft.Job.ID, created.Err}
	}
	return created.Job, created.Err
}

// awaitEnd returns a synchronous job once it has ended: as it was submitted, with its
// result, if the message brought that, else as its record is.
func (s *server) awaitEnd(ctx context.Context, submitted job.Job, told <-chan *job.Result) (job.Job, error) {
	id := submitted.ID
	overall, cancel := context.WithTimeout(ctx, s.cfg.SyncQueueWait+submitted.Timeout+settleTime)
	defer cancel()
	queueWait := time.NewTimer(s.cfg.SyncQueueWait)
	defer queueWait.Stop()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		select {
		case r := <-told:
			if r != nil {
				submitted.State, submitted.Result = job.Completed, r
				return submitted, nil
			}
			told = nil // look now; should the record not show the end yet, poll
		case <-poll.C:
		case <-queueWait.C:
			err := s.abandon(ctx, submitted)
			if errors.Is(err, job.ErrUnavailable) {
				queueWait.Reset(pollEvery)
			} else if err != nil {
				return job.Job{}, err
			}
			continue
		case <-overall.Done():
			s.cancelLater(ctx, submitted)
			return job.Job{}, fmt.Errorf("wait for job %s: %w", id, overall.Err())
		}
		j, err := s.cfg.Lookup.Get(overall, id)
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

// abandon gives up on a job that no runner has taken. A job that runs, or has
// ended, meanwhile is left alone.
func (s *server) abandon(ctx context.Context, j job.Job) error {
	state, err := s.cfg.Records.Abandon(ctx, j.ID, job.Failure{
		Code: job.FailQueueTimeout, Message: fmt.Sprintf("no runner took the job within %s", s.cfg.SyncQueueWait),
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
	if j.InSession {
		return errSessionBusy
	}
	return errNoRunner
}

// cancelLater ends a job whose synchronous caller is not there any more, without
// keeping the request for it. It tries until Redis answers, for cleanUpTime; the
// app waits for it before it stops.
func (s *server) cancelLater(ctx context.Context, j job.Job) {
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
			case <-time.After(cancelAgain):
			}
		}
	})
}

// removeTask takes a cancelled job's task off its queue. A task that stays is
// dropped by the runner that takes it.
func (s *server) removeTask(ctx context.Context, j job.Job) {
	if j.InSession {
		return // it has none
	}
	if err := s.cfg.Queue.Remove(ctx, j.Task()); err != nil {
		s.cfg.Log.WarnContext(ctx, "task of a cancelled job stays: a runner will drop it", slog.String("job_id", j.ID), slog.Any("err", err))
	}
}

// waitFor returns a job once it has ended or after d, whichever comes first.
func (s *server) waitFor(ctx context.Context, id string, d time.Duration) (job.Job, error) {
	if d == 0 {
		return s.visible(ctx, id, s.cfg.Lookup.Get)
	}
	end, p := s.cfg.Hub.beginPoll(shortCaller(ctx), s.cfg.MaxSyncWaits)
	if p != nil {
		return job.Job{}, p
	}
	defer end()
	told, forget := s.cfg.Hub.wait(id)
	defer forget()
	if err := s.cfg.Lookup.Watch(ctx, id, s.cfg.Hub.Subscriber); err != nil {
		return job.Job{}, err
	}
	over := time.NewTimer(d)
	defer over.Stop()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for last := false; ; {
		j, err := s.visible(ctx, id, s.cfg.Lookup.Get)
		if err != nil || j.State.Terminal() || last {
			return j, err
		}
		select {
		case <-told:
			told = nil
		case <-poll.C:
		case <-over.C:
			last = true
		case <-s.cfg.Draining:
			last = true
		case <-ctx.Done():
			return job.Job{}, fmt.Errorf("wait for job %s: %w", id, ctx.Err())
		}
	}
}

// fingerprint identifies the content of a request for idempotency.
func fingerprint(body any, uploads []job.FileRequest) (string, error) {
	b, err := json.Marshal(body)
	if err == nil && len(uploads) > 0 {
		var files []byte
		files, err = json.Marshal(uploads)
		b = append(b, files...)
	}
	if err != nil {
		return "", fmt.Errorf("fingerprint request: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}
