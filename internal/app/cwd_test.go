package app_test

import "testing"

// TestCwdOfCode: code begins in the directory that the request names.
func TestCwdOfCode(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	const look = "import os\nprint(os.path.relpath(os.getcwd(), os.environ['HOME']))"
	a := k.execute(fields{"code": look, "cwd": "sub", "files": []fields{{"path": "sub/f", "content": "x"}}})
	if a.str("stdout") != "sub\n" {
		t.Errorf("in a directory that came with it: %s", a.raw)
	}
	if a := k.execute(fields{"code": look, "cwd": "missing"}); a.str("status") != "error" || a.str("error.name") != "FileNotFoundError" {
		t.Errorf("none: %s", a.raw)
	}
	id := k.open(nil)
	k.in(id, "import os\nos.mkdir('sub')")
	if a := k.execute(fields{"code": look, "cwd": "sub", "sessionId": id}); a.str("stdout") != "sub\n" {
		t.Errorf("in a session: %s", a.raw)
	}
	if out := k.in(id, look); out != ".\n" {
		t.Errorf("the next one: %q", out)
	}
	job := k.await(k.submit(fields{"code": look, "cwd": "/tmp"}))
	if job.str("result.status") != "ok" {
		t.Errorf("a job: %s", job.raw)
	}
}
