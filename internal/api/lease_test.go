package api_test

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/service"
)

// TestCallLease: the lease is renewed while callers wait, and only then.
func TestCallLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		end := func() (job.Job, error) {
			if time.Since(start) < 15*time.Second {
				return job.Job{State: job.Running}, nil
			}
			return job.Job{State: job.Completed, Result: &job.Result{Status: job.StatusOK}}, nil
		}
		cfg := config(&fakeStore{get: end})
		var renewed atomic.Int64
		a := service.NewCallLease(cfg.Hub, func(_ context.Context, waiter string) error {
			if waiter != cfg.Hub.Subscriber {
				t.Errorf("renewed for %q", waiter)
			}
			renewed.Add(1)
			return nil
		}, slog.New(slog.DiscardHandler))
		a.Start(t.Context())
		defer a.Close()
		if res := serve(t.Context(), cfg, http.MethodPost, executePath, `{"code": "1"}`); res.Code != http.StatusOK {
			t.Fatal(res.Body)
		}
		n, took := renewed.Load(), time.Since(start)
		if every := took / time.Duration(max(n, 1)); every < time.Second || every > 3*time.Second {
			t.Errorf("renewed %d times in %v", n, took)
		}
		<-time.After(time.Minute)
		if more := renewed.Load() - n; more > 1 {
			t.Errorf("renewed %d times without callers", more)
		}
	})
}
