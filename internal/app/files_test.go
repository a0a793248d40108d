package app_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/testenv"
)

// listed are the paths, sizes and types in a result or a listing.
func listed(a answer, path string) map[string]string {
	files := map[string]string{}
	var v any = a.body
	for name := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return files
		}
		v = m[name]
	}
	list, _ := v.([]any)
	for _, f := range list {
		one := answer{body: f.(map[string]any)}
		files[one.str("path")] = one.str("size") + " " + one.str("type")
	}
	return files
}

// form makes a body of parts: the name of each, the filename if there is one, and what is in it.
func form(t *testing.T, parts ...[3]string) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		disposition := `form-data; name="` + p[0] + `"`
		if p[1] != "" {
			disposition += `; filename="` + p[1] + `"`
		}
		part, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {disposition}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(part, p[2]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), w.FormDataContentType()
}

// TestFiles follows files through an execution: in with the request, out with the result,
// fetched, and deleted.
func TestFiles(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	binary := "\x00\xff\xfe binary"
	a := k.call("POST", "/process/interpreter/execute", map[string]any{
		"code": `
data = open("data/in.bin", "rb").read()
print(open("note.txt").read(), len(data))
open("out.json", "w").write("[1, 2, 3]")
open("page.html", "w").write("<script>alert(1)</script>")
open(b"odd \xff\\?#%41.txt", "wb").write(data)
`,
		"files": []map[string]any{
			{"path": "note.txt", "content": "hé"},
			{"path": "data/in.bin", "contentBase64": base64.StdEncoding.EncodeToString([]byte(binary))},
		},
	})
	if a.status != 200 || a.str("stdout") != "hé 10\n" {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	const odd = `odd \xff\\?#%41.txt`
	want := map[string]string{
		"out.json": "9 application/json", "page.html": "25 text/html; charset=utf-8", odd: "10 text/plain; charset=utf-8",
	}
	if diff := cmp.Diff(want, listed(a, "files")); diff != "" {
		t.Errorf("files of the result (-want +got):\n%s", diff)
	}
	files := "/v1/jobs/" + a.str("jobId") + "/files"
	list := k.call("GET", files, nil)
	if diff := cmp.Diff(want, listed(list, "files")); diff != "" {
		t.Errorf("files of the listing (-want +got):\n%s", diff)
	}
	for _, f := range list.body["files"].([]any) {
		one := answer{body: f.(map[string]any)}
		if got := k.call("GET", one.str("url"), nil); got.status != 200 || (one.str("path") == odd) != (got.raw == binary) {
			t.Errorf("%s: %d %q", one.str("url"), got.status, got.raw)
		}
	}
	if got := k.call("GET", files+"/odd%20%5Cxff%5C%5C%3F%23%2541.txt", nil); got.raw != binary {
		t.Errorf("by its listed path: %d %q", got.status, got.raw)
	}
	page := k.call("GET", files+"/page.html", nil, "Range: bytes=0-7")
	if page.status != 206 || page.raw != "<script>" || page.header.Get("X-Content-Type-Options") != "nosniff" ||
		!strings.HasPrefix(page.header.Get("Content-Disposition"), "attachment") || !strings.HasPrefix(page.header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("part of a page: %d %q %v", page.status, page.raw, page.header)
	}
	for name, value := range map[string]string{"Range: bytes=900-": "416 range_not_satisfiable", "If-Match: \"other\"": "412 precondition_failed"} {
		if got := k.call("GET", files+"/page.html", nil, name); fmt.Sprint(got.status, " ", got.str("code")) != value || got.header.Get("Content-Type") != "application/problem+json" || got.header.Get("Content-Disposition") != "" {
			t.Errorf("%s: %d %s", name, got.status, got.raw)
		}
	}
	if head := k.call("HEAD", files+"/page.html", nil); head.status != 200 || head.header.Get("Content-Length") != "25" {
		t.Errorf("HEAD: %d %v", head.status, head.header)
	}
	batch := k.call("POST", "/v1/jobs:batch", map[string]any{"jobs": []map[string]any{
		{"code": "print(open('f').read())", "files": []map[string]any{{"path": "f", "content": "of a batch"}}},
		{"code": "1", "files": []map[string]any{{"path": "../f", "content": ""}}},
	}})
	entries, _ := batch.body["jobs"].([]any)
	if len(entries) != 2 || (answer{body: entries[1].(map[string]any)}).str("error.status") != "400" {
		t.Fatalf("batch: %d %s", batch.status, batch.raw)
	}
	if got := k.await((answer{body: entries[0].(map[string]any)}).str("id")); got.str("result.stdout") != "of a batch\n" {
		t.Errorf("job of a batch: %s", got.raw)
	}
	if del := k.call("DELETE", files+"/out.json", nil); del.status != 204 {
		t.Errorf("delete: %d %s", del.status, del.raw)
	}
	delete(want, "out.json")
	if diff := cmp.Diff(want, listed(k.call("GET", "/v1/jobs/"+a.str("jobId"), nil), "result.files")); diff != "" {
		t.Errorf("files after the deletion (-want +got):\n%s", diff)
	}
	for _, path := range []string{"/out.json", "/nothing", "/", "/..%2f..%2fetc/passwd", "/note.txt", "/%00"} {
		for _, method := range []string{"GET", "DELETE"} {
			if got := k.call(method, files+path, nil); got.status != 404 || got.str("code") != "file_not_found" {
				t.Errorf("%s %s: %d %s", method, path, got.status, got.raw)
			}
		}
	}
}

// TestForm: files come as they are in the parts of a form, too.
func TestForm(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	body, contentType := form(t, [3]string{"files", "dir/ü.bin", "\xff\x00"},
		[3]string{"request", "", `{"code": "print(open('dir/ü.bin', 'rb').read(), open('t').read())", "files": [{"path": "t", "content": "text"}]}`})
	got := k.call("POST", "/process/interpreter/execute", body, "Content-Type: "+contentType)
	if got.status != 200 || got.str("stdout") != "b'\\xff\\x00' text\n" || got.body["files"] != nil {
		t.Errorf("execute: %d %s", got.status, got.raw)
	}

	other, otherType := form(t, [3]string{"request", "", `{"code": "print(len(open('x').read()))"}`}, [3]string{"files", "x", "12345"})
	for range 2 {
		again, contentType := form(t, [3]string{"request", "", `{"code": "print(len(open('x').read()))"}`}, [3]string{"files", "x", "1234"})
		got = k.call("POST", "/v1/jobs", again, "Content-Type: "+contentType, "Idempotency-Key: form")
		if got.status != 202 {
			t.Fatalf("submit: %d %s", got.status, got.raw)
		}
	}
	if got.header.Get("Idempotent-Replayed") != "true" {
		t.Error("the same form made two jobs")
	}
	if got := k.call("POST", "/v1/jobs", other, "Content-Type: "+otherType, "Idempotency-Key: form"); got.status != 409 {
		t.Errorf("another file under the same key: %d %s", got.status, got.raw)
	}
	if got := k.call("GET", "/v1/jobs/"+got.str("id")+"?wait=30s", nil); got.str("result.stdout") != "4\n" {
		t.Errorf("job: %s", got.raw)
	}
	testenv.Eventually(t, "the blobs of refused and repeated requests are deleted", func() bool { return len(blobsIn(t, k.blobs())) == 3 })
}

// blobs is the directory where files are.
func (k *kaa) blobs() string {
	for _, v := range k.environ {
		if dir, ok := strings.CutPrefix(v, "KAA_BLOB_URL=file://"); ok {
			return dir
		}
	}
	return ""
}

// blobsIn lists the files in a directory of blobs.
func blobsIn(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return all
}

// TestBadFiles: what cannot be put in place is refused before anything is stored.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	k := start(t, 0, "KAA_MAX_UPLOADS=3", "KAA_MAX_UPLOAD_BYTES=100")
	file := func(path string) map[string]any { return map[string]any{"path": path, "content": "x"} }
	for want, files := range map[string][]map[string]any{
		"body.files[0].path: is empty":                            {file("")},
		"body.files[1].path: is absolute":                         {file("a"), file("/etc/passwd")},
		"files stay in the working directory":                     {file("a/../../b")},
		"contains a NUL byte":                                     {file("a\x00b")},
		"has an empty name":                                       {file("a//b")},
		"has an empty name between":                               {file("a/")},
		"has a name of 300 bytes":                                 {file(strings.Repeat("x", 300))},
		"is 1200 bytes long":                                      {file(strings.Repeat("x/", 600))},
		"is there already":                                        {file("a"), file("a")},
		"is there already, as another file's path or directory":   {file("a/b"), file("a")},
		"is a file already":                                       {file("a"), file("a/b")},
		"has 4 files, the limit is 3":                             {file("a"), file("b"), file("c"), file("d")},
		"is 101 bytes long in all":                                {{"path": "a", "content": strings.Repeat("x", 101)}},
		"send content (text) or contentBase64":                    {{"path": "a"}},
		"has content and contentBase64":                           {{"path": "a", "content": "", "contentBase64": ""}},
		"body.files[0].contentBase64: is not standard base64":     {{"path": "a", "contentBase64": "a"}},
		"body.files[0]: unexpected property: body.files[0].bytes": {{"path": "a", "content": "", "bytes": ""}},
	} {
		a := k.call("POST", "/v1/jobs", map[string]any{"code": "1", "files": files})
		if a.status != 400 || a.str("code") != "invalid_request" {
			t.Errorf("%s: %d %s", want, a.status, a.raw)
		}
		if !strings.Contains(a.str("detail"), want) && !strings.Contains(want, "unexpected") {
			t.Errorf("detail %q, want it to say %q", a.str("detail"), want)
		}
	}
	request := [3]string{"request", "", `{"code": "1"}`}
	for want, parts := range map[string][][3]string{
		"no part request":               {{"files", "a", "x"}},
		"two parts request":             {request, request},
		`a part "file"`:                 {request, {"file", "a", "x"}},
		"part request is not valid UTF": {{"request", "", "\xff"}},
		"more than 3 files":             {request, {"files", "a", ""}, {"files", "b", ""}, {"files", "c", ""}, {"files", "d", ""}},
		"files[0].path: is empty":       {request, {"files", "", "x"}},
		"is absolute":                   {request, {"files", "/a", "x"}},
	} {
		body, contentType := form(t, parts...)
		if a := k.call("POST", "/v1/jobs", body, "Content-Type: "+contentType); a.status != 400 || !strings.Contains(a.str("detail"), want) {
			t.Errorf("%d %q, want 400 with %q", a.status, a.str("detail"), want)
		}
	}
	body, contentType := form(t, request)
	for name, c := range map[string]struct {
		path, body, contentType string
		want                    int
	}{
		"cut off":       {"/v1/jobs", body[:len(body)-10], contentType, 400},
		"no boundary":   {"/v1/jobs", body, "multipart/form-data", 400},
		"not for batch": {"/v1/jobs:batch", body, contentType, 415},
	} {
		if a := k.call("POST", c.path, c.body, "Content-Type: "+c.contentType); a.status != c.want {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
	if left := blobsIn(t, k.blobs()); len(left) > 0 {
		t.Errorf("stored all the same: %v", left)
	}
}

// TestFileStoreAway: without the place for files, requests that bring some are told to
// come again, jobs whose files a runner cannot have fail as such, and executions that
// leave some lose those only.
func TestFileStoreAway(t *testing.T) {
	t.Parallel()
	k := prepare(t, testenv.Redis(t))
	occupied := filepath.Join(t.TempDir(), "occupied")
	if err := os.WriteFile(occupied, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	addr, _ := k.run(app.RunAPI)
	k.url = "http://" + addr.String()
	k.environ = append(k.environ, "KAA_BLOB_URL=file://"+occupied)
	k.run(app.RunRunner)
	request := map[string]any{"code": "print(1)", "files": []map[string]any{{"path": "a", "content": "x"}}}
	a := k.call("POST", "/process/interpreter/execute", request)
	if a.status != http.StatusServiceUnavailable || a.str("code") != "files_unavailable" || a.header.Get("Retry-After") == "" {
		t.Errorf("a runner without the files: %d %s", a.status, a.raw)
	}
	a = k.call("POST", "/process/interpreter/execute", map[string]any{"code": "print(open('f', 'w').write('four'))"})
	if a.status != 200 || a.str("stdout") != "4\n" || a.str("filesDropped.count") != "1" || a.str("filesDropped.reason") == "" {
		t.Errorf("a file that nobody can keep: %d %s", a.status, a.raw)
	}
	id := k.open(nil)
	files := sessionsPath + "/" + id + "/files"
	k.in(id, "x = open('f', 'w').write('four')")
	request["sessionId"] = id
	for name, a := range map[string]answer{
		"put":     k.call("PUT", files+"/a", "x", raw),
		"get":     k.call("GET", files+"/f", nil),
		"execute": k.call("POST", "/process/interpreter/execute", request),
	} {
		if a.status != http.StatusServiceUnavailable || a.str("code") != "files_unavailable" || a.header.Get("Retry-After") == "" {
			t.Errorf("%s in a session: %d %s", name, a.status, a.raw)
		}
	}
	if a := k.call("GET", files, nil); a.status != 200 || len(listed(a, "files")) != 1 {
		t.Errorf("list of a session's files: %d %s", a.status, a.raw)
	}
	if out := k.in(id, "print(x)"); out != "4\n" {
		t.Errorf("the session does not go on: %q", out)
	}
	delete(request, "sessionId")
	addr, _ = k.run(app.RunAPI)
	k.url = "http://" + addr.String()
	a = k.call("POST", "/v1/jobs", request)
	if a.status != http.StatusServiceUnavailable || a.str("code") != "unavailable" || !strings.Contains(a.str("detail"), "store of files") {
		t.Errorf("an API without a place: %d %s", a.status, a.raw)
	}
}
