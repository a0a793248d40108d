package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/job/jobtest"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/testenv"
)

// world is a store with many actors, next to the model of what it should hold. Every
// operation is one step in Redis, so that actors that take turns at random are all
// that there can be; a step may also be sent twice, as after a lost connection.
type world struct {
	*store.Store
	t       *testing.T
	rdb     *redis.Client
	r       *rand.Rand
	repeat  *repeat
	jobs    map[string]jobtest.Model
	news    map[string]job.NewJob
	ids     []string
	claims  []job.Claim // all that there ever were, most of them stale
	runners map[string]bool
	steps   int
	done    []string // the last steps, for the report
}

// repeat sends scripts twice while it is on.
type repeat struct{ on bool }

func (*repeat) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r *repeat) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if r.on && cmds[0].Name() == "evalsha" {
			again := make([]redis.Cmder, len(cmds))
			for i, c := range cmds {
				again[i] = redis.NewCmd(ctx, c.Args()...)
			}
			_ = next(ctx, again)
		}
		return next(ctx, cmds)
	}
}

func (r *repeat) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		// eval is what go-redis sends for a script that is not in the cache yet.
		if r.on && (cmd.Name() == "evalsha" || cmd.Name() == "eval") {
			_ = next(ctx, redis.NewCmd(ctx, cmd.Args()...))
		}
		return next(ctx, cmd)
	}
}

// seeded returns the seed and the number of steps of a random test, and says how to run
// the same again.
func seeded(t *testing.T, byDefault uint64) (seed, steps uint64) {
	t.Helper()
	number := func(name string, byDefault uint64) uint64 {
		if n, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
			return n
		}
		return byDefault
	}
	switch {
	case testing.Short():
		byDefault /= 10
	case !testenv.IsLong():
		byDefault /= 3
	}
	seed, steps = number("KAA_SEED", rand.Uint64()), number("KAA_STEPS", byDefault)
	t.Logf("again: KAA_SEED=%d KAA_STEPS=%d go test -run %s ./internal/store", seed, steps, t.Name())
	return seed, steps
}

// TestModel takes random steps and compares each with the pure model. The seed and the
// number of steps can be given: KAA_SEED, KAA_STEPS.
func TestModel(t *testing.T) {
	t.Parallel()
	seed, steps := seeded(t, 2000)
	rdb := testenv.Redis(t).Client(t)
	w := &world{
		Store: store.New(rdb, store.Config{Window: 1_000_000, Reserve: store.ReserveAuto, RunnerTTL: time.Hour, UsageTTL: time.Hour}), t: t, // all jobs have a seat: TestHeld… is about those that do not
		rdb: rdb, r: rand.New(rand.NewPCG(seed, 0)), repeat: new(repeat),
		jobs: map[string]jobtest.Model{}, news: map[string]job.NewJob{}, runners: map[string]bool{},
	}
	// What is not in the script cache would not be repeated.
	rdb.AddHook(w.repeat)
	for range 4 {
		w.runners[uuid.NewString()] = false
	}
	for w.steps = 1; w.steps <= int(steps) && !t.Failed(); w.steps++ {
		w.step()
	}
	w.checkAll()
	if t.Failed() {
		t.Logf("the last steps:\n%s", slices.Sorted(slices.Values(w.done)))
	}
}

func (w *world) step() {
	w.repeat.on = w.r.IntN(4) == 0
	type action struct {
		weight int
		do     func() (what string, touched []string)
	}
	actions := []action{
		{20, w.create},
		{30, w.claim},
		{25, w.finish},
		{8, w.giveBack},
		{3, w.reject},
		{8, w.cancel},
		{4, w.abandon},
		{10, w.enqueued},
		{8, w.promote},
		{10, w.beat},
		{4, w.lapse},
		{6, w.rescue},
		{6, w.expire},
		{3, w.sweep},
		{2, w.mend},
		{3, w.doomed},
	}
	n := 0
	for _, a := range actions {
		n += a.weight
	}
	n = w.r.IntN(n)
	i := slices.IndexFunc(actions, func(a action) bool { n -= a.weight; return n < 0 })
	what, touched := actions[i].do()
	w.repeat.on = false
	w.done = append(w.done, fmt.Sprintf("%6d %s\n", w.steps, what))
	w.done = w.done[max(0, len(w.done)-30):]
	for _, id := range touched {
		w.check(id)
	}
	if w.steps%250 == 0 {
		w.checkAll()
	}
}

