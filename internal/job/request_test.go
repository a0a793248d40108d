package job_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

func limits() job.Limits {
	return job.Limits{
		MaxCodeBytes: 100, MaxStdinBytes: 10, MaxEnvs: 3, MaxEnvBytes: 1000, MaxMetadataBytes: 10,
		DefaultTimeout: time.Minute, MaxTimeout: time.Hour, MaxDelay: 24 * time.Hour,
		DefaultResultTTL: time.Hour, MaxResultTTL: 2 * time.Hour, MaxAttempts: 5,
		Queues: []string{"critical", "default"}, DefaultQueue: "default",
		DefaultQuota: defaultQuota(), MaxQuota: maxQuota(),
	}
}

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestAccept(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		request job.Request
		job     job.Job
		spec    job.Spec
	}{
		{
			name: "defaults", request: job.Request{Code: "1"},
			job:  job.Job{State: job.Queued, Queue: "default", MaxAttempts: 1, CreatedAt: now, QueuedAt: now, Timeout: time.Minute, ResultTTL: time.Hour},
			spec: job.Spec{Code: "1", Timeout: time.Minute, Quota: defaultQuota()},
		},
		{
			name: "everything given",
			request: job.Request{
				Code: "1", Stdin: "in\x00put", Envs: map[string]string{"A_1": ""}, Timeout: new(1.5), Queue: "critical",
				Delay: new(2.0), MaxAttempts: new(5), ResultTTL: new(60.0), Metadata: json.RawMessage(`{"a":1}`),
				Runtime: "py", Limits: job.QuotaRequest{"memoryBytes": 64 << 20},
				Options: job.Options{FigureFormats: []string{"svg", "png", "svg"}},
			},
			job: job.Job{
				State: job.Scheduled, Queue: "critical", MaxAttempts: 5, CreatedAt: now, ScheduledAt: now.Add(2 * time.Second),
				Timeout: 1500 * time.Millisecond, ResultTTL: time.Minute, Metadata: json.RawMessage(`{"a":1}`), Runtime: "py",
			},
			spec: job.Spec{
				Code: "1", Stdin: "in\x00put", Envs: map[string]string{"A_1": ""}, Timeout: 1500 * time.Millisecond, Runtime: "py",
				Quota:   func() job.Quota { q := defaultQuota(); q.MemoryBytes = 64 << 20; return q }(),
				Options: job.Options{FigureFormats: []string{"svg", "png"}},
			},
		},
		{
			name: "byte order mark", request: job.Request{Code: "\ufeff1"},
			job:  job.Job{State: job.Queued, Queue: "default", MaxAttempts: 1, CreatedAt: now, QueuedAt: now, Timeout: time.Minute, ResultTTL: time.Hour},
			spec: job.Spec{Code: "1", Timeout: time.Minute, Quota: defaultQuota()},
		},
		{
			name: "runAt in the past is due now", request: job.Request{Code: "1", RunAt: new(now.Add(-time.Hour))},
			job: job.Job{
				State: job.Queued, Queue: "default", MaxAttempts: 1, CreatedAt: now, QueuedAt: now, ScheduledAt: now.Add(-time.Hour),
				Timeout: time.Minute, ResultTTL: time.Hour,
			},
			spec: job.Spec{Code: "1", Timeout: time.Minute, Quota: defaultQuota()},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, err := limits().Accept(tt.request, now)
			j, spec := n.Job, n.Spec
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.job, j); diff != "" {
				t.Errorf("job (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.spec, spec); diff != "" {
				t.Errorf("spec (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAcceptRefuses(t *testing.T) {
	t.Parallel()
	with := func(change func(*job.Request)) job.Request {
		r := job.Request{Code: "print(1)"}
		change(&r)
		return r
	}
	tests := []struct {
		name    string
		request job.Request
		field   string
		says    string
	}{
		{"no code", job.Request{}, "code", "empty"},
		{"blank code", job.Request{Code: " \n\t"}, "code", "empty"},
		{"long code", job.Request{Code: strings.Repeat("x", 101)}, "code", "limit is 100"},
		{"NUL in code", job.Request{Code: "a\x00"}, "code", "offset 1"},
		{"code not UTF-8", job.Request{Code: "a\xff"}, "code", "UTF-8"},
		{"long stdin", with(func(r *job.Request) { r.Stdin = strings.Repeat("x", 11) }), "stdin", "limit is 10"},
		{"zero timeout", with(func(r *job.Request) { r.Timeout = new(0.0) }), "timeout", "from 0.001 to 3600"},
		{"negative timeout", with(func(r *job.Request) { r.Timeout = new(-1.0) }), "timeout", "from 0.001 to 3600"},
		{"huge timeout", with(func(r *job.Request) { r.Timeout = new(3601.0) }), "timeout", "from 0.001 to 3600"},
		{"timeout that overflows", with(func(r *job.Request) { r.Timeout = new(1e300) }), "timeout", "from 0.001 to 3600"},
		{"timeout not a number", with(func(r *job.Request) { r.Timeout = new(math.NaN()) }), "timeout", "from 0.001 to 3600"},
		{"env name with =", with(func(r *job.Request) { r.Envs = map[string]string{"A=B": ""} }), "envs", `"A=B" is not a variable name`},
		{"empty env name", with(func(r *job.Request) { r.Envs = map[string]string{"": ""} }), "envs", "variable name"},
		{"env name with digit first", with(func(r *job.Request) { r.Envs = map[string]string{"1A": ""} }), "envs", "variable name"},
		{"long env name is not repeated", with(func(r *job.Request) { r.Envs = map[string]string{strings.Repeat("-", 500): ""} }), "envs", "…"},
		{"NUL in env value", with(func(r *job.Request) { r.Envs = map[string]string{"A": "\x00"} }), "envs.A", "NUL"},
		{"many envs", with(func(r *job.Request) { r.Envs = map[string]string{"A": "", "B": "", "C": "", "D": ""} }), "envs", "limit is 3"},
		{"large envs", with(func(r *job.Request) { r.Envs = map[string]string{"A": strings.Repeat("x", 1000)} }), "envs", "limit is 1000"},
		{"many arguments", with(func(r *job.Request) { r.Argv = make([]string, 1001) }), "args", "limit is 1000"},
		{"large arguments", with(func(r *job.Request) { r.Argv = []string{strings.Repeat("x", 600), strings.Repeat("x", 401)} }), "args", "limit is 1000"},
		{"NUL in an argument", with(func(r *job.Request) { r.Argv = []string{"a", "b\x00"} }), "args[1]", "NUL"},
		{"arguments in a session", with(func(r *job.Request) { r.Argv, r.SessionID = []string{"a"}, "s" }), "args", "sessionId"},
		{"unknown queue", with(func(r *job.Request) { r.Queue = "x" }), "queue", "use one of critical, default"},
		{"no attempts", with(func(r *job.Request) { r.MaxAttempts = new(0) }), "maxAttempts", "from 1 to 5"},
		{"too many attempts", with(func(r *job.Request) { r.MaxAttempts = new(6) }), "maxAttempts", "from 1 to 5"},
		{"negative delay", with(func(r *job.Request) { r.Delay = new(-1.0) }), "delay", "from 0 to 86400"},
		{"huge delay", with(func(r *job.Request) { r.Delay = new(1e9) }), "delay", "from 0 to 86400"},
		{"far runAt", with(func(r *job.Request) { r.RunAt = new(now.Add(25 * time.Hour)) }), "runAt", "at most 86400 seconds"},
		{"delay and runAt", with(func(r *job.Request) { r.Delay, r.RunAt = new(1.0), &now }), "delay", "combined"},
		{"short resultTtl", with(func(r *job.Request) { r.ResultTTL = new(0.5) }), "resultTtl", "from 1 to 7200"},
		{"large metadata", with(func(r *job.Request) { r.Metadata = json.RawMessage(`{"a":"12345"}`) }), "metadata", "limit is 10"},
		{"unknown format", with(func(r *job.Request) { r.FigureFormats = []string{"png", "gif"} }), "figureFormats[1]", "use png or svg"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := limits().Accept(tt.request, now)
			var invalid *job.ValidationError
			if !errors.As(err, &invalid) || !errors.Is(err, job.ErrInvalid) {
				t.Fatalf("err = %v, want a ValidationError", err)
			}
			if len(invalid.Fields) != 1 || invalid.Fields[0].Field != tt.field || !strings.Contains(invalid.Fields[0].Message, tt.says) {
				t.Errorf("fields = %+v, want %s: …%s…", invalid.Fields, tt.field, tt.says)
			}
			if len(err.Error()) > 250 {
				t.Errorf("message is %d bytes long", len(err.Error()))
			}
		})
	}
}

func TestAcceptReportsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	_, err := limits().Accept(job.Request{Timeout: new(-1.0), Queue: "x"}, now)
	var invalid *job.ValidationError
	if !errors.As(err, &invalid) || len(invalid.Fields) != 3 {
		t.Errorf("err = %v, want three fields", err)
	}
}
