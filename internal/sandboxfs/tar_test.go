package sandboxfs_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const room = 8 << 20

// archive makes a tar stream. A header without a size has its content's.
func archive(t *testing.T, entries ...tarEntry) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.h
		h.Format = tar.FormatGNU
		if h.Typeflag == 0 {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(e.content))
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

type tarEntry struct {
	h       tar.Header
	content string
}

func file(name, content string) tarEntry { return tarEntry{tar.Header{Name: name}, content} }

// linkTo is a symbolic link with the name l.
func linkTo(target string) tarEntry {
	return tarEntry{h: tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: target}}
}

// TestPack: what comes down is what goes up again, with the system's tar as the judge.
func TestPack(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.code(t, `mkdir -p src/a/b src/empty; echo one > src/a/1; echo two > src/a/b/2; chmod 750 src/a/b/2; ln -s ../a src/a/link; mkfifo src/pipe; touch "$(printf 'src/z\377')"; touch src/`+strings.Repeat("n", 200))
	var b bytes.Buffer
	if err := tr.Pack(t.Context(), "src", room, &b); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if err := os.WriteFile(out+"/x.tar", b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	sh(t, out, "mkdir x; tar -C x -xf x.tar", nil)
	const show = `cd %s; LC_ALL=C find . -mindepth 1 -printf '%%p %%y %%m %%l\n' | sort; cat a/1 a/b/2`
	want := sh(t, tr.top, "rm work/src/pipe;"+fmt.Sprintf(show, "work/src"), nil)
	if diff := cmp.Diff(want, sh(t, out, fmt.Sprintf(show, "x"), nil)); diff != "" {
		t.Error(diff)
	}
	for name, stream := range map[string]io.Reader{"plain": bytes.NewReader(b.Bytes()), "zipped": zipped(t, b.Bytes())} {
		if n, size, err := tr.Unpack(t.Context(), "copies/"+name, room, stream); err != nil || n != 8 || size != 8 {
			t.Errorf("%s: %d, %d, %v", name, n, size, err)
		}
		if diff := cmp.Diff(want, sh(t, tr.top, fmt.Sprintf(show, "work/copies/"+name), nil)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if err := tr.Pack(t.Context(), "src", 5, io.Discard); codeOf(err) != "refused:file_too_large" {
		t.Error(err)
	}
	tr.code(t, "truncate -s 1T src/hole")
	if err := tr.Pack(t.Context(), "src", room, io.Discard); codeOf(err) != "refused:file_too_large" {
		t.Error(err)
	}
}

func zipped(t *testing.T, data []byte) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// TestUnpackHostile: an archive that would leave its directory, or use up what it may not, is refused with
// what is wrong with it.
func TestUnpackHostile(t *testing.T) {
	t.Parallel()
	many := make([]tarEntry, 0, 50_001)
	for range cap(many) {
		many = append(many, tarEntry{h: tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755}})
	}
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		content io.Reader
		want    string // the refusal
		has     string // in its message
		left    string // what is in the directory then
	}{
		"absolute":         {content: archive(t, file("ok", "x"), file("/etc/x", "y")), want: "refused", has: "/etc/x", left: "ok"},
		"dots":             {content: archive(t, file("a/../../x", "y")), want: "refused", has: ".."},
		"by its own link":  {content: archive(t, linkTo("/tmp"), file("l/x", "y")), want: "refused", has: "through a link", left: "l"},
		"by a link inside": {content: archive(t, file("d/f", "x"), linkTo("d"), file("l/x", "y")), want: "refused", has: "through a link", left: "d d/f l"},
		"over its link":    {content: archive(t, linkTo("/tmp/x"), file("l", "y")), left: "l"},
		"a hard link out":  {content: archive(t, tarEntry{h: tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "../outside/secret"}}), want: "refused", has: "leads through"},
		"a hard link":      {content: archive(t, file("f", "x"), tarEntry{h: tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "f"}}), left: "f h"},
		"a device":         {content: archive(t, tarEntry{h: tar.Header{Name: "n", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}), want: "refused", has: "type"},
		"a pipe":           {content: archive(t, tarEntry{h: tar.Header{Name: "p", Typeflag: tar.TypeFifo}}), want: "refused", has: "type"},
		"too many":         {content: archive(t, many...), want: "file_too_large", has: "50000", left: "d"},
		"a bomb":           {content: zipped(t, archive(t, file("f", strings.Repeat("0", room+1))).Bytes()), want: "file_too_large"},
		"a huge size":      {content: io.LimitReader(huge(t), 1<<20), want: "refused", has: "broken"},
		"no archive":       {content: strings.NewReader(strings.Repeat("no archive ", 100)), want: "refused", has: "tar"},
		"cut off":          {content: io.LimitReader(archive(t, file("f", "x"), file("g", strings.Repeat("y", 5000))), 3000), want: "refused", has: "broken", left: "f"},
		"broken off":       {content: io.MultiReader(io.LimitReader(archive(t, file("f", "x"), file("g", "y")), 1100), failing{broken}), want: "broken", left: "f"},
		"over a directory": {content: archive(t, tarEntry{h: tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o700}}, file("d", "x")), want: "is_a_directory", left: "d"},
		"below a file":     {content: archive(t, file("f", "x"), file("f/g", "x")), want: "not_a_directory", left: "f"},
		"special modes":    {content: archive(t, tarEntry{tar.Header{Name: "s", Mode: 0o6777, Typeflag: tar.TypeReg, Size: 1}, "x"}), left: "s"},
		"empty":            {content: archive(t)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newTree(t)
			_, _, err := tr.Unpack(t.Context(), "in", room, tt.content)
			got := strings.TrimPrefix(codeOf(err), "refused:")
			if got != tt.want || err != nil && !strings.Contains(err.Error(), tt.has) {
				t.Errorf("%v, want %s with %s", err, tt.want, tt.has)
			}
			left := strings.Join(strings.Fields(sh(t, tr.top, "cd work/in; find . -mindepth 1 -printf '%P\n' | sort; find . -perm /7000; ls ../../tmp", nil)), " ")
			if left != tt.left {
				t.Errorf("left: %q, want %q", left, tt.left)
			}
			tr.checkOutside(t)
		})
	}
}

// huge is a tar stream that says that its file has 1 TB.
func huge(t *testing.T) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "f", Size: 1 << 40, Mode: 0o644, ModTime: time.Now(), Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	return io.MultiReader(&b, bytes.NewReader(make([]byte, 2<<20)))
}
