package app_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

const sessionsPath = "/v1/sessions"

// open makes a session and returns its id.
func (k *kaa) open(body fields) string {
	k.tb.Helper()
	var sent any
	if body != nil {
		sent = body
	}
	a := k.call(http.MethodPost, sessionsPath, sent)
	if a.status != http.StatusCreated {
		k.tb.Fatalf("open: %d %s", a.status, a.raw)
	}
	return a.str("id")
}

// in executes code in a session and returns what it printed.
func (k *kaa) in(session, code string) string {
	k.tb.Helper()
	a := k.execute(fields{"code": code, "sessionId": session})
	if a.str("status") != "ok" || a.str("sessionId") != session || a.str("session.state") != "idle" {
		k.tb.Errorf("in %s: %s", session, a.raw)
	}
	return a.str("stdout")
}

// wantGone checks that a session does not execute any more, and why.
func (k *kaa) wantEnded(session, reason string) {
	k.tb.Helper()
	a := k.call(http.MethodPost, executePath, fields{"code": "1", "sessionId": session})
	if a.status != http.StatusGone || a.str("code") != "session_ended" || a.str("reason") != reason {
		k.tb.Errorf("execute: %d %s, want 410 with %s", a.status, a.raw, reason)
	}
	a = k.call(http.MethodGet, sessionsPath+"/"+session, nil)
	if a.str("state") != "ended" || a.str("reason") != reason || a.str("endedAt") == "" {
		k.tb.Errorf("look: %d %s, want ended by %s", a.status, a.raw, reason)
	}
}

