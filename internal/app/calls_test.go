package app_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// calling is a request with code that may call f(a, b) and any().
func calling(code string, more fields) fields {
	body := fields{"code": code, "functions": []fields{
		{"name": "f", "description": "Does it.", "schema": fields{"properties": fields{"a": fields{}, "b": fields{}}}}, {"name": "any"},
	}}
	maps.Copy(body, more)
	return body
}

func isCall(e event) bool { return e.name == "call" }

// reply answers a call by its event, and returns the status and the code of a problem.
func (k *kaa) reply(jobID, call string, body fields) string {
	k.tb.Helper()
	a := k.call(http.MethodPost, "/v1/jobs/"+jobID+"/calls/"+call, body)
	return strings.TrimSpace(fmt.Sprint(a.status, " ", a.str("code")))
}

// TestCallsOfExecution: a synchronous execution with events calls its caller, which answers with POST.
func TestCallsOfExecution(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	s := k.executeLive(calling("print(f(1, b=[None]))\ntry: any(2, x='ä')\nexcept KeyError as e: print(type(e).__name__, e)\nprint(f(a='last'))", nil))
	jobID := ""
	first := s.await(func(e event) bool {
		if id := e.str("jobId"); id != "" {
			jobID = id
		}
		return isCall(e)
	})
	want := map[string]any{"type": "call", "callId": "1-1", "name": "f", "arguments": map[string]any{"a": 1.0, "b": []any{nil}}}
	if diff := cmp.Diff(want, first.data); diff != "" {
		t.Errorf("call (-want +got)\n%s", diff)
	}
	for _, tt := range []struct {
		call, want string
		body       fields
	}{
		{"1-2", "409 no_call", fields{"value": 1}},
		{"2-1", "409 no_call", fields{"value": 1}},
		{"1-1", "400 invalid_request", fields{}},
		{"1-1", "400 invalid_request", fields{"value": 1, "error": fields{"message": "no"}}},
		{"1-1", "400 invalid_request", fields{"error": fields{"name": "x"}}},
		{"1-1", "400 invalid_request", fields{"value": strings.Repeat("x", 600_000)}},
		{"1-1", "204", fields{"value": fields{"n": 9007199254740993, "s": "ß"}}},
		{"1-1", "409 no_call", fields{"value": 1}},
	} {
		if got := k.reply(jobID, tt.call, tt.body); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.call, got, tt.want)
		}
	}
	second := s.await(isCall)
	if got := fmt.Sprintln(second.data["callId"], second.data["positional"], second.data["arguments"]); got != "1-2 [2] map[x:ä]\n" {
		t.Errorf("second call: %s", got)
	}
	// Who follows again from an id sees the call again.
	again := k.follow(jobID, first.id)
	if e := again.await(isCall); e.id != second.id {
		t.Errorf("from %s: %+v", first.id, e)
	}
	again.close()
	if got := k.reply(jobID, "1-2", fields{"error": fields{"name": "KeyError", "message": "nothing"}}); got != "204" {
		t.Error(got)
	}
	s.await(isCall)
	if got := k.reply(jobID, "1-3", fields{"value": nil}); got != "204" {
		t.Error(got)
	}
	all := s.all()
	if last := all[len(all)-1]; last.str("status") != "ok" {
		t.Errorf("%+v", last)
	}
	if end := k.await(jobID); end.str("result.stdout") != "{'n': 9007199254740993, 's': 'ß'}\nKeyError 'nothing'\nNone\n" {
		t.Errorf("printed %q", end.str("result.stdout"))
	}
	if got := k.reply(jobID, "1-3", fields{"value": 1}); got != "409 no_call" {
		t.Errorf("after the end: %s", got)
	}
}

// TestCallsOfSession: calls over a WebSocket, several at once and answered in another order; the variables
// survive, the functions do not.
func TestCallsOfSession(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	session := k.open(nil)
	s, other := k.connect(session), k.connect(session)
	body := calling("import asyncio\nxs = await asyncio.gather(*(f(i) for i in range(20)))\nprint(xs)", fields{"type": "execute", "id": "mine"})
	s.send(body)
	var calls []event
	s.until(func(e event) bool {
		if isCall(e) {
			calls = append(calls, e)
		}
		return len(calls) == 20
	})
	other.until(isCall) // all clients see them
	for i := range calls {
		e := calls[len(calls)-1-i]
		if e.str("id") != "mine" {
			t.Errorf("%+v", e)
		}
		s.send(fields{"type": "reply", "id": "r", "jobId": e.str("jobId"), "callId": e.str("callId"), "value": e.data["arguments"].(map[string]any)["a"]}) //nolint:forcetypeassert // it has one
	}
	frames := s.until(ends(1))
	if got := briefs(frames); !strings.Contains(strings.Join(got, "\n"), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]") {
		t.Errorf("frames %q", got)
	}
	first := calls[0]
	for _, tt := range []struct {
		frame fields
		want  string
	}{
		{fields{"jobId": first.str("jobId"), "callId": first.str("callId"), "value": 1}, "no_call"},
		{fields{"jobId": "01a00000-0000-7000-8000-000000000000", "callId": "1-1", "value": 1}, "not_found"},
		{fields{"jobId": first.str("jobId"), "callId": "1-1"}, "invalid_request"},
		{fields{"callId": "1-1", "value": 1}, "invalid_request"},
		{fields{"type": "execute", "code": "1", "functions": []fields{{"name": "a-b"}}}, "invalid_request"},
	} {
		frame := fields{"type": "reply"}
		maps.Copy(frame, tt.frame)
		s.send(frame)
		if e, ok := s.next(); !ok || e.name != "error" || e.str("code") != tt.want {
			t.Errorf("%v: %+v, want %s", tt.frame, e.data, tt.want)
		}
	}
	a := k.execute(fields{"code": "print(len(xs))\nf(1)", "sessionId": session})
	if a.str("stdout") != "20\n" || a.str("error.name") != "CallError" || !strings.Contains(a.str("error.value"), "offer it again") {
		t.Errorf("afterwards: %s", a.raw)
	}
}

