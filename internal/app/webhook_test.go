package app_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

const hookSecret = "hunter2-of-the-hook"

// receiver is somebody's web server: it answers with what a test says, and keeps
// what was sent by job.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex
	got  map[string][]string // bodies of each job, if rightly signed
	fail int                 // how many requests are yet to be answered with 503
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{got: map[string][]string{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		var at int64
		var sum string
		_, _ = fmt.Sscanf(req.Header.Get("Kaa-Signature"), "t=%d,v1=%s", &at, &sum)
		mac := hmac.New(sha256.New, []byte(hookSecret))
		_, _ = fmt.Fprintf(mac, "%d.%s", at, body)
		r.mu.Lock()
		defer r.mu.Unlock()
		if sum != hex.EncodeToString(mac.Sum(nil)) {
			t.Errorf("signature %q", req.Header.Get("Kaa-Signature"))
		}
		if r.fail > 0 {
			r.fail--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		id := req.Header.Get("Kaa-Job-Id") + req.Header.Get("Kaa-Batch-Id") // it has one of them
		r.got[id] = append(r.got[id], string(body))
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) received(id string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got[id]
}

func (k *kaa) awaitHook(id, state string) answer {
	k.tb.Helper()
	var a answer
	testenv.Eventually(k.tb, "the webhook is "+state, func() bool {
		a = k.call(http.MethodGet, "/v1/jobs/"+id, nil)
		return a.str("webhook.state") == state
	})
	return a
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_WEBHOOK_ALLOW_PRIVATE=true")
	r := newReceiver(t)
	r.fail = 1
	hook := fields{"url": r.URL + "/hook?x=1", "secret": hookSecret}
	submitted := k.call(http.MethodPost, "/v1/jobs", fields{"code": "print(6*7)", "webhook": hook, "metadata": fields{"mine": 1}})
	id := submitted.str("id")
	if submitted.status != http.StatusAccepted || submitted.str("webhook.url") != hook["url"] || submitted.str("webhook.state") != "pending" || submitted.str("webhook.attempts") != "0" {
		t.Fatalf("%d %s", submitted.status, submitted.raw)
	}
	k.await(id)
	var failed answer
	testenv.Eventually(t, "the first attempt has failed", func() bool {
		failed = k.call(http.MethodGet, "/v1/jobs/"+id, nil)
		return failed.str("webhook.lastStatus") == "503"
	})
	if failed.str("webhook.state") != "pending" || failed.str("webhook.lastError") != "the receiver answered 503" {
		t.Errorf("after 503: %s", failed.raw)
	}
	end := k.awaitHook(id, "delivered")
	if end.str("webhook.attempts") != "2" || end.str("webhook.lastStatus") != "200" || end.str("webhook.lastError") != "" {
		t.Errorf("job = %s", end.raw)
	}
	bodies := r.received(id)
	var message struct {
		Type string
		Job  map[string]any
	}
	if len(bodies) != 1 || json.Unmarshal([]byte(bodies[0]), &message) != nil || message.Type != "job.finished" ||
		(answer{body: message.Job}).str("result.stdout") != "42\n" || (answer{body: message.Job}).str("id") != id {
		t.Errorf("received %q", bodies)
	}

	// Of a batch, and of a job that never ran.
	batch := k.call(http.MethodPost, "/v1/jobs:batch", fields{"jobs": []any{fields{"code": "pass", "webhook": hook}, fields{"code": "pass", "webhook": fields{"url": "nowhere"}}}})
	jobs, _ := batch.body["jobs"].([]any)
	if len(jobs) != 2 || !strings.Contains(batch.raw, `"location":"body.webhook.url"`) {
		t.Fatalf("batch: %s", batch.raw)
	}
	first, _ := jobs[0].(map[string]any)["id"].(string)
	later := k.submit(fields{"code": "pass", "delay": 3600, "webhook": hook})
	k.call(http.MethodDelete, "/v1/jobs/"+later, nil)
	for _, id := range []string{first, later} {
		k.awaitHook(id, "delivered")
	}
	if a := k.call(http.MethodPost, executePath, fields{"code": "1", "webhook": hook}); a.status != http.StatusBadRequest {
		t.Errorf("with execute: %d", a.status)
	}
	if a := k.call(http.MethodPost, "/v1/jobs", `{"code": "1", "webhook": null}`); a.status != http.StatusAccepted || a.str("webhook") != "" {
		t.Errorf("null: %d %s", a.status, a.raw)
	}
	shown := strings.Join([]string{submitted.raw, end.raw, batch.raw, k.call(http.MethodGet, "/v1/jobs", nil).raw, strings.Join(bodies, ""), k.logs.String()}, "\n")
	if strings.Contains(shown, hookSecret) {
		t.Errorf("the secret is shown:\n%s", shown)
	}
	if m := k.call(http.MethodGet, "/metrics", nil).raw; !strings.Contains(m, `kaa_webhook_duration_seconds_count{outcome="delivered"} 3`) {
		t.Error("the metrics do not say that 3 webhooks were delivered")
	}
}

// TestWebhookToAPrivateAddress: the service's own network is out of reach, by name too.
func TestWebhookToAPrivateAddress(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	r := newReceiver(t)
	for _, url := range []string{r.URL, strings.Replace(r.URL, "http://", "https://", 1), "https://169.254.169.254/", "https://localhost/"} {
		if a := k.call(http.MethodPost, "/v1/jobs", fields{"code": "1", "webhook": fields{"url": url}}); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", url, a.status, a.raw)
		}
	}
	// A name is looked at when it is resolved. This one passed an API that was
	// configured otherwise.
	open := *k
	open.environ = k.environ.With("KAA_WEBHOOK_ALLOW_PRIVATE", "true")
	addr, stop := open.run(app.RunAPI)
	open.url = "http://" + addr.String()
	id := open.submit(fields{"code": "1", "delay": 1, "webhook": fields{"url": strings.Replace(r.URL, "127.0.0.1", "localhost", 1)}})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	end := k.awaitHook(id, "failed")
	if end.str("webhook.lastError") != "its address is not public, which is not allowed" || len(r.received(id)) != 0 {
		t.Errorf("job = %s", end.raw)
	}
}

// TestWebhookWhenTheAPIDies: whichever process is left delivers.
func TestWebhookWhenTheAPIDies(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t), "KAA_WEBHOOK_ALLOW_PRIVATE=true")
	api := k.spawnAPI()
	r := newReceiver(t)
	id := k.submit(fields{"code": "pass", "webhook": fields{"url": r.URL, "secret": hookSecret}})
	if err := api.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	k.run(app.RunRunner)
	<-time.After(time.Second) // the job ends while there is nobody to deliver
	addr, _ := k.run(app.RunAPI)
	k.url = "http://" + addr.String()
	k.awaitHook(id, "delivered")
	if n := len(r.received(id)); n != 1 {
		t.Errorf("received %d times", n)
	}
}
