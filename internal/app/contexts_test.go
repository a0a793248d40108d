package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// context makes a context of a session.
func (k *kaa) context(session string, body any) string {
	k.tb.Helper()
	a := k.call(http.MethodPost, sessionsPath+"/"+session+"/contexts", body)
	if a.status != http.StatusCreated || a.str("id") == "" || a.str("state") != "idle" || a.str("createdAt") == "" {
		k.tb.Fatalf("make context: %d %s", a.status, a.raw)
	}
	return a.str("id")
}

// within executes in a context and returns what the code prints.
func (k *kaa) within(session, context, code string) string {
	k.tb.Helper()
	a := k.execute(fields{"code": code, "sessionId": session, "contextId": context})
	if a.status != http.StatusOK || a.str("status") != "ok" {
		k.tb.Errorf("%s in context %s: %d %s", code, context, a.status, a.raw)
	}
	return a.str("stdout")
}

func TestContexts(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.open(fields{"envs": fields{"A": "b"}})
	path := sessionsPath + "/" + id + "/contexts"
	k.in(id, "import os\nx = 1\nos.mkdir('sub')\nopen('f', 'w').write('common')")
	a, b := k.context(id, nil), k.context(id, fields{"cwd": "sub"})
	const look = "import os\nprint('x' in globals(), os.environ['A'], os.path.relpath(os.getcwd(), os.environ['HOME']))"
	for context, want := range map[string]string{a: "False b .\n", b: "False b sub\n", "default": "True b .\n"} {
		if out := k.within(id, context, look); out != want {
			t.Errorf("%s: %q, want %q", context, out, want)
		}
	}
	k.within(id, a, "x = 2")
	k.within(id, b, "x = 3")
	for context, want := range map[string]string{a: "2\n", b: "3\n", "default": "1\n"} {
		if out := k.within(id, context, "print(x)"); out != want {
			t.Errorf("%s: %q, want %q", context, out, want)
		}
	}

	all := k.call(http.MethodGet, path, nil)
	want := fmt.Sprintf("default %s %s", a, b)
	if got := strings.Join(idsIn(all.raw), " "); got != want || !strings.Contains(all.raw, `"cwd":"sub"`) {
		t.Errorf("list: %s, want %s", all.raw, want)
	}

	// A restart leaves the files and the others.
	for _, context := range []string{a, "default"} {
		if r := k.call(http.MethodPost, path+"/"+context+"/restart", nil); r.status != http.StatusOK || r.str("id") != context || r.str("createdAt") == "" {
			t.Errorf("restart: %d %s", r.status, r.raw)
		}
		if out := k.within(id, context, "print('x' in globals(), open('f').read())"); out != "False common\n" {
			t.Errorf("%s after its restart: %q", context, out)
		}
		if out := k.within(id, b, "print(x)"); out != "3\n" {
			t.Errorf("another after the restart of %s: %q", context, out)
		}
	}

	// So does a delete.
	if r := k.call(http.MethodDelete, path+"/"+b, nil); r.status != http.StatusNoContent {
		t.Errorf("delete: %d %s", r.status, r.raw)
	}
	for _, r := range []answer{
		k.call(http.MethodPost, executePath, fields{"code": "1", "sessionId": id, "contextId": b}), k.call(http.MethodDelete, path+"/"+b, nil), k.call(http.MethodPost, path+"/"+b+"/restart", nil),
		k.call(http.MethodPost, path+"/"+b+"/interrupt", nil), k.call(http.MethodPost, executePath, fields{"code": "1", "sessionId": id, "contextId": "other one"}),
		k.call(http.MethodPost, executePath, fields{"code": "1", "sessionId": id, "contextId": "*" + b}),
	} {
		if r.status != http.StatusNotFound || r.str("code") != "context_not_found" {
			t.Errorf("a deleted one: %d %s", r.status, r.raw)
		}
	}
	if out := k.within(id, a, "print(open('f').read())"); out != "common\n" {
		t.Errorf("after the delete of another: %q", out)
	}

	for name, r := range map[string]struct {
		a      answer
		status int
		code   string
	}{
		"no such directory": {k.call(http.MethodPost, path, fields{"cwd": "missing"}), http.StatusConflict, "refused"},
		"no directory":      {k.call(http.MethodPost, path, fields{"cwd": "f"}), http.StatusConflict, "refused"},
		"NUL":               {k.call(http.MethodPost, path, fields{"cwd": "a\x00"}), http.StatusBadRequest, "invalid_request"},
		"long":              {k.call(http.MethodPost, path, fields{"cwd": strings.Repeat("a", 5000)}), http.StatusBadRequest, "invalid_request"},
		"without a session": {k.call(http.MethodPost, executePath, fields{"code": "1", "contextId": a}), http.StatusBadRequest, "invalid_request"},
		"the default one":   {k.call(http.MethodDelete, path+"/default", nil), http.StatusConflict, "refused"},
		"no session":        {k.call(http.MethodPost, sessionsPath+"/01900000-0000-7000-8000-000000000000/contexts", nil), http.StatusNotFound, "session_not_found"},
	} {
		if r.a.status != r.status || r.a.str("code") != r.code {
			t.Errorf("%s: %d %s", name, r.a.status, r.a.raw)
		}
	}
}

