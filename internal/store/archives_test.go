package store_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

// endedBatch records a batch with one job that is cancelled, and returns its id.
func (b *bundle) endedBatch(t *testing.T, caller string, archive bool) string {
	t.Helper()
	id := b.openBatchOf(t, job.NewBatch{Caller: caller, ResultTTL: time.Hour, Archive: archive})
	b.endBatch(t, id)
	return id
}

func (b *bundle) openBatchOf(t *testing.T, n job.NewBatch) string {
	t.Helper()
	if n.ID == "" {
		n.ID = job.NewBatchID()
	}
	n.Writer = "w"
	if _, err := b.OpenBatch(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	data, codes, err := b.PackBatch([]*job.NewJob{new(newJob(of(n.Caller)))})
	if err != nil {
		t.Fatal(err)
	}
	to := job.BatchPlace{Lines: 1, Jobs: 1}
	if err := b.AddToBatch(t.Context(), job.BatchChunk{Batch: n.ID, Writer: "w", To: to, Data: data, Codes: codes}); err != nil {
		t.Fatal(err)
	}
	if err := b.CloseBatch(t.Context(), n.ID, "w", 1); err != nil {
		t.Fatal(err)
	}
	return n.ID
}

// endBatch ends a batch without a record of its job.
func (b *bundle) endBatch(t *testing.T, id string) {
	t.Helper()
	if err := b.CancelBatch(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := b.Fed(t.Context(), job.BatchProgress{ID: id}, 1, job.Cancelled); err != nil {
		t.Fatal(err)
	}
}

// TestBatchArchives: the archive of a batch is taken once it has ended, by one process at a time; it lives and goes with the batch.
func TestBatchArchives(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{TombstoneTTL: time.Hour})
	take := func(token, last string) *job.ArchiveClaim {
		t.Helper()
		c, _, err := b.TakeArchive(t.Context(), token, last, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := take("none", ""); c != nil {
		t.Errorf("without batches: %+v", c)
	}
	b.endedBatch(t, "@acme", false)
	id := b.openBatchOf(t, job.NewBatch{Caller: "@acme", ResultTTL: time.Hour, Archive: true})
	if c, next, err := b.TakeArchive(t.Context(), "early", "", time.Minute); c != nil || err != nil || next <= 0 {
		t.Errorf("before its end: %+v %s %v", c, next, err)
	}
	b.endBatch(t, id)
	first := take("1", "")
	if first == nil || first.Batch != id || first.Owner != "@acme" || first.Attempt != 1 {
		t.Fatalf("taken: %+v", first)
	}
	if c := take("2", ""); c != nil {
		t.Errorf("taken again under the lease: %+v", c)
	}
	due := func() { b.rdb.ZAddXX(t.Context(), "{kaa}:batches:archives", redis.Z{Member: id}) }
	due() // the lease is over
	second := take("3", "")
	if second == nil || second.Attempt != 2 {
		t.Fatalf("after the lease: %+v", second)
	}
	for what, err := range map[string]error{
		"goes on": b.LeaveArchive(t.Context(), *first, time.Minute, ""), "has written": b.ArchiveWritten(t.Context(), *first, job.BatchArchive{Bytes: 1}),
	} {
		if !errors.Is(err, job.ErrStale) {
			t.Errorf("the one before %s: %v", what, err)
		}
	}
	if err := b.LeaveArchive(t.Context(), *second, time.Hour, "no room"); err != nil {
		t.Error(err)
	}
	if got, err := b.Batch(t.Context(), id); err != nil || got.Archive == nil || got.Archive.State != job.ArchiveWaiting || got.Archive.Error != "no room" {
		t.Errorf("left: %+v %v", got.Archive, err)
	}
	due()
	// Owners take turns.
	other := b.endedBatch(t, "@other", true)
	if c := take("4", "@acme"); c == nil || c.Batch != other || b.ArchiveWritten(t.Context(), *c, job.BatchArchive{Bytes: 1}) != nil {
		t.Errorf("after one of acme: %+v", c)
	}
	third := take("5", "@acme")
	for range 2 {
		if err := b.ArchiveWritten(t.Context(), *third, job.BatchArchive{Bytes: 77, Results: 1, Expired: 1}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := b.Batch(t.Context(), id)
	if err != nil || *got.Archive != (job.BatchArchive{State: job.ArchiveWritten, Bytes: 77, Results: 1, Expired: 1, Token: "5"}) {
		t.Errorf("written: %+v %v", got.Archive, err)
	}
	if c := take("6", ""); c != nil || b.rdb.Exists(t.Context(), "{kaa}:batches:archives").Val() != 0 {
		t.Errorf("after all are written: %+v", c)
	}
}

// TestArchiveBlobs: the blobs of an archive belong to its batch: they count, are no orphans, and expire with it or go when it is deleted.
func TestArchiveBlobs(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{TombstoneTTL: time.Hour})
	id := b.endedBatch(t, "@acme", true)
	c, _, err := b.TakeArchive(t.Context(), "1", "", time.Minute)
	if err != nil || c == nil {
		t.Fatal(c, err)
	}
	if err := b.RoomForInputs(t.Context(), id, c.Owner, 8192); err != nil {
		t.Fatal(err)
	}
	expired := func() []string {
		t.Helper()
		b.rdb.ZAddXX(t.Context(), "{kaa}:blobs", redis.Z{Member: id})
		ids, err := b.Expired(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	if ids := expired(); len(ids) != 0 {
		t.Errorf("while it is written: %v", ids)
	}
	if err := b.ArchiveWritten(t.Context(), *c, job.BatchArchive{Bytes: 8000}); err != nil {
		t.Fatal(err)
	}
	if at := b.rdb.ZScore(t.Context(), "{kaa}:blobs", id).Val(); at < float64(time.Now().Add(50*time.Minute).UnixMilli()) {
		t.Errorf("it goes at %f", at)
	}
	if ids := expired(); len(ids) != 0 {
		t.Errorf("while the batch lives: %v", ids)
	}
	never := job.NewBatchID()
	if ids, err := b.Unknown(t.Context(), []string{id, never}); err != nil || !slices.Equal(ids, []string{never}) {
		t.Errorf("unknown: %v %v", ids, err)
	}
	if p, err := b.PresentUse(t.Context(), "@acme"); err != nil || p.Files.Used != 8192 {
		t.Errorf("files: %+v %v", p.Files, err)
	}
	if err := b.RemoveBatch(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if ids, err := b.Expired(t.Context(), 10); err != nil || !slices.Equal(ids, []string{id}) {
		t.Errorf("after its deletion: %v %v", ids, err)
	}
	if err := b.ForgetBlobs(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if p, err := b.PresentUse(t.Context(), "@acme"); err != nil || p.Files.Used != 0 || p.Bytes.Used != 0 {
		t.Errorf("at the end: %+v %v", p, err)
	}
	if err := b.ArchiveWritten(t.Context(), *c, job.BatchArchive{}); !errors.Is(err, job.ErrNoBatch) {
		t.Errorf("a late process: %v", err)
	}
}
