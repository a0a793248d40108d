package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// The runners of the records.
const (
	oldRunner  = "old"
	lostRunner = "lost-runner"
)

// writer writes records under names in place of ids.
type writer struct {
	*bundle
	t *testing.T
}

// named is a job of that id, whose caller has no other jobs.
func named(id string, change ...func(*job.NewJob)) job.NewJob {
	n := newJob(func(n *job.NewJob) { n.Job.ID, n.Caller = id, "caller-of-"+id })
	for _, c := range change {
		c(&n)
	}
	return n
}

func calledBy(caller string) func(*job.NewJob) { return func(n *job.NewJob) { n.Caller = caller } }

// writeScenario writes a record of each kind. A new kind gets a name here; the names that are
// here stay.
func writeScenario(t *testing.T, rdb *redis.Client) {
	t.Helper()
	w := &writer{t: t, bundle: &bundle{rdb: rdb, runner: oldRunner}}
	w.Store = store.New(rdb, store.Config{
		RunnerTTL: time.Hour, Window: 1, Reserve: "1", MaxCallerBytes: 1 << 30, OutboxDelay: time.Millisecond,
		Schema: store.SchemaConfig{Schema: job.Schema{By: "the release that wrote this"}},
		Enqueue: func(_ context.Context, j job.Job) [][]any {
			if j.ID == "outbox" {
				return nil
			}
			return [][]any{{"SADD", "tasks", j.ID}}
		},
	})
	_, err := w.AgreeOnSchema(t.Context())
	w.must(err)
	for _, id := range []string{oldRunner, lostRunner} {
		w.must(w.Beat(t.Context(), job.Runner{
			ID: id, Host: "host", PID: 7, Version: "v0", StartedAt: time.Unix(1e9, 0).UTC(), Concurrency: 50, Active: 1,
			Queues: []string{"default"}, Python: "3.11.2", Sandbox: "strict", MemoryControl: "cgroup2", Sessions: 1, MaxSessions: 4,
			Runtimes: []job.Runtime{{Name: "python", Default: true}}, Layers: []job.Layer{},
		}))
	}
	w.waitingJobs()
	w.runningJobs()
	w.endedJobs()
	w.files()
	w.liveSession()
	w.otherSessions()
	w.rest()
	w.batches()
	w.volumes()
	w.cases()
	w.archives()
	w.usage()
	w.paused()
}

func (w *writer) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *writer) waitingJobs() {
	w.create(w.t, named("scheduled", scheduled(time.Hour), attempts(3)))
	w.create(w.t, named("queued", func(n *job.NewJob) {
		n.Job.Metadata, n.Job.Runtime = json.RawMessage(`{"n":12345678901234567890}`), "python"
		n.Spec.Argv, n.Spec.Runtime, n.Spec.Quota = []string{"a", "é"}, "python", job.Quota{CPUs: 2}
		n.IdempotencyKey, n.Scope, n.Fingerprint = "key", "scope", "fingerprint"
	}))
	w.create(w.t, named("outbox"))
	w.create(w.t, named("admitted", calledBy("many")))
	w.create(w.t, named("held", calledBy("many")))
	w.create(w.t, named("awaited", func(n *job.NewJob) { n.Subscriber = "api" }))
	w.create(w.t, named("of-a-tenant", calledBy("@team")))
	w.create(w.t, named("unstarted"))
	_, _, err := w.Unstarted(w.t.Context(), "unstarted", time.Hour, job.Failure{})
	w.must(err)
}

func (w *writer) runningJobs() {
	ctx := w.t.Context()
	w.claim(w.t, w.create(w.t, named("running", withEvents)))
	w.must(w.AppendEvents(ctx, job.Claim{JobID: "running", Attempt: 1, Runner: oldRunner}, job.EventID{}, []job.Event{eventAt(1, 10), eventAt(1, 20)}))
	w.must(w.Watch(ctx, "running", "api"))
	w.claim(w.t, w.create(w.t, named("cancelling")))
	_, err := w.Cancel(ctx, "cancelling")
	w.must(err)
	for _, n := range []job.NewJob{named("lost", attempts(2)), named("lost-at-last")} {
		_, err := w.Claim(ctx, w.create(w.t, n), lostRunner, "interpreter")
		w.must(err)
	}
}

// end claims a job and finishes it.
func (w *writer) end(n job.NewJob, r *job.Result) {
	w.t.Helper()
	w.must(w.Finish(w.t.Context(), w.claim(w.t, w.create(w.t, n)), job.Outcome{State: job.Completed, Result: r}))
}

func (w *writer) endedJobs() {
	ctx := w.t.Context()
	one := 1
	w.end(named("completed", withEvents), &job.Result{
		Status: job.StatusError, Stdout: "<out>\n", Stderr: "err", SessionID: "interpreter", JobID: "completed", ExitCode: &one,
		Error: &job.Error{Name: "ValueError", Value: "no", Traceback: "Traceback"}, DurationMs: 1.5, CPUMs: 1, PeakMemoryBytes: 1 << 20, QueuedMs: 2,
		Results: []job.Value{{Main: true, Data: map[string]json.RawMessage{"text/plain": json.RawMessage(`"4"`)}}},
	})
	w.end(named("large"), &job.Result{Status: job.StatusOK, Stdout: strings.Repeat("large ", 12_000)})
	w.end(named("expired"), result())
	w.rdb.Del(ctx, "{kaa}:job:expired") // as Redis does
	w.end(named("removed"), result())
	_, err := w.Remove(ctx, "removed")
	w.must(err)
	w.end(named("of-a-tenant-ended", calledBy("@team")), result())
	w.end(named("of-a-tenant-expired", calledBy("@team")), result())
	w.rdb.Del(ctx, "{kaa}:job:of-a-tenant-expired")
	w.must(w.Reject(ctx, w.create(w.t, named("failed")), job.Failure{Code: job.FailRunnerLost, Message: "why"}))
	_, err = w.Cancel(ctx, w.create(w.t, named("cancelled")))
	w.must(err)
}

