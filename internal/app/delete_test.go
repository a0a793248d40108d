package app_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/testenv"
)

func record(id string) string { return "/v1/jobs/" + id + "/record" }

// TestDeleteJob: a job that has ended can be deleted, by its owner, once; then it has never been, and what
// it took is there for others.
func TestDeleteJob(t *testing.T) {
	t.Parallel()
	const mine, strange, admin = "key-of-the-owner-1", "key-of-a-stranger", "key-of-the-operator"
	k := start(t, 1, "KAA_API_KEYS="+mine+","+strange, "KAA_ADMIN_KEYS="+admin, "KAA_MAX_STORED_BYTES_PER_KEY=60000", "KAA_MAX_STORED_FILE_BYTES_PER_KEY=60000")
	k.key = mine
	large := fields{"code": "print('x' * 50_000); open('out', 'w').write('x' * 50_000)", "metadata": fields{"a": 1}}
	waiting := k.submit(fields{"code": "1", "delay": 3600})
	if a := k.call(http.MethodDelete, record(waiting), nil); a.status != http.StatusConflict || a.str("code") != "not_finished" {
		t.Errorf("one that waits: %d %s", a.status, a.raw)
	}
	id := k.submit(large, "Idempotency-Key: large")
	if a := k.await(id); len(listed(a, "result.files")) != 1 {
		t.Fatal(a.raw)
	}
	if a := k.call(http.MethodPost, "/v1/jobs", fields{"code": "#" + strings.Repeat("x", 20_000)}); a.str("code") != "key_storage_full" || !strings.Contains(a.str("detail"), "DELETE") {
		t.Errorf("beyond the share: %d %s", a.status, a.raw)
	}
	k.key = strange
	if a := k.call(http.MethodDelete, record(id), nil); a.status != http.StatusNotFound || a.str("code") != "not_found" {
		t.Errorf("of a stranger: %d %s", a.status, a.raw)
	}
	k.key = mine
	statuses := make(chan int, 8)
	var all sync.WaitGroup
	for range cap(statuses) {
		all.Go(func() { statuses <- k.call(http.MethodDelete, record(id), nil).status })
	}
	all.Wait()
	close(statuses)
	got := map[int]int{}
	for s := range statuses {
		got[s]++
	}
	if diff := cmp.Diff(map[int]int{http.StatusNoContent: 1, http.StatusNotFound: cap(statuses) - 1}, got); diff != "" {
		t.Errorf("several at once (-want +got):\n%s", diff)
	}
	for _, path := range []string{"", "/files", "/files/out", "/events"} {
		if a := k.call(http.MethodGet, "/v1/jobs/"+id+path, nil); a.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, a.status, a.raw)
		}
	}
	if a := k.call(http.MethodGet, "/v1/jobs?state=completed", nil); strings.Contains(a.raw, id) {
		t.Errorf("it is listed: %s", a.raw)
	}
	if left := blobsIn(t, k.blobs()); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	again := k.submit(large, "Idempotency-Key: large")
	if a := k.await(again); again == id || len(listed(a, "result.files")) != 1 {
		t.Errorf("there is no room for it again: %s", a.raw)
	}
	k.key = admin
	if a := k.call(http.MethodDelete, record(again), nil); a.status != http.StatusNoContent {
		t.Errorf("of the operator: %d %s", a.status, a.raw)
	}
}

// TestDeleteJobInUse: who follows a job, or downloads a file of it, comes to an end when it is deleted.
func TestDeleteJobInUse(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	const size = 12 << 20 // more than connections buffer
	id := k.submit(fields{"code": fmt.Sprintf("for i in range(3000): print(i, 'x' * 1000)\nopen('out', 'wb').write(bytes(%d))", size), "events": true, "limits": fields{"outputBytes": 8_000_000}})
	follower := k.follow(id, "")
	if a := k.await(id); len(listed(a, "result.files")) != 1 {
		t.Fatalf("it left no file: %.1000s", a.raw)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, k.url+"/v1/jobs/"+id+"/files/out", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := k.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if a := k.call(http.MethodDelete, record(id), nil); a.status != http.StatusNoContent {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil {
		t.Errorf("the download that was under way: %d bytes, %v", n, err)
	}
	last := ""
	for follower.line.Scan() { // until the server ends it
		if text := follower.line.Text(); strings.HasPrefix(text, "data:") {
			last = text
		}
	}
	if !strings.Contains(last, `"not_found"`) && !strings.Contains(last, `"completed"`) {
		t.Errorf("the follower's last event is %.200s", last)
	}
}

// TestDeleteJobWithWebhook: a webhook that was not delivered goes with its job, also if it is on its way.
func TestDeleteJobWithWebhook(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_WEBHOOK_ALLOW_PRIVATE=true")
	began, answer := make(chan struct{}, 10), make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		began <- struct{}{}
		<-answer
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer receiver.Close()
	id := k.submit(fields{"code": "1", "webhook": fields{"url": receiver.URL, "secret": hookSecret}})
	<-began
	if a := k.call(http.MethodDelete, record(id), nil); a.status != http.StatusNoContent {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	close(answer)
	testenv.Eventually(t, "no webhook is pending", func() bool {
		n, err := k.redis.Client(t).ZCard(t.Context(), "{kaa}:hooks").Result()
		return err == nil && n == 0
	})
	if a := k.call(http.MethodGet, "/v1/jobs/"+id, nil); a.status != http.StatusNotFound {
		t.Errorf("it came back: %d %s", a.status, a.raw)
	}
}
