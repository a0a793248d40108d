package escape_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// traps makes what an operation on files may fall into.
const traps = `
import os
outside = %q
start = os.getcwd()
os.makedirs("t/deep")
os.mkfifo("t/fifo")
import socket
try: s = socket.socket(socket.AF_UNIX); s.bind("t/socket")
except OSError: pass # not at the level basic
for name, target in (("root", "/"), ("proc", "/proc/self/root"), ("environ", "/proc/self/environ"), ("fd", "/proc/self/fd/0"), ("dir", outside), ("private", outside + "/private"), ("zero", "/dev/zero"), ("circle", "circle"), ("up", "../" * 40 + "etc/passwd"), ("to-fifo", "fifo")):
    os.symlink(target, "t/" + name)
with open("t/sparse", "wb") as f:
    try: f.truncate(1 << 40)
    except OSError: f.truncate(250 << 20)
os.chdir("t/deep")
for _ in range(60):
    os.mkdir("d" * 200); os.chdir("d" * 200)
os.chdir(start)
`

// racing goes on after its execution: it swaps links into the place of what is read and written, also of files that Kaa is
// writing.
const racing = `
import threading
os.makedirs("a/sub")
for name in ("a/file", "a/private", "a/sub/file"): open(name, "w").write("inside")
os.symlink(outside, "b"); os.symlink("/", "c")
def forever(code):
    code = compile(code, "swap", "exec")
    while True:
        try: exec(code)
        except OSError: pass
for code in (
    "os.rename('a', 'd'); os.rename('b', 'a'); os.rename('a', 'b'); os.rename('d', 'a')",
    "os.rename('a/sub', 'a/dir'); os.symlink(outside, 'a/sub'); os.remove('a/sub'); os.rename('a/dir', 'a/sub')",
    "os.symlink(outside + '/private', 'a/x'); os.replace('a/x', 'a/file'); os.mkfifo('a/y'); os.replace('a/y', 'a/file'); open('a/z', 'w').write('inside'); os.replace('a/z', 'a/file')",
    "[(os.remove('a/' + n), os.symlink(outside + '/file', 'a/' + n)) for n in os.listdir('a') if n.startswith('.kaa-')]",
    "os.makedirs('v/w'); os.rename('v', 'u'); os.rmdir('u/w'); os.rmdir('u')",
    "open('a/grows', 'a').write('x' * 65536); os.path.getsize('a/grows') < 1 << 22 or os.remove('a/grows')",
): threading.Thread(target=forever, args=(code,), daemon=True).start()
`

