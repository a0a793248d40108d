package app_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/testenv"
)

// command runs a command of a session to its end.
func (k *kaa) command(session string, body fields) answer {
	k.tb.Helper()
	a := k.call(http.MethodPost, "/v1/sessions/"+session+"/commands", body)
	if a.status != http.StatusOK {
		k.tb.Fatalf("%v: %d %s", body, a.status, a.raw)
	}
	return a
}

// background starts a command of a session, and returns its path.
func (k *kaa) background(session string, body fields) string {
	k.tb.Helper()
	body["background"] = true
	a := k.call(http.MethodPost, "/v1/sessions/"+session+"/commands", body)
	path := "/v1/sessions/" + session + "/commands/" + a.str("id")
	if a.status != http.StatusAccepted || a.header.Get("Location") != path {
		k.tb.Fatalf("%v: %d %s", body, a.status, a.raw)
	}
	return path
}

// tell sends a command something.
func (k *kaa) tell(path string, body fields) {
	k.tb.Helper()
	if a := k.call(http.MethodPost, path, body); a.status != http.StatusAccepted && a.status != http.StatusNoContent {
		k.tb.Fatalf("%s %v: %d %s", path, body, a.status, a.raw)
	}
}

// awaitCommand returns a command that has ended.
func (k *kaa) awaitCommand(path string) (a answer) {
	k.tb.Helper()
	testenv.Eventually(k.tb, "the command ends", func() bool {
		a = k.call(http.MethodGet, path+"?wait=30s", nil)
		state := a.str("state")
		return state == "completed" || state == "cancelled" || state == "failed"
	})
	return a
}

