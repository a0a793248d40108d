package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/testenv"
)

// TestFileStorageOfKeys: what files take that come with jobs, are put into sessions or are left by code is
// bounded for each key. Beyond that new ones are refused or not kept, other keys go on, and files
// that have gone make room.
func TestFileStorageOfKeys(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t), "KAA_API_KEYS=one,two", "KAA_LOG_LEVEL=ERROR", "KAA_MAX_STORED_FILE_BYTES=1000000")
	k.startAll(1)
	k.key = "two"
	other := k.open(nil)
	k.key = "one"
	session := k.open(nil)
	k.in(session, "import os")
	files := func(size int) []fields { return []fields{{"path": "in", "content": strings.Repeat("x", size)}} }
	refused := func(what string, a answer) {
		t.Helper()
		if a.status != http.StatusTooManyRequests || a.str("code") != "key_file_storage_full" || a.header.Get("Retry-After") == "" || !strings.Contains(a.str("detail"), "DELETE") {
			t.Errorf("%s: %d %s", what, a.status, a.raw)
		}
	}

	left := k.execute(fields{"code": "for n in 'ab': open(n, 'w').write(n * 300_000)"})
	if left.status != http.StatusOK || len(listed(left, "files")) != 1 || !strings.Contains(left.raw, `"code":"files_dropped"`) ||
		!strings.Contains(left.str("filesDropped.reason"), "the files of this API key") || left.str("filesDropped.full") != "true" || left.str("filesDropped.first") == "" {
		t.Errorf("code that leaves too much: %d %s", left.status, left.raw)
	}
	refused("with a job", k.call(http.MethodPost, "/v1/jobs", fields{"code": "1", "files": files(250_000)}))
	refused("with an execution", k.call(http.MethodPost, executePath, fields{"code": "1", "files": files(250_000)}))
	refused("into a session", k.call(http.MethodPut, sessionsPath+"/"+session+"/files/in", strings.Repeat("x", 250_000), raw))
	// What a refused file had taken is given back after its answer.
	testenv.Eventually(t, "a small one has room", func() bool {
		e := k.call(http.MethodPost, executePath, fields{"code": "print(len(open('in').read()))", "files": files(10_000)})
		return e.status == http.StatusOK && e.str("stdout") == "10000\n"
	})
	k.in(session, "open('big', 'w').write('x' * 300_000); os.remove('big')")
	k.in(session, "open('out', 'w').write('x' * 300_000)") // not kept, but there
	refused("out of a session", k.call(http.MethodGet, sessionsPath+"/"+session+"/files/out", nil))

	k.key = "two"
	if a := k.call(http.MethodPut, sessionsPath+"/"+other+"/files/in", strings.Repeat("x", 200_000), raw); a.status != http.StatusOK {
		t.Errorf("another key's: %d %s", a.status, a.raw)
	}
	// What the file took on its way into the session is given back after the answer, too.
	testenv.Eventually(t, "another key's is read", func() bool {
		a := k.call(http.MethodGet, sessionsPath+"/"+other+"/files/in", nil)
		return a.status == http.StatusOK && len(a.raw) == 200_000
	})

	k.key = "one"
	kept := left.body["files"].([]any)[0].(map[string]any)["path"].(string)
	if a := k.call(http.MethodDelete, "/v1/jobs/"+left.str("jobId")+"/files/"+kept, nil); a.status != http.StatusNoContent {
		t.Fatalf("delete: %d %s", a.status, a.raw)
	}
	testenv.Eventually(t, "there is room again", func() bool {
		a := k.call(http.MethodGet, sessionsPath+"/"+session+"/files/out", nil)
		return a.status == http.StatusOK && len(a.raw) == 300_000
	})
}
