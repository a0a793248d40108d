package cli_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/cli"
	"github.com/kaa-run/kaa/internal/devredis"
	"github.com/kaa-run/kaa/internal/testenv"
)

// TestRunFile runs programs as `kaa run` does, with an embedded Kaa and against
// a running one.
func TestRunFile(t *testing.T) {
	t.Parallel()
	url := start(t, "KAA_API_KEYS=secret")
	places := map[string]app.Environment{
		"embedded": {"KAA_PYTHON=" + testenv.SystemPython(), "KAA_WORK_DIR=" + t.TempDir()},
		"running":  {"KAA_URL=" + strings.TrimPrefix(url, "http://"), "KAA_API_KEY=secret"},
	}
	tests := []struct {
		name, program, stdin   string
		options                cli.RunOptions
		stdout, stderr, failed string
		code                   int
	}{
		{name: "ok", program: "print(1)", stdout: "1\n"},
		{name: "arguments", program: "import sys; print(sys.argv[1:])", options: cli.RunOptions{Args: []string{"a", "--timeout", "", "é 'x'"}}, stdout: `['a', '--timeout', '', "é 'x'"]` + "\n"},
		{name: "argument not UTF-8", program: "1", options: cli.RunOptions{Args: []string{"\xe9"}}, failed: `argument "\xe9": it is not valid UTF-8`},
		{name: "argument too long", program: "1", options: cli.RunOptions{Args: []string{strings.Repeat("x", 1<<20)}}, failed: "args: is 1048576 bytes long"},
		{name: "stdin", program: "print(input()[::-1])", stdin: "abc\n", stdout: "cba\n"},
		{name: "no stdin", program: "import sys; print(repr(sys.stdin.read()))", stdout: "''\n"},
		{name: "exit", program: "import sys; print(1); sys.exit(3)", stdout: "1\n", code: 3},
		{name: "exit 0", program: "exit(0)"},
		{name: "error", program: "print('before'); 1/0", stdout: "before\n", stderr: "ZeroDivisionError: division by zero\n", code: 1},
		{name: "files", program: "open('out.txt', 'w').write('x')", stderr: "kaa: 1 file was not kept; --out DIR keeps it\n"},
		{
			name: "unset", program: "import os; print(repr(os.environ['KAA_NO_SUCH']))", options: cli.RunOptions{Envs: []string{"KAA_NO_SUCH"}},
			stdout: "''\n", stderr: "this shell has no such variable",
		},
		{name: "killed", program: "import os; os.kill(os.getpid(), 9)", stderr: "SIGKILL", code: 137},
		{name: "timeout", program: "import time; time.sleep(60)", options: cli.RunOptions{Timeout: 300e6}, stderr: "interrupted after", code: cli.ExitTimeout},
		{name: "env", program: "import os; print(os.environ['A'], os.environ['KAA_MARK'])", options: cli.RunOptions{Envs: []string{"A=b=c", "KAA_MARK"}}, stdout: "b=c here\n"},
		{name: "empty", program: "\n"},
		{name: "refused", program: "1", options: cli.RunOptions{Timeout: 3601e9}, failed: "from 0.001 to 3600 seconds"},
		{name: "program not UTF-8", program: "print('\xe9')", failed: "read program: it is not valid UTF-8"},
		{name: "stdin not UTF-8", program: "1", stdin: "\xe9", failed: "read standard input: it is not valid UTF-8"},
	}
	for place, environ := range places {
		for _, tt := range tests {
			t.Run(place+" "+tt.name, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				o := tt.options
				o.File = filepath.Join(dir, "program.py")
				stdin := filepath.Join(dir, "stdin")
				for path, content := range map[string]string{o.File: tt.program, stdin: tt.stdin} {
					if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				var err error
				if o.Stdin, err = os.Open(stdin); err != nil {
					t.Fatal(err)
				}
				defer func() { _ = o.Stdin.Close() }()
				var stdout, stderr testenv.Buffer
				err = cli.RunFile(t.Context(), app.Process{Environ: environ.With("KAA_MARK", "here"), Stdout: &stdout, Stderr: &stderr, Redis: devredis.Start}, o)
				if tt.failed != "" {
					if err == nil || !strings.Contains(err.Error(), tt.failed) {
						t.Errorf("err = %v, want …%s…", err, tt.failed)
					}
					return
				}
				var exit cli.ExitError
				if err != nil && !errors.As(err, &exit) {
					t.Fatal(err)
				}
				if int(exit) != tt.code || stdout.String() != tt.stdout || !strings.Contains(stderr.String(), tt.stderr) {
					t.Errorf("exit %d, stdout %q, stderr %q", exit, stdout.String(), stderr.String())
				}
			})
		}
	}
}

// TestRunFileWithoutKaa: what Kaa could not do is an error, not the program's exit.
func TestRunFileWithoutKaa(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "program.py")
	if err := os.WriteFile(program, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	for name, tt := range map[string]struct {
		file    string
		environ app.Environment
		want    string
	}{
		"no file":   {"nowhere.py", nil, "nowhere.py"},
		"no server": {program, app.Environment{"KAA_URL=http://127.0.0.1:1"}, "is Kaa running there?"},
		"no python": {program, app.Environment{"KAA_PYTHON=nowhere"}, "nowhere"},
	} {
		var exit cli.ExitError
		err := cli.RunFile(t.Context(), app.Process{Environ: tt.environ, Stdout: new(testenv.Buffer), Stderr: new(testenv.Buffer), Redis: devredis.Start}, cli.RunOptions{File: tt.file, Stdin: null})
		if err == nil || errors.As(err, &exit) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}