func TestSessionCommands(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	session := k.open(fields{"envs": fields{"OF_SESSION": "s"}})
	k.in(session, "open('f', 'w').write('by code')")
	for _, tt := range []struct {
		name string
		body fields
		want map[string]string
	}{
		{"a line", fields{"command": "cat f; echo $OF_SESSION$A >&2; exit 3", "envs": fields{"A": "a"}}, map[string]string{"status": "exit", "exitCode": "3", "stdout": "by code", "stderr": "sa\n"}},
		{"a program", fields{"argv": []string{"pwd"}, "cwd": "/tmp"}, map[string]string{"status": "ok", "stdout": "/tmp\n"}},
		{"input", fields{"command": "cat", "stdin": "in"}, map[string]string{"status": "ok", "stdout": "in"}},
		{"no input", fields{"command": "cat"}, map[string]string{"status": "ok", "stdout": ""}},
		{"no such program", fields{"argv": []string{"nonesuch"}}, map[string]string{"status": "exit", "exitCode": "127", "error.name": "FileNotFoundError"}},
		{"no such directory", fields{"command": "true", "cwd": "nonesuch"}, map[string]string{"status": "exit", "exitCode": "126"}},
		{"a timeout", fields{"command": "echo on; sleep 1000", "timeout": 1}, map[string]string{"status": "interrupted", "stdout": "on\n"}},
		{"bytes", fields{"command": `printf 'a\377b'`}, map[string]string{"stdout": "a\uFFFDb"}},
		{"a flood", fields{"command": "head -c 20000000 /dev/zero | tr '\\0' x", "limits": fields{"outputBytes": 1000}}, map[string]string{"status": "ok", "truncated.stdout": "1.9999e+07"}},
		{"a terminal", fields{"command": "tty >/dev/null && stty size", "terminal": fields{"columns": 81, "rows": 25}}, map[string]string{"status": "ok", "stdout": "25 81\r\n"}},
	} {
		a := k.command(session, tt.body)
		for path, want := range tt.want {
			if got := a.str(path); got != want {
				t.Errorf("%s: %s = %q, want %q (%.300s)", tt.name, path, got, want, a.raw)
			}
		}
	}
	for name, body := range map[string]fields{
		"body.command": {"cwd": "/tmp"}, "body.argv": {"command": "ls", "argv": []string{"ls"}}, "body.limits.cpuSeconds": {"command": "ls", "limits": fields{"cpuSeconds": 1}},
		"body.limits.memoryBytes": {"command": "ls", "limits": fields{"memoryBytes": 64 << 20}}, "body.terminal.rows": {"command": "ls", "terminal": fields{"columns": 1, "rows": 0}},
	} {
		if a := k.call(http.MethodPost, "/v1/sessions/"+session+"/commands", body); a.status != http.StatusBadRequest || !strings.Contains(a.raw, name+": ") {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
}

// TestCommandsBesideCode: neither waits for the other, and commands do not wait for each other.
func TestCommandsBesideCode(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	session := k.open(fields{})
	code := k.submit(fields{"sessionId": session, "code": "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint(open('go').read())"})
	waiting := k.background(session, fields{"command": "until test -e go; do sleep 0.01; done; cat go"})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if a := k.command(session, fields{"command": fmt.Sprintf("echo %d", i)}); a.str("stdout") != fmt.Sprintf("%d\n", i) {
				t.Errorf("command %d: %s", i, a.raw)
			}
		})
	}
	all.Wait()
	list := k.call(http.MethodGet, "/v1/sessions/"+session+"/commands", nil)
	if id := waiting[strings.LastIndex(waiting, "/")+1:]; list.status != http.StatusOK || strings.Count(list.raw, `"id"`) != 1 || !strings.Contains(list.raw, id) {
		t.Errorf("commands: %s", list.raw)
	}
	all.Go(func() { // one in the foreground gets signals, too
		if a := k.command(session, fields{"command": "touch on; exec sleep 1000"}); a.str("signal") != "SIGTERM" {
			t.Errorf("after a signal: %s", a.raw)
		}
	})
	k.command(session, fields{"command": "until test -e on; do sleep 0.01; done"})
	list = k.call(http.MethodGet, "/v1/sessions/"+session+"/commands", nil)
	for _, c := range list.body["commands"].([]any) { //nolint:forcetypeassert // it is one
		one := "/v1/sessions/" + session + "/commands/" + answer{body: c.(map[string]any)}.str("id") //nolint:forcetypeassert // it is one
		if one != waiting {
			k.tell(one+"/signal", fields{"signal": "TERM"})
		}
	}
	all.Wait()
	started := k.call(http.MethodPost, "/v1/sessions/"+session+"/commands", fields{"command": "echo out; echo err >&2; cat", "background": true})
	if a := k.command(session, fields{"command": "kill -0 " + started.str("pid")}); started.str("pid") == "" || a.str("exitCode") != "0" {
		t.Errorf("the process of a command: %s; %s", started.raw, a.raw)
	}
	path, shown := "/v1/sessions/"+session+"/commands/"+started.str("id"), answer{}
	testenv.Eventually(t, "its output so far", func() bool {
		shown = k.call(http.MethodGet, path, nil)
		return shown.str("output.stdout") == "out\n" && shown.str("output.stderr") == "err\n"
	})
	if shown.str("pid") != started.str("pid") || shown.str("state") != "running" {
		t.Errorf("it is %s, and was started as %s", shown.raw, started.raw)
	}
	k.tell(path+"/input", fields{"data": "more", "end": true})
	if a := k.awaitCommand(path); a.str("pid") != "" || a.str("output.stdout") != "" || a.str("result.stdout") != "out\nmore" {
		t.Errorf("after its end: %s", a.raw)
	}
	if a := k.call(http.MethodPost, "/v1/sessions/"+session+"/commands", fields{"command": "true", "background": true}); a.status != http.StatusAccepted || a.str("pid") == "" {
		t.Errorf("a short command: %d %s", a.status, a.raw)
	}
	k.command(session, fields{"command": "echo now > go.part; mv go.part go"})
	if a := k.await(code); a.str("result.stdout") != "now\n\n" {
		t.Errorf("code: %s", a.raw)
	}
	if a := k.awaitCommand(waiting); a.str("result.stdout") != "now\n" {
		t.Errorf("command: %s", a.raw)
	}
}

