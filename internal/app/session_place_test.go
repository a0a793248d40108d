package app_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestSessionWorkdir: a session has its files and HOME where it asks for them, also after a restart.
func TestSessionWorkdir(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_SANDBOX=strict")
	a := k.call(http.MethodPost, sessionsPath, fields{"workdir": "/home/user", "home": "/home/user/.h", "envs": fields{"A": "b"}})
	if a.status != http.StatusCreated || a.str("workdir") != "/home/user" || a.str("home") != "/home/user/.h" {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	id := a.str("id")
	const where = "import os\nprint(os.getcwd(), os.environ['HOME'], os.environ['A'])"
	for range 2 {
		if out := k.in(id, where); out != "/home/user /home/user/.h b\n" {
			t.Errorf("it is at %q", out)
		}
		if a := k.call(http.MethodPost, sessionsPath+"/"+id+"/restart", nil); a.status != http.StatusOK {
			t.Errorf("restart: %d %s", a.status, a.raw)
		}
	}
	if a := k.call(http.MethodPut, sessionsPath+"/"+id+"/files/in", "x", "Content-Type: application/octet-stream"); a.status >= http.StatusBadRequest {
		t.Errorf("put: %d %s", a.status, a.raw)
	}
	if out := k.in(id, "print(open('/home/user/in').read())"); out != "x\n" {
		t.Errorf("the file has %q", out)
	}
	if a := k.call(http.MethodPost, sessionsPath, fields{"workdir": "/work", "home": "/work"}); a.status != http.StatusCreated || a.str("workdir") != "" {
		t.Errorf("the usual ones: %d %s", a.status, a.raw)
	}
	for body, want := range map[string]string{
		`{"workdir": "home"}`:                                   "body.workdir: must be an absolute path",
		`{"workdir": "/home/../usr"}`:                           "body.workdir: must be an absolute path",
		`{"workdir": "/home/user/"}`:                            "body.workdir: must be an absolute path",
		`{"workdir": "/"}`:                                      "body.workdir: must be an absolute path",
		`{"workdir": "/proc/self"}`:                             "body.workdir: must be /work, or one of /app",
		`{"workdir": "/usr"}`:                                   "body.workdir: must be /work, or one of /app",
		`{"workdir": "/homes"}`:                                 "body.workdir: must be /work, or one of /app",
		`{"workdir": "/home/a\\u0000b"}`:                        "body.workdir: has characters that cannot be printed",
		`{"workdir": "/home` + strings.Repeat("/a", 17) + `"}`:  "body.workdir: is too long",
		`{"workdir": "/home/` + strings.Repeat("a", 300) + `"}`: "body.workdir: is too long",
		`{"workdir": "/home/user", "home": "/home"}`:            "body.home: must be the working directory (/home/user), or a directory in it or in /tmp",
		`{"home": "/root"}`:                                     "body.home: must be the working directory (/work)",
	} {
		if a := k.call(http.MethodPost, sessionsPath, strings.ReplaceAll(body, `\\u`, `\u`)); a.status != http.StatusBadRequest || !strings.Contains(a.str("detail"), want) {
			t.Errorf("%.60s: %d %.300s", body, a.status, a.raw)
		}
	}
}

// TestSessionWorkdirNeedsStrict: a Kaa without mount namespaces says so.
func TestSessionWorkdirNeedsStrict(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_SANDBOX=none")
	for _, body := range []fields{{"workdir": "/home/user"}, {"home": "/tmp/h"}} {
		if a := k.call(http.MethodPost, sessionsPath, body); a.status != http.StatusBadRequest || !strings.Contains(a.str("detail"), "needs a runner with the sandbox level strict") {
			t.Errorf("%v: %d %s", body, a.status, a.raw)
		}
	}
}
