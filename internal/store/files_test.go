package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/testenv"
)

func bringing(n *job.NewJob) { n.Spec.Files = []job.Input{{Path: "a", Size: 1}} }

func briefly(n *job.NewJob) { n.Job.ResultTTL = 50 * time.Millisecond }

// expire lets the time to live of a job's record run out, and the times of all that counts until then.
func (b *bundle) expire(t *testing.T, id string) {
	t.Helper()
	err := b.rdb.Del(t.Context(), "{kaa}:job:"+id).Err()
	for _, key := range []string{"{kaa}:expiry", "{kaa}:bytes:due"} {
		if err == nil {
			err = b.rdb.ZUnionStore(t.Context(), key, &redis.ZStore{Keys: []string{key}, Weights: []float64{0}}).Err()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestFilesOfAJob: the request's files are in its claim, without their content; the
// result's are listed until they are deleted.
func TestFilesOfAJob(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{})
	b.rdb.AddHook(twice{})
	id := b.create(t, newJob(bringing))
	claim := b.claim(t, id)
	if diff := cmp.Diff([]job.Input{{Path: "a", Size: 1}}, claim.Spec.Files); diff != "" {
		t.Errorf("files of the claim (-want +got):\n%s", diff)
	}
	r := result()
	r.Files = []job.File{job.NewFile("b", 2, "text/plain"), job.NewFile("\xff", 3, "text/plain")}
	r.FilesDropped = &job.FilesDropped{Count: 1, Bytes: 5, Reason: "why"}
	if err := b.Finish(t.Context(), claim, job.Outcome{State: job.Completed, Result: r}); err != nil {
		t.Fatal(err)
	}
	j := b.get(t, id)
	got, key := j.Result, func(path string) string { return job.OutputKey(id, 1, path) }
	want := []job.File{{Path: "b", Size: 2, Type: "text/plain"}, {Path: `\xff`, Escaped: true, Size: 3, Type: "text/plain"}}
	if diff := cmp.Diff(want, got.Files); diff != "" || got.FilesDropped == nil {
		t.Errorf("files of the result (-want +got), dropped %v:\n%s", got.FilesDropped, diff)
	}
	if got, want := j.OutputKey(want[1]), key("\xff"); got != want {
		t.Errorf("key %s, want %s", got, want)
	}
	for range 2 {
		if err := b.DropFile(t.Context(), id, key("b"), 2); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want[1:], b.get(t, id).Result.Files); diff != "" {
		t.Errorf("after the deletion (-want +got):\n%s", diff)
	}
	if err := b.DropFile(t.Context(), "unknown", "x", 1); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("of an unknown job: %v", err)
	}
}

// TestBlobsExpire: jobs with files, and only those, are to be cleaned up after, once
// their records are gone.
func TestBlobsExpire(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{HookTTL: time.Hour})
	r := result()
	r.Files = []job.File{job.NewFile("b", 2, "text/plain")}
	finish := func(r *job.Result, change ...func(*job.NewJob)) string {
		id := b.create(t, newJob(append(change, briefly)...))
		if err := b.Finish(t.Context(), b.claim(t, id), job.Outcome{State: job.Completed, Result: r}); err != nil {
			t.Fatal(err)
		}
		return id
	}
	without := finish(result())
	left, brought := finish(r), finish(result(), bringing)
	hook := finish(r, hooked)
	waiting := b.create(t, newJob(bringing))
	read := b.create(t, newJob(inSession(b.openSession(t).ID, job.OpReadFile), briefly))
	claim, err := b.NextInSession(t.Context(), b.get(t, read).SessionID, job.LaneDefault, "r", true)
	if err != nil || claim == nil {
		t.Fatal(claim, err)
	}
	if _, _, err := b.FinishInSession(t.Context(), *claim, job.Outcome{State: job.Completed, Data: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	cancelled := b.create(t, newJob(bringing, briefly))
	if _, err := b.Cancel(t.Context(), cancelled); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	testenv.Eventually(t, "all that have expired are found", func() bool {
		ids, err := b.Expired(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			seen[id] = true
		}
		return len(seen) == 4
	})
	if diff := cmp.Diff(map[string]bool{left: true, brought: true, cancelled: true, read: true}, seen); diff != "" {
		t.Errorf("expired (-want +got); without files %s, with a webhook %s, waiting %s:\n%s", without, hook, waiting, diff)
	}
	if err := b.ForgetBlobs(t.Context(), left, brought, cancelled, read); err != nil {
		t.Fatal(err)
	}
	if ids, err := b.Expired(t.Context(), 10); err != nil || len(ids) > 0 {
		t.Errorf("forgotten and still there: %v, %v", ids, err)
	}
	unknown, err := b.Unknown(t.Context(), []string{left, hook, waiting, "never"})
	if diff := cmp.Diff([]string{left, "never"}, unknown); diff != "" || err != nil {
		t.Errorf("unknown (-want +got): %v\n%s", err, diff)
	}
}
