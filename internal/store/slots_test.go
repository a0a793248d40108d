package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/testenv"
)

// fleet registers a runner with so many slots for some queues.
func (b *bundle) fleet(t *testing.T, id string, slots int, queues ...string) {
	t.Helper()
	b.beat(t, job.Runner{ID: id, Concurrency: slots, Queues: queues})
}

func (b *bundle) beat(t *testing.T, r job.Runner) {
	t.Helper()
	if err := b.Beat(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	b.refresh(t)
}

// refresh is as if what is known of the fleet had expired.
func (b *bundle) refresh(t *testing.T) {
	t.Helper()
	for _, key := range b.rdb.Keys(t.Context(), "{kaa}:fleet:*").Val() {
		b.rdb.Del(t.Context(), key)
	}
}

// start claims a job for a runner.
func (b *bundle) start(t *testing.T, id, runner string) job.Claim {
	t.Helper()
	c, err := b.Claim(t.Context(), id, runner, "session-"+id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (b *bundle) end(t *testing.T, c job.Claim) {
	t.Helper()
	if err := b.Finish(t.Context(), c, job.Outcome{State: job.Completed, Result: result()}); err != nil {
		t.Fatal(err)
	}
}

// refused reports that a job may not be claimed now.
func (b *bundle) refused(t *testing.T, id, runner string) {
	t.Helper()
	if _, err := b.Claim(t.Context(), id, runner, "session-"+id); !errors.Is(err, job.ErrHeld) {
		t.Errorf("claim: %v, want ErrHeld", err)
	}
}

// TestReserve: how many jobs of one caller are passed on to a fleet.
func TestReserve(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reserve string
		slots   []int // of each runner
		want    int
	}{
		{"", []int{4}, 32},
		{"auto", nil, 32}, // nobody knows; claims decide
		{"auto", []int{1}, 1},
		{"auto", []int{2}, 1},
		{"auto", []int{4}, 3},
		{"auto", []int{4, 4, 8}, 14},
		{"auto", []int{30}, 27},
		{"auto", []int{1000}, 32},
		{"0", []int{4}, 4},
		{"2", []int{4}, 2},
		{"9", []int{4}, 1},
	} {
		t.Run(fmt.Sprint(tt.reserve, tt.slots), func(t *testing.T) {
			t.Parallel()
			b := setup(t, store.Config{Reserve: tt.reserve})
			for i, n := range tt.slots {
				b.fleet(t, "r"+strconv.Itoa(i), n, "low", "default")
			}
			if _, held := b.createMany(t, 40, of("a")); 40-held != tt.want {
				t.Errorf("%d of a's jobs are passed on, want %d", 40-held, tt.want)
			}
			if _, held := b.createMany(t, 1, of("b")); held != 0 {
				t.Error("b's job is held")
			}
		})
	}
}

// TestSlotsAreLeft: a caller's jobs take their share of the slots and no more; each end
// lets one follow, the oldest first.
func TestSlotsAreLeft(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{Reserve: store.ReserveAuto, OutboxDelay: time.Hour})
	b.fleet(t, "r", 4, "default")
	ids, _ := b.createMany(t, 8, of("a"))
	var claims []job.Claim
	for _, id := range ids[:3] {
		claims = append(claims, b.start(t, id, "r"))
	}
	if due := b.due(t); len(due) != 0 {
		t.Errorf("due with all of the share in use: %v", due)
	}
	for i, c := range claims[:2] {
		b.end(t, c)
		if due := b.due(t); len(due) != i+1 || !slices.Equal(due, ids[3:4+i]) {
			t.Errorf("due after %d ends: %v, of %v", i+1, due, ids)
		}
	}
	other, _ := b.createMany(t, 1, of("b"))
	b.start(t, other[0], "r")
}

// TestSlotsOfAllQueues: a share is of the runners, whatever queues the jobs are on. What was
// passed on too much waits again, at its old place and with another task.
func TestSlotsOfAllQueues(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{Reserve: store.ReserveAuto, OutboxDelay: time.Millisecond})
	b.fleet(t, "r", 4, "default", "low")
	first, _ := b.createMany(t, 5, of("a"))
	low, held := b.createMany(t, 5, of("a"), onLow)
	if held != 2 {
		t.Errorf("%d are held on the other queue, want 2", held)
	}
	var claims []job.Claim
	for _, id := range first[:3] {
		claims = append(claims, b.start(t, id, "r"))
	}
	for _, id := range low[:3] {
		b.refused(t, id, "r")
	}
	<-time.After(2 * time.Millisecond)
	if due := b.due(t); len(due) != 0 {
		t.Errorf("due: %v", due)
	}
	b.end(t, claims[0])
	tasks, _, err := b.Due(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(tasks, func(a, b job.Task) int { return a.Passes - b.Passes })
	if len(tasks) != 2 || tasks[0].JobID != first[3] || tasks[0].Passes != 0 || tasks[1].JobID != low[0] || tasks[1].Passes != 1 {
		t.Fatalf("due: %+v; want one of each queue, %s and %s", tasks, first[3], low[0])
	}
	// A confirmation of the task that was passed over does not take out the next one.
	if err := b.Enqueued(t.Context(), job.Task{JobID: low[0], Attempt: 1}); err != nil {
		t.Fatal(err)
	}
	if due := b.due(t); !slices.Contains(due, low[0]) {
		t.Errorf("due after a late confirmation: %v", due)
	}
}

// TestSlotsComeBack: what keeps a caller from more ends with the runner, and what of it was
// lost is found.
func TestSlotsComeBack(t *testing.T) {
	t.Parallel()
	for name, loss := range map[string]func(t *testing.T, b *bundle, ids []string){
		"the runner is lost": func(t *testing.T, b *bundle, _ []string) {
			t.Helper()
			_ = b.Leave(t.Context(), "r1") // as if its heartbeat had lapsed
			b.refresh(t)
			if rescued, _, err := b.rescue(t); err != nil || len(rescued) != 3 {
				t.Errorf("rescued %v, %v", rescued, err)
			}
		},
		"an older Kaa ends the jobs": func(t *testing.T, b *bundle, ids []string) {
			t.Helper()
			for _, id := range ids {
				b.rdb.HSet(t.Context(), "{kaa}:job:"+id, "state", "completed")
			}
			if _, err := b.Sweep(t.Context(), 10); err != nil {
				t.Error(err)
			}
		},
		"another runner joins": func(t *testing.T, b *bundle, _ []string) {
			t.Helper()
			b.fleet(t, "r3", 4, "default")
		},
		"the runner is shut down, and another joins": func(t *testing.T, b *bundle, _ []string) {
			t.Helper()
			b.beat(t, job.Runner{ID: "r1", Concurrency: 4, Queues: []string{"default"}, Draining: true})
			b.fleet(t, "r3", 4, "default")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, store.Config{Reserve: store.ReserveAuto, OutboxDelay: time.Hour})
			b.fleet(t, "r1", 4, "default")
			ids, _ := b.createMany(t, 9, of("a"))
			for _, id := range ids[:3] {
				b.start(t, id, "r1")
			}
			b.fleet(t, "r2", 1, "other")
			if due := b.due(t); len(due) != 0 {
				t.Fatalf("due before: %v", due)
			}
			loss(t, b, ids[:3])
			if due := b.due(t); len(due) < 3 || !slices.Equal(due[:3], ids[3:6]) {
				t.Errorf("due: %v, of %v", due, ids)
			}
		})
	}
}

