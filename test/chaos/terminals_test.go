package chaos_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/kaa-run/kaa/internal/testenv"
)

// terminalLasts is when a terminal has to have ended, whatever has broken.
const terminalLasts = 60 * time.Second

// terminalEnd is how the stream of a terminal ended.
type terminalEnd struct {
	id   string // of the command, if there is one
	text string // its output
	exit *struct {
		State, Status string
		ExitCode      *int
		Failure       *struct{ Code string }
	}
	problem string // the code of an error frame
	refused answer // to a request that became no WebSocket
	code    websocket.StatusCode
	err     error
}

// terminal types into a terminal over a WebSocket. A stream that is not cut off by the end of its API process ends with the
// end of the command and all its output, or with a reason.
func (cl *caller) terminal(ctx context.Context) {
	nonce := fmt.Sprintf("%x", cl.random.Uint64())
	line := fmt.Sprintf("# %s\nstty -echo; echo on-$0; read x; (setsid sleep 303 &); seq 500; sleep %.2f; echo end-$x", commandMark, cl.random.Float64())
	call, cancel := context.WithTimeout(ctx, terminalLasts)
	defer cancel()
	e := cl.typeInto(call, nonce, map[string]any{
		"type": "start", "argv": []string{"sh", "-c", line, nonce}, "timeout": 15, "terminal": map[string]int{"columns": 80, "rows": 24},
	})
	switch {
	case e.err == nil || ctx.Err() != nil:
	case call.Err() != nil:
		cl.complain("no end of a terminal for a minute in %s: %+v", cl.session, e)
	case e.refused.status != 0:
		if !cl.isOver(e.refused) && !slices.Contains([]int{http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusConflict}, e.refused.status) {
			cl.complain("a terminal in %s: %d %s", cl.session, e.refused.status, e.refused.raw)
		}
	case e.code == websocket.StatusNormalClosure && e.exit == nil:
		cl.complain("a terminal in %s was closed without the end of its command: %+v", cl.session, e)
	case e.code == websocket.StatusInternalError, e.code == websocket.StatusPolicyViolation && e.problem == "":
		cl.complain("a terminal in %s was closed with %d: %v", cl.session, e.code, e.err)
	case e.exit != nil && e.exit.Status == "ok" && !strings.Contains(e.text, "500\r\nend-"+nonce):
		cl.complain("the output of a terminal in %s is not whole: %q", cl.session, e.text)
	}
	how := "broken"
	switch {
	case e.exit != nil:
		how = "exit " + e.exit.State
		if e.exit.Failure != nil {
			how += " " + e.exit.Failure.Code
		}
	case e.refused.status != 0:
		how = fmt.Sprint("refused ", e.refused.status, " ", e.refused.problem().Code)
	case e.code > 0:
		how = fmt.Sprint("closed ", int(e.code), " ", e.problem)
	}
	cl.ends["terminal: "+strings.TrimSpace(how)]++
	if e.id != "" && e.exit == nil { // the command went on without its client
		if v, _, err := cl.await(ctx, e.id); err == nil && v.State == "failed" && !slices.Contains([]string{"session_ended", "runner_lost", "drained"}, v.Failure.Code) {
			cl.complain("command %s: %+v", e.id, v.Failure)
		}
	}
	if e.exit == nil {
		pause(ctx, 100*time.Millisecond)
	}
}

