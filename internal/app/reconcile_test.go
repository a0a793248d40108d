package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestReconcile breaks by hand what records, queues and registry say of jobs, each in
// its own way, and expects all of it repaired and counted.
func TestReconcile(t *testing.T) {
	t.Parallel()
	own := testenv.OwnRedis(t)
	k := prepare(t, &own.RedisDB, "KAA_RUNNER_ADDR=127.0.0.1:0")
	k.periods.Reconcile, k.periods.Rescue = 2*time.Second, time.Second
	addr, _ := k.run(app.RunAPI)
	k.url = "http://" + addr.String()
	rdb := own.Client(t)
	ctx := t.Context()
	const q = "asynq:{default}:"
	do := func(args ...any) {
		t.Helper()
		if err := rdb.Do(ctx, args...).Err(); err != nil && err != redis.Nil { //nolint:errorlint // go-redis returns it bare
			t.Fatalf("%v: %v", args, err)
		}
	}
	// A job whose task is not handed out as it should, each for another reason.
	broken := func() (id, task string) {
		id = k.submit(fields{"code": "print(1)"})
		do("zrem", "{kaa}:outbox", id)
		do("lrem", q+"pending", 0, id+":1")
		return id, id + ":1"
	}
	var ends []string // jobs that have to be executed in the end
	id, task := broken()
	do("lpush", q+"active", task) // by a server that died, and its lease was evicted
	do("hset", q+"t:"+task, "state", "active")
	ends = append(ends, id)
	id, task = broken()
	do("del", q+"t:"+task) // lost altogether
	ends = append(ends, id)
	id, _ = broken() // not on any list
	ends = append(ends, id)
	id, task = broken()
	do("zadd", q+"archived", time.Now().Unix(), task)
	do("hset", q+"t:"+task, "state", "archived")
	ends = append(ends, id)

	id, task = broken()
	do("zadd", q+"archived", time.Now().Unix(), task)
	do("hset", q+"t:"+task, "state", "archived")
	do("del", "{kaa}:job:"+id) // a task and a listing without a record
	do("lpush", q+"active", "ghost:1")

	lost, task := broken() // it runs, says its record, and its runner is not known
	do("del", q+"t:"+task)
	do("hset", "{kaa}:job:"+lost, "state", "running", "attempt", 1, "runner", "dead", "started_at", time.Now().UnixMilli())
	do("zrem", "{kaa}:jobs:default:queued", lost)
	do("zadd", "{kaa}:jobs:default:running", 0, lost)
	cancelled, _ := broken()
	k.call(http.MethodDelete, "/v1/jobs/"+cancelled, nil)
	do("zadd", "{kaa}:jobs:default:queued", 0, cancelled) // listed as what it is not

	runnerAddr, _ := k.run(app.RunRunner)
	runners := rdb.SMembers(ctx, "{kaa}:runners").Val()
	var self string
	for _, r := range runners {
		if r != "dead" {
			self = r
		}
	}
	do("sadd", "{kaa}:runner:"+self+":jobs", "ghost") // a claim without a record

	began := time.Now()
	testenv.Eventually(t, "all is repaired", func() bool {
		for _, id := range ends {
			if k.call(http.MethodGet, "/v1/jobs/"+id, nil).str("state") != "completed" {
				return false
			}
		}
		return k.call(http.MethodGet, "/v1/jobs/"+lost, nil).str("failure.code") == "runner_lost"
	})
	t.Logf("repaired within %s", time.Since(began).Round(time.Millisecond))
	testenv.Eventually(t, "all is empty", func() bool {
		n, err := rdb.Exists(ctx, q+"pending", q+"active", q+"archived", "{kaa}:runner:"+self+":jobs",
			"{kaa}:jobs:default:queued", "{kaa}:jobs:default:running").Result()
		return err == nil && n == 0
	})
	metrics := k.call(http.MethodGet, "/metrics", nil).raw
	r := *k
	r.url = "http://" + runnerAddr.String()
	metrics += r.call(http.MethodGet, "/metrics", nil).raw
	for kind, n := range map[string]int{
		"active_without_lease": 1, "record_without_task": 1, "task_off_list": 1, "task_archived": 1, "task_without_record": 1,
		"task_without_payload": 1, "record_without_claim": 1, "claim_without_record": 1, "listing_of_other_state": 1, "listing_without_record": 1,
	} {
		if line := fmt.Sprintf(`kaa_reconciled_total{kind=%q} %d`, kind, n); !strings.Contains(metrics, line) {
			t.Errorf("%s is missing", line)
		}
	}
	if t.Failed() {
		for line := range strings.Lines(metrics) {
			if strings.HasPrefix(line, "kaa_reconciled") {
				t.Log(strings.TrimSpace(line))
			}
		}
	}
}
