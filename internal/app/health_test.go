package app_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestHealthAndMetrics(t *testing.T) {
	t.Parallel()
	own := testenv.OwnRedis(t)
	k := prepare(t, &own.RedisDB, "KAA_RUNNER_ADDR=127.0.0.1:0")
	addr, _ := k.run(app.RunAPI)
	k.url = "http://" + addr.String()
	runnerAddr, _ := k.run(app.RunRunner)
	runner := *k
	runner.url = "http://" + runnerAddr.String()

	k.execute(fields{"code": "print(1)"})
	for _, process := range []*kaa{k, &runner} {
		for _, path := range []string{"/healthz", "/readyz"} {
			if a := process.call(http.MethodGet, path, nil); a.status != http.StatusOK {
				t.Errorf("%s%s: %d", process.url, path, a.status)
			}
		}
	}
	metrics := map[*kaa][]string{
		k: {
			`kaa_jobs_submitted_total{queue="default"} 1`, `kaa_queue_jobs{queue="default",state="queued"} 0`, "kaa_redis_up 1",
			`kaa_http_request_duration_seconds_count{dialect="kaa",method="POST",route="/process/interpreter/execute",status="200"} 1`,
		},
		&runner: {
			`kaa_executions_total{state="completed",status="ok"} 1`, `kaa_execution_duration_seconds_count{status="ok"} 1`,
			`kaa_queue_wait_seconds_count{queue="default"} 1`,
		},
	}
	for process, lines := range metrics {
		text := process.call(http.MethodGet, "/metrics", nil).raw
		for _, line := range lines {
			if !strings.Contains(text, line) {
				t.Errorf("%s is missing in %s/metrics", line, process.url)
			}
		}
	}

	own.Kill()
	for _, process := range []*kaa{k, &runner} {
		if a := process.call(http.MethodGet, "/healthz", nil); a.status != http.StatusOK {
			t.Errorf("alive without Redis: %d", a.status)
		}
		if a := process.call(http.MethodGet, "/readyz", nil); a.status != http.StatusServiceUnavailable {
			t.Errorf("ready without Redis: %d", a.status)
		}
	}
	failed := regexp.MustCompile(`kaa_redis_errors_total\{kind="dial"\} [1-9]`)
	if text := k.call(http.MethodGet, "/metrics", nil).raw; !strings.Contains(text, "kaa_redis_up 0") || !failed.MatchString(text) {
		t.Error("the metrics do not say that Redis is away")
	}
	own.Restart(t)
	testenv.Eventually(t, "it works again by itself", func() bool {
		return k.call(http.MethodPost, executePath, fields{"code": "print(1)"}).status == http.StatusOK
	})
}
