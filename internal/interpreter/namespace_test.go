package interpreter_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// What the code sees is a fresh interpreter that executes a script.
func TestNamespace(t *testing.T) {
	t.Parallel()
	pool := shared(t)
	tests := []struct{ name, code, stdout, stderr string }{
		{"names", "print(sorted(globals()), __name__)", "['__annotations__', '__builtins__', '__cached__', '__doc__', '__file__', '__loader__', '__name__', '__package__', '__spec__'] __main__\n", ""},
		{"main module", "import sys; x = 5; print(sys.modules['__main__'].x, hasattr(sys.modules['__main__'], 'Control'))", "5 False\n", ""},
		{"argv and path", "import sys; print(sys.argv, repr(sys.path[0]), [p for p in sys.path if 'kaa-interpreter' in p])", "['/work/main.py'] '/work' []\n", ""},
		{"import from the directory", "open('m.py', 'w').write('x = 7')\nimport m; print(m.x)", "7\n", ""},
		{"streams", "import sys\nfor s in sys.stdin, sys.stdout, sys.stderr: print(s.fileno(), s.name, s.mode, s.encoding, s.isatty())", "0 <stdin> r utf-8 False\n1 <stdout> w utf-8 False\n2 <stderr> w utf-8 False\n", ""},
		{"binary layer", "import sys\nsys.stdout.buffer.write(b'a\\n'); print('b'); sys.__stdout__.write('c\\n')", "a\nb\nc\n", ""},
		{"replaced stdout", "import io, sys\nsys.stdout = io.TextIOWrapper(open(1, 'wb', closefd=False)); print('x')", "x\n", ""},
		{"closed stdout", "import sys\nprint('x'); sys.stdout.close(); sys.stderr.write('e')", "x\n", "e"},
		{"redirect", "import contextlib, io\nf = io.StringIO()\nwith contextlib.redirect_stdout(f): print('x')\nprint(repr(f.getvalue()))", "'x\\n'\n", ""},
		{"large code", "x = '" + strings.Repeat("é", 2_000_000) + "'; print(len(x))", "2000000\n", ""},
		{"pickle", "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))).__name__)", "A\n", ""},
		{"inspect", "import inspect\ndef f(): pass\nprint(inspect.getsource(f))", "def f(): pass\n\n", ""},
		{"print_exc", "import traceback\ntry:\n  raise ValueError\nexcept Exception: traceback.print_exc()", "", "Traceback (most recent call last):\n  File \"/work/main.py\", line 3, in <module>\n    raise ValueError\nValueError\n"},
		{"file encoding", "open('f', 'w').write('é'); print(open('f', 'rb').read())", "b'\\xc3\\xa9'\n", ""},
		{"no future flags", "def f() -> print('evaluated'): pass", "evaluated\n", ""},
		{"asyncio", "import asyncio\nasync def f():\n  await asyncio.sleep(0)\n  print('x')\nasyncio.run(f())", "x\n", ""},
		{"multiprocessing", "import multiprocessing as m\ndef f(x): return x * 2\nif __name__ == '__main__':\n  with m.get_context('fork').Pool(2) as p: print(p.map(f, [1, 2]))", "[2, 4]\n", ""},
		{"executor", "from concurrent.futures import ThreadPoolExecutor\ne = ThreadPoolExecutor()\ne.submit(print, 'x')", "x\n", ""},
		{"subprocess", "import subprocess, sys\nprint(subprocess.check_output([sys.executable, '-c', 'print(1)']))", "b'1\\n'\n", ""},
		{"descriptors", "import os; print([int(n) for n in os.listdir('/proc/self/fd') if 2 < int(n) < 900 and os.path.exists('/proc/self/fd/' + n)])", "[]\n", ""},
		{"descriptors of a child", "import subprocess; subprocess.run('ls /proc/self/fd | tr \"\\\\n\" \" \"', shell=True, close_fds=False)", "0 1 2 3 ", ""},
		{"orphans are reaped", "import os, time\nfor i in range(400):\n  while True:\n    try: pid = os.fork()\n    except BlockingIOError: time.sleep(0.01); continue\n    break\n  if not pid:\n    os.fork()\n    os._exit(0)\n  os.waitpid(pid, 0)\nprint('x')", "x\n", ""},
		{"native thread id", "import os, threading; print(threading.main_thread().native_id == os.getpid())", "True\n", ""},
		{"SIGINT handler", "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)", "True\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantText(t, execute(t, pool, job.Spec{Code: tt.code}), "ok 0", tt.stdout, tt.stderr)
		})
	}
}

