package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/runner"
)

// fakeSession is a store with one session.
type fakeSession struct {
	mu       sync.Mutex
	waiting  []job.Spec
	current  *job.Claim
	ended    []job.SessionEnd
	outcomes chan job.Outcome
	// lost answers: so many claims and ends do their work and answer with an error.
	lost int
	// looking, if not nil, receives a channel at each look at all sessions, which waits for its answer.
	looking chan chan struct{}
	moved   []string
	leaving error // what becomes of LeaveSessions
	paused  bool
	frozen  []string // by the last pause
	halting error    // what becomes of HaltSession
	spec    job.SessionSpec
}

func (*fakeSession) Answers(context.Context, []string) ([]job.Answer, error) { return nil, nil }

func (f *fakeSession) next() *job.Claim {
	if f.current == nil && len(f.waiting) > 0 {
		f.current = &job.Claim{JobID: f.waiting[0].Code + f.waiting[0].Op, SessionID: "s", InSession: true, Attempt: 1, Spec: f.waiting[0], Session: f.spec}
		f.waiting = f.waiting[1:]
	}
	return f.current
}

// set says what waits.
func (f *fakeSession) set(specs ...job.Spec) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = specs
}

func (f *fakeSession) lose() error {
	if f.lost > 0 {
		f.lost--
		return job.ErrUnavailable
	}
	return nil
}

func (f *fakeSession) NextInSession(context.Context, string, string, string, bool) (*job.Claim, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.next()
	return c, f.lose()
}

func (f *fakeSession) FinishInSession(_ context.Context, c job.Claim, o job.Outcome) (*job.Claim, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current == nil || f.current.JobID != c.JobID {
		return nil, true, nil // before
	}
	f.current = nil
	f.outcomes <- o
	if o.End != nil {
		f.ended = append(f.ended, *o.End)
		f.waiting = nil
	}
	next := f.next()
	if err := f.lose(); err != nil {
		return nil, false, err
	}
	return next, false, nil
}

func (f *fakeSession) SessionsOf(ctx context.Context, _ string) (all []string, ready []job.ReadyLane, err error) {
	if f.looking != nil {
		answer := make(chan struct{})
		select {
		case f.looking <- answer:
			<-answer
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ended) > 0 {
		return nil, nil, nil
	}
	if len(f.waiting) > 0 {
		ready = []job.ReadyLane{{Session: "s"}}
	}
	return []string{"s"}, ready, nil
}

func (f *fakeSession) EndSession(_ context.Context, _ string, end job.SessionEnd) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, end)
	return nil
}

func (f *fakeSession) MoveSession(_ context.Context, c job.Claim, candidates []job.Candidate) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(candidates) == 0 {
		return false, nil
	}
	f.moved = append(f.moved, c.JobID+" to "+candidates[0].Runner)
	f.current, f.waiting = nil, nil
	return true, nil
}

func (f *fakeSession) ForkSession(_ context.Context, _, _ string, most int, _ job.SessionBounds, copies []string) error {
	if len(copies) > most {
		return &job.SessionsFullError{Limit: int64(most)}
	}
	return nil
}

func (f *fakeSession) HaltSession(_ context.Context, _ job.Claim, _ job.PauseArgs, frozen []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frozen = frozen
	f.paused = f.halting == nil
	return f.halting
}

func (f *fakeSession) IsPaused(context.Context, string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.paused, nil
}

func (f *fakeSession) LeaveSessions(context.Context, string, bool) (int, error) { return 0, f.leaving }

// fakeInterpreters count how many they have started.
type fakeInterpreters struct {
	mu      sync.Mutex
	started int
	closed  int
	err     error
	// files are the files of all interpreters; filesErr is the error of each access to them.
	files    map[string]string
	filesErr error
	blobs    *fakeBlobs
	forkErr  error
	renewErr error
	last     *fakeInterpreter // that was started
	hold     chan struct{}    // is received from twice by the code "hold"
	commands chan struct{}    // is received from at the end of a command
	system   job.FileSystem   // of all interpreters
	opening  chan struct{}    // is sent to by an opening that waits for the end of its context
}

