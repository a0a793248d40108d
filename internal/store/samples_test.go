package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// TestSamples: a sample has what all processes counted, and what the queues and runners had at the last look. It expires.
func TestSamples(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	for _, r := range []job.Runner{{ID: b.runner, Concurrency: 4, Active: 1, Parked: 3, Sessions: 2, MemoryBytes: 5 << 30, MemoryLimit: 8 << 30}, {ID: "r2", Concurrency: 2, Parked: 2}} {
		if err := b.Beat(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	b.claim(t, b.create(t, newJob()))
	b.create(t, newJob())
	now := time.Now()
	number := job.SampleNumber(now)
	for _, counts := range []map[int64]map[string]job.QueueCount{
		{number: {"default": {Accepted: 5, Ended: 1, Waited: time.Second, Took: 3 * time.Second}}, number - 2: {"low": {Accepted: 1}}},
		{number: {"default": {Ended: 3, Failed: 2, Waited: time.Second, Took: time.Second}}},
		nil,
	} {
		if err := b.AddToSamples(t.Context(), counts); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second look replaces the first one
		if err := b.Sample(t.Context(), now, []string{"critical", "default"}); err != nil {
			t.Fatal(err)
		}
	}
	at := time.UnixMilli(number * job.SampleEvery.Milliseconds()).UTC()
	want := []job.Sample{
		{At: at.Add(-2 * job.SampleEvery), Queues: []job.QueueSample{{Name: "low", Accepted: 1}}},
		{
			At: at, Fleet: &job.FleetSample{Runners: 2, Slots: 6, Busy: 1, Parked: 5, Sessions: 2, MemoryBytes: 5 << 30, MemoryLimit: 8 << 30},
			Queues: []job.QueueSample{{Name: "default", Depth: 1, Active: 1, Accepted: 5, Ended: 4, Failed: 2, WaitedMs: 500, TookMs: 1000}},
		},
	}
	got, err := b.Samples(t.Context(), now.Add(-time.Hour), now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		for k := range got[i].Queues {
			got[i].Queues[k].OldestAgeSec = 0 // TestOldest
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
	if recent, err := b.Samples(t.Context(), now, now); err != nil || len(recent) != 1 {
		t.Errorf("%d samples from now on, %v", len(recent), err)
	}
	if far, err := b.Samples(t.Context(), time.Time{}, now); err != nil || len(far) != 2 {
		t.Errorf("%d samples of all times, %v", len(far), err)
	}
	for _, key := range b.rdb.Keys(t.Context(), "{kaa}:sample:*").Val() {
		if ttl := b.rdb.TTL(t.Context(), key).Val(); ttl <= 0 || ttl > 2*job.SamplesFor {
			t.Errorf("%s expires in %s", key, ttl)
		}
	}
}

// TestSessionsUse: what runners note of their sessions is read for a list of them, until it expires.
func TestSessionsUse(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	for runner, used := range map[string]map[string]int64{"r1": {"a": 1 << 40, "b": 2}, "r2": {"c": 3}} {
		if err := b.SessionsUse(t.Context(), runner, used, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	got, err := b.SessionsUsed(t.Context(), []string{"r1", "r2", "r3"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"a": 1 << 40, "b": 2, "c": 3}, got); diff != "" {
		t.Errorf("memory (-want +got):\n%s", diff)
	}
	if none, err := b.SessionsUsed(t.Context(), nil); err != nil || len(none) != 0 {
		t.Errorf("of no runner: %v, %v", none, err)
	}
	if ttl := b.rdb.TTL(t.Context(), "{kaa}:runner:r1:memory").Val(); ttl <= 0 || ttl > time.Minute {
		t.Errorf("it expires in %s", ttl)
	}
}
