package runner_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// TestPauseOfSession: a paused session's interpreter is stopped until there is something to do.
func TestPauseOfSession(t *testing.T) {
	t.Parallel()
	pause := job.Spec{Op: job.OpPause, Args: json.RawMessage(`{"most": 1000}`)}
	for _, tt := range []struct {
		name    string
		halting error
		outcome string // of the pause
		then    []job.Spec
		wakes   bool // the store says so, without a job
		stopped bool
	}{
		{name: "paused", outcome: "completed {}", stopped: true},
		{name: "refused by the store", halting: &job.RefusedError{Message: "too many"}, outcome: "failed refused: too many"},
		{name: "not written", halting: job.ErrUnavailable, outcome: "failed worker_failed: the operation failed: pause"},
		{name: "resumed", outcome: "completed {}", then: []job.Spec{{Op: job.OpResume}}},
		{name: "resumed by an execution", outcome: "completed {}", then: []job.Spec{{Code: "b"}}},
		{name: "resumed for nothing", outcome: "completed {}", wakes: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			records := &fakeSession{waiting: []job.Spec{{Code: "a"}, pause}, outcomes: make(chan job.Outcome, 10), halting: tt.halting}
			interpreters := &fakeInterpreters{}
			r := sessionRunner(t, records, interpreters, 0)
			r.SessionReady("s", job.LaneDefault)
			if got := describe(<-records.outcomes); got != "completed 1" {
				t.Errorf("the execution: %q", got)
			}
			if got := describe(<-records.outcomes); got != tt.outcome {
				t.Errorf("the pause: %q, want %q", got, tt.outcome)
			}
			if err := r.AwaitSessions(t.Context()); err != nil {
				t.Fatal(err)
			}
			if want := tt.halting == nil; interpreters.last.stopped != want {
				t.Errorf("after the pause it is stopped: %v, want %v", interpreters.last.stopped, want)
			}
			if len(tt.then) > 0 || tt.wakes {
				records.mu.Lock()
				records.paused = false
				records.mu.Unlock()
				records.set(tt.then...)
				r.SessionReady("s", job.LaneDefault)
			}
			for range tt.then {
				if o := <-records.outcomes; o.State != job.Completed {
					t.Errorf("what resumes it: %q", describe(o))
				}
			}
			if err := r.AwaitSessions(t.Context()); err != nil {
				t.Fatal(err)
			}
			if interpreters.last.stopped != tt.stopped || interpreters.started != 1 {
				t.Errorf("it is stopped: %v, want %v; %d interpreters", interpreters.last.stopped, tt.stopped, interpreters.started)
			}
			r.SessionClosed("s")
			if err := r.AwaitSessions(t.Context()); err != nil || interpreters.closed != interpreters.started {
				t.Errorf("closed %d of %d interpreters, %v", interpreters.closed, interpreters.started, err)
			}
		})
	}
}

// TestPauseBesideLanes: commands stand still with a session and go on with it; the end of the session ends them. What has just begun, and
// operations, keep a session from being paused.
func TestPauseBesideLanes(t *testing.T) {
	t.Parallel()
	pause := job.Spec{Op: job.OpPause, Args: json.RawMessage(`{"most": 1000}`)}
	const paused = "pause" + `{"most": 1000}`
	command := job.Spec{Code: "c", Command: &job.Command{Line: "true"}}
	resumed := func(w *laneWorld) {
		w.laneStore.mu.Lock()
		w.paused = false
		w.laneStore.mu.Unlock()
	}
	for _, tt := range []struct {
		name  string
		op    string // runs in another lane
		pause string // its end
		then  func(w *laneWorld)
		ends  string // of the command
	}{
		{"resumed", "", "completed {}", func(w *laneWorld) {
			resumed(w)
			w.add(job.LaneDefault, job.Spec{Op: job.OpResume})
			w.end("resume", "completed {}")
			w.end("c", "")
			w.interpreters.commands <- struct{}{}
		}, "completed 1"},
		{"resumed by a message", "", "completed {}", func(w *laneWorld) {
			resumed(w)
			w.SessionReady("s", job.LaneDefault)
			synctest.Wait()
			w.interpreters.commands <- struct{}{}
		}, "completed 1"},
		{"a watch runs", job.OpWatchFiles, "completed {}", func(w *laneWorld) {
			resumed(w)
			w.add(job.LaneDefault, job.Spec{Code: "x"})
			w.end("x", "completed 1")
			w.tokens <- struct{}{}
			w.interpreters.commands <- struct{}{}
		}, "completed 1"},
		{"an operation runs", "use", "failed refused: an operation or a command", func(w *laneWorld) {
			w.tokens <- struct{}{}
			w.interpreters.commands <- struct{}{}
		}, "completed 1"},
		{"a short operation runs", "short", "completed {}", func(w *laneWorld) { w.SessionClosed("s") }, ""},
		{"cancelled, then resumed", "", "completed {}", func(w *laneWorld) {
			w.Cancelled("c")
			w.end("c", "")
			resumed(w)
			w.add(job.LaneDefault, job.Spec{Op: job.OpResume})
		}, "cancelled "},
		{"the session ends", "", "completed {}", func(w *laneWorld) { w.SessionClosed("s") }, ""},
		{"the runner is drained", "", "completed {}", func(w *laneWorld) { w.SessionClosing("s") }, "failed session_ended: the runner was shut down before this was done"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inLanes(t, func(w *laneWorld) {
				w.interpreters.commands = make(chan struct{})
				w.add(job.LaneDefault, job.Spec{Code: "a"})
				w.add(job.Beside("c"), command)
				want := []string{"c"}
				if tt.op != "" {
					w.add(job.Beside("o"), job.Spec{Op: tt.op, Args: json.RawMessage("o")})
					if tt.op != "short" {
						w.want("o")
					}
					if tt.op == job.OpWatchFiles {
						want = append(want, tt.op+"o")
					}
				}
				w.end("c", "")
				w.add(job.LaneDefault, pause)
				time.Sleep(time.Minute) // of the bubble
				synctest.Wait()
				if got := w.ends[paused]; !strings.HasPrefix(got, tt.pause) {
					t.Errorf("the pause: %q", got)
				}
				slices.Sort(w.frozen)
				if refused := strings.HasPrefix(tt.pause, "failed"); w.interpreters.last.stopped == refused || !refused && !slices.Equal(w.frozen, want) {
					t.Errorf("stopped: %v with %v", w.interpreters.last.stopped, w.frozen)
				}
				tt.then(w)
				w.end("c", tt.ends)
				w.stop(1)
			})
		})
	}
}
