package app_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/testenv"
)

// TestDaytonaOpen: what is open to others than the holder of the key: signed URLs of files, previews, and what the shells of a
// sandbox leave of each other.
func TestDaytonaOpen(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t), "KAA_API_KEYS=one,two")
	k.startAll(1)
	const one, two = "Authorization: Bearer one", "Authorization: Bearer two"
	open := func(key string) (id, box string) {
		made := k.call(http.MethodPost, "/daytona/api/sandbox", "{}", key)
		box = strings.TrimPrefix(made.str("toolboxProxyUrl"), k.url) + "/" + made.str("id")
		return made.str("id"), box
	}
	id, box := open(one)
	other, otherBox := open(two)
	run := func(box, key, command string) string {
		a := k.call(http.MethodPost, box+"/process/execute", map[string]string{"command": command}, key)
		if a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", command, a.status, a.raw)
		}
		return a.str("result")
	}
	t.Run("signed URLs", func(t *testing.T) {
		t.Parallel()
		run(box, one, "echo secret >file")
		key := func(verb, path string) (text string) {
			a := k.call(verb, "/daytona/api/sandbox/"+id+path, "", one)
			if err := json.Unmarshal([]byte(a.raw), &text); err != nil || text == "" {
				t.Fatalf("%d %s", a.status, a.raw)
			}
			return text
		}
		first := key(http.MethodGet, "/signing-key")
		at := func(box, key, method, path string) string {
			q := url.Values{"path": {path}, "expires": {"0"}, "signature": {signedAs(key, method, path, "0")}}
			return box + map[string]string{http.MethodGet: "/files/download?", http.MethodPost: "/files/upload-v2?"}[method] + q.Encode()
		}
		if a := k.call(http.MethodGet, at(box, first, http.MethodGet, "file"), ""); a.status != http.StatusOK || a.raw != "secret\n" {
			t.Errorf("read: %d %s", a.status, a.raw)
		}
		if a := k.call(http.MethodPost, at(box, first, http.MethodPost, "put"), "new"); a.status != http.StatusOK || run(box, one, "cat put") != "new" {
			t.Errorf("write: %d %s", a.status, a.raw)
		}
		for name, path := range map[string]string{
			"another key": at(box, "x", http.MethodGet, "file"), "another file": strings.Replace(at(box, first, http.MethodGet, "file"), "path=file", "path=put", 1),
			"another sandbox": at(otherBox, first, http.MethodGet, "file"), "another holder": at(strings.Replace(box, "~", "~0", 1), first, http.MethodGet, "file"),
			"no holder":     at("/daytona/toolbox/"+id, first, http.MethodGet, "file"),
			"another route": strings.Replace(at(box, first, http.MethodGet, "file"), "/files/download", "/files", 1), "the ticket of another tenant": at(strings.Replace(box, id, other, 1), first, http.MethodGet, "file"),
		} {
			if a := k.call(http.MethodGet, path, ""); a.status != http.StatusUnauthorized {
				t.Errorf("%s: %d %s", name, a.status, a.raw)
			}
		}
		if fresh := key(http.MethodPost, "/signing-key/rotate"); fresh == first || fresh != key(http.MethodGet, "/signing-key") {
			t.Errorf("%s after %s", fresh, first)
		}
		if a := k.call(http.MethodGet, at(box, first, http.MethodGet, "file"), ""); a.status != http.StatusForbidden {
			t.Errorf("the key before: %d %s", a.status, a.raw)
		}
	})
	t.Run("previews", func(t *testing.T) {
		t.Parallel()
		k.preview(t, id, box, other)
	})
	t.Run("sockets", func(t *testing.T) {
		t.Parallel()
		k.sockets(t, box)
	})
	t.Run("a sandbox that ends", func(t *testing.T) {
		t.Parallel()
		k.ended(t)
	})
	t.Run("a session that ends", func(t *testing.T) {
		t.Parallel()
		shells := otherBox + "/process/session"
		line := func(command string) answer {
			return k.call(http.MethodPost, shells+"/s/exec", map[string]string{"command": command}, two)
		}
		k.call(http.MethodPost, shells, `{"sessionId": "s"}`, two)
		line("cd /tmp; V=5")
		if a := line("echo $V; pwd; exit 3"); a.status != http.StatusOK || a.str("stdout") != "5\n/tmp\n" || a.str("exitCode") != "3" {
			t.Errorf("%d %s", a.status, a.raw)
		}
		if a := line("echo"); a.status != http.StatusGone || a.str("code") != "SESSION_ENDED" {
			t.Errorf("%d %s", a.status, a.raw)
		}
		if a := k.call(http.MethodGet, shells+"/s", "", two); strings.Count(a.raw, `"exitCode"`) != 2 {
			t.Errorf("%d %s", a.status, a.raw)
		}
		k.call(http.MethodDelete, shells+"/s", "", two)
		if a := line("echo"); a.status != http.StatusNotFound || a.str("code") != "PROCESS_NOT_FOUND" {
			t.Errorf("%d %s", a.status, a.raw)
		}
	})
	t.Run("a line whose entry cannot be written", func(t *testing.T) {
		t.Parallel()
		k.call(http.MethodPost, box+"/process/session", `{"sessionId": "blocked"}`, one)
		run(box, one, "cd /tmp/.daytona/shells/* && rmdir open && touch open")
		a := k.call(http.MethodPost, box+"/process/session/blocked/exec", `{"command": "touch /tmp/ran"}`, one)
		if a.status != http.StatusConflict || run(box, one, "ls /tmp/ran 2>&1 || true") == "/tmp/ran\n" {
			t.Errorf("%d %s", a.status, a.raw)
		}
	})
}