// TestCommandInput: input arrives once and in its order, bytes as they are, and nothing after the end.
func TestCommandInput(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	session := k.open(fields{})
	path := k.background(session, fields{"command": "cat > got; echo done"})
	var want strings.Builder
	for i := range 100 {
		text := fmt.Sprintf("%d\n", i)
		want.WriteString(text)
		k.tell(path+"/input", fields{"data": text})
	}
	raw := "\x00\xff\xfe end"
	want.WriteString(raw)
	k.tell(path+"/input", fields{"dataBase64": base64.StdEncoding.EncodeToString([]byte(raw)), "end": true})
	if a := k.awaitCommand(path); a.str("result.stdout") != "done\n" {
		t.Errorf("command: %s", a.raw)
	}
	if got := k.in(session, "print(open('got', 'rb').read().decode('latin-1'), end='')"); !strings.Contains(got, "99\n") || len([]rune(got)) != want.Len() {
		t.Errorf("it got %q", got)
	}
	for body, code := range map[string]string{"input": "command_ended", "signal": "command_ended", "resize": "command_ended"} {
		send := fields{"data": "x"}
		switch body {
		case "signal":
			send = fields{"signal": "TERM"}
		case "resize":
			send = fields{"columns": 1, "rows": 1}
		}
		if a := k.call(http.MethodPost, path+"/"+body, send); a.status != http.StatusConflict || a.str("code") != code {
			t.Errorf("%s after the end: %d %s", body, a.status, a.raw)
		}
	}

	deaf := k.background(session, fields{"command": "sleep 1000"})
	large := strings.Repeat("x", 250<<10)
	full := false
	for range 20 {
		a := k.call(http.MethodPost, deaf+"/input", fields{"data": large})
		if full = a.status == http.StatusTooManyRequests && a.str("code") == "input_full"; full {
			break
		}
	}
	if !full {
		t.Error("more and more input waits for a command that reads none")
	}
	if a := k.call(http.MethodPost, deaf+"/input", fields{"data": strings.Repeat("x", 300<<10)}); a.status != http.StatusBadRequest {
		t.Errorf("too much at once: %d %s", a.status, a.raw)
	}
	k.tell(deaf+"/signal", fields{"signal": "sigterm"}) // no input keeps it from that
	if a := k.awaitCommand(deaf); a.str("result.signal") != "SIGTERM" {
		t.Errorf("signal: %s", a.raw)
	}

	ended := k.background(session, fields{"command": "cat; sleep 1000"})
	k.tell(ended+"/input", fields{"end": true})
	if a := k.call(http.MethodPost, ended+"/input", fields{"data": "x"}); a.status != http.StatusConflict || a.str("code") != "input_ended" {
		t.Errorf("input after its end: %d %s", a.status, a.raw)
	}
	for _, odd := range []string{"NONE", "9", "SIG", "RTMIN+99", "ÿ"} {
		if a := k.call(http.MethodPost, ended+"/signal", fields{"signal": odd}); a.status != http.StatusBadRequest || !strings.Contains(a.raw, "body.signal") {
			t.Errorf("signal %s: %d %s", odd, a.status, a.raw)
		}
	}
	if a := k.call(http.MethodDelete, ended, nil); a.status != http.StatusAccepted {
		t.Errorf("delete: %d %s", a.status, a.raw)
	}
	if a := k.awaitCommand(ended); a.str("state") != "cancelled" {
		t.Errorf("after delete: %s", a.raw)
	}
}

// TestCommandTerminal: a shell with job control, whose size changes.
func TestCommandTerminal(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	session := k.open(fields{})
	path := k.background(session, fields{"argv": []string{"bash", "--norc", "-i"}, "terminal": fields{"columns": 80, "rows": 24}, "envs": fields{"PS1": "> "}})
	id := path[strings.LastIndex(path, "/")+1:]
	live := k.stream(http.MethodGet, path+"/events", nil)
	second := k.follow(id, "")
	seen := ""
	await := func(text string) {
		t.Helper()
		defer func() {
			if t.Failed() {
				t.Logf("%q did not come after %q", text, seen)
			}
		}()
		live.await(func(e event) bool {
			seen += e.str("text")
			return strings.Contains(seen, text)
		})
		seen = ""
	}
	k.tell(path+"/input", fields{"data": "stty size\r"})
	await("24 80\r\n")
	k.tell(path+"/resize", fields{"columns": 100, "rows": 30})
	k.tell(path+"/input", fields{"data": "until test \"$(stty size)\" = '30 100'; do :; done; stty size\r"}) // input does not wait for the size
	await("30 100\r\n")
	// The echo of a line is not its output.
	k.tell(path+"/input", fields{"data": "sh -c 'echo be\"\"gun; exec sleep 1000'\r"})
	await("begun\r\n")
	k.tell(path+"/input", fields{"data": "\x1a"}) // Control-Z
	await("Stopped")
	k.tell(path+"/input", fields{"data": "kill -0 %1 && echo al\"\"ive; kill -KILL %1\r"})
	await("alive\r\n")
	k.tell(path+"/input", fields{"data": "exit 7\rexit 7\r"}) // again if jobs are stopped
	if a := k.awaitCommand(path); a.str("result.exitCode") != "7" {
		t.Errorf("%s", a.raw)
	}
	if all := briefs(second.all()); !strings.Contains(strings.Join(all, ""), "30 100") || !slices.Contains(all, "status completed exit") {
		t.Errorf("the second follower got %q", all)
	}
}

