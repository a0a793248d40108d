package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/testenv"
)

const raw = "Content-Type: application/octet-stream"

// TestSessionFiles follows files through a session: put there before its first execution,
// with an execution, by one, listed, fetched, changed and deleted.
func TestSessionFiles(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.open(nil)
	files := sessionsPath + "/" + id + "/files"
	binary := "\x00\xff\xfe binary"
	put := k.call("PUT", files+"/data/in%20put.bin", binary, raw)
	if put.status != 200 || put.str("path") != "data/in put.bin" || put.str("size") != "10" || put.str("url") != files+"/data/in%20put.bin" {
		t.Fatalf("put: %d %s", put.status, put.raw)
	}
	if list := k.call("GET", files, nil); !cmp.Equal(list.body["files"], any([]any{put.body})) || put.str("modified") == "" {
		t.Errorf("put answers %s, the list shows %s", put.raw, list.raw)
	}
	if a := k.call("PUT", files+"/empty", "", raw); a.status != 200 || a.str("size") != "0" {
		t.Errorf("put nothing: %d %s", a.status, a.raw)
	}
	a := k.execute(fields{
		"sessionId": id, "files": []fields{{"path": "mod.py", "content": "y = 42"}, {"path": "empty", "content": "not any more"}},
		"code": `
import os, mod
print(mod.y, len(open("data/in put.bin", "rb").read()), open("empty").read(), sorted(os.listdir()))
open("out.json", "w").write("[1]")
open(b"odd \xff\\?#%41.txt", "wb").write(b"odd")
os.symlink("/etc/passwd", "link")
`,
	})
	if a.str("stdout") != "42 10 not any more ['data', 'empty', 'mod.py']\n" {
		t.Fatalf("execute: %s", a.raw)
	}
	const odd = `odd \xff\\?#%41.txt`
	left := map[string]string{"out.json": "3 application/json", odd: "3 text/plain; charset=utf-8"}
	if diff := cmp.Diff(left, listed(a, "files")); diff != "" {
		t.Errorf("files of the result (-want +got):\n%s", diff)
	}
	if got := k.call("GET", "/v1/jobs/"+a.str("jobId")+"/files/out.json", nil); got.raw != "[1]" {
		t.Errorf("kept with the job: %d %q", got.status, got.raw)
	}
	if a := k.execute(fields{"sessionId": id, "code": "z = 1"}); a.str("status") != "ok" || a.body["files"] != nil || a.body["filesDropped"] != nil {
		t.Errorf("execution that changes nothing: %s", a.raw)
	}
	body, contentType := form(t, [3]string{"files", "form/ü.bin", "\xff\x00"}, [3]string{"files", "out.json", "[2]"})
	if a := k.call("POST", files, body, "Content-Type: "+contentType); a.status != 200 || len(listed(a, "files")) != 2 {
		t.Errorf("form: %d %s", a.status, a.raw)
	}
	want := map[string]string{
		"data/in put.bin": "10 text/plain; charset=utf-8", "empty": "12 text/plain; charset=utf-8", "mod.py": "6 text/x-python; charset=utf-8",
		"form/ü.bin": "2 text/plain; charset=utf-8", "out.json": "3 application/json", odd: "3 text/plain; charset=utf-8",
	}
	list := k.call("GET", files, nil)
	got := listed(list, "files")
	for path, description := range got { // types of binaries differ from one system to the next
		if strings.HasSuffix(path, ".bin") {
			got[path] = strings.SplitN(description, " ", 2)[0] + " text/plain; charset=utf-8"
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || list.body["nextCursor"] != nil {
		t.Errorf("listing %s (-want +got):\n%s", list.raw, diff)
	}
	var paged []string
	for cursor := ""; ; {
		page := k.call("GET", files+"?limit=2&cursor="+cursor, nil)
		for path := range listed(page, "files") {
			paged = append(paged, path)
		}
		if cursor = page.str("nextCursor"); cursor == "" || page.status != 200 || len(paged) > 10 {
			break
		}
	}
	if len(paged) != len(want) {
		t.Errorf("pages: %q", paged)
	}
	for _, f := range list.body["files"].([]any) {
		one := answer{body: f.(map[string]any)}
		if got := k.call("GET", one.str("url"), nil); got.status != 200 || fmt.Sprint(len(got.raw)) != one.str("size") || one.str("modified") == "" {
			t.Errorf("%s: %d %q", one.str("url"), got.status, got.raw)
		}
	}
	if got := k.call("GET", files+"/odd%20%5Cxff%5C%5C%3F%23%2541.txt", nil); got.raw != "odd" {
		t.Errorf("by its listed path: %d %q", got.status, got.raw)
	}
	part := k.call("GET", files+"/data/in%20put.bin", nil, "Range: bytes=0-2")
	if part.status != 206 || part.raw != binary[:3] || part.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("part: %d %q %v", part.status, part.raw, part.header)
	}
	if again := k.call("GET", files+"/data/in%20put.bin", nil, "If-None-Match: "+part.header.Get("ETag")); again.status != 304 {
		t.Errorf("again: %d %v", again.status, again.header)
	}
	for name, value := range map[string]string{"Range: bytes=900-": "416 range_not_satisfiable", "If-Match: \"other\"": "412 precondition_failed"} {
		if got := k.call("GET", files+"/mod.py", nil, name); fmt.Sprint(got.status, " ", got.str("code")) != value || got.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", name, got.status, got.raw)
		}
	}
	if head := k.call("HEAD", files+"/mod.py", nil); head.status != 200 || head.header.Get("Content-Length") != "6" {
		t.Errorf("HEAD: %d %v", head.status, head.header)
	}
	for _, path := range []string{"out.json", "data/in%20put.bin", "data", "link"} {
		if a := k.call("DELETE", files+"/"+path, nil); a.status != 204 {
			t.Errorf("delete %s: %d %s", path, a.status, a.raw)
		}
	}
	if out := k.in(id, "print(sorted(os.listdir()), open('/etc/passwd').read()[:4])"); !strings.HasPrefix(out, "['empty', 'form', 'mod.py', 'odd") {
		t.Errorf("left: %q", out)
	}
	testenv.Eventually(t, "only what the executions left is kept", func() bool { return len(blobsIn(t, k.blobs())) == 4 })
}