func (f *fakeInterpreters) Open(ctx context.Context, _ job.SessionSpec) (runner.Interpreter, error) {
	if f.opening != nil {
		f.opening <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	f.started++
	f.last = &fakeInterpreter{fakeDirectory: fakeDirectory{files: f.files, err: f.filesErr, system: f.system}, of: f, n: f.started}
	return f.last, nil
}

type fakeInterpreter struct {
	fakeDirectory
	of    *fakeInterpreters
	n     int
	ended *job.SessionEnd

	closed  bool
	stopped bool          // by Pause
	resumed chan struct{} // closed by Resume
}

func (i *fakeInterpreter) Pause() error {
	i.of.mu.Lock()
	defer i.of.mu.Unlock()
	i.stopped, i.resumed = true, make(chan struct{})
	return nil
}

func (i *fakeInterpreter) Resume() error {
	i.of.mu.Lock()
	defer i.of.mu.Unlock()
	if i.stopped {
		i.stopped = false
		close(i.resumed)
	}
	return nil
}

// Run runs a command, which does not end while it is stopped.
func (i *fakeInterpreter) Run(ctx context.Context, _ job.Spec, _ job.Live) (job.Result, error) {
	select {
	case <-i.of.commands:
		return job.Result{Status: job.StatusOK, Stdout: string(rune('0' + i.n))}, nil
	case <-ctx.Done():
	}
	i.of.mu.Lock()
	stopped, resumed := i.stopped, i.resumed
	i.of.mu.Unlock()
	if stopped {
		<-resumed
	}
	return job.Result{Status: job.StatusInterrupted}, nil
}

func (i *fakeInterpreter) Execute(ctx context.Context, spec job.Spec, _ job.Live) (job.Result, *job.SessionEnd, error) {
	if i.ended != nil {
		return job.Result{}, i.ended, job.ErrNotStarted
	}
	if i.stopped {
		return job.Result{}, nil, errors.New("it is stopped")
	}
	switch spec.Code {
	case "crash":
		return job.Result{Status: job.StatusExit}, &job.SessionEnd{Reason: job.EndCrashed}, nil
	case "memory":
		i.ended = &job.SessionEnd{Reason: job.EndMemory, Message: "too much"}
		return job.Result{Status: job.StatusExit}, i.ended, nil
	case "break":
		return job.Result{}, nil, errors.New("broke")
	case "hold":
		<-i.of.hold
		<-i.of.hold
		if i.closed {
			return job.Result{}, nil, errors.New("it was closed")
		}
	case "wait":
		<-ctx.Done()
		return job.Result{Status: job.StatusInterrupted}, nil, nil
	}
	return job.Result{Status: job.StatusOK, Stdout: string(rune('0' + i.n))}, nil, nil
}

func (i *fakeInterpreter) Alive() *job.SessionEnd {
	if i.ended != nil {
		return i.ended
	}
	if errors.Is(i.err, job.ErrNotStarted) {
		return &job.SessionEnd{Reason: job.EndCrashed, Message: "its interpreter has ended"}
	}
	return nil
}

func (i *fakeInterpreter) Fork(_ context.Context, count int) ([]runner.Interpreter, error) {
	i.of.mu.Lock()
	defer i.of.mu.Unlock()
	if i.of.forkErr != nil {
		return nil, i.of.forkErr
	}
	var copies []runner.Interpreter
	for range count {
		i.of.started++
		copies = append(copies, &fakeInterpreter{of: i.of, n: i.of.started})
	}
	return copies, nil
}

func (i *fakeInterpreter) Context(ctx context.Context, cwd string) (runner.Interpreter, error) {
	if cwd == "missing" {
		return nil, &job.RefusedError{Message: "no such directory"}
	}
	copies, err := i.Fork(ctx, 1)
	if err != nil {
		return nil, err
	}
	return copies[0], nil
}

func (i *fakeInterpreter) Restore(ctx context.Context) (runner.Interpreter, error) {
	copies, err := i.Fork(ctx, 1)
	if err != nil {
		return nil, err
	}
	return copies[0], nil
}

func (i *fakeInterpreter) Renew(context.Context) (runner.Interpreter, error) {
	_ = i.Close()
	i.of.mu.Lock()
	defer i.of.mu.Unlock()
	if i.of.renewErr != nil {
		return nil, i.of.renewErr
	}
	i.of.started++
	return &fakeInterpreter{fakeDirectory: i.fakeDirectory, of: i.of, n: i.of.started}, nil
}

func (i *fakeInterpreter) Close() error {
	if i.closed {
		return nil
	}
	i.closed = true
	i.of.mu.Lock()
	defer i.of.mu.Unlock()
	i.of.closed++
	return nil
}

func TestSessions(t *testing.T) {
	t.Parallel()
	code := func(codes ...string) []job.Spec {
		var all []job.Spec
		for _, c := range codes {
			all = append(all, job.Spec{Code: c})
		}
		return all
	}
	op := func(name string) job.Spec { return job.Spec{Op: name, Args: json.RawMessage(`{"x":1}`)} }
	for _, tt := range []struct {
		name     string
		specs    []job.Spec
		lost     int
		startErr error
		outcomes []string
		started  int
		ended    job.EndReason
	}{
		{name: "one after the other, in one interpreter", specs: code("a", "b", "c"), outcomes: []string{"completed 1", "completed 1", "completed 1"}, started: 1},
		{name: "answers that are lost", specs: code("a", "b", "c"), lost: 3, outcomes: []string{"completed 1", "completed 1", "completed 1"}, started: 1},
		{name: "restart", specs: []job.Spec{{Code: "a"}, op("restart"), {Code: "b"}}, outcomes: []string{"completed 1", "completed {}", "completed 2"}, started: 2},
		{name: "an operation of somebody else", specs: []job.Spec{op("echo"), {Code: "a"}}, outcomes: []string{`completed {"x":1}`, "completed 1"}, started: 1},
		{name: "that is refused", specs: []job.Spec{op("refuse"), {Code: "a"}}, outcomes: []string{"failed refused: not now", "completed 1"}, started: 1},
		{name: "that breaks", specs: []job.Spec{op("break"), {Code: "a"}}, outcomes: []string{"failed worker_failed: the operation failed: break", "completed 1"}, started: 1},
		{name: "that nobody knows", specs: []job.Spec{op("what")}, outcomes: []string{"failed refused: the runner does not know how to do this: what"}},
		{name: "a crash", specs: code("a", "crash", "b"), outcomes: []string{"completed 1", "completed "}, started: 1, ended: job.EndCrashed},
		{name: "a supervision that breaks", specs: code("break", "b"), outcomes: []string{"failed session_ended: the interpreter's supervision broke; the output is lost"}, started: 1, ended: job.EndCrashed},
		{name: "no interpreter", specs: code("a"), startErr: errors.New("none"), outcomes: []string{"failed session_ended: no Python interpreter could be started for it"}, ended: job.EndStartFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			records := &fakeSession{waiting: tt.specs, lost: tt.lost, outcomes: make(chan job.Outcome, 10)}
			interpreters := &fakeInterpreters{err: tt.startErr}
			r := sessionRunner(t, records, interpreters, 0)
			r.SessionReady("s", job.LaneDefault)
			for i, want := range tt.outcomes {
				if got := describe(<-records.outcomes); got != want {
					t.Errorf("outcome %d is %q, want %q", i, got, want)
				}
			}
			if err := r.AwaitSessions(t.Context()); err != nil {
				t.Fatal(err)
			}
			if interpreters.started != tt.started {
				t.Errorf("started %d interpreters, want %d", interpreters.started, tt.started)
			}
			if got := len(records.ended) > 0; got != (tt.ended != "") || got && records.ended[0].Reason != tt.ended {
				t.Errorf("ended: %+v, want %q", records.ended, tt.ended)
			}
			r.SessionClosed("s")
			if err := r.AwaitSessions(t.Context()); err != nil || interpreters.closed != interpreters.started {
				t.Errorf("closed %d of %d interpreters, %v", interpreters.closed, interpreters.started, err)
			}
		})
	}
}

