package store_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/store"
	"github.com/kaa-run/kaa/internal/testenv"
)

// sessionModel is what a session is to be, in plain words.
type sessionModel struct {
	id, runner string
	name       string
	waiting    []string // jobs, in the order of their acceptance
	current    string
	ended      job.EndReason
	claim      *job.Claim // that is current
}

// none stands for a session that was never opened.
const none job.EndReason = "none"

// refusal is what is answered to those who want something of the session.
func (m *sessionModel) refusal() error {
	if m.ended == "" {
		return nil
	}
	if m.ended == none {
		return job.ErrNoSession
	}
	return job.ErrSessionEnded
}

// sessionWorld is a store with sessions and those who use them, in random turns.
type sessionWorld struct {
	*store.Store
	t        *testing.T
	rdb      *redis.Client
	r        *rand.Rand
	repeat   *repeat
	runners  map[string]bool
	sessions []*sessionModel
	states   map[string]job.State // of jobs
	flagged  map[string]bool      // jobs that were asked to end
	step     string
}

// TestSessionModel takes random steps, each perhaps sent twice, and compares what the store
// holds with a plain model after every one. KAA_SEED and KAA_STEPS give seed and number.
func TestSessionModel(t *testing.T) {
	t.Parallel()
	seed, steps := seeded(t, 1500)
	rdb := testenv.Redis(t).Client(t)
	w := &sessionWorld{
		Store: store.New(rdb, store.Config{RunnerTTL: time.Hour}), t: t, rdb: rdb, r: rand.New(rand.NewPCG(seed, 0)), repeat: new(repeat),
		runners: map[string]bool{}, states: map[string]job.State{}, flagged: map[string]bool{},
	}
	rdb.AddHook(w.repeat)
	for range 3 {
		w.runners[uuid.NewString()] = false
	}
	actions := []func(){
		w.open, w.fork, w.accept, w.accept, w.accept, w.accept, w.next, w.next, w.next, w.finish, w.finish, w.finish, w.cancel,
		w.closeOne, w.beat, w.beat, w.lapse, w.rescue, w.drain, w.interrupt, w.look, w.change,
	}
	for n := uint64(1); n <= steps && !t.Failed(); n++ {
		w.repeat.on = w.r.IntN(4) == 0
		actions[w.r.IntN(len(actions))]()
		w.repeat.on = false
		w.check(n)
	}
	for r := range w.runners {
		_, err := w.LeaveSessions(t.Context(), r, false)
		w.same("leave", err, nil)
	}
	for _, pattern := range []string{"{kaa}:sessions*", "{kaa}:session:*:jobs", "{kaa}:runner:*:sessions", "{kaa}:runner:*:ready"} {
		if left := rdb.Keys(t.Context(), pattern).Val(); len(left) > 0 {
			t.Errorf("without sessions there is %v", left)
		}
	}
}

func (w *sessionWorld) pick() *sessionModel {
	if len(w.sessions) == 0 {
		return &sessionModel{id: uuid.NewString(), ended: none}
	}
	return w.sessions[len(w.sessions)-1-w.r.IntN(min(len(w.sessions), 6))]
}

func (w *sessionWorld) runner() string {
	return slices.Sorted(mapsKeys(w.runners))[w.r.IntN(len(w.runners))]
}

func (w *sessionWorld) same(what string, got, want error) {
	w.t.Helper()
	w.step = what
	if (got == nil) != (want == nil) || (want != nil && !errors.Is(got, want)) {
		w.t.Errorf("%s: error %v, want %v", what, got, want)
	}
}

// end does to the model what the end of a session does.
func (w *sessionWorld) end(m *sessionModel, reason job.EndReason, letEnd bool) {
	if m.ended != "" {
		return
	}
	m.ended = reason
	for _, id := range m.waiting {
		w.states[id] = job.Failed
	}
	m.waiting = nil
	if m.current != "" && !letEnd {
		w.states[m.current] = job.Failed
		m.current = ""
	}
}

