package interpreter_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/job"
)

// Code does to the descriptors of its output what it likes. What still comes to us comes in
// its order, without marks, and the next execution of a session is none the worse for it.
func TestDescriptorsOfOutput(t *testing.T) {
	t.Parallel()
	pool := shared(t)
	const around = "import os, subprocess, sys\nprint('a')\ndisplay(1)\n%s\nprint('y')\ndisplay(2)\nprint('z')"
	for name, tt := range map[string]struct{ code, want, read string }{
		"none": {"", "a\n[1]y\n[2]z\n", ""},
		"standard output goes to a file and comes back": {
			"kept = os.dup(1)\nfile = os.open('f', os.O_RDWR | os.O_CREAT)\nos.dup2(file, 1)\nprint('in the file')\ndisplay(3)\nprint('too')\nos.dup2(kept, 1)",
			"a\n[1][3]y\n[2]z\n", "in the file\ntoo\n",
		},
		"standard error is standard output": {
			"kept = os.dup(2)\nos.dup2(1, 2)\nprint('e', file=sys.stderr)\nprint('o')\nos.system('echo child >&2')\ndisplay(3)\nos.dup2(kept, 2)",
			"a\n[1]e\no\nchild\n[3]y\n[2]z\n", "",
		},
		"they change places": {
			"kept = os.dup(1), os.dup(2)\nos.dup2(kept[1], 1)\nos.dup2(kept[0], 2)\nprint('o')\ndisplay(3)\nprint('e', file=sys.stderr)\nos.dup2(kept[0], 1)\nos.dup2(kept[1], 2)",
			"", "",
		},
		"standard output is closed for a while": {
			"kept = os.dup(1)\nos.close(1)\ndisplay(3)\nprint('e', file=sys.stderr)\nos.dup2(kept, 1)",
			"a\n[1][3]{e\n}y\n[2]z\n", "",
		},
		"they do not block": {
			"os.set_blocking(1, False)\nos.set_blocking(2, False)\nprint('x' * 200_000)\nprint('e' * 100_000, file=sys.stderr)\ndisplay(3)\nos.set_blocking(1, True)",
			"a\n[1]" + strings.Repeat("x", 200_000) + "\n{" + strings.Repeat("e", 100_000) + "\n}[3]y\n[2]z\n", "",
		},
		"a fork writes": {
			"if not os.fork():\n    print('child')\n    print('error', file=sys.stderr)\n    os._exit(0)\nos.wait()\ndisplay(3)",
			"", "",
		},
		"a fork shows": {
			"if not os.fork():\n    try:\n        display('in the child')\n    finally:\n        os._exit(0)\nos.wait()\ndisplay(3)",
			"", "",
		},
		"a fork goes on": {
			"if os.fork():\n    os.wait()\nelse:\n    print('child')\n    sys.stdout.flush()\n    os._exit(0)",
			"a\n[1]child\ny\n[2]z\n", "",
		},
		"a stream of the code's own": {
			"own = open(1, 'w', closefd=False)\nown.write('own\\n')\nown.flush()\ndisplay(3)",
			"a\n[1]own\n[3]y\n[2]z\n", "",
		},
		"sys.stdout is another": {
			"import io\nkept, sys.stdout = sys.stdout, io.TextIOWrapper(io.FileIO(1, 'w', closefd=False))\nprint('not passed on yet')\ndisplay(3)\nsys.stdout.flush()\nsys.stdout = kept",
			"a\n[1]not passed on yet\n[3]y\n[2]z\n", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := session(t, pool, job.SessionSpec{})
			limits := job.Quota{OutputBytes: 1 << 20}
			res := step(t, s, job.Spec{Code: fmt.Sprintf(around, tt.code), Timeout: ample, Quota: limits})
			got := listed(t, res)
			if tt.want == "" { // only what is around it has an order
				if !strings.HasPrefix(got, "a\n[1]") || !strings.Contains(got, "[3]") || !strings.Contains(got, "y\n") || !strings.HasSuffix(got, "[2]z\n") {
					t.Errorf("%q", got)
				}
			} else if got != tt.want {
				t.Error(cmp.Diff(tt.want, got))
			}
			if tt.read != "" {
				if res := step(t, s, job.Spec{Code: "print(open('f').read(), end='')", Timeout: ample}); res.Stdout != tt.read {
					t.Errorf("the file has %q", res.Stdout)
				}
			}
			if got := listed(t, step(t, s, job.Spec{Code: "import sys\nprint('a')\ndisplay(1)\nprint('e', file=sys.stderr)\nprint('b')", Timeout: ample})); got != "a\n[1]{e\n}b\n" {
				t.Errorf("the next execution: %q", got)
			}
		})
	}
}