// TestSessionClosedWhileItExecutes: no end is written for the execution that was cut off.
func TestSessionClosedWhileItExecutes(t *testing.T) {
	t.Parallel()
	records := &fakeSession{waiting: []job.Spec{{Code: "wait"}}, outcomes: make(chan job.Outcome, 1)}
	interpreters := &fakeInterpreters{}
	r := sessionRunner(t, records, interpreters, 0)
	r.SessionReady("s", job.LaneDefault)
	for r.Active() == 0 {
		<-time.After(time.Millisecond)
	}
	r.SessionClosed("s")
	if err := r.AwaitSessions(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(records.outcomes) > 0 || interpreters.closed != interpreters.started {
		t.Errorf("%d outcomes; closed %d of %d", len(records.outcomes), interpreters.closed, interpreters.started)
	}
}

// TestCancelBeforeTheInterpreter: who gives up before the session has its interpreter does not end the session.
func TestCancelBeforeTheInterpreter(t *testing.T) {
	t.Parallel()
	records := &fakeSession{waiting: []job.Spec{{Code: "a"}}, outcomes: make(chan job.Outcome, 1)}
	interpreters := &fakeInterpreters{opening: make(chan struct{})}
	r := sessionRunner(t, records, interpreters, 0)
	r.SessionReady("s", job.LaneDefault)
	<-interpreters.opening
	r.Cancelled("a")
	if o := <-records.outcomes; o.State != job.Cancelled || o.End != nil || o.Failure == nil || o.Failure.Code != job.FailCancelled {
		t.Errorf("%+v", o)
	}
	r.SessionClosed("s")
	if err := r.AwaitSessions(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestDrainWithoutRedis: the ends of a draining runner's sessions could not be written to the store.
// An execution that the store has for one of them gets no fresh interpreter, and its end has the
// reason.
func TestDrainWithoutRedis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		records := &fakeSession{
			waiting: []job.Spec{{Code: "a"}}, outcomes: make(chan job.Outcome, 10), leaving: job.ErrUnavailable, looking: make(chan chan struct{}),
		}
		interpreters := &fakeInterpreters{}
		r := sessionRunner(t, records, interpreters, 0)
		r.SessionReady("s", job.LaneDefault)
		synctest.Wait()
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		answer := <-records.looking // a look that began before the drain
		if err := r.BeginDrain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.DrainSessions(t.Context()); !errors.Is(err, job.ErrUnavailable) {
			t.Fatal(err)
		}
		records.waiting = []job.Spec{{Code: "b"}}
		r.SessionReady("s", job.LaneDefault)
		synctest.Wait()
		close(answer)
		close(<-records.looking)
		r.SessionReady("s", job.LaneDefault) // it is forgotten by now
		synctest.Wait()
		if interpreters.started != 1 || interpreters.closed != 1 {
			t.Errorf("started %d interpreters and closed %d", interpreters.started, interpreters.closed)
		}
		if len(records.ended) != 1 || records.ended[0].Reason != job.EndDrained {
			t.Errorf("ended: %+v", records.ended)
		}
		if err := r.Close(t.Context()); !errors.Is(err, job.ErrUnavailable) {
			t.Error(err)
		}
	})
}

