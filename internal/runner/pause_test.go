package runner_test

import (
	"encoding/json"
	"testing"

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
