package store_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// bundle is a store on a database of its own with one live runner.
type bundle struct {
	*store.Store
	rdb    *redis.Client
	runner string
}

func setup(t *testing.T, cfg store.Config) *bundle {
	t.Helper()
	return setupOn(t, testenv.Redis(t).Client(t), cfg)
}

// setupAlone is for tests that listen: databases of one Redis share their channels, and
// other tests run at the same time.
func setupAlone(t *testing.T, cfg store.Config) *bundle {
	t.Helper()
	return setupOn(t, testenv.OwnRedis(t).Client(t), cfg)
}

// setupOn is setup with a client of the test's own.
func setupOn(t *testing.T, rdb *redis.Client, cfg store.Config) *bundle {
	t.Helper()
	if cfg.RunnerTTL == 0 {
		cfg.RunnerTTL = time.Hour // nothing here sends heartbeats
	}
	b := &bundle{Store: store.New(rdb, cfg), rdb: rdb, runner: "runner-1"}
	if err := b.Beat(t.Context(), job.Runner{ID: b.runner}); err != nil {
		t.Fatal(err)
	}
	return b
}

func newJob(change ...func(*job.NewJob)) job.NewJob {
	n := job.NewJob{
		Job: job.Job{
			ID: uuid.Must(uuid.NewV7()).String(), State: job.Queued, Queue: "default", MaxAttempts: 1,
			Timeout: time.Minute, ResultTTL: time.Hour,
		},
		Spec: job.Spec{Code: "print(1)", Timeout: time.Minute, Envs: map[string]string{"A": "b"}, Stdin: "in"},
	}
	for _, c := range change {
		c(&n)
	}
	return n
}

func attempts(n int) func(*job.NewJob) { return func(j *job.NewJob) { j.Job.MaxAttempts = n } }

func scheduled(in time.Duration) func(*job.NewJob) {
	return func(j *job.NewJob) {
		j.Job.State, j.Job.ScheduledAt = job.Scheduled, time.Now().Add(in).Truncate(time.Millisecond).UTC()
	}
}

