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

// Interpreter executes the code of a session. Its globals stay between executions.
type Interpreter interface {
	// Execute runs the code and returns when it has ended. The end of ctx interrupts it. The
	// second result is not nil if the interpreter ended with the code. An error means that Kaa's
	// part broke, or with job.ErrNotStarted that the interpreter had ended before.
	Execute(ctx context.Context, spec job.Spec, live job.Live) (job.Result, *job.SessionEnd, error)
	// Alive returns nil while the interpreter lives, else why it has ended.
	Alive() *job.SessionEnd
	Directory
	// Fork returns copies of the interpreter in its present state. After a job.RefusedError it
	// cannot be forked, but continues. After any other error it should be closed.
	Fork(ctx context.Context, count int) ([]Interpreter, error)
	// Restore returns a copy of this interpreter. The copy takes the place of the interpreter
	// that this one is a copy of, which is closed.
	Restore(ctx context.Context) (Interpreter, error)
	// Renew returns a fresh interpreter with the files of this one, which has needed too much
	// memory. This one is closed, also if there is an error.
	Renew(ctx context.Context) (Interpreter, error)
	Close() error
}

// Interpreters starts interpreters. It fails with job.ErrNoRuntime if there is no such runtime.
type Interpreters interface {
	Open(ctx context.Context, spec job.SessionSpec) (Interpreter, error)
}

// SessionRecords are the store's methods for sessions.
type SessionRecords interface {
	// NextInSession claims the session's next execution or operation; nil if there is none.
	NextInSession(ctx context.Context, session, runner string, attached bool) (*job.Claim, error)
	// FinishInSession ends a claim and claims the next. ask means that there may be a next one,
	// for NextInSession.
	FinishInSession(ctx context.Context, c job.Claim, o job.Outcome) (next *job.Claim, ask bool, err error)
	// SessionsOf returns the runner's sessions, and those of them that have something to execute.
	// It ends sessions that are overdue.
	SessionsOf(ctx context.Context, runner string) (all, ready []string, err error)
	EndSession(ctx context.Context, id string, end job.SessionEnd) error
	// MoveSession moves a session without an interpreter, with its claim, to one of the
	// candidates. It reports whether one of them had room. job.ErrStale: the claim is lost.
	MoveSession(ctx context.Context, c job.Claim, candidates []job.Candidate) (bool, error)
	// ForkSession records forks of a session: all of them, or none with a job.SessionsFullError.
	ForkSession(ctx context.Context, id, runner string, most, mostOwn int, copies []string) error
	// Answers returns the last answers to the jobs' requests for input.
	Answers(ctx context.Context, jobs []string) ([]job.Answer, error)
	// LeaveSessions ends all sessions of the runner. With letEnd their executions may finish.
	LeaveSessions(ctx context.Context, runner string, letEnd bool) (int, error)
}

// Operation is an action on a session other than code, such as a fork. It has its place in the
// order of the session's executions. Its data goes to the caller as JSON. A job.RefusedError is
// shown to the caller; any other error is a fault of Kaa. end is not nil if the session ended.
type Operation func(ctx context.Context, s *Session, args json.RawMessage) (data any, end *job.SessionEnd, err error)

// idleLook is the factor by which a runner without sessions looks after them more rarely.
const idleLook = 8

// Session is a session that this runner serves. It has an interpreter from its first execution
// on. While a goroutine serves the session, no other goroutine uses the interpreter.
type Session struct {
	id          string
	of          *sessions
	spec        job.SessionSpec
	interpreter Interpreter
	claim       job.Claim    // of the operation that is under way
	checkpoints []checkpoint // the oldest first
	// restarted is why the interpreter was replaced, until an execution's result has reported it.
	restarted *job.SessionEnd

	// sessions.mu guards the fields below.
	serving bool // a goroutine claims and executes
	making  bool // the session is a fork that is being made
	pending bool // there may be something to claim since that goroutine last asked
	over    bool // the session has ended: nothing is to be claimed any more
	letEnd  bool // the current execution may finish
	// why is the end to be written to the store; nil if the store has it. The session stays in
	// sessions.live until then: else its next execution would get a fresh interpreter.
	why *job.SessionEnd
	job string // the id of the job that is executed
	// broken is why the interpreter has ended between executions, if it is to be replaced.
	broken *job.SessionEnd
}

// ID returns the session's id.
func (s *Session) ID() string { return s.id }

// Spec returns the specification of the session's interpreters.
func (s *Session) Spec() job.SessionSpec { return s.spec }

