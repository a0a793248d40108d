package app_test

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestCancelInEveryState cancels a job in every state, and checks that everybody sees one outcome.
func TestCancelInEveryState(t *testing.T) {
	t.Parallel()
	const sleep = "import time\nprint('begun', flush=True)\ntime.sleep(50)"
	const stubborn = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('begun', flush=True)\ntime.sleep(50)"
	tests := []struct {
		name   string
		body   fields
		state  string          // to wait for before the cancel
		before func(b *broken) // what happens before it
		status int
		within time.Duration
		end    map[string]string
	}{
		{
			name: "scheduled", body: fields{"code": sleep, "delay": 60}, state: "scheduled", status: http.StatusOK, within: time.Second,
			end: map[string]string{"state": "cancelled", "failure.code": "cancelled", "attempt": "0", "result": ""},
		},
		{
			name: "queued", body: fields{"code": sleep, "queue": "elsewhere"}, state: "queued", status: http.StatusOK, within: time.Second,
			end: map[string]string{"state": "cancelled", "failure.code": "cancelled", "attempt": "0", "result": ""},
		},
		{
			name: "running", body: fields{"code": sleep}, state: "running", status: http.StatusAccepted, within: 2 * time.Second,
			end: map[string]string{"state": "cancelled", "result.status": "interrupted", "result.stdout": "begun\n", "attempt": "1"},
		},
		{
			name: "running, with attempts left", body: fields{"code": sleep, "maxAttempts": 3}, state: "running", status: http.StatusAccepted, within: 2 * time.Second,
			end: map[string]string{"state": "cancelled", "result.status": "interrupted", "attempt": "1"},
		},
		{
			name: "running, and it does not want to end", body: fields{"code": stubborn}, state: "running", status: http.StatusAccepted, within: 4 * time.Second,
			end: map[string]string{"state": "cancelled", "result.status": "interrupted", "result.stdout": "begun\n"},
		},
		{
			name: "running, and no message arrives", body: fields{"code": sleep}, state: "running", status: http.StatusAccepted, within: 5 * time.Second,
			before: func(b *broken) { b.link.MuteSubscriptions() },
			end:    map[string]string{"state": "cancelled", "result.status": "interrupted", "result.stdout": "begun\n"},
		},
		{
			name: "running, and its runner is gone", body: fields{"code": sleep, "queue": "elsewhere", "maxAttempts": 3}, state: "queued",
			before: func(b *broken) {
				// What a runner leaves that was killed right after its claim.
				id := b.rdb.ZRange(b.tb.Context(), "{kaa}:jobs:elsewhere:queued", 0, -1).Val()[0]
				p := b.rdb.TxPipeline()
				p.HSet(b.tb.Context(), "{kaa}:job:"+id, "state", "running", "attempt", 1, "runner", "dead", "started_at", 1)
				p.ZRem(b.tb.Context(), "{kaa}:jobs:elsewhere:queued", id)
				p.ZAdd(b.tb.Context(), "{kaa}:jobs:elsewhere:running", zero(id))
				p.SAdd(b.tb.Context(), "{kaa}:runners", "dead")
				p.SAdd(b.tb.Context(), "{kaa}:runner:dead:jobs", id)
				p.ZRem(b.tb.Context(), "{kaa}:outbox", id)
				if _, err := p.Exec(b.tb.Context()); err != nil {
					b.tb.Fatal(err)
				}
			},
			status: http.StatusAccepted, within: 15 * time.Second,
			end: map[string]string{"state": "cancelled", "failure.code": "cancelled", "attempt": "1", "result": ""},
		},
		{
			name: "completed", body: fields{"code": "print(1)"}, state: "completed", status: http.StatusConflict, within: time.Second,
			end: map[string]string{"state": "completed", "result.status": "ok"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// A queue that the API knows and no runner serves.
			b := startBrokenWith(t, "KAA_QUEUES=default:1", "KAA_QUEUES=default:1,elsewhere:1")
			id := b.submit(tt.body)
			testenv.Eventually(t, "the job is "+tt.state, func() bool { return b.call(http.MethodGet, "/v1/jobs/"+id, nil).str("state") == tt.state })
			if tt.state == "running" {
				s := b.follow(id, "")
				s.await(func(e event) bool { return e.name == "stream" && e.str("text") == "begun\n" })
				s.close()
			}
			if tt.before != nil {
				tt.before(b)
			}
			at := time.Now()
			for i := range 2 { // cancelling twice is cancelling once
				a := b.call(http.MethodDelete, "/v1/jobs/"+id, nil)
				if i == 0 && a.status != tt.status {
					t.Errorf("cancel: %d %s", a.status, a.raw)
				}
			}
			end := b.await(id)
			testenv.Within(t, tt.within, at)
			for path, want := range tt.end {
				if got := end.str(path); got != want {
					t.Errorf("%s = %q, want %q: %s", path, got, want, end.raw)
				}
			}
			b.agree(id, end)
		})
	}
}

