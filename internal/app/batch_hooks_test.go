package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// percents are those of the messages about a batch that came, in order.
func (r *receiver) percents(t *testing.T, id string) []int {
	t.Helper()
	var all []int
	for _, body := range r.received(id) {
		var message struct {
			Type    string
			Percent int
			Batch   struct{ ID, State string }
		}
		what := "batch.progress"
		if err := json.Unmarshal([]byte(body), &message); err != nil || message.Batch.ID != id {
			t.Errorf("%s: %v", body, err)
		}
		if message.Percent == 100 {
			what = "batch.finished"
			if message.Batch.State != "completed" {
				t.Errorf("at the end: %s", body)
			}
		}
		if message.Type != what {
			t.Errorf("%d %%: %s", message.Percent, message.Type)
		}
		all = append(all, message.Percent)
	}
	slices.Sort(all)
	return all
}

func hookedLines(t *testing.T, hook fields, n int) string {
	t.Helper()
	return ndjson(t, fields{"batch": fields{"webhook": hook, "defaults": fields{"code": "1"}}}) + strings.Repeat("{}\n", n)
}

func (k *kaa) awaitBatchHook(id string, delivered int) answer {
	k.tb.Helper()
	var a answer
	testenv.Eventually(k.tb, "the messages of the batch are delivered", func() bool {
		a = k.call(http.MethodGet, batchesPath+"/"+id, nil)
		return a.str("webhook.delivered") == fmt.Sprint(delivered) && a.str("webhook.pending") == "0"
	})
	return a
}

// TestBatchWebhook: a batch is sent at its end, and at each percent that was asked for, signed, and again if the receiver fails.
func TestBatchWebhook(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_WEBHOOK_ALLOW_PRIVATE=true")
	r := newReceiver(t)
	r.fail = 1
	id := k.batch("", hookedLines(t, fields{"url": r.URL, "secret": hookSecret, "percent": 25}, 8)).str("id")
	k.awaitBatch(id, "completed")
	a := k.awaitBatchHook(id, 4)
	if got := r.percents(t, id); !slices.Equal(got, []int{25, 50, 75, 100}) {
		t.Errorf("messages: %v", got)
	}
	if strings.Contains(a.raw+k.logs.String(), hookSecret) {
		t.Error("the secret is shown")
	}
	atEnd := k.batch("", hookedLines(t, fields{"url": r.URL, "secret": hookSecret}, 3)).str("id")
	k.awaitBatchHook(atEnd, 1)
	if got := r.percents(t, atEnd); !slices.Equal(got, []int{100}) {
		t.Errorf("messages at the end: %v", got)
	}
	for name, c := range map[string]struct {
		hook  fields
		words string
	}{
		"no URL":            {fields{"percent": 1}, "url"},
		"not one":           {fields{"url": "nowhere"}, "webhook.url"},
		"percent of 0":      {fields{"url": r.URL, "percent": 0}, "webhook.percent"},
		"percent of 101":    {fields{"url": r.URL, "percent": 101}, "webhook.percent"},
		"half a percent":    {fields{"url": r.URL, "percent": 0.5}, "percent"},
		"unknown field":     {fields{"url": r.URL, "every": 1}, "every"},
		"a secret too long": {fields{"url": r.URL, "secret": strings.Repeat("x", 257)}, "webhook.secret"},
	} {
		if a := k.call(http.MethodPost, batchesPath, hookedLines(t, c.hook, 1)); a.status != http.StatusBadRequest || !strings.Contains(a.raw, c.words) {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
}

// TestBatchWebhookWhenTheAPIDies: crossings while there is no API are delivered by the next one.
func TestBatchWebhookWhenTheAPIDies(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t), "KAA_WEBHOOK_ALLOW_PRIVATE=true")
	api := k.spawnAPI()
	r := newReceiver(t)
	id := k.batch("", hookedLines(t, fields{"url": r.URL, "secret": hookSecret, "percent": 50}, 4)).str("id")
	rdb := k.redis.Client(t)
	testenv.Eventually(t, "the jobs have records", func() bool { return rdb.HGet(t.Context(), "{kaa}:batch:"+id, "next").Val() == "4" })
	if err := api.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	k.run(app.RunRunner)
	testenv.Eventually(t, "the batch has ended", func() bool {
		return rdb.HGet(t.Context(), "{kaa}:batch:"+id, "state").Val() == "completed"
	})
	addr, _ := k.run(app.RunAPI)
	k.url = "http://" + addr.String()
	k.awaitBatchHook(id, 2)
	if got := r.percents(t, id); !slices.Equal(got, []int{50, 100}) {
		t.Errorf("messages: %v", got)
	}
}
