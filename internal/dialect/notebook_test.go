package dialect_test

import (
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/dialect"
)

func TestNotebookCode(t *testing.T) {
	t.Parallel()
	const sh = `if __import__("sys").stdout.flush() or __import__("subprocess").call(["/bin/bash", "-c", "ls -l"]): pass`
	for _, tt := range []struct{ name, code, want string }{
		{"plain", "x = 1\nx", "x = 1\nx"},
		{"an indentation of the whole", "\n    if x:\n      y\n    z", "\nif x:\n  y\nz"},
		{"an indentation that is an error", "  x\ny", "  x\ny"},
		{"a line for the shell", "!ls -l", sh},
		{"one in a block", "if x:\n    !ls -l", "if x:\n    " + sh},
		{"its output", "a = !ls", `a = __import__("subprocess").run(["/bin/bash", "-c", "ls"], stdout=-1, stderr=-2, text=True).stdout.splitlines()`},
		{"a string with several lines", "s = '''\n!ls\n%cd\n'''", "s = '''\n!ls\n%cd\n'''"},
		{"a quote that is escaped", "s = 'it\\'s'\n%pwd", "s = 'it\\'s'\n__import__(\"os\").getcwd()"},
		{"brackets", "x = (5\n%3)", "x = (5\n%3)"},
		{"a backslash", "x = 5 \\\n%3", "x = 5 \\\n%3"},
		{"a comment with a bracket", "# (\n%matplotlib inline", "# (\npass"},
		{"not equal", "a != 1", "a != 1"},
		{"an unknown magic", "%nothing", "raise NameError(\"Line magic function `%nothing` not found.\")"},
		{"a variable", "%env A = b", `if __import__("os").environ.update({"A": "b"}) or print("env: A=b"): pass`},
		{"a directory", "%cd 'a b'", `if __import__("os").chdir(__import__("os").path.expanduser("a b")) or print(__import__("os").getcwd()): pass`},
		{"home, quietly", "%cd -q", `if __import__("os").chdir(__import__("os").path.expanduser("~")) or None: pass`},
		{"variables", "!ls {a} $b ${c}", `if __import__("sys").stdout.flush() or __import__("subprocess").call(["/bin/bash", "-c", ` +
			`__import__("re").sub(r"\$(\w+)|(?<!\$)\{(\w+)\}", lambda m: str(globals().get(m[1] or m[2], m[0])), "ls {a} $b ${c}")]): pass`},
		{"a file", "%%writefile a.txt\nx\ny", `if print(("Overwriting " if __import__("os").path.exists("a.txt") else "Writing ") + "a.txt") or ` +
			`__import__("io").open("a.txt", "w", encoding="utf-8").write("x\ny\n"): pass`},
		{"more of it", "%%writefile -a a.txt\nz\n", `if print("Appending to " + "a.txt") or __import__("io").open("a.txt", "a", encoding="utf-8").write("z\n"): pass`},
		{"a timed cell", "%%time\n%pwd", "\n" + `__import__("os").getcwd()`},
	} {
		if got := dialect.NotebookCode(tt.code, false); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestNotebookPackages: where packages are on, the lines stay that Kaa carries out in place of pip.
func TestNotebookPackages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		code  string
		stays bool
	}{
		{"%pip install a", true},
		{"!pip install -q 'a >= 1' b", true},
		{"%%time\n%pip install a", true},
		{"%pip install -r requirements.txt", false},
		{"%pip list", false},
		{"!pip install", false},
		{"!pip install a && ls", false},
		{"if x:\n  !pip install a", false},
	} {
		got := dialect.NotebookCode(tt.code, true)
		_, line, more := strings.Cut(tt.code, "\n")
		if !more {
			line = tt.code
		}
		if strings.HasSuffix(got, line) != tt.stays {
			t.Errorf("%q: %q", tt.code, got)
		}
		if strings.HasSuffix(dialect.NotebookCode(tt.code, false), line) {
			t.Errorf("%q stays where packages are off", tt.code)
		}
	}
}
