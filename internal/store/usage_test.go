package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// today is the day in UTC.
func today() time.Time { return time.Now().UTC().Truncate(24 * time.Hour) }

// usageOf is the sum of what the owners of a filter took, from three days ago until tomorrow.
func usageOf(t *testing.T, s *store.Store, f job.UsageFilter) (sum job.Usage) {
	t.Helper()
	f.From, f.To, f.Limit = today().AddDate(0, 0, -3), today().AddDate(0, 0, 1), 1000
	days, next, err := s.Usage(t.Context(), f)
	if err != nil || next != "" {
		t.Fatal(next, err)
	}
	for _, d := range days {
		sum.Executions += d.Executions
		sum.Run += d.Run
		sum.CPU += d.CPU
		sum.MemoryKiBMs += d.MemoryKiBMs
		sum.BytesIn += d.BytesIn
		sum.BytesOut += d.BytesOut
		sum.Sessions += d.Sessions
		sum.SessionTime += d.SessionTime
	}
	return sum
}

// spending is a result of which the figures are known.
func spending() *job.Result {
	return &job.Result{Status: job.StatusError, DurationMs: 2000, CPUMs: 1500.25, PeakMemoryBytes: 10 << 20}
}

// TestUsageCountsOnce: a job counts once if its code has begun, whichever way it ends and however often that is sent. One
// that never began takes no time.
func TestUsageCountsOnce(t *testing.T) {
	t.Parallel()
	spent := job.Usage{Executions: 1, Run: 2 * time.Second, CPU: 1500250 * time.Microsecond, MemoryKiBMs: 10 << 10 * 2000}
	began := job.Usage{Executions: 1}
	finish := func(o job.Outcome) func(b *bundle, id string) error {
		return func(b *bundle, id string) error { return b.Finish(t.Context(), b.claim(t, id), o) }
	}
	failure := &job.Failure{Code: job.FailStoreFull, Message: "m"}
	for name, c := range map[string]struct {
		end  func(b *bundle, id string) error
		want job.Usage
	}{
		"failed code":       {finish(job.Outcome{State: job.Completed, Result: spending()}), spent},
		"cancelled":         {finish(job.Outcome{State: job.Cancelled, Result: spending()}), spent},
		"without a result":  {finish(job.Outcome{State: job.Failed, Failure: failure, Spent: spending().Spent()}), spent},
		"without any":       {finish(job.Outcome{State: job.Failed, Failure: failure}), began},
		"cancelled waiting": {func(b *bundle, id string) error { _, err := b.Cancel(t.Context(), id); return err }, job.Usage{}},
		"rejected": {func(b *bundle, id string) error {
			if err := b.Reject(t.Context(), id, *failure); !errors.Is(err, job.ErrStale) { // the second of two
				return err
			}
			return nil
		}, job.Usage{}},
		"a second attempt": {func(b *bundle, id string) error {
			if _, err := b.GiveBack(t.Context(), b.claim(t, id), job.Failure{Code: job.FailDrained}); err != nil && !errors.Is(err, job.ErrStale) {
				return err
			}
			return b.Finish(t.Context(), b.claim(t, id), job.Outcome{State: job.Completed, Result: spending()})
		}, spent},
		"a lost runner": {func(b *bundle, id string) error {
			for range 2 {
				b.claim(t, id)
				b.rdb.Del(t.Context(), "{kaa}:runner:"+b.runner)
				if _, _, err := b.rescue(t); err != nil {
					return err
				}
				if err := b.Beat(t.Context(), job.Runner{ID: b.runner}); err != nil {
					return err
				}
			}
			return nil
		}, began},
		"under way": {func(b *bundle, id string) error { b.claim(t, id); return nil }, job.Usage{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, store.Config{UsageTTL: time.Hour})
			b.rdb.AddHook(twice{})
			if err := c.end(b, b.create(t, newJob(of("@team"), attempts(2)))); err != nil {
				t.Fatal(err)
			}
			got := usageOf(t, b.Store, job.UsageFilter{Owner: "@team"})
			if over := name != "under way"; over != (got.BytesIn > 50) {
				t.Errorf("bytes in: %d", got.BytesIn)
			}
			got.BytesIn, got.BytesOut = 0, 0
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("usage (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUsageOfFiles: files that come with a job and those that it leaves are bytes in and out. An operation on a session
// is no execution.
func TestUsageOfFiles(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{UsageTTL: time.Hour})
	b.rdb.AddHook(twice{})
	n := newJob(of("me"), bringing)
	if err := b.RoomForInputs(t.Context(), n.Job.ID, "me", 5_000_000); err != nil {
		t.Fatal(err)
	}
	r := spending()
	r.Files = []job.File{job.NewFile("b", 3_000_000, "text/plain")}
	if err := b.Finish(t.Context(), b.claim(t, b.create(t, n)), job.Outcome{State: job.Completed, Result: r}); err != nil {
		t.Fatal(err)
	}
	s := b.openSession(t)
	b.create(t, newJob(inSession(s.ID, "list")))
	c, err := b.NextInSession(t.Context(), s.ID, job.LaneDefault, "r", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.FinishInSession(t.Context(), *c, job.Outcome{State: job.Completed, Data: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	if u := usageOf(t, b.Store, job.UsageFilter{Owner: "me"}); u.Executions != 1 || u.BytesIn < 5_000_000 || u.BytesIn > 5_010_000 || u.BytesOut < 3_000_000 || u.BytesOut > 3_010_000 {
		t.Errorf("%+v", u)
	}
}

// TestUsageOfSessions: the time of a session counts on each of its days, once.
func TestUsageOfSessions(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{UsageTTL: time.Hour})
	b.rdb.AddHook(twice{})
	s := b.openSession(t)
	began := time.Now().Add(-48 * time.Hour).UTC()
	if err := b.rdb.HSet(t.Context(), "{kaa}:session:"+s.ID, "created_at", began.UnixMilli()).Err(); err != nil {
		t.Fatal(err)
	}
	if u := usageOf(t, b.Store, job.UsageFilter{All: true}); u != (job.Usage{}) {
		t.Errorf("before its end: %+v", u)
	}
	if err := b.EndSession(t.Context(), s.ID, job.SessionEnd{Reason: job.EndDeleted, Message: "m"}); err != nil {
		t.Fatal(err)
	}
	ended := time.Now()
	sum := usageOf(t, b.Store, job.UsageFilter{Owner: "me"})
	if sum.Sessions != 1 || sum.SessionTime < 48*time.Hour || sum.SessionTime > ended.Sub(began)+time.Second {
		t.Errorf("%+v", sum)
	}
	first := began.Truncate(24 * time.Hour)
	days, _, err := b.Usage(t.Context(), job.UsageFilter{From: first, To: first.AddDate(0, 0, 1), Owner: "me", Limit: 10})
	if err != nil || len(days) != 2 || days[1].SessionTime != 24*time.Hour || days[0].SessionTime != first.AddDate(0, 0, 1).Sub(began.Truncate(time.Millisecond)) {
		t.Errorf("%+v %v", days, err)
	}
}

// TestUsagePages: the figures of all owners come in pages, those of one owner without those of others. They expire.
func TestUsagePages(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{UsageTTL: time.Hour})
	for i := range 5 {
		if _, err := b.Cancel(t.Context(), b.create(t, newJob(of(fmt.Sprint("@team", i))))); err != nil {
			t.Fatal(err)
		}
	}
	var owners []string
	f := job.UsageFilter{From: today().AddDate(0, 0, -40), To: today().AddDate(0, 0, 40), All: true, Limit: 2}
	for pages := 0; ; pages++ {
		some, next, err := b.Usage(t.Context(), f)
		if err != nil || pages > 3 {
			t.Fatal(pages, err)
		}
		for _, u := range some {
			owners = append(owners, u.Owner)
		}
		if f.Cursor = next; next == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"@team0", "@team1", "@team2", "@team3", "@team4"}, owners); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
	f.All, f.Owner, f.Cursor, f.Limit = false, "@team3", "", 100
	if own, next, err := b.Usage(t.Context(), f); err != nil || next != "" || len(own) != 1 || own[0].Owner != "@team3" {
		t.Errorf("%+v %q %v", own, next, err)
	}
	for _, cursor := range []string{"x", "2026-01-01", "2026-01-01.", "2026-13-01.a"} {
		f.Cursor = cursor
		if _, _, err := b.Usage(t.Context(), f); !errors.Is(err, job.ErrCursor) {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
	for _, key := range b.rdb.Keys(t.Context(), "{kaa}:usage:*").Val() {
		if ttl := b.rdb.TTL(t.Context(), key).Val(); ttl <= 0 || ttl > time.Hour {
			t.Errorf("%s expires after %s", key, ttl)
		}
	}
	off := setup(t, store.Config{})
	if _, err := off.Cancel(t.Context(), off.create(t, newJob())); err != nil {
		t.Fatal(err)
	}
	if u := usageOf(t, off.Store, job.UsageFilter{All: true}); u != (job.Usage{}) {
		t.Errorf("without a time to keep them: %+v", u)
	}
}

// TestTenantSums: the figures of all days of named tenants, and of all others together.
func TestTenantSums(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{UsageTTL: time.Hour, Named: []string{"acme", "idle"}})
	for _, caller := range []string{"@acme", "@acme", "@rival", "@acm", "anonymous"} {
		if err := b.Finish(t.Context(), b.claim(t, b.create(t, newJob(of(caller)))), job.Outcome{State: job.Completed, Result: spending()}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Sweep(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	sums, err := b.TenantSums(t.Context())
	if err != nil || len(sums) != 3 {
		t.Fatalf("%+v %v", sums, err)
	}
	for i, want := range []struct {
		tenant     string
		executions int64
		stores     bool
	}{{"acme", 2, true}, {"idle", 0, false}, {"", 3, true}} {
		if s := sums[i]; s.Tenant != want.tenant || s.Executions != want.executions || (s.CPU > 0) != (want.executions > 0) || (s.Bytes > 0) != want.stores {
			t.Errorf("%d: %+v, want %+v", i, s, want)
		}
	}
	if all := sums[0].Bytes + sums[2].Bytes; fmt.Sprint(all) != b.rdb.HGet(t.Context(), "{kaa}:bytes", "*").Val() {
		t.Errorf("bytes of all: %d", all)
	}
}
