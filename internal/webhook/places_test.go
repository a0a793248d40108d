package webhook_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/testenv"
	"github.com/kaa-run/kaa/internal/webhook"
)

// deliveries are n webhooks of an owner.
func deliveries(owner string, n int) []job.Delivery {
	all := make([]job.Delivery, n)
	for i := range all {
		all[i] = job.Delivery{JobID: fmt.Sprint(owner, i), Owner: owner, Attempt: 1}
	}
	return all
}

// TestSilentReceivers: a key whose receivers never answer, or answer a byte now and then, takes no webhook from another key, though both
// name the same host and the silent ones were due before. No attempt ends by its time here.
func TestSilentReceivers(t *testing.T) {
	t.Parallel()
	for name, silent := range map[string]http.HandlerFunc{
		"never answers": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"answers byte by byte": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, "x")
				_ = http.NewResponseController(w).Flush()
				<-time.After(10 * time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var held atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if strings.Contains(string(body), "silent") {
					held.Add(1)
					defer held.Add(-1)
					silent(w, r)
				}
			}))
			t.Cleanup(server.Close)
			const all = 300
			due := append(deliveries("silent", all), deliveries("other", 1)...)
			b := start(t, server.URL, due, func(c *webhook.Config) { c.Timeout, c.Patience = time.Hour, time.Millisecond })
			crowded := 0
			for {
				r := b.report(t)
				if strings.HasPrefix(r.Error, "other") {
					if r.State != job.WebhookDelivered {
						t.Errorf("the other key's: %+v", r)
					}
					break
				}
				if r.State == job.WebhookDelivered && name != "never answers" { // it had answered, and the rest of the answer was not waited for
					continue
				}
				crowded++
				if r.State != job.WebhookPending || r.Next < time.Second || !strings.Contains(r.Error, "many webhooks of the same key") {
					t.Errorf("one that was crowded out: %+v", r)
				}
			}
			if crowded == 0 {
				t.Error("none was crowded out")
			}
			testenv.Eventually(t, "the silent receiver holds no more than its key's share", func() bool { return held.Load() <= webhook.SlowPlaces/2+webhook.Concurrency })
		})
	}
}

// TestHostOfOwner: receivers of one key that fail at a host say nothing about those of another key there.
func TestHostOfOwner(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); strings.Contains(string(body), "bad") {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(server.Close)
	b := start(t, server.URL, nil)
	report := func(due []job.Delivery) job.Report {
		b.records.mu.Lock()
		b.records.due = due
		b.records.mu.Unlock()
		b.Due()
		return b.report(t)
	}
	for range webhook.BadAfter {
		if r := report(deliveries("bad", 1)); !strings.Contains(r.Error, "the connection failed") {
			t.Errorf("%+v", r)
		}
	}
	if r := report(deliveries("bad", 1)); !strings.Contains(r.Error, "failed several times in a row") {
		t.Errorf("%+v", r)
	}
	if r := report(deliveries("good", 1)); r.State != job.WebhookDelivered {
		t.Errorf("the other key's: %+v", r)
	}
}