func (w *sessionWorld) open() {
	n := job.NewSession{Session: job.Session{ID: newID(), IdleTimeout: time.Hour, MaxAge: 2 * time.Hour}, Caller: "me"}
	want := job.ErrNoRunner
	for r, lives := range w.runners {
		n.Candidates = append(n.Candidates, job.Candidate{Runner: r, Most: 1000, Runtime: "python"})
		if lives {
			want = nil
		}
	}
	var live *sessionModel // that has the name
	if w.r.IntN(2) == 0 {
		n.Session.Name = string(rune('a' + w.r.IntN(3)))
		if i := slices.IndexFunc(w.sessions, func(m *sessionModel) bool { return m.name == n.Session.Name && m.ended == "" }); i >= 0 {
			live = w.sessions[i]
		}
	}
	id, nameErr := w.SessionNamed(w.t.Context(), "me", n.Session.Name)
	if live == nil && !errors.Is(nameErr, job.ErrNoSession) || live != nil && id != live.id {
		w.t.Errorf("the session named %q is %s, %v; want %+v", n.Session.Name, id, nameErr, live)
	}
	s, err := w.OpenSession(w.t.Context(), n)
	if named, ok := errors.AsType[*job.NamedError](err); ok && live != nil && named.ID == live.id {
		return
	}
	w.same("open", err, want)
	if err == nil {
		w.sessions = append(w.sessions, &sessionModel{id: s.ID, runner: s.Runner, name: n.Session.Name})
	}
}

