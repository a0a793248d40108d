package sandboxfs_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/job"
)

// python returns a script of the shell that sets attributes of a file, which are lines of Python.
func python(lines string) string { return "python3 - <<'END'\nimport os\n" + lines + "\nEND\n" }

// TestAttributes: a file gets attributes with its content, and shows them with those that the code sets.
func TestAttributes(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	needAttributes(t, tr)
	given := map[string]string{"user.e2b.a": "1", "user.other": ""}
	e, err := tr.Write(t.Context(), "d/f", job.WriteOptions{Mode: 0o444, Attributes: given}, strings.NewReader("x"))
	if diff := gocmp.Diff(given, e.Attributes); diff != "" || err != nil {
		t.Fatalf("written: %s, %v", diff, err)
	}
	tr.code(t, "chmod 644 d/f\n"+python(`os.setxattr("d/f", "user.e2b.code", "é".encode()); os.setxattr("d", "user.dir", b"2")`))
	want := map[string]string{"user.e2b.a": "1", "user.other": "", "user.e2b.code": "é"}
	for name, of := range map[string]map[string]string{"d/f": want, "d": {"user.dir": "2"}} {
		e, err := tr.Stat(name)
		if diff := gocmp.Diff(of, e.Attributes); diff != "" || err != nil || e.MoreAttributes {
			t.Errorf("%s: %s, %v", name, diff, err)
		}
	}
	page, err := tr.List(t.Context(), "", job.EntryListing{Depth: 2, Limit: 9})
	if err != nil || len(page.Entries) != 2 {
		t.Fatalf("%+v, %v", page, err)
	}
	if diff := gocmp.Diff([]map[string]string{{"user.dir": "2"}, want}, []map[string]string{page.Entries[0].Attributes, page.Entries[1].Attributes}); diff != "" {
		t.Errorf("listed: %s", diff)
	}
	if e, err = tr.Copy(t.Context(), "d/f", "g", false, false); err != nil || gocmp.Diff(want, e.Attributes) != "" {
		t.Errorf("copied: %v, %v", e.Attributes, err)
	}
	tr.put(t, "d/f", "new")
	if e, err = tr.Stat("d/f"); err != nil || e.Attributes != nil {
		t.Errorf("replaced: %v, %v", e.Attributes, err)
	}
}

func needAttributes(t *testing.T, tr *tree) {
	t.Helper()
	if err := unix.Setxattr(tr.top, "user.test", nil, 0); err != nil {
		t.Skipf("the file system has no attributes: %v", err)
	}
}

// TestWrongAttributes: what is no attribute of users, or too much, is refused before anything is written. The runner may be root,
// for which the kernel would allow it.
func TestWrongAttributes(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.put(t, "f", "old")
	many := map[string]string{}
	for i := range job.MaxAttributes + 1 {
		many[fmt.Sprint("user.", i)] = ""
	}
	for name, all := range map[string]map[string]string{
		"a capability":  {"security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		"a trusted one": {"trusted.x": "1"}, "an access list": {"system.posix_acl_access": "1"}, "upper case": {"USER.x": "1"},
		"no name": {"user.": "1"}, "no prefix": {"x": "1"}, "nothing": {"": "1"}, "a zero": {"user.x\x00": "1"},
		"a long name": {"user." + strings.Repeat("x", 251): "1"}, "many": many, "a large one": {"user.x": strings.Repeat("x", job.MaxAttributeBytes)},
	} {
		if _, err := tr.Write(t.Context(), "f", job.WriteOptions{Attributes: all}, strings.NewReader("new")); codeOf(err) != "refused:refused" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text, err := tr.get(t, "f"); text != "old" || err != nil {
		t.Errorf("%s, %v", text, err)
	}
	if left, _ := filepath.Glob(tr.top + "/work/.kaa-*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestHostileAttributes: code sets more than is shown, and leads to files that are not its own.
func TestHostileAttributes(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	needAttributes(t, tr)
	tr.make(t, "chmod 700 outside\n"+python(`os.setxattr("outside/secret", "user.secret", b"1")`)+"\nchmod 0 outside")
	tr.code(t, "ln -s /outside/secret out; ln -s ../outside/secret out2; ln -s many link; touch many bytes shut\n"+python(`
for i in range(80): os.setxattr("many", "user.%d" % i, b"")
os.setxattr("bytes", "user.bytes", b"\xff"); os.setxattr("bytes", "user.text", b"1")
os.setxattr("shut", "user.shut", b"1"); os.chmod("shut", 0)`))
	page, err := tr.List(t.Context(), "", job.EntryListing{Depth: 1, Limit: 9})
	if err != nil || len(page.Entries) != 6 {
		t.Fatalf("%+v, %v", page, err)
	}
	for _, listed := range page.Entries {
		e, err := tr.Stat(listed.Path)
		if err != nil {
			t.Error(err)
		}
		want, more := 0, false
		switch filepath.Base(e.Path) {
		case "many":
			want, more = job.MaxAttributes, true
		case "bytes":
			want, more = 1, true
		}
		for _, e := range []job.Entry{e, listed} {
			if len(e.Attributes) != want || e.MoreAttributes != more {
				t.Errorf("%s: %v, %v", e.Path, e.Attributes, e.MoreAttributes)
			}
		}
	}
	tr.checkOutside(t)
}