// What an interpreter does when it ends happens, and its output counts.
func TestWindDown(t *testing.T) {
	t.Parallel()
	pool := shared(t)
	tests := []struct{ name, code, outcome, stdout, stderr string }{
		{"threads are joined", "import threading, time\nsaid = threading.Event()\ndef f():\n  said.wait(); time.sleep(0.1); print('thread')\nthreading.Thread(target=f).start(); print('main'); said.set()", "ok 0", "main\nthread\n", ""},
		{"daemon threads are not", "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()", "ok 0", "", ""},
		{"atexit", "import atexit\natexit.register(print, 'bye'); print('x')", "ok 0", "x\nbye\n", ""},
		{"atexit after an error", "import atexit\natexit.register(print, 'bye'); 1/0", "error 1 ZeroDivisionError: division by zero", "bye\n", ""},
		{"atexit after sys.exit", "import atexit, sys\natexit.register(print, 'bye'); sys.exit(4)", "exit 4", "bye\n", ""},
		{"__del__", "import os\nclass A:\n  def __del__(self): print('del', os.name)\na = A()", "ok 0", "del posix\n", ""},
		{"__del__ in a cycle", "import os\nclass A:\n  def __del__(self): print('del', os.name, f())\ndef f(): return 1\na = A(); a.a = a", "ok 0", "del posix 1\n", ""},
		{"__del__ after an error", "class A:\n  def __del__(self): print('del')\ndef f():\n  a = A(); 1/0\nf()", "error 1 ZeroDivisionError: division by zero", "del\n", ""},
		{"file is flushed", "import os\nf = os.fdopen(os.dup(1), 'w'); f.write('x')", "ok 0", "x", ""},
		{"C stdio is flushed", "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.setvbuf(ctypes.c_void_p.in_dll(libc, 'stdout'), None, 0, ctypes.c_size_t(4096))\nlibc.printf(b'x')", "ok 0", "x", ""},
		{"SIGINT in the epilogue", "import atexit, os\nclass A:\n  def __del__(self): os.kill(os.getpid(), 2)\na = A()\natexit.register(os.kill, os.getpid(), 2)", "ok 0", "", "-"},
		{"fork without exit", "import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\nprint('parent' if pid else 'child')", "ok 0", "child\nparent\n", ""},
		{"fork with an error", "import os\npid = os.fork()\nif not pid:\n  raise ValueError\nprint(os.waitpid(pid, 0)[1])", "ok 0", "256\n", "Traceback (most recent call last):\n  File \"/work/main.py\", line 4, in <module>\n    raise ValueError\nValueError\n"},
		{"fork with sys.exit", "import os, sys\npid = os.fork()\nif not pid: sys.exit(3)\nprint(os.waitpid(pid, 0)[1])", "ok 0", "768\n", ""},
		{"fork in a thread", "import os, threading\ndef f():\n  pid = os.fork()\n  if pid: os.waitpid(pid, 0)\nt = threading.Thread(target=f); t.start(); t.join(); print('x')", "ok 0", "x\n", "-"},
		{"signals from a thread", "import os, threading\ndef f():\n  for _ in range(2000): os.kill(os.getpid(), 2)\nimport signal\nsignal.signal(2, lambda *a: None)\nthreading.Thread(target=f).start()", "ok 0", "", ""},
		{"unwaited child writes before the end", "import os, subprocess\nr, w = os.pipe()\np = subprocess.Popen('echo x; echo >&%d; sleep 600' % w, shell=True, stdout=1, pass_fds=[w])\nos.read(r, 1)", "ok 0", "x\n", "-"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := execute(t, pool, job.Spec{Code: tt.code})
			if tt.stderr == "-" { // Python's own words
				tt.stderr = res.Stderr
			}
			wantText(t, res, tt.outcome, tt.stdout, tt.stderr)
		})
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("KAA_SECRET", "s3cret")
	t.Setenv("KAA_PASSED", "passed")
	t.Setenv("PYTHONPATH", "/nowhere")
	t.Setenv("LANG", "POSIX")
	pool := newPool(t, func(c *interpreter.Config) { c.PassEnv = []string{"KAA_PASSED", "KAA_ABSENT", "HOME"} })
	res := execute(t, pool, job.Spec{
		Code: `
import os, subprocess, time
print(os.environ.get("KAA_SECRET"), os.environ["KAA_PASSED"], "KAA_ABSENT" in os.environ, os.environ["LANG"], os.environ["A"], time.tzname[0])
print("s3cret" in open("/proc/self/environ").read())
print(os.environ["HOME"] == os.getcwd(), os.environ["TMPDIR"])
print(subprocess.check_output("echo $A $PATH", shell=True).decode(), end="")
print(" ".join(sorted(os.environ)))
`,
		Envs: map[string]string{"A": "b é", "TZ": "XYZ-3", "PATH": "/bin:/usr/bin"},
	})
	if res.Status != job.StatusOK {
		t.Fatalf("%s\n%s", outcome(res), res.Error.Traceback)
	}
	lines := strings.Split(res.Stdout, "\n")
	const names = "A BLIS_NUM_THREADS HOME IPYTHONDIR KAA_PASSED LANG LC_ALL MKL_NUM_THREADS MPLBACKEND MPLCONFIGDIR NUMEXPR_NUM_THREADS " +
		"OMP_NUM_THREADS OPENBLAS_NUM_THREADS PATH TMPDIR TZ USER VECLIB_MAXIMUM_THREADS XDG_CACHE_HOME"
	want := []string{"None passed False C.UTF-8 b é XYZ", "False", "True /tmp", "b é /bin:/usr/bin", names, ""}
	if !slices.Equal(lines, want) {
		t.Errorf("got  %q\nwant %q", lines, want)
	}
}

