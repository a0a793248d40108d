package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// logLines reads a log in JSON. A line that is anything else is a fault: a process that writes
// past its log is one that no collector understands.
func logLines(t *testing.T, log string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(log) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("not JSON: %q", line)
		}
		all = append(all, fields)
	}
	return all
}

// find returns the first line with a message for which all of want is so.
func find(lines []map[string]any, msg string, want fields) map[string]any {
	for _, line := range lines {
		if line["msg"] != msg {
			continue
		}
		matches := true
		for key, value := range want {
			matches = matches && line[key] == value
		}
		if matches {
			return line
		}
	}
	return nil
}

// awaitLine waits for a line: the access log's comes after the answer.
func (k *kaa) awaitLine(t *testing.T, msg string, want fields) (line map[string]any) {
	t.Helper()
	testenv.Eventually(t, msg, func() bool {
		line = find(logLines(t, k.logs.String()), msg, want)
		return line != nil
	})
	return line
}

const (
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceparent = "00-" + traceID + "-00f067aa0ba902b7-01"
)

// TestRequestID: one id joins the answer, the line of the call and the line of the job.
func TestRequestID(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	session := k.call(http.MethodPost, "/v1/sessions", fields{}).str("id")
	tests := []struct {
		name, method, path string
		body               any
		status             int
		line               fields // of the access log
		job                fields // of the job's line; nil if there is none
	}{
		{
			"a call", http.MethodPost, executePath,
			fields{"code": "print('hush-output')", "envs": fields{"A": "hush-env"}},
			http.StatusOK,
			fields{"route": executePath, "path": executePath, "method": "POST", "level": "INFO"},
			fields{"state": "completed", "status": "ok", "queue": "default", "exit_code": 0.0},
		},
		{
			"a job", http.MethodPost, "/v1/jobs",
			fields{"code": "import sys; sys.exit('hush-reason')"},
			http.StatusAccepted,
			fields{"route": "/v1/jobs"},
			fields{"state": "completed", "status": "exit", "exit_code": 1.0},
		},
		{
			"an execution of a session", http.MethodPost, executePath,
			fields{"code": "raise KeyError('hush-key')", "sessionId": session},
			http.StatusOK,
			fields{"session_id": session},
			fields{"session_id": session, "state": "completed", "status": "error"},
		},
		{
			"a limit", http.MethodPost, executePath,
			fields{"code": "while True: pass", "timeout": 0.2},
			http.StatusOK,
			fields{},
			fields{"state": "completed", "status": "interrupted", "limit": "timeout"},
		},
		{
			"a mistake that huma finds", http.MethodPost, executePath,
			fields{"code": 1},
			http.StatusBadRequest,
			fields{"problem": "invalid_request"},
			nil,
		},
		{"a problem", http.MethodGet, "/v1/jobs/" + session, nil, http.StatusNotFound, fields{"problem": "not_found", "route": "/v1/jobs/:id"}, nil},
		{"no route", http.MethodGet, "/hush", nil, http.StatusNotFound, fields{"problem": "no_such_route", "route": "unmatched"}, nil},
		{"a probe", http.MethodGet, "/healthz", nil, http.StatusOK, fields{"level": "DEBUG"}, nil},
	}
	for _, tt := range tests {
		id := "test." + strings.ReplaceAll(tt.name, " ", "-")
		a := k.call(tt.method, tt.path, tt.body, "X-Request-Id: "+id, "traceparent: "+traceparent, "tracestate: rojo=1,congo=2")
		if a.status != tt.status || a.header.Get("X-Request-Id") != id || a.header.Get("Traceparent") != traceparent || a.header.Get("Tracestate") != "rojo=1,congo=2" {
			t.Errorf("%s: %d %v %s", tt.name, a.status, a.header, a.raw)
		}
		tt.line["request_id"], tt.line["trace_id"], tt.line["status"] = id, traceID, float64(tt.status)
		line := k.awaitLine(t, "request", tt.line)
		if took, ok := line["duration_ms"].(float64); !ok || took < 0 || took > 60_000 || line["client"] != "127.0.0.1" {
			t.Errorf("%s: %v", tt.name, line)
		}
		if tt.job == nil {
			continue
		}
		tt.job["request_id"], tt.job["trace_id"], tt.job["job_id"] = id, traceID, line["job_id"]
		done := k.awaitLine(t, "job ended", tt.job)
		for _, key := range []string{"attempt", "queued_ms", "duration_ms", "cpu_ms", "peak_memory_bytes"} {
			if _, ok := done[key].(float64); !ok {
				t.Errorf("%s: the job's line has no %s: %v", tt.name, key, done)
			}
		}
	}
	if strings.Contains(strings.ReplaceAll(k.logs.String(), `"/hush"`, ""), "hush") {
		t.Errorf("the log shows code, output, a variable or an error of the code:\n%s", k.logs)
	}
}