// TestSlotsOfARunnerThatIsLost: before anybody has settled what it executed, that does not count.
func TestSlotsOfARunnerThatIsLost(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{Reserve: store.ReserveAuto, OutboxDelay: time.Hour})
	b.fleet(t, "r1", 4, "default")
	b.fleet(t, "r2", 4, "default")
	ids, _ := b.createMany(t, 7, of("a"))
	for _, id := range ids[:4] {
		b.start(t, id, "r1")
	}
	_ = b.Leave(t.Context(), "r1")
	b.refresh(t)
	for _, id := range ids[4:] {
		b.start(t, id, "r2")
	}
	more, held := b.createMany(t, 1, of("a"))
	if held != 1 {
		t.Error("more than the share of the runner that is left")
	}
	b.refused(t, more[0], "r2")
}

// TestSlotsOfOtherRunners: runners that do not take a queue have no slots for it, and what
// they execute counts elsewhere.
func TestSlotsOfOtherRunners(t *testing.T) {
	t.Parallel()
	b := setup(t, store.Config{Reserve: store.ReserveAuto, OutboxDelay: time.Hour})
	b.fleet(t, "r1", 4, "default")
	b.fleet(t, "r2", 4, "low")
	ids, held := b.createMany(t, 4, of("a"))
	if held != 1 {
		t.Errorf("%d held, want 1", held)
	}
	for _, id := range ids[:3] {
		b.start(t, id, "r1")
	}
	if _, held := b.createMany(t, 4, of("a"), onLow); held != 1 {
		t.Errorf("%d held on the other queue, want 1", held)
	}
}

