// Package runner turns a task into a finished job: it takes a ready worker,
// claims the job, has the worker execute the code, and records the end. It owns
// the bookkeeping of what this process executes right now (heartbeat, cancels,
// drain), and the maintenance that any process may do for all of them (enqueue
// what is due, rescue what dead runners left, sweep listings).
//
// The queue's server calls Handle, on as many goroutines as the runner's
// concurrency. What can fail: no worker can be had (another runner is to take the task; the
// job fails with start_failed once nobody could start it for long, or at once with
// runtime_missing), the claim is refused (somebody else has settled the job, so the
// task is dropped), Redis is away when a job is claimed or its end is written
// (both are tried again for minutes; what then is still claimed and not executed
// is given back as soon as Redis answers).
package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Worker is a fresh interpreter that executes one program.
type Worker interface {
	SessionID() string
	// Execute runs the code and returns when it has ended, its output is complete
	// and nothing it started is left. The end of ctx interrupts it. A program that
	// fails is not an error; an error means that the worker itself broke.
	Execute(ctx context.Context, spec job.Spec) (job.Result, error)
	// Put puts a file into the working directory, before Execute.
	Put(path string, content io.Reader) error
	// Collect passes on the files that the code left, after Execute; keep is called by
	// several goroutines. It counts what is beyond the limits, or could not be had.
	Collect(ctx context.Context, most job.FileLimits, keep func(f job.Found, content io.Reader) error) (job.FilesDropped, error)
	Close() error
}

// Workers lends workers, each for one execution.
type Workers interface {
	// Acquire lends a worker of a runtime; empty means the default one. It fails
	// with job.ErrNoRuntime if there is none of that name.
	Acquire(ctx context.Context, runtime string) (Worker, error)
}

// Records is what executing a job needs of the store.
type Records interface {
	Claim(ctx context.Context, id, runner, session string) (job.Claim, error)
	Finish(ctx context.Context, c job.Claim, o job.Outcome) error
	GiveBack(ctx context.Context, c job.Claim, f job.Failure) (job.State, error)
	Reject(ctx context.Context, id string, f job.Failure) error
	// Unstarted notes that no interpreter could be started for a job, and fails it with f if
	// that was noted first so long ago; never if after is 0.
	Unstarted(ctx context.Context, id string, after time.Duration, f job.Failure) (job.State, time.Duration, error)
	// Unclaim takes back a claim whose code has not started.
	Unclaim(ctx context.Context, c job.Claim) (job.State, error)
}

// Observer is told of each execution, for metrics.
type Observer interface {
	Executed(c job.Claim, o job.Outcome, took time.Duration)
	// Ended is told of each attempt whose end is written: what state the job is in by then, and
	// why if the code's end is not the reason.
	Ended(state job.State, code job.FailureCode)
}

// oldAnswer is when the answer to a claim is too old to start code on: well before a
// heartbeat can lapse.
const oldAnswer = 3 * time.Second

// Why an execution is ended early: causes of its context.
var (
	errCancelled = errors.New("cancelled by its owner")
	errDraining  = errors.New("runner is draining")
	errLost      = errors.New("claim was lost")
)

// Config are a runner's parts and times. Zero times mean their defaults.
type Config struct {
	Self     job.Runner // as it registers itself; Active and Draining are filled in
	Records  Records
	Registry Registry
	Workers  Workers
	Blobs    Blobs
	Room     Room // nil if files have no bound
	Observer Observer
	Events   Events
	Log      *slog.Logger
	// Health returns why no interpreter of a runtime can be started now, by its name; nil
	// means that all can.
	Health func() map[string]error
	// NoJobLog leaves out the line about each job that has ended.
	NoJobLog bool
	// SessionRecords and Interpreters are for sessions; a runner without them has none.
	SessionRecords SessionRecords
	Interpreters   Interpreters
	// Operations are what else can be done to a session, by name, besides
	// those of package job.
	Operations map[string]Operation
	// Filled, if not nil, is called when a claim brought jobs into the outbox.
	Filled func()

	Files job.FileLimits // what is kept of the files that code leaves

	HeartbeatEvery time.Duration // 2 s; must be well below the store's RunnerTTL
	WatchEvery     time.Duration // how often cancel flags are looked at; 1 s
	SaveFor        time.Duration // how long the end of a job is tried to be written; 5 min
	ClaimFor       time.Duration // how long a claim is sent again while Redis is away; 1 min
	// StartPatience is for how long nobody may be able to start an interpreter for a job
	// before it fails; 1 min.
	StartPatience time.Duration
	// EventBytes is how much of a job's events is kept, and how much may wait for Redis; 8 MiB.
	EventBytes int
}

