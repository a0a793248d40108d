package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"

	"github.com/kaa-run/kaa/internal/job"
)

// Interpreter serves a session: one execution after the other, whose globals stay.
type Interpreter interface {
	// Execute runs the code and returns when it has ended. The end of ctx interrupts it.
	// If it was the last one, the second result says why. An error means that Kaa's part
	// broke, or with job.ErrNotStarted that the interpreter had ended before.
	Execute(ctx context.Context, spec job.Spec) (job.Result, *job.SessionEnd, error)
	// Alive is nil while the interpreter lives, else why it has ended.
	Alive() *job.SessionEnd
	Directory
	// Fork returns copies of it, which begin as what it is now. job.RefusedError: it cannot
	// be copied, and goes on; after any other error it should be closed.
	Fork(ctx context.Context, count int) ([]Interpreter, error)
	// Restore returns a copy that takes the place of the interpreter that this one is a
	// copy of, which is closed.
	Restore(ctx context.Context) (Interpreter, error)
	// Renew returns a fresh one among the files of this one, which is closed, also if there is
	// an error. For one that has needed too much memory.
	Renew(ctx context.Context) (Interpreter, error)
	Close() error
}

// Interpreters starts them. job.ErrNoRuntime: there is no such runtime.
type Interpreters interface {
	Open(ctx context.Context, spec job.SessionSpec) (Interpreter, error)
}

// SessionRecords is what serving sessions needs of the store.
type SessionRecords interface {
	// NextInSession claims what a session has to do next; nil if there is nothing.
	NextInSession(ctx context.Context, session, runner string, attached bool) (*job.Claim, error)
	// FinishInSession ends a claim and claims the next; ask says that there may be one
	// that has to be asked for.
	FinishInSession(ctx context.Context, c job.Claim, o job.Outcome) (next *job.Claim, ask bool, err error)
	// SessionsOf tells which sessions the runner has, and which of them have something to
	// do. It ends sessions that are overdue.
	SessionsOf(ctx context.Context, runner string) (all, ready []string, err error)
	EndSession(ctx context.Context, id string, end job.SessionEnd) error
	// MoveSession has a session without an interpreter live on one of the candidates, with
	// what was claimed of it, and tells whether one had room. job.ErrStale: the claim is lost.
	MoveSession(ctx context.Context, c job.Claim, candidates []job.Candidate) (bool, error)
	// ForkSession records copies of a session: all of them, or job.ErrTooManySessions.
	ForkSession(ctx context.Context, id, runner string, most int, copies []string) error
	// Answers returns the last that there are to jobs' requests for input.
	Answers(ctx context.Context, jobs []string) ([]job.Answer, error)
	// LeaveSessions ends all of the runner's; with letEnd, what they execute may end.
	LeaveSessions(ctx context.Context, runner string, letEnd bool) (int, error)
}

// Operation is something other than code that is done to a session in the order of its
// executions. What it returns goes to the caller as JSON; a job.RefusedError tells him that
// it cannot be done, any other error is our mistake. If the session is at its end
// afterwards, it says why.
type Operation func(ctx context.Context, s *Session, args json.RawMessage) (data any, end *job.SessionEnd, err error)

// idleLook is how much more rarely a runner without sessions looks after them.
const idleLook = 8

// Session is a session that this runner serves. It has an interpreter from its first
// execution on. While one goroutine serves it, nobody else touches the interpreter.
type Session struct {
	id          string
	of          *sessions
	spec        job.SessionSpec
	interpreter Interpreter
	claim       job.Claim    // of the operation that is under way
	checkpoints []checkpoint // the oldest first
	// restarted is why the interpreter was replaced, until an execution's result has told.
	restarted *job.SessionEnd

	// What follows is guarded by sessions.mu.
	serving bool // a goroutine claims and executes
	making  bool // it is a copy that is being made
	told    bool // there is something to claim, perhaps since that goroutine last asked
	over    bool // it has ended: nothing is to be claimed any more
	letEnd  bool // what it executes may come to its end
	// why is what the store has to be told of the end, nil if it knows. Until it does the
	// session is remembered: else what is to be done in it would get a fresh interpreter.
	why *job.SessionEnd
	job string // what it executes
	// broken is why its interpreter has ended between executions, if it is to be replaced.
	broken *job.SessionEnd
}

// ID returns the session's id.
func (s *Session) ID() string { return s.id }

// Spec returns what its interpreters are started with.
func (s *Session) Spec() job.SessionSpec { return s.spec }

