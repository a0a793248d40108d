package store_test

import (
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// The batches with archives of the records: one whose archive is written, one whose archive was tried, and one that has not ended.
const (
	archivedBatch = "01989d3c-0002-8000-8000-000000000000"
	triedBatch    = "01989d3c-0003-8000-8000-000000000000"
	unendedBatch  = "01989d3c-0004-8000-8000-000000000000"
	// usageTenant has metrics of its own.
	usageTenant = "measured"
)

func (w *writer) archives() {
	ctx := w.t.Context()
	for _, id := range []string{archivedBatch, triedBatch, unendedBatch} {
		w.openBatchOf(w.t, job.NewBatch{ID: id, Caller: batchCaller, ResultTTL: time.Hour, Archive: true})
		if id == unendedBatch {
			return
		}
		w.endBatch(w.t, id)
		claim, _, err := w.TakeArchive(ctx, "token", "", time.Minute)
		w.must(err)
		if id == archivedBatch {
			w.must(w.ArchiveWritten(ctx, *claim, job.BatchArchive{Bytes: 77, Results: 3, Expired: 1}))
		} else {
			w.must(w.LeaveArchive(ctx, *claim, 0, "no room"))
		}
	}
}

// usageStore is a store that counts usage, with a tenant that has metrics of its own.
func (b *bundle) usageStore() *bundle {
	s := store.New(b.rdb, store.Config{RunnerTTL: time.Hour, UsageTTL: 24 * time.Hour, Named: []string{usageTenant}})
	return &bundle{Store: s, rdb: b.rdb, runner: b.runner}
}

func measured(id string) job.NewJob { return named(id, calledBy(job.OwnerOfTenant(usageTenant))) }

// use counts an execution, which stays in the log until it is added up.
func (b *bundle) use(t *testing.T, n job.NewJob) {
	t.Helper()
	must(t, b.Finish(t.Context(), b.claim(t, b.create(t, n)), job.Outcome{State: job.Completed, Result: spending()}))
}

func (w *writer) usage() {
	b := w.usageStore()
	b.use(w.t, measured("used-once"))
	b.use(w.t, named("used-by-another"))
	_, _, err := b.Usage(w.t.Context(), twoDays()) // adds it up
	w.must(err)
	b.use(w.t, measured("used-again"))
}

// twoDays are the days on which something was that was just now.
func twoDays() job.UsageFilter {
	return job.UsageFilter{From: today().AddDate(0, 0, -1), To: today().AddDate(0, 0, 1), All: true, Limit: 10}
}

// usage adds up what is in the log, as each process does.
func (l *lines) usage(t *testing.T, b *bundle) {
	t.Helper()
	days, _, err := b.Usage(t.Context(), twoDays())
	must(t, err)
	for _, u := range days {
		l.add("usage of "+u.Owner, "executions", u.Executions, "run", u.Run, "cpu", u.CPU, "memory", u.MemoryKiBMs, "in", u.BytesIn, "out", u.BytesOut)
	}
	sums, err := b.TenantSums(t.Context())
	must(t, err)
	for _, s := range sums {
		if s.Executions > 0 {
			l.add("sums of "+s.Tenant, "executions", s.Executions, "run", s.Run, "cpu", s.CPU, "memory", s.MemoryKiBMs, "in", s.BytesIn, "out", s.BytesOut)
		}
	}
}

// archivesOld writes the archives that an older process has left.
func archivesOld(t *testing.T, b *bundle) {
	t.Helper()
	ctx := t.Context()
	if b.rdb.Exists(ctx, "{kaa}:batch:"+archivedBatch).Val() == 0 {
		return // the file is older than archives
	}
	for _, id := range []string{triedBatch, unendedBatch} {
		if id == unendedBatch {
			b.endBatch(t, id)
		}
		claim, _, err := b.TakeArchive(ctx, "new", "", time.Minute)
		must(t, err)
		if claim == nil || claim.Batch != id || claim.Owner != batchCaller || (claim.Attempt == 2) != (id == triedBatch) {
			t.Fatalf("taken: %+v, want that of %s", claim, id)
		}
		must(t, b.ArchiveWritten(ctx, *claim, job.BatchArchive{Bytes: 1, Results: 1}))
	}
	if claim, next, err := b.TakeArchive(ctx, "more", "", time.Minute); claim != nil || next >= 0 || err != nil {
		t.Errorf("after all are written: %+v %s %v", claim, next, err)
	}
	must(t, b.RemoveBatch(ctx, archivedBatch))
}

// usageOld goes on counting where an older process was.
func usageOld(t *testing.T, b *bundle) {
	t.Helper()
	if b.rdb.Exists(t.Context(), "{kaa}:used").Val() == 0 {
		return // the file is older than sums
	}
	b = b.usageStore()
	b.use(t, measured("used-now"))
	days, _, err := b.Usage(t.Context(), twoDays())
	must(t, err)
	sums, err := b.TenantSums(t.Context())
	must(t, err)
	var executions int64
	for _, u := range days {
		executions += u.Executions
	}
	if executions != 4 || sums[0].Executions != 3 || sums[1].Executions != 1 {
		t.Errorf("%d executions of %+v; sums %+v", executions, days, sums)
	}
}
