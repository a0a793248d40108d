package escape_test

import (
	"net/http"
	"strings"
	"testing"
)

// forging has the means of code that has found the socket of its worker.
const forging = `
import json, os, sys, threading, time
CONTROL = 1000
def ident():
    for thing in __import__("gc").get_objects():
        if type(thing).__name__ == "Calls" and getattr(thing, "id", None): return thing.id
def forge(**fields):
    frame = dict(id=ident(), type="call", request=1, name="f", arguments={}, mark=0)
    frame["in"] = 0
    os.write(CONTROL, json.dumps(dict(frame, **fields)).encode() + b"\n")
`

// TestCalls: hostile code forges, floods and outlives calls to functions of its caller. Each program ends in one of
// the named ways, and the runner goes on with the next. Nobody answers a call.
func TestCalls(t *testing.T) { //nolint:paralleltest // the cases would disturb each other's clocks
	for _, level := range testedLevels() { //nolint:paralleltest // see above
		t.Run(level, func(t *testing.T) {
			k := startKaa(t, level, "")
			for _, tt := range []struct{ name, code, ends string }{
				{"a function that is not offered", "forge(name='g'); time.sleep(60)", "ProtocolError"},
				{"an answer to its own call", "threading.Thread(target=f, daemon=True).start(); time.sleep(.2)\nforge(type='reply', text='{}'); time.sleep(60)", "ProtocolError"},
				{"a number that was used", "forge(); forge(); time.sleep(60)", "ProtocolError"},
				{"arguments without an end", "while True: os.write(CONTROL, b'x' * 65536)", "ProtocolError"},
				{"a flood of forged calls", "for n in range(10**6): forge(request=n + 1)\ntime.sleep(60)", "ProtocolError"},
				{"a flood of forged calls that are given up", "for n in range(10**6):\n    forge(request=n + 1, arguments={'x': 'x' * 100_000}); forge(type='call_end', request=n + 1, value='timeout')\ntime.sleep(60)", "ProtocolError"},
				{"a flood of calls", "for _ in range(500):\n    try: threading.Thread(target=f, daemon=True).start()\n    except RuntimeError: break\ntime.sleep(60)", "KeyboardInterrupt"},
				{"a child that calls", "if not os.fork():\n    try: f()\n    except RuntimeError: os._exit(7)\nos._exit(os.waitstatus_to_exitcode(os.wait()[1])) if hasattr(os, 'waitstatus_to_exitcode') else os._exit(7)", "exit 7"},
				{"a child with the socket", "kept = os.dup(CONTROL)\nif not os.fork():\n    CONTROL = kept\n    while True: forge(request=-1)\ntime.sleep(60)", "ProtocolError"},
				{"after the end", "def later():\n    while True:\n        try: f()\n        except Exception: pass\nthreading.Thread(target=later, daemon=True).start()\nimport atexit; atexit.register(lambda: forge(request=9))", "ok KeyboardInterrupt ProtocolError"},
				{"without the socket", "threading.Thread(target=f, daemon=True).start(); time.sleep(.2)\nos.close(CONTROL)\ntry: f()\nexcept Exception: pass\ntime.sleep(60)", "KeyboardInterrupt exit ProtocolError"},
			} {
				var made struct {
					ID string `json:"id"`
				}
				timeout := 50 // a busy machine needs a while
				if strings.Contains(tt.ends, "KeyboardInterrupt") {
					timeout = 5
				}
				body := map[string]any{"code": forging + tt.code, "timeout": timeout, "functions": []map[string]any{{"name": "f"}}, "limits": map[string]any{"calls": 50, "callsAtOnce": 20}}
				if err := k.call(t.Context(), http.MethodPost, "/v1/jobs", body, &made); err != nil {
					t.Fatal(err)
				}
				var ended struct {
					State  string `json:"state"`
					Result struct {
						Status   string `json:"status"`
						ExitCode int    `json:"exitCode"`
						Error    struct {
							Name  string `json:"name"`
							Value string `json:"value"`
						} `json:"error"`
					} `json:"result"`
				}
				if err := k.call(t.Context(), http.MethodGet, "/v1/jobs/"+made.ID+"?wait=60s", nil, &ended); err != nil {
					t.Fatal(err)
				}
				r := ended.Result
				got := r.Error.Name
				if got == "" {
					got = r.Status
				}
				if tt.ends == "exit 7" && got == "exit" && r.ExitCode == 7 {
					got = "exit 7"
				}
				if ended.State != "completed" || !strings.Contains(tt.ends, got) {
					t.Errorf("%s: %+v, want %s", tt.name, ended, tt.ends)
				}
				if next, err := k.execute(t.Context(), map[string]any{"code": "print('alive')"}); err != nil || next.lastLine() != "alive" {
					t.Fatalf("after %s: %v %s", tt.name, err, next)
				}
			}
		})
	}
}