// create records a job and returns its id.
func (b *bundle) create(t *testing.T, n job.NewJob) string {
	t.Helper()
	c, err := b.Create(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return c.Job.ID
}

func (b *bundle) claim(t *testing.T, id string) job.Claim {
	t.Helper()
	c, err := b.Claim(t.Context(), id, b.runner, "session-"+id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// rescue does what the maintainer does.
func (b *bundle) rescue(t *testing.T) (rescued []job.Rescued, runner bool, err error) {
	t.Helper()
	lapsed, err := b.Lapsed(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return b.Rescue(t.Context(), lapsed...)
}

func (b *bundle) get(t *testing.T, id string) job.Job {
	t.Helper()
	j, err := b.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func result() *job.Result { return &job.Result{Status: job.StatusOK, Stdout: "1\n"} }

func TestCreateAndGet(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	n := newJob(scheduled(time.Hour), attempts(3), func(n *job.NewJob) {
		n.Job.Metadata = json.RawMessage(`{"n":12345678901234567890}`)
		n.Job.Runtime = "py"
	})
	c, err := b.Create(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	want := n.Job
	want.CreatedAt = c.Job.CreatedAt
	if diff := cmp.Diff(want, b.get(t, n.Job.ID)); diff != "" {
		t.Errorf("job (-want +got):\n%s", diff)
	}
	if age := time.Since(c.Job.CreatedAt); age < -time.Minute || age > time.Minute {
		t.Errorf("created %s ago", age)
	}
	if _, err := b.Get(t.Context(), "nobody"); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("unknown job: %v", err)
	}
}

func TestCreateTwiceIsOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	n := newJob(func(n *job.NewJob) { n.IdempotencyKey, n.Fingerprint = "k", "f" })
	b.create(t, n)
	if c, err := b.Create(t.Context(), n); err != nil || c.Replayed {
		t.Errorf("the same creation, sent again by the client: %+v, %v", c, err)
	}
	jobs, _, err := b.List(t.Context(), job.Filter{Limit: 10})
	if err != nil || len(jobs) != 1 {
		t.Errorf("%d jobs, err %v", len(jobs), err)
	}
}

func TestCreateAfterScriptFlush(t *testing.T) {
	t.Parallel()
	own := testenv.OwnRedis(t)
	rdb := own.Client(t)
	s := store.New(rdb, store.Config{})
	for range 2 {
		if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		for i, c := range s.CreateAll(t.Context(), []job.NewJob{newJob(), newJob()}) {
			if c.Err != nil {
				t.Errorf("job %d: %v", i, c.Err)
			}
		}
	}
	jobs, _, err := s.List(t.Context(), job.Filter{Limit: 10})
	if err != nil || len(jobs) != 4 {
		t.Errorf("%d jobs, err %v; want 4", len(jobs), err)
	}
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	with := func(scope, key, fingerprint string) job.NewJob {
		return newJob(func(n *job.NewJob) { n.Scope, n.IdempotencyKey, n.Fingerprint = scope, key, fingerprint })
	}
	first := b.create(t, with("s", "k", "f"))
	if c, err := b.Create(t.Context(), with("s", "k", "f")); err != nil || !c.Replayed || c.Job.ID != first {
		t.Errorf("same key and request: %+v, %v", c, err)
	}
	if _, err := b.Create(t.Context(), with("s", "k", "other")); !errors.Is(err, job.ErrIdempotencyMismatch) {
		t.Errorf("same key, other request: %v", err)
	}
	if c, err := b.Create(t.Context(), with("other", "k", "f")); err != nil || c.Replayed {
		t.Errorf("same key of another caller: %+v, %v", c, err)
	}
}

func TestClaim(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	n := newJob(func(n *job.NewJob) {
		n.Spec.Runtime, n.Spec.Quota = "py", job.Quota{MemoryBytes: 1 << 30, CPUs: 0.5, CPUTime: time.Second, Processes: 3}
	})
	id := b.create(t, n)
	c := b.claim(t, id)
	want := job.Claim{JobID: id, Attempt: 1, Runner: b.runner, SessionID: "session-" + id, Queue: "default", Waited: c.Waited, Spec: n.Spec}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("claim (-want +got):\n%s", diff)
	}
	if again := b.claim(t, id); again.Attempt != 1 {
		t.Errorf("the same claim, sent again by the client, is attempt %d", again.Attempt)
	}
	if _, err := b.Claim(t.Context(), id, b.runner, "another session"); !errors.Is(err, job.ErrStale) {
		t.Errorf("second claim: %v", err)
	}
	if _, err := b.Claim(t.Context(), "nobody", b.runner, "s"); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("claim of an unknown job: %v", err)
	}
	if _, err := b.Claim(t.Context(), b.create(t, newJob()), "stranger", "s"); !errors.Is(err, job.ErrUnregistered) {
		t.Errorf("claim by a runner that is not registered: %v", err)
	}
}

func TestClaimOfScheduled(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	if _, err := b.Claim(t.Context(), b.create(t, newJob(scheduled(time.Hour))), b.runner, "s"); !errors.Is(err, job.ErrStale) {
		t.Errorf("not due yet: %v", err)
	}
	// Due, and its task was enqueued, but the confirmation was lost.
	if c := b.claim(t, b.create(t, newJob(scheduled(-time.Second)))); c.Waited < time.Second {
		t.Errorf("waited %s, want the time since it was due", c.Waited)
	}
}

// TestFence checks that only the current claim may write.
func TestFence(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	id := b.create(t, newJob(attempts(2)))
	old := b.claim(t, id)
	if state, err := b.GiveBack(t.Context(), old, job.Failure{Code: job.FailDrained}); err != nil || state != job.Queued {
		t.Fatalf("give back: %s, %v", state, err)
	}
	current, err := b.Claim(t.Context(), id, b.runner, "second session")
	if err != nil || current.Attempt != 2 {
		t.Fatalf("second claim: %+v, %v", current, err)
	}
	if err := b.Finish(t.Context(), old, job.Outcome{State: job.Completed, Result: result()}); !errors.Is(err, job.ErrStale) {
		t.Errorf("finish by the old claim: %v", err)
	}
	cancelled, lost, _, err := b.Revoked(t.Context(), []job.Claim{old, current})
	if err != nil || len(cancelled) != 0 || len(lost) != 1 || lost[0].Attempt != 1 {
		t.Errorf("doomed: %v, %v, %v; want the old claim lost", cancelled, lost, err)
	}
	for range 2 { // the client may send it twice
		if err := b.Finish(t.Context(), current, job.Outcome{State: job.Completed, Result: result()}); err != nil {
			t.Errorf("finish: %v", err)
		}
	}
	j := b.get(t, id)
	if j.State != job.Completed || j.Attempt != 2 || j.Result == nil || j.Result.Stdout != "1\n" || j.FinishedAt.IsZero() {
		t.Errorf("job = %+v", j)
	}
}

func TestCancelOfRunning(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{})
	told := make(messages, 1)
	l, err := b.ListenRunner(t.Context(), b.runner, told, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	id := b.create(t, newJob())
	c := b.claim(t, id)
	if state, err := b.Cancel(t.Context(), id); err != nil || state != job.Running {
		t.Fatalf("cancel: %s, %v", state, err)
	}
	if got := <-told; got != "cancelled "+id {
		t.Errorf("runner was told of %q", got)
	}
	if !b.get(t, id).CancelRequested {
		t.Error("the record does not say that its end is asked for")
	}
	if cancelled, lost, _, err := b.Revoked(t.Context(), []job.Claim{c}); err != nil || len(cancelled) != 1 || len(lost) != 0 {
		t.Errorf("doomed: %v, %v, %v; want it cancelled", cancelled, lost, err)
	}
	// Its runner dies before it could end it: nobody may run it again.
	if err := b.Leave(t.Context(), b.runner); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Rescue(t.Context(), b.runner); err != nil {
		t.Fatal(err)
	}
	if j := b.get(t, id); j.State != job.Cancelled {
		t.Errorf("state = %s, want cancelled", j.State)
	}
}

func TestRescue(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	once := b.create(t, newJob())
	twice := b.create(t, newJob(attempts(2), func(n *job.NewJob) { n.Job.Runtime = "py" }))
	b.claim(t, once)
	b.claim(t, twice)
	alive := b.create(t, newJob())
	if err := b.Beat(t.Context(), job.Runner{ID: "alive"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Claim(t.Context(), alive, "alive", "s"); err != nil {
		t.Fatal(err)
	}
	if lapsed, err := b.Lapsed(t.Context(), ""); err != nil || len(lapsed) != 0 {
		t.Fatalf("all are alive: %v, %v", lapsed, err)
	}
	if rescued, _, err := b.Rescue(t.Context(), b.runner, "alive"); err != nil || len(rescued) != 0 {
		t.Fatalf("all are alive: %v, %v", rescued, err)
	}
	if err := b.Leave(t.Context(), b.runner); err != nil { // as if its heartbeat had lapsed
		t.Fatal(err)
	}
	if lapsed, err := b.Lapsed(t.Context(), b.runner); err != nil || len(lapsed) != 0 {
		t.Fatalf("it asks itself: %v, %v", lapsed, err)
	}
	lapsed, err := b.Lapsed(t.Context(), "")
	if err != nil || !slices.Equal(lapsed, []string{b.runner}) {
		t.Fatalf("lapsed: %v, %v", lapsed, err)
	}
	rescued, runner, err := b.Rescue(t.Context(), append(lapsed, "alive")...)
	if err != nil || !runner || len(rescued) != 2 {
		t.Fatalf("rescued %v, %v", rescued, err)
	}
	if j := b.get(t, once); j.State != job.Failed || j.Failure == nil || j.Failure.Code != job.FailRunnerLost {
		t.Errorf("no attempt left: %+v", j)
	}
	if j := b.get(t, twice); j.State != job.Queued || j.Failure != nil {
		t.Errorf("an attempt left: %+v", j)
	}
	if j := b.get(t, alive); j.State != job.Running {
		t.Errorf("a live runner's job is %s", j.State)
	}
	// The retry's task has to be enqueued, for the second attempt.
	due, _, err := b.Due(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []job.Task{{JobID: twice, Queue: "default", Attempt: 2, Timeout: time.Minute, Runtime: "py"}}
	if diff := cmp.Diff(want, due); diff != "" {
		t.Errorf("due (-want +got):\n%s", diff)
	}
	runners, err := b.Runners(t.Context())
	if err != nil || len(runners) != 1 || runners[0].ID != "alive" {
		t.Errorf("runners = %v, %v", runners, err)
	}
}

func firstTask(id string) job.Task { return job.Task{JobID: id, Attempt: 1} }

// TestLateConfirmation: a confirmation that comes after the job was given back
// must not take the retry out of the outbox.
func TestLateConfirmation(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	id := b.create(t, newJob(attempts(2)))
	if _, err := b.GiveBack(t.Context(), b.claim(t, id), job.Failure{Code: job.FailDrained}); err != nil {
		t.Fatal(err)
	}
	if err := b.Enqueued(t.Context(), firstTask(id)); err != nil {
		t.Fatal(err)
	}
	if due, _, err := b.Due(t.Context(), 10); err != nil || len(due) != 1 || due[0].Attempt != 2 {
		t.Errorf("due = %v, %v; want the second attempt", due, err)
	}
}

func TestHeld(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	if held, err := b.Held(t.Context(), b.runner); err != nil || len(held) != 0 {
		t.Errorf("held = %v, %v", held, err)
	}
	claim := b.claim(t, b.create(t, newJob()))
	held, err := b.Held(t.Context(), b.runner)
	if err != nil || len(held) != 1 || held[0].JobID != claim.JobID || held[0].Attempt != 1 {
		t.Errorf("held = %v, %v", held, err)
	}
}

func TestOutbox(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{OutboxDelay: time.Millisecond})
	later := b.create(t, newJob(scheduled(time.Hour)))
	due := b.create(t, newJob(scheduled(-time.Second), func(n *job.NewJob) { n.Job.Runtime = "py" }))
	unconfirmed := b.create(t, newJob())
	confirmed := b.create(t, newJob())
	claimed := b.create(t, newJob())
	if err := b.Enqueued(t.Context(), firstTask(confirmed)); err != nil {
		t.Fatal(err)
	}
	b.claim(t, claimed)

	ids := map[string]bool{}
	runtimes := map[string]string{}
	testenv.Eventually(t, "two tasks are due", func() bool {
		tasks, next, err := b.Due(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			ids[task.JobID] = true
			runtimes[task.JobID] = task.Runtime
		}
		return len(tasks) == 2 && next > 59*time.Minute && next <= time.Hour
	})
	if !ids[due] || !ids[unconfirmed] || len(ids) != 2 {
		t.Errorf("due: %v; want %s and %s", ids, due, unconfirmed)
	}
	if diff := cmp.Diff(map[string]string{due: "py", unconfirmed: ""}, runtimes); diff != "" {
		t.Errorf("runtimes (-want +got):\n%s", diff)
	}
	if err := b.Enqueued(t.Context(), firstTask(due), firstTask(unconfirmed)); err != nil {
		t.Fatal(err)
	}
	if tasks, _, err := b.Due(t.Context(), 10); err != nil || len(tasks) != 0 {
		t.Errorf("still due: %v, %v", tasks, err)
	}
	if j := b.get(t, due); j.State != job.Queued {
		t.Errorf("a due job is %s", j.State)
	}
	if j := b.get(t, later); j.State != job.Scheduled {
		t.Errorf("a later job is %s", j.State)
	}
}