func TestSession(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	a := k.call(http.MethodPost, sessionsPath, fields{"envs": fields{"A": "b"}, "metadata": fields{"mine": 1}, "idleTimeout": 60})
	if a.status != http.StatusCreated || a.header.Get("Location") != sessionsPath+"/"+a.str("id") || a.str("state") != "idle" ||
		a.str("metadata.mine") != "1" || a.str("idleTimeout") != "60" || a.str("runner") == "" || a.str("runtime") != "python" {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	id := a.str("id")
	k.in(id, "import os\nx = 41")
	if out := k.in(id, "x += 1\nprint(x, os.environ['A'])"); out != "42 b\n" {
		t.Errorf("printed %q", out)
	}
	job := k.await(k.submit(fields{"code": "print(x)", "sessionId": id}))
	if job.str("result.stdout") != "42\n" || job.str("sessionId") != id || job.str("queue") != "sessions" || job.str("result.session.id") != id {
		t.Errorf("job: %s", job.raw)
	}
	list := k.call(http.MethodGet, sessionsPath, nil)
	if !strings.Contains(list.raw, id) {
		t.Errorf("list: %s", list.raw)
	}
	if a := k.call(http.MethodPost, sessionsPath+"/"+id+"/restart", nil); a.status != http.StatusOK || a.str("state") != "idle" {
		t.Errorf("restart: %d %s", a.status, a.raw)
	}
	if a := k.execute(fields{"code": "print(x)", "sessionId": id}); a.str("error.name") != "NameError" || a.str("session.state") != "idle" {
		t.Errorf("after restart: %s", a.raw)
	}
	if out := k.in(id, "import os\nprint(os.environ['A'])"); out != "b\n" {
		t.Errorf("after restart: printed %q", out)
	}
	if a := k.call(http.MethodDelete, sessionsPath+"/"+id, nil); a.status != http.StatusOK || a.str("state") != "ended" || a.str("reason") != "deleted" {
		t.Errorf("delete: %d %s", a.status, a.raw)
	}
	k.wantEnded(id, "deleted")
	if a := k.call(http.MethodDelete, sessionsPath+"/01900000-0000-7000-8000-000000000000", nil); a.status != http.StatusNotFound || a.str("code") != "session_not_found" {
		t.Errorf("delete none: %d %s", a.status, a.raw)
	}
	for _, odd := range []string{id + ":jobs", "x", "0190000000007000800000000000000a", strings.Repeat("a", 60)} {
		if a := k.call(http.MethodPost, executePath, fields{"code": "1", "sessionId": odd}); a.status != http.StatusNotFound {
			t.Errorf("execute in %q: %d %s", odd, a.status, a.raw)
		}
		if a := k.call(http.MethodGet, sessionsPath+"/"+odd, nil); a.status != http.StatusNotFound {
			t.Errorf("look at %q: %d %s", odd, a.status, a.raw)
		}
	}
	if a := k.call(http.MethodGet, "/v1/jobs", nil); strings.Contains(a.raw, "operations") {
		t.Errorf("operations are listed: %s", a.raw)
	}
}

// TestSessionOrder: executions of a session run in the order in which they were accepted,
// whichever API process took them, and see what those before left.
func TestSessionOrder(t *testing.T) {
	t.Parallel()
	one := start(t, 2)
	two := *one
	addr, _ := one.run(app.RunAPI)
	two.url = "http://" + addr.String()
	sessions := []string{one.open(nil), one.open(nil), two.open(nil)}
	const n = 60
	var wg sync.WaitGroup
	for s, id := range sessions {
		one.in(id, "seen = []")
		wg.Go(func() {
			// Each call is accepted before the next is made, at one API or the other.
			ids := make([]string, 0, n)
			for i := range n {
				k := []*kaa{one, &two}[i%2]
				ids = append(ids, k.submit(fields{"code": fmt.Sprintf("seen.append(%d)\nprint(%d, len(seen))", i, s), "sessionId": id}))
			}
			for i, job := range ids {
				if a := one.await(job); a.str("result.stdout") != fmt.Sprintf("%d %d\n", s, i+1) {
					t.Errorf("execution %d of session %d: %s", i, s, a.raw)
				}
			}
		})
		// And others at the same time, whose order nobody knows, but each runs alone.
		for i := range 20 {
			k := []*kaa{one, &two}[i%2]
			wg.Go(func() {
				k.in(id, "import time\nassert not globals().get('inside')\ninside = True\ntime.sleep(0.002)\ninside = False")
			})
		}
	}
	wg.Wait()
	for _, id := range sessions {
		if out := one.in(id, "print(seen == list(range(60)))"); out != "True\n" {
			t.Errorf("not in order: %s", one.in(id, "print(seen)"))
		}
	}
}

func TestSessionTimeoutAndInterrupt(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_KILL_GRACE=5s")
	id := k.open(nil)
	k.in(id, "x = 1")
	a := k.execute(fields{"code": "print('begun')\nwhile True: pass", "timeout": 0.1, "sessionId": id})
	if a.str("status") != "interrupted" || a.str("session.state") != "idle" || a.str("stdout") != "begun\n" {
		t.Errorf("timeout: %s", a.raw)
	}
	if out := k.in(id, "print(x)"); out != "1\n" {
		t.Errorf("after the timeout: %q", out)
	}
	// Interrupt, and what waits goes on.
	k.in(id, "import time\nx = 2") // the interrupt may come before the first line of what it interrupts
	running := k.submit(fields{"code": "time.sleep(60)", "sessionId": id})
	waiting := k.submit(fields{"code": "print(x)", "sessionId": id})
	testenv.Eventually(t, "it runs", func() bool { return k.call(http.MethodGet, "/v1/jobs/"+running, nil).str("state") == "running" })
	if a := k.call(http.MethodGet, sessionsPath+"/"+id, nil); a.str("state") != "busy" || a.str("waiting") != "1" {
		t.Errorf("busy: %s", a.raw)
	}
	if a := k.call(http.MethodPost, sessionsPath+"/"+id+"/interrupt", nil); a.status != http.StatusAccepted || a.str("jobId") != running {
		t.Errorf("interrupt: %d %s", a.status, a.raw)
	}
	if a := k.await(running); a.str("state") != "cancelled" || a.str("result.status") != "interrupted" || a.str("result.session.state") != "idle" {
		t.Errorf("interrupted: %s", a.raw)
	}
	if a := k.await(waiting); a.str("result.stdout") != "2\n" {
		t.Errorf("the next: %s", a.raw)
	}
	if a := k.call(http.MethodPost, sessionsPath+"/"+id+"/interrupt", nil); a.str("interrupted") != "false" {
		t.Errorf("interrupt nothing: %d %s", a.status, a.raw)
	}
	// Code that does not listen ends the session, and with it what waits.
	running = k.submit(fields{"code": "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass", "timeout": 0.2, "sessionId": id})
	waiting = k.submit(fields{"code": "print(x)", "sessionId": id})
	if a := k.await(running); a.str("result.status") != "interrupted" || a.str("result.session.state") != "ended" || a.str("result.session.reason") != "killed" {
		t.Errorf("killed: %s", a.raw)
	}
	if a := k.await(waiting); a.str("state") != "failed" || a.str("failure.code") != "session_ended" || a.str("failure.reason") != "killed" {
		t.Errorf("what waited: %s", a.raw)
	}
	k.wantEnded(id, "killed")
}

func TestSessionEndings(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	t.Run("idle and age", func(t *testing.T) {
		t.Parallel()
		idle, old, used := k.open(fields{"idleTimeout": 1}), k.open(fields{"maxAge": 1}), k.open(fields{"idleTimeout": 6})
		k.in(idle, "x = 1")
		for range 4 { // longer than its timeout, but never idle for so long
			k.in(used, "import time\ntime.sleep(2)")
		}
		at := time.Now()
		testenv.Eventually(t, "the idle session ends", func() bool { return k.call(http.MethodGet, sessionsPath+"/"+idle, nil).str("state") == "ended" })
		k.wantEnded(idle, "idle_timeout")
		k.wantEnded(old, "max_age")
		testenv.Within(t, 5*time.Second, at)
		k.in(used, "pass")
	})
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		const tooMuch = "open('late', 'w').write('l')\nx = bytearray(300 << 20)\nimport time\ntime.sleep(600)"
		id := k.open(fields{"limits": fields{"memoryBytes": 64 << 20}, "onMemoryLimit": "end"})
		k.in(id, "x = 1")
		a := k.execute(fields{"code": tooMuch, "sessionId": id})
		if a.str("status") != "exit" || a.str("error.name") != "MemoryLimitExceeded" || a.str("session.state") != "ended" || a.str("session.reason") != "memory_limit" {
			t.Error(a.raw)
		}
		k.wantEnded(id, "memory_limit")
		id = k.open(fields{"limits": fields{"memoryBytes": 64 << 20}})
		k.in(id, "x = 1; open('early', 'w').write('e')")
		for restarts := range 2 {
			a = k.execute(fields{"code": tooMuch, "sessionId": id})
			if a.str("error.name") != "MemoryLimitExceeded" || a.str("session.state") != "idle" || a.str("session.restarted") != "true" || a.str("session.reason") != "memory_limit" {
				t.Error(a.raw)
			}
			if a := k.execute(fields{"code": "print('x' in globals(), open('early').read() + open('late').read())", "sessionId": id}); a.str("stdout") != "False el\n" || a.str("session.restarted") != "" {
				t.Error(a.raw)
			}
			if a := k.call(http.MethodGet, sessionsPath+"/"+id, nil); a.str("restarts") != strconv.Itoa(restarts+1) {
				t.Error(a.raw)
			}
		}
	})
	t.Run("a crash between executions", func(t *testing.T) {
		t.Parallel()
		id := k.open(nil)
		k.in(id, "import os, threading\nthreading.Timer(0.2, os._exit, [1]).start()")
		testenv.Eventually(t, "the crashed session ends", func() bool { return k.call(http.MethodGet, sessionsPath+"/"+id, nil).str("state") == "ended" })
		k.wantEnded(id, "crashed")
	})
	t.Run("deleted while it executes", func(t *testing.T) {
		t.Parallel()
		id := k.open(nil)
		done := make(chan answer)
		go func() {
			a, _ := k.try(t.Context(), http.MethodPost, executePath, fields{"code": "import time\ntime.sleep(600)", "timeout": 1200, "sessionId": id})
			done <- a
		}()
		testenv.Eventually(t, "it executes", func() bool { return k.call(http.MethodGet, sessionsPath+"/"+id, nil).str("state") == "busy" })
		k.call(http.MethodDelete, sessionsPath+"/"+id, nil)
		if a := <-done; a.status != http.StatusGone || a.str("reason") != "deleted" || a.str("jobId") == "" {
			t.Errorf("%d %s", a.status, a.raw)
		}
	})
}

