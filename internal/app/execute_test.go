package app_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

func TestExecute(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	tests := []struct {
		name string
		body fields
		want map[string]string
	}{
		{"ok", fields{"code": "print(6*7)"}, map[string]string{"status": "ok", "stdout": "42\n", "stderr": "", "exitCode": "0"}},
		{
			"streams",
			fields{"code": "import sys; print('out'); print('err', file=sys.stderr)"},
			map[string]string{"status": "ok", "stdout": "out\n", "stderr": "err\n"},
		},
		{"envs", fields{"code": "import os; print(os.environ['A'])", "envs": fields{"A": "ü"}}, map[string]string{"stdout": "ü\n"}},
		{"stdin", fields{"code": "print(input() + '!')", "stdin": "hi\n"}, map[string]string{"stdout": "hi!\n"}},
		{"no stdin", fields{"code": "input()"}, map[string]string{"status": "error", "error.name": "EOFError"}},
		{
			"error",
			fields{"code": "def f():\n  return 1/0\nf()"},
			map[string]string{"status": "error", "error.name": "ZeroDivisionError", "error.value": "division by zero", "exitCode": "1", "stderr": ""},
		},
		{"syntax error", fields{"code": "x = = 1"}, map[string]string{"status": "error", "error.name": "SyntaxError"}},
		{"exit", fields{"code": "import sys; print(1); sys.exit(3)"}, map[string]string{"status": "exit", "exitCode": "3", "stdout": "1\n"}},
		{"hard exit", fields{"code": "import os; print(1); os._exit(4)"}, map[string]string{"status": "exit", "exitCode": "4", "stdout": "1\n"}},
		{
			"timeout",
			fields{"code": "print(1)\nimport time\ntime.sleep(60)", "timeout": 5},
			map[string]string{"status": "interrupted", "stdout": "1\n", "exitCode": ""},
		},
		{
			"results",
			fields{"code": "display('é<b>')\n6*7", "figureFormats": []string{"svg"}},
			map[string]string{"results": "[map[data:map[text/plain:'é<b>'] main:false] map[data:map[text/plain:42] main:true]]", "stdout": ""},
		},
		{
			"results without room",
			fields{"code": "42", "limits": fields{"resultBytes": 1}},
			map[string]string{"results": "", "resultsDropped": "1"},
		},
		{"nulls mean defaults", fields{"code": "print(1)", "timeout": nil, "envs": nil, "stdin": nil, "args": nil, "figureFormats": nil}, map[string]string{"status": "ok"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := k.execute(tt.body)
			for path, want := range tt.want {
				if got := a.str(path); got != want {
					t.Errorf("%s = %q, want %q (%s)", path, got, want, a.raw)
				}
			}
			// A poll right after the answer sees the same end.
			polled := k.call(http.MethodGet, "/v1/jobs/"+a.str("jobId"), nil)
			if polled.str("state") != "completed" || polled.str("result.status") != a.str("status") ||
				polled.str("sessionId") != a.str("sessionId") || a.str("sessionId") == "" {
				t.Errorf("polled %s\nanswered %s", polled.raw, a.raw)
			}
		})
	}
}

func TestTracebackNamesTheUsersCode(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	for code, want := range map[string]string{
		"def f():\n  return 1/0\nf()": "Traceback (most recent call last):\n  File \"/work/main.py\", line 3, in <module>\n    f()\n" +
			"  File \"/work/main.py\", line 2, in f\n    return 1/0\n",
		"x = = 1": "  File \"/work/main.py\", line 1\n    x = = 1\n        ^\nSyntaxError: invalid syntax\n",
	} {
		got := k.execute(fields{"code": code}).str("error.traceback")
		if !strings.HasPrefix(got, want) || strings.Contains(got, "<kaa ") {
			t.Errorf("traceback of %q:\n%s\nwant:\n%s", code, got, want)
		}
	}
}

func TestRespondAsync(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	a := k.call(http.MethodPost, executePath, fields{"code": "print(1)"}, "Prefer: respond-async, wait=1")
	if a.status != http.StatusAccepted || a.header.Get("Location") != "/v1/jobs/"+a.str("id") || a.header.Get("Preference-Applied") != "respond-async" {
		t.Fatalf("%d %v %s", a.status, a.header, a.raw)
	}
	if end := k.await(a.str("id")); end.str("result.stdout") != "1\n" {
		t.Errorf("job = %s", end.raw)
	}
}