// TestDrainWhileMoreWaits: what the store hands out with the end of an execution is not begun
// by a runner that drains.
func TestDrainWhileMoreWaits(t *testing.T) {
	t.Parallel()
	records := &fakeSession{waiting: []job.Spec{{Code: "hold"}, {Code: "b"}}, outcomes: make(chan job.Outcome, 10), leaving: job.ErrUnavailable}
	interpreters := &fakeInterpreters{hold: make(chan struct{})}
	r := sessionRunner(t, records, interpreters, 0)
	r.SessionReady("s", job.LaneDefault)
	interpreters.hold <- struct{}{} // it executes
	if err := r.DrainSessions(t.Context()); !errors.Is(err, job.ErrUnavailable) {
		t.Fatal(err)
	}
	interpreters.hold <- struct{}{}
	for _, want := range []string{"completed 1", "failed session_ended: the runner that it lived on was shut down"} {
		if got := describe(<-records.outcomes); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if err := r.AwaitSessions(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func describe(o job.Outcome) string {
	text := string(o.State) + " "
	switch {
	case o.Failure != nil:
		return text + string(o.Failure.Code) + ": " + o.Failure.Message
	case o.Result != nil:
		return text + o.Result.Stdout
	}
	return text + string(o.Data)
}

// sessionRunner is a runner that serves the session "s" only.
func sessionRunner(t *testing.T, records *fakeSession, interpreters *fakeInterpreters, room int) *runner.Runner {
	t.Helper()
	return sessionRunnerOf(records, interpreters, new(fakeStore), nil, room)
}

func sessionRunnerOf(records *fakeSession, interpreters *fakeInterpreters, registry *fakeStore, health func() map[string]error, room ...int) *runner.Runner {
	self := job.Runner{ID: "r", Runtimes: []job.Runtime{{Name: "py", Default: true}}}
	for _, n := range room {
		self.MaxSessions = n
	}
	return runner.New(runner.Config{
		Self: self, Registry: registry, Observer: noObserver{}, Log: slog.New(slog.DiscardHandler), Health: health,
		SessionRecords: records, Interpreters: interpreters, Blobs: interpreters.blobs, Files: job.FileLimits{Files: 10, Bytes: 100},
		Operations: map[string]runner.Operation{
			"echo": func(_ context.Context, _ *runner.Session, args json.RawMessage) (any, *job.SessionEnd, error) {
				return args, nil, nil
			},
			"refuse": func(context.Context, *runner.Session, json.RawMessage) (any, *job.SessionEnd, error) {
				return nil, nil, &job.RefusedError{Message: "not now"}
			},
			"interpreter": func(ctx context.Context, se *runner.Session, _ json.RawMessage) (any, *job.SessionEnd, error) {
				i, err := se.Interpreter(ctx)
				if err == nil && i.Alive() != nil {
					return nil, i.Alive(), job.ErrNotStarted
				}
				return nil, nil, err
			},
			"break": func(context.Context, *runner.Session, json.RawMessage) (any, *job.SessionEnd, error) {
				return nil, nil, errors.New("broken")
			},
		},
	})
}

// TestSessionRenewed: a session continues after its code needed too much memory, unless its owner
// asked for its end. Its answers report the restart.
func TestSessionRenewed(t *testing.T) {
	t.Parallel()
	told := func(o job.Outcome) string {
		text := describe(o)
		if o.Result != nil && o.Result.Session != nil {
			text += fmt.Sprintf(" %s %t %q", o.Result.Session.State, o.Result.Session.Restarted, o.Result.Session.Reason)
		}
		return fmt.Sprint(text, " ", o.Restarted)
	}
	for _, tt := range []struct {
		name     string
		end      bool
		renewErr error
		outcomes []string
		ended    bool
	}{
		{"goes on", false, nil, []string{`completed 1 idle false "" false`, `completed  idle true "memory_limit" true`, `completed 2 idle false "" false`}, false},
		{"as wanted", true, nil, []string{`completed 1 idle false "" false`, `completed  ended false "memory_limit" false`}, true},
		{"cannot", false, errors.New("no"), []string{`completed 1 idle false "" false`, `completed  ended false "memory_limit" false`}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			records := &fakeSession{
				waiting: []job.Spec{{Code: "a"}, {Code: "memory"}, {Code: "b"}}, outcomes: make(chan job.Outcome, 10),
				spec: job.SessionSpec{Quota: job.Quota{MemoryBytes: 1}, EndOnMemory: tt.end},
			}
			interpreters := &fakeInterpreters{renewErr: tt.renewErr}
			r := sessionRunner(t, records, interpreters, 0)
			r.SessionReady("s", job.LaneDefault)
			for i, want := range tt.outcomes {
				if got := told(<-records.outcomes); got != want {
					t.Errorf("outcome %d is %q, want %q", i, got, want)
				}
			}
			if err := r.AwaitSessions(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := len(records.ended) > 0; got != tt.ended {
				t.Errorf("ended: %+v", records.ended)
			}
			r.SessionClosed("s")
			if err := r.AwaitSessions(t.Context()); err != nil || interpreters.closed != interpreters.started {
				t.Errorf("closed %d of %d interpreters, %v", interpreters.closed, interpreters.started, err)
			}
		})
	}
}

// TestSessionRenewedBetween: an interpreter that ends between executions is replaced, and the next
// answer reports it.
func TestSessionRenewedBetween(t *testing.T) {
	t.Parallel()
	for _, between := range []string{"looked after", "found by an execution", "found by an operation"} {
		t.Run(between, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				records := &fakeSession{waiting: []job.Spec{{Code: "a"}}, outcomes: make(chan job.Outcome, 10), spec: job.SessionSpec{Quota: job.Quota{MemoryBytes: 1}}}
				interpreters := &fakeInterpreters{}
				r := sessionRunner(t, records, interpreters, 0)
				r.SessionReady("s", job.LaneDefault)
				<-records.outcomes
				synctest.Wait()
				interpreters.last.ended = &job.SessionEnd{Reason: job.EndMemory, Message: "too much"}
				switch between {
				case "looked after":
					if err := r.Start(t.Context()); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Minute) // of the bubble
				case "found by an operation":
					records.set(job.Spec{Op: "interpreter"})
					r.SessionReady("s", job.LaneDefault)
					if got, want := describe(<-records.outcomes), "failed refused: the session's interpreter was replaced, since too much; variables and modules are gone, files are kept; try again"; got != want {
						t.Errorf("%q, want %q", got, want)
					}
				}
				records.set(job.Spec{Code: "b"}, job.Spec{Code: "c"})
				r.SessionReady("s", job.LaneDefault)
				for i, want := range []bool{true, false} {
					o := <-records.outcomes
					if o.Result == nil || o.Result.Stdout != "2" || o.Result.Session.Restarted != want || o.Restarted != want || len(records.ended) > 0 {
						t.Errorf("%d: %+v; ended %+v", i, o, records.ended)
					}
				}
				if err := r.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
