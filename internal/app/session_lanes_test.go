package app_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// besides puts and reads files of a session from several goroutines, each until a call does not succeed, or until over is closed.
// The function that it returns waits for all of them and returns the answers that were no success.
func (k *kaa) besides(session string, over <-chan struct{}) (failures func() []answer) {
	path := sessionsPath + "/" + session + "/files/f"
	if a := k.call(http.MethodPut, path, "x", raw); a.status != http.StatusOK {
		k.tb.Fatalf("put: %d %s", a.status, a.raw)
	}
	var all sync.WaitGroup
	answers := make(chan answer, 8)
	for n := range cap(answers) {
		all.Go(func() {
			for {
				method, body := http.MethodGet, any(nil)
				if n%2 == 0 {
					method, body = http.MethodPut, "x"
				}
				a, err := k.try(k.tb.Context(), method, path, body, raw)
				if err != nil || a.status != http.StatusOK {
					answers <- a
					return
				}
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	return func() (failures []answer) {
		all.Wait()
		close(answers)
		for a := range answers {
			failures = append(failures, a)
		}
		return failures
	}
}

// TestSessionLanesEnd: whatever ends a session, its calls beside its code all end, and say why.
func TestSessionLanesEnd(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{"runner_lost", "drained", "deleted"} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			k := start(t, 0)
			var end func() error
			switch reason {
			case "runner_lost":
				end = k.spawnRunner().Process.Kill
			default:
				_, end = k.run(app.RunRunner)
			}
			id := k.open(nil)
			if reason == "deleted" {
				stop := end
				t.Cleanup(func() { _ = stop() })
				end = func() error {
					k.call(http.MethodDelete, sessionsPath+"/"+id, nil)
					return nil
				}
			}
			failures := k.besides(id, nil)
			running := k.submit(fields{"code": "import time\ntime.sleep(1)\nprint('done')", "timeout": 1200, "sessionId": id})
			testenv.Eventually(t, "it runs", func() bool { return k.call(http.MethodGet, "/v1/jobs/"+running, nil).str("state") == "running" })
			at := time.Now()
			if err := end(); err != nil {
				t.Fatal(err)
			}
			for _, a := range failures() {
				if a.status != http.StatusGone || a.str("code") != "session_ended" || a.str("reason") != reason {
					t.Errorf("%d %s", a.status, a.raw)
				}
			}
			testenv.Within(t, 15*time.Second, at)
			k.wantEnded(id, reason)
			if a := k.await(running); reason == "drained" && a.str("result.stdout") != "done\n" {
				t.Errorf("the code that had begun: %s", a.raw)
			}
			if n := k.count("running") + k.count("queued"); n > 0 {
				t.Errorf("%d jobs are left", n)
			}
		})
	}
}

// TestSessionLanesReplaced: a restart ends the calls that use the sandbox beside the code, and others go on in the next one.
func TestSessionLanesReplaced(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.open(nil)
	for range 3 {
		over := make(chan struct{})
		failures := k.besides(id, over)
		if a := k.call(http.MethodPost, sessionsPath+"/"+id+"/restart", nil); a.status != http.StatusOK {
			t.Fatalf("restart: %d %s", a.status, a.raw)
		}
		close(over)
		for _, a := range failures() {
			gone := a.status == http.StatusNotFound && a.str("code") == "file_not_found" // before it was put again
			if !gone && (a.status != http.StatusConflict || a.str("code") != "refused") {
				t.Errorf("%d %s", a.status, a.raw)
			}
		}
		k.in(id, "print(1)")
	}
}