// Whatever the code leaves behind in its directories goes away, and nothing else.
func TestPrivateDirectory(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	precious := filepath.Join(outside, "precious")
	if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	pool := newPool(t, withLevel(sandbox.None))
	tests := []struct{ name, code string }{
		{"nothing", ""},
		{"files", "open('a', 'w').write('x'); open('.b', 'w'); import tempfile; tempfile.mkstemp(); print(tempfile.gettempdir())"},
		{"unreadable directories", "import os\nos.makedirs('a/b/c'); open('a/b/f', 'w'); os.chmod('a/b', 0); os.chmod('a', 0)"},
		{"unreadable top", "import os\nos.makedirs('a'); os.chmod('a', 0); os.chmod('.', 0); os.chmod(os.environ['TMPDIR'], 0); os.chmod('..', 0) if os.access('..', 7) else 0"},
		{"links", "import os\nos.symlink(" + pyQuote(outside) + ", 'dir'); os.symlink(" + pyQuote(precious) + ", 'file'); os.symlink('/', '../root'); os.link('file', 'hard', follow_symlinks=False)"},
		{"work is a link", "import os\nw = os.getcwd(); os.chdir('/'); os.rmdir(w); os.symlink(" + pyQuote(outside) + ", w)"},
		{"deep", "import os\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')"},
		{"many", "for i in range(3000): open('f%d' % i, 'w')\nimport os\nfor i in range(300): os.makedirs('d%d/e' % i)"},
		{"odd names", "import os\nopen(b'\\xff\\n', 'w'); os.mkdir(b'\\xc3'); os.mkfifo('p')"},
		{"removed", "import os\nw = os.getcwd(); os.chdir('/'); os.rmdir(w)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := acquire(t, pool)
			res, err := w.Execute(t.Context(), job.Spec{Code: "import os; print(os.getcwd(), oct(os.stat('.').st_mode & 0o777), oct(os.stat('..').st_mode & 0o777))\n" + tt.code}, job.Live{})
			if err != nil || res.Status != job.StatusOK {
				t.Fatalf("%s, %v", outcome(res), err)
			}
			cwd, rest, _ := strings.Cut(strings.SplitN(res.Stdout, "\n", 2)[0], " ")
			if rest != "0o700 0o700" || filepath.Base(filepath.Dir(cwd)) != w.SessionID() {
				t.Errorf("directory %q with modes %q", cwd, rest)
			}
			if err := w.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if _, err := os.Lstat(filepath.Dir(cwd)); !os.IsNotExist(err) {
				t.Errorf("the directory is left: %v", err)
			}
			if _, err := os.Stat(precious); err != nil {
				t.Errorf("something outside is gone: %v", err)
			}
		})
	}
}

func pyQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `\'`) + "'" }
