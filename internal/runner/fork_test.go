package runner_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

func TestBranches(t *testing.T) {
	t.Parallel()
	code := job.Spec{Code: "a"}
	fork := job.Spec{Op: job.OpFork, Args: json.RawMessage(`{"sessions":["t","u"]}`)}
	op := func(name, id string) job.Spec {
		return job.Spec{Op: name, Args: json.RawMessage(`{"checkpoint":"` + id + `"}`)}
	}
	refused := &job.RefusedError{Message: "it has a thread"}
	many := []job.Spec{code}
	for range job.MaxCheckpoints + 1 {
		many = append(many, op(job.OpCheckpoint, "1"))
	}
	for _, tt := range []struct {
		name     string
		specs    []job.Spec
		room     int
		forkErr  error
		outcomes []string // the first of them; a prefix of each
		started  int
		ended    []job.EndReason
	}{
		{name: "fork", specs: []job.Spec{code, fork, code}, room: 3, outcomes: []string{"completed 1", `completed {"sessions":["t","u"]}`, "completed 1"}, started: 3},
		{name: "without room", specs: []job.Spec{code, fork, code}, room: 1, outcomes: []string{"completed 1", "failed sessions_full", "completed 1"}, started: 1},
		{
			name: "refused: the records are taken back", specs: []job.Spec{code, fork, code}, room: 3, forkErr: refused,
			outcomes: []string{"completed 1", "failed refused: it has a thread", "completed 1"}, started: 1, ended: []job.EndReason{job.EndStartFailed, job.EndStartFailed},
		},
		{
			name: "broken: so is the session", specs: []job.Spec{code, fork}, room: 3, forkErr: errors.New("broken"),
			outcomes: []string{"completed 1", "failed session_ended"}, started: 1, ended: []job.EndReason{job.EndStartFailed, job.EndStartFailed, job.EndCrashed},
		},
		{
			name: "checkpoint and rollback", specs: []job.Spec{code, op(job.OpCheckpoint, "1"), op(job.OpCheckpoint, "2"), op(job.OpRollback, ""), op(job.OpRollback, "1"), code},
			outcomes: []string{"completed 1", `completed {"checkpoint":"1"}`, `completed {"checkpoint":"2"}`, `completed {"checkpoint":"2"}`, `completed {"checkpoint":"1"}`, "completed 5"}, started: 5,
		},
		{name: "rollback to none", specs: []job.Spec{code, op(job.OpRollback, "1"), code}, outcomes: []string{"completed 1", "failed checkpoint_not_found", "completed 1"}, started: 1},
		{name: "restart keeps checkpoints", specs: []job.Spec{code, op(job.OpCheckpoint, "1"), op("restart", ""), op(job.OpRollback, ""), code}, outcomes: []string{"completed 1", "completed", "completed {}", "completed", "completed 3"}, started: 3},
		{name: "too many checkpoints", specs: many, outcomes: append([]string{"completed 1"}, append(repeated("completed", job.MaxCheckpoints), "failed refused: the session has 8 checkpoints")...), started: 1 + job.MaxCheckpoints},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			records := &fakeSession{waiting: tt.specs, outcomes: make(chan job.Outcome, 20)}
			interpreters := &fakeInterpreters{forkErr: tt.forkErr}
			r := sessionRunner(t, records, interpreters, tt.room)
			r.SessionReady("s", job.LaneDefault)
			for i, want := range tt.outcomes {
				if got := describe(<-records.outcomes); !strings.HasPrefix(got, want) {
					t.Errorf("outcome %d is %q, want %q", i, got, want)
				}
			}
			if err := r.AwaitSessions(t.Context()); err != nil {
				t.Fatal(err)
			}
			var ended []job.EndReason
			for _, end := range records.ended {
				ended = append(ended, end.Reason)
			}
			if interpreters.started != tt.started || strings.Join(words(ended), " ") != strings.Join(words(tt.ended), " ") {
				t.Errorf("started %d interpreters, want %d; ended %v, want %v", interpreters.started, tt.started, ended, tt.ended)
			}
			for _, id := range []string{"s", "t", "u"} {
				r.SessionClosed(id)
			}
			if err := r.AwaitSessions(t.Context()); err != nil || interpreters.closed != interpreters.started {
				t.Errorf("closed %d of %d interpreters, %v", interpreters.closed, interpreters.started, err)
			}
		})
	}
}

func repeated(text string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = text
	}
	return all
}

func words(reasons []job.EndReason) []string {
	all := make([]string, len(reasons))
	for i, r := range reasons {
		all[i] = string(r)
	}
	return all
}
