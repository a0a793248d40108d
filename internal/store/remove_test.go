package store_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
)

func idempotent(n *job.NewJob) { n.IdempotencyKey, n.Scope, n.Fingerprint = "key", "me", "print" }

// TestRemove: of a job that is deleted nothing is left in Redis but who has just deleted it, and the
// list of blobs that are to go; and what others have is still there.
func TestRemove(t *testing.T) {
	t.Parallel()
	small := job.Outcome{State: job.Completed, Result: &job.Result{Status: job.StatusOK, Stdout: "x"}}
	large := job.Outcome{State: job.Completed, Result: &job.Result{Status: job.StatusOK, Stdout: strings.Repeat("x", 100_000)}}
	files := job.Outcome{State: job.Completed, Result: &job.Result{Status: job.StatusOK, Files: []job.File{job.NewFile("b", 2, "text/plain")}}}
	for name, c := range map[string]struct {
		change  []func(*job.NewJob)
		end     job.Outcome
		session bool
	}{
		"small":        {end: small},
		"large":        {end: large},
		"failed":       {end: job.Outcome{State: job.Failed, Failure: &job.Failure{Code: job.FailWorker}}},
		"everything":   {change: []func(*job.NewJob){hooked, idempotent, bringing, func(n *job.NewJob) { n.Events, n.Job.Metadata = true, []byte(`{"a":1}`) }}, end: files},
		"in a session": {end: small, session: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, store.Config{MaxCallerBytes: 1 << 30})
			b.rdb.AddHook(twice{})
			change := append(slices.Clip(c.change), of("me"))
			if c.session {
				change = append(change, inSession(b.openSession(t).ID, ""), func(n *job.NewJob) { n.Job.Queue = job.SessionQueue })
			}
			other := b.create(t, newJob(of("me")))
			if err := b.Finish(t.Context(), b.claim(t, other), large); err != nil {
				t.Fatal(err)
			}
			before := b.dump(t)
			id := b.create(t, newJob(change...))
			if _, err := b.Remove(t.Context(), id); !errors.Is(err, job.ErrUnfinished) {
				t.Errorf("one that waits: %v", err)
			}
			end(t, b, id, c.session, c.end)
			taken, _, err := b.TakeHooks(t.Context(), 10, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			hasBlobs, err := b.Remove(t.Context(), id)
			if wants := name == "everything"; err != nil || hasBlobs != wants {
				t.Errorf("has blobs %v, want %v: %v", hasBlobs, wants, err)
			}
			if _, err := b.Remove(t.Context(), id); !errors.Is(err, job.ErrNotFound) {
				t.Errorf("again: %v", err)
			}
			if _, err := b.Get(t.Context(), id); !errors.Is(err, job.ErrNotFound) {
				t.Errorf("look: %v", err)
			}
			for _, d := range taken { // whose attempt was under way
				if err := b.SettleHook(t.Context(), d, job.Report{State: job.WebhookPending}); !errors.Is(err, job.ErrNotFound) {
					t.Errorf("its webhook: %v", err)
				}
			}
			if hasBlobs {
				if ids, err := b.Expired(t.Context(), 10); err != nil || !slices.Contains(ids, id) {
					t.Errorf("the cleaner finds %v, %v", ids, err)
				}
				if err := b.ForgetBlobs(t.Context(), id); err != nil {
					t.Error(err)
				}
			}
			if err := b.rdb.Del(t.Context(), "{kaa}:removed:"+id).Err(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, b.dump(t)); diff != "" {
				t.Errorf("left in Redis (-before +after):\n%s", diff)
			}
			if name == "everything" {
				if again, err := b.Create(t.Context(), newJob(change...)); err != nil || again.Replayed {
					t.Errorf("its idempotency key: %+v, %v", again, err)
				}
			}
		})
	}
}

func end(t *testing.T, b *bundle, id string, session bool, o job.Outcome) {
	t.Helper()
	if !session {
		if err := b.Finish(t.Context(), b.claim(t, id), o); err != nil {
			t.Fatal(err)
		}
		return
	}
	claim, err := b.NextInSession(t.Context(), b.get(t, id).SessionID, job.LaneDefault, "r", true)
	if err != nil || claim == nil {
		t.Fatal(claim, err)
	}
	if _, _, err := b.FinishInSession(t.Context(), *claim, o); err != nil {
		t.Fatal(err)
	}
}

// dump is all that is in Redis and belongs to jobs, but for the times.
func (b *bundle) dump(t *testing.T) map[string]string {
	t.Helper()
	keys, err := b.rdb.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	slices.Sort(keys)
	for _, key := range keys {
		if about := strings.TrimPrefix(key, "{kaa}:"); strings.HasPrefix(about, "session") || strings.HasPrefix(about, "runner") ||
			strings.HasPrefix(about, "waiter") || about == "queues" {
			continue
		}
		kind := b.rdb.Type(t.Context(), key).Val()
		switch kind {
		case "hash":
			fields := b.rdb.HGetAll(t.Context(), key).Val()
			if strings.HasPrefix(key, "{kaa}:bytes:") {
				key = "{kaa}:bytes:<time>"
			}
			all[key] += joined(fields)
		case "zset":
			if key != "{kaa}:bytes:due" {
				all[key] = strings.Join(b.rdb.ZRange(t.Context(), key, 0, -1).Val(), " ")
			}
		case "set":
			members := b.rdb.SMembers(t.Context(), key).Val()
			slices.Sort(members)
			all[key] = strings.Join(members, " ")
		default:
			all[key] = kind
		}
	}
	return all
}

func joined(fields map[string]string) string {
	var all []string
	for name, value := range fields {
		if value != "0" {
			all = append(all, name+"="+value)
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}