// TestCallsOfJob: a job calls; what has ended takes no answer, whatever ended it.
func TestCallsOfJob(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.submit(calling("import asyncio\nasync def main():\n    try: await asyncio.wait_for(f(1), .05)\n    except asyncio.TimeoutError: pass\n    await f(2)\nasyncio.run(main())", nil))
	s := k.follow(id, "")
	s.await(isCall)
	if e := s.await(func(e event) bool { return e.name == "call_end" }); e.str("callId") != "1-1" || e.str("reason") != "cancelled" {
		t.Errorf("%+v", e)
	}
	if got := k.reply(id, "1-1", fields{"value": 1}); got != "409 no_call" {
		t.Errorf("a call that was given up: %s", got)
	}
	s.await(isCall)
	k.call(http.MethodDelete, "/v1/jobs/"+id, nil)
	if end := k.await(id); end.str("state") != "cancelled" {
		t.Errorf("%s", end.raw)
	}
	if got := k.reply(id, "1-2", fields{"value": 1}); got != "409 no_call" {
		t.Errorf("a call of a job that was cancelled: %s", got)
	}
	if got := k.reply("01a00000-0000-7000-8000-000000000000", "1-1", fields{"value": 1}); got != "404 not_found" {
		t.Errorf("a job that never was: %s", got)
	}
	end := k.await(k.submit(calling("try: f(1)\nexcept CallError as e: print(type(e).__name__)", fields{"limits": fields{"callSeconds": 0.1}})))
	if end.str("result.stdout") != "TimeoutError\n" {
		t.Errorf("nobody answers: %s", end.raw)
	}
}

// TestCallsNeedFollowers: functions are refused where nobody can see the calls.
func TestCallsNeedFollowers(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	for name, a := range map[string]answer{
		"an execution without events": k.call(http.MethodPost, executePath, calling("f()", nil)),
		"a batch of jobs":             k.call(http.MethodPost, "/v1/jobs:batch", fields{"jobs": []fields{calling("f()", nil)}}),
		"a schedule":                  k.call(http.MethodPost, "/v1/schedules", fields{"cron": "@daily", "job": calling("f()", nil)}),
	} {
		if !strings.Contains(a.raw, "see no calls") {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
	if a := k.call(http.MethodPost, "/v1/jobs", fields{"command": "ls", "functions": []fields{{"name": "f"}}}); a.status != http.StatusBadRequest || !strings.Contains(a.raw, "a command cannot call them") {
		t.Errorf("a command: %d %s", a.status, a.raw)
	}
	a := k.call(http.MethodPost, executePath, calling("print(1)", nil), "Prefer: respond-async")
	if end := k.await(a.str("id")); end.str("result.stdout") != "1\n" {
		t.Errorf("with respond-async: %s", end.raw)
	}
}

// BenchmarkCall measures a call of code in a session and its answer over the WebSocket, as the code sees
// it: the client answers at once. The time that a client needs to answer is little, but in it.
func BenchmarkCall(b *testing.B) {
	const calls = 200
	k := start(b, 1, "KAA_LOG_LEVEL=ERROR")
	s := k.connect(k.open(nil))
	code := fmt.Sprintf("import time\ntook = []\nfor i in range(%d):\n    t = time.perf_counter(); f(i); took.append(time.perf_counter() - t)\nprint(*took)", calls)
	var all []time.Duration
	var own []time.Duration
	for b.Loop() {
		s.send(calling(code, fields{"type": "execute"}))
		text := ""
		for _, e := range s.until(func(e event) bool {
			if isCall(e) {
				s.send(fields{"type": "reply", "jobId": e.str("jobId"), "callId": e.str("callId"), "value": 1})
				own = append(own, time.Since(e.at))
			}
			return isEnd(e)
		}) {
			if e.name == "stream" {
				text += e.str("text")
			}
		}
		for field := range strings.FieldsSeq(text) {
			var seconds float64
			if _, err := fmt.Sscan(field, &seconds); err != nil {
				b.Fatal(err)
			}
			all = append(all, time.Duration(seconds*float64(time.Second)))
		}
	}
	if len(all) != calls*b.N {
		b.Fatalf("%d calls", len(all))
	}
	report(b, "call-", all)
	report(b, "client-", own)
}
