package interpreter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// host answers the calls of executions, as their caller does.
type host struct {
	events  []string
	replies chan job.Reply
	answer  func(c job.CallData) (text string) // empty: no answer
}

func newHost() *host {
	h := &host{replies: make(chan job.Reply, 300)}
	h.answer = func(c job.CallData) string {
		others := "null"
		if c.Positional != nil {
			others = string(c.Positional)
		}
		return fmt.Sprintf(`{"value":[%q,%s,%s]}`, c.Name, c.Arguments, others)
	}
	return h
}

func (*host) Stream(string, []byte) {}
func (*host) Skipped(string, int64) {}
func (h *host) Event(t job.EventType, data json.RawMessage) {
	if t != job.EventCall && t != job.EventCallEnd {
		return
	}
	h.events = append(h.events, string(data))
	var c job.CallData
	if t == job.EventCallEnd || json.Unmarshal(data, &c) != nil {
		return
	}
	if text := h.answer(c); text != "" {
		h.replies <- job.Reply{Call: c.ID, Text: text}
		h.replies <- job.Reply{Call: c.ID, Text: `{"value":"twice"}`}
	}
}

func (h *host) live() job.Live {
	tap := new(job.Tap)
	tap.Open(h)
	return job.Live{Tap: tap, Replies: h.replies, Attempt: 2}
}

func offers(names ...string) (all []job.Function) {
	for _, name := range names {
		all = append(all, job.Function{Name: name, Schema: json.RawMessage(`{"properties": {"a": {}, "b": {}}}`)})
	}
	return append(all, job.Function{Name: "any"})
}

func TestCalls(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		pool := shared(t, withLevel(level))
		s := session(t, pool, job.SessionSpec{})
		for _, tt := range []struct{ name, code, stdout, failure, events string }{
			{name: "a call", code: "print('before', end=''); print(f(1, b='ä'))", stdout: "before['f', {'a': 1, 'b': 'ä'}, None]\n", events: `{"type":"call","callId":"2-1","name":"f","arguments":{"a":1,"b":"ä"}}`},
			{name: "positional", code: "print(any(1, x=[2]))", stdout: "['any', {'x': [2]}, [1]]\n", events: `{"type":"call","callId":"2-1","name":"any","arguments":{"x":[2]},"positional":[1]}`},
			{name: "no call", code: "print(1)", stdout: "1\n"},
			{name: "many", code: "import asyncio\nasync def main(): return len(await asyncio.gather(*(f(i) for i in range(200))))\nprint(asyncio.run(main()))", stdout: "200\n"},
			{name: "threads", code: "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(8) as p: print(sum(x[1]['a'] for x in p.map(f, range(100))))", stdout: "4950\n"},
			{name: "large", code: "print(len(f('ä' * 200_000)[1]['a']))", stdout: "200000\n"},
			{name: "too large", code: "f('ä' * 300_000)", failure: "ValueError"},
			{name: "deep", code: "x = []\nfor _ in range(96): x = [x]\nprint(len(f(x)))", stdout: "3\n"},
			{name: "too deep", code: "x = []\nfor _ in range(98): x = [x]\nf(x)", failure: "ValueError"},
			{name: "a mistake", code: "f(c=1)", failure: "TypeError"},
		} {
			spec := job.Spec{Code: tt.code, Functions: offers("f")}
			for _, kind := range []string{"session", "program"} {
				h := newHost()
				var res job.Result
				if kind == "session" {
					res = step(t, s, spec, h.live())
				} else {
					res = execute(t, pool, spec, h.live())
				}
				failure := ""
				if res.Error != nil {
					failure = res.Error.Name
				}
				if res.Stdout != tt.stdout || failure != tt.failure {
					t.Errorf("%s in a %s: printed %q, %+v; want %q, %s", tt.name, kind, res.Stdout, res.Error, tt.stdout, tt.failure)
				}
				if got := strings.Join(h.events, "\n"); tt.events != "" && got != tt.events {
					t.Errorf("%s in a %s: events %s, want %s", tt.name, kind, got, tt.events)
				}
			}
		}
		if res := step(t, s, job.Spec{Code: "f(1)"}); res.Error == nil || res.Error.Name != "CallError" || !strings.Contains(res.Error.Value, "offer it again") {
			t.Errorf("afterwards: %+v", res)
		}
		if res := execute(t, pool, job.Spec{Code: "f(1)"}); res.Error == nil || res.Error.Name != "NameError" {
			t.Errorf("without functions: %+v", res)
		}
	})
}

