package jsonfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kaa-run/kaa/internal/jsonfile"
)

// TestRead: what is no object, says too much or says something twice is refused, with its place, and with no word of a secret file.
func TestRead(t *testing.T) {
	t.Parallel()
	const word = "hunter2"
	for _, tt := range []struct{ text, open, secret string }{
		{`{"name": "a", "list": [{"name": "name"}, {"name": "list"}]}`, "", ""},
		{`{}`, "", ""},
		{` null `, "", ""},
		{``, "it ends before its object does", "it ends before its object does"},
		{`{"name": `, "it ends before its object does", "it ends before its object does"},
		{`[]`, "line 1: it is no object", "line 1: it is no object"},
		{"{\n\"name\": hunter2}", "line 2 is not JSON", "line 2 is not JSON"},
		{"{\n\n\"name\": 7}", "line 3: field name has another type", "line 3: field name has another type"},
		{`{"hunter2": 1}`, `unknown field "hunter2"; it has name and list`, "it has an unknown field; it has name and list"},
		{`{"list": [{"hunter2": 1}]}`, `unknown field "hunter2"; it has`, "it has an unknown field; it has"},
		{"{\"name\": \"a\"\n} x", "line 2: text after the object", "line 2: text after the object"},
		{`{} {}`, "line 1: text after the object", "line 1: text after the object"},
		{`{} }`, "line 1: text after the object", "line 1: text after the object"},
		{"{\"name\": \"a\",\n\"Name\": \"b\"}", `line 2: field "Name" occurs twice`, "line 2: a field occurs twice"},
		{`{"list": [{"name": "a"}, {"name": "a", "name": "b"}]}`, `field "name" occurs twice`, "a field occurs twice"},
		{`{"name": "` + strings.Repeat("x", 200) + `"}`, "larger than 200 bytes", "larger than 200 bytes"},
	} {
		path := filepath.Join(t.TempDir(), "file.json")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, secret := range []bool{false, true} {
			type one struct {
				Name string `json:"name"`
			}
			var into struct {
				Name string `json:"name"`
				List []one  `json:"list"`
			}
			want := tt.open
			if secret {
				want = tt.secret
			}
			err := jsonfile.Format{Most: 200, Fields: "it has name and list", Secret: secret}.Read(path, &into)
			if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path)) {
				t.Errorf("%.40s: %v, want %q", tt.text, err, want)
			}
			if secret && err != nil && strings.Contains(err.Error(), word) {
				t.Errorf("%.40s: shown: %v", tt.text, err)
			}
		}
	}
}

// TestReadOfAnotherKind: what is no file with text is refused, and not waited for.
func TestReadOfAnotherKind(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{pipe: "not a regular file", t.TempDir(): "not a regular file", "/dev/zero": "not a regular file", "/nonexistent/file": "no such file"} {
		if err := (jsonfile.Format{Most: 10}).Read(path, new(struct{})); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
