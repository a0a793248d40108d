package runner_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/runner"
)

// laneStore is a store with one session that has lanes. The id of a job is its code or its argument.
type laneStore struct {
	*fakeSession
	jobs     map[string][]job.Spec // that wait, by lane
	currents map[string]*job.Claim
	ends     map[string]string // of jobs
}

func newLaneStore() *laneStore {
	return &laneStore{
		fakeSession: &fakeSession{spec: job.SessionSpec{Quota: job.Quota{MemoryBytes: 1}}},
		jobs:        map[string][]job.Spec{}, currents: map[string]*job.Claim{}, ends: map[string]string{},
	}
}

func (f *laneStore) next(lane string) *job.Claim {
	if f.currents[lane] == nil && len(f.jobs[lane]) > 0 {
		spec := f.jobs[lane][0]
		f.jobs[lane] = f.jobs[lane][1:]
		id := spec.Code
		if spec.Op != "" {
			id = spec.Op + string(spec.Args)
		}
		f.currents[lane] = &job.Claim{JobID: id, SessionID: "s", Lane: lane, InSession: true, Attempt: 1, Spec: spec, Session: f.spec}
	}
	return f.currents[lane]
}

func (f *laneStore) NextInSession(_ context.Context, _, lane, _ string, _ bool) (*job.Claim, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.moved) > 0 {
		return nil, job.ErrSessionEnded
	}
	c := f.next(lane)
	return c, f.lose()
}

func (f *laneStore) FinishInSession(_ context.Context, c job.Claim, o job.Outcome) (*job.Claim, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch now := f.currents[c.Lane]; {
	case f.ends[c.JobID] == "" && now == nil:
		return nil, false, job.ErrStale
	case now == nil || now.JobID != c.JobID:
		return nil, true, nil // before
	}
	f.currents[c.Lane] = nil
	f.ends[c.JobID] = describe(o)
	if o.End != nil {
		f.ended = append(f.ended, *o.End)
		clear(f.jobs)
		clear(f.currents)
	}
	next := f.next(c.Lane)
	if err := f.lose(); err != nil {
		return nil, false, err
	}
	return next, false, nil
}

func (f *laneStore) MoveSession(ctx context.Context, c job.Claim, candidates []job.Candidate) (bool, error) {
	f.mu.Lock()
	gone := len(f.moved) > 0
	f.mu.Unlock()
	if gone {
		return false, job.ErrStale
	}
	return f.fakeSession.MoveSession(ctx, c, candidates)
}

// laneWorld is a runner with a session that has lanes. Its operation "use" opens the interpreter and waits for a token or the
// end of its context.
type laneWorld struct {
	*laneStore
	*runner.Runner
	t            *testing.T
	interpreters *fakeInterpreters
	tokens       chan struct{}
	logged       bytes.Buffer // errors

	mu    sync.Mutex
	using []string // what uses the sandbox now
	sick  error
}

func newLaneWorld(t *testing.T) *laneWorld {
	t.Helper()
	return newLaneWorldWith(t, nil)
}

func newLaneWorldWith(t *testing.T, packages runner.Packages) *laneWorld {
	t.Helper()
	w := &laneWorld{
		laneStore: newLaneStore(), t: t, tokens: make(chan struct{}),
		interpreters: &fakeInterpreters{hold: make(chan struct{})},
	}
	registry := new(fakeStore)
	registry.others = []job.Runner{{ID: "other", MaxSessions: 5, Runtimes: []job.Runtime{{Name: "py", Default: true}}}}
	w.Runner = runner.New(runner.Config{
		Self: job.Runner{ID: "r", Runtimes: []job.Runtime{{Name: "py", Default: true}}}, Registry: registry, Observer: noObserver{},
		Log: slog.New(slog.NewTextHandler(&w.logged, &slog.HandlerOptions{Level: slog.LevelError})), SessionRecords: w.laneStore, Interpreters: w.interpreters, Packages: packages,
		Health: func() map[string]error {
			w.mu.Lock()
			defer w.mu.Unlock()
			return map[string]error{"py": w.sick}
		},
		Operations: map[string]runner.Operation{"use": w.use, job.OpWatchFiles: w.use, "short": func(context.Context, *runner.Session, json.RawMessage) (any, *job.SessionEnd, error) {
			time.Sleep(time.Second)
			return nil, nil, nil
		}},
	})
	return w
}

