package app_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"net/url"
	"strings"
	"testing"
)

// fsOf returns the paths of the operations on all files of a session.
func fsOf(id string) func(what string, query ...string) string {
	return func(what string, query ...string) string {
		values := url.Values{}
		for i := 0; i < len(query); i += 2 {
			values.Set(query[i], query[i+1])
		}
		return sessionsPath + "/" + id + "/fs/" + what + "?" + values.Encode()
	}
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestSessionFS: the operations on all files of a session, one after the other.
func TestSessionFS(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	id := k.open(nil)
	at := fsOf(id)
	const odd = "/tmp/d/odd \xff\\?#%.txt"
	for _, tt := range []struct {
		method, path, body, header string
		status                     int
		want                       map[string]string // fields of the answer
		raw                        string
	}{
		{method: "PUT", path: at("content", "path", "/work/a/b.txt"), body: "0123456789", status: 200, want: map[string]string{"path": "/work/a/b.txt", "size": "10", "mode": "0644", "owner": "user", "type": "file"}},
		{method: "PUT", path: at("content", "path", odd, "mode", "600"), body: "\xff", status: 200, want: map[string]string{"path": `/tmp/d/odd \xff\\?#%.txt`, "escaped": "true", "mode": "0600"}},
		{method: "GET", path: at("content", "path", odd), status: 200, raw: "\xff"},
		{method: "PUT", path: at("content", "path", "z"), body: gzipped(t, "unzipped"), header: "Content-Encoding: gzip", status: 200, want: map[string]string{"path": "/work/z", "size": "8"}},
		{method: "PUT", path: at("content", "path", "z"), body: "no gzip", header: "Content-Encoding: gzip", status: 400, want: map[string]string{"code": "invalid_request"}},
		{method: "PUT", path: at("content", "path", "z"), body: "x", header: "Content-Encoding: br", status: 415},
		{method: "GET", path: at("content", "path", "z"), status: 200, raw: "unzipped"},
		{method: "GET", path: at("content", "path", "a/b.txt"), header: "Range: bytes=2-4", status: 206, raw: "234"},
		{method: "GET", path: at("content", "path", "a/b.txt"), header: "Range: bytes=-3", status: 206, raw: "789"},
		{method: "GET", path: at("content", "path", "a/b.txt"), header: "Range: bytes=7-", status: 206, raw: "789"},
		{method: "GET", path: at("content", "path", "a/b.txt"), header: "Range: bytes=10-", status: 416, want: map[string]string{"code": "range_not_satisfiable"}},
		{method: "GET", path: at("content", "path", "a/b.txt"), header: "Range: bytes=0-1,3-4", status: 200, raw: "0123456789"},
		{method: "GET", path: at("entry", "path", "/work/a"), status: 200, want: map[string]string{"type": "directory", "mode": "0755"}},
		{method: "GET", path: at("entry", "path", "/work/none"), status: 404, want: map[string]string{"code": "file_not_found"}},
		{method: "GET", path: at("entry", "path", "/etc/passwd"), status: 403, want: map[string]string{"code": "file_access_denied"}},
		{method: "GET", path: at("content", "path", "a"), status: 409, want: map[string]string{"code": "is_a_directory"}},
		{method: "GET", path: at("content", "path", "/etc"), status: 409, want: map[string]string{"code": "is_a_directory"}},
		{method: "PUT", path: at("content", "path", "locked", "mode", "0444"), body: "x", status: 200, want: map[string]string{"mode": "0444"}},
		{method: "PUT", path: at("content", "path", "locked"), body: "y", status: 403, want: map[string]string{"code": "file_access_denied"}},
		{method: "DELETE", path: at("entry", "path", "locked"), status: 204},
		{method: "GET", path: at("entries", "path", "z"), status: 409, want: map[string]string{"code": "not_a_directory"}},
		{method: "GET", path: at("entry"), status: 400, want: map[string]string{"code": "invalid_request"}},
		{method: "PUT", path: at("content", "path", "z", "mode", "999"), body: "x", status: 400, want: map[string]string{"code": "invalid_request"}},
		{method: "PUT", path: at("content", "path", "z", "replace", "false"), body: "x", status: 409, want: map[string]string{"code": "file_exists"}},
		{method: "PUT", path: at("content", "path", "q/w", "parents", "false"), body: "x", status: 404, want: map[string]string{"code": "file_not_found"}},
		{method: "POST", path: at("directory", "path", "m/n"), status: 200, want: map[string]string{"path": "/work/m/n", "type": "directory"}},
		{method: "POST", path: at("directory", "path", "m/n"), status: 409, want: map[string]string{"code": "file_exists"}},
		{method: "POST", path: at("move", "from", "z", "to", "m/n/z"), status: 200, want: map[string]string{"path": "/work/m/n/z"}},
		{method: "POST", path: at("move", "from", "m/n/z", "to", "/tmp/z"), status: 200, want: map[string]string{"path": "/tmp/z", "size": "8"}},
		{method: "POST", path: at("copy", "from", "/tmp/z", "to", "deep/er/z", "parents", "true"), status: 200, want: map[string]string{"path": "/work/deep/er/z"}},
		{method: "POST", path: at("copy", "from", "/tmp/z", "to", "deep/er/z"), status: 409, want: map[string]string{"code": "file_exists"}},
		{method: "PATCH", path: at("entry", "path", "/tmp/z", "mode", "0700"), status: 200, want: map[string]string{"mode": "0700"}},
		{method: "DELETE", path: at("entry", "path", "m"), status: 409, want: map[string]string{"code": "directory_not_empty"}},
		{method: "DELETE", path: at("entry", "path", "m", "recursive", "true"), status: 204},
		{method: "DELETE", path: at("entry", "path", "m", "recursive", "true"), status: 404, want: map[string]string{"code": "file_not_found"}},
		{method: "DELETE", path: at("entry", "path", "m", "missing", "true"), status: 204},
		{method: "PUT", path: at("archive", "path", "/tmp/empty"), body: "no archive", status: 409, want: map[string]string{"code": "refused"}},
	} {
		headers := []string{raw}
		if tt.header != "" {
			headers = append(headers, tt.header)
		}
		var body any
		if tt.method == "PUT" {
			body = tt.body
		}
		a := k.call(tt.method, tt.path, body, headers...)
		if a.status != tt.status || tt.raw != "" && a.raw != tt.raw {
			t.Errorf("%s %s: %d %s, want %d %s", tt.method, tt.path, a.status, a.raw, tt.status, tt.raw)
		}
		for field, want := range tt.want {
			if got := a.str(field); got != want {
				t.Errorf("%s %s: %s is %s, want %s (%s)", tt.method, tt.path, field, got, want, a.raw)
			}
		}
	}
	if a := k.execute(fields{"sessionId": id, "code": "import os; print(sorted(os.listdir()), oct(os.stat('/tmp/z').st_mode), os.path.isfile(b'" + strings.ReplaceAll(odd, "\xff\\", `\xff\\`) + "'))"}); a.str("stdout") != "['a', 'deep'] 0o100700 True\n" {
		t.Errorf("code sees %s", a.raw)
	}
	testSessionFSPages(t, k, at)
	testSessionFSArchive(t, k, at)
	testSessionFSMany(t, k, at)
}

// testSessionFSMany writes several files with one request.
func testSessionFSMany(t *testing.T, k *kaa, at func(string, ...string) string) {
	t.Helper()
	body, kind := form(t, [3]string{"files", "/tmp/many/a", "A"}, [3]string{"files", "many b", "\xff"})
	for _, tt := range []struct {
		query  []string
		body   any
		header string
		status int
		want   string // paths of the answer, or its code
	}{
		{body: fields{"files": []any{fields{"path": "/tmp/many/c", "content": "é", "mode": "600"}, fields{"path": "many d", "contentBase64": "/w=="}}}, status: 200, want: "/tmp/many/c 0600 2, /work/many d 0644 1"},
		{body: body, header: "Content-Type: " + kind, status: 200, want: "/tmp/many/a 0644 1, /work/many b 0644 1"},
		{query: []string{"mode", "700", "replace", "false"}, body: fields{"files": []any{fields{"path": "many e", "content": ""}, fields{"path": "many d", "content": "new"}}}, status: 409, want: "file_exists"},
		{body: gzipped(t, `{"files": [{"path": "/tmp/many/z", "content": "zipped"}]}`), header: "Content-Encoding: gzip", status: 200, want: "/tmp/many/z 0644 6"},
		{body: gzipped(t, body), header: "Content-Encoding: gzip|Content-Type: " + kind, status: 200, want: "/tmp/many/a 0644 1, /work/many b 0644 1"},
		{body: `{"files": []}`, header: "Content-Encoding: gzip", status: 400, want: "invalid_request"},
		{body: gzipped(t, "{}")[:20], header: "Content-Encoding: gzip", status: 400, want: "invalid_request"},
		{body: gzipped(t, strings.Repeat(" ", 20<<20)), header: "Content-Encoding: gzip", status: 413, want: "body_too_large"},
		{body: gzipped(t, "\"\xff\""), header: "Content-Encoding: gzip", status: 400, want: "invalid_request"},
		{body: `{}`, header: "Content-Encoding: br", status: 415, want: "unsupported_media_type"},
		{body: fields{"files": []any{fields{"path": "x", "content": "", "contentBase64": ""}}}, status: 400, want: "invalid_request"},
		{body: fields{"files": []any{fields{"path": "x", "contentBase64": "?"}}}, status: 400, want: "invalid_request"},
		{body: fields{"files": []any{}}, status: 400, want: "invalid_request"},
		{body: fields{"files": []any{fields{"path": "/etc/many", "content": ""}}}, status: 403, want: "file_access_denied"},
		{body: nil, status: 415, want: "unsupported_media_type"},
	} {
		headers := []string{}
		if tt.header != "" {
			headers = strings.Split(tt.header, "|")
		}
		a := k.call("POST", at("content", tt.query...), tt.body, headers...)
		got := a.str("code")
		if entries, ok := a.body["entries"].([]any); ok {
			var all []string
			for _, e := range entries {
				entry := answer{body: e.(map[string]any)}
				all = append(all, entry.str("path")+" "+entry.str("mode")+" "+entry.str("size"))
			}
			got = strings.Join(all, ", ")
		}
		if a.status != tt.status || got != tt.want {
			t.Errorf("POST of %.200v: %d %s (%s), want %d %s", tt.body, a.status, got, a.raw, tt.status, tt.want)
		}
	}
	for name, want := range map[string]string{"/tmp/many/a": "A", "many b": "\xff", "/tmp/many/c": "é", "many d": "\xff", "many e": "", "/tmp/many/z": "zipped"} {
		if a := k.call("GET", at("content", "path", name), nil); a.status != 200 || a.raw != want {
			t.Errorf("%s: %d %q, want %q", name, a.status, a.raw, want)
		}
	}
}

func testSessionFSPages(t *testing.T, k *kaa, at func(string, ...string) string) {
	t.Helper()
	var paths []string
	for cursor := ""; ; {
		page := k.call("GET", at("entries", "path", "/work", "depth", "9", "limit", "2", "cursor", cursor), nil)
		entries, _ := page.body["entries"].([]any)
		for _, e := range entries {
			paths = append(paths, answer{body: e.(map[string]any)}.str("path"))
		}
		if cursor = page.str("nextCursor"); cursor == "" || len(entries) == 0 {
			break
		}
	}
	if got := strings.Join(paths, " "); got != "/work/a /work/a/b.txt /work/deep /work/deep/er /work/deep/er/z" {
		t.Errorf("pages: %s", got)
	}
}

func testSessionFSArchive(t *testing.T, k *kaa, at func(string, ...string) string) {
	t.Helper()
	packed := k.call("GET", at("archive", "path", "/work"), nil)
	if packed.status != 200 || packed.header.Get("Content-Type") != "application/x-tar" {
		t.Fatalf("%d %s", packed.status, packed.raw)
	}
	var names []string
	for r := tar.NewReader(strings.NewReader(packed.raw)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	if got := strings.Join(names, " "); got != "a/ a/b.txt deep/ deep/er/ deep/er/z" {
		t.Errorf("archive: %s", got)
	}
	for _, body := range []string{packed.raw, gzipped(t, packed.raw)} {
		if a := k.call("PUT", at("archive", "path", "/tmp/in"), body, raw); a.status != 200 || a.str("entries") != "5" || a.str("bytes") != "18" {
			t.Errorf("unpack: %d %s", a.status, a.raw)
		}
	}
	if a := k.call("PUT", at("archive", "path", "/tmp/in"), gzipped(t, packed.raw), raw, "Content-Encoding: gzip"); a.status != 200 {
		t.Errorf("unpack: %d %s", a.status, a.raw)
	}
	if a := k.call("PUT", at("archive", "path", "/work"), packed.raw, raw); a.status != 200 {
		t.Errorf("unpack over what is there: %d %s", a.status, a.raw)
	}
	if a := k.call("GET", at("content", "path", "/tmp/in/deep/er/z"), nil); a.raw != "unzipped" {
		t.Errorf("unpacked: %s", a.raw)
	}
}