// TestRequestIDOfStreams: what is not answered with JSON has it, too, and is in the log once it
// has ended.
func TestRequestIDOfStreams(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	stream := k.call(http.MethodPost, executePath, fields{"code": "print(1)"}, "Accept: text/event-stream", "X-Request-Id: stream-1")
	if stream.header.Get("X-Request-Id") != "stream-1" || !strings.Contains(stream.raw, "event: ") {
		t.Errorf("a stream: %v %s", stream.header, stream.raw)
	}
	k.awaitLine(t, "request", fields{"request_id": "stream-1", "status": 200.0})

	session := k.call(http.MethodPost, "/v1/sessions", fields{}).str("id")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, k.url+"/v1/sessions/"+session+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "X-Request-Id": "socket-1",
	} {
		req.Header.Set(name, value)
	}
	res, err := k.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("X-Request-Id") != "socket-1" {
		t.Errorf("a socket: %s %v", res.Status, res.Header)
	}
	_ = res.Body.Close()
	k.awaitLine(t, "request", fields{"request_id": "socket-1", "status": 101.0, "session_id": session})
}

// TestRequestIDOfStrangers: what comes before a key was checked is in the log, and cannot write
// into it.
func TestRequestIDOfStrangers(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_API_KEYS=key-of-the-first,key-of-the-second")
	for _, given := range []string{"", "two words", strings.Repeat("x", 129), "a\"b", "ä", "{}"} {
		a := k.call(http.MethodPost, executePath, fields{"code": "1"}, "X-Request-Id: "+given, "traceparent: 00-0-0-0", "tracestate: rojo=1")
		id := a.header.Get("X-Request-Id")
		if a.status != http.StatusUnauthorized || uuid.Validate(id) != nil || a.header.Get("Traceparent")+a.header.Get("Tracestate") != "" {
			t.Errorf("%q: %d %v", given, a.status, a.header)
		}
		line := k.awaitLine(t, "request", fields{"request_id": id, "problem": "unauthorized"})
		if line["caller"] != nil || line["trace_id"] != nil {
			t.Errorf("%v", line)
		}
	}
	k.key = "key-of-the-second"
	id := k.call(http.MethodGet, "/v1/runners", nil).header.Get("X-Request-Id")
	if caller, ok := k.awaitLine(t, "request", fields{"request_id": id})["caller"].(string); !ok || len(caller) != 16 {
		t.Errorf("the caller is %q, want a short digest", caller)
	}
	if strings.Contains(k.logs.String(), "key-of") {
		t.Errorf("a key is in the log:\n%s", k.logs)
	}
}

// TestQuietLogs: both lines can be switched off, and ids are there all the same.
func TestQuietLogs(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_ACCESS_LOG=false", "KAA_JOB_LOG=false")
	if id := k.execute(fields{"code": "1"}).header.Get("X-Request-Id"); uuid.Validate(id) != nil {
		t.Errorf("the id is %q", id)
	}
	k.await(k.submit(fields{"code": "1"}))
	for _, msg := range []string{"request", "job ended"} {
		if line := find(logLines(t, k.logs.String()), msg, nil); line != nil {
			t.Errorf("it logs %v", line)
		}
	}
}

// TestStartAndEnd: what a process is and how it is set is its first line, that it has ended its
// last, and no secret is in any.
func TestStartAndEnd(t *testing.T) {
	t.Parallel()
	redis := testenv.Redis(t)
	k := prepare(t, redis, "KAA_API_KEYS=hush-key-1,hush-key-2", "KAA_BLOB_URL=file://"+t.TempDir(), "KAA_MAX_TIMEOUT=2h")
	// A Redis without a password takes any.
	k.environ = k.environ.With("KAA_REDIS_URL", strings.Replace(redis.URL, "redis://", "redis://default:hush-password@", 1))
	for _, main := range []struct {
		process string
		stop    func() error
	}{{"api", second(k.run(app.RunAPI))}, {"runner", second(k.run(app.RunRunner))}} {
		if err := main.stop(); err != nil {
			t.Fatal(err)
		}
		lines := logLines(t, k.logs.String())
		begin := find(lines, "starting", fields{"process": main.process})
		set, ok := begin["set"].(map[string]any)
		if !ok || begin["api_keys"] != 2.0 || set["KAA_MAX_TIMEOUT"] != "2h" || set["KAA_API_KEYS"] != "***" || begin["version"] != app.Version() {
			t.Errorf("%s begins with %v", main.process, begin)
		}
		if end := find(lines, "stopped", fields{"process": main.process}); end == nil || end["duration_ms"] == nil {
			t.Errorf("%s ends with %v", main.process, lines[len(lines)-1])
		}
	}
	taking := find(logLines(t, k.logs.String()), "taking jobs", nil)
	if taking["sandbox"] == "" || taking["memory_control"] == "" || taking["python"] == "" {
		t.Errorf("%v", taking)
	}
	if strings.Contains(k.logs.String(), "hush") {
		t.Errorf("a secret is in the log:\n%s", k.logs)
	}
}

func second[A, B any](_ A, b B) B { return b }
