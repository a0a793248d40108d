package escape_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// swapping is a session's code that goes on after its execution: it puts links in the place of
// files and directories and takes them away again, as fast as it can.
const swapping = `
import os, threading
outside = %q
os.makedirs("a/sub")
for name in ("a/file", "a/private", "a/sub/file"): open(name, "w").write("inside")
os.symlink(outside, "b")
os.symlink("/", "c")
def forever(code):
    code = compile(code, "swap", "exec")
    while True:
        try: exec(code)
        except OSError: pass
for code in (
    "os.rename('a', 'd'); os.rename('b', 'a'); os.rename('a', 'b'); os.rename('d', 'a')",
    "os.rename('a/sub', 'a/dir'); os.symlink(outside, 'a/sub'); os.remove('a/sub'); os.rename('a/dir', 'a/sub')",
    "os.symlink(outside + '/private', 'a/new'); os.remove('a/new'); os.symlink('/proc/self/environ', 'a/x'); os.replace('a/x', 'a/file')",
    "os.mkfifo('a/new'); os.remove('a/new'); os.mkdir('a/new'); os.rmdir('a/new')",
): threading.Thread(target=forever, args=(code,), daemon=True).start()
`

// TestSessionFiles: while code does that, its caller lists, reads, writes and deletes the
// session's files, and executes, after which what changed is collected. He gets nothing of what is
// outside, and changes nothing there.
func TestSessionFiles(t *testing.T) { //nolint:paralleltest // the cases would disturb each other's clocks
	for _, level := range testedLevels() { //nolint:paralleltest // see above
		t.Run(level, func(t *testing.T) {
			o := newOutside(t)
			k := startKaa(t, level, o.secret)
			var session struct {
				ID string `json:"id"`
			}
			if err := k.call(t.Context(), http.MethodPost, "/v1/sessions", nil, &session); err != nil {
				t.Fatal(err)
			}
			inside := map[string]any{"sessionId": session.ID, "code": fmt.Sprintf(swapping, o.dir)}
			if r, err := k.execute(t.Context(), inside); err != nil || r.Status != "ok" {
				t.Fatalf("%v: %s", err, r)
			}
			files := "/v1/sessions/" + session.ID + "/files"
			got := map[int]int{}
			for i := range 60 {
				for _, path := range []string{"/a/file", "/a/private", "/a/sub/file", "/a/sub/private", "/b/private", "/c/etc/passwd", "/a/new"} {
					got[k.fetch(t, o, http.MethodGet, files+path, "")]++
				}
				for _, path := range []string{"/a/made", "/a/new", "/a/file", "/a/sub/made", "/b/made", "/b/file", "/a/sub/deep/made"} {
					got[k.fetch(t, o, http.MethodPut, files+path, "put")]++
					got[k.fetch(t, o, http.MethodDelete, files+path, "")]++
				}
				if i%10 == 0 {
					k.fetch(t, o, http.MethodGet, files, "")
					k.fetch(t, o, http.MethodPost, "/process/interpreter/execute", `{"code": "x = 1", "sessionId": "`+session.ID+`"}`)
				}
			}
			for status, n := range got {
				if status >= 500 {
					t.Errorf("%d times %d", n, status)
				}
			}
			if got[200] == 0 || got[409] == 0 {
				t.Errorf("answers by status: %v; the race does not happen", got)
			}
			o.check(t)
		})
	}
}

// fetch makes a request that must not answer with a secret, and returns its status.
func (k *kaa) fetch(t *testing.T, o *outside, method, path, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, k.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := k.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, foreign := range []string{o.secret, "KAA_TEST_SECRET", "root:x:"} {
		if bytes.Contains(raw, []byte(foreign)) {
			t.Errorf("%s %s: %s", method, path, clip(string(raw), 500))
		}
	}
	return res.StatusCode
}
