package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/api"
	"github.com/kaa-run/kaa/internal/job"
)

func problem(t *testing.T, res *httptest.ResponseRecorder) api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal(res.Body.Bytes(), &p); err != nil {
		t.Fatalf("%d %s: %v", res.Code, res.Body, err)
	}
	return p
}

// TestMaxSyncWaits: calls and long polls beyond the bound are sent away, at once and
// without a trace; those that wait are served.
func TestMaxSyncWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := &fakeStore{get: func() (job.Job, error) {
			if time.Since(start) < 10*time.Second {
				return job.Job{State: job.Running}, nil
			}
			return job.Job{State: job.Completed, Result: &job.Result{Status: job.StatusOK}}, nil
		}}
		cfg := config(s)
		cfg.MaxSyncWaits = 2
		cfg.Queue = queueFunc(func() {})
		execute := func() *httptest.ResponseRecorder {
			return serve(t.Context(), cfg, http.MethodPost, executePath, `{"code": "1"}`)
		}
		poll := func() *httptest.ResponseRecorder { return get(t, cfg, "/v1/jobs/x?wait=60s") }
		for _, call := range []func() *httptest.ResponseRecorder{execute, poll} {
			var wg sync.WaitGroup
			start = time.Now()
			for range 2 {
				wg.Go(func() {
					if res := call(); res.Code != http.StatusOK {
						t.Errorf("within the bound: %d %s", res.Code, res.Body)
					}
				})
			}
			synctest.Wait()
			accepted := len(s.created)
			res := call()
			p := problem(t, res)
			if res.Code != http.StatusTooManyRequests || p.Code != "too_many_waits" || res.Header().Get("Retry-After") != "1" || p.Depth == nil || *p.Depth != 2 || *p.Limit != 2 {
				t.Errorf("beyond the bound: %d %v %s", res.Code, res.Header(), res.Body)
			}
			if time.Since(start) != 0 || len(s.created) != accepted {
				t.Errorf("after %s, %d jobs", time.Since(start), len(s.created)-accepted)
			}
			wg.Wait()
			if res := call(); res.Code != http.StatusOK {
				t.Errorf("afterwards: %d %s", res.Code, res.Body)
			}
		}
	})
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	cfg := config(&fakeStore{})
	cfg.apiKeys = []string{"hunter2"}
	var answer job.Rate
	var failure error
	var callers []string
	cfg.Allow = func(_ context.Context, caller, _ string, _ job.RateLimit) (job.Rate, error) {
		callers = append(callers, caller)
		return answer, failure
	}
	call := func(path string) *httptest.ResponseRecorder {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(`{"code": "1"}`))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-API-Key", "hunter2")
		res := httptest.NewRecorder()
		newAPI(cfg).ServeHTTP(res, req)
		return res
	}
	answer = job.Rate{Allowed: true, Limit: 10, Remaining: 3, Reset: 1500 * time.Millisecond}
	res := call("/v1/jobs")
	for name, want := range map[string]string{"RateLimit-Limit": "10", "RateLimit-Remaining": "3", "RateLimit-Reset": "2"} {
		if got := res.Header().Get(name); res.Code != http.StatusAccepted || got != want {
			t.Errorf("%d, %s = %q, want %q", res.Code, name, got, want)
		}
	}
	answer = job.Rate{Limit: 10, RetryAfter: 200 * time.Millisecond, Reset: time.Second}
	res = call("/v1/jobs")
	if p := problem(t, res); res.Code != http.StatusTooManyRequests || p.Code != "rate_limited" || res.Header().Get("Retry-After") != "1" || res.Header().Get("RateLimit-Remaining") != "0" {
		t.Errorf("%d %v %s", res.Code, res.Header(), res.Body)
	}
	failure = errors.New("Redis is away")
	if res := call("/v1/jobs"); res.Code != http.StatusAccepted {
		t.Errorf("without Redis: %d %s", res.Code, res.Body)
	}
	seen := len(callers)
	if res := get(t, cfg, "/healthz"); res.Code != http.StatusOK || len(callers) != seen {
		t.Errorf("a probe was counted: %d", res.Code)
	}
	for _, c := range callers {
		if c == "" || strings.Contains(c, "hunter2") || c != callers[0] {
			t.Errorf("callers: %q", callers)
		}
	}
}

// TestBodyMemory: bodies are bounded together, as they come and not as they claim
// to be, and what one held is free again after it.
func TestBodyMemory(t *testing.T) {
	t.Parallel()
	var entered sync.WaitGroup
	hold := make(chan struct{})
	cfg := config(&fakeStore{})
	cfg.BodyMemory = 1000
	first := true
	cfg.Limits.MaxCodeBytes = 1000
	cfg.Queue = queueFunc(func() {
		if first {
			first = false
			entered.Done()
			<-hold
		}
	})
	handler := newAPI(cfg)
	call := func() *httptest.ResponseRecorder {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/jobs", strings.NewReader(`{"code": "`+strings.Repeat("1", 600)+`"}`))
		req.Header.Set("Content-Type", "application/json")
		res := httptest.NewRecorder()
		handler.ServeHTTP(res, req)
		return res
	}
	entered.Add(1)
	var wg sync.WaitGroup
	wg.Go(func() {
		if res := call(); res.Code != http.StatusAccepted {
			t.Errorf("the first: %d %s", res.Code, res.Body)
		}
	})
	entered.Wait()
	res := call()
	if p := problem(t, res); res.Code != http.StatusTooManyRequests || p.Code != "too_many_bytes" || res.Header().Get("Retry-After") == "" || *p.Limit != 1000 {
		t.Errorf("the second: %d %v %s", res.Code, res.Header(), res.Body)
	}
	close(hold)
	wg.Wait()
	for range 3 {
		if res := call(); res.Code != http.StatusAccepted {
			t.Errorf("afterwards: %d %s", res.Code, res.Body)
		}
	}
}

// queueFunc is a queue that calls back for each task.
type queueFunc func()

func (q queueFunc) Enqueue(context.Context, job.Task) error { q(); return nil }
func (queueFunc) Remove(context.Context, job.Task) error    { return nil }
