package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/testenv"
)

// createMany records n jobs of a caller and returns their ids, and how many are held.
func (b *bundle) createMany(t *testing.T, n int, change ...func(*job.NewJob)) (ids []string, held int) {
	t.Helper()
	for range n {
		c, err := b.Create(t.Context(), newJob(change...))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, c.Job.ID)
		if c.Held {
			held++
		}
	}
	return ids, held
}

func (b *bundle) due(t *testing.T) (ids []string) {
	t.Helper()
	tasks, _, err := b.Due(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		ids = append(ids, task.JobID)
	}
	slices.Sort(ids)
	return ids
}

func (b *bundle) noneLeft(t *testing.T) {
	t.Helper()
	for _, pattern := range []string{"{kaa}:seats:*", "{kaa}:held:*", "{kaa}:holding", "{kaa}:waiting", "{kaa}:outbox"} {
		if keys := b.rdb.Keys(t.Context(), pattern).Val(); len(keys) > 0 {
			t.Errorf("left: %v", keys)
		}
	}
}

// TestHeld: of one caller's jobs only a window is to be enqueued; the others follow,
// oldest first, as those are claimed. Another caller is not concerned.
func TestHeldJobs(t *testing.T) {
	t.Parallel()
	b := setupAlone(t, store.Config{Window: 4, OutboxDelay: time.Millisecond})
	ids, held := b.createMany(t, 10, of("a"))
	if held != 6 {
		t.Errorf("%d of 10 jobs are held, want 6", held)
	}
	if _, held := b.createMany(t, 1, of("b")); held != 0 {
		t.Error("a job of another caller is held")
	}
	if _, held := b.createMany(t, 1, of("a"), onLow); held != 0 {
		t.Error("a job on another queue is held")
	}
	<-time.After(5 * time.Millisecond)
	if err := b.Enqueued(t.Context(), job.Task{JobID: ids[0], Attempt: 1}); err != nil {
		t.Fatal(err)
	}
	if due := b.due(t); len(due) != 5 || !slices.Equal(due[:3], ids[1:4]) {
		t.Errorf("due: %v", due)
	}
	if c := b.claim(t, ids[0]); c.Filled {
		t.Error("filled after one claim of four")
	}
	if c := b.claim(t, ids[1]); !c.Filled {
		t.Error("not filled after two claims of four")
	}
	if due := b.due(t); len(due) != 6 || !slices.Equal(due[:4], ids[2:6]) {
		t.Errorf("due then: %v, of %v", due, ids)
	}
	// A held job that is cancelled takes no place.
	if _, err := b.Cancel(t.Context(), ids[6]); err != nil {
		t.Fatal(err)
	}
	b.claim(t, ids[2])
	b.claim(t, ids[3])
	if due := b.due(t); !slices.Contains(due, ids[7]) || slices.Contains(due, ids[6]) {
		t.Errorf("due after a cancel: %v, of %v", due, ids)
	}
	// Cancelled ones leave their seats to others, and somebody is told.
	told := make(chan struct{}, 10)
	listener, err := b.ListenDue(t.Context(), func(string) { told <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	for _, id := range ids[4:8] {
		_, _ = b.Cancel(t.Context(), id)
	}
	if due := b.due(t); !slices.Contains(due, ids[9]) {
		t.Errorf("due after the seats were cancelled: %v, of %v", due, ids)
	}
	select {
	case <-told:
	case <-time.After(testenv.Timeout):
		t.Error("nobody was told")
	}
}

// TestHeldJobsDrain: all of them get their turn, once, and nothing is left behind.
func TestHeldJobsDrain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change []func(*job.NewJob)
	}{
		{"queued", []func(*job.NewJob){of("a")}},
		{"scheduled", []func(*job.NewJob){of("a"), scheduled(-time.Second)}},
		{"anonymous", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, store.Config{Window: 5, OutboxDelay: time.Millisecond})
			const n = 300 // more than the maintainer asks for at a time
			ids, _ := b.createMany(t, n, tt.change...)
			var ran []string
			testenv.Eventually(t, "all have run", func() bool {
				tasks, _, err := b.Due(t.Context(), 256)
				if err != nil {
					t.Fatal(err)
				}
				if len(tasks) > 5 {
					t.Fatalf("%d tasks at once", len(tasks))
				}
				if err := b.Enqueued(t.Context(), tasks...); err != nil {
					t.Fatal(err)
				}
				for _, task := range tasks {
					c := b.claim(t, task.JobID)
					if err := b.Finish(t.Context(), c, job.Outcome{State: job.Completed, Result: result()}); err != nil {
						t.Fatal(err)
					}
					ran = append(ran, task.JobID)
				}
				return len(ran) >= n
			})
			slices.Sort(ran)
			if diff := cmp.Diff(ids, ran); diff != "" {
				t.Errorf("ran (-want +got):\n%s", diff)
			}
			b.noneLeft(t)
		})
	}
}

// TestHeldOnceMore: a creation that is sent again answers as it did.
func TestHeldOnceMore(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{Window: 1})
	b.rdb.AddHook(twice{})
	seated, held := newJob(of("a")), newJob(of("a"))
	for range 2 {
		if c, err := b.Create(t.Context(), seated); err != nil || c.Held {
			t.Errorf("the first: held %t, %v", c.Held, err)
		}
		if c, err := b.Create(t.Context(), held); err != nil || !c.Held {
			t.Errorf("the second: held %t, %v", c.Held, err)
		}
	}
	b.claim(t, seated.Job.ID)
	if due := b.due(t); len(due) != 1 || due[0] != held.Job.ID {
		t.Errorf("due: %v", due)
	}
}

// TestRetryNeedsNoSeat: a job that was given back does not wait behind those held.
func TestRetryNeedsNoSeat(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{Window: 2})
	first, _ := b.createMany(t, 1, of("a"), attempts(2))
	claim := b.claim(t, first[0])
	b.createMany(t, 5, of("a"))
	if _, err := b.GiveBack(t.Context(), claim, job.Failure{Code: job.FailDrained}); err != nil {
		t.Fatal(err)
	}
	if due := b.due(t); len(due) != 1 || due[0] != first[0] {
		t.Errorf("due: %v", due)
	}
	if n := b.rdb.SCard(t.Context(), "{kaa}:seats:default:a").Val(); n != 3 {
		t.Errorf("%d seats are taken", n)
	}
}

// TestLostSeats: seats whose jobs an older Kaa took away are found.
func TestLostSeats(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{Window: 2})
	ids, _ := b.createMany(t, 3, of("a"))
	for _, id := range ids[:2] {
		b.rdb.HSet(t.Context(), "{kaa}:job:"+id, "state", "running")
		b.rdb.ZRem(t.Context(), "{kaa}:outbox", id)
	}
	if due := b.due(t); len(due) != 0 {
		t.Errorf("due: %v", due)
	}
	if _, err := b.Sweep(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if due := b.due(t); len(due) != 1 || due[0] != ids[2] {
		t.Errorf("due after the sweep: %v", due)
	}
}

// TestHeldWithoutWaiter: nobody waits for a held job any more.
func TestHeldWithoutWaiter(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{Window: 1})
	b.createMany(t, 4, of("a"), awaited("w"))
	b.rdb.Del(t.Context(), "{kaa}:waiter:w")
	if rescued, _, err := b.rescue(t); err != nil || len(rescued) != 4 {
		t.Errorf("rescued %v, %v", rescued, err)
	}
	b.noneLeft(t)
}
