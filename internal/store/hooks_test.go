package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/testenv"
)

func hooked(n *job.NewJob) {
	n.Job.Webhook = &job.Webhook{URL: "https://example.com", State: job.WebhookPending}
	n.WebhookSecret = "hunter2"
}

// ended records a job that has a webhook and ends it.
func (b *bundle) ended(t *testing.T, change ...func(*job.NewJob)) string {
	t.Helper()
	id := b.create(t, newJob(append(change, hooked)...))
	if err := b.Finish(t.Context(), b.claim(t, id), job.Outcome{State: job.Completed, Result: result()}); err != nil {
		t.Fatal(err)
	}
	return id
}

func (b *bundle) take(t *testing.T) []job.Delivery {
	t.Helper()
	taken, _, err := b.TakeHooks(t.Context(), 10, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return taken
}

// TestHooks: a webhook is due from the job's end on, whatever that is, and until it
// is delivered or given up.
func TestHooks(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{TombstoneTTL: time.Hour, HookTTL: 25 * time.Hour})
	waiting := b.create(t, newJob(hooked))
	want := &job.Webhook{URL: "https://example.com", State: job.WebhookPending}
	if diff := cmp.Diff(want, b.get(t, waiting).Webhook); diff != "" {
		t.Errorf("webhook of a job that waits (-want +got):\n%s", diff)
	}
	if err := b.Finish(t.Context(), b.claim(t, b.create(t, newJob())), job.Outcome{State: job.Completed, Result: result()}); err != nil {
		t.Fatal(err)
	}
	if taken, next, err := b.TakeHooks(t.Context(), 10, time.Minute); err != nil || len(taken) != 0 || next >= 0 {
		t.Fatalf("taken before any end: %v, next %s, %v", taken, next, err)
	}

	told := make(chan string, 10)
	listener, err := b.ListenDue(t.Context(), func(what string) { told <- what })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	id := b.ended(t)
	testenv.Eventually(t, "somebody is told", func() bool { return <-told == store.HooksDue })
	if ttl := b.rdb.PTTL(t.Context(), "{kaa}:job:"+id).Val(); ttl < 24*time.Hour {
		t.Errorf("the record lives %s", ttl)
	}
	taken, next, err := b.TakeHooks(t.Context(), 10, time.Minute)
	if err != nil || next <= 0 || next > time.Minute+time.Second { // by the clock of Redis, in milliseconds
		t.Errorf("next %s, %v", next, err)
	}
	delivery := job.Delivery{JobID: id, Attempt: 1, Secret: "hunter2"} // without an owner: there was no key
	if diff := cmp.Diff([]job.Delivery{delivery}, taken, cmpopts.IgnoreFields(job.Delivery{}, "Age")); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
	if taken := b.take(t); len(taken) != 0 {
		t.Errorf("taken twice: %v", taken)
	}
	settle := func(d job.Delivery, r job.Report) error { t.Helper(); return b.SettleHook(t.Context(), d, r) }
	if err := settle(delivery, job.Report{State: job.WebhookPending, Status: 503, Error: "e"}); err != nil {
		t.Fatal(err)
	}
	want = &job.Webhook{URL: want.URL, State: job.WebhookPending, Attempts: 1, LastStatus: 503, LastError: "e"}
	if diff := cmp.Diff(want, b.get(t, id).Webhook); diff != "" {
		t.Errorf("after the first attempt (-want +got):\n%s", diff)
	}
	if taken := b.take(t); len(taken) != 1 || taken[0].Attempt != 2 {
		t.Fatalf("the second attempt: %v", taken)
	}
	if err := settle(delivery, job.Report{State: job.WebhookFailed}); !errors.Is(err, job.ErrStale) {
		t.Errorf("a late report of the first attempt: %v", err)
	}
	delivery.Attempt = 2
	for range 2 { // the second time its answer was lost
		if err := settle(delivery, job.Report{State: job.WebhookDelivered, Status: 200}); err != nil {
			t.Fatal(err)
		}
	}
	want = &job.Webhook{URL: want.URL, State: job.WebhookDelivered, Attempts: 2, LastStatus: 200}
	if diff := cmp.Diff(want, b.get(t, id).Webhook); diff != "" {
		t.Errorf("at the end (-want +got):\n%s", diff)
	}
	key := b.rdb.HGetAll(t.Context(), "{kaa}:job:"+id).Val()
	if ttl := b.rdb.PTTL(t.Context(), "{kaa}:job:"+id).Val(); ttl > time.Hour || ttl < 59*time.Minute || key["hook_secret"] != "" {
		t.Errorf("the record lives %s, with the secret %q", ttl, key["hook_secret"])
	}
	if ttl := b.rdb.PTTL(t.Context(), "{kaa}:gone:"+id).Val(); ttl > 2*time.Hour || ttl < 119*time.Minute {
		t.Errorf("the tombstone lives %s", ttl)
	}
	if n := b.rdb.Exists(t.Context(), "{kaa}:hooks").Val(); n != 0 {
		t.Error("something is due for ever")
	}
	if _, err := b.Cancel(t.Context(), waiting); err != nil {
		t.Fatal(err)
	}
	if taken := b.take(t); len(taken) != 1 || taken[0].JobID != waiting {
		t.Errorf("after a cancel: %v", taken)
	}
}

