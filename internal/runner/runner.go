// Package runner turns a task into a finished job: it takes a ready worker, claims the job, has
// the worker execute the code, and records the end. It owns the bookkeeping of this process's
// current executions (heartbeat, cancels, drain). It also owns the maintenance that any process
// may do for all of them: enqueue due jobs, rescue the jobs of dead runners, sweep listings.
//
// The queue's server calls Handle, on as many goroutines as the runner's concurrency. Handle
// copes with these failures:
//   - No worker is available. Another runner is to take the task. The job fails with start_failed
//     once no runner could start it for StartPatience, or at once with runtime_missing.
//   - The claim is refused, because another process has settled the job. The task is dropped.
//   - Redis does not answer when a job is claimed or its end is written. Both are tried again for
//     minutes. A claim that is not executed by then is given back as soon as Redis answers.
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
	// Execute runs the code. It returns when the code has ended, its output is complete and no
	// process that it started is left. The end of ctx interrupts it. A program that fails is not
	// an error; an error means that the worker itself broke.
	Execute(ctx context.Context, spec job.Spec, live job.Live) (job.Result, error)
	// Put puts a file into the working directory, before Execute.
	Put(path string, content io.Reader) error
	// Collect passes the files that the code left to keep, after Execute. Several goroutines call
	// keep. Collect counts the files that are beyond the limits or could not be read.
	Collect(ctx context.Context, most job.FileLimits, keep func(f job.Found, content io.Reader) error) (job.FilesDropped, error)
	Close() error
}

// Workers hands out workers, each for one execution.
type Workers interface {
	// Acquire returns a worker of a runtime; an empty name means the default one. It fails with
	// job.ErrNoRuntime if there is no runtime of that name.
	Acquire(ctx context.Context, runtime string) (Worker, error)
}

// Records are the store's methods for the execution of jobs.
type Records interface {
	Claim(ctx context.Context, id, runner, session string) (job.Claim, error)
	Finish(ctx context.Context, c job.Claim, o job.Outcome) error
	GiveBack(ctx context.Context, c job.Claim, f job.Failure) (job.State, error)
	Reject(ctx context.Context, id string, f job.Failure) error
	// Unstarted records that no interpreter could be started for a job. It fails the job with f
	// if the first such record is older than after; never if after is 0.
	Unstarted(ctx context.Context, id string, after time.Duration, f job.Failure) (job.State, time.Duration, error)
	// Packages returns the requirements of a job.
	Packages(ctx context.Context, id string) (job.PackageSpec, error)
	// Unclaim takes back a claim whose code has not started.
	Unclaim(ctx context.Context, c job.Claim) (job.State, error)
}

// Observer receives each execution, for metrics.
type Observer interface {
	Executed(c job.Claim, o job.Outcome, took time.Duration)
	// Ended is called for each attempt whose end is written, with the state of the job by then.
	// code is empty if the code ended by itself, else the reason.
	Ended(state job.State, code job.FailureCode)
}

// oldAnswer is the age from which the answer to a claim is too old to start code on. It is well
// below the time in which a heartbeat lapses.
const oldAnswer = 3 * time.Second

// The causes of an execution's context when the execution is ended early.
var (
	errCancelled = errors.New("cancelled by its owner")
	errDraining  = errors.New("runner is draining")
	errLost      = errors.New("claim was lost")
)

// Config are a runner's parts and times. Zero times mean their defaults.
type Config struct {
	Self     job.Runner // the runner's registration; Active and Draining are filled in
	Records  Records
	Registry Registry
	Workers  Workers
	Blobs    Blobs
	Room     Room // nil if files are not limited
	Observer Observer
	Events   Events
	Log      *slog.Logger
	// Health returns, by the name of a runtime, why no interpreter of it can be started now. A
	// runtime without an entry is healthy.
	Health func() map[string]error
	// Parked, if not nil, returns the number of interpreters that are ready, by runtime.
	Parked func() map[string]int
	// Memory, if not nil, returns the memory in use where the runner is, and its limit; 0 if one is not known.
	Memory func() (used, limit int64)
	// DrainChanged, if not nil, is called when Drained has another answer.
	DrainChanged func()
	// NoJobLog leaves out the log line of each job that has ended.
	NoJobLog bool
	// SessionRecords and Interpreters are for sessions; a runner without them has none.
	SessionRecords SessionRecords
	Interpreters   Interpreters
	CommandRecords CommandRecords
	Volumes        Volumes // nil if the runner cannot keep the files of sessions
	// Saved, if not nil, is called after each attempt to save a volume. The time includes the wait for other saves.
	Saved func(outcome string, took time.Duration)
	// Operations are further operations on sessions, by name, besides those of package job.
	Operations map[string]Operation
	// Calls are needed for executions with functions of their callers.
	Calls Calls
	// Packages installs sets of packages; nil if this runner installs none.
	Packages Packages
	// Filled, if not nil, is called when a claim brought jobs into the outbox.
	Filled func()

	Files job.FileLimits // limits of the files that are kept after an execution

	HeartbeatEvery time.Duration // 2 s; must be well below the store's RunnerTTL
	WatchEvery     time.Duration // period of the look for cancel flags; 1 s
	SaveFor        time.Duration // how long the runner retries to write the end of a job; 5 min
	SaveEvery      time.Duration // period in which changed files of sessions with volumes are saved; 2 min
	ClaimFor       time.Duration // how long a claim is sent again while Redis does not answer; 1 min
	// StartPatience is the time after which a job fails if no runner could start an interpreter
	// for it; 1 min.
	StartPatience time.Duration
	// EventBytes bounds the events that are kept of a job, and those that wait for Redis; 8 MiB.
	EventBytes int
}