func (w *laneWorld) use(ctx context.Context, s *runner.Session, args json.RawMessage) (any, *job.SessionEnd, error) {
	i, err := s.Interpreter(ctx)
	if err != nil {
		return nil, nil, err
	}
	n := i.(*fakeInterpreter).n //nolint:forcetypeassert // a fake
	w.mu.Lock()
	w.using = append(w.using, string(args))
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.using = slices.DeleteFunc(w.using, func(a string) bool { return a == string(args) })
	}()
	select {
	case <-w.tokens:
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	return n, i.Alive(), nil
}

// add lets jobs wait in a lane, and tells the runner.
func (w *laneWorld) add(lane string, specs ...job.Spec) {
	w.laneStore.mu.Lock()
	w.jobs[lane] = append(w.jobs[lane], specs...)
	w.laneStore.mu.Unlock()
	w.SessionReady("s", lane)
}

func use(name string) job.Spec { return job.Spec{Op: "use", Args: json.RawMessage(name)} }

// want compares what uses the sandbox, once all is still.
func (w *laneWorld) want(using ...string) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.using)
	if !slices.Equal(w.using, using) {
		w.t.Errorf("%v use the sandbox, want %v", w.using, using)
	}
}

// end compares the end of a job, once all is still.
func (w *laneWorld) end(id, want string) {
	w.t.Helper()
	synctest.Wait()
	w.laneStore.mu.Lock()
	defer w.laneStore.mu.Unlock()
	if w.ends[id] != want {
		w.t.Errorf("%s: %q, want %q", id, w.ends[id], want)
	}
}

// stop closes the session and compares the numbers of interpreters.
func (w *laneWorld) stop(started int) {
	w.t.Helper()
	w.SessionClosed("s")
	if err := w.AwaitSessions(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if w.interpreters.started != started || w.interpreters.closed != started {
		w.t.Errorf("started %d interpreters and closed %d, want %d", w.interpreters.started, w.interpreters.closed, started)
	}
}

// inLanes runs a test in a bubble, because that knows when all is still.
func inLanes(t *testing.T, test func(w *laneWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newLaneWorld(t)) })
}

// TestLanes: lanes run beside each other and beside the session's code, in one interpreter; the jobs of one run one after the
// other, each once, also when answers are lost.
func TestLanes(t *testing.T) {
	t.Parallel()
	inLanes(t, func(w *laneWorld) {
		w.lost = 5
		w.add(job.Beside("1"), use("1"))
		w.add(job.Beside("2"), use("2"))
		w.add("a", use("3"), use("4"))
		w.add("b", use("5"))
		w.add(job.LaneDefault, job.Spec{Code: "hold"}, job.Spec{Code: "x"})
		w.interpreters.hold <- struct{}{}
		w.want("1", "2", "3", "5")
		for range 4 {
			w.tokens <- struct{}{}
		}
		w.want("4")
		w.tokens <- struct{}{}
		w.want()
		for _, n := range "12345" {
			w.end("use"+string(n), "completed 1")
		}
		w.end("hold", "")
		w.interpreters.hold <- struct{}{}
		w.end("x", "completed 1")
		w.stop(1)
	})
}

// TestLaneCancelled: the cancel of one job ends no other.
func TestLaneCancelled(t *testing.T) {
	t.Parallel()
	inLanes(t, func(w *laneWorld) {
		w.add(job.LaneDefault, job.Spec{Code: "hold"})
		w.interpreters.hold <- struct{}{}
		w.add(job.Beside("1"), use("1"))
		w.add(job.Beside("2"), use("2"))
		w.want("1", "2")
		w.Cancelled("use1")
		w.want("2")
		w.end("use1", "cancelled cancelled: cancelled while it was done; it may be done in part")
		w.tokens <- struct{}{}
		w.end("use2", "completed 1")
		w.interpreters.hold <- struct{}{}
		w.end("hold", "completed 1")
		w.stop(1)
	})
}