// Claim returns the operation that is being carried out. For operations.
func (s *Session) Claim() job.Claim { return s.claim }

// Interpreter returns the session's interpreter, a new one if it has none. For operations.
func (s *Session) Interpreter(ctx context.Context) (Interpreter, error) {
	if s.interpreter == nil {
		i, err := s.of.r.cfg.Interpreters.Open(ctx, s.spec)
		if err != nil {
			return nil, fmt.Errorf("start interpreter of session: %w", err)
		}
		s.interpreter = i
	}
	return s.interpreter, nil
}

// Replace closes the session's interpreter and gives it another; nil for a fresh one when
// it is needed. For operations.
func (s *Session) Replace(i Interpreter) {
	if s.interpreter != nil {
		if err := s.interpreter.Close(); err != nil {
			s.of.r.cfg.Log.Error("interpreter of a session was not closed as it should", slog.String("session_id", s.id), slog.Any("err", err))
		}
	}
	s.interpreter = i
}

// sessions are those that a runner serves.
type sessions struct {
	r    *Runner
	ops  map[string]Operation
	ctx  context.Context // of all that is done for them
	done sync.WaitGroup  // goroutines that serve or close one

	mu      sync.Mutex
	live    map[string]*Session
	serving int           // how many are being served
	changed chan struct{} // closed and replaced when that becomes less
	drained bool          // no other session is taken on
	closed  bool
	looks   int
}

func newSessions(r *Runner, ops map[string]Operation) *sessions {
	s := &sessions{r: r, ctx: context.Background(), live: map[string]*Session{}, changed: make(chan struct{})}
	s.ops = map[string]Operation{job.OpRestart: restart, job.OpFork: s.fork, job.OpCheckpoint: checkpointOf, job.OpRollback: rollback}
	maps.Copy(s.ops, fileOperations())
	maps.Copy(s.ops, ops)
	return s
}

func restart(_ context.Context, s *Session, _ json.RawMessage) (any, *job.SessionEnd, error) {
	s.Replace(nil)
	return struct{}{}, nil, nil
}

// SessionReady tells the runner that one of its sessions has something to do.
func (r *Runner) SessionReady(id string) { r.sessions.ready(id) }

// SessionClosed tells the runner that a session has ended: what it executes is cut off.
func (r *Runner) SessionClosed(id string) { r.sessions.end(id, false) }

// SessionClosing tells the runner that a session takes no more; what it executes may come
// to its end.
func (r *Runner) SessionClosing(id string) { r.sessions.end(id, true) }

// AwaitSessions returns when no session executes anything, and all that have ended are
// closed.
func (r *Runner) AwaitSessions(ctx context.Context) error {
	for {
		r.sessions.mu.Lock()
		serving, changed := r.sessions.serving, r.sessions.changed
		r.sessions.mu.Unlock()
		if serving == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for sessions: %w", context.Cause(ctx))
		}
	}
}

// DrainSessions ends the runner's sessions: they take no more, what they execute may come
// to its end.
func (r *Runner) DrainSessions(ctx context.Context) error {
	if r.cfg.SessionRecords == nil {
		return nil
	}
	_, err := r.cfg.SessionRecords.LeaveSessions(ctx, r.cfg.Self.ID, true)
	r.sessions.mu.Lock()
	defer r.sessions.mu.Unlock()
	r.sessions.drained = true
	for _, s := range r.sessions.live {
		if !s.over {
			end := job.EndOfDrain()
			s.why = &end
		}
		r.sessions.endLocked(s, true)
	}
	return err
}

func (s *sessions) ready(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.r.cfg.SessionRecords == nil {
		return
	}
	se := s.live[id]
	if se == nil && s.drained {
		return
	}
	if se == nil {
		se = &Session{id: id, of: s}
		s.live[id] = se
	}
	se.told = true
	if !se.serving && !se.over {
		s.startServing(se)
	}
}

// startServing is called with mu held.
func (s *sessions) startServing(se *Session) {
	se.serving = true
	s.serving++
	s.done.Go(func() { s.serve(se) })
}

func (s *sessions) end(id string, letEnd bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if se := s.live[id]; se != nil {
		s.endLocked(se, letEnd)
	}
}

func (s *sessions) endLocked(se *Session, letEnd bool) {
	se.over, se.letEnd = true, letEnd
	switch {
	case se.serving && !letEnd && se.job != "":
		s.r.endJob(se.job, errLost)
	case !se.serving:
		s.startServing(se)
	}
}

