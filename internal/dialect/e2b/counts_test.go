package e2b

import (
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

// TestLastOfPID: a process id that was used twice is that of the later command, and of no other sandbox.
func TestLastOfPID(t *testing.T) {
	t.Parallel()
	var p pids
	if got := p.last("a", 7); got != "" {
		t.Errorf("%q of none", got)
	}
	p.note("a", 7, "-1")
	p.note("a", 7, "-3")
	p.note("a", 8, "-4")
	p.note("b", 7, "-5")
	p.note("b", 9, "-6")
	for _, tt := range []struct {
		session string
		pid     int
		want    string
	}{{"a", 7, "-3"}, {"a", 8, "-4"}, {"b", 7, "-5"}, {"a", 9, ""}, {"c", 7, ""}} {
		const times = 100 // the order of a map is another each time
		for range times {
			if got := p.last(tt.session, tt.pid); got != tt.want {
				t.Fatalf("%s, %d: %q, want %q", tt.session, tt.pid, got, tt.want)
			}
		}
	}
}

func TestIsRemembered(t *testing.T) {
	t.Parallel()
	now := time.Now()
	result := &job.Result{Status: job.StatusOK}
	for _, tt := range []struct {
		name string
		job  job.Job
		want bool
	}{
		{"just now", job.Job{State: job.Completed, Result: result, FinishedAt: now}, true},
		{"killed", job.Job{State: job.Cancelled, FinishedAt: now.Add(-remembered)}, true},
		{"long ago", job.Job{State: job.Completed, Result: result, FinishedAt: now.Add(-remembered - time.Second)}, false},
		{"runs", job.Job{State: job.Running}, false},
		{"failed", job.Job{State: job.Failed, FinishedAt: now}, false},
		{"without its result", job.Job{State: job.Completed, FinishedAt: now}, false},
	} {
		if got := isRemembered(tt.job, now); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