// TestLanesEnd: the end of a session cuts off the jobs of all lanes, or lets them end. The interpreter is closed after the last
// one.
func TestLanesEnd(t *testing.T) {
	t.Parallel()
	t.Run("cut off", func(t *testing.T) {
		t.Parallel()
		inLanes(t, func(w *laneWorld) {
			w.add(job.LaneDefault, job.Spec{Code: "wait"})
			w.add(job.Beside("1"), use("1"))
			w.add("a", use("2"), use("3"))
			w.want("1", "2")
			w.stop(1)
			w.want()
			if len(w.ends) > 0 {
				w.t.Errorf("the store has ended the jobs, and the runner writes %v", w.ends)
			}
		})
	})
	t.Run("let end", func(t *testing.T) {
		t.Parallel()
		inLanes(t, func(w *laneWorld) {
			w.add(job.LaneDefault, job.Spec{Code: "x"})
			w.add(job.Beside("1"), use("1"))
			w.add("a", use("2"))
			w.want("1", "2")
			w.SessionClosing("s")
			w.tokens <- struct{}{}
			synctest.Wait()
			if w.interpreters.closed > 0 {
				w.t.Error("the interpreter was closed while a lane used it")
			}
			w.tokens <- struct{}{}
			w.want()
			w.end("use1", "completed 1")
			w.end("use2", "completed 1")
			w.stop(1)
		})
	})
	t.Run("by one of them", func(t *testing.T) {
		t.Parallel()
		inLanes(t, func(w *laneWorld) {
			w.add(job.LaneDefault, job.Spec{Code: "a"})
			w.add(job.Beside("1"), use("1"))
			w.add(job.Beside("2"), use("2"))
			w.want("1", "2")
			w.add(job.LaneDefault, job.Spec{Code: "crash"})
			w.want()
			w.end("use1", "")
			w.end("crash", "completed ")
			w.stop(1)
		})
	})
}

// TestLanesReplaced: a restart ends what uses the sandbox, and lets nothing begin until the next interpreter is there.
func TestLanesReplaced(t *testing.T) {
	t.Parallel()
	inLanes(t, func(w *laneWorld) {
		w.add(job.LaneDefault, job.Spec{Code: "a"})
		w.add(job.Beside("1"), use("1"))
		w.add("a", use("2"), use("3"))
		w.want("1", "2")
		w.add(job.LaneDefault, job.Spec{Op: job.OpRestart})
		w.want("3")
		w.tokens <- struct{}{}
		const why = "failed refused: the session's interpreter was replaced, by a restart, a rollback, or for lack of memory, while this was done; it may be done in part; try again"
		w.end("use1", why)
		w.end("use2", why)
		w.end("use3", "completed 2")
		w.end("restart", "completed {}")
		w.stop(2)
	})
}

// TestLaneFindsEnd: a job beside the default lane finds that the interpreter has ended. The default lane replaces it, or the session ends.
func TestLaneFindsEnd(t *testing.T) {
	t.Parallel()
	for _, ends := range []bool{false, true} {
		t.Run(fmt.Sprint(ends), func(t *testing.T) {
			t.Parallel()
			inLanes(t, func(w *laneWorld) {
				w.spec.EndOnMemory = ends
				w.add(job.LaneDefault, job.Spec{Code: "a"})
				w.add(job.Beside("1"), use("1"))
				w.want("1")
				w.interpreters.last.ended = &job.SessionEnd{Reason: job.EndMemory, Message: "too much"}
				w.tokens <- struct{}{}
				w.end("use1", "completed 1")
				if ends {
					if len(w.ended) != 1 || w.ended[0].Reason != job.EndMemory {
						w.t.Errorf("ended: %+v", w.ended)
					}
					w.stop(1)
					return
				}
				w.add(job.LaneDefault, job.Spec{Code: "b"})
				w.end("b", "completed 2")
				w.stop(2)
			})
		})
	}
}

// TestLanesMoved: a session whose lanes wait for an interpreter moves to another runner, and no lane opens one here any more, also
// if that becomes possible.
func TestLanesMoved(t *testing.T) {
	t.Parallel()
	inLanes(t, func(w *laneWorld) {
		w.sick = &job.StartError{Part: "test", Err: errors.New("sick")}
		w.add(job.Beside("1"), use("1"))
		w.add("a", use("2"))
		w.add(job.LaneDefault, job.Spec{Code: "a"})
		synctest.Wait()
		w.mu.Lock()
		w.sick = nil
		w.mu.Unlock()
		w.want()
		if err := w.AwaitSessions(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
		if len(w.moved) != 1 || len(w.ends) > 0 {
			w.t.Errorf("moved %v; ends %v", w.moved, w.ends)
		}
		w.stop(0)
	})
}

// TestLaneExecutesNoCode: the session's interpreter is for the default lane.
func TestLaneExecutesNoCode(t *testing.T) {
	t.Parallel()
	inLanes(t, func(w *laneWorld) {
		w.add("a", job.Spec{Code: "x"})
		w.end("x", "failed context_not_found: the session has no such context: it was deleted, or has ended with a restart or rollback of the session; GET /v1/sessions/{id}/contexts lists them")
		w.stop(0)
	})
}