// Claim returns the claim of the current operation. Only operations may call it.
func (s *Session) Claim() job.Claim { return s.claim }

// Interpreter returns the session's interpreter, a new one if it has none. Only operations may
// call it.
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

// Replace closes the session's interpreter and gives the session another; nil for a fresh one
// when it is needed. Only operations may call it.
func (s *Session) Replace(i Interpreter) {
	if s.interpreter != nil {
		if err := s.interpreter.Close(); err != nil {
			s.of.r.cfg.Log.Error("interpreter of a session was not closed as it should", slog.String("session_id", s.id), slog.Any("err", err))
		}
	}
	s.interpreter = i
}

// sessions are the sessions that a runner serves.
type sessions struct {
	r    *Runner
	ops  map[string]Operation
	ctx  context.Context // the context of their executions and operations
	done sync.WaitGroup  // goroutines that serve or close a session

	mu      sync.Mutex
	live    map[string]*Session
	serving int           // the number of sessions that are being served
	changed chan struct{} // closed and replaced when serving decreases
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

// SessionReady serves one of the runner's sessions, which has something to execute.
func (r *Runner) SessionReady(id string) { r.sessions.ready(id) }

// SessionClosed ends a session and interrupts its execution.
func (r *Runner) SessionClosed(id string) { r.sessions.end(id, false) }

// SessionClosing ends a session; its current execution may finish.
func (r *Runner) SessionClosing(id string) { r.sessions.end(id, true) }

// AwaitSessions returns when no session executes anything and all ended sessions are closed.
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

// DrainSessions ends the runner's sessions; their current executions may finish.
func (r *Runner) DrainSessions(ctx context.Context) error {
	if r.cfg.SessionRecords == nil {
		return nil
	}
	_, err := r.cfg.SessionRecords.LeaveSessions(ctx, r.cfg.Self.ID, true)
	r.sessions.mu.Lock()
	defer r.sessions.mu.Unlock()
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
	if se == nil && s.r.Draining() {
		return
	}
	if se == nil {
		se = &Session{id: id, of: s}
		s.live[id] = se
	}
	se.pending = true
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

// serve carries out the executions and operations of a session until there are none. It closes
// the session if that has ended.
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
			// lookAfter finds the session again, and giveBackForgotten a claim that was made.
			s.r.cfg.Log.WarnContext(s.ctx, "could not ask what a session has to do: will try again", slog.String("session_id", se.id), slog.Any("err", err))
			s.r.suspect()
		}
		for first := true; claim != nil; first = false {
			var ask bool
			if claim, ask = s.execute(se, *claim, first); ask {
				s.mu.Lock()
				se.pending = true
				s.mu.Unlock()
			}
		}
	}
}

// goOn reports whether there may be something to claim. If not, it stops serving the session.
func (s *sessions) goOn(se *Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if se.pending && !se.over {
		se.pending = false
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

// lookAfter compares the runner's sessions with the store. It finds sessions of which a message
// to the runner was lost: they have something to execute, or have ended. It writes the ends that
// the store lacks: of interpreters that have ended, and of sessions whose end could not be
// written. It makes the store end sessions that are overdue. A runner without sessions sends one
// command, and only every idleLook-th time.
func (s *sessions) lookAfter(ctx context.Context) {
	if s.r.cfg.SessionRecords == nil {
		return
	}
	s.mu.Lock()
	s.looks++
	known := make(map[string]bool, len(s.live))
	for id, se := range s.live {
		if !se.making { // the record of a fork that is being made may not be written yet
			known[id] = true
		}
	}
	skip := len(known) == 0 && s.looks%idleLook != 0 && !s.r.Drained()
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
	s.refuse(ctx, all)
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
	for id := range known { // sessions that the runner had before the look, and the store has not
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

// ended returns why an idle session has ended; nil if it has not.
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
	if again, why := look(); again != i { // the interpreter was closed meanwhile, for another reason
		return why
	}
	return end
}

// serves reports whether a goroutine claims or executes for a session now.
func (s *sessions) serves(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	se := s.live[id]
	return se != nil && se.serving
}

// count returns the number of sessions that have an interpreter or are getting one.
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

// close ends all sessions and waits for their goroutines.
func (s *sessions) close() {
	s.mu.Lock()
	s.closed = true
	for _, se := range s.live {
		s.endLocked(se, false)
	}
	s.mu.Unlock()
	s.done.Wait()
}
