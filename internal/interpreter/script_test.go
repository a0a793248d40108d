package interpreter_test

import (
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/job"
)

// The code runs as a script does: what it sees of itself is the same.
func TestScript(t *testing.T) {
	t.Parallel()
	pool := shared(t)
	tests := []struct{ name, code, stdout, stderr string }{
		{"nothing is below the main module", "import inspect, sys\ndef f(): return [i.function for i in inspect.stack()]\nprint(f(), sys._getframe().f_back)", "['f', '<module>'] None\n", ""},
		{"nor below a method of the last value", "import inspect\nclass A:\n  def __repr__(self): return print([i.filename for i in inspect.stack()]) or 'A'\nA()", "['/work/main.py', '/work/main.py']\n", ""},
		{"nor below atexit", "import atexit, inspect\natexit.register(lambda: print(len(inspect.stack())))", "1\n", ""},
		{"kept exception", "try: int('x')\nexcept ValueError as e: k = e\nprint(k.__traceback__.tb_frame.f_back, k.__traceback__.tb_next)", "None None\n", ""},
		{"recursion", "import sys\ndef d(n): return n and d(n - 1)\nd(990)\nsys.setrecursionlimit(3000)\nd(2990)\nprint(sys.getrecursionlimit())", "3000\n", ""},
		{"warnings", "import warnings\ndef f(): warnings.warn('w', stacklevel=9)\nf()", "", "sys:1: UserWarning: w\n"},
		{"a low limit ends nothing of ours", "import sys\nsys.setrecursionlimit(60)", "", ""},
		{"a tracer that stays", "import sys\nseen = set()\ndef t(f, e, a):\n  seen.add(f.f_code.co_filename[:4])\n  if '<kaa' in seen: print('seen')\n  return t\nsys.settrace(t)\nimport colorsys\n", "", ""},
		{"class source", "import inspect\nclass A:\n  x = 1\nprint(inspect.getsource(A))", "class A:\n  x = 1\n\n", ""},
		{"source without linecache", "import inspect, linecache\nlinecache.clearcache()\ndef f(): pass\nprint(inspect.getsource(f))", "def f(): pass\n\n", ""},
		{"its file", "import os\nprint(__file__, open(__file__).read().count('file'))", "/work/main.py 3\n", ""},
		{"no file unless needed", "import os\nprint(os.listdir('.'))", "[]\n", ""},
		{"spawn", "import multiprocessing as m\ndef f(x): return x * 2\nif __name__ == '__main__':\n  with m.get_context('spawn').Pool(1) as p: print(p.map(f, [1, 2]))", "[2, 4]\n", ""},
		{"forkserver", "import multiprocessing as m\ndef f(x): return x * 2\nif __name__ == '__main__':\n  with m.get_context('forkserver').Pool(1) as p: print(p.map(f, [1, 2]))", "[2, 4]\n", ""},
		{"forgotten coroutine", "async def f(): pass\nk = [f()]", "", "sys:1: RuntimeWarning: coroutine 'f' was never awaited\nRuntimeWarning: Enable tracemalloc to get the object allocation traceback\n"},
		{"a profile", "import cProfile, io, pstats\np = cProfile.Profile()\np.enable()\nimport colorsys\np.disable()\ns = io.StringIO()\npstats.Stats(p, stream=s).print_stats()\nprint('kaa' in s.getvalue())", "False\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := execute(t, pool, job.Spec{Code: tt.code})
			res.Stderr = strings.Replace(res.Stderr, "<sys>:0:", "sys:1:", 1) // as Python 3.13 says it
			wantText(t, res, "ok 0", tt.stdout, tt.stderr)
		})
	}
}

// What is uncaught goes the way that it goes in a script.
func TestUncaught(t *testing.T) {
	t.Parallel()
	pool := shared(t)
	tests := []struct{ name, code, outcome, stdout, stderr string }{
		{"hook", "import sys\nsys.excepthook = lambda t, v, b: print(t.__name__, b.tb_lineno, b is sys.last_traceback)\n[][1]", "error 1 IndexError: list index out of range", "IndexError 3 True\n", ""},
		{"hook that exits", "import sys\nsys.excepthook = lambda *a: sys.exit(9)\n1/0", "exit 9", "", ""},
		{"hook without frames below", "import inspect, sys\nsys.excepthook = lambda *a: print(len(inspect.stack()))\n1/0", "error 1 ZeroDivisionError: division by zero", "1\n", ""},
		{"hook that fails", "import sys\ndef h(*a): raise KeyError('h')\nsys.excepthook = h\nint('x')", "error 1 ValueError: invalid literal for int() with base 10: 'x'", "", "Error in sys.excepthook:"},
		{"thread", "import threading\ndef f():\n  raise OSError('x')\nt = threading.Thread(target=f); t.start(); t.join()", "ok 0", "", "line 3, in f\n    raise OSError('x')\n"},
		{"hint", "quantity = 4\ntry: quantty\nexcept NameError:\n  import sys; sys.__excepthook__(*sys.exc_info())", "ok 0", "", "quantty"},
		{"ignored", "class A:\n  def __del__(self):\n    raise ValueError('x')\nA()\nx = 1", "ok 0", "", "line 3, in __del__\n    raise ValueError('x')\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := execute(t, pool, job.Spec{Code: tt.code})
			if got := outcome(res); got != tt.outcome || res.Stdout != tt.stdout {
				t.Errorf("%s, stdout %q; want %s, %q", got, res.Stdout, tt.outcome, tt.stdout)
			}
			if !strings.Contains(res.Stderr, tt.stderr) || strings.Contains(res.Stderr, "During handling") || strings.Contains(res.Stderr, "kaa") {
				t.Errorf("stderr %q, want %q in it", res.Stderr, tt.stderr)
			}
		})
	}
}

// A tracer, or a profiler, that stays on when an exception leaves the code does not get in
// its way.
func TestTracedException(t *testing.T) {
	t.Parallel()
	pool := shared(t)
	for _, set := range []string{"settrace", "setprofile"} {
		res := execute(t, pool, job.Spec{Code: "import sys\ndef t(*a): return t\nsys." + set + "(t)\n{}[1]"})
		if got := outcome(res); got != "error 1 KeyError: 1" {
			t.Errorf("%s: %s", set, got)
		}
	}
}

// Modules that come with the request are imported, whatever Kaa has loaded; and a main.py
// among them is the request's. The file of the main module is none of the result's.
func TestOwnModules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, path, content, code, stdout string }{
		{"module", "token.py", "x = 7", "import token; print(token.x)", "7\n"},
		{"package", "json/__init__.py", "x = 8", "import json; print(json.x)", "8\n"},
		{"and errors are described", "ast.py", "x = 9", "import ast, traceback\ntry: 1/0\nexcept Exception: print(ast.x)", "9\n"},
		{"main", "main.py", "x = 10", "import main; print(main.x, __file__)", "10 /work/__main__.py\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := acquire(t, shared(t))
			put(t, w, map[string]string{tt.path: tt.content})
			// Its name makes the main module's file be written.
			files, _, res := collected(t, w, job.Spec{Code: tt.code + "\nopen('made', 'w').write(__file__)"}, roomy)
			if len(files) != 1 || files["made"] == "" {
				t.Errorf("files %v, want made only", files)
			}
			wantText(t, res, "ok 0", tt.stdout, "")
		})
	}
}