// Runner executes jobs. Create it with New, then Start, Handle any number of
// times, Drain, Close.
type Runner struct {
	cfg  Config
	stop context.CancelFunc
	done sync.WaitGroup

	sessions *sessions
	beatNow  chan struct{} // has a token when the registry is to be told something

	mu     sync.Mutex
	active map[string]*execution // by job id
	claims map[string]int        // how many calls are about to claim a job
	early  map[string]bool       // jobs that somebody wants to see while they are being claimed
	// suspects: the registry may hold claims of ours that nobody executes.
	suspects bool
	// unstarted are jobs that were passed on for want of an interpreter, until they fail or
	// one can be started.
	unstarted map[string]unstarted
	draining  bool // says so in its heartbeat
	over      bool // the drain's time is up: nothing may go on
}

// execution is a claim whose code may be running.
type execution struct {
	claim job.Claim
	end   context.CancelCauseFunc
	tap   *job.Tap
	feed  *feed // nil unless somebody watches
	// answers to its requests for input; nil unless it may make some
	answers chan job.Answer
}

// New returns a runner that has not started yet.
func New(cfg Config) *Runner {
	set := func(d *time.Duration, byDefault time.Duration) {
		if *d == 0 {
			*d = byDefault
		}
	}
	set(&cfg.HeartbeatEvery, 2*time.Second)
	set(&cfg.WatchEvery, time.Second)
	set(&cfg.SaveFor, 5*time.Minute)
	set(&cfg.ClaimFor, time.Minute)
	set(&cfg.StartPatience, time.Minute)
	if cfg.EventBytes == 0 {
		cfg.EventBytes = 8 << 20
	}
	r := &Runner{cfg: cfg, active: make(map[string]*execution), claims: make(map[string]int), early: make(map[string]bool), unstarted: make(map[string]unstarted), beatNow: make(chan struct{}, 1)}
	r.sessions = newSessions(r, cfg.Operations)
	return r
}

// Handle executes the job of one task, on the runtime that the task names. nil means that the task is done with,
// however the code ended; an error, that nothing was started and the task should
// be delivered again.
func (r *Runner) Handle(ctx context.Context, jobID, runtime string) error {
	log := r.cfg.Log.With(slog.String("job_id", jobID))
	// The worker comes first, so that a claimed job starts at once: claimed and
	// started are one thing, and an unclaimed job can safely go elsewhere.
	w, err := r.cfg.Workers.Acquire(ctx, runtime)
	if errors.Is(err, job.ErrNoRuntime) {
		log.WarnContext(ctx, "a job asks for a runtime that this runner does not have", slog.String("runtime", runtime))
		return r.reject(ctx, jobID, job.Failure{
			Code: job.FailNoRuntime, Message: fmt.Sprintf("the runner that took it does not have the runtime %q; GET /v1/runtimes lists what there is", runtime),
		})
	}
	if err != nil {
		return r.handOver(ctx, jobID, runtime, err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			log.ErrorContext(ctx, "interpreter was not closed as it should", slog.Any("err", err))
		}
	}()

	r.claiming(jobID)
	defer r.claimed(jobID)
	claim, err := r.claim(ctx, jobID, w.SessionID())
	switch {
	case errors.Is(err, job.ErrStale), errors.Is(err, job.ErrNotFound), errors.Is(err, job.ErrGone):
		log.DebugContext(ctx, "task is dropped: its job is settled", slog.Any("reason", err))
		return nil
	case errors.Is(err, job.ErrHeld):
		log.DebugContext(ctx, "task is passed over: its caller executes as much as it may")
		return nil
	case err != nil:
		return fmt.Errorf("claim %s: %w", jobID, err)
	}
	if claim.Filled && r.cfg.Filled != nil {
		r.cfg.Filled()
	}
	return r.execute(job.WithTrace(ctx, claim.Spec.Trace), log.With(slog.Int("attempt", claim.Attempt)), w, claim)
}