// files writes a job with files and a webhook that was tried once.
func (w *writer) files() {
	ctx := w.t.Context()
	w.must(w.RoomForInputs(ctx, "files", "caller-of-files", job.Footprint(1)))
	claim := w.claim(w.t, w.create(w.t, named("files", bringing, hooked)))
	w.must(w.RoomForOutputs(ctx, claim, job.Footprint(2)+job.Footprint(3)))
	r := result()
	r.Files = []job.File{job.NewFile("kept", 2, "text/plain"), job.NewFile("dropped", 3, "text/plain"), job.NewFile("\xff", 3, "text/plain")}
	r.FilesDropped = &job.FilesDropped{Count: 1, Bytes: 5, Reason: "why"}
	w.must(w.Finish(ctx, claim, job.Outcome{State: job.Completed, Result: r}))
	w.must(w.DropFile(ctx, "files", job.OutputKey("files", 1, "dropped"), 3))
	for _, d := range w.take(w.t) {
		w.must(w.SettleHook(ctx, d, job.Report{State: job.WebhookPending, Status: 503, Error: "busy"}))
	}
	w.must(w.RoomForInputs(ctx, "not-recorded", "me", job.Footprint(4)))
}

// open opens a session of the caller me.
func (w *writer) open(id, runner string) {
	w.t.Helper()
	_, err := w.OpenSession(w.t.Context(), job.NewSession{
		Session: job.Session{ID: id, IdleTimeout: 10 * time.Minute, MaxAge: time.Hour, Metadata: json.RawMessage(`{"a":1}`)},
		Spec:    job.SessionSpec{Runtime: "python", Envs: map[string]string{"A": "b"}, Quota: job.Quota{CPUs: 2}},
		Caller:  "me", Candidates: []job.Candidate{{Runner: runner, Most: 9, Runtime: "python"}}, Shares: true,
	})
	w.must(err)
}

// next claims the next execution of a session.
func (w *writer) next(session, runner string) job.Claim {
	w.t.Helper()
	c, err := w.NextInSession(w.t.Context(), session, job.LaneDefault, runner, false)
	w.must(err)
	return *c
}

func (w *writer) liveSession() {
	ctx := w.t.Context()
	w.open("live", oldRunner)
	w.create(w.t, named("live-ended", inSession("live", "")))
	_, err := w.ObserveSession(ctx, "live", "me", job.Observation{})
	w.must(err)
	w.create(w.t, named("live-running", inSession("live", "")))
	w.create(w.t, named("live-operation", inSession("live", "restart")))
	w.create(w.t, named("live-waiting", inSession("live", "")))
	next, _, err := w.FinishInSession(ctx, w.next("live", oldRunner), job.Outcome{State: job.Completed, Result: result()})
	w.must(err)
	ask := job.NewEvent(job.EventInput, job.InputData{Type: job.EventInput, Request: 1, Prompt: "name? "})
	ask.ID = job.EventID{Attempt: 1, Seq: 100}
	w.must(w.AppendEvents(ctx, *next, job.EventID{}, []job.Event{ask}))
}

func (w *writer) otherSessions() {
	ctx := w.t.Context()
	w.must(w.ForkSession(ctx, "live", oldRunner, 9, job.SessionBounds{}, []string{"forked"}))
	w.open("ended", oldRunner)
	w.create(w.t, named("ended-execution", inSession("ended", "")))
	_, _, err := w.FinishInSession(ctx, w.next("ended", oldRunner), job.Outcome{State: job.Completed, Result: result()})
	w.must(err)
	w.create(w.t, named("ended-with-its-session", inSession("ended", "")))
	w.must(w.EndSession(ctx, "ended", job.SessionEnd{Reason: job.EndDeleted, Message: "why"}))
	w.open("on-lost", lostRunner)
	w.create(w.t, named("on-lost-running", inSession("on-lost", "")))
	w.next("on-lost", lostRunner)
}

func (w *writer) rest() {
	ctx := w.t.Context()
	w.must(w.PutKey(ctx, access.Key{
		ID: "key-1", Tenant: "team", Name: "a key", Scopes: access.Scopes{access.Read, access.Admin}, SHA256: strings.Repeat("0a", 32),
		Created: time.Unix(1e9, 0).UTC(), Expires: time.Unix(4e9, 0).UTC(),
	}))
	w.must(w.KeysUsed(ctx, map[string]time.Time{"key-1": time.Unix(1e9, 0)}))
	_, err := w.Rate(ctx, "me", job.RateLimit{PerSecond: 0.001, Burst: 1}, "", job.RateLimit{})
	w.must(err)
	_, err = w.Elect(ctx, "a task", time.Hour)
	w.must(err)
	w.must(w.Ready(ctx))
	sc := newSchedule("@team", job.OverlapSkip)
	sc.ID = "schedule"
	sc, err = w.AddSchedule(ctx, sc)
	w.must(err)
	_, err = w.Fire(ctx, runOf(sc, 0), named("of-a-schedule", calledBy("@team")))
	w.must(err)
	_, err = w.Fire(ctx, runOf(sc, 1), named("overlapping"))
	if !errors.Is(err, job.ErrOverlap) {
		w.t.Fatal(err)
	}
	w.must(w.Pass(ctx, runOf(sc, 2), "no room"))
}