// TestCallerGoesAway checks that code whose caller has gone is interrupted.
func TestCallerGoesAway(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	ctx, hangUp := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := k.try(ctx, http.MethodPost, executePath, fields{"code": "import time\nprint('started')\ntime.sleep(60)", "timeout": 50})
		gone <- err
	}()
	var id string
	testenv.Eventually(t, "the job gets there", func() bool {
		running := k.call(http.MethodGet, "/v1/jobs?state=running", nil)
		if jobs, ok := running.body["jobs"].([]any); ok && len(jobs) == 1 {
			id, _ = jobs[0].(map[string]any)["id"].(string)
		}
		return id != ""
	})
	hungUp := time.Now()
	hangUp()
	if err := <-gone; err == nil {
		t.Error("the call was answered")
	}
	end := k.await(id)
	testenv.Within(t, 2*time.Second, hungUp)
	if end.str("state") != "cancelled" || end.str("result.status") != "interrupted" {
		t.Errorf("job = %s", end.raw)
	}
}

func TestNoRunner(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_SYNC_QUEUE_WAIT=100ms")
	a := k.call(http.MethodPost, executePath, fields{"code": "print(1)"})
	if a.status != http.StatusServiceUnavailable || a.str("code") != "no_runner" || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s", a.status, a.header, a.raw)
	}
	jobs := k.call(http.MethodGet, "/v1/jobs?state=cancelled", nil)
	if !strings.Contains(jobs.raw, `"queue_timeout"`) {
		t.Errorf("cancelled jobs = %s", jobs.raw)
	}
	if q := k.call(http.MethodGet, "/v1/queues", nil); !strings.Contains(q.raw, `"name":"default","depth":0`) {
		t.Errorf("queues = %s", q.raw)
	}
}

// TestWaiting: a job says what it waits for, and so does the answer to a call that waits too long.
func TestWaiting(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_CONCURRENCY=1", "KAA_FAIR_WINDOW=1", "KAA_SYNC_QUEUE_WAIT=100ms")
	submit := func() string {
		return k.call(http.MethodPost, "/v1/jobs", fields{"code": "import time; time.sleep(600)", "timeout": 600}).str("id")
	}
	running := submit()
	testenv.Eventually(t, "the first runs", func() bool {
		return k.call(http.MethodGet, "/v1/jobs/"+running, nil).str("state") == "running"
	})
	next, held := submit(), submit()
	for id, want := range map[string]string{next: "slot", held: "key"} {
		if j := k.call(http.MethodGet, "/v1/jobs/"+id, nil); j.str("waitsFor") != want {
			t.Errorf("waits for %s, want %s", j.raw, want)
		}
	}
	a := k.call(http.MethodPost, executePath, fields{"code": "print(1)"})
	if a.status != http.StatusTooManyRequests || a.str("code") != "key_busy" || a.header.Get("Retry-After") == "" {
		t.Errorf("behind jobs of its key: %d %v %s", a.status, a.header, a.raw)
	}
	if j := k.call(http.MethodGet, "/v1/jobs/"+a.str("jobId"), nil); !strings.Contains(j.raw, "still waited for other jobs of its API key") {
		t.Errorf("the job of that call: %s", j.raw)
	}
	for _, id := range []string{held, next} {
		k.call(http.MethodDelete, "/v1/jobs/"+id, nil)
	}
	a = k.call(http.MethodPost, executePath, fields{"code": "print(1)"})
	if a.status != http.StatusServiceUnavailable || a.str("code") != "no_runner" || !strings.Contains(a.raw, "free slot") {
		t.Errorf("with all slots busy: %d %s", a.status, a.raw)
	}
}

// TestDrain checks that a stop lets what runs end, and that nothing of a sync
// call is lost by it.
func TestDrain(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_DRAIN_TIMEOUT=2m")
	_, stop := k.run(app.RunRunner)
	answered := make(chan answer, 1)
	go func() {
		a, err := k.try(t.Context(), http.MethodPost, executePath, fields{"code": "import time\ntime.sleep(5)\nprint('end')"})
		if err != nil {
			t.Error(err)
		}
		answered <- a
	}()
	testenv.Eventually(t, "the job gets there", func() bool {
		return strings.Contains(k.call(http.MethodGet, "/v1/queues", nil).raw, `"active":1`)
	})
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if a := <-answered; a.str("stdout") != "end\n" {
		t.Errorf("answer = %d %s", a.status, a.raw)
	}
	if r := k.call(http.MethodGet, "/v1/runners", nil); !strings.Contains(r.raw, `"runners":[]`) {
		t.Errorf("runners after the stop: %s", r.raw)
	}
}

