package store_test

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

// oldWork is what a process does with records of an older version, each on a database of its own.
func oldWork() map[string]func(t *testing.T, b *bundle) {
	return map[string]func(t *testing.T, b *bundle){
		"a queued job is executed":           executeOld,
		"running jobs end":                   finishOld,
		"waiting jobs are cancelled":         cancelOld,
		"an idempotency key is known":        replayOld,
		"due tasks and held jobs":            enqueueOld,
		"lost processes":                     rescueOld,
		"a session goes on and ends":         sessionOld,
		"a webhook is delivered":             hookOld,
		"files go":                           filesOld,
		"keys, rates, elections, tombstones": restOld,
		"cases run again":                    casesOld,
		"a batch goes on":                    batchOld,
		"volumes are saved and restored":     volumesOld,
		"archives are written":               archivesOld,
		"usage is added up":                  usageOld,
		"a paused session resumes":           pausedOld,
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// states checks the states of jobs.
func (b *bundle) states(t *testing.T, want map[string]job.State) {
	t.Helper()
	got := map[string]job.State{}
	for id := range want {
		got[id] = b.get(t, id).State
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
}

var completed = job.Outcome{State: job.Completed, Result: result()}

func executeOld(t *testing.T, b *bundle) {
	t.Helper()
	c := b.claim(t, "queued")
	want := job.Spec{
		Code: "print(1)", Timeout: time.Minute, Envs: map[string]string{"A": "b"}, Stdin: "in",
		Argv: []string{"a", "é"}, Runtime: "python", Quota: job.Quota{CPUs: 2},
	}
	if diff := cmp.Diff(want, c.Spec); diff != "" || c.Attempt != 1 || c.Queue != "default" {
		t.Errorf("claim %+v (-want +got):\n%s", c, diff)
	}
	must(t, b.Finish(t.Context(), c, completed))
	state, _, err := b.Unstarted(t.Context(), "unstarted", time.Nanosecond, job.Failure{Code: job.FailRunnerLost})
	if state != job.Failed || err != nil {
		t.Errorf("a job whose interpreter did not start: %s %v", state, err)
	}
	must(t, b.Finish(t.Context(), b.claim(t, "of-a-tenant"), completed))
	b.states(t, map[string]job.State{"queued": job.Completed, "unstarted": job.Failed, "of-a-tenant": job.Completed})
}

func finishOld(t *testing.T, b *bundle) {
	t.Helper()
	ctx := t.Context()
	running := job.Claim{JobID: "running", Attempt: 1, Runner: oldRunner}
	cancelling := job.Claim{JobID: "cancelling", Attempt: 1, Runner: oldRunner}
	cancelled, lost, watched, err := b.Revoked(ctx, []job.Claim{running, cancelling})
	if err != nil || len(lost) > 0 || len(cancelled) != 1 || cancelled[0].JobID != "cancelling" || len(watched) != 1 || watched[0].JobID != "running" {
		t.Errorf("revoked %v, lost %v, watched %v, %v", cancelled, lost, watched, err)
	}
	must(t, b.AppendEvents(ctx, running, job.EventID{}, []job.Event{eventAt(1, 30)}))
	must(t, b.Finish(ctx, running, completed))
	if diff := cmp.Diff([]string{"1-10", "1-20", "1-30", "1-18446744073709551615"}, b.ids(t, "running")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	must(t, b.Finish(ctx, cancelling, job.Outcome{State: job.Cancelled, Failure: &job.Failure{Code: job.FailCancelled}}))
	b.states(t, map[string]job.State{"running": job.Completed, "cancelling": job.Cancelled})
	if err := b.Finish(ctx, running, job.Outcome{State: job.Failed, Failure: &job.Failure{}}); !errors.Is(err, job.ErrStale) {
		t.Errorf("another end: %v", err)
	}
}

func cancelOld(t *testing.T, b *bundle) {
	t.Helper()
	for _, id := range []string{"scheduled", "queued", "held", "live-waiting"} {
		if state, err := b.Cancel(t.Context(), id); state != job.Cancelled || err != nil {
			t.Errorf("%s: %s %v", id, state, err)
		}
	}
	if _, err := b.Cancel(t.Context(), "completed"); !errors.Is(err, job.ErrFinished) {
		t.Errorf("a completed job: %v", err)
	}
}

func replayOld(t *testing.T, b *bundle) {
	t.Helper()
	again := newJob(func(n *job.NewJob) { n.IdempotencyKey, n.Scope, n.Fingerprint = "key", "scope", "fingerprint" })
	if c, err := b.Create(t.Context(), again); err != nil || !c.Replayed || c.Job.ID != "queued" {
		t.Errorf("%+v %v", c, err)
	}
	again.Fingerprint = "another"
	if _, err := b.Create(t.Context(), again); !errors.Is(err, job.ErrIdempotencyMismatch) {
		t.Errorf("another request: %v", err)
	}
}

func enqueueOld(t *testing.T, b *bundle) {
	t.Helper()
	ctx := t.Context()
	due, next, err := b.Due(ctx, 100)
	if err != nil || len(due) != 1 || due[0].JobID != "outbox" || due[0].Attempt != 1 || due[0].Queue != "default" || due[0].Timeout != time.Minute {
		t.Errorf("due: %+v %s %v", due, next, err)
	}
	must(t, b.Enqueued(ctx, due...))
	b.claim(t, "admitted")
	if !b.rdb.SIsMember(ctx, "tasks", "held").Val() {
		t.Error("the task of the held job is not enqueued")
	}
	b.claim(t, "held")
	tasks, err := b.Waiting(ctx, "default", 100)
	var ids []string
	for _, task := range tasks {
		if _, _, ofBatch := job.BatchOf(task.JobID); !ofBatch {
			ids = append(ids, task.JobID)
		}
	}
	slices.Sort(ids)
	if diff := cmp.Diff([]string{"awaited", "of-a-tenant", "outbox", "queued", "unstarted"}, ids); diff != "" || err != nil {
		t.Errorf("jobs that wait for their tasks (-want +got):\n%s%v", diff, err)
	}
}

func rescueOld(t *testing.T, b *bundle) {
	t.Helper()
	ctx := t.Context()
	b.rdb.Del(ctx, "{kaa}:runner:"+lostRunner, "{kaa}:waiter:api") // as Redis does when they lapse
	rescued, runner, err := b.rescue(t)
	got := map[string]job.State{}
	for _, r := range rescued {
		got[r.JobID] = r.State
	}
	want := map[string]job.State{"lost": job.Queued, "lost-at-last": job.Failed, "awaited": job.Cancelled}
	maps.DeleteFunc(got, func(id string, _ job.State) bool { return id == "on-lost-running" })
	if diff := cmp.Diff(want, got); diff != "" || err != nil || !runner {
		t.Errorf("rescued (-want +got):\n%s%v", diff, err)
	}
	want["on-lost-running"], want["running"] = job.Failed, job.Running
	b.states(t, want)
	if se, err := b.Session(ctx, "on-lost", job.Viewer{Caller: "me"}); err != nil || se.State != job.SessionEnded {
		t.Errorf("its session: %+v %v", se, err)
	}
	if c := b.claim(t, "lost"); c.Attempt != 2 {
		t.Errorf("the second attempt is number %d", c.Attempt)
	}
}

func sessionOld(t *testing.T, b *bundle) {
	t.Helper()
	ctx := t.Context()
	c, err := b.NextInSession(ctx, "live", job.LaneDefault, oldRunner, false)
	if err != nil || c.JobID != "live-running" || c.Attempt != 1 || !c.Events || c.Session.Envs["A"] != "b" || c.Session.Quota.CPUs != 2 {
		t.Fatalf("%+v %v", c, err)
	}
	must(t, b.GiveInput(ctx, "live", "me", job.Answer{JobID: c.JobID, Request: 1, Text: "kaa"}))
	if all, err := b.Answers(ctx, []string{c.JobID}); err != nil || len(all) != 1 || all[0].Text != "kaa" {
		t.Errorf("answers: %+v %v", all, err)
	}
	if o, err := b.ObserveSession(ctx, "live", "me", job.Observation{Last: "1"}); err != nil || !cmp.Equal(o.Jobs, []string{"live-running", "live-waiting"}) {
		t.Errorf("observed: %+v %v", o, err)
	}
	c, _, err = b.FinishInSession(ctx, *c, completed)
	if err != nil || c.JobID != "live-operation" || c.Spec.Op != "restart" {
		t.Fatalf("%+v %v", c, err)
	}
	c, _, err = b.FinishInSession(ctx, *c, job.Outcome{State: job.Completed, Data: []byte("{}")})
	if err != nil || c.JobID != "live-waiting" || c.Spec.Code != "print(1)" {
		t.Fatalf("%+v %v", c, err)
	}
	b.create(t, newJob(inSession("forked", "")))
	all, ready, err := b.SessionsOf(ctx, oldRunner)
	slices.Sort(all)
	if !cmp.Equal(all, []string{"forked", "live"}) || !cmp.Equal(ready, []job.ReadyLane{{Session: "forked"}}) || err != nil {
		t.Errorf("sessions %v, ready %v, %v", all, ready, err)
	}
	must(t, b.CloseSession(ctx, "live", job.Viewer{Caller: "me"}, job.SessionEnd{Reason: job.EndDeleted}))
	b.states(t, map[string]job.State{"live-running": job.Completed, "live-waiting": job.Failed})
	if err := b.EndSession(ctx, "ended", job.SessionEnd{Reason: job.EndIdle}); !errors.Is(err, job.ErrSessionEnded) {
		t.Errorf("end of an ended session: %v", err)
	}
}

// takeOfJobs takes due webhooks, and returns those of jobs that are of no batch.
func (b *bundle) takeOfJobs(t *testing.T) []job.Delivery {
	t.Helper()
	return slices.DeleteFunc(b.take(t), func(d job.Delivery) bool {
		_, _, ofBatch := job.BatchOf(d.JobID)
		return ofBatch || d.BatchID != ""
	})
}

func hookOld(t *testing.T, b *bundle) {
	t.Helper()
	taken := b.takeOfJobs(t)
	if len(taken) != 1 || taken[0].JobID != "files" || taken[0].Attempt != 2 || taken[0].Secret != "hunter2" {
		t.Fatalf("%+v", taken)
	}
	must(t, b.SettleHook(t.Context(), taken[0], job.Report{State: job.WebhookDelivered, Status: 200}))
	want := &job.Webhook{URL: "https://example.com", State: job.WebhookDelivered, Attempts: 2, LastStatus: 200}
	if diff := cmp.Diff(want, b.get(t, "files").Webhook); diff != "" {
		t.Errorf("webhook (-want +got):\n%s", diff)
	}
}

func filesOld(t *testing.T, b *bundle) {
	t.Helper()
	ctx := t.Context()
	must(t, b.DropFile(ctx, "files", job.OutputKey("files", 1, "kept"), 2))
	if files := b.get(t, "files").Result.Files; len(files) != 1 {
		t.Errorf("files that are left: %+v", files)
	}
	if blobs, err := b.Remove(ctx, "files"); !blobs || err != nil {
		t.Errorf("blobs %t, %v", blobs, err)
	}
	if ids, err := b.Expired(ctx, 10); err != nil || !cmp.Equal(ids, []string{"files"}) {
		t.Errorf("expired: %v %v", ids, err)
	}
	must(t, b.ForgetBlobs(ctx, "files"))
	if ids, err := b.Expired(ctx, 10); err != nil || len(ids) > 0 {
		t.Errorf("expired afterwards: %v %v", ids, err)
	}
	if taken := b.takeOfJobs(t); len(taken) > 0 {
		t.Errorf("the webhook of a deleted job: %+v", taken)
	}
}

func restOld(t *testing.T, b *bundle) {
	t.Helper()
	ctx := t.Context()
	must(t, b.DropKey(ctx, "key-1"))
	if r, err := b.Rate(ctx, "me", job.RateLimit{PerSecond: 0.001, Burst: 1}, "", job.RateLimit{}); err != nil || r.Allowed {
		t.Errorf("a request beyond the rate: %+v %v", r, err)
	}
	if elected, err := b.Elect(ctx, "a task", time.Hour); err != nil || elected {
		t.Errorf("elected %t, %v", elected, err)
	}
	if _, err := b.Cancel(ctx, "expired"); !errors.Is(err, job.ErrGone) {
		t.Errorf("an expired job: %v", err)
	}
	_, err := b.Sweep(ctx, 1000)
	must(t, err)
}
