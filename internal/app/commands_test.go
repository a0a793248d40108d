package app_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestExecuteCommand: a command takes the place of code in each kind of request.
func TestExecuteCommand(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	for _, tt := range []struct {
		name string
		body fields
		want map[string]string
	}{
		{
			"a line",
			fields{"command": "echo out; echo err >&2; exit 3", "stdin": "in"},
			map[string]string{"status": "exit", "exitCode": "3", "stdout": "out\n", "stderr": "err\n", "error": "", "signal": ""},
		},
		{
			"a program",
			fields{"argv": []string{"sh", "-c", `cat; echo "$1 $A"; pwd`, "sh", "*"}, "stdin": "in\n", "envs": fields{"A": "ü"}, "cwd": "/tmp"},
			map[string]string{"status": "ok", "exitCode": "0", "stdout": "in\n* ü\n/tmp\n"},
		},
		{"the runtime's Python", fields{"command": "python3 -c 'print(6*7)'"}, map[string]string{"status": "ok", "stdout": "42\n"}},
		{"a signal", fields{"command": "kill -KILL $$"}, map[string]string{"status": "exit", "exitCode": "137", "signal": "SIGKILL", "error.name": "SIGKILL"}},
		{"no such program", fields{"argv": []string{"nonesuch"}}, map[string]string{"status": "exit", "exitCode": "127", "error.name": "FileNotFoundError"}},
		{"bytes", fields{"command": `printf 'a\377b'`}, map[string]string{"stdout": "a\uFFFDb"}},
		{"a timeout", fields{"command": "echo on; sleep 1000", "timeout": 1}, map[string]string{"status": "interrupted", "stdout": "on\n", "exitCode": ""}},
		{"a limit", fields{"command": "seq 100000", "limits": fields{"outputBytes": 1000}}, map[string]string{"status": "ok", "truncated.stderr": "0"}},
	} {
		a := k.execute(tt.body)
		for path, want := range tt.want {
			if got := a.str(path); got != want {
				t.Errorf("%s: %s = %q, want %q (%s)", tt.name, path, got, want, a.raw)
			}
		}
	}
	for name, body := range map[string]fields{
		"body.argv": {"command": "ls", "argv": []string{"ls"}}, "body.code": {"command": "ls", "code": "1"}, "body.args": {"command": "ls", "args": []string{"a"}},
		"body.cwd": {"code": "1", "cwd": "/t\x00mp"}, "body.command": {"command": strings.Repeat("x", 200_000)},
	} {
		if a := k.call(http.MethodPost, executePath, body); a.status != http.StatusBadRequest || !strings.Contains(a.raw, name+": ") {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
}

// TestCommandJobs: jobs, lines of batches and schedules may be commands, with files.
func TestCommandJobs(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.submit(fields{
		"command": "python3 -m unittest -q test_it 2>&1 | tail -n 1; tr a-z A-Z < in.txt > out.txt",
		"files": []fields{
			{"path": "sub/test_it.py", "content": "import unittest\nclass T(unittest.TestCase):\n  def test(self): self.assertEqual(6*7, 42)\n"},
			{"path": "sub/in.txt", "content": "text"},
		},
		"cwd": "sub",
	})
	ended := k.await(id)
	if ended.str("state") != "completed" || ended.str("result.status") != "ok" || ended.str("result.stdout") != "OK\n" || !strings.Contains(ended.raw, `"path":"sub/out.txt"`) {
		t.Errorf("%s", ended.raw)
	}
	if a := k.call(http.MethodGet, "/v1/jobs/"+id+"/files/sub/out.txt", nil); a.raw != "TEXT" {
		t.Errorf("out.txt: %d %s", a.status, a.raw)
	}

	live := k.executeLive(fields{"command": "echo one; echo two >&2; echo three"})
	streams, end := map[string]string{}, event{}
	for _, end = range live.all() {
		streams[end.str("stream")] += end.str("text")
	}
	// Each stream has its order. That of two pipes of a command is the order in which they are read.
	if streams["stdout"] != "one\nthree\n" || streams["stderr"] != "two\n" || end.brief() != "status completed ok" {
		t.Errorf("events: %q, at the end %s", streams, end.brief())
	}

	batch := k.batch("", `{"batch":{"defaults":{"timeout":30}}}`+"\n"+`{"command":"echo $((6*7))"}`+"\n"+`{"argv":["false"]}`+"\n"+`{"code":"print(1)"}`+"\n")
	k.awaitBatch(batch.str("id"), "completed")
	lines, _ := k.results(batch.str("id"), "", 0)
	if len(lines) != 3 {
		t.Errorf("results: %v", lines)
	}

	schedule := k.call(http.MethodPost, "/v1/schedules", fields{"cron": "0 0 29 2 *", "job": fields{"argv": []string{"echo", "due"}, "cwd": "/tmp"}})
	if schedule.status != http.StatusCreated {
		t.Fatalf("%d %s", schedule.status, schedule.raw)
	}
	shown := k.call(http.MethodGet, "/v1/schedules/"+schedule.str("id"), nil)
	if shown.str("job.argv") != "[echo due]" || shown.str("job.cwd") != "/tmp" || shown.str("job.code") != "" {
		t.Errorf("schedule: %s", shown.raw)
	}
	ran := k.call(http.MethodPost, "/v1/schedules/"+schedule.str("id")+"/run", nil)
	if end := k.await(ran.str("id")); end.str("result.stdout") != "due\n" {
		t.Errorf("run: %s", end.raw)
	}
}
