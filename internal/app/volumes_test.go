package app_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

const volumesPath = "/v1/volumes"

// describeTree prints all entries of the working directory, with what has to be the same after a restore.
const describeTree = `
import os, stat, hashlib
for top, dirs, files in sorted(os.walk('.')):
    for name in sorted(dirs + files):
        p = os.path.join(top, name)
        s = os.lstat(p)
        what = os.readlink(p) if stat.S_ISLNK(s.st_mode) else hashlib.sha1(open(p, 'rb').read()).hexdigest() if stat.S_ISREG(s.st_mode) and s.st_size < 1 << 20 and s.st_mode & 0o400 else s.st_size if stat.S_ISREG(s.st_mode) else ''
        print(ascii(p), oct(s.st_mode), s.st_nlink if stat.S_ISREG(s.st_mode) else '', s.st_mtime_ns, what)
print(open('hard1').read(), os.stat('hole').st_blocks < 100, os.stat('hole').st_size)
`

const makeTree = `
import os, socket
open('plain.txt', 'w').write('hello')
open(b'odd-\xff-name', 'w').write('odd')
os.makedirs('deep/er/est')
open('deep/er/est/x', 'wb').write(b'x' * 100_000)
os.chmod('plain.txt', 0o750)
os.symlink('/etc/passwd', 'out')
os.symlink('../../../../tmp', 'deep/up')
open('hard1', 'w').write('one')
os.link('hard1', 'deep/hard2')
with open('hole', 'wb') as f:
    f.seek(100 << 20); f.write(b'end')
open('secret', 'w').write('s'); os.chmod('secret', 0)
os.mkdir('closed'); open('closed/in', 'w').write('in'); os.chmod('closed', 0o500)
os.mkfifo('pipe')
os.utime('plain.txt', ns=(1, 1234567890123456789)); os.utime('deep', ns=(1, 1000000000000000001))
`

// persistent opens a session with a volume.
func (k *kaa) persistent(name string, more ...fields) string {
	k.tb.Helper()
	body := fields{"persist": name}
	for _, m := range more {
		maps.Copy(body, m)
	}
	a := k.call(http.MethodPost, sessionsPath, body)
	if a.status != http.StatusCreated || a.str("persist.name") != name {
		k.tb.Fatalf("open: %d %s", a.status, a.raw)
	}
	return a.str("id")
}

func (k *kaa) end(session string) {
	k.tb.Helper()
	if a := k.call(http.MethodDelete, sessionsPath+"/"+session, nil); a.status != http.StatusOK {
		k.tb.Fatalf("end: %d %s", a.status, a.raw)
	}
}

// volume waits until the volume is as it should be.
func (k *kaa) volume(name string, ok func(a answer) bool) answer {
	k.tb.Helper()
	var a answer
	testenv.Eventually(k.tb, "the volume is as it should be", func() bool {
		a = k.call(http.MethodGet, volumesPath+"/"+name, nil)
		return ok(a)
	})
	return a
}