// reject fails a job that was not claimed; one that somebody else has settled
// meanwhile is left alone.
func (r *Runner) reject(ctx context.Context, jobID string, f job.Failure) error {
	err := r.cfg.Records.Reject(ctx, jobID, f)
	if err != nil && !errors.Is(err, job.ErrStale) && !errors.Is(err, job.ErrNotFound) && !errors.Is(err, job.ErrGone) {
		return fmt.Errorf("reject %s: %w", jobID, err)
	}
	if err == nil {
		claim := job.Claim{JobID: jobID}
		r.ended(ctx, r.cfg.Log.With(slog.String("job_id", jobID)), claim, job.Outcome{Failure: &f}, job.Failed, 0)
	}
	return nil
}

// claim takes the job. When Redis does not answer, nobody knows whether it was
// taken: the same claim, by the same session, is sent until there is an answer.
// Should none come in time, giveBackForgotten settles what it may have taken.
func (r *Runner) claim(ctx context.Context, jobID, session string) (job.Claim, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.ClaimFor)
	defer cancel()
	var claim job.Claim
	err := untilAnswered(ctx, func() error {
		for {
			sent := time.Now()
			var err error
			claim, err = r.tryClaim(ctx, jobID, session)
			if err != nil || time.Since(sent) <= oldAnswer {
				return err
			}
			// This process stood still, or Redis did: the runner may have been written off
			// since, and the job may have ended or another runner may have it. The next
			// answer shows it.
			r.suspect()
		}
	})
	if errors.Is(err, job.ErrUnavailable) {
		r.suspect()
	}
	return claim, err
}

// tryClaim claims once; a runner that was written off for a late heartbeat
// registers itself again first.
func (r *Runner) tryClaim(ctx context.Context, jobID, session string) (job.Claim, error) {
	c, err := r.cfg.Records.Claim(ctx, jobID, r.cfg.Self.ID, session)
	if !errors.Is(err, job.ErrUnregistered) {
		return c, err
	}
	if err := r.beat(ctx); err != nil {
		return job.Claim{}, err
	}
	return r.cfg.Records.Claim(ctx, jobID, r.cfg.Self.ID, session)
}

// execute carries a claim through. An error means that the code has not started and that the
// claim is taken back.
func (r *Runner) execute(ctx context.Context, log *slog.Logger, w Worker, claim job.Claim) error {
	run, end := context.WithCancelCause(ctx)
	defer end(nil)
	e := r.track(claim, end)
	defer r.untrack(claim.JobID)
	claim.Spec.Tap = e.tap

	started := time.Now()
	result, err := r.executeOn(run, log, w, claim)
	for range replacements {
		if !errors.Is(err, job.ErrNotStarted) || run.Err() != nil {
			break
		}
		log.WarnContext(ctx, "worker died before the code had started: taking another", slog.Any("err", err))
		result, err = r.executeElsewhere(run, log, claim)
	}
	if errors.Is(err, job.ErrNoWorker) && run.Err() == nil {
		if back, err := r.unclaim(ctx, log, e, claim, err); back {
			return err
		}
	}
	took := time.Since(started)
	result.JobID = claim.JobID
	result.QueuedMs = float64(claim.Waited) / float64(time.Millisecond)
	if err != nil {
		log.ErrorContext(ctx, "supervision of an execution broke", slog.Any("err", err))
	}

	o := outcome(result, err, cause(run))
	r.cfg.Observer.Executed(claim, o, took)
	// What ended the execution must not keep its end from being written.
	ctx = context.WithoutCancel(ctx)
	r.ended(ctx, log, claim, o, r.settle(ctx, log, claim, o, r.unwatch(e, o)), took)
	return nil
}

// replacements is how many other workers are tried for code that did not start.
const replacements = 3

// executeElsewhere executes on a worker of its own.
func (r *Runner) executeElsewhere(run context.Context, log *slog.Logger, claim job.Claim) (job.Result, error) {
	w, err := r.cfg.Workers.Acquire(run, claim.Spec.Runtime)
	if err != nil {
		return job.Result{}, fmt.Errorf("acquire worker: %w", err)
	}
	result, err := r.executeOn(run, log, w, claim)
	return result, errors.Join(err, w.Close())
}