// serve does what a session has to do until there is nothing, and closes it if it has
// ended.
func (s *sessions) serve(se *Session) {
	s.mend(se)
	for s.goOn(se) {
		claim, err := s.claim(se)
		switch {
		case errors.Is(err, job.ErrSessionEnded):
			s.mu.Lock()
			se.over = true
			s.mu.Unlock()
		case err != nil:
			// Whoever looks next finds it, and what may have been claimed.
			s.r.cfg.Log.WarnContext(s.ctx, "could not ask what a session has to do: will try again", slog.String("session_id", se.id), slog.Any("err", err))
			s.r.suspect()
		}
		for first := true; claim != nil; first = false {
			var ask bool
			if claim, ask = s.execute(se, *claim, first); ask {
				s.mu.Lock()
				se.told = true
				s.mu.Unlock()
			}
		}
	}
}

// goOn decides whether there may be something to claim; if not, it leaves the session.
func (s *sessions) goOn(se *Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if se.told && !se.over {
		se.told = false
		return true
	}
	if se.over {
		s.mu.Unlock()
		se.Replace(nil)
		se.dropCheckpoints()
		s.mu.Lock()
	}
	s.stopServing(se)
	return false
}

// stopServing is called with mu held.
func (s *sessions) stopServing(se *Session) {
	se.serving = false
	s.serving--
	close(s.changed)
	s.changed = make(chan struct{})
	if se.interpreter == nil && len(se.checkpoints) == 0 && se.why == nil {
		delete(s.live, se.id)
	}
}

// lookAfter finds what the runner was not told: sessions that have something to do, or
// that have ended; and what the store was not told: interpreters that have ended, and
// sessions whose end could not be written. It has those ended that are overdue. It costs one
// command where there are no sessions, and that every idleLook-th time only.
func (s *sessions) lookAfter(ctx context.Context) {
	if s.r.cfg.SessionRecords == nil {
		return
	}
	s.mu.Lock()
	s.looks++
	known := make(map[string]bool, len(s.live))
	for id, se := range s.live {
		if !se.making { // its record may not be there yet
			known[id] = true
		}
	}
	skip := len(known) == 0 && s.looks%idleLook != 0
	s.mu.Unlock()
	if skip {
		return
	}
	all, ready, err := s.r.cfg.SessionRecords.SessionsOf(ctx, s.r.cfg.Self.ID)
	if err != nil {
		if ctx.Err() == nil {
			s.r.cfg.Log.WarnContext(ctx, "could not look after the sessions: will try again", slog.Any("err", err))
		}
		return
	}
	for _, id := range ready {
		s.ready(id)
	}
	for _, id := range all {
		if end := s.ended(id); known[id] && end != nil && !s.renewing(id, end) {
			if err := s.r.cfg.SessionRecords.EndSession(ctx, id, *end); err != nil && !errors.Is(err, job.ErrSessionEnded) {
				s.r.cfg.Log.WarnContext(ctx, "end of a session was not written: will try again", slog.String("session_id", id), slog.Any("err", err))
			}
		}
		delete(known, id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range known { // known before the store was asked, and not to it
		switch se := s.live[id]; {
		case se == nil:
		case !se.over:
			s.endLocked(se, false)
		case se.serving:
			se.why = nil
		default:
			delete(s.live, id)
		}
	}
}

// ended says why a session that does nothing now is at its end, if it is.
func (s *sessions) ended(id string) *job.SessionEnd {
	look := func() (i Interpreter, why *job.SessionEnd) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if se := s.live[id]; se != nil && !se.serving {
			return se.interpreter, se.why
		}
		return nil, nil
	}
	i, why := look()
	if i == nil || why != nil {
		return why
	}
	end := i.Alive()
	if again, why := look(); again != i { // it was closed meanwhile, for another reason
		return why
	}
	return end
}

// serves reports whether something may be claimed or executed for a session right now.
func (s *sessions) serves(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	se := s.live[id]
	return se != nil && se.serving
}

// count returns how many sessions have an interpreter, or are getting one.
func (s *sessions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, se := range s.live {
		if !se.over || se.serving {
			n++
		}
	}
	return n
}

// close ends all that is left, and waits for it.
func (s *sessions) close() {
	s.mu.Lock()
	s.closed = true
	for _, se := range s.live {
		s.endLocked(se, false)
	}
	s.mu.Unlock()
	s.done.Wait()
}
