package job_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

// TestAcceptAgain: what was accepted before runs again as it was, if the limits of now allow it.
func TestAcceptAgain(t *testing.T) {
	t.Parallel()
	first, err := limits().Accept(job.Request{
		Code: "1", Stdin: "in", Argv: []string{"a"}, Queue: "critical", Timeout: new(1800.0), MaxAttempts: new(5), ResultTTL: new(7200.0), Limits: job.QuotaRequest{"memoryBytes": 64 << 20},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	later := now.Add(time.Hour)
	again, err := limits().AcceptAgain(first, later)
	if diff := cmp.Diff(first.Spec, again.Spec); diff != "" || err != nil {
		t.Errorf("it changes: %v\n%s", err, diff)
	}
	if again.Job.State != job.Queued || !again.Job.QueuedAt.Equal(later) || again.Job.Timeout != 30*time.Minute || again.Job.MaxAttempts != 5 {
		t.Errorf("%+v", again.Job)
	}
	for name, c := range map[string]struct {
		change func(l *job.Limits)
		key    *job.KeyLimits
		field  string
	}{
		"the queue is gone":       {change: func(l *job.Limits) { l.Queues = []string{"default"} }, field: "queue"},
		"the timeout is too long": {change: func(l *job.Limits) { l.MaxTimeout = time.Minute }, field: "timeout"},
		"the key's timeout":       {key: &job.KeyLimits{Ceilings: job.QuotaRequest{"timeout": 10}}, field: "timeout"},
		"the key's memory":        {key: &job.KeyLimits{Ceilings: job.QuotaRequest{"memoryBytes": 32 << 20}}, field: "limits.memoryBytes"},
		"the key's processes":     {key: &job.KeyLimits{Ceilings: job.QuotaRequest{"processes": 1}}, field: "limits.processes"},
	} {
		l := limits().For(c.key)
		if c.change != nil {
			c.change(&l)
		}
		_, err := l.AcceptAgain(first, later)
		wrong, ok := errors.AsType[*job.ValidationError](err)
		if !ok || len(wrong.Fields) != 1 || wrong.Fields[0].Field != c.field {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Fewer attempts and a shorter life do not stop it, and processor time without a limit gets the key's.
	l := limits().For(&job.KeyLimits{Ceilings: job.QuotaRequest{"cpuSeconds": 5}})
	l.MaxAttempts, l.MaxResultTTL = 2, time.Minute
	first.Spec.Quota.CPUTime = 0
	if again, err = l.AcceptAgain(first, later); err != nil || again.Job.MaxAttempts != 2 || again.Job.ResultTTL != time.Minute || again.Spec.Quota.CPUTime != 5*time.Second {
		t.Errorf("%+v %+v, %v", again.Job, again.Spec.Quota, err)
	}
}
