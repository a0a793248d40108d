package store_test

import (
	"errors"
	"maps"
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
	lanes      map[string]*laneModel
	laned      bool // it has had another lane than the default one
	paused     bool // or will be at the end of the current job
	resumes    bool // the next job or message ends the pause
	woken      bool // by a message: its runner is to look, though there is nothing to claim
	ended      job.EndReason
}

// laneModel is what a lane of a session is to be.
type laneModel struct {
	name    string
	waiting []string // jobs, in the order of their acceptance
	current string
	claim   *job.Claim // that is current
}

// lane returns a lane of the session, which may be an empty one.
func (m *sessionModel) lane(name string) *laneModel {
	l := m.lanes[name]
	if l == nil {
		if m.lanes == nil {
			m.lanes = map[string]*laneModel{}
		}
		l = &laneModel{name: name}
		m.lanes[name] = l
	}
	return l
}

// jobs returns the waiting and the running jobs of all lanes.
func (m *sessionModel) jobs() (waiting, running []string) {
	for _, l := range m.lanes {
		waiting = append(waiting, l.waiting...)
		if l.current != "" {
			running = append(running, l.current)
		}
	}
	return waiting, running
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
	old      string               // a runner that knows no lanes
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
	for range 4 {
		w.old = uuid.NewString()
		w.runners[w.old] = false
	}
	actions := []func(){
		w.open, w.fork, w.accept, w.accept, w.accept, w.accept, w.next, w.next, w.next, w.finish, w.finish, w.finish, w.cancel,
		w.closeOne, w.beat, w.beat, w.lapse, w.rescue, w.drain, w.interrupt, w.look, w.change, w.pause, w.pause, w.tell, w.move, w.sweep,
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
	for _, pattern := range []string{"{kaa}:sessions*", "{kaa}:session:*:jobs*", "{kaa}:session:*:lanes", "{kaa}:runner:*:sessions", "{kaa}:runner:*:ready"} {
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

// pickLane picks a lane of a session, more often one that has something.
func (w *sessionWorld) pickLane(m *sessionModel) *laneModel {
	names := slices.Sorted(maps.Keys(m.lanes))
	if n := w.r.IntN(len(names) + 1); n < len(names) {
		return m.lane(names[n])
	}
	return m.lane([]string{job.LaneDefault, "a", "b"}[w.r.IntN(3)])
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
	letEnd = letEnd && !m.paused
	m.ended, m.paused = reason, false
	for _, l := range m.lanes {
		for _, id := range l.waiting {
			w.states[id] = job.Failed
		}
		l.waiting = nil
		if l.current != "" && !letEnd {
			w.states[l.current] = job.Failed
			l.current = ""
		}
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
	err := w.ForkSession(w.t.Context(), m.id, runner, most, job.SessionBounds{}, ids)
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
	n.Job.Lane = []string{job.LaneDefault, job.LaneDefault, "a", "b", job.LaneBeside}[w.r.IntN(5)]
	if w.r.IntN(4) == 0 {
		n.Job.Queue = job.OperationQueue
	}
	want, lane := m.refusal(), n.Job.Lane
	if lane == job.LaneBeside {
		lane = job.Beside(n.Job.ID)
	}
	if m.paused && !m.resumes {
		want = job.ErrSessionPaused
	}
	if m.paused && w.r.IntN(2) == 0 {
		n.Job.Queue, n.Spec.Op, want = job.OperationQueue, job.OpResume, nil
	}
	if w.r.IntN(10) == 0 {
		n.Caller, want = "another", job.ErrNoSession
	}
	if lane != job.LaneDefault && !m.laned && (m.runner == w.old || !w.runners[m.runner]) {
		lane = job.LaneDefault
		if n.Job.Queue == job.SessionQueue && want == nil {
			want = job.ErrOldRunner
		}
	}
	_, err := w.Create(w.t.Context(), n)
	w.same("accept", err, want)
	if err == nil {
		m.paused = false
		l := m.lane(lane)
		l.waiting = append(l.waiting, n.Job.ID)
		m.laned = m.laned || lane != job.LaneDefault
		w.states[n.Job.ID] = job.Queued
	}
}

func (w *sessionWorld) next() {
	m := w.pick()
	l, runner := w.pickLane(m), m.runner
	if w.r.IntN(8) == 0 {
		runner = w.runner()
	}
	c, err := w.NextInSession(w.t.Context(), m.id, l.name, runner, w.r.IntN(2) == 0)
	switch {
	case m.ended != "" || runner != m.runner:
		w.same("next of an ended one", err, job.ErrSessionEnded)
	case !w.runners[runner]:
		w.same("next by a lapsed runner", err, job.ErrUnregistered)
	default:
		w.same("next", err, nil)
		w.claimed(l, c)
	}
}

// claimed compares a claim with what the model says comes next in a lane, and takes it.
func (w *sessionWorld) claimed(l *laneModel, c *job.Claim) {
	w.t.Helper()
	if l.current == "" && len(l.waiting) > 0 {
		l.current, l.waiting = l.waiting[0], l.waiting[1:]
		w.states[l.current] = job.Running
	}
	got := ""
	if c != nil {
		got = c.JobID
	}
	if got != l.current || c != nil && c.Lane != l.name {
		w.t.Errorf("%s: claimed %q, want %q of %q", w.step, got, l.current, l.name)
	}
	l.claim = c
}

func (w *sessionWorld) finish() {
	m := w.pick()
	l := w.pickLane(m)
	if l.claim == nil {
		return
	}
	o := job.Outcome{State: job.Completed, Result: result()}
	if w.r.IntN(12) == 0 {
		o.End = &job.SessionEnd{Reason: job.EndCrashed, Message: "m"}
	}
	held := l.current == l.claim.JobID && l.claim.Runner == m.runner
	var want error
	if !held && w.states[l.claim.JobID] != job.Completed {
		want = job.ErrStale
	}
	next, ask, err := w.FinishInSession(w.t.Context(), *l.claim, o)
	w.same("finish", err, want)
	if err != nil || !held {
		return
	}
	w.states[l.current], l.current = job.Completed, ""
	if o.End != nil {
		w.end(m, o.End.Reason, false)
	}
	if ask {
		// Sent twice, or by a runner that has lapsed.
		if !w.repeat.on && w.runners[m.runner] {
			w.t.Error("finish: the runner is to ask, and need not")
		}
		if w.repeat.on && m.ended == "" && w.runners[m.runner] && len(l.waiting) > 0 {
			next, err = w.NextInSession(w.t.Context(), m.id, l.name, m.runner, true)
			w.same("next after finish", err, nil)
			w.claimed(l, next)
		}
		return
	}
	if m.ended == "" && w.runners[m.runner] {
		w.claimed(l, next)
	}
}

func (w *sessionWorld) cancel() {
	m := w.pick()
	l := w.pickLane(m)
	if len(l.waiting) == 0 {
		return
	}
	i := w.r.IntN(len(l.waiting))
	_, err := w.Cancel(w.t.Context(), l.waiting[i])
	w.same("cancel", err, nil)
	w.states[l.waiting[i]] = job.Cancelled
	l.waiting = slices.Delete(l.waiting, i, i+1)
}

// move moves a session with a claim to another runner, with all its claims.
func (w *sessionWorld) move() {
	m := w.pick()
	l := w.pickLane(m)
	if l.claim == nil {
		return
	}
	to := w.runner()
	_, running := m.jobs()
	moves := w.runners[to] && to != m.runner && !m.paused && (!m.laned || to != w.old) &&
		!slices.ContainsFunc(running, func(id string) bool { return w.flagged[id] })
	var want error
	if m.ended != "" || l.current != l.claim.JobID || l.claim.Runner != m.runner {
		want, moves = job.ErrStale, false
	}
	moved, err := w.MoveSession(w.t.Context(), *l.claim, []job.Candidate{{Runner: to, Most: 1000}})
	w.same("move", err, want)
	if moved != moves {
		w.t.Errorf("moved %t, want %t", moved, moves)
	}
	if !moved {
		return
	}
	m.runner = to
	for _, l := range m.lanes {
		l.claim = nil
		if l.current != "" {
			w.states[l.current] = job.Queued
			l.waiting, l.current = slices.Insert(l.waiting, 0, l.current), ""
		}
	}
}

func (w *sessionWorld) sweep() {
	_, err := w.Sweep(w.t.Context(), 100)
	w.same("sweep", err, nil)
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
	w.same("beat", w.Beat(w.t.Context(), job.Runner{ID: r, Lanes: r != w.old}), nil)
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
			for _, l := range m.lanes {
				if m.ended != "" && l.current != "" { // that was let end
					w.states[l.current] = job.Failed
					if w.flagged[l.current] {
						w.states[l.current] = job.Cancelled
					}
					l.current = ""
				}
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
	l := w.pickLane(m)
	id, err := w.InterruptSession(w.t.Context(), m.id, "me", l.name)
	if m.ended == "" {
		w.same("interrupt", err, nil)
		if id != l.current {
			w.t.Errorf("interrupts %q, want %q", id, l.current)
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

// pause halts a session, in the middle of its current job.
func (w *sessionWorld) pause() {
	m := w.pick()
	l := m.lane(job.LaneDefault)
	if l.claim == nil {
		return
	}
	waiting, running := m.jobs()
	frozen := slices.DeleteFunc(running, func(id string) bool { return id == l.current })
	others := len(frozen)
	if others > 0 && w.r.IntN(3) == 0 {
		frozen = frozen[1:] // one that has just begun
	}
	resumes := w.r.IntN(2) == 0
	err := w.HaltSession(w.t.Context(), *l.claim, job.PauseArgs{Most: time.Hour, AutoResume: resumes}, frozen)
	_, refused := errors.AsType[*job.RefusedError](err)
	switch {
	case m.ended != "" || l.current != l.claim.JobID:
		w.same("pause by an old claim", err, job.ErrStale)
	case !m.paused && (len(waiting) > 0 || len(frozen) < others):
		if !refused {
			w.t.Errorf("pause before others: %v", err)
		}
	default:
		w.same("pause", err, nil)
		if !m.paused {
			m.paused, m.resumes = true, resumes
		}
	}
	if paused, err := w.IsPaused(w.t.Context(), m.id); err != nil || paused != m.paused {
		w.t.Errorf("paused is %v, %v; want %v", paused, err, m.paused)
	}
}

// tell sends a command a signal. A paused session refuses it, or resumes.
func (w *sessionWorld) tell() {
	m := w.pick()
	l := w.pickLane(m)
	if l.current == "" || l.name != job.Beside(l.current) || m.ended != "" {
		return
	}
	j, err := w.Get(w.t.Context(), l.current)
	if err != nil || j.Queue != job.SessionQueue {
		return
	}
	var want error
	if m.paused && !m.resumes {
		want = job.ErrSessionPaused
	}
	w.same("tell", w.TellCommand(w.t.Context(), m.id, "me", l.current, job.CommandMessage{Signal: "TERM"}), want)
	if want == nil && m.paused {
		m.paused, m.woken = false, true
	}
}

// look finds all sessions of a runner, and the lanes with something to claim.
func (w *sessionWorld) look() {
	r := w.runner()
	all, ready, err := w.SessionsOf(w.t.Context(), r)
	w.same("look", err, nil)
	var wantAll, gotReady, wantReady []string
	for _, l := range ready {
		if l.Lane == job.LaneDefault && slices.ContainsFunc(w.sessions, func(m *sessionModel) bool {
			return m.id == l.Session && m.woken && len(m.lane(l.Lane).waiting) == 0
		}) {
			continue
		}
		gotReady = append(gotReady, l.Session+" "+l.Lane)
	}
	for _, m := range w.sessions {
		if m.runner != r || m.ended != "" {
			continue
		}
		wantAll = append(wantAll, m.id)
		for _, l := range m.lanes {
			if l.current == "" && len(l.waiting) > 0 {
				wantReady = append(wantReady, m.id+" "+l.name)
			}
		}
	}
	slices.Sort(all)
	slices.Sort(gotReady)
	slices.Sort(wantAll)
	slices.Sort(wantReady)
	if !slices.Equal(all, wantAll) || !slices.Equal(gotReady, wantReady) {
		w.t.Errorf("look: %v, ready %v; want %v, %v", all, gotReady, wantAll, wantReady)
	}
}

// check compares the youngest sessions and their jobs, and now and then everything.
func (w *sessionWorld) check(n uint64) {
	w.t.Helper()
	var idle, busy, paused int64
	for i, m := range w.sessions {
		want := job.SessionIdle
		waiting, running := m.jobs()
		switch {
		case m.ended != "":
			want = job.SessionEnded
		case m.paused && m.lane(job.LaneDefault).current == "":
			want = job.SessionPaused
			paused++
		case len(running)+len(waiting) > 0:
			want = job.SessionBusy
			busy++
		default:
			idle++
		}
		if i < len(w.sessions)-6 && n%100 != 0 {
			continue
		}
		s, err := w.Session(w.t.Context(), m.id, job.Viewer{Caller: "me"})
		if err != nil || s.State != want || s.Reason != m.ended || s.Waiting != len(waiting) || s.ExpiresAt.IsZero() != (m.ended != "") {
			w.t.Fatalf("step %d, %s: session is %+v, %v; want %s and %+v", n, w.step, s, err, want, m)
		}
		for _, id := range append(waiting, running...) {
			if j, err := w.Get(w.t.Context(), id); err != nil || j.State != w.states[id] {
				w.t.Fatalf("step %d, %s: job is %+v, %v; want %s", n, w.step, j, err, w.states[id])
			}
		}
	}
	counts, err := w.CountSessions(w.t.Context())
	if err != nil || counts[job.SessionIdle] != idle || counts[job.SessionBusy] != busy || counts[job.SessionPaused] != paused {
		w.t.Fatalf("step %d, %s: counts are %v, %v; want %d idle, %d busy", n, w.step, counts, err, idle, busy)
	}
	if n%100 == 0 {
		for id, state := range w.states {
			if j, err := w.Get(w.t.Context(), id); err != nil || j.State != state {
				w.t.Fatalf("step %d, %s: job is %+v, %v; want %s", n, w.step, j, err, state)
			}
		}
		mended, err := w.Mend(w.t.Context(), []string{job.SessionQueue, job.OperationQueue}, 1_000_000)
		if err != nil || len(mended) > 0 {
			w.t.Fatalf("step %d: had to mend %v, %v", n, mended, err)
		}
		w.checkListings(n)
		listed, _, err := w.ListSessions(w.t.Context(), job.SessionFilter{Viewer: job.Viewer{Caller: "me"}, Limit: 1_000_000})
		if err != nil || int64(len(listed)) != idle+busy+paused {
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