// TestVolumes: a session finds the files that the last one with its volume has left, on another runner and in another tenant none.
func TestVolumes(t *testing.T) {
	t.Parallel()
	acme, rival := withTenants(t)
	first := acme.persistent("data:1")
	acme.in(first, makeTree)
	before := acme.in(first, describeTree)
	if a := acme.call(http.MethodPost, sessionsPath, fields{"persist": "data:1"}); a.status != http.StatusConflict || a.str("code") != "volume_in_use" || a.str("sessionId") != first {
		t.Errorf("a second writer: %d %s", a.status, a.raw)
	}
	if a := acme.call(http.MethodDelete, volumesPath+"/data:1", nil); a.status != http.StatusConflict || a.str("sessionId") != first {
		t.Errorf("delete one in use: %d %s", a.status, a.raw)
	}
	other := rival.persistent("data:1")
	if out := rival.in(other, "import os; print(os.listdir())"); out != "[]\n" {
		t.Errorf("another tenant finds %s", out)
	}
	acme.end(first)
	second := acme.persistent("data:1", fields{"workdir": "/home/user"})
	if after := acme.in(second, describeTree); !sameTree(before, after) {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	a := acme.call(http.MethodGet, sessionsPath+"/"+second, nil)
	if a.str("persist.savedAt") == "" || a.str("persist.skipped") != "1" || a.str("persist.error") != "" {
		t.Errorf("%s", a.raw)
	}
	if a := acme.call(http.MethodGet, sessionsPath+"/"+first, nil); !strings.Contains(a.str("message"), `its files are kept (persist: "data:1")`) {
		t.Errorf("%s", a.raw)
	}
	if a := acme.call(http.MethodPost, "/process/interpreter/execute", fields{"sessionId": first, "code": "1"}); a.status != http.StatusGone || a.str("persist") != "data:1" {
		t.Errorf("%d %s", a.status, a.raw)
	}
	acme.end(second)
	acme.volume("data:1", func(a answer) bool { return a.str("sessionId") == "" && a.str("expiresAt") != "" })
	if a := rival.call(http.MethodGet, volumesPath+"/data%3A1", nil); a.str("sessionId") != other {
		t.Errorf("%s", a.raw)
	}
	if a := acme.call(http.MethodGet, volumesPath, nil); strings.Count(a.raw, `"name"`) != 1 {
		t.Errorf("list: %s", a.raw)
	}
	if a := acme.call(http.MethodDelete, volumesPath+"/data:1", nil); a.status != http.StatusNoContent {
		t.Errorf("delete: %d %s", a.status, a.raw)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		if a := acme.call(method, volumesPath+"/data:1", nil); a.status != http.StatusNotFound {
			t.Errorf("%s after the deletion: %d %s", method, a.status, a.raw)
		}
	}
	for _, name := range []string{"", "-x", "a b", "ä", "a/b", strings.Repeat("x", 129)} {
		if a := acme.call(http.MethodPost, sessionsPath, fields{"persist": name}); a.status != http.StatusBadRequest {
			t.Errorf("%q: %d %s", name, a.status, a.raw)
		}
	}
}

// sameTree compares two descriptions, but for what is not kept.
func sameTree(before, after string) bool {
	var kept []string
	for line := range strings.Lines(before) {
		if !strings.HasPrefix(line, "'./pipe'") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "") == after
}

// TestVolumeOnAnotherRunner: a drain of a runner, by an operator or by a signal, keeps the files, and the 410 says where.
func TestVolumeOnAnotherRunner(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_ADMIN_KEYS="+adminOfTests)
	k.key = adminOfTests
	_, stop := k.run(app.RunRunner)
	session := k.persistent("work")
	k.in(session, "open('a', 'w').write('1')")
	busy := k.submit(fields{"sessionId": session, "code": "import time\nopen('b', 'w').write('2')\nprint('began', flush=True)\ntime.sleep(1)\nopen('c', 'w').write('3')"})
	testenv.Eventually(t, "the job runs", func() bool { return k.call(http.MethodGet, "/v1/jobs/"+busy, nil).str("state") == "running" })
	k.run(app.RunRunner)
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if a := k.call(http.MethodPost, "/process/interpreter/execute", fields{"sessionId": session, "code": "1"}); a.status != http.StatusGone || a.str("reason") != "drained" || a.str("persist") != "work" {
		t.Errorf("%d %s", a.status, a.raw)
	}
	next := k.persistent("work")
	if out := k.in(next, "import os; print(sorted(os.listdir()))"); out != "['a', 'b', 'c']\n" {
		t.Errorf("files: %s", out)
	}
	k.in(next, "open('d', 'w').write('4')")
	runner := k.call(http.MethodGet, sessionsPath+"/"+next, nil).str("runner")
	if a := k.call(http.MethodPost, "/v1/runners/"+runner+"/drain", fields{}); a.status != http.StatusOK {
		t.Errorf("drain: %d %s", a.status, a.raw)
	}
	k.volume("work", func(a answer) bool { return a.str("entries") == "4" && a.str("sessionId") == "" })
	k.wantEnded(next, "drained")
}
