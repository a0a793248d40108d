package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// hookedBatch records a batch of n jobs with a webhook, and returns its id and those of its jobs, which have records.
func (b *bundle) hookedBatch(t *testing.T, n, percent int, caller string) (id string, jobs []string) {
	t.Helper()
	id = job.NewBatchID()
	hook := job.BatchHook{URL: "https://example.com", Percent: percent}
	if _, err := b.OpenBatch(t.Context(), job.NewBatch{ID: id, Caller: caller, Writer: "w", ResultTTL: time.Hour, Hook: hook, HookSecret: "hunter2"}); err != nil {
		t.Fatal(err)
	}
	all := make([]*job.NewJob, n)
	for i := range all {
		all[i] = new(newJob(of(caller)))
	}
	data, codes, err := b.PackBatch(all)
	if err != nil {
		t.Fatal(err)
	}
	to := job.BatchPlace{Lines: int64(n), Jobs: int64(n)}
	if err := b.AddToBatch(t.Context(), job.BatchChunk{Batch: id, Writer: "w", To: to, Data: data, Codes: codes}); err != nil {
		t.Fatal(err)
	}
	if err := b.CloseBatch(t.Context(), id, "w", int64(n)); err != nil {
		t.Fatal(err)
	}
	fed, count, err := b.NextChunk(t.Context(), job.BatchProgress{ID: id, Jobs: int64(n), Owner: caller})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range fed {
		jobs = append(jobs, b.create(t, n))
	}
	if err := b.Fed(t.Context(), job.BatchProgress{ID: id}, count, ""); err != nil {
		t.Fatal(err)
	}
	return id, jobs
}

// TestBatchHooks: each crossing of a batch is a message of its own, once, that is due until it is delivered or given up.
func TestBatchHooks(t *testing.T) {
	t.Parallel()
	cfg := store.Config{TombstoneTTL: time.Hour, HookTTL: 25 * time.Hour}
	b := setupAlone(t, cfg)
	id, jobs := b.hookedBatch(t, 8, 25, "@acme")
	twiceSent := redis.NewClient(b.rdb.Options())
	t.Cleanup(func() { _ = twiceSent.Close() })
	twiceSent.AddHook(twice{})
	again := store.New(twiceSent, cfg)
	settle := func(d job.Delivery, r job.Report) error { t.Helper(); return again.SettleHook(t.Context(), d, r) }
	var got []string
	take := func() []job.Delivery {
		t.Helper()
		taken, _, err := b.TakeHooks(t.Context(), 10, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range taken {
			if d.BatchID != id || d.JobID != "" || d.Secret != "hunter2" {
				t.Errorf("%+v", d)
			}
			got = append(got, fmt.Sprintf("%d/%d", d.Percent, d.Attempt))
		}
		return taken
	}
	var all []job.Delivery
	for _, j := range jobs[:7] {
		if _, err := again.Cancel(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		all = append(all, take()...)
	}
	if want := []string{"25/1", "50/1", "75/1"}; !slices.Equal(got, want) {
		t.Fatalf("messages %v, want %v", got, want)
	}
	if err := b.SettleHook(t.Context(), all[0], job.Report{State: job.WebhookDelivered, Status: 200}); err != nil {
		t.Error(err)
	}
	if err := settle(all[1], job.Report{State: job.WebhookPending, Status: 503, Error: "busy"}); err != nil {
		t.Error(err)
	}
	got = nil
	if all[1] = take()[0]; !slices.Equal(got, []string{"50/2"}) {
		t.Errorf("again: %v", got)
	}
	if err := settle(job.Delivery{BatchID: id, Percent: 50, Attempt: 1}, job.Report{State: job.WebhookFailed}); !errors.Is(err, job.ErrStale) {
		t.Errorf("an old attempt reports: %v", err)
	}
	if _, err := b.Cancel(t.Context(), jobs[7]); err != nil {
		t.Fatal(err)
	}
	last := take()
	if len(last) != 1 || last[0].Percent != 100 {
		t.Fatalf("at the end: %+v", last)
	}
	if ttl := b.rdb.PTTL(t.Context(), "{kaa}:batch:"+id).Val(); ttl < 24*time.Hour {
		t.Errorf("the record lives %s while messages are due", ttl)
	}
	if n, err := b.PendingHooks(t.Context()); n != 3 || err != nil {
		t.Errorf("%d are pending: %v", n, err)
	}
	for i, d := range []job.Delivery{all[1], all[2], last[0]} {
		state := job.WebhookDelivered
		if i == 1 {
			state = job.WebhookFailed
		}
		if err := b.SettleHook(t.Context(), d, job.Report{State: state, Status: 200}); err != nil {
			t.Error(err)
		}
		if err := settle(d, job.Report{State: state, Status: 200}); !errors.Is(err, job.ErrStale) {
			t.Errorf("reported again: %v", err)
		}
	}
	batch, err := b.Batch(t.Context(), id)
	if h := batch.Hook; err != nil || h == nil || h.Pending != 0 || h.Delivered != 3 || h.Failed != 1 || h.LastStatus != 200 {
		t.Errorf("%+v, %v", batch.Hook, err)
	}
	if ttl := b.rdb.PTTL(t.Context(), "{kaa}:batch:"+id).Val(); ttl > time.Hour || ttl < 50*time.Minute {
		t.Errorf("the record lives %s when all are delivered", ttl)
	}
	if b.rdb.HExists(t.Context(), "{kaa}:batch:"+id, "hook_secret").Val() {
		t.Error("the secret stays")
	}
}

// TestBatchHooksOfOthers: a batch that is gone has no messages any more, few jobs skip percents, and the webhooks of jobs and of
// batches leave places to each other.
func TestBatchHooksOfOthers(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{})
	id, jobs := b.hookedBatch(t, 2, 1, "me")
	other := b.ended(t)
	if _, err := b.Cancel(t.Context(), jobs[0]); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{other, id} { // one place: what is due first
		taken, _, err := b.TakeHooks(t.Context(), 1, time.Minute)
		if err != nil || len(taken) != 1 || taken[0].JobID+taken[0].BatchID != want {
			t.Errorf("taken %+v, %v", taken, err)
		}
	}
	if _, err := b.Cancel(t.Context(), jobs[1]); err != nil {
		t.Fatal(err)
	}
	if n := b.rdb.ZCard(t.Context(), "{kaa}:batches:hooks").Val(); n != 2 {
		t.Errorf("%d messages of two jobs", n)
	}
	if err := b.RemoveBatch(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if taken := b.take(t); len(taken) != 0 || b.rdb.ZCard(t.Context(), "{kaa}:batches:hooks").Val() > 1 {
		t.Errorf("of a batch that is gone: %+v", taken)
	}
}
