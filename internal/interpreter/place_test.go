package interpreter_test

import (
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// TestPlaceOfSession: code, commands and files of a session are at the path that it has chosen. Forks are elsewhere.
func TestPlaceOfSession(t *testing.T) {
	t.Parallel()
	p := shared(t, withLevel(sandbox.Strict))
	s := session(t, p, job.SessionSpec{Workdir: "/home/user/näme x", Home: "/home/user/näme x/h", Envs: map[string]string{"A": "b"}})
	if err := s.Put("in", strings.NewReader("put")); err != nil {
		t.Fatal(err)
	}
	says(t, s, "import os\nprint(os.getcwd(), os.environ['HOME'], os.path.isdir(os.path.expanduser('~')), open('in').read())", "/home/user/näme x /home/user/näme x/h True put\n")
	says(t, s, "open('/home/user/näme x/f', 'w').write('one')\nprint(open('/work/f').read(), open('f').read())", "one one\n")
	c := command(t, s, job.Command{Line: "pwd; echo $HOME; cat f; echo two > g"})
	if stdout, stderr, _ := output(t, c, ""); stdout != "/home/user/näme x\n/home/user/näme x/h\none" {
		t.Errorf("a command: %q, %q", stdout, stderr)
	}
	says(t, s, "print(open('g').read().strip(), sorted(os.listdir('.')), os.listdir('/home'))", "two ['f', 'g', 'h', 'in'] ['user']\n")
	files, _, err := s.Files(t.Context())
	if err != nil || len(files) != 3 {
		t.Errorf("files: %+v, %v", files, err)
	}
	// What is around it belongs to the root.
	says(t, s, `
for do in [lambda: open('/home/x', 'w'), lambda: os.mkdir('/home/user/y'), lambda: os.rename('/home/user', '/home/other'), lambda: os.rmdir('/home/user/näme x'),
           lambda: os.chmod('/home', 0o777), lambda: os.symlink('/', '/home/link')]:
    try:
        do()
        print('done')
    except OSError as error:
        print(error.errno in (1, 13, 16, 30))
`, strings.Repeat("True\n", 6))
	other, err := s.Context(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	says(t, other, "import os\nprint(os.getcwd(), os.environ['HOME'], open('f').read())", "/home/user/näme x /home/user/näme x/h one\n")
	copies := fork(t, s, 1)
	says(t, copies[0], "print(os.getcwd().startswith('/tmp/'), os.environ['HOME'] == os.getcwd() + '/h', os.path.isdir(os.environ['HOME']), open('f').read())", "True True True one\n")
	renewed := session(t, p, job.SessionSpec{Workdir: "/workspace"})
	says(t, renewed, "import os\nopen('f', 'w').write('kept')\nprint(os.getcwd(), os.environ['HOME'], os.listdir('/home'))", "/workspace /workspace []\n")
	fresh, err := renewed.Renew(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fresh.Close() })
	says(t, fresh, "import os\nprint(os.getcwd(), os.environ['HOME'], open('/workspace/f').read())", "/workspace /workspace kept\n")
	only := session(t, p, job.SessionSpec{Home: "/tmp/h", Envs: map[string]string{"X": "y"}})
	says(t, only, "import os\nprint(os.getcwd(), os.environ['HOME'], os.path.isdir('/tmp/h'))", "/work /tmp/h True\n")
}

// TestPlaceLeavesNothing: the slot of a session with a path of its own gets no other worker.
func TestPlaceLeavesNothing(t *testing.T) {
	t.Parallel()
	p := newPool(t, withLevel(sandbox.Strict), func(c *interpreter.Config) { c.Size = 1 })
	s, err := p.Session(t.Context(), job.SessionSpec{Workdir: "/home/secret"})
	if err != nil {
		t.Fatal(err)
	}
	says(t, s, "open('f', 'w').write('x')\nimport os\nprint(os.getcwd())", "/home/secret\n")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		next := session(t, p, job.SessionSpec{})
		says(t, next, "import os\nprint(os.listdir('/home'), os.listdir('.'), 'secret' in open('/proc/self/mountinfo').read())", "[] [] False\n")
	}
}

// TestPlaceRefused: a path that the root of the sandbox does not have, and a level that has no mounts.
func TestPlaceRefused(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/usr/local", "/proc/self", "/home/../usr", "/none"} {
		if s, err := shared(t, withLevel(sandbox.Strict)).Session(t.Context(), job.SessionSpec{Workdir: path}); err == nil {
			_ = s.Close()
			t.Errorf("%s is taken", path)
		}
	}
	if s, err := shared(t, withLevel(sandbox.None)).Session(t.Context(), job.SessionSpec{Workdir: "/home/user"}); err == nil {
		_ = s.Close()
		t.Error("the level none takes a path")
	}
}