func TestSessionLimits(t *testing.T) {
	t.Parallel()
	const waits = "import time\nwhile True: time.sleep(0.1)"
	k := start(t, 1, "KAA_API_KEYS=one,two,three", "KAA_MAX_SESSIONS=3", "KAA_MAX_SESSIONS_PER_KEY=2", "KAA_SESSION_EVICT_AFTER=1s", "KAA_SESSION_IDLE_TIMEOUT=1m")
	k.key = "one"
	first, second := k.open(nil), k.open(nil)
	if a := k.call(http.MethodPost, sessionsPath, nil); a.status != http.StatusTooManyRequests || a.str("code") != "too_many_sessions" || a.str("limit") != "2" {
		t.Errorf("a third of one key: %d %s", a.status, a.raw)
	}
	k.key = "two"
	for _, call := range [][2]string{{"GET", ""}, {"DELETE", ""}, {"POST", "/interrupt"}, {"POST", "/restart"}} {
		if a := k.call(call[0], sessionsPath+"/"+first+call[1], nil); a.status != http.StatusNotFound {
			t.Errorf("%s of another key: %d %s", call, a.status, a.raw)
		}
	}
	if a := k.call(http.MethodPost, executePath, fields{"code": "1", "sessionId": first}); a.status != http.StatusNotFound {
		t.Errorf("execute in another key's: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodGet, sessionsPath, nil); strings.Contains(a.raw, first) {
		t.Errorf("lists another key's: %s", a.raw)
	}
	third := k.open(nil)
	// None of them is idle meanwhile, however long this takes.
	busy := map[string][]string{"two": {k.submit(fields{"code": waits, "sessionId": third})}}
	k.key = "one"
	for _, id := range []string{first, second} {
		busy["one"] = append(busy["one"], k.submit(fields{"code": waits, "sessionId": id}))
	}
	k.key = "two"
	a := k.call(http.MethodPost, sessionsPath, nil)
	if a.status != http.StatusServiceUnavailable || a.str("code") != "sessions_full" || a.header.Get("Retry-After") == "" {
		t.Errorf("a fourth of a runner: %d %s", a.status, a.raw)
	}
	for key, ids := range busy {
		k.key = key
		for _, id := range ids {
			k.call(http.MethodDelete, "/v1/jobs/"+id, nil)
			k.await(id)
		}
	}
	// Once one has been idle for long, it makes place for a key that has fewer.
	k.key = "one"
	k.in(second, "import time\ntime.sleep(1.1)")
	k.key = "three"
	k.open(nil)
	k.key = "one"
	k.wantEnded(first, "evicted")
	k.in(second, "pass")
	if a := k.call(http.MethodGet, "/v1/runners", nil); !strings.Contains(a.raw, `"maxSessions":3`) {
		t.Errorf("runners: %s", a.raw)
	}
	if a := k.call(http.MethodGet, "/metrics", nil); !strings.Contains(a.raw, `kaa_sessions{state="idle"} 3`) {
		t.Error("metrics do not count the sessions")
	}
}

func TestSessionRefuses(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.open(nil)
	for _, tt := range []struct {
		path string
		body fields
		says string
	}{
		{"/v1/jobs", fields{"delay": 1}, "body.delay"},
		{"/v1/jobs", fields{"runAt": "2030-01-01T00:00:00Z"}, "body.runAt"},
		{"/v1/jobs", fields{"maxAttempts": 2}, "body.maxAttempts"},
		{"/v1/jobs", fields{"queue": "low"}, "body.queue"},
		{executePath, fields{"limits": fields{"memoryBytes": 64 << 20}}, "body.limits.memoryBytes"},
		{sessionsPath, fields{"idleTimeout": 0.1}, "body.idleTimeout"},
		{sessionsPath, fields{"maxAge": 1e9}, "body.maxAge"},
		{sessionsPath, fields{"runtime": "python2"}, "body.runtime"},
		{sessionsPath, fields{"nonsense": 1}, "nonsense"},
	} {
		if tt.path != sessionsPath {
			tt.body["code"], tt.body["sessionId"] = "1", id
		}
		if a := k.call(http.MethodPost, tt.path, tt.body); a.status != http.StatusBadRequest || !strings.Contains(a.raw, tt.says) {
			t.Errorf("%v: %d %s", tt.body, a.status, a.raw)
		}
	}
}

// TestSessionDrain: a runner that stops ends its sessions at once, but lets them execute
// what they had begun.
func TestSessionDrain(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t))
	addr, _ := k.run(app.RunAPI)
	k.url = "http://" + addr.String()
	_, stop := k.run(app.RunRunner)
	busy, idle := k.open(nil), k.open(nil)
	k.in(idle, "x = 1")
	running := k.submit(fields{"code": "import time\ntime.sleep(1.5)\nprint('done')", "sessionId": busy})
	waiting := k.submit(fields{"code": "1", "sessionId": busy})
	testenv.Eventually(t, "it runs", func() bool { return k.call(http.MethodGet, "/v1/jobs/"+running, nil).str("state") == "running" })
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	if a := k.await(waiting); a.str("failure.code") != "session_ended" || a.str("failure.reason") != "drained" {
		t.Errorf("what waited: %s", a.raw)
	}
	if a := k.call(http.MethodGet, "/v1/jobs/"+running, nil); a.str("state") != "running" {
		t.Errorf("what had begun: %s", a.raw)
	}
	k.wantEnded(busy, "drained")
	k.wantEnded(idle, "drained")
	if a := k.await(running); a.str("result.stdout") != "done\n" || a.str("result.session.state") != "ended" || a.str("result.session.reason") != "drained" {
		t.Errorf("what had begun: %s", a.raw)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if a := k.call(http.MethodPost, sessionsPath, nil); a.status != http.StatusServiceUnavailable || a.str("code") != "no_runner" {
		t.Errorf("open without a runner: %d %s", a.status, a.raw)
	}
}