// TestSessionFileProblems: each mistake, and each state of session and directory, says what it is.
func TestSessionFileProblems(t *testing.T) {
	t.Parallel()
	k := start(t, 1, "KAA_MAX_UPLOADS=2", "KAA_MAX_UPLOAD_BYTES=100000", "KAA_MAX_FILE_UPLOAD_BYTES=100000", "KAA_MAX_RESULT_FILE_BYTES=1000")
	id := k.open(fields{"limits": fields{"diskBytes": 65536}})
	files := sessionsPath + "/" + id + "/files"
	k.in(id, "import os\nos.mkdir('dir'); open('dir/f', 'w').write('x')\nos.symlink('dir', 'link')\nopen('big', 'w').write('x' * 1001)")
	ended := k.open(nil)
	k.call("DELETE", sessionsPath+"/"+ended, nil)
	request := [3]string{"request", "", `{}`}
	file := [3]string{"files", "a", "x"}
	formOf := func(parts ...[3]string) (string, string) { return form(t, parts...) }
	withRequest, withRequestType := formOf(request, file)
	three, threeType := formOf(file, file, file)
	outside, outsideType := formOf([3]string{"files", "../a", "x"})
	for _, tt := range []struct {
		method, path, body, contentType string
		status                          int
		code, detail                    string
	}{
		{"GET", files + "/none", "", "", 404, "file_not_found", "none"},
		{"GET", files + "/", "", "", 404, "file_not_found", ""},
		{"GET", files + "/dir", "", "", 404, "file_not_found", ""},
		{"GET", files + "/..%2f..%2fetc/passwd", "", "", 404, "file_not_found", ""},
		{"GET", files + "/%00", "", "", 404, "file_not_found", ""},
		{"GET", files + "/link/f", "", "", 409, "refused", "link"},
		{"GET", files + "/big", "", "", 409, "file_too_large", "1001"},
		{"GET", files + "?cursor=!", "", "", 400, "invalid_request", "cursor"},
		{"GET", files + "?limit=2000", "", "", 400, "invalid_request", "limit"},
		{"DELETE", files + "/none", "", "", 404, "file_not_found", "none"},
		{"DELETE", files + "/dir", "", "", 409, "refused", "not empty"},
		{"DELETE", files + "/..", "", "", 404, "", ""},
		{"PUT", files + "/dir", "x", raw, 409, "refused", "is a directory"},
		{"PUT", files + "/link/x", "x", raw, 409, "refused", "link"},
		{"PUT", files + "/big/x", "x", raw, 409, "refused", "no directory"},
		{"PUT", files + "/", "x", raw, 400, "invalid_request", "path.path: is empty"},
		{"PUT", files + "//etc/passwd", "x", raw, 400, "invalid_request", "is absolute"},
		{"PUT", files + "/a%2f..%2f..%2fb", "x", raw, 400, "invalid_request", "files stay in the working directory"},
		{"PUT", files + "/%ff", "x", raw, 400, "invalid_request", ""},
		{"PUT", files + "/much", strings.Repeat("x", 100001), raw, 413, "body_too_large", "larger than 100000 bytes"},
		{"PUT", files + "/much", strings.Repeat("x", 90000), raw, 507, "disk_full", "limits.diskBytes"},
		{"POST", files, "{}", "application/json", 415, "unsupported_media_type", "multipart/form-data"},
		{"POST", files, withRequest, withRequestType, 400, "invalid_request", "has a part request"},
		{"POST", files, three, threeType, 400, "invalid_request", "more than 2 files"},
		{"POST", files, outside, outsideType, 400, "invalid_request", "files stay in the working directory"},
		{"GET", sessionsPath + "/" + ended + "/files", "", "", 410, "session_ended", "deleted"},
		{"GET", sessionsPath + "/" + ended + "/files/f", "", "", 410, "session_ended", "deleted"},
		{"PUT", sessionsPath + "/" + ended + "/files/f", "x", raw, 410, "session_ended", "deleted"},
		{"DELETE", sessionsPath + "/" + ended + "/files/f", "", "", 410, "session_ended", "deleted"},
		{"PUT", sessionsPath + "/01900000-0000-7000-8000-000000000000/files/f", "x", raw, 404, "session_not_found", ""},
		{"GET", sessionsPath + "/x/files", "", "", 404, "session_not_found", ""},
	} {
		var headers []string
		var body any
		if tt.contentType != "" {
			headers, body = append(headers, "Content-Type: "+strings.TrimPrefix(tt.contentType, "Content-Type: ")), tt.body
		}
		a := k.call(tt.method, tt.path, body, headers...)
		if a.status != tt.status || tt.code != "" && a.str("code") != tt.code || !strings.Contains(a.str("detail"), tt.detail) {
			t.Errorf("%s %s: %d %s; want %d %s with %q", tt.method, tt.path, a.status, a.raw, tt.status, tt.code, tt.detail)
		}
	}
	a := k.call(http.MethodPost, executePath, fields{"code": "1", "sessionId": id, "files": []fields{{"path": "dir", "content": "x"}}})
	if a.status != 409 || a.str("code") != "refused" {
		t.Errorf("execute with a file for a directory: %d %s", a.status, a.raw)
	}
	a = k.call(http.MethodPost, executePath, fields{"code": "1", "sessionId": id, "files": []fields{{"path": "f", "content": strings.Repeat("x", 90000)}}})
	if a.status != 507 || a.str("code") != "disk_full" {
		t.Errorf("execute with too large a file: %d %s", a.status, a.raw)
	}
	if out := k.in(id, "print(sorted(os.listdir()))"); out != "['big', 'dir', 'link']\n" {
		t.Errorf("left: %q", out)
	}
	testenv.Eventually(t, "only files of executions are kept: one that was left, two that came", func() bool { return len(blobsIn(t, k.blobs())) == 3 })
}