// typeInto starts a command in a terminal, and types once it has printed something.
func (cl *caller) typeInto(ctx context.Context, nonce string, start map[string]any) (e terminalEnd) {
	conn, res, err := websocket.Dial(ctx, cl.any().health+"/v1/sessions/"+cl.session+"/commands/ws", &websocket.DialOptions{HTTPClient: cl.http})
	if err != nil {
		e.err = err
		if res != nil {
			e.refused.status = res.StatusCode
			e.refused.raw, _ = io.ReadAll(res.Body)
		}
		return e
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(1 << 20)
	frame, err := json.Marshal(start)
	if err == nil {
		err = conn.Write(ctx, websocket.MessageText, frame)
	}
	for typed := false; err == nil; {
		var kind websocket.MessageType
		var data []byte
		if kind, data, err = conn.Read(ctx); err != nil {
			break
		}
		if kind == websocket.MessageText {
			e.read(data)
			continue
		}
		if e.text += string(data); !typed && strings.Contains(e.text, "on-"+nonce) {
			typed = true
			err = conn.Write(ctx, websocket.MessageBinary, []byte(nonce+"\r"))
		}
	}
	e.err, e.code = err, websocket.CloseStatus(err)
	return e
}

// read takes a text frame.
func (e *terminalEnd) read(data []byte) {
	var f struct{ Type, ID, Code string }
	_ = json.Unmarshal(data, &f)
	switch f.Type {
	case "attached":
		e.id = f.ID
	case "error":
		e.problem = f.Code
	case "exit":
		_ = json.Unmarshal(data, &e.exit)
	}
}

// calls executes code that calls its caller, and answers. Each call comes once; code that got all answers has the right result.
func (cl *caller) calls(ctx context.Context) {
	nonce := fmt.Sprintf("%x", cl.random.Uint64())
	call, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	body, _ := json.Marshal(map[string]any{
		"code": fmt.Sprintf("import asyncio\nprint(sum(add.sync(i) for i in range(5)) + sum(await asyncio.gather(*[add(i) for i in range(5)])), '%s')", nonce),
		// A call whose answer is lost ends before the execution does.
		"functions": []any{map[string]any{"name": "add"}}, "sessionId": cl.session, "timeout": 30, "limits": map[string]any{"callSeconds": 8},
	})
	req, err := http.NewRequestWithContext(call, http.MethodPost, cl.any().health+"/process/interpreter/execute", bytes.NewReader(body))
	if err != nil {
		cl.complain("%v", err)
		return
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	res, err := cl.http.Do(req)
	if err != nil {
		cl.ends["calls: broken"]++
		pause(ctx, 100*time.Millisecond)
		return
	}
	defer func() { _ = res.Body.Close() }()
	seen, answered, raw := map[string]bool{}, 0, new(bytes.Buffer)
	id := ""
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		raw.Write(append(lines.Bytes(), '\n'))
		var e struct {
			Type, JobID, CallID string
			Positional          []int
		}
		if data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: ")); !ok || json.Unmarshal(data, &e) != nil {
			continue
		}
		if e.JobID != "" {
			id = e.JobID
		}
		if e.Type != "call" || len(e.Positional) != 1 {
			continue
		}
		if seen[e.CallID] {
			cl.complain("call %s of %s came twice", e.CallID, id)
		}
		seen[e.CallID] = true
		a, err := cl.call(call, cl.any(), http.MethodPost, "/v1/jobs/"+id+"/calls/"+e.CallID, map[string]any{"value": e.Positional[0] + 1})
		if err == nil && a.status == http.StatusNoContent {
			answered++
		}
	}
	cl.judgeCalls(ctx, call, nonce, answered, answer{status: res.StatusCode, header: res.Header, raw: raw.Bytes()}, lines.Err())
}

// judgeCalls judges the end of an execution of which some calls were answered.
func (cl *caller) judgeCalls(ctx, call context.Context, nonce string, answered int, a answer, err error) {
	const calls, sum = 10, "30 "
	right := bytes.Contains(a.raw, []byte(sum+nonce))
	how := fmt.Sprint(a.status)
	switch {
	case ctx.Err() != nil:
	case call.Err() != nil:
		cl.complain("no end of an execution with calls for a minute in %s: %s", cl.session, a.raw)
	case err != nil:
		how = "cut off"
	case a.status == http.StatusOK && !streamEnds(a.raw):
		cl.complain("the events of calls in %s end without a reason: %s", cl.session, a.raw)
	case a.status == http.StatusOK && bytes.Contains(a.raw, []byte(`"status":"ok"`)) && !right:
		cl.complain("calls in %s: %s", cl.session, a.raw)
	case a.status == http.StatusOK && answered == calls && right:
		how = "all answered"
		cl.right++
	case a.status == http.StatusOK, cl.isOver(a), a.status == http.StatusServiceUnavailable, a.status == http.StatusTooManyRequests:
	default:
		cl.complain("calls in %s: %d %s", cl.session, a.status, a.raw)
	}
	cl.ends["calls: "+how]++
	if a.status != http.StatusOK {
		pause(ctx, 100*time.Millisecond)
	}
}

// checkForgotten checks that no key of a job is in Redis for ever: neither messages and output of commands nor open calls.
func (c *cluster) checkForgotten(ctx context.Context) {
	c.tb.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: c.redis.Addr})
	defer func() { _ = rdb.Close() }()
	left := map[string]bool{}
	testenv.Eventually(c.tb, "all keys of jobs expire", func() bool {
		clear(left)
		all := rdb.Scan(ctx, 0, "{kaa}:job:*", 1000).Iterator()
		for all.Next(ctx) {
			ttl, err := rdb.TTL(ctx, all.Val()).Result()
			if err != nil || ttl == -1 { // without an end
				left[all.Val()] = true
			}
		}
		return all.Err() == nil && len(left) == 0 || errors.Is(ctx.Err(), context.DeadlineExceeded)
	})
	for key := range left {
		c.tb.Errorf("%s stays for ever", key)
	}
}
