package chaos_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// commandMark is in the arguments of each command, so that one that is left is found.
const commandMark = "kaa-chaos-command"

// streamEnds reports whether the events of a job say how it ended, or why they end before.
func streamEnds(raw []byte) bool {
	for _, end := range []string{`"state":"completed"`, `"state":"failed"`, `"state":"cancelled"`, `"state":"expired"`, `"code":"`} {
		if bytes.Contains(raw, []byte(end)) {
			return true
		}
	}
	return false
}

// command runs a command whose events it follows. The connection may break with the API process; a stream that comes to
// its end says how the command ended.
func (cl *caller) command(ctx context.Context) {
	nonce := fmt.Sprintf("%x", cl.random.Uint64())
	call, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	line := fmt.Sprintf("# %s\nsleep %.2f; echo %s", commandMark, cl.random.Float64(), nonce)
	a, err := cl.call(call, cl.any(), http.MethodPost, "/v1/sessions/"+cl.session+"/commands", map[string]any{"command": line, "timeout": 30}, "Accept: text/event-stream")
	switch {
	case err != nil:
		if call.Err() != nil && ctx.Err() == nil {
			cl.complain("no end of a command for a minute in %s", cl.session)
		}
		pause(ctx, 100*time.Millisecond)
	case a.status == http.StatusOK && !streamEnds(a.raw):
		cl.complain("the events of a command in %s end without a reason: %s", cl.session, a.raw)
	case a.status == http.StatusOK && bytes.Contains(a.raw, []byte(`"status":"ok"`)) && !bytes.Contains(a.raw, []byte(nonce)):
		cl.complain("a command in %s has no output: %s", cl.session, a.raw)
	case a.status == http.StatusOK, cl.isOver(a):
	case a.status == http.StatusServiceUnavailable, a.status == http.StatusConflict, a.status == http.StatusBadGateway:
		pause(ctx, 100*time.Millisecond)
	default:
		cl.complain("command in %s: %d %s", cl.session, a.status, a.raw)
	}
}

// background starts a command that leaves processes of its own behind, and follows it to its end, from whichever API.
func (cl *caller) background(ctx context.Context) {
	line := fmt.Sprintf("(setsid sh -c 'sleep 301; : %[1]s' &) ; sh -c 'sleep 302; : %[1]s' & sleep %.2[2]f", commandMark, 2*cl.random.Float64())
	commands := "/v1/sessions/" + cl.session + "/commands"
	a, err := cl.insist(ctx, 15*time.Second, http.MethodPost, commands, map[string]any{"command": line, "background": true, "timeout": 60})
	if err != nil || a.status != http.StatusAccepted {
		if err == nil && !cl.isOver(a) && a.status != http.StatusConflict {
			cl.complain("background in %s: %d %s", cl.session, a.status, a.raw)
		}
		return
	}
	id := a.view().ID
	for until := time.Now().Add(90 * time.Second); ctx.Err() == nil; pause(ctx, 200*time.Millisecond) {
		if time.Now().After(until) {
			cl.complain("command %s in %s has no end after 90 s", id, cl.session)
			return
		}
		try, cancel := context.WithTimeout(ctx, 30*time.Second)
		a, err = cl.call(try, cl.any(), http.MethodGet, commands+"/"+id+"/events", nil)
		cancel()
		if err != nil || a.status == http.StatusServiceUnavailable || a.status == http.StatusOK && !strings.Contains(string(a.raw), `"state":`) {
			continue
		}
		break
	}
	if ctx.Err() == nil && (a.status != http.StatusOK && a.status != http.StatusGone || a.status == http.StatusOK && !streamEnds(a.raw)) {
		cl.complain("the events of command %s: %d %s", id, a.status, a.raw)
	}
	v, _, err := cl.await(ctx, id)
	if err == nil && v.State == "failed" && v.Failure.Code != "session_ended" && v.Failure.Code != "runner_lost" && v.Failure.Code != "drained" {
		cl.complain("command %s: %+v", id, v.Failure)
	}
	cl.ends["background: "+v.State]++
}

// context makes another interpreter and executes in it.
func (cl *caller) context(ctx context.Context) {
	a, err := cl.insist(ctx, 15*time.Second, http.MethodPost, "/v1/sessions/"+cl.session+"/contexts", map[string]any{})
	if err != nil || a.status/100 != 2 {
		if err == nil && !cl.isOver(a) && a.status != http.StatusConflict && a.status != http.StatusBadGateway {
			cl.complain("context in %s: %d %s", cl.session, a.status, a.raw)
		}
		return
	}
	id, nonce := a.view().ID, fmt.Sprintf("%x", cl.random.Uint64())
	call, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	a, err = cl.call(call, cl.any(), http.MethodPost, "/process/interpreter/execute",
		map[string]any{"code": "print('" + nonce + "')", "sessionId": cl.session, "contextId": id, "timeout": 30})
	switch {
	case err != nil:
		if call.Err() != nil && ctx.Err() == nil {
			cl.complain("no answer for a minute of a context in %s", cl.session)
		}
	case a.status == http.StatusOK && bytes.Contains(a.raw, []byte(`"status":"ok"`)) && !bytes.Contains(a.raw, []byte(nonce)):
		cl.complain("context of %s: %s", cl.session, a.raw)
	case a.status >= 400 && a.status < 500 && !cl.isOver(a) && a.status != http.StatusConflict && a.status != http.StatusNotFound:
		cl.complain("execute in a context of %s: %d %s", cl.session, a.status, a.raw)
	}
	cl.ends[fmt.Sprint("context: ", a.status)]++
}