// fork makes copies of a session, all or none.
func (w *sessionWorld) fork() {
	m := w.pick()
	ids := []string{newID(), newID()}
	alive := 0
	for _, other := range w.sessions {
		if other.runner == m.runner && other.ended == "" {
			alive++
		}
	}
	most, want := alive+1+w.r.IntN(3), m.refusal()
	runner := m.runner
	switch {
	case want == nil && w.r.IntN(10) == 0:
		runner, want = "another", job.ErrNoSession
	case want == nil && alive+len(ids) > most:
		want = job.ErrTooManySessions
	}
	err := w.ForkSession(w.t.Context(), m.id, runner, most, 0, ids)
	w.same("fork", err, want)
	for _, id := range ids {
		if err == nil {
			w.sessions = append(w.sessions, &sessionModel{id: id, runner: m.runner})
			continue
		}
		if _, err := w.Session(w.t.Context(), id, job.Viewer{Caller: "me"}); !errors.Is(err, job.ErrNoSession) {
			w.t.Errorf("a copy that was refused: %v", err)
		}
	}
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func (w *sessionWorld) accept() {
	m := w.pick()
	n := newJob()
	n.Job.Queue, n.Job.SessionID, n.Job.InSession, n.Caller = job.SessionQueue, m.id, true, "me"
	want := m.refusal()
	if w.r.IntN(10) == 0 {
		n.Caller, want = "another", job.ErrNoSession
	}
	_, err := w.Create(w.t.Context(), n)
	w.same("accept", err, want)
	if err == nil {
		m.waiting = append(m.waiting, n.Job.ID)
		w.states[n.Job.ID] = job.Queued
	}
}

func (w *sessionWorld) next() {
	m := w.pick()
	runner := m.runner
	if w.r.IntN(8) == 0 {
		runner = w.runner()
	}
	c, err := w.NextInSession(w.t.Context(), m.id, runner, w.r.IntN(2) == 0)
	switch {
	case m.ended != "" || runner != m.runner:
		w.same("next of an ended one", err, job.ErrSessionEnded)
	case !w.runners[runner]:
		w.same("next by a lapsed runner", err, job.ErrUnregistered)
	default:
		w.same("next", err, nil)
		w.claimed(m, c)
	}
}

// claimed compares a claim with what the model says comes next, and takes it.
func (w *sessionWorld) claimed(m *sessionModel, c *job.Claim) {
	w.t.Helper()
	if m.current == "" && len(m.waiting) > 0 {
		m.current, m.waiting = m.waiting[0], m.waiting[1:]
		w.states[m.current] = job.Running
	}
	got := ""
	if c != nil {
		got = c.JobID
	}
	if got != m.current {
		w.t.Errorf("%s: claimed %q, want %q", w.step, got, m.current)
	}
	m.claim = c
}

func (w *sessionWorld) finish() {
	m := w.pick()
	if m.claim == nil {
		return
	}
	o := job.Outcome{State: job.Completed, Result: result()}
	if w.r.IntN(6) == 0 {
		o.End = &job.SessionEnd{Reason: job.EndCrashed, Message: "m"}
	}
	held := m.current == m.claim.JobID
	var want error
	if !held && w.states[m.claim.JobID] != job.Completed {
		want = job.ErrStale
	}
	next, ask, err := w.FinishInSession(w.t.Context(), *m.claim, o)
	w.same("finish", err, want)
	if err != nil || !held {
		return
	}
	w.states[m.current], m.current = job.Completed, ""
	if o.End != nil {
		w.end(m, o.End.Reason, false)
	}
	if ask {
		// Sent twice, or by a runner that has lapsed.
		if !w.repeat.on && w.runners[m.runner] {
			w.t.Error("finish: the runner is to ask, and need not")
		}
		if w.repeat.on && m.ended == "" && w.runners[m.runner] && len(m.waiting) > 0 {
			next, err = w.NextInSession(w.t.Context(), m.id, m.runner, true)
			w.same("next after finish", err, nil)
			w.claimed(m, next)
		}
		return
	}
	if m.ended == "" && w.runners[m.runner] {
		w.claimed(m, next)
	}
}

func (w *sessionWorld) cancel() {
	m := w.pick()
	if len(m.waiting) == 0 {
		return
	}
	i := w.r.IntN(len(m.waiting))
	_, err := w.Cancel(w.t.Context(), m.waiting[i])
	w.same("cancel", err, nil)
	w.states[m.waiting[i]] = job.Cancelled
	m.waiting = slices.Delete(m.waiting, i, i+1)
}

func (w *sessionWorld) closeOne() {
	if w.r.IntN(3) > 0 {
		return
	}
	m := w.pick()
	want := m.refusal()
	if m.ended == job.EndDeleted {
		want = nil // again
	}
	w.same("close", w.CloseSession(w.t.Context(), m.id, job.Viewer{Caller: "me"}, job.SessionEnd{Reason: job.EndDeleted, Message: "m"}), want)
	w.end(m, job.EndDeleted, false)
}

func (w *sessionWorld) beat() {
	r := w.runner()
	w.same("beat", w.Beat(w.t.Context(), job.Runner{ID: r}), nil)
	w.runners[r] = true
}

func (w *sessionWorld) lapse() {
	r := w.runner()
	w.same("lapse", w.Leave(w.t.Context(), r), nil)
	w.runners[r] = false
}

func (w *sessionWorld) rescue() {
	lapsed, err := w.Lapsed(w.t.Context(), "")
	w.same("look for lapsed", err, nil)
	_, _, err = w.Rescue(w.t.Context(), lapsed...)
	w.same("rescue", err, nil)
	for _, m := range w.sessions {
		if slices.Contains(lapsed, m.runner) {
			if m.ended != "" && m.current != "" { // that was let end
				w.states[m.current] = job.Failed
				if w.flagged[m.current] {
					w.states[m.current] = job.Cancelled
				}
				m.current = ""
			}
			w.end(m, job.EndRunnerLost, false)
		}
	}
}

func (w *sessionWorld) drain() {
	if w.r.IntN(5) > 0 {
		return
	}
	r, letEnd := w.runner(), w.r.IntN(2) == 0
	_, err := w.LeaveSessions(w.t.Context(), r, letEnd)
	w.same("drain", err, nil)
	for _, m := range w.sessions {
		if m.runner == r {
			w.end(m, job.EndDrained, letEnd)
		}
	}
}

func (w *sessionWorld) interrupt() {
	m := w.pick()
	id, err := w.InterruptSession(w.t.Context(), m.id, "me")
	if m.ended == "" {
		w.same("interrupt", err, nil)
		if id != m.current {
			w.t.Errorf("interrupts %q, want %q", id, m.current)
		}
		w.flagged[id] = true
	}
}

// change moves the ends of a session, which changes nothing else of it.
func (w *sessionWorld) change() {
	m := w.pick()
	c := job.SessionChange{IdleTimeout: time.Duration(1+w.r.IntN(5)) * time.Hour, MaxAge: 8 * time.Hour, EndsIn: time.Duration(1+w.r.IntN(5)) * time.Hour}
	w.same("change", w.ChangeSession(w.t.Context(), m.id, job.Viewer{Caller: "me"}, c), m.refusal())
}

// look finds all sessions of a runner, and those with something to claim.
func (w *sessionWorld) look() {
	r := w.runner()
	all, ready, err := w.SessionsOf(w.t.Context(), r)
	w.same("look", err, nil)
	var wantAll, wantReady []string
	for _, m := range w.sessions {
		if m.runner != r || m.ended != "" {
			continue
		}
		wantAll = append(wantAll, m.id)
		if m.current == "" && len(m.waiting) > 0 {
			wantReady = append(wantReady, m.id)
		}
	}
	slices.Sort(all)
	slices.Sort(ready)
	slices.Sort(wantAll)
	slices.Sort(wantReady)
	if !slices.Equal(all, wantAll) || !slices.Equal(ready, wantReady) {
		w.t.Errorf("look: %v, ready %v; want %v, %v", all, ready, wantAll, wantReady)
	}
}

// check compares the youngest sessions and their jobs, and now and then everything.
func (w *sessionWorld) check(n uint64) {
	w.t.Helper()
	var idle, busy int64
	for i, m := range w.sessions {
		want := job.SessionIdle
		switch {
		case m.ended != "":
			want = job.SessionEnded
		case m.current != "" || len(m.waiting) > 0:
			want = job.SessionBusy
			busy++
		default:
			idle++
		}
		if i < len(w.sessions)-6 && n%100 != 0 {
			continue
		}
		s, err := w.Session(w.t.Context(), m.id, job.Viewer{Caller: "me"})
		if err != nil || s.State != want || s.Reason != m.ended || s.Waiting != len(m.waiting) || s.ExpiresAt.IsZero() != (m.ended != "") {
			w.t.Fatalf("step %d, %s: session is %+v, %v; want %s and %+v", n, w.step, s, err, want, m)
		}
		for _, id := range append(slices.Clone(m.waiting), m.current) {
			if id == "" {
				continue
			}
			if j, err := w.Get(w.t.Context(), id); err != nil || j.State != w.states[id] {
				w.t.Fatalf("step %d, %s: job is %+v, %v; want %s", n, w.step, j, err, w.states[id])
			}
		}
	}
	counts, err := w.CountSessions(w.t.Context())
	if err != nil || counts[job.SessionIdle] != idle || counts[job.SessionBusy] != busy {
		w.t.Fatalf("step %d, %s: counts are %v, %v; want %d idle, %d busy", n, w.step, counts, err, idle, busy)
	}
	if n%100 == 0 {
		for id, state := range w.states {
			if j, err := w.Get(w.t.Context(), id); err != nil || j.State != state {
				w.t.Fatalf("step %d, %s: job is %+v, %v; want %s", n, w.step, j, err, state)
			}
		}
		mended, err := w.Mend(w.t.Context(), []string{job.SessionQueue}, 1_000_000)
		if err != nil || len(mended) > 0 {
			w.t.Fatalf("step %d: had to mend %v, %v", n, mended, err)
		}
		w.checkListings(n)
		listed, _, err := w.ListSessions(w.t.Context(), job.SessionFilter{Viewer: job.Viewer{Caller: "me"}, Limit: 1_000_000})
		if err != nil || int64(len(listed)) != idle+busy {
			w.t.Fatalf("step %d: %d sessions are listed, %v; want %d", n, len(listed), err, idle+busy)
		}
	}
}

// checkListings compares what the owner of the sessions sees of their executions with what is there.
func (w *sessionWorld) checkListings(n uint64) {
	w.t.Helper()
	for _, state := range job.States() {
		own, _, err := w.List(w.t.Context(), job.Filter{State: state, Queue: job.SessionQueue, Viewer: job.Viewer{Caller: "me"}, Limit: 1_000_000})
		all, _, err2 := w.List(w.t.Context(), job.Filter{State: state, Queue: job.SessionQueue, Viewer: job.Viewer{All: true}, Limit: 1_000_000})
		if err != nil || err2 != nil || len(own) != len(all) {
			w.t.Fatalf("step %d, %s: the owner sees %d of %d, %v %v", n, state, len(own), len(all), err, err2)
		}
	}
}