// idsIn returns the ids of a listing in their order.
func idsIn(raw string) []string {
	var ids []string
	for _, part := range strings.Split(raw, `"id":"`)[1:] {
		id, _, _ := strings.Cut(part, `"`)
		ids = append(ids, id)
	}
	return ids
}

// TestContextsRunAtOnce: executions of one context are in order, those of different ones beside each other.
func TestContextsRunAtOnce(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.open(nil)
	a, b := k.context(id, nil), k.context(id, nil)
	const wait = "import os, time\nwhile not os.path.exists('%s'):\n    time.sleep(0.01)\nopen('%s', 'w').close()\nn = globals().get('n', 0) + 1\nprint(n)"
	var all sync.WaitGroup
	runs := func(context, code, want string) {
		all.Go(func() {
			if out := k.within(id, context, code); out != want {
				t.Errorf("%s: %q, want %q", context, out, want)
			}
		})
	}
	runs("default", fmt.Sprintf(wait, "of-a", "of-default"), "1\n")
	runs(a, fmt.Sprintf(wait, "of-b", "of-a"), "1\n")
	k.within(id, b, "open('of-b', 'w').close()")
	all.Wait()

	first := k.submit(fields{"code": fmt.Sprintf(wait, "go", "went"), "sessionId": id, "contextId": a})
	second := k.submit(fields{"code": "n += 1\nprint(n)", "sessionId": id, "contextId": a})
	if j := k.call(http.MethodGet, "/v1/jobs/"+second, nil); j.str("state") != "queued" || j.str("contextId") != a {
		t.Errorf("the second: %s", j.raw)
	}
	k.within(id, b, "open('go', 'w').close()")
	k.await(first)
	if j := k.await(second); j.str("result.stdout") != "3\n" {
		t.Errorf("in order: %s", j.raw)
	}
}

// TestContextLosesItsInterpreter: the context gets a fresh one, and nothing else changes.
func TestContextLosesItsInterpreter(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.open(nil)
	k.in(id, "x = 1")
	a, b := k.context(id, nil), k.context(id, nil)
	k.within(id, b, "x = 3")
	for _, context := range []string{a, "default"} {
		k.within(id, context, "x = 2\nopen('f', 'w').write('kept')")
		r := k.execute(fields{"code": "import os\nos._exit(3)", "sessionId": id, "contextId": context})
		if r.str("status") != "exit" || r.str("session.state") != "idle" || r.str("session.restarted") != "true" || r.str("session.reason") != "crashed" {
			t.Errorf("%s ends: %s", context, r.raw)
		}
		if out := k.within(id, context, "print('x' in globals(), open('f').read())"); out != "False kept\n" {
			t.Errorf("%s afterwards: %q", context, out)
		}
		if out := k.within(id, b, "print(x)"); out != "3\n" {
			t.Errorf("another after the end of %s: %q", context, out)
		}
	}
}