// pick is a job, more likely a young one; empty if there is none.
func (w *world) pick() string {
	if len(w.ids) == 0 {
		return ""
	}
	return w.ids[len(w.ids)-1-w.r.IntN(min(len(w.ids), 1+w.r.IntN(40)))]
}

func (w *world) runner() string {
	return slices.Sorted(mapsKeys(w.runners))[w.r.IntN(len(w.runners))]
}

func mapsKeys(m map[string]bool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// same checks an answer's error.
func (w *world) same(what string, got, want error) {
	w.t.Helper()
	if (got == nil) != (want == nil) || (want != nil && !errors.Is(got, want)) {
		w.t.Errorf("step %d: %s: error %v, want %v", w.steps, what, got, want)
	}
}

func (w *world) create() (string, []string) {
	if id := w.pick(); id != "" && w.r.IntN(8) == 0 && !w.jobs[id].Expired {
		// A client sends an old creation again.
		_, err := w.Create(w.t.Context(), w.news[id])
		w.same("create again", err, nil)
		return "create again " + id, []string{id}
	}
	m := jobtest.Model{State: job.Queued, MaxAttempts: 1 + w.r.IntN(3), Outbox: true}
	n := newJob(attempts(m.MaxAttempts))
	switch w.r.IntN(5) {
	case 0:
		scheduled(time.Hour)(&n)
		m.State = job.Scheduled
	case 1:
		scheduled(-time.Minute)(&n)
		m.State, m.Due = job.Scheduled, true
	}
	_, err := w.Create(w.t.Context(), n)
	w.same("create", err, nil)
	w.ids = append(w.ids, n.Job.ID)
	w.jobs[n.Job.ID], w.news[n.Job.ID] = m, n
	return "create " + n.Job.ID, []string{n.Job.ID}
}

func (w *world) claim() (string, []string) {
	id, runner, session := w.pick(), w.runner(), uuid.NewString()
	if len(w.claims) > 0 && w.r.IntN(6) == 0 { // an old claim, sent again
		c := w.claims[w.r.IntN(len(w.claims))]
		id, runner, session = c.JobID, c.Runner, c.SessionID
	}
	if id == "" {
		return "claim nothing", nil
	}
	m, want := w.jobs[id].Claim(runner, session, w.runners[runner])
	c, err := w.Claim(w.t.Context(), id, runner, session)
	w.same("claim", err, want)
	w.jobs[id] = m
	if err == nil {
		if c.Attempt != m.Attempt {
			w.t.Errorf("step %d: claim is attempt %d, want %d", w.steps, c.Attempt, m.Attempt)
		}
		w.claims = append(w.claims, c)
	}
	return fmt.Sprintf("claim %s by %s: %v", id, runner, err), []string{id}
}

// old is one of the claims, more likely a late one.
func (w *world) old() (job.Claim, bool) {
	if len(w.claims) == 0 {
		return job.Claim{}, false
	}
	return w.claims[len(w.claims)-1-w.r.IntN(min(len(w.claims), 1+w.r.IntN(20)))], true
}

func (w *world) finish() (string, []string) {
	c, ok := w.old()
	if !ok {
		return "finish nothing", nil
	}
	o := job.Outcome{State: job.Completed, Result: result()}
	code := job.FailureCode("")
	switch w.r.IntN(4) {
	case 0:
		o.State = job.Cancelled
	case 1:
		code = job.FailWorker
		o = job.Outcome{State: job.Failed, Failure: &job.Failure{Code: code, Message: "m"}}
	}
	m, want := w.jobs[c.JobID].Finish(c, o.State, code, o.Result != nil)
	err := w.Finish(w.t.Context(), c, o)
	w.same("finish", err, want)
	w.jobs[c.JobID] = m
	return fmt.Sprintf("finish %s:%d %s: %v", c.JobID, c.Attempt, o.State, err), []string{c.JobID}
}

func (w *world) giveBack() (string, []string) {
	c, ok := w.old()
	if !ok {
		return "give back nothing", nil
	}
	m, want := w.jobs[c.JobID].GiveBack(c, job.FailDrained)
	if w.repeat.on && want == nil && m.State != job.Failed {
		want = job.ErrStale // the second time; the first was done
	}
	_, err := w.GiveBack(w.t.Context(), c, job.Failure{Code: job.FailDrained, Message: "m"})
	w.same("give back", err, want)
	w.jobs[c.JobID] = m
	return fmt.Sprintf("give back %s:%d: %v", c.JobID, c.Attempt, err), []string{c.JobID}
}

func (w *world) reject() (string, []string) {
	id := w.pick()
	if id == "" {
		return "reject nothing", nil
	}
	m, want := w.jobs[id].Reject(job.FailStart)
	if w.repeat.on && want == nil {
		want = job.ErrStale
	}
	err := w.Reject(w.t.Context(), id, job.Failure{Code: job.FailStart, Message: "m"})
	w.same("reject", err, want)
	w.jobs[id] = m
	return fmt.Sprintf("reject %s: %v", id, err), []string{id}
}

func (w *world) cancel() (string, []string) {
	id := w.pick()
	if id == "" {
		return "cancel nothing", nil
	}
	m, state, want := w.jobs[id].Stop(job.FailCancelled, false)
	got, err := w.Cancel(w.t.Context(), id)
	w.same("cancel", err, want)
	if err == nil && got != state {
		w.t.Errorf("step %d: cancel answers %s, want %s", w.steps, got, state)
	}
	w.jobs[id] = m
	return fmt.Sprintf("cancel %s: %v", id, err), []string{id}
}

func (w *world) abandon() (string, []string) {
	id := w.pick()
	if id == "" {
		return "abandon nothing", nil
	}
	m, state, want := w.jobs[id].Stop(job.FailQueueTimeout, true)
	got, err := w.Abandon(w.t.Context(), id, job.Failure{Code: job.FailQueueTimeout, Message: "m"})
	w.same("abandon", err, want)
	if err == nil && got != state {
		w.t.Errorf("step %d: abandon answers %s, want %s", w.steps, got, state)
	}
	w.jobs[id] = m
	return fmt.Sprintf("abandon %s: %v", id, err), []string{id}
}

func (w *world) enqueued() (string, []string) {
	id := w.pick()
	if id == "" || w.jobs[id].State == job.Scheduled && !w.jobs[id].Due {
		return "confirm nothing", nil // nobody enqueues a job before its time
	}
	attempt := w.jobs[id].Attempt + w.r.IntN(2)
	w.jobs[id] = w.jobs[id].Enqueued(attempt)
	w.same("confirm", w.Enqueued(w.t.Context(), job.Task{JobID: id, Attempt: attempt}), nil)
	return fmt.Sprintf("confirm %s:%d", id, attempt), []string{id}
}

// promote does what the maintainer does with the outbox.
func (w *world) promote() (string, []string) {
	due, _, err := w.Due(w.t.Context(), 10)
	w.same("due", err, nil)
	var touched []string
	for _, d := range due {
		m := w.jobs[d.JobID]
		if !m.Outbox || d.Attempt != m.Attempt+1 || (m.State == job.Scheduled && !m.Due) {
			w.t.Errorf("step %d: due is %+v, of %+v", w.steps, d, m)
		}
		w.jobs[d.JobID] = m.Enqueued(d.Attempt)
		touched = append(touched, d.JobID)
	}
	w.same("confirm", w.Enqueued(w.t.Context(), due...), nil)
	return fmt.Sprint("promote ", len(due)), touched
}

func (w *world) beat() (string, []string) {
	r := w.runner()
	w.same("beat", w.Beat(w.t.Context(), job.Runner{ID: r}), nil)
	w.runners[r] = true
	return "beat " + r, nil
}

func (w *world) lapse() (string, []string) {
	r := w.runner()
	w.same("lapse", w.Leave(w.t.Context(), r), nil)
	w.runners[r] = false
	return "lapse " + r, nil
}

func (w *world) rescue() (string, []string) {
	lapsed, err := w.Lapsed(w.t.Context(), "")
	w.same("look for lapsed", err, nil)
	for _, r := range lapsed {
		if w.runners[r] {
			w.t.Errorf("step %d: %s has not lapsed", w.steps, r)
		}
	}
	if w.r.IntN(2) == 0 { // a look that is out of date
		lapsed = append(lapsed, w.runner())
	}
	_, _, err = w.Rescue(w.t.Context(), lapsed...)
	w.same("rescue", err, nil)
	var touched []string
	for id, m := range w.jobs {
		for _, r := range lapsed {
			if !w.runners[r] && m.State == job.Running && m.Runner == r && !m.Expired {
				w.jobs[id] = m.Lose(r)
				touched = append(touched, id)
			}
		}
	}
	return fmt.Sprint("rescue ", lapsed), touched
}

// expire lets the time of an ended job's record be over.
func (w *world) expire() (string, []string) {
	id := w.pick()
	m := w.jobs[id]
	if id == "" || !m.State.Terminal() || m.Expired {
		return "expire nothing", nil
	}
	w.rdb.Del(w.t.Context(), "{kaa}:job:"+id)
	w.rdb.ZAdd(w.t.Context(), "{kaa}:expiry", redis.Z{Score: 1, Member: id + " default " + string(m.State)})
	m.Expired = true
	w.jobs[id] = m
	return "expire " + id, nil // its listing is the sweeper's
}

func (w *world) sweep() (string, []string) {
	_, err := w.Sweep(w.t.Context(), 100)
	w.same("sweep", err, nil)
	return "sweep", nil
}

// mend must never find anything: no script leaves a disagreement behind.
func (w *world) mend() (string, []string) {
	mended, err := w.Mend(w.t.Context(), []string{"default"}, 1_000_000)
	w.same("mend", err, nil)
	if len(mended) > 0 {
		w.t.Errorf("step %d: had to mend %v", w.steps, mended)
	}
	return "mend", nil
}

// doomed asks which of the last claims have to end.
func (w *world) doomed() (string, []string) {
	claims := w.claims[max(0, len(w.claims)-20):]
	cancelled, lost, _, err := w.Revoked(w.t.Context(), claims)
	w.same("doomed", err, nil)
	var wantCancelled, wantLost []job.Claim
	for _, c := range claims {
		m := w.jobs[c.JobID]
		switch {
		case m.Expired || m.State != job.Running || m.Attempt != c.Attempt || m.Runner != c.Runner:
			wantLost = append(wantLost, c)
		case m.Cancel:
			wantCancelled = append(wantCancelled, c)
		}
	}
	if diff := cmp.Diff([2][]job.Claim{wantCancelled, wantLost}, [2][]job.Claim{cancelled, lost}); diff != "" {
		w.t.Errorf("step %d: doomed (-want +got):\n%s", w.steps, diff)
	}
	return "doomed", nil
}

// check compares one job's record, listings, outbox and registry with the model.
func (w *world) check(id string) {
	w.t.Helper()
	ctx, m := w.t.Context(), w.jobs[id]
	j, err := w.Get(ctx, id)
	if m.Expired {
		w.same("get "+id, err, job.ErrGone)
		return
	}
	w.same("get "+id, err, nil)
	got := jobtest.Model{
		State: j.State, Attempt: j.Attempt, MaxAttempts: j.MaxAttempts, Runner: j.Runner, Session: j.SessionID,
		Cancel: j.CancelRequested, HasResult: j.Result != nil, Due: m.Due,
		Outbox: w.rdb.ZScore(ctx, "{kaa}:outbox", id).Err() == nil,
	}
	if j.Failure != nil {
		got.Failure = j.Failure.Code
	}
	if diff := cmp.Diff(m, got); diff != "" {
		w.t.Errorf("step %d: %s (-model +record):\n%s", w.steps, id, diff)
	}
	for _, s := range job.States() {
		if in := w.rdb.ZScore(ctx, "{kaa}:jobs:default:"+string(s), id).Err() == nil; in != (s == m.State) {
			w.t.Errorf("step %d: %s is %s; in the listing of %s: %t", w.steps, id, m.State, s, in)
		}
	}
	if m.Runner != "" {
		in := w.rdb.SIsMember(ctx, "{kaa}:runner:"+m.Runner+":jobs", id).Val()
		if in != (m.State == job.Running) {
			w.t.Errorf("step %d: %s is %s; claimed in the registry: %t", w.steps, id, m.State, in)
		}
	}
	if in := w.rdb.HExists(ctx, "{kaa}:running:anonymous", id).Val(); in != (m.State == job.Running) {
		w.t.Errorf("step %d: %s is %s; takes a slot of its caller's: %t", w.steps, id, m.State, in)
	}
	if ttl := w.rdb.PTTL(ctx, "{kaa}:job:"+id).Val(); (ttl > 0) != m.State.Terminal() {
		w.t.Errorf("step %d: %s is %s; its record expires in %s", w.steps, id, m.State, ttl)
	}
}

func (w *world) checkAll() {
	w.t.Helper()
	for _, id := range w.ids {
		w.check(id)
	}
	w.mend()
	began := int64(0)
	for _, m := range w.jobs {
		if m.State.Terminal() && m.Attempt > 0 {
			began++
		}
	}
	if u := usageOf(w.t, w.Store, job.UsageFilter{All: true}); u.Executions != began {
		w.t.Errorf("%d executions were counted, and %d jobs have begun and ended", u.Executions, began)
	}
}