// spawnRunner starts a runner in a process of its own, which can be killed, and returns it
// once it takes sessions.
func (k *kaa) spawnRunner() *exec.Cmd {
	k.tb.Helper()
	before := strings.Count(k.call(http.MethodGet, "/v1/runners", nil).raw, `"pid"`)
	cmd := k.process("runner")
	testenv.Eventually(k.tb, "the runner is there", func() bool {
		return strings.Count(k.call(http.MethodGet, "/v1/runners", nil).raw, `"pid"`) > before
	})
	return cmd
}

// TestSessionRunnerKilled: the sessions of a runner that was killed are reported as lost
// within 15 s, to those who wait as to those who come later; others go on.
func TestSessionRunnerKilled(t *testing.T) {
	t.Parallel()
	k := start(t, 0)
	killed := k.spawnRunner()
	lost, idle := k.open(nil), k.open(nil)
	k.in(idle, "x = 1")
	k.run(app.RunRunner)
	kept := k.open(nil) // it goes where there are fewest
	k.in(kept, "x = 1")
	calls := make(chan answer, 2)
	for range cap(calls) { // one of them runs, the other waits
		go func() {
			a, _ := k.try(t.Context(), http.MethodPost, executePath, fields{"code": "import time\ntime.sleep(600)", "timeout": 1200, "sessionId": lost})
			calls <- a
		}()
	}
	waiting := func() bool {
		a := k.call(http.MethodGet, sessionsPath+"/"+lost, nil)
		return a.str("state") == "busy" && a.str("waiting") == "1"
	}
	testenv.Eventually(t, "one runs and one waits", waiting)
	at := time.Now()
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for range cap(calls) {
		if a := <-calls; a.status != http.StatusGone || a.str("code") != "session_ended" || a.str("reason") != "runner_lost" {
			t.Errorf("%d %s", a.status, a.raw)
		}
	}
	testenv.Within(t, 15*time.Second, at)
	k.wantEnded(lost, "runner_lost")
	k.wantEnded(idle, "runner_lost")
	k.in(kept, "print(x)")
}