// Runner executes jobs. Create it with New, then Start, Handle any number of
// times, Drain, Close.
type Runner struct {
	cfg  Config
	stop context.CancelFunc
	done sync.WaitGroup

	sessions *sessions
	beatNow  chan struct{} // has a token when a heartbeat is due at once
	beating  chan struct{} // has a token while a heartbeat is made and sent, so that an older one never replaces a newer one

	mu     sync.Mutex
	active map[string]*execution // by job id
	claims map[string]int        // the number of calls that are about to claim a job
	early  map[string]bool       // jobs that got a follower while they were being claimed
	// suspects: the registry may hold claims of this runner that it does not execute.
	suspects bool
	// unstarted are jobs that were passed on because no interpreter could be started. They stay
	// here until they fail or an interpreter can be started.
	unstarted map[string]unstarted
	// storeFailure is when files of a job could not be read from the blob store; zero if they could
	// be since.
	storeFailure time.Time
	draining     bool // it is about to stop
	drained      bool // an operator lets it take nothing new
	drainDoubt   bool // the registry may have another value for drained
	over         bool // the time of the drain is up: no execution may go on
}

// execution is a claim whose code may be running.
type execution struct {
	claim job.Claim
	end   context.CancelCauseFunc
	tap   *job.Tap
	feed  *feed // nil unless a caller follows the job
	// answers to its requests for input; nil unless it may make requests
	answers chan job.Answer
	// replies to its calls of functions of its caller; nil unless it may make calls. taken are the
	// ids of those calls whose replies were put there, until the store has dropped them.
	replies chan job.Reply
	taken   []string
	// messages has a token when there may be messages to the command; nil if the execution can get none.
	messages chan struct{}
	outlet   *outlet // for followers that are attached to the command; nil if there can be none
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
	set(&cfg.SaveEvery, 2*time.Minute)
	set(&cfg.StartPatience, time.Minute)
	if cfg.EventBytes == 0 {
		cfg.EventBytes = 8 << 20
	}
	r := &Runner{cfg: cfg, active: make(map[string]*execution), claims: make(map[string]int), early: make(map[string]bool), unstarted: make(map[string]unstarted), beatNow: make(chan struct{}, 1), beating: make(chan struct{}, 1)}
	r.sessions = newSessions(r, cfg.Operations)
	return r
}

// Handle executes the job of one task, on the runtime that the task names. It returns nil if the
// task is finished, whether or not the code succeeded. An error means that no code was started
// and that the task should be delivered again.
func (r *Runner) Handle(ctx context.Context, jobID, runtime string) error {
	log := r.cfg.Log.With(slog.String("job_id", jobID))
	if done, err := r.preparePackages(ctx, jobID, runtime); done || err != nil {
		return err
	}
	// Handle acquires the worker before it claims, so that a claimed job starts at once. An
	// unclaimed job can safely go to another runner.
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

// reject fails a job that was not claimed. It leaves a job alone that another process has
// settled meanwhile.
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

// claim claims the job. If Redis does not answer, the job may have been claimed all the same:
// claim sends the same claim, of the same session, until Redis answers. If no answer comes in
// time, giveBackForgotten settles a claim that was made.
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
			// This process or Redis stood still. The runner may have been written off since,
			// and the job may have ended or belong to another runner. The next answer shows
			// it.
			r.suspect()
		}
	})
	if errors.Is(err, job.ErrUnavailable) {
		r.suspect()
	}
	return claim, err
}

// tryClaim claims once. A runner that was written off for a late heartbeat registers itself
// again first.
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

