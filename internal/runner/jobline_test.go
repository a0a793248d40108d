package runner_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/runner"
)

// endings records the ends that are reported to the metrics.
type endings struct {
	noObserver
	seen []string
}

func (e *endings) Ended(state job.State, code job.FailureCode) {
	e.seen = append(e.seen, strings.TrimSpace(string(state)+" "+string(code)))
}

// TestJobLine: whatever ends a job here is one line and one count.
func TestJobLine(t *testing.T) {
	t.Parallel()
	killed := job.Result{Status: job.StatusExit, Limit: job.LimitMemory, ExitCode: new(137), CPUMs: 1.5, PeakMemoryBytes: 7, Stdout: "hush", Error: &job.Error{Value: "hush"}}
	tests := []struct {
		name    string
		claim   error
		finish  error
		workers func() *fakeWorkers
		ended   string
		line    map[string]any // what it has at least
	}{
		{
			"a limit", nil, nil, executes(killed, nil), "completed",
			map[string]any{"state": "completed", "status": "exit", "limit": "memory", "exit_code": 137.0, "cpu_ms": 1.5, "peak_memory_bytes": 7.0, "attempt": 1.0, "job_id": "j"},
		},
		{
			"supervision broke", nil, nil, executes(killed, errors.New("x")), "queued worker_failed",
			map[string]any{"state": "queued", "failure": "worker_failed", "status": nil},
		},
		{
			"no such runtime", nil, nil, func() *fakeWorkers { return &fakeWorkers{err: job.ErrNoRuntime} }, "failed runtime_missing",
			map[string]any{"state": "failed", "failure": "runtime_missing", "job_id": "j", "status": nil},
		},
		{
			"its claim is another's", nil, job.ErrStale, executes(job.Result{Status: job.StatusOK}, nil), "lost",
			map[string]any{"state": "lost", "status": "ok"},
		},
		{"settled by somebody else", job.ErrStale, nil, executes(killed, nil), "", nil},
	}
	for _, tt := range tests {
		for _, quiet := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				store, workers := &fakeStore{claimErrs: []error{tt.claim}, finishErrs: []error{tt.finish}}, tt.workers()
				synctest.Test(t, func(t *testing.T) {
					var out bytes.Buffer
					o := new(endings)
					r := runner.New(runner.Config{
						Self: job.Runner{ID: "r"}, Records: store, Registry: store, Workers: workers, Observer: o, NoJobLog: quiet,
						Log: slog.New(slog.NewJSONHandler(&out, nil)),
					})
					if err := r.Start(t.Context()); err != nil {
						t.Fatal(err)
					}
					if err := r.Handle(t.Context(), "j", "py"); err != nil {
						t.Fatal(err)
					}
					if err := r.Close(t.Context()); err != nil {
						t.Error(err)
					}
					if got := strings.Join(o.seen, ", "); got != tt.ended {
						t.Errorf("counted %q, want %q", got, tt.ended)
					}
					checkJobLine(t, out.String(), quiet, tt.line)
				})
			})
		}
	}
}

func executes(result job.Result, err error) func() *fakeWorkers {
	return func() *fakeWorkers {
		return &fakeWorkers{execute: func(context.Context) (job.Result, error) { return result, err }}
	}
}

func checkJobLine(t *testing.T, log string, quiet bool, want map[string]any) {
	t.Helper()
	if strings.Contains(log, "hush") {
		t.Errorf("it shows output or an error:\n%s", log)
	}
	found := 0
	for text := range strings.Lines(log) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil || line["msg"] != "job ended" {
			continue
		}
		found++
		for key, value := range want {
			if line[key] != value {
				t.Errorf("%s is %v, want %v", key, line[key], value)
			}
		}
	}
	if wanted := want != nil && !quiet; (found == 1) != wanted {
		t.Errorf("%d lines, wanted: %v\n%s", found, wanted, log)
	}
}
