package app_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestQueueDepth: beyond the limits there is 429 with the depth, for a batch item by
// item, and a place is free again once a job has left the queue.
func TestQueueDepth(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_MAX_QUEUE_DEPTH=4", "KAA_MAX_QUEUE_DEPTH_PER_KEY=3", "KAA_API_KEYS=one,two")
	k.key = "one"
	item := fields{"code": "print(1)"}
	batch := k.call(http.MethodPost, "/v1/jobs:batch", fields{"jobs": []any{item, item, item, item}})
	jobs, _ := batch.body["jobs"].([]any)
	if batch.status != http.StatusAccepted || len(jobs) != 4 || strings.Count(batch.raw, `"state":"queued"`) != 3 ||
		!strings.Contains(batch.raw, `{"error":{"type":"about:blank","title":"Too Many Requests","status":429,"code":"key_queue_full"`) {
		t.Fatalf("%d %s", batch.status, batch.raw)
	}
	for _, path := range []string{"/v1/jobs", executePath} {
		a := k.call(http.MethodPost, path, item)
		if a.status != http.StatusTooManyRequests || a.str("code") != "key_queue_full" || a.str("depth") != "3" || a.str("limit") != "3" || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %v %s", path, a.status, a.header, a.raw)
		}
	}
	k.key = "two"
	id := k.submit(item)
	if a := k.call(http.MethodPost, "/v1/jobs", item); a.status != http.StatusTooManyRequests || a.str("code") != "queue_full" || a.str("depth") != "4" {
		t.Errorf("a full queue: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodDelete, "/v1/jobs/"+id, nil); a.status != http.StatusOK {
		t.Errorf("cancel: %s", a.raw)
	}
	k.submit(item)
	k.run(app.RunRunner)
	testenv.Eventually(t, "the queue is empty", func() bool {
		return k.call(http.MethodPost, executePath, item).status == http.StatusOK
	})
}

func TestRateOfAKey(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_RATE_LIMIT=0.1", "KAA_RATE_BURST=3", "KAA_API_KEYS=one,two")
	k.key = "one"
	for range 3 {
		if a := k.call(http.MethodGet, "/v1/jobs", nil); a.status != http.StatusOK || a.header.Get("RateLimit-Limit") != "3" {
			t.Errorf("%d %v", a.status, a.header)
		}
	}
	if a := k.call(http.MethodGet, "/v1/jobs", nil); a.status != http.StatusTooManyRequests || a.str("code") != "rate_limited" {
		t.Errorf("%d %v %s", a.status, a.header, a.raw)
	} else if wait, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || wait < 1 || wait > 10 { // less than 10 if the calls took seconds
		t.Errorf("%v", a.header)
	}
	k.key = "two"
	if a := k.call(http.MethodGet, "/v1/jobs", nil); a.status != http.StatusOK {
		t.Errorf("another key: %d %s", a.status, a.raw)
	}
	if keys := k.redis.Client(t).Keys(t.Context(), "*two*").Val(); len(keys) != 0 {
		t.Errorf("the key is in Redis: %v", keys)
	}
}