// TestContextInterrupted: an interrupt, and a delete, end what one context executes, and no other.
func TestContextInterrupted(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.open(nil)
	a, b := k.context(id, nil), k.context(id, nil)
	path := sessionsPath + "/" + id + "/contexts/"
	k.within(id, a, "x = 1")
	const forever = "import time\nopen('%s', 'w').close()\ntime.sleep(600)"
	const until = "import os, time\nwhile not os.path.exists('%s'):\n    time.sleep(0.01)"
	runs := k.submit(fields{"code": fmt.Sprintf(forever, "one"), "sessionId": id, "contextId": a})
	other := k.submit(fields{"code": fmt.Sprintf(until, "end"), "sessionId": id, "contextId": b})
	k.in(id, fmt.Sprintf(until, "one"))
	if r := k.call(http.MethodPost, path+a+"/interrupt", nil); r.status != http.StatusAccepted || r.str("interrupted") != "true" || r.str("jobId") != runs {
		t.Errorf("interrupt: %d %s", r.status, r.raw)
	}
	if j := k.await(runs); j.str("result.status") != "interrupted" {
		t.Errorf("interrupted: %s", j.raw)
	}
	if r := k.call(http.MethodPost, path+a+"/interrupt", nil); r.status != http.StatusAccepted || r.str("interrupted") != "false" {
		t.Errorf("interrupt of an idle one: %d %s", r.status, r.raw)
	}
	if out := k.within(id, a, "print(x)"); out != "1\n" {
		t.Errorf("after the interrupt: %q", out)
	}
	runs = k.submit(fields{"code": fmt.Sprintf(forever, "two"), "sessionId": id, "contextId": a})
	waits := k.submit(fields{"code": "1", "sessionId": id, "contextId": a})
	k.in(id, fmt.Sprintf(until, "two"))
	if r := k.call(http.MethodDelete, path+a, nil); r.status != http.StatusNoContent {
		t.Errorf("delete: %d %s", r.status, r.raw)
	}
	for _, j := range []string{runs, waits} {
		if a := k.await(j); a.str("state") != "failed" || a.str("failure.code") != "context_not_found" {
			t.Errorf("a job of a deleted one: %s", a.raw)
		}
	}
	k.in(id, "open('end', 'w').close()")
	if j := k.await(other); j.str("result.status") != "ok" {
		t.Errorf("beside: %s", j.raw)
	}
}

// TestContextsEndWithTheSandbox: a restart of the session ends its contexts, and so does its own end. A fork has none.
func TestContextsEndWithTheSandbox(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.open(nil)
	path := sessionsPath + "/" + id
	k.in(id, "x = 1")
	a := k.context(id, nil)
	copied := k.fork(id, 1)[0]
	if all := k.call(http.MethodGet, sessionsPath+"/"+copied+"/contexts", nil); len(idsIn(all.raw)) != 1 {
		t.Errorf("of a fork: %s", all.raw)
	}
	own := k.context(copied, nil)
	if out := k.within(copied, own, "import os\nprint(os.getcwd() == os.environ['HOME'], 'work-' in os.getcwd())"); out != "True True\n" {
		t.Errorf("a context of a fork: %q", out)
	}
	if r := k.call(http.MethodPost, executePath, fields{"code": "1", "sessionId": copied, "contextId": a}); r.status != http.StatusNotFound {
		t.Errorf("of the origin: %d %s", r.status, r.raw)
	}
	runs := k.submit(fields{"code": "import time\ntime.sleep(600)", "sessionId": id, "contextId": a})
	if r := k.call(http.MethodPost, path+"/restart", nil); r.status != http.StatusOK {
		t.Fatalf("restart: %d %s", r.status, r.raw)
	}
	if j := k.await(runs); j.str("failure.code") != "context_not_found" {
		t.Errorf("after the restart: %s", j.raw)
	}
	if out := k.within(copied, own, "print(1)"); out != "1\n" {
		t.Errorf("the fork's: %q", out)
	}
	a = k.context(id, nil)
	runs = k.submit(fields{"code": "import time\ntime.sleep(600)", "sessionId": id, "contextId": a})
	if r := k.call(http.MethodDelete, path, nil); r.status != http.StatusOK {
		t.Fatalf("delete: %d %s", r.status, r.raw)
	}
	if j := k.await(runs); j.str("failure.code") != "session_ended" {
		t.Errorf("after the end: %s", j.raw)
	}
	if r := k.call(http.MethodPost, executePath, fields{"code": "1", "sessionId": id, "contextId": a}); r.status != http.StatusGone {
		t.Errorf("after the end: %d %s", r.status, r.raw)
	}
}
