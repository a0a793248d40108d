package runner_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/kaa-run/kaa/internal/job"
)

// TestContextDeletedWhileItExecutes: the end of what a deleted context executes is no error of Kaa; that of a context that is still there is.
func TestContextDeletedWhileItExecutes(t *testing.T) {
	t.Parallel()
	for _, deleted := range []bool{true, false} {
		t.Run(map[bool]string{true: "deleted", false: "broken"}[deleted], func(t *testing.T) {
			t.Parallel()
			inLanes(t, func(w *laneWorld) {
				args := json.RawMessage(`{"id":"c"}`)
				w.add(job.Beside("1"), job.Spec{Op: job.OpMakeContext, Args: args})
				synctest.Wait()
				code, want := "break", "failed worker_failed"
				if deleted {
					code, want = "hold", "failed context_not_found"
				}
				w.add(job.LaneOfContext("c"), job.Spec{Code: code})
				if deleted {
					w.interpreters.hold <- struct{}{}
					w.add(job.Beside("2"), job.Spec{Op: job.OpDeleteContext, Args: args})
					synctest.Wait()
					w.interpreters.hold <- struct{}{}
				}
				synctest.Wait()
				w.laneStore.mu.Lock()
				end := w.ends[code]
				w.laneStore.mu.Unlock()
				if !strings.HasPrefix(end, want) || strings.Contains(w.logged.String(), "supervision") == deleted {
					t.Errorf("%s, logged %q", end, w.logged.String())
				}
				w.stop(2)
			})
		})
	}
}
