package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// Interpreter executes the code of a session. Its globals stay between executions. Only the default lane calls Execute,
// Fork, Restore, Renew and Close. Other lanes use the sandbox of the interpreter at the same time.
type Interpreter interface {
	// Execute runs the code and returns when it has ended. The end of ctx interrupts it. The
	// second result is not nil if the interpreter ended with the code. An error means that Kaa's
	// part broke, or with job.ErrNotStarted that the interpreter had ended before.
	Execute(ctx context.Context, spec job.Spec, live job.Live) (job.Result, *job.SessionEnd, error)
	// Alive returns nil while the interpreter lives, else why it has ended.
	Alive() *job.SessionEnd
	Directory
	fileSystems
	// Fork returns copies of the interpreter in its present state. After a job.RefusedError it
	// cannot be forked, but continues. After any other error it should be closed.
	Fork(ctx context.Context, count int) ([]Interpreter, error)
	// Context returns another interpreter in the sandbox of this one, which begins in the directory cwd. Close of this one closes
	// it. After a job.RefusedError there is none, and this one continues.
	Context(ctx context.Context, cwd string) (Interpreter, error)
	// Restore returns a copy of this interpreter. The copy takes the place of the interpreter
	// that this one is a copy of, which is closed.
	Restore(ctx context.Context) (Interpreter, error)
	// Renew returns a fresh interpreter with the files and contexts of this one, which is closed, also if there is an error.
	Renew(ctx context.Context) (Interpreter, error)
	Close() error
}

// Interpreters starts interpreters. It fails with job.ErrNoRuntime if there is no such runtime.
type Interpreters interface {
	Open(ctx context.Context, spec job.SessionSpec) (Interpreter, error)
}

// SessionRecords are the store's methods for sessions.
type SessionRecords interface {
	// NextInSession claims the next execution or operation of a lane of the session; nil if there is none.
	NextInSession(ctx context.Context, session, lane, runner string, attached bool) (*job.Claim, error)
	// FinishInSession ends a claim and claims the next of its lane. ask means that there may be a next one,
	// for NextInSession.
	FinishInSession(ctx context.Context, c job.Claim, o job.Outcome) (next *job.Claim, ask bool, err error)
	// SessionsOf returns the runner's sessions, and those of their lanes that have something to execute.
	// It ends sessions that are overdue.
	SessionsOf(ctx context.Context, runner string) (all []string, ready []job.ReadyLane, err error)
	EndSession(ctx context.Context, id string, end job.SessionEnd) error
	// MoveSession moves a session without an interpreter, with its claims, to one of the
	// candidates. It reports whether one of them had room. job.ErrStale: the claim is lost.
	MoveSession(ctx context.Context, c job.Claim, candidates []job.Candidate) (bool, error)
	// ForkSession records forks of a session: all of them, or none with a job.SessionsFullError.
	ForkSession(ctx context.Context, id, runner string, most int, own job.SessionBounds, copies []string) error
	// HaltSession notes that the processes of a session are stopped by the operation that is claimed, and with them the frozen jobs of other
	// lanes. The session is paused from the end of the operation on. A job.RefusedError says why it may not be.
	HaltSession(ctx context.Context, c job.Claim, p job.PauseArgs, frozen []string) error
	IsPaused(ctx context.Context, id string) (bool, error)
	// Answers returns the last answers to the jobs' requests for input.
	Answers(ctx context.Context, jobs []string) ([]job.Answer, error)
	// LeaveSessions ends all sessions of the runner. With letEnd their executions may finish.
	LeaveSessions(ctx context.Context, runner string, letEnd bool) (int, error)
}

// Operation is an action on a session other than code, such as a fork. It has its place in the
// order of its lane: see job.LaneOf. Its data goes to the caller as JSON. A job.RefusedError is
// shown to the caller; any other error is a fault of Kaa. end is not nil if the session ended.
type Operation func(ctx context.Context, s *Session, args json.RawMessage) (data any, end *job.SessionEnd, err error)

// idleLook is the factor by which a runner without sessions looks after them more rarely.
const idleLook = 8

// Session is a session for an operation on it.
type Session struct {
	*served
	claim job.Claim // of the operation
}

// Claim returns the claim of the operation.
func (s *Session) Claim() job.Claim { return s.claim }

// sessions are the sessions that a runner serves.
type sessions struct {
	r    *Runner
	ops  map[string]Operation
	ctx  context.Context // the context of their executions and operations
	done sync.WaitGroup  // goroutines that serve, save or close a session

	saving     context.Context // of saves of volumes
	stopSaving context.CancelFunc
	saves      *turns // of saves

	mu      sync.Mutex
	live    map[string]*served
	serving int           // the number of lanes that are being served
	changed chan struct{} // closed and replaced when serving decreases
	closed  bool
	looks   int
}

func newSessions(r *Runner, ops map[string]Operation) *sessions {
	s := &sessions{r: r, ctx: context.Background(), live: map[string]*served{}, changed: make(chan struct{}), saves: newTurns(savesAtOnce)}
	s.saving, s.stopSaving = context.WithCancel(s.ctx)
	s.ops = map[string]Operation{job.OpRestart: restart, job.OpFork: s.fork, job.OpCheckpoint: checkpointOf, job.OpRollback: rollback, job.OpPause: s.pause, job.OpResume: resume, job.OpMeasure: measure, job.OpPackages: s.addPackages}
	maps.Copy(s.ops, fileOperations())
	maps.Copy(s.ops, contextOperations())
	maps.Copy(s.ops, ops)
	return s
}

func restart(ctx context.Context, s *Session, _ json.RawMessage) (any, *job.SessionEnd, error) {
	defer s.Alone()()
	if err := s.save(ctx, false); err != nil && s.lives() {
		return nil, nil, err
	}
	s.forsake(ctx) // the next interpreter restores the files
	s.Replace(nil)
	return struct{}{}, nil, nil
}

// SessionReady serves a lane of one of the runner's sessions, which has something to execute.
func (r *Runner) SessionReady(id, lane string) { r.sessions.ready(id, lane) }

// SessionClosed ends a session and interrupts its executions.
func (r *Runner) SessionClosed(id string) { r.sessions.end(id, false) }

// SessionClosing ends a session; its current executions may finish.
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
		if s.busy > 0 {
			r.sessions.saveSoonLocked(s) // there may be little time after the end of its execution
		}
		r.sessions.endLocked(s, true)
	}
	return err
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
	for _, l := range ready {
		s.ready(l.Session, l.Lane)
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
		case se.busy > 0:
			se.why = nil
		default:
			delete(s.live, id)
		}
	}
}

// count returns the number of sessions that have an interpreter or are getting one.
func (s *sessions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, se := range s.live {
		if !se.over || se.busy > 0 {
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
	defer time.AfterFunc(closeSaves, s.stopSaving).Stop()
	s.done.Wait()
	s.stopSaving()
}

// closeSaves bounds the saves that are left when the runner is closed.
const closeSaves = 3 * time.Second
