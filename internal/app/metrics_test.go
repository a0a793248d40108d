package app_test

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// described is what is known of a metric: its type and its labels.
type described map[string]string

// documentedMetrics reads the table in operations.md, for processes of that kind.
func documentedMetrics(t *testing.T, of string) described {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	all := described{}
	for _, row := range regexp.MustCompile(`(?m)^\| (both|API|runner) \| .(kaa_\w+). \| (\w+) \| ([\w, ]*)\|`).FindAllStringSubmatch(string(text), -1) {
		if row[1] == of || row[1] == "both" {
			labels := strings.Split(strings.ReplaceAll(strings.TrimSpace(row[4]), " ", ""), ",")
			slices.Sort(labels)
			all[row[2]] = row[3] + " " + strings.Join(labels, ",")
		}
	}
	return all
}

// shownMetrics reads what a process shows.
func shownMetrics(t *testing.T, text string) described {
	t.Helper()
	all := described{}
	types := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(text))
	sample := regexp.MustCompile(`^(kaa_\w+?)(_bucket|_sum|_count)?(?:\{(.*)\})? [-+.\w]+$`)
	label := regexp.MustCompile(`(\w+)="`)
	for lines.Scan() {
		if of, ok := strings.CutPrefix(lines.Text(), "# TYPE "); ok {
			name, kind, _ := strings.Cut(of, " ")
			types[name] = kind
		}
		m := sample.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		name := m[1]
		if types[name] == "" {
			name += m[2]
		}
		var labels []string
		for _, l := range label.FindAllStringSubmatch(m[3], -1) {
			if l[1] != "le" {
				labels = append(labels, l[1])
			}
		}
		slices.Sort(labels)
		all[name] = types[name] + " " + strings.Join(labels, ",")
	}
	return all
}

// TestMetricsAreDocumented: what a process shows before anything has happened is what
// operations.md lists.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t), "KAA_RUNNER_ADDR=127.0.0.1:0")
	apiAddr, _ := k.run(app.RunAPI)
	runnerAddr, _ := k.run(app.RunRunner)
	for of, addr := range map[string]fmt.Stringer{"API": apiAddr, "runner": runnerAddr} {
		k.url = "http://" + addr.String()
		text := k.call(http.MethodGet, "/metrics", nil).raw
		shown, documented := shownMetrics(t, text), documentedMetrics(t, of)
		for _, name := range slices.Sorted(maps.Keys(shown)) {
			if documented[name] != shown[name] {
				t.Errorf("%s shows %s (%s), operations.md has %q", of, name, shown[name], documented[name])
			}
			delete(documented, name)
		}
		for _, name := range slices.Sorted(maps.Keys(documented)) {
			t.Errorf("%s does not show %s, which operations.md has", of, name)
		}
		if !strings.Contains(text, "kaa_reconciled_total{kind=\"record_without_task\"} 0\n") {
			t.Errorf("%s: a counter does not begin with 0", of)
		}
	}
}

// TestMetricsOfFaults: what goes wrong is counted by its reason.
func TestMetricsOfFaults(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t), "KAA_RUNNER_ADDR=127.0.0.1:0", "KAA_MAX_QUEUE_DEPTH=1", "KAA_SYNC_QUEUE_WAIT=100ms", "KAA_BLOB_URL=file:///proc/nowhere")
	apiAddr, _ := k.run(app.RunAPI)
	k.url = "http://" + apiAddr.String()
	if a := k.call(http.MethodPost, executePath, fields{"code": "1"}); a.status != http.StatusServiceUnavailable {
		t.Fatalf("without a runner: %d %s", a.status, a.raw)
	}
	waiting := k.submit(fields{"code": "raise MemoryError"})
	k.call(http.MethodPost, "/v1/jobs:batch", fields{"jobs": []fields{{"code": "1"}, {"code": ""}}})
	k.call("BREW", "/pot", nil)
	if a := k.call(http.MethodPost, executePath, fields{"code": "1", "files": []fields{{"path": "a", "content": "b"}}}); a.status != http.StatusServiceUnavailable {
		t.Errorf("no place for files: %d %s", a.status, a.raw)
	}
	k.expectMetrics(t, k.url,
		`kaa_problems_total{code="no_runner",status="503"} 1`, `kaa_problems_total{code="queue_full",status="429"} 1`,
		`kaa_problems_total{code="invalid_request",status="400"} 1`, `kaa_jobs_ended_total{failure="queue_timeout",state="cancelled"} 1`,
		`kaa_runners{state="taking"} 0`, `method="other"`,
		`kaa_problems_total{code="unavailable",status="503"} 1`, `kaa_blob_errors_total{op="write"} 1`)

	runnerAddr, _ := k.run(app.RunRunner)
	k.await(waiting)
	k.await(k.submit(fields{"code": "while True: pass", "timeout": 0.5}))
	k.await(k.submit(fields{"code": "print('x' * 5_000_000)", "limits": fields{"outputBytes": 1000}}))
	k.expectMetrics(t, "http://"+runnerAddr.String(),
		`kaa_limit_hits_total{limit="timeout"} 1`, `kaa_limit_hits_total{limit="output"} 1`, `kaa_limit_hits_total{limit="memory"} 0`,
		`kaa_jobs_ended_total{failure="none",state="completed"} 3`, `kaa_runner_slots 2`, `kaa_runner_sandbox_info{`, `kaa_redis_errors_total{kind="script"} 0`)
	k.expectMetrics(t, k.url, `kaa_runners{state="taking"} 1`, `kaa_slots{state="free"} 2`)
}

// expectMetrics waits for lines that begin so: the metrics of a call come after its answer.
func (k *kaa) expectMetrics(t *testing.T, url string, want ...string) {
	t.Helper()
	at := *k
	at.url = url
	testenv.Eventually(t, "metrics of "+url, func() bool {
		text := at.call(http.MethodGet, "/metrics", nil).raw
		missing := slices.DeleteFunc(slices.Clone(want), func(line string) bool { return strings.Contains(text, line) })
		if len(missing) > 0 {
			t.Logf("missing: %q", missing)
		}
		return len(missing) == 0
	})
}