// TestSessionBusyForTooLong: a synchronous call waits for its turn as long as for a runner.
func TestSessionBusyForTooLong(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_SYNC_QUEUE_WAIT=300ms")
	id := k.open(nil)
	running := k.submit(fields{"code": "import time\ntime.sleep(600)", "timeout": 1200, "sessionId": id})
	for _, path := range []string{executePath, sessionsPath + "/" + id + "/restart"} {
		var body any
		if path == executePath {
			body = fields{"code": "1", "sessionId": id}
		}
		if a := k.call(http.MethodPost, path, body); a.status != http.StatusServiceUnavailable || a.str("code") != "session_busy" {
			t.Errorf("%s: %d %s", path, a.status, a.raw)
		}
	}
	// Who hangs up has what he waits for cancelled.
	k.call(http.MethodDelete, "/v1/jobs/"+running, nil)
	if a := k.await(running); a.str("state") != "cancelled" || a.str("result.session.state") != "idle" {
		t.Errorf("cancelled: %s", a.raw)
	}
	if a := k.await(k.submit(fields{"code": "print(1)", "sessionId": id})); a.str("result.stdout") != "1\n" {
		t.Errorf("afterwards: %s", a.raw)
	}
}

// TestSessionsGoOn lets many sessions work while runners come and go: order is kept, nothing
// is mixed up, nothing hangs, and what is lost says so. KAA_TEST_LONG does the whole of it.
func TestSessionsGoOn(t *testing.T) {
	t.Parallel()
	sessions, executions, restarts := 12, 60, 1
	if os.Getenv("KAA_TEST_LONG") != "" {
		sessions, executions, restarts = 50, 1000, 4
	}
	one := start(t, 2)
	two := *one
	addr, _ := one.run(app.RunAPI)
	two.url = "http://" + addr.String()
	_, stop := one.run(app.RunRunner)
	var ended atomic.Int64
	var wg sync.WaitGroup
	for s := range sessions {
		wg.Go(func() {
			id := ""
			for i, n := 0, 0; i < executions; i++ {
				k := []*kaa{one, &two}[i%2]
				if id == "" {
					id, n = k.open(nil), 0
				}
				code := fmt.Sprintf("print(%d, n := n + 1)", s)
				if n == 0 {
					code = fmt.Sprintf("n = 1\nprint(%d, n)", s)
				}
				a := k.call(http.MethodPost, executePath, fields{"code": code, "sessionId": id})
				switch n++; {
				case a.status == http.StatusGone && a.str("reason") == "drained":
					ended.Add(1)
					id = ""
				case a.str("stdout") != fmt.Sprintf("%d %d\n", s, n):
					t.Errorf("execution %d of session %d: %d %s", n, s, a.status, a.raw)
				case a.str("session.state") == "ended":
					ended.Add(1)
					id = ""
				}
			}
		})
	}
	for range restarts {
		if err := stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		_, stop = one.run(app.RunRunner)
	}
	wg.Wait()
	t.Logf("%d executions in %d sessions; %d sessions ended with their runner", sessions*executions, sessions, ended.Load())
}

