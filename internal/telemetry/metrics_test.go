package telemetry_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/telemetry"
)

func shown(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	return w.Body.String()
}

func expect(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
}

// api are facts of an API whose Redis is away if err is set.
func api(err error) telemetry.API {
	return telemetry.API{
		QueueNames: []string{"default"},
		Queues: func(context.Context) ([]job.QueueStats, error) {
			return []job.QueueStats{{Name: "default", Depth: 3, Active: 2, Scheduled: 1, OldestAgeSec: 1.5}}, err
		},
		Sessions: func(context.Context) (map[job.SessionState]int64, error) {
			return map[job.SessionState]int64{job.SessionIdle: 4}, err
		},
		Tenants: func(context.Context) ([]job.TenantSum, error) {
			return []job.TenantSum{
				{Tenant: "acme", Usage: job.Usage{Executions: 3, CPU: 1500 * time.Millisecond, BytesIn: 10}, Bytes: 7}, {Usage: job.Usage{Executions: 2}, Files: 9},
			}, err
		},
		Runners: func(context.Context) ([]job.Runner, error) {
			return []job.Runner{{Concurrency: 4, Active: 1}, {Concurrency: 4, Active: 6}, {Concurrency: 4, Active: 2, Draining: true}, {Concurrency: 4, Sick: "no python"}}, err
		},
		Webhooks:   func(context.Context) (int64, error) { return 5, err },
		Open:       func() map[string]telemetry.Open { return map[string]telemetry.Open{"calls": {Now: 1, Most: 9}} },
		BodyMemory: func() telemetry.Open { return telemetry.Open{Now: 7, Most: 8} },
	}
}

func TestMetricsOfAnAPI(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics("v1", "abc")
	m.ForAPI(api(nil))
	expect(t, shown(t, m),
		`kaa_queue_jobs{queue="default",state="queued"} 3`, `kaa_queue_oldest_seconds{queue="default"} 1.5`, `kaa_redis_up 1`, `kaa_sessions{state="idle"} 4`,
		`kaa_runners{state="taking"} 2`, `kaa_runners{state="draining"} 1`, `kaa_runners{state="sick"} 1`, `kaa_slots{state="busy"} 9`, `kaa_slots{state="free"} 3`,
		`kaa_webhooks_pending 5`, `kaa_http_open{kind="calls"} 1`, `kaa_http_open_limit{kind="calls"} 9`, `kaa_body_memory_bytes 7`, `kaa_body_memory_limit_bytes 8`,
		`kaa_tenant_executions_total{tenant="acme"} 3`, `kaa_tenant_executions_total{tenant="other"} 2`, `kaa_tenant_cpu_seconds_total{tenant="acme"} 1.5`,
		`kaa_tenant_in_bytes_total{tenant="acme"} 10`, `kaa_tenant_stored_bytes{tenant="acme"} 7`, `kaa_tenant_stored_file_bytes{tenant="other"} 9`,
		// what has not happened
		`kaa_problems_total{code="too_many_waits",status="429"} 0`, `kaa_problems_total{code="unavailable",status="503"} 0`,
		`kaa_jobs_submitted_total{queue="default"} 0`, `kaa_webhook_duration_seconds_count{outcome="failed"} 0`,
		`kaa_batch_archive_duration_seconds_count{outcome="retry"} 0`, `kaa_batch_archive_bytes_total 0`,
		`kaa_jobs_ended_total{failure="runner_lost",state="failed"} 0`)

	away := telemetry.NewMetrics("v1", "abc")
	away.ForAPI(api(errors.New("away")))
	text := shown(t, away)
	expect(t, text, `kaa_redis_up 0`, `kaa_http_open{kind="calls"} 1`)
	if strings.Contains(text, "kaa_runners{") || strings.Contains(text, "kaa_tenant_") || strings.Contains(text, "kaa_executions_total") {
		t.Errorf("it shows what it does not know, or does not do:\n%s", text)
	}
}

func TestMetricsOfARunner(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics("v1", "abc")
	m.ForRunner(telemetry.Runner{
		Queues: []string{"default"}, Runtimes: []string{"python"}, Concurrency: 4, MaxSessions: 9, Sandbox: "strict", MemoryControl: "cgroup2",
		Active: func() int { return 3 }, Sessions: func() int { return 2 }, Draining: func() bool { return true },
		Sick:   func() string { return "no python" },
		Parked: func() map[string]int { return map[string]int{"python": 1} },
	})
	expect(t, shown(t, m), `kaa_limit_hits_total{limit="memory"} 0`, `kaa_worker_spawn_seconds_count{runtime="python"} 0`, `kaa_volume_save_duration_seconds_count{outcome="failed"} 0`)

	m.Executed(job.Claim{Queue: "default", Waited: time.Second}, job.Outcome{State: job.Completed, Result: &job.Result{
		Status: job.StatusExit, Limit: job.LimitMemory, Truncated: &job.Truncated{Stdout: 1}, ResultsDropped: 1, FilesDropped: &job.FilesDropped{},
	}}, time.Second)
	m.Executed(job.Claim{Queue: "default"}, job.Outcome{}, time.Second)
	m.Ended(job.Completed, "")
	m.Ended(job.Failed, job.FailDrained)
	m.Spawned("python", time.Second, nil)
	m.Spawned("python", time.Second, errors.New("no"))
	m.Saved("saved", time.Second)
	m.Redis(telemetry.RedisScript, time.Second, true)
	m.Redis(telemetry.RedisBlocking, time.Second, false)
	expect(t, shown(t, m),
		`kaa_build_info{commit="abc",go="`+goVersion()+`",version="v1"} 1`,
		`kaa_executions_total{state="completed",status="exit"} 1`, `kaa_executions_total{state="lost",status="none"} 1`,
		`kaa_limit_hits_total{limit="memory"} 1`, `kaa_limit_hits_total{limit="output"} 1`, `kaa_limit_hits_total{limit="results"} 1`,
		`kaa_limit_hits_total{limit="files"} 1`, `kaa_limit_hits_total{limit="timeout"} 0`,
		`kaa_jobs_ended_total{failure="none",state="completed"} 1`, `kaa_jobs_ended_total{failure="drained",state="failed"} 1`,
		`kaa_worker_spawn_seconds_count{runtime="python"} 1`, `kaa_worker_spawn_failures_total{runtime="python"} 1`,
		`kaa_redis_errors_total{kind="script"} 1`, `kaa_redis_errors_total{kind="blocking"} 0`,
		`kaa_redis_command_duration_seconds_count{kind="script"} 1`,
		`kaa_runner_slots 4`, `kaa_runner_slots_busy 3`, `kaa_runner_sessions 2`, `kaa_runner_sessions_limit 9`, `kaa_runner_draining 1`, `kaa_runner_sick 1`,
		`kaa_runner_sandbox_info{memory_control="cgroup2",sandbox="strict"} 1`, `kaa_workers_parked{runtime="python"} 1`, `kaa_volume_save_duration_seconds_count{outcome="saved"} 1`)
}

func goVersion() string { return runtime.Version() }