// executeOn executes a claim on a worker, with the files that come with it, and keeps
// those that it leaves.
func (r *Runner) executeOn(run context.Context, log *slog.Logger, w Worker, claim job.Claim) (job.Result, error) {
	if err := r.bring(run, w, claim); err != nil {
		return job.Result{}, err
	}
	result, err := w.Execute(run, claim.Spec)
	if why := cause(run); err == nil && (why == nil || errors.Is(why, errCancelled)) {
		r.keepFiles(run, log, w, claim, &result)
	}
	return result, err
}

// cause says why run ended; nil if it has not. An end that is not ours is
// asynq's abort, at the end of a drain.
func cause(run context.Context) error {
	c := context.Cause(run)
	if c == nil || errors.Is(c, errCancelled) || errors.Is(c, errDraining) || errors.Is(c, errLost) {
		return c
	}
	return errDraining
}

// outcome decides what an attempt's end means for its job. A State of Queued
// stands for giving the job back.
func outcome(result job.Result, err, cause error) job.Outcome {
	ended := err == nil && result.Status != job.StatusInterrupted
	switch {
	case ended, err == nil && cause == nil:
		return job.Outcome{State: job.Completed, Result: &result}
	case errors.Is(cause, errCancelled):
		return job.Outcome{State: job.Cancelled, Result: &result}
	case errors.Is(cause, errLost):
		return job.Outcome{}
	case errors.Is(cause, errDraining):
		return job.Outcome{State: job.Queued, Failure: &job.Failure{
			Code: job.FailDrained, Message: "the runner was shut down before the code ended",
		}}
	case errors.Is(err, errFiles):
		return job.Outcome{State: job.Queued, Failure: &job.Failure{
			Code: job.FailFiles, Message: "the files that came with the job could not be put in place; the code has not started",
		}}
	default:
		return job.Outcome{State: job.Queued, Failure: &job.Failure{
			Code: job.FailWorker, Message: "the interpreter's supervision broke; the output is lost",
		}}
	}
}

// settle writes the outcome, and what is left of the events before it, again and again
// while Redis is away. It returns what state the job is in then.
func (r *Runner) settle(ctx context.Context, log *slog.Logger, claim job.Claim, o job.Outcome, f *feed) job.State {
	if o.State == "" {
		log.WarnContext(ctx, "claim was lost; the execution was ended")
		return lost
	}
	var state job.State
	ok, _ := r.written(ctx, log, o, func(ctx context.Context, o job.Outcome) (err error) {
		state, err = r.save(ctx, claim, o, f)
		return err
	})
	if !ok {
		return lost
	}
	return state
}

// smallResult is a result that is tried to be written for as long as any: it takes hardly
// more room than a failure in its place.
const smallResult = 64 << 10

// withoutResult is what is written of an outcome that has no room: to hold a large one, and a
// place of this runner with it, until others have expired would keep all callers waiting.
func withoutResult(o job.Outcome) job.Outcome {
	if o.State != job.Completed || o.Result == nil {
		return o
	}
	size := len(o.Result.Stdout) + len(o.Result.Stderr)
	for _, v := range o.Result.Results {
		for _, form := range v.Data {
			size += len(form)
		}
	}
	if size <= smallResult {
		return o
	}
	return job.Outcome{State: job.Failed, End: o.End, Restarted: o.Restarted, Failure: &job.Failure{
		Code: job.FailStoreFull, Message: "the code has ended, but the job store has no room for its result, or this API key has no share left; try again with less output when others have expired",
	}}
}

func (r *Runner) save(ctx context.Context, claim job.Claim, o job.Outcome, f *feed) (job.State, error) {
	if err := f.drain(ctx); err != nil {
		return "", err
	}
	if o.State == job.Queued {
		return r.cfg.Records.GiveBack(ctx, claim, *o.Failure)
	}
	return o.State, r.cfg.Records.Finish(ctx, claim, o)
}

func (r *Runner) track(claim job.Claim, end context.CancelCauseFunc) *execution {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := &execution{claim: claim, end: end, tap: new(job.Tap)}
	if claim.Spec.Input && claim.InSession {
		e.answers = make(chan job.Answer, answersHeld)
	}
	r.active[claim.JobID] = e
	if r.over {
		end(errDraining)
	}
	if claim.Events || r.early[claim.JobID] {
		r.watch(e)
	}
	return e
}

// endJob ends the execution of a job, if there is one.
func (r *Runner) endJob(jobID string, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.active[jobID]; e != nil {
		e.end(cause)
	}
}

func (r *Runner) untrack(jobID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.active, jobID)
}
