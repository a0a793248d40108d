package app_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// sleeper blocks for longer than any test.
func sleeper() fields { return fields{"code": "import time\ntime.sleep(3000)", "timeout": 3500} }

// count returns how many jobs there are in a state, 200 at most.
func (k *kaa) count(state string) int {
	k.tb.Helper()
	return len(k.call(http.MethodGet, "/v1/jobs?limit=200&state="+state, nil).body["jobs"].([]any))
}

// as returns a client of the same Kaa with another key.
func (k *kaa) as(key string) *kaa {
	other := *k
	other.key = key
	return &other
}

// TestSlotsForOtherKeys: whatever one key has going on, another one's calls are answered
// before anything of that ends.
func TestSlotsForOtherKeys(t *testing.T) {
	t.Parallel()
	sync := func(n int) func(a *kaa) {
		return func(a *kaa) {
			ctx, hangUp := context.WithCancel(context.Background())
			a.tb.Cleanup(hangUp)
			for range n {
				go func() { _, _ = a.try(ctx, http.MethodPost, executePath, sleeper()) }()
			}
		}
	}
	each := func(n int, queues ...string) func(a *kaa) {
		return func(a *kaa) {
			for i := range n {
				job := sleeper()
				job["queue"] = queues[i%len(queues)]
				a.submit(job)
			}
		}
	}
	batch := func(n int) func(a *kaa) {
		return func(a *kaa) {
			jobs := make([]fields, n)
			for i := range jobs {
				jobs[i] = sleeper()
			}
			if r := a.call(http.MethodPost, "/v1/jobs:batch", fields{"jobs": jobs}); r.status != http.StatusAccepted {
				a.tb.Fatalf("%d %s", r.status, r.raw)
			}
		}
	}
	for _, tt := range []struct {
		name    string
		runners int // of two slots
		begin   func(a *kaa)
		total   int // jobs of the key that there are then
		running int // of them
	}{
		{"8 calls", 2, sync(8), 8, 3},
		{"200 calls", 2, sync(200), 200, 3},
		{"8 jobs", 2, each(8, "default"), 8, 3},
		{"200 jobs", 2, each(200, "default"), 200, 3},
		{"on all queues", 2, each(30, "critical", "default", "low"), 30, 3},
		{"200 jobs of a batch", 2, batch(200), 200, 3},
		{"on one runner", 1, each(8, "default"), 8, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := start(t, tt.runners, "KAA_API_KEYS=a,b", "KAA_SYNC_QUEUE_WAIT=1h", "KAA_LOG_LEVEL=WARN", "KAA_DRAIN_TIMEOUT=1s")
			b := a.as("b")
			a.key = "a"
			tt.begin(a)
			testenv.Eventually(t, "all are accepted", func() bool { return a.count("running")+a.count("queued") == tt.total })
			for i := range 5 {
				if got := b.execute(fields{"code": fmt.Sprint("print(", i, ")")}).str("stdout"); got != fmt.Sprintln(i) {
					t.Errorf("stdout %q", got)
				}
			}
			b.await(b.submit(fields{"code": "print(42)"}))
			testenv.Eventually(t, "the key executes its share", func() bool { return a.count("running") == tt.running })
			if n := a.count("queued"); n != tt.total-tt.running {
				t.Errorf("%d wait, want %d", n, tt.total-tt.running)
			}
		})
	}
}

// TestSlotsOfOneKey: where nobody has to share, nothing is kept free.
func TestSlotsOfOneKey(t *testing.T) {
	t.Parallel()
	for name, vars := range map[string][]string{
		"anonymous":    nil,
		"one key":      {"KAA_API_KEYS=a"},
		"switched off": {"KAA_API_KEYS=a,b", "KAA_RESERVED_SLOTS=0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := start(t, 1, append(vars, "KAA_LOG_LEVEL=WARN", "KAA_DRAIN_TIMEOUT=1s")...)
			if len(vars) > 0 {
				k.key = "a"
			}
			for range 3 {
				k.submit(sleeper())
			}
			testenv.Eventually(t, "all slots are used", func() bool { return k.count("running") == 2 })
		})
	}
}

// TestSlotsAndSessions: what sessions execute takes no slot of others, and another key gets a
// session, too.
func TestSlotsAndSessions(t *testing.T) {
	t.Parallel()
	a := start(t, 2, "KAA_API_KEYS=a,b", "KAA_MAX_SESSIONS=4", "KAA_LOG_LEVEL=WARN", "KAA_DRAIN_TIMEOUT=1s")
	b := a.as("b")
	a.key = "a"
	ctx, hangUp := context.WithCancel(context.Background())
	t.Cleanup(hangUp)
	open := 0
	for ; ; open++ {
		s := a.call(http.MethodPost, sessionsPath, fields{})
		if s.status == http.StatusTooManyRequests {
			break
		}
		blocked := sleeper()
		blocked["sessionId"] = s.str("id")
		go func() { _, _ = a.try(ctx, http.MethodPost, executePath, blocked) }()
	}
	for range 8 {
		a.submit(sleeper())
	}
	testenv.Eventually(t, "all sessions and the share of slots are busy", func() bool {
		return strings.Count(a.call(http.MethodGet, sessionsPath, nil).raw, `"state":"busy"`) == open && a.count("running&queue=default") == 3
	})
	b.execute(fields{"code": "print(42)"})
	session := b.call(http.MethodPost, sessionsPath, fields{}).str("id")
	b.execute(fields{"code": "print(42)", "sessionId": session})
	t.Logf("one key had %d sessions of 8", open)
}

// TestSlotsOfAKilledRunner: the share of a key that was in use on a runner that was killed comes
// back, and its jobs go on elsewhere.
func TestSlotsOfAKilledRunner(t *testing.T) {
	t.Parallel()
	a := prepare(t, testenv.Redis(t), "KAA_API_KEYS=a,b", "KAA_CONCURRENCY=4", "KAA_LOG_LEVEL=WARN", "KAA_DRAIN_TIMEOUT=1s")
	a.periods.Lease = 0 // it does die
	addr, _ := a.run(app.RunAPI)
	a.url = "http://" + addr.String()
	b := a.as("b")
	a.key = "a"
	killed := a.process("runner")
	for range 6 {
		job := sleeper()
		job["maxAttempts"] = 2
		a.submit(job)
	}
	testenv.Eventually(t, "the key executes its share", func() bool { return a.count("running") == 3 })
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the share is given back", func() bool { return a.count("running") == 0 })
	a.run(app.RunRunner)
	testenv.Eventually(t, "the key executes its share again", func() bool { return a.count("running") == 3 })
	b.execute(fields{"code": "print(42)"})
	for range 2 { // by the look of the listing, no more follow
		if n := a.count("running"); n != 3 {
			t.Errorf("%d run, want 3", n)
		}
		b.execute(fields{"code": "print(42)"})
	}
}
