package store_test

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/testenv"
)

const kb = 1024

// kept says what the files of a caller take; "*" stands for all callers.
func (b *bundle) kept(t *testing.T, caller string) int64 {
	t.Helper()
	n, err := b.rdb.HGet(t.Context(), "{kaa}:files", caller).Int64()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	return n
}

// isFull tells whether files are refused, and because of whom.
func isFull(t *testing.T, err error) string {
	t.Helper()
	full, ok := errors.AsType[*job.FilesFullError](err)
	switch {
	case err == nil:
		return ""
	case !ok:
		t.Fatal(err)
	case full.All:
		return "all"
	}
	return "caller"
}

// TestRoomForFiles: what files take is bounded for each caller and for all, whatever it is that brings
// or leaves them, and however many callers take what they can, there is some for another.
func TestRoomForFiles(t *testing.T) {
	t.Parallel()
	type take struct {
		caller string
		kb     int64
		full   string
	}
	for name, c := range map[string]struct {
		cfg   store.Config
		takes []take
	}{
		"no bounds":       {store.Config{}, []take{{"a", 1 << 30, ""}, {"", 1 << 30, ""}}},
		"a bound for all": {store.Config{MaxFiles: 1000 * kb}, []take{{"a", 501, "caller"}, {"a", 500, ""}, {"a", 1, "caller"}, {"b", 250, ""}, {"b", 1, "caller"}, {"c", 125, ""}, {"d", 62, ""}}},
		"no keys":         {store.Config{MaxFiles: 1000 * kb, OneCaller: true}, []take{{"", 1000, ""}, {"", 1, "caller"}}},
		"one key":         {store.Config{MaxFiles: 1000 * kb, OneCaller: true}, []take{{"a", 1000, ""}, {"a", 1, "caller"}}},
		"of each key":     {store.Config{MaxCallerFiles: 300 * kb}, []take{{"a", 300, ""}, {"a", 1, "caller"}, {"b", 300, ""}, {"c", 301, "caller"}}},
		"both":            {store.Config{MaxFiles: 1000 * kb, MaxCallerFiles: 600 * kb}, []take{{"a", 600, ""}, {"b", 401, "all"}, {"b", 400, ""}, {"b", 1, "all"}, {"c", 1, "all"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, leaves := range []bool{false, true} {
				b := setup(t, c.cfg)
				b.rdb.AddHook(twice{})
				for i, take := range c.takes {
					var err error
					if leaves {
						err = b.RoomForOutputs(t.Context(), b.claim(t, b.create(t, newJob(of(take.caller)))), take.kb*kb)
					} else {
						err = b.RoomForInputs(t.Context(), newJob().Job.ID, take.caller, take.kb*kb)
					}
					if got := isFull(t, err); got != take.full {
						t.Errorf("outputs %v, %d: full is %q, want %q: %v", leaves, i, got, take.full, err)
					}
				}
			}
		})
	}
}

// TestRoomIsGivenBack: whatever becomes of files and of those who store them, what they take counts
// until they are deleted, and no longer.
func TestRoomIsGivenBack(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{MaxFiles: 1000 * kb})
	b.rdb.AddHook(twice{})
	left := result()
	left.Files = []job.File{job.NewFile("b", 100*kb, "text/plain"), job.NewFile("c", 50*kb, "text/plain")}
	both := job.Footprint(100*kb) + job.Footprint(50*kb)
	is := func(what string, want int64) {
		t.Helper()
		if own, all := b.kept(t, "a"), b.kept(t, "*"); own != want || all != want {
			t.Errorf("%s: the files of a take %d, all %d, want %d", what, own, all, want)
		}
	}
	// clean does what the cleaner does, until nothing is left.
	clean := func(what string) {
		t.Helper()
		testenv.Eventually(t, what, func() bool {
			ids, err := b.Expired(t.Context(), 10)
			if err == nil && len(ids) > 0 {
				err = b.ForgetBlobs(t.Context(), ids...)
			}
			if err != nil {
				t.Fatal(err)
			}
			return b.kept(t, "*") == 0
		})
		if keys, err := b.rdb.Keys(t.Context(), "{kaa}:kept:*").Result(); err != nil || len(keys) > 0 {
			t.Errorf("%s: left %v, %v", what, keys, err)
		}
	}

	expire := func(id string) {
		t.Helper()
		b.expire(t, id)
		if err := b.rdb.ZAdd(t.Context(), "{kaa}:blobs", redis.Z{Score: 1, Member: id}).Err(); err != nil {
			t.Fatal(err)
		}
	}

	// A process dies between storing files and recording their job.
	lost := newJob().Job.ID
	if err := b.RoomForInputs(t.Context(), lost, "a", 10*kb); err != nil {
		t.Fatal(err)
	}
	is("of nothing that is recorded", 10*kb)
	if ids, err := b.Expired(t.Context(), 10); len(ids) > 0 || err != nil {
		t.Errorf("files of what may still be recorded are to be deleted: %v %v", ids, err)
	}
	if err := b.rdb.ZAdd(t.Context(), "{kaa}:blobs", redis.Z{Score: 1, Member: lost}).Err(); err != nil { // its time is over
		t.Fatal(err)
	}
	clean("inputs without a job")

	// A job that brings files, loses an attempt, and leaves some.
	n := newJob(of("a"), bringing, func(n *job.NewJob) { n.Job.MaxAttempts = 2 })
	if err := b.RoomForInputs(t.Context(), n.Job.ID, "a", 20*kb); err != nil {
		t.Fatal(err)
	}
	id := b.create(t, n)
	first := b.claim(t, id)
	if err := b.RoomForOutputs(t.Context(), first, 30*kb); err != nil {
		t.Fatal(err)
	}
	// It is sent twice, and the second time the claim is none any more.
	if _, err := b.GiveBack(t.Context(), first, job.Failure{Code: job.FailDrained}); !errors.Is(err, job.ErrStale) {
		t.Fatal(err)
	}
	second := b.claim(t, id)
	if err := b.RoomForOutputs(t.Context(), first, 40*kb); !errors.Is(err, job.ErrStale) {
		t.Errorf("a claim that was lost: %v", err)
	}
	if err := b.RoomForOutputs(t.Context(), second, 400*kb); err != nil {
		t.Fatal(err)
	}
	is("of what an attempt may leave", 450*kb)
	if err := b.rdb.ZAdd(t.Context(), "{kaa}:blobs", redis.Z{Score: 1, Member: id}).Err(); err != nil { // it was recorded in time
		t.Fatal(err)
	}
	if ids, err := b.Expired(t.Context(), 10); len(ids) > 0 || err != nil {
		t.Errorf("files of what runs are to be deleted: %v %v", ids, err)
	}
	if err := b.Finish(t.Context(), second, job.Outcome{State: job.Completed, Result: left}); err != nil {
		t.Fatal(err)
	}
	is("after the end", 50*kb+both)
	for range 2 {
		if err := b.DropFile(t.Context(), id, job.OutputKey(id, 2, "c"), 50*kb); err != nil {
			t.Fatal(err)
		}
	}
	is("with a file deleted", 50*kb+job.Footprint(100*kb))
	expire(id)
	clean("an ended job")

	// Files of which the end does not tell: the runner died, or the result had no room.
	id = b.create(t, newJob(of("a")))
	claim := b.claim(t, id)
	if err := b.RoomForOutputs(t.Context(), claim, 30*kb); err != nil {
		t.Fatal(err)
	}
	if err := b.Finish(t.Context(), claim, job.Outcome{State: job.Failed, Failure: &job.Failure{Code: job.FailStoreFull}}); err != nil {
		t.Fatal(err)
	}
	is("of an end without files", 30*kb)
	expire(id)
	clean("an end without files")
}