// TestHookLease: when the process that took a webhook dies, another takes it. What
// the first had delivered none the less counts.
func TestHookLease(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{})
	id := b.ended(t)
	first, _, err := b.TakeHooks(t.Context(), 10, time.Millisecond)
	if err != nil || len(first) != 1 {
		t.Fatal(first, err)
	}
	<-time.After(5 * time.Millisecond)
	// Nobody looks, but the sweep notices.
	told := make(chan string, 10)
	listener, err := b.ListenDue(t.Context(), func(what string) { told <- what })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	if _, err := b.Sweep(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	select {
	case what := <-told:
		if what != store.HooksDue {
			t.Errorf("told %q", what)
		}
	case <-time.After(testenv.Timeout):
		t.Error("nobody is told")
	}
	if second := b.take(t); len(second) != 1 || second[0].Attempt != 2 {
		t.Errorf("taken then: %v", second)
	}
	if err := b.SettleHook(t.Context(), first[0], job.Report{State: job.WebhookDelivered, Status: 200}); err != nil {
		t.Errorf("a late delivery: %v", err)
	}
	if w := b.get(t, id).Webhook; w.State != job.WebhookDelivered {
		t.Errorf("%+v", w)
	}
}

// TestHookOutlivesItsJob: a record that should have gone by now goes once its
// webhook is through.
func TestHookOutlivesItsJob(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	id := b.ended(t, func(n *job.NewJob) { n.Job.ResultTTL = time.Millisecond })
	<-time.After(20 * time.Millisecond)
	taken := b.take(t)
	if len(taken) != 1 || taken[0].Age < 20*time.Millisecond || b.get(t, id).Result == nil {
		t.Fatalf("taken %v", taken)
	}
	if err := b.SettleHook(t.Context(), taken[0], job.Report{State: job.WebhookFailed, Error: "given up"}); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "it is gone", func() bool {
		_, err := b.Get(t.Context(), id)
		return errors.Is(err, job.ErrGone)
	})
	// One whose record is not there at all is not due any more.
	id = b.ended(t)
	b.rdb.Del(t.Context(), "{kaa}:job:"+id)
	if taken := b.take(t); len(taken) != 0 {
		t.Errorf("taken without a record: %v", taken)
	}
}

// TestHookScriptsMayRunTwice: an attempt that is counted twice leaves a number out.
func TestHookScriptsMayRunTwice(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	b.take(t) // so that Redis knows the script
	id := b.ended(t)
	b.rdb.AddHook(twice{})
	if taken, _, err := b.TakeHooks(t.Context(), 10, time.Hour); err != nil || len(taken) != 0 {
		t.Fatalf("the answer that was lost had it: %v, %v", taken, err)
	}
	b.rdb.ZAdd(t.Context(), "{kaa}:hooks", redis.Z{Score: 1, Member: id}) // the lease is over
	_, _, _ = b.TakeHooks(t.Context(), 10, time.Minute)
	attempt := b.get(t, id).Webhook.Attempts
	d := job.Delivery{JobID: id, Attempt: attempt}
	if err := b.SettleHook(t.Context(), d, job.Report{State: job.WebhookPending, Error: "e"}); err != nil {
		t.Errorf("a retry: %v", err)
	}
	if err := b.SettleHook(t.Context(), d, job.Report{State: job.WebhookDelivered}); err != nil {
		t.Errorf("the end: %v", err)
	}
}

// TestGoneAfterDelivery: who owned an expired job is known also if its webhook was delivered: it is gone for its owner only.
func TestGoneAfterDelivery(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	id := b.ended(t, of(tenant))
	for _, d := range b.take(t) {
		if err := b.SettleHook(t.Context(), d, job.Report{State: job.WebhookDelivered}); err != nil {
			t.Fatal(err)
		}
	}
	b.rdb.Del(t.Context(), "{kaa}:job:"+id) // as Redis does
	if _, err := b.Get(t.Context(), id); !errors.Is(err, job.ErrGone) {
		t.Fatal(err)
	} else if private, ok := errors.AsType[*job.PrivateGoneError](err); !ok || private.Owner != tenant {
		t.Errorf("its owner is not known: %v", err)
	}
}

// TestHookOwner: who delivers a webhook learns whose it is.
func TestHookOwner(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{TombstoneTTL: time.Hour, HookTTL: 25 * time.Hour})
	b.ended(t, func(n *job.NewJob) { n.Caller = "@mine" })
	if taken := b.take(t); len(taken) != 1 || taken[0].Owner != "@mine" {
		t.Errorf("%+v", taken)
	}
}