// execute executes a claimed job and writes its end. An error means that the code has not
// started and that the claim is taken back.
func (r *Runner) execute(ctx context.Context, log *slog.Logger, w Worker, claim job.Claim) error {
	run, end := context.WithCancelCause(ctx)
	defer end(nil)
	e := r.track(claim, end)
	defer r.untrack(claim.JobID)

	started := time.Now()
	result, err := r.executeOn(run, log, w, e)
	for range replacements {
		if !errors.Is(err, job.ErrNotStarted) || run.Err() != nil {
			break
		}
		log.WarnContext(ctx, "worker died before the code had started: taking another", slog.Any("err", err))
		result, err = r.executeElsewhere(run, log, e)
	}
	if errors.Is(err, job.ErrNoWorker) && run.Err() == nil {
		if back, err := r.unclaim(ctx, log, e, claim, err); back {
			return err
		}
	}
	if errors.Is(err, errStore) && run.Err() == nil {
		if back, err := r.handBack(ctx, log, e, claim, err); back {
			return err
		}
	}
	took := time.Since(started)
	result.JobID = claim.JobID
	if result.Error != nil {
		result.Error.Explain(claim.Spec.Packages, r.cfg.Packages != nil)
	}
	result.QueuedMs = float64(claim.Waited) / float64(time.Millisecond)
	if err != nil {
		log.ErrorContext(ctx, "supervision of an execution broke", slog.Any("err", err))
	}

	o := outcome(result, err, cause(run))
	r.cfg.Observer.Executed(claim, o, took)
	// The end of the execution is written even if ctx ended it.
	ctx = context.WithoutCancel(ctx)
	r.ended(ctx, log, claim, o, r.settle(ctx, log, claim, o, r.unwatch(e, o)), took)
	return nil
}

// replacements is the number of further workers that are tried for code that did not start.
const replacements = 3

// executeElsewhere executes a claim on another worker.
func (r *Runner) executeElsewhere(run context.Context, log *slog.Logger, e *execution) (job.Result, error) {
	w, err := r.cfg.Workers.Acquire(run, e.claim.Spec.Runtime)
	if err != nil {
		return job.Result{}, fmt.Errorf("acquire worker: %w", err)
	}
	result, err := r.executeOn(run, log, w, e)
	return result, errors.Join(err, w.Close())
}

// executeOn executes a claim on a worker. It puts the job's files in place before, and keeps the
// files that the code left.
func (r *Runner) executeOn(run context.Context, log *slog.Logger, w Worker, e *execution) (job.Result, error) {
	if e.claim.Spec.Cases != nil {
		return r.executeCases(run, log, w, e)
	}
	if err := r.bring(run, w, e.claim); err != nil {
		return job.Result{}, err
	}
	result, err := w.Execute(run, e.claim.Spec, job.Live{Tap: e.tap, Replies: e.replies, Attempt: e.claim.Attempt})
	if why := cause(run); err == nil && (why == nil || errors.Is(why, errCancelled)) {
		r.keepFiles(run, log, w, e.claim, &result)
	}
	return result, err
}

// cause returns why run ended; nil if it has not. If the cause is not one of this package, asynq
// aborted the execution at the end of a drain.
func cause(run context.Context) error {
	c := context.Cause(run)
	if c == nil || errors.Is(c, errCancelled) || errors.Is(c, errDraining) || errors.Is(c, errLost) || errors.Is(c, errReplaced) {
		return c
	}
	return errDraining
}

// outcome derives a job's outcome from the end of an attempt. A State of Queued means that the
// job is given back.
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
	case errors.Is(err, job.ErrNoNetwork):
		return job.Outcome{State: job.Queued, Failure: &job.Failure{
			Code: job.FailNoNetwork, Message: "the runner that took it lets no code reach the network (KAA_EGRESS, and the sandbox level strict); the code has not started",
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

// settle writes the rest of the events and then the outcome. It retries while Redis does not
// answer. It returns the job's state afterwards.
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

// smallResult is the size up to which a result is never replaced by a failure when the store is
// full: it takes hardly more room than a failure.
const smallResult = 64 << 10

// withoutResult returns the outcome that is written if the store has no room for o. A large
// result is replaced by a failure. To hold it, and a place of this runner with it, until other
// results have expired would keep all callers waiting.
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
	for i := range o.Result.Cases {
		size += len(o.Result.Cases[i].Stdout) + len(o.Result.Cases[i].Stderr)
	}
	if size <= smallResult {
		return o
	}
	return job.Outcome{State: job.Failed, End: o.End, Restarted: o.Restarted, Spent: o.Result.Spent(), Failure: &job.Failure{
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
	if claim.Spec.CallingCode != "" {
		claim.Spec.Code = claim.Spec.CallingCode
	}
	e := &execution{claim: claim, end: end, tap: new(job.Tap)}
	if claim.Spec.Input && claim.InSession {
		e.answers = make(chan job.Answer, answersBuffered)
	}
	if len(claim.Spec.Functions) > 0 && r.cfg.Calls != nil {
		e.replies = make(chan job.Reply, repliesBuffered)
	}
	if claim.Spec.Command != nil && claim.InSession {
		e.messages = make(chan struct{}, 1)
		if r.cfg.CommandRecords != nil {
			e.outlet = newOutlet(r.cfg.CommandRecords, claim, r.cfg.Log)
		}
	}
	r.active[claim.JobID] = e
	if r.over {
		end(errDraining)
	}
	if claim.Events || e.replies != nil || r.early[claim.JobID] {
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