// TestDrainDeadline checks what becomes of code that does not end in time.
func TestDrainDeadline(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_DRAIN_TIMEOUT=200ms")
	_, stop := k.run(app.RunRunner)
	once := k.submit(fields{"code": "import time\ntime.sleep(60)"})
	twice := k.submit(fields{"code": "import time\ntime.sleep(60)", "maxAttempts": 2})
	testenv.Eventually(t, "the job gets there", func() bool {
		return strings.Contains(k.call(http.MethodGet, "/v1/queues", nil).raw, `"active":2`)
	})
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if end := k.await(once); end.str("state") != "failed" || end.str("failure.code") != "drained" {
		t.Errorf("no attempt left: %s", end.raw)
	}
	if j := k.call(http.MethodGet, "/v1/jobs/"+twice, nil); j.str("state") != "queued" || j.str("attempt") != "1" {
		t.Errorf("an attempt left: %s", j.raw)
	}
}

// TestHurry: a second signal ends executions and cuts callers off at once, and their
// ends are written all the same.
func TestHurry(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t), "KAA_KILL_GRACE=100ms")
	hurry := make(chan struct{})
	addr, _ := k.run(app.RunAPI)
	k.url = "http://" + addr.String()
	k.environ = k.environ.With("KAA_DRAIN_TIMEOUT", "1m").With("KAA_SHUTDOWN_DELAY", "1m")
	second, stopAPI := k.runHurried(app.RunAPI, hurry)
	_, stopRunner := k.runHurried(app.RunRunner, hurry)
	stubborn := "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(60)"
	once := k.submit(fields{"code": stubborn})
	twice := k.submit(fields{"code": stubborn, "maxAttempts": 2})
	testenv.Eventually(t, "they run", func() bool {
		return strings.Contains(k.call(http.MethodGet, "/v1/queues", nil).raw, `"active":2`)
	})
	called := make(chan error, 1)
	other := *k
	other.url = "http://" + second.String()
	go func() {
		_, err := other.try(t.Context(), http.MethodPost, executePath, fields{"code": "print(1)"})
		called <- err
	}()
	testenv.Eventually(t, "the call waits", func() bool {
		return strings.Contains(k.call(http.MethodGet, "/v1/queues", nil).raw, `"depth":1`)
	})
	stopped := make(chan error, 2)
	began := time.Now()
	go func() { stopped <- stopAPI() }()
	go func() { stopped <- stopRunner() }()
	testenv.Eventually(t, "the runner drains", func() bool {
		return strings.Contains(k.call(http.MethodGet, "/v1/runners", nil).raw, `"draining":true`)
	})
	close(hurry)
	for range 2 {
		if err := <-stopped; err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	testenv.Within(t, 20*time.Second, began)
	if err := <-called; err == nil {
		t.Error("the call was answered")
	}
	if end := k.await(once); end.str("failure.code") != "drained" {
		t.Errorf("no attempt left: %s", end.raw)
	}
	if j := k.call(http.MethodGet, "/v1/jobs/"+twice, nil); j.str("state") != "queued" || j.str("attempt") != "1" {
		t.Errorf("an attempt left: %s", j.raw)
	}
}

// TestStopOfTheAPI: the jobs of synchronous callers that a stop cuts off are
// cancelled, whether they run or wait: nobody is there for their results.
func TestStopOfTheAPI(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t), "KAA_DRAIN_TIMEOUT=200ms")
	addr, stop := k.run(app.RunAPI)
	k.url = "http://" + addr.String()
	k.run(app.RunRunner)
	const calls = 20 // two run
	cut := make(chan error, calls)
	for range calls {
		go func() {
			_, err := k.try(t.Context(), http.MethodPost, executePath, fields{"code": "import time\ntime.sleep(50)"})
			cut <- err
		}()
	}
	testenv.Eventually(t, "all are accepted", func() bool {
		q := k.call(http.MethodGet, "/v1/queues", nil).raw
		return strings.Contains(q, `"depth":18,"active":2`)
	})
	if err := stop(); err != nil || !strings.Contains(k.logs.String(), "cutting callers off") {
		t.Errorf("stop: %v; log:\n%s", err, k.logs)
	}
	for range calls {
		if err := <-cut; err == nil {
			t.Error("a call was answered")
		}
	}
	addr, _ = k.run(app.RunAPI)
	k.url = "http://" + addr.String()
	testenv.Eventually(t, "all are cancelled", func() bool {
		a := k.call(http.MethodGet, "/v1/jobs?state=cancelled", nil)
		jobs, _ := a.body["jobs"].([]any)
		return len(jobs) == calls
	})
}