// TestCommandsEnd: what a command has started ends with it at a delete and a timeout, and with the session in any case.
func TestCommandsEnd(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	session := k.open(fields{})
	// A double fork in a session of processes of its own, with streams of its own.
	daemon := "(setsid sh -c 'trap \"\" HUP INT TERM; echo $$ > %[1]s.pid; while :; do sleep 0.01; done' </dev/null >/dev/null 2>&1 &); until test -s %[1]s.pid; do sleep 0.01; done; "
	alive := func(name string) bool {
		return k.command(session, fields{"command": "kill -0 $(cat " + name + ".pid) 2>/dev/null && echo alive"}).str("stdout") == "alive\n"
	}
	k.command(session, fields{"command": fmt.Sprintf(daemon, "left")})
	if !alive("left") {
		t.Error("a daemon ended with a command that ended by itself")
	}
	k.command(session, fields{"command": fmt.Sprintf(daemon, "timeout") + "sleep 1000", "timeout": 2})
	deleted := k.background(session, fields{"command": fmt.Sprintf(daemon, "deleted") + "echo ready; sleep 1000"})
	k.follow(deleted[strings.LastIndex(deleted, "/")+1:], "").await(ofOutput("ready"))
	k.call(http.MethodDelete, deleted, nil)
	if a := k.awaitCommand(deleted); a.str("state") != "cancelled" {
		t.Errorf("deleted: %s", a.raw)
	}
	for _, name := range []string{"timeout", "deleted"} {
		if alive(name) {
			t.Errorf("%s: a daemon goes on", name)
		}
	}
	running := k.background(session, fields{"command": "sleep 1000"})
	if a := k.call(http.MethodDelete, "/v1/sessions/"+session, nil); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.raw)
	}
	if a := k.awaitCommand(running); a.str("state") != "failed" || a.str("failure.code") != "session_ended" {
		t.Errorf("after the session: %s", a.raw)
	}
	if a := k.call(http.MethodPost, "/v1/sessions/"+session+"/commands", fields{"command": "true"}); a.status != http.StatusGone {
		t.Errorf("in a session that has ended: %d %s", a.status, a.raw)
	}
}

// TestCommandIDs: an id of something else is that of no command.
func TestCommandIDs(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	session, other := k.open(fields{}), k.open(fields{})
	path := k.background(session, fields{"command": "sleep 1000"})
	id := path[strings.LastIndex(path, "/")+1:]
	code := k.submit(fields{"sessionId": session, "code": "1"})
	k.await(code)
	for name, wrong := range map[string]string{
		"another session's": "/v1/sessions/" + other + "/commands/" + id, "an execution": "/v1/sessions/" + session + "/commands/" + code,
		"none": "/v1/sessions/" + session + "/commands/" + uuid.Must(uuid.NewV7()).String(), "no id": "/v1/sessions/" + session + "/commands/x",
	} {
		for _, call := range [][2]string{{"GET", ""}, {"GET", "/events"}, {"DELETE", ""}, {"POST", "/input"}, {"POST", "/signal"}, {"POST", "/resize"}} {
			var body any
			switch call[1] {
			case "/input":
				body = fields{"data": "x"}
			case "/signal":
				body = fields{"signal": "KILL"}
			case "/resize":
				body = fields{"columns": 1, "rows": 1}
			}
			if a := k.call(call[0], wrong+call[1], body); a.status != http.StatusNotFound {
				t.Errorf("%s %s of %s: %d %s", call[0], call[1], name, a.status, a.raw)
			}
		}
	}
	k.tell(path+"/signal", fields{"signal": "KILL"})
	if a := k.awaitCommand(path); a.str("result.exitCode") != "137" {
		t.Errorf("%s", a.raw)
	}
}

// TestManyCommands: more than may run at once are refused, and the session goes on.
func TestManyCommands(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	session := k.open(fields{"limits": fields{"processes": 400}})
	refused := 0
	for range 200 {
		a := k.call(http.MethodPost, "/v1/sessions/"+session+"/commands", fields{"argv": []string{"sleep", "1000"}, "background": true})
		switch {
		case a.status == http.StatusTooManyRequests && a.header.Get("Retry-After") != "":
			refused++
		case a.status != http.StatusAccepted:
			t.Fatalf("%d %s", a.status, a.raw)
		}
	}
	if refused == 0 || refused > 100 {
		t.Errorf("%d of 200 commands were refused", refused)
	}
	if got := k.in(session, "print(6*7)"); got != "42\n" {
		t.Errorf("code: %q", got)
	}
}