// TestSessionRunnerFrozen: a runner that stood still for so long that its sessions were given
// up comes back, and lets go of them.
func TestSessionRunnerFrozen(t *testing.T) {
	t.Parallel()
	k := start(t, 0)
	frozen := k.spawnRunner()
	running, idle := k.open(nil), k.open(nil)
	k.in(idle, "x = 1")
	job := k.submit(fields{"code": "import time\ntime.sleep(600)\nprint('late')", "timeout": 1200, "sessionId": running})
	testenv.Eventually(t, "it runs", func() bool { return k.call(http.MethodGet, "/v1/jobs/"+job, nil).str("state") == "running" })
	if err := frozen.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the session of the frozen runner ends", func() bool { return k.call(http.MethodGet, sessionsPath+"/"+idle, nil).str("state") == "ended" })
	if err := frozen.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the runner has let go", func() bool { return strings.Contains(k.call(http.MethodGet, "/v1/runners", nil).raw, `"sessions":0`) })
	if a := k.await(job); a.str("state") != "failed" || a.str("failure.reason") != "runner_lost" {
		t.Errorf("%s", a.raw)
	}
	k.wantEnded(running, "runner_lost")
	fresh := k.open(nil)
	k.in(fresh, "print(1)")
}

// TestSessionOnBrokenConnections: while connections to Redis break all the time, and messages
// are lost, every execution that was accepted runs once, in order.
func TestSessionOnBrokenConnections(t *testing.T) {
	t.Parallel()
	b := startBroken(t)
	ids := []string{b.open(nil), b.open(nil), b.open(nil), b.open(nil)}
	for _, id := range ids {
		b.in(id, "seen = []")
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(40 * time.Millisecond)
		defer tick.Stop()
		for n, answered := 0, int64(0); ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
				if b.link.Answered() < answered {
					continue // nothing would get on if connections broke before anything is done
				}
				answered = b.link.Answered() + 40
				if n%20 < 5 {
					b.link.MuteSubscriptions()
				} else {
					b.link.UnmuteSubscriptions()
				}
				b.link.Reset()
			}
		}
	}()
	insist := func(method, path string, body any, status int, headers ...string) answer {
		for range 200 {
			if a, err := b.try(t.Context(), method, path, body, headers...); err == nil && a.status == status {
				return a
			}
		}
		t.Errorf("%s %s does not succeed", method, path)
		return answer{}
	}
	const executions = 40
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() {
			jobs := make([]string, 0, executions)
			for i := range executions {
				a := insist(http.MethodPost, "/v1/jobs", fields{"code": fmt.Sprintf("seen.append(%d)\nprint(len(seen))", i), "sessionId": id},
					http.StatusAccepted, fmt.Sprintf("Idempotency-Key: %s %d", id, i))
				jobs = append(jobs, a.str("id"))
			}
			for i, job := range jobs {
				state, a := "", answer{}
				for deadline := time.Now().Add(testenv.Timeout); state != "completed" && time.Now().Before(deadline); state = a.str("state") {
					a = insist(http.MethodGet, "/v1/jobs/"+job+"?wait=1s", nil, http.StatusOK)
				}
				if a.str("result.stdout") != fmt.Sprintf("%d\n", i+1) {
					t.Errorf("execution %d: %s", i, a.raw)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	<-stopped
	b.link.UnmuteSubscriptions()
	for _, id := range ids {
		if out := b.in(id, "print(seen == list(range(40)))"); out != "True\n" {
			t.Errorf("not each once and in order: %s", b.in(id, "print(seen)"))
		}
	}
}