// TestHostileFiles: a session's code makes traps for those who use its files by absolute path, and changes the files in
// the meantime. No answer has what is outside, nothing changes there, and no call hangs.
func TestHostileFiles(t *testing.T) { //nolint:paralleltest // the levels would disturb each other's clocks
	for _, level := range testedLevels() { //nolint:paralleltest // see above
		t.Run(level, func(t *testing.T) {
			o := newOutside(t)
			k := startKaa(t, level, o.secret)
			session := k.open(t)
			at := func(what string, query ...string) string {
				values := url.Values{}
				for i := 0; i < len(query); i += 2 {
					values.Set(query[i], query[i+1])
				}
				return "/v1/sessions/" + session + "/fs/" + what + "?" + values.Encode()
			}
			k.run(t, session, fmt.Sprintf(traps, o.dir))
			for _, tt := range []struct{ method, path, body string }{
				{"GET", at("content", "path", "/proc/self/environ"), ""},
				{"GET", at("content", "path", "/proc/1/root/etc/passwd"), ""},
				{"GET", at("entries", "path", "/proc"), ""},
				{"GET", at("entries", "path", "/"), ""},
				{"GET", at("archive", "path", "/etc"), ""},
				{"GET", at("content", "path", o.dir+"/file"), ""},
				{"PUT", at("content", "path", o.dir+"/file"), "put"},
				{"DELETE", at("entry", "path", o.dir+"/file"), ""},
				{"GET", at("content", "path", "t/proc/etc/passwd"), ""},
				{"GET", at("content", "path", "t/root/etc/passwd"), ""},
				{"GET", at("content", "path", "t/environ"), ""},
				{"GET", at("content", "path", "t/fd"), ""},
				{"GET", at("content", "path", "t/dir/file"), ""},
				{"GET", at("content", "path", "t/private"), ""},
				{"PUT", at("content", "path", "t/dir/file"), "put"},
				{"PUT", at("content", "path", "t/dir/made"), "put"},
				{"PUT", at("content", "path", "t/root/etc/made"), "put"},
				{"POST", at("directory", "path", "t/dir/made"), ""},
				{"PATCH", at("entry", "path", "t/private", "mode", "777"), ""},
				{"PATCH", at("entry", "path", "t/dir", "mode", "777"), ""},
				{"POST", at("move", "from", "t/dir/file", "to", "stolen"), ""},
				{"POST", at("copy", "from", "t/dir/file", "to", "stolen"), ""},
				{"POST", at("move", "from", "x", "to", "t/dir/x"), ""},
				{"DELETE", at("entry", "path", "t/dir/file"), ""},
				{"DELETE", at("entry", "path", "t/root/etc", "recursive", "true"), ""},
				{"GET", at("content", "path", "t/fifo"), ""},
				{"GET", at("content", "path", "t/to-fifo"), ""},
				{"GET", at("content", "path", "t/socket"), ""},
				{"GET", at("content", "path", "t/zero"), ""},
				{"GET", at("content", "path", "t/circle"), ""},
				{"GET", at("content", "path", "t/up"), ""},
				{"GET", at("content", "path", "/dev/zero"), ""},
				{"PUT", at("archive", "path", "t/dir"), "no archive"},
				{"PUT", at("archive", "path", "/etc"), "no archive"},
				{"POST", at("copy", "from", "t/fifo", "to", "t/fifo-2"), ""},
				{"GET", at("watch", "path", "/", "recursive", "true"), ""},
				{"GET", at("watch", "path", "/proc"), ""},
				{"GET", at("watch", "path", "/proc/self/fd"), ""},
				{"GET", at("watch", "path", "/dev", "recursive", "true"), ""},
				{"GET", at("watch", "path", "/etc"), ""},
				{"GET", at("watch", "path", o.dir), ""},
				{"GET", at("watch", "path", "t/root", "recursive", "true"), ""},
				{"GET", at("watch", "path", "t/proc"), ""},
				{"GET", at("watch", "path", "t/dir"), ""},
				{"GET", at("watch", "path", "t/circle"), ""},
				{"GET", at("watch", "path", "t/fifo"), ""},
				{"GET", at("watch", "path", "t/up"), ""},
			} {
				if status := k.fetch(t, o, tt.method, tt.path, tt.body); status < 400 || status >= 500 {
					t.Errorf("%s %s: %d, want a refusal", tt.method, tt.path, status)
				}
			}
			// What is large, or deep, is refused or done, and takes no memory that the limits do not allow.
			for _, tt := range []struct{ method, path, body string }{
				{"GET", at("content", "path", "t/sparse"), ""},
				{"POST", at("copy", "from", "t/sparse", "to", "t/sparse-2"), ""},
				{"GET", at("archive", "path", "t"), ""},
				{"GET", at("entries", "path", "t", "depth", "200"), ""},
				{"DELETE", at("entry", "path", "t", "recursive", "true"), ""},
			} {
				if status := k.fetch(t, o, tt.method, tt.path, tt.body); status >= 500 && status != http.StatusInsufficientStorage {
					t.Errorf("%s %s: %d", tt.method, tt.path, status)
				}
			}
			k.run(t, session, racing)
			got := map[int]int{}
			for range 25 {
				for _, path := range []string{"a/file", "a/private", "a/sub/file", "a/sub/private", "b/private", "c/etc/passwd", "a/grows"} {
					got[k.fetch(t, o, "GET", at("content", "path", path), "")]++
				}
				for _, path := range []string{"a/made", "a/file", "a/sub/made", "b/made", "b/file", "a/sub/deep/made"} {
					got[k.fetch(t, o, "PUT", at("content", "path", path), "put")]++
					got[k.fetch(t, o, "PATCH", at("entry", "path", path, "mode", "755"), "")]++
					got[k.fetch(t, o, "DELETE", at("entry", "path", path), "")]++
				}
				got[k.fetch(t, o, "GET", at("archive", "path", "a"), "")]++
				got[k.fetch(t, o, "GET", at("entries", "path", "/work", "depth", "9"), "")]++
				got[k.fetch(t, o, "POST", at("copy", "from", "a", "to", "/tmp/copy"), "")]++
				got[k.fetch(t, o, "DELETE", at("entry", "path", "/tmp/copy", "recursive", "true"), "")]++
			}
			k.watchRace(t, o, at, got)
			for status, n := range got {
				if status >= 500 && status != http.StatusInsufficientStorage {
					t.Errorf("%d times %d", n, status)
				}
			}
			if got[200] == 0 || got[403] == 0 {
				t.Errorf("answers by status: %v; the race does not happen", got)
			}
			o.check(t)
		})
	}
}

// watchRace watches directories that links take the place of, and others that vanish. No event is of what is outside, and each
// watch has an answer.
func (k *kaa) watchRace(t *testing.T, o *outside, at func(string, ...string) string, got map[int]int) {
	t.Helper()
	for i := range 12 {
		path := []string{"a", "a/sub", "v", "b"}[i%4]
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 150*time.Millisecond)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url+at("watch", "path", path, "recursive", "true"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := k.client.Do(req); err == nil {
			trace := filepath.Join(o.dir, "kaa-outside")
			if err := os.WriteFile(trace, nil, 0o600); err != nil {
				t.Error(err)
			}
			if err := os.Remove(trace); err != nil {
				t.Error(err)
			}
			text, _ := io.ReadAll(res.Body) // until the time is up
			_ = res.Body.Close()
			got[res.StatusCode]++
			if strings.Contains(string(text), "kaa-outside") {
				t.Errorf("the watch of %s shows what is outside: %s", path, text)
			}
		}
		cancel()
	}
}

// run has a session execute code, which must not fail.
func (k *kaa) run(t *testing.T, session, code string) {
	t.Helper()
	if r, err := k.execute(t.Context(), map[string]any{"sessionId": session, "code": code}); err != nil || r.Status != "ok" {
		t.Fatalf("%v: %s", err, r)
	}
}