// TestHeldJobsFollowAtOnce: the end of a job enqueues the next one of its caller in the same
// step, with the commands of its creation.
func TestHeldJobsFollowAtOnce(t *testing.T) {
	t.Parallel()
	for name, rdb := range map[string]*redis.Client{
		"redis":     testenv.Redis(t).Client(t),
		"miniredis": redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupOn(t, rdb, store.Config{Reserve: store.ReserveAuto, Enqueue: func(_ context.Context, j job.Job) [][]any {
				return [][]any{{"rpush", "tasks", j.ID, "\xff:\x00"}, {"rpush", "tokens", 1}}
			}})
			b.fleet(t, "r", 2, "default")
			ids, _ := b.createMany(t, 3, of("a"))
			for i, id := range ids {
				if n := rdb.LLen(t.Context(), "tokens").Val(); int(n) != i+1 {
					t.Fatalf("%d tasks before the claim of number %d", n, i+1)
				}
				b.end(t, b.start(t, id, "r"))
			}
			want := []string{ids[0], "\xff:\x00", ids[1], "\xff:\x00", ids[2], "\xff:\x00"}
			if got := rdb.LRange(t.Context(), "tasks", 0, -1).Val(); !slices.Equal(got, want) {
				t.Errorf("tasks %q, want %q", got, want)
			}
			if rdb.Exists(t.Context(), "{kaa}:outbox").Val() != 0 {
				t.Error("the outbox has some, too")
			}
			b.noneLeft(t)
		})
	}
}