// agree checks that the listings and a later look say the same as the end that was seen.
func (b *broken) agree(id string, end answer) {
	b.tb.Helper()
	if again := b.call(http.MethodGet, "/v1/jobs/"+id, nil); again.raw != end.raw {
		b.tb.Errorf("seen as %s\nand then as %s", end.raw, again.raw)
	}
	for _, state := range []string{"scheduled", "queued", "running", "completed", "cancelled", "failed"} {
		listed := strings.Contains(b.call(http.MethodGet, "/v1/jobs?limit=500&state="+state, nil).raw, `"id":"`+id+`"`)
		if listed != (state == end.str("state")) {
			b.tb.Errorf("%s is %s; listed as %s: %t", id, end.str("state"), state, listed)
		}
	}
}

// TestCancelRace cancels jobs at random moments around their claim, their start and
// their end. Whatever wins, everybody is told the same, and what the cancel's answer
// promises holds.
func TestCancelRace(t *testing.T) {
	t.Parallel()
	b := startBroken(t)
	other := *b.kaa
	addr, _ := b.run(app.RunAPI)
	other.url = "http://" + addr.String()
	const jobs = 150
	var ends [3]int
	var mu sync.Mutex
	var all sync.WaitGroup
	gate := make(chan struct{}, 4)
	for range jobs {
		gate <- struct{}{}
		all.Go(func() {
			defer func() { <-gate }()
			id := b.submit(fields{"code": "import time\ntime.sleep(0.005)\nprint(1)", "maxAttempts": 2})
			seen := make(chan answer, 2)
			for _, k := range []*kaa{b.kaa, &other} {
				go func() { seen <- k.await(id) }()
			}
			<-time.After(time.Duration(rand.IntN(40_000)) * time.Microsecond)
			a := other.call(http.MethodDelete, "/v1/jobs/"+id, nil)
			first, second := <-seen, <-seen
			if first.raw != second.raw {
				t.Errorf("two ends:\n%s\n%s", first.raw, second.raw)
			}
			state, started := first.str("state"), first.str("attempt") != "0"
			var ok bool
			switch a.status {
			case http.StatusOK: // it had not started, and never does
				ok = state == "cancelled" && first.str("failure.code") == "cancelled" && first.str("result") == ""
			case http.StatusAccepted: // it ran: either may have been first
				ok = started && (state == "completed" && first.str("result.stdout") == "1\n" || state == "cancelled" && first.str("result.status") == "interrupted")
			case http.StatusConflict:
				ok = state == "completed" && first.str("result.stdout") == "1\n"
			}
			if !ok {
				t.Errorf("cancel answered %d, the job is %s", a.status, first.raw)
			}
			mu.Lock()
			ends[slices.Index([]int{http.StatusOK, http.StatusAccepted, http.StatusConflict}, a.status)]++
			mu.Unlock()
		})
	}
	all.Wait()
	t.Logf("cancelled before the start %d, while running %d, too late %d", ends[0], ends[1], ends[2])
}
