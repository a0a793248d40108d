package job_test

import (
	"testing"
	"unicode/utf8"

	"github.com/kaa-run/kaa/internal/job"
)

// FuzzFile: whatever a file is called, it can be listed, and found by what is listed.
func FuzzFile(f *testing.F) {
	for _, path := range []string{"a", "dir/ü.csv", "\xff", `\xff`, "\\\xff\\x41", "\xc3", "a\nb", "\u2028", "\ufffd", "\\\\x\xff"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		file := job.NewFile(path, 0, "")
		if !utf8.ValidString(file.Path) || file.Escaped == utf8.ValidString(path) || file.Raw() != path {
			t.Errorf("%q is listed as %+v, which means %q", path, file, file.Raw())
		}
		files := []job.File{job.NewFile(path+"x", 0, ""), file}
		for _, asked := range []string{path, file.Path} {
			if i, ok := job.FindFile(files, asked); !ok || files[i].Raw() != path {
				t.Errorf("%q is not found by %q", path, asked)
			}
		}
	})
}

// TestFindFile: a file whose name is what another's is listed as is the one that is meant.
func TestFindFile(t *testing.T) {
	t.Parallel()
	files := []job.File{job.NewFile("\xff", 0, ""), job.NewFile(`\xff`, 0, "")}
	if i, ok := job.FindFile(files, `\xff`); i != 1 || !ok {
		t.Errorf("found %d, %v; want the one that is called so", i, ok)
	}
	if _, ok := job.FindFile(files, "other"); ok {
		t.Error("found what is not there")
	}
}

// TestKeys: the keys of a job's blobs tell whose they are, and no job's prefix is
// another's.
func TestKeys(t *testing.T) {
	t.Parallel()
	const id = "01890a5d-ac96-774b-bcce-b302099a8057"
	for _, key := range []string{job.InputKey(id, 3), job.OutputKey(id, 2, "dir/x"), job.OutputKey(id, 2, "dir/x") + ".18f.tmp"} {
		if got := job.OwnerOfKey(key); got != id {
			t.Errorf("%s is %q's", key, got)
		}
	}
	for _, key := range []string{"", "57/", "57/" + id, "58/" + id + ".in.0", id + ".in.0"} {
		if got := job.OwnerOfKey(key); got != "" {
			t.Errorf("%s is %q's", key, got)
		}
	}
}