// TestSlotsModel takes random steps of many actors: no caller gets more than its share by a
// claim, and when nothing disturbs any more all jobs come to their end.
func TestSlotsModel(t *testing.T) {
	t.Parallel()
	seed, steps := seeded(t, 1500)
	rdb := testenv.Redis(t).Client(t)
	w := &slots{
		bundle: setupOn(t, rdb, store.Config{Reserve: store.ReserveAuto, Window: 5, OutboxDelay: time.Millisecond}), t: t,
		r: rand.New(rand.NewPCG(seed, 0)), claims: map[string]job.Claim{}, repeat: new(repeat),
	}
	rdb.AddHook(w.repeat)
	for range steps {
		w.repeat.on = w.r.IntN(4) == 0
		w.step()
	}
	w.repeat.on = false
	w.join()
	testenv.Eventually(t, "all jobs have ended", func() bool {
		w.deliver(1000)
		for _, c := range w.claims {
			b := w.bundle
			b.end(t, c)
			delete(w.claims, c.JobID)
		}
		if _, err := w.Sweep(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
		return w.rdb.Exists(t.Context(), "{kaa}:jobs:default:queued", "{kaa}:jobs:low:queued", "{kaa}:jobs:default:running", "{kaa}:jobs:low:running").Val() == 0
	})
	w.noneLeft(t)
	if keys := rdb.Keys(t.Context(), "{kaa}:running:*").Val(); len(keys) > 0 {
		t.Errorf("left: %v", keys)
	}
}

// slots is a fleet with jobs of several callers.
type slots struct {
	*bundle
	t       *testing.T
	r       *rand.Rand
	repeat  *repeat
	tasks   []job.Task
	claims  map[string]job.Claim // what is executed
	runners []string
	joined  int
}

const slotsEach = 3 // of a runner

func (w *slots) join() {
	w.joined++
	id := "r" + strconv.Itoa(w.joined)
	w.runners = append(w.runners, id)
	w.fleet(w.t, id, slotsEach, "default", "low")
}

func (w *slots) step() {
	switch n := w.r.IntN(20); {
	case n < 5:
		change := []func(*job.NewJob){of(string(rune('a' + w.r.IntN(3)))), attempts(2)}
		if w.r.IntN(3) == 0 {
			change = append(change, onLow)
		}
		if w.r.IntN(4) == 0 {
			change = append(change, scheduled(0))
		}
		w.createMany(w.t, 1+w.r.IntN(3), change...)
	case n < 12:
		w.deliver(1 + w.r.IntN(3))
	case n < 17:
		for _, c := range w.claims {
			w.end(w.t, c)
			delete(w.claims, c.JobID)
			break
		}
	case n == 17 && len(w.runners) < 4:
		w.join()
	case n == 18 && len(w.runners) > 0:
		lost := w.runners[0]
		w.runners = w.runners[1:]
		_ = w.Leave(w.t.Context(), lost)
		w.refresh(w.t)
		if w.r.IntN(2) == 0 {
			if _, _, err := w.rescue(w.t); err != nil {
				w.t.Fatal(err)
			}
			for id, c := range w.claims {
				if !slices.Contains(w.runners, c.Runner) {
					delete(w.claims, id)
				}
			}
		}
	default:
		if _, err := w.Sweep(w.t.Context(), 10); err != nil {
			w.t.Fatal(err)
		}
	}
}

// deliver enqueues what is due, and has runners claim so many tasks, in any order and some of them
// twice.
func (w *slots) deliver(most int) {
	w.t.Helper()
	due, _, err := w.Due(w.t.Context(), 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	w.tasks = append(w.tasks, due...)
	if err := w.Enqueued(w.t.Context(), due...); err != nil {
		w.t.Fatal(err)
	}
	for range min(most, len(w.tasks)) {
		if len(w.runners) == 0 {
			return
		}
		i := w.r.IntN(len(w.tasks))
		task, runner := w.tasks[i], w.runners[w.r.IntN(len(w.runners))]
		c, err := w.Claim(w.t.Context(), task.JobID, runner, fmt.Sprint(task, runner))
		switch {
		case err == nil:
			_, again := w.claims[c.JobID] // of what the runner executes already
			if w.claims[c.JobID] = c; !again {
				w.withinShare(task.JobID)
			}
		case !errors.Is(err, job.ErrHeld) && !errors.Is(err, job.ErrStale) && !errors.Is(err, job.ErrGone):
			w.t.Fatal(err)
		}
		if w.r.IntN(8) > 0 {
			w.tasks = slices.Delete(w.tasks, i, i+1)
		}
	}
}

// withinShare checks what the caller of a job that was just claimed executes on live runners.
func (w *slots) withinShare(id string) {
	w.t.Helper()
	caller := w.rdb.HGet(w.t.Context(), "{kaa}:job:"+id, "caller").Val()
	n := 0
	for _, c := range w.claims {
		of := w.rdb.HGet(w.t.Context(), "{kaa}:job:"+c.JobID, "caller").Val()
		if of == caller && slices.Contains(w.runners, c.Runner) {
			n++
		}
	}
	if all := slotsEach * len(w.runners); n > all-max(1, all/8) {
		w.t.Errorf("%s executes %d jobs on %d slots", caller, n, all)
	}
}
