package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestFairness: one key's thousands of jobs do not keep another key's one waiting.
func TestFairness(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_API_KEYS=one,two", "KAA_LOG_LEVEL=WARN")
	k.key = "one"
	const batches, perBatch = 5, 1000
	items := make([]any, perBatch)
	for i := range items {
		items[i] = fields{"code": "pass"}
	}
	at := time.Now()
	for range batches {
		if a := k.call(http.MethodPost, "/v1/jobs:batch", fields{"jobs": items}); a.status != http.StatusAccepted {
			t.Fatalf("%d %s", a.status, a.raw)
		}
	}
	t.Logf("%d jobs accepted in %s", batches*perBatch, time.Since(at))
	k.run(app.RunRunner)
	// Once it is under way.
	testenv.Eventually(t, "it is under way", func() bool {
		return len(k.call(http.MethodGet, "/v1/jobs?state=completed&limit=50", nil).body["jobs"].([]any)) == 50
	})
	k.key = "two"
	at = time.Now()
	end := k.await(k.submit(fields{"code": "print(1)"}))
	testenv.Within(t, 2*time.Second, at)
	t.Logf("the other key's job took %s, of which it waited %s ms", time.Since(at), end.str("result.queuedMs"))
	at = time.Now()
	k.execute(fields{"code": "print(1)"})
	testenv.Within(t, 2*time.Second, at)
	var depth int
	if _, err := fmt.Sscanf(strings.SplitAfter(k.call(http.MethodGet, "/v1/queues", nil).raw, `"name":"default","depth":`)[1], "%d", &depth); err != nil || depth < perBatch {
		t.Errorf("%d jobs of the first key wait (%v): the test has shown nothing", depth, err)
	}
	t.Logf("%d jobs of the first key still waited then", depth)
}