// TestSessionFilesBeside: files are put, listed, read and removed while code runs, and the code finds what was put. Files that came
// from outside are not those of an execution.
func TestSessionFilesBeside(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.open(nil)
	files := sessionsPath + "/" + id + "/files"
	running := k.submit(fields{"sessionId": id, "code": `
import os, time
open("own", "w").write("x")
while not os.path.exists("go"): time.sleep(0.01)
print(open("in").read())
`})
	k.submit(fields{"sessionId": id, "code": "open('own', 'w').write('y')"})
	testenv.Eventually(t, "the code runs, and its file can be read", func() bool { return k.call("GET", files+"/own", nil).raw == "x" })
	for _, name := range []string{"in", "off"} {
		if a := k.call("PUT", files+"/"+name, "hello", raw); a.status != 200 {
			t.Fatalf("put: %d %s", a.status, a.raw)
		}
	}
	if a := k.call("DELETE", files+"/off", nil); a.status != 204 {
		t.Errorf("remove: %d %s", a.status, a.raw)
	}
	if a := k.call("GET", files, nil); len(listed(a, "files")) != 2 {
		t.Errorf("list: %d %v", a.status, a.raw)
	}
	if a := k.call("PUT", files+"/go", "", raw); a.status != 200 {
		t.Fatalf("put: %d %s", a.status, a.raw)
	}
	a := k.await(running)
	if out := a.str("result.stdout"); out != "hello\n" {
		t.Errorf("the code ended with %s", a.raw)
	}
	if left := listed(a, "result.files"); len(left) != 1 || left["own"] == "" {
		t.Errorf("files of the execution: %v", left)
	}
}
