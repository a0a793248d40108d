package interpreter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// runs runs a command of a session to its end.
func runs(tb testing.TB, s interface {
	Run(ctx context.Context, spec job.Spec, live job.Live) (job.Result, error)
}, spec job.Spec, live job.Live,
) job.Result {
	tb.Helper()
	if spec.Timeout == 0 {
		spec.Timeout = ample
	}
	res, err := s.Run(tb.Context(), spec, live)
	if err != nil {
		tb.Errorf("run %+v: %v", spec.Command, err)
	}
	return res
}

// TestRunBeside: commands run beside code and each other, with all of their output, whatever else they start.
func TestRunBeside(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		var all sync.WaitGroup
		all.Go(func() {
			res := step(t, s, job.Spec{Code: "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('went')"})
			if res.Stdout != "went\n" {
				t.Errorf("code: %+v", res)
			}
		})
		for i := range 8 {
			all.Go(func() {
				const size = 300_000 // more than a pipe has room for
				res := runs(t, s, job.Spec{Command: &job.Command{Line: fmt.Sprintf("head -c %d /dev/zero | tr '\\0' %d; sleep 1000 & echo end >&2", size, i)}}, job.Live{})
				if res.Status != job.StatusOK || len(res.Stdout) != size || strings.Trim(res.Stdout, fmt.Sprint(i)) != "" || res.Stderr != "end\n" {
					t.Errorf("command %d: %s, %d bytes, stderr %q, %+v", i, res.Status, len(res.Stdout), res.Stderr, res.Error)
				}
			})
		}
		res := runs(t, s, job.Spec{Command: &job.Command{Line: "trap '' INT; echo on; sleep 1000"}, Timeout: 200 * time.Millisecond}, job.Live{})
		if res.Status != job.StatusInterrupted || res.Stdout != "on\n" {
			t.Errorf("timeout: %+v", res)
		}
		runs(t, s, job.Spec{Command: &job.Command{Line: "touch go"}}, job.Live{})
		all.Wait()
	})
}

// TestRunMessages: input that waits for its reader keeps no signal from a command, and the end of a command that has not read
// its input does not wait for that.
func TestRunMessages(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		for _, terminal := range []*job.TerminalSize{nil, {Columns: 80, Rows: 24}} {
			input, control := make(chan job.StoredMessage, 1), make(chan job.StoredMessage, 1)
			live := job.Live{Messages: &job.CommandMessages{Input: input, Control: control, Taken: func(job.StoredMessage) {}}}
			input <- job.StoredMessage{CommandMessage: job.CommandMessage{Data: []byte(strings.Repeat("x\n", 1<<20))}}
			control <- job.StoredMessage{CommandMessage: job.CommandMessage{Signal: "KILL"}}
			res := runs(t, s, job.Spec{Command: &job.Command{Argv: []string{"sleep", "1000"}, Input: true, Terminal: terminal}}, live)
			if res.Signal != "SIGKILL" || *res.ExitCode != 137 {
				t.Errorf("terminal %v: %s, %+v", terminal, res.Status, res.Error)
			}
		}
		says(t, s, "print(1)", "1\n")
	})
}

// TestRunInEndedSession: the end of a session ends its commands, and there are none after it.
func TestRunInEndedSession(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{})
	tap := new(job.Tap)
	began := make(sinkOfOutput, 100)
	tap.Open(began)
	var all sync.WaitGroup
	all.Go(func() {
		res, err := s.Run(t.Context(), job.Spec{Command: &job.Command{Line: "echo on; sleep 1000"}, Timeout: ample}, job.Live{Tap: tap})
		if err == nil && res.Status == job.StatusOK {
			t.Errorf("%+v", res)
		}
	})
	<-began
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	all.Wait()
	if _, err := s.Run(t.Context(), job.Spec{Command: &job.Command{Line: "true"}}, job.Live{}); err == nil {
		t.Error("a command ran in a session that has ended")
	}
}

// sinkOfOutput has a token for each piece of output.
type sinkOfOutput chan struct{}

func (s sinkOfOutput) Stream(string, []byte) {
	select {
	case s <- struct{}{}:
	default:
	}
}
func (s sinkOfOutput) Skipped(string, int64)                {}
func (s sinkOfOutput) Event(job.EventType, json.RawMessage) {}