// TestCallErrors: what a call raises, and its traceback, which has no frame of Kaa.
func TestCallErrors(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{})
	h := newHost()
	h.answer = func(job.CallData) string { return `{"error":{"name":"LookupError","message":"no such page"}}` }
	res := step(t, s, job.Spec{Code: "def work():\n    f(1)\nwork()", Functions: offers("f")}, h.live())
	const want = "Traceback (most recent call last):\n  File \"<stdin-1>\", line 3, in <module>\n    work()\n  File \"<stdin-1>\", line 2, in work\n    f(1)\n"
	if res.Error == nil || res.Error.Name != "LookupError" || res.Error.Value != "no such page" || !strings.HasPrefix(res.Error.Traceback, want) || strings.Contains(res.Error.Traceback, "kaa") {
		t.Errorf("%+v", res.Error)
	}
	h.answer = func(job.CallData) string { return "" }
	quota := job.Quota{CallTime: 50 * time.Millisecond, Calls: 2}
	res = step(t, s, job.Spec{Code: "for _ in range(3):\n    try: f(1)\n    except CallError as e: print(type(e).__name__, e)", Functions: offers("f"), Quota: quota}, h.live())
	if res.Stdout != "TimeoutError f() was not answered within 0.05 s (limits.callSeconds)\nTimeoutError f() was not answered within 0.05 s (limits.callSeconds)\nCallLimitExceeded f() was not called: the execution has made its 2 calls (limits.calls)\n" {
		t.Errorf("%+v", res)
	}
	if last := h.events[len(h.events)-1]; last != `{"type":"call_end","callId":"2-2","reason":"timeout"}` {
		t.Errorf("events %q", h.events)
	}
}

// TestCallsInterrupted: code that waits for the answer to a call ends at once when it is interrupted,
// and a late answer harms nobody.
func TestCallsInterrupted(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t, withGrace(ample)), job.SessionSpec{})
	for _, code := range []string{"f(1)", "await f(1)", "import threading\nt = threading.Thread(target=f); t.start(); t.join()", "import time\nimport threading\nfor _ in range(20): threading.Thread(target=f).start()\ntime.sleep(60)"} {
		h := newHost()
		ctx, cancel := context.WithCancel(t.Context())
		h.answer = func(job.CallData) string { cancel(); return "" }
		res, end, err := s.Execute(ctx, job.Spec{Code: code, Timeout: ample, Functions: offers("f")}, h.live())
		if res.Status != job.StatusInterrupted || end != nil || err != nil {
			t.Errorf("%s: %+v, %v, %v", code, res, end, err)
		}
		late := newHost()
		late.replies <- job.Reply{Call: "1-1", Text: `{"value":"late"}`} // of the attempt before
		if res = step(t, s, job.Spec{Code: "print(f(2))", Functions: offers("f")}, late.live()); res.Stdout != "['f', {'a': 2}, None]\n" {
			t.Errorf("after %s: %+v", code, res)
		}
	}
}

// TestForgedCalls: frames that the worker script never sends end the code.
func TestForgedCalls(t *testing.T) {
	t.Parallel()
	pool := shared(t)
	const forge = "import os, json\ndef forge(**f): os.write(1000, json.dumps(dict(dict(id=ID, type='call', request=1, name='f', arguments={}, mark=0), **{'in': 4}, **f)).encode() + b'\\n')\n"
	for _, code := range []string{
		"forge(name='g')", "forge(request=0)", "forge(request=-1)", "forge(request=11)", "forge(arguments=[])", "forge(arguments=None)", "forge(positional={})",
		"forge(arguments={'x': 'x' * 600_000})", "x = []\nfor _ in range(200): x = [x]\nforge(arguments={'x': x})",
		"forge()\nforge()", "for i in range(6): forge(request=i + 1)", "forge(type='call_end', value='answered')", "forge(type='reply')",
		"for i in range(9):\n    forge(request=i + 1, arguments={'x': 'x' * 400_000}); forge(type='call_end', request=i + 1, value='cancelled')",
	} {
		h := newHost()
		h.answer = func(job.CallData) string { return "" }
		code := strings.ReplaceAll(forge, "**{'in': 4}, **f", "**dict({'in': 0}, **f)") + code + "\nimport time; time.sleep(60)"
		w := acquire(t, pool)
		res, err := w.Execute(t.Context(), job.Spec{
			Code: strings.ReplaceAll(code, "ID", "'"+w.SessionID()+"'"), Functions: offers("f"), Timeout: ample,
			Quota: job.Quota{MemoryBytes: 512 << 20, CPUs: 1, Processes: 50, OpenFiles: 100, FileBytes: 1 << 20, DiskBytes: 1 << 20, OutputBytes: 1 << 20, Calls: 10, CallsAtOnce: 5, CallBytes: 2 << 20},
		}, h.live())
		if err != nil || res.Error == nil || res.Error.Name != "ProtocolError" {
			t.Errorf("%s: %+v, %v", code[len(code)-80:], res.Error, err)
		}
	}
	res := execute(t, pool, job.Spec{Code: strings.ReplaceAll(forge, "ID", "'x'") + "forge()\nimport time; time.sleep(60)"})
	if res.Error == nil || res.Error.Name != "ProtocolError" {
		t.Errorf("without functions: %+v", res)
	}
}
