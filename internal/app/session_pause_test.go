package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/testenv"
)

// TestPauseSession: a paused session keeps all it has, refuses what would use it, and goes on when it is resumed.
func TestPauseSession(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_MAX_PAUSED_SESSIONS_PER_KEY=2", "KAA_MAX_SESSION_PAUSE=1h")
	id := k.open(fields{"idleTimeout": 60})
	path := sessionsPath + "/" + id
	k.in(id, "import subprocess, threading\nx = 41\nchild = subprocess.Popen(['cat'], stdin=-1, stdout=-1)\nevent = threading.Event()\nthread = threading.Thread(target=event.wait)\nthread.start()")
	a := k.call(http.MethodPost, path+"/pause", fields{})
	if a.status != http.StatusOK || a.str("state") != "paused" || a.str("pausedAt") == "" || a.str("expiresAt") != a.str("pausedUntil") || a.str("autoResume") != "" {
		t.Fatalf("pause: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodGet, sessionsPath+"?state=paused", nil); !strings.Contains(a.raw, id) {
		t.Errorf("list: %s", a.raw)
	}
	for _, call := range []struct {
		method, path string
		body         any
	}{
		{http.MethodPost, executePath, fields{"code": "1", "sessionId": id}},
		{http.MethodPost, "/v1/jobs", fields{"code": "1", "sessionId": id}},
		{http.MethodGet, path + "/files", nil},
		{http.MethodPost, path + "/pause", fields{}},
		{http.MethodPost, path + "/fork", fields{}},
		{http.MethodPost, path + "/restart", fields{}},
		{http.MethodPost, path + "/checkpoint", fields{}},
	} {
		if a := k.call(call.method, call.path, call.body); a.status != http.StatusConflict || a.str("code") != "session_paused" || !strings.Contains(a.str("detail"), "resume") {
			t.Errorf("%s %s of a paused session: %d %s", call.method, call.path, a.status, a.raw)
		}
	}
	if a := k.call(http.MethodPost, path+"/interrupt", fields{}); a.str("interrupted") != "false" {
		t.Errorf("interrupt: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodPatch, path, fields{"metadata": fields{"a": 1}, "idleTimeout": 30}); a.str("state") != "paused" || a.str("expiresAt") != a.str("pausedUntil") {
		t.Errorf("change: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodPost, path+"/resume", fields{}); a.status != http.StatusOK || a.str("state") != "idle" || a.str("pausedAt") != "" {
		t.Errorf("resume: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodPost, path+"/resume", fields{}); a.status != http.StatusOK || a.str("state") != "idle" {
		t.Errorf("resume again: %d %s", a.status, a.raw)
	}
	const use = "event.set()\nthread.join()\nprint(x + 1, child.poll(), child.communicate(b'alive')[0])"
	if out := k.in(id, use); out != "42 None b'alive'\n" {
		t.Errorf("after the pause: %q", out)
	}
	// Resumed by what comes next.
	if a := k.call(http.MethodPost, path+"/pause", fields{"autoResume": true, "maxPause": 600}); a.str("state") != "paused" || a.str("autoResume") != "true" {
		t.Errorf("pause: %d %s", a.status, a.raw)
	}
	if out := k.in(id, "print(x)"); out != "41\n" {
		t.Errorf("it was resumed with %q", out)
	}
	if a := k.call(http.MethodGet, path, nil); a.str("state") != "idle" || a.str("autoResume") != "" {
		t.Errorf("afterwards: %s", a.raw)
	}
	// A session that has executed nothing, and the limit of all of them.
	fresh, third := k.open(fields{}), k.open(fields{})
	for _, one := range []string{id, fresh} {
		if a := k.call(http.MethodPost, sessionsPath+"/"+one+"/pause", fields{}); a.str("state") != "paused" {
			t.Errorf("pause: %d %s", a.status, a.raw)
		}
	}
	if a := k.call(http.MethodPost, sessionsPath+"/"+third+"/pause", fields{}); a.status != http.StatusTooManyRequests || a.str("code") != "too_many_paused" {
		t.Errorf("one too many: %d %s", a.status, a.raw)
	}
	k.in(third, "1")
	k.call(http.MethodPost, sessionsPath+"/"+fresh+"/resume", fields{})
	if out := k.in(fresh, "print(1)"); out != "1\n" {
		t.Errorf("printed %q", out)
	}
	for body, want := range map[string]string{`{"maxPause": 3601}`: "must be from 1 to 3600 seconds", `{"maxPause": "x"}`: "maxPause", `{"for": 1}`: "for"} {
		if a := k.call(http.MethodPost, sessionsPath+"/"+third+"/pause", body); a.status != http.StatusBadRequest || !strings.Contains(a.str("detail"), want) {
			t.Errorf("%s: %d %s", body, a.status, a.raw)
		}
	}
	if a := k.call(http.MethodDelete, path, nil); a.status != http.StatusOK || a.str("reason") != "deleted" {
		t.Errorf("delete: %d %s", a.status, a.raw)
	}
	k.wantEnded(id, "deleted")
	if a := k.call(http.MethodPost, path+"/resume", fields{}); a.status != http.StatusGone || a.str("reason") != "deleted" {
		t.Errorf("resume of an ended one: %d %s", a.status, a.raw)
	}
	k.call(http.MethodPost, sessionsPath+"/"+third+"/pause", fields{"maxPause": 1})
	testenv.Eventually(t, "the end of the pause", func() bool { return k.call(http.MethodGet, sessionsPath+"/"+third, nil).str("state") == "ended" })
	k.wantEnded(third, "pause_limit")
}

// TestPauseInOrder: what was accepted before the pause runs first.
func TestPauseInOrder(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.open(fields{})
	job := k.submit(fields{"code": "import time\ntime.sleep(0.2)\nprint('done')", "sessionId": id})
	if a := k.call(http.MethodPost, sessionsPath+"/"+id+"/pause", fields{}); a.status != http.StatusOK || a.str("state") != "paused" {
		t.Errorf("pause: %d %s", a.status, a.raw)
	}
	if a := k.call(http.MethodGet, "/v1/jobs/"+job, nil); a.str("result.stdout") != "done\n" {
		t.Errorf("the execution before: %s", a.raw)
	}
}

// TestPauseWithCommands: commands and executions of contexts stand still with their session, and go on with it.
func TestPauseWithCommands(t *testing.T) {
	t.Parallel()
	k := operated(t, 1)
	id := k.open(fields{})
	path := sessionsPath + "/" + id
	context := k.call(http.MethodPost, path+"/contexts", fields{}).str("id")
	code := k.submit(fields{"sessionId": id, "contextId": context, "code": "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('code')"})
	counter := k.background(id, fields{"command": "echo $$ > pid; while test ! -e go; do echo x >> count; sleep 0.01; done; kill -0 $(cat pid) && exit 3"})
	cat := k.background(id, fields{"argv": []string{"cat"}})
	foreground := make(chan answer, 1)
	go func() {
		foreground <- k.call(http.MethodPost, path+"/commands", fields{"command": "touch begun; while test ! -e go; do sleep 0.01; done; echo done", "timeout": 60})
	}()
	k.in(id, "import os, time\nwhile not os.path.exists('begun') or not os.path.exists('count'): time.sleep(0.01)")
	k.tell(cat+"/input", fields{"data": "before "})
	testenv.Eventually(t, "the output before the pause", func() bool { return k.call(http.MethodGet, cat, nil).str("output.stdout") == "before " })
	pause := func(body fields) {
		t.Helper()
		a := k.call(http.MethodPost, path+"/pause", body)
		if a.status != http.StatusOK || a.str("state") != "paused" {
			t.Fatalf("pause: %d %s", a.status, a.raw)
		}
	}
	pause(fields{})
	for _, running := range []string{counter, cat} {
		if a := k.call(http.MethodGet, running, nil); a.str("state") != "running" {
			t.Errorf("a command of a paused session: %s", a.raw)
		}
	}
	for sent, body := range map[string]fields{"input": {"data": "x"}, "signal": {"signal": "TERM"}, "resize": {"columns": 1, "rows": 1}} {
		if a := k.call(http.MethodPost, cat+"/"+sent, body); a.status != http.StatusConflict || a.str("code") != "session_paused" {
			t.Errorf("%s: %d %s", sent, a.status, a.raw)
		}
	}
	testenv.Eventually(t, "the processes of all commands", func() bool { // that of the one in the foreground comes later
		a := k.call(http.MethodGet, path+"/commands", nil)
		return strings.Count(a.raw, `"id"`) == 3 && strings.Count(a.raw, `"pid"`) == 3
	})
	if a := k.call(http.MethodGet, cat, nil); a.str("output.stdout") != "before " {
		t.Errorf("the output of a command of a paused session: %s", a.raw)
	}
	if a := k.call(http.MethodPost, path+"/resume", fields{}); a.status != http.StatusOK || a.str("state") != "busy" {
		t.Errorf("resume: %d %s", a.status, a.raw)
	}
	k.in(id, "before = len(open('count').read())\nwhile len(open('count').read()) == before: time.sleep(0.01)")
	pause(fields{"autoResume": true})
	k.tell(cat+"/input", fields{"data": "after", "end": true}) // resumes it
	if a := k.awaitCommand(cat); a.str("result.stdout") != "before after" {
		t.Errorf("input: %s", a.raw)
	}
	if a := k.call(http.MethodGet, path, nil); a.str("state") != "busy" || a.str("pausedAt") != "" {
		t.Errorf("resumed by input: %s", a.raw)
	}
	pause(fields{"autoResume": true})
	k.in(id, "open('go', 'w').close()")
	if a := k.awaitCommand(counter); a.str("result.exitCode") != "3" {
		t.Errorf("the counter: %s", a.raw)
	}
	if a := <-foreground; a.status != http.StatusOK || a.str("stdout") != "done\n" {
		t.Errorf("the command in the foreground: %d %s", a.status, a.raw)
	}
	if a := k.await(code); a.str("result.stdout") != "code\n" {
		t.Errorf("code in a context: %s", a.raw)
	}
	left := k.background(id, fields{"command": "trap '' INT; sleep 1000"})
	ended := k.background(id, fields{"command": "sleep 1000"})
	pause(fields{})
	if a := k.call(http.MethodDelete, ended, nil); a.status != http.StatusAccepted {
		t.Errorf("the end of a command in a paused session: %d %s", a.status, a.raw)
	}
	k.call(http.MethodPost, path+"/resume", fields{})
	if a := k.awaitCommand(ended); a.str("state") != "cancelled" {
		t.Errorf("it was ended: %s", a.raw)
	}
	pause(fields{})
	k.call(http.MethodDelete, path, nil)
	if a := k.awaitCommand(left); a.str("state") != "failed" || a.str("failure.code") != "session_ended" {
		t.Errorf("a command of a session that was deleted in a pause: %s", a.raw)
	}
	id = k.open(fields{})
	path = sessionsPath + "/" + id
	left = k.background(id, fields{"command": "trap '' INT; sleep 1000"})
	pause(fields{})
	runner := k.call(http.MethodGet, path, nil).str("runner")
	k.ok(http.MethodPost, "/v1/runners/"+runner+"/drain", nil)
	if a := k.awaitCommand(left); a.str("failure.code") != "session_ended" || a.str("failure.reason") != "drained" {
		t.Errorf("a command of a paused session of a drained runner: %s", a.raw)
	}
	testenv.Eventually(t, "the runner has no session", func() bool { return strings.Contains(k.call(http.MethodGet, "/v1/runners", nil).raw, `"sessions":0`) })
}

// TestPauseAtEndOfSession: a session with "onEnd": "pause" is paused at its end with all it has, and goes on when it is used.
func TestPauseAtEndOfSession(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.open(fields{})
	path := sessionsPath + "/" + id
	k.in(id, "x = 41")
	if a := k.call(http.MethodPatch, path, fields{"endsIn": 1, "onEnd": "pause", "autoResume": true}); a.str("onEnd") != "pause" || a.str("endsAt") == "" {
		t.Errorf("change: %d %s", a.status, a.raw)
	}
	testenv.Eventually(t, "the pause at the end", func() bool { return k.call(http.MethodGet, path, nil).str("state") == "paused" })
	if a := k.call(http.MethodGet, path, nil); a.str("endsAt") != "" || a.str("autoResume") != "true" || a.str("pausedUntil") == "" {
		t.Errorf("paused: %s", a.raw)
	}
	k.call(http.MethodPatch, path, fields{"endsIn": 3600}) // what follows takes less
	if out := k.in(id, "print(x)"); out != "41\n" {
		t.Errorf("resumed: %q", out)
	}
	if a := k.call(http.MethodGet, path, nil); a.str("endsAt") == "" || a.str("state") != "idle" {
		t.Errorf("the resume has not set the end: %s", a.raw)
	}
	if a := k.call(http.MethodPatch, path, fields{"onEnd": "end", "endsIn": 1}); a.status != http.StatusOK || a.str("onEnd") != "" {
		t.Errorf("no pause any more: %d %s", a.status, a.raw)
	}
	testenv.Eventually(t, "the end", func() bool { return k.call(http.MethodGet, path, nil).str("state") == "ended" })
	k.wantEnded(id, "ends_at")
	for body, want := range map[string]string{`{"onEnd": "stop"}`: "onEnd", `{"autoResume": true}`: `send \"onEnd\": \"pause\" with it`, `{"onEnd": "end", "autoResume": true}`: "autoResume"} {
		if a := k.call(http.MethodPost, sessionsPath, body); a.status != http.StatusBadRequest || !strings.Contains(a.raw, want) {
			t.Errorf("%s: %d %s", body, a.status, a.raw)
		}
	}
}
