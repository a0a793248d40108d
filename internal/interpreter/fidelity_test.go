package interpreter_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// venv makes a virtual environment with some modules and returns its interpreter.
func venv(t *testing.T, modules map[string]string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), python(), "-I", "-c",
		"import os, sys; print(os.path.realpath(sys.executable)); print('%d.%d' % sys.version_info[:2])").Output()
	if err != nil {
		t.Fatal(err)
	}
	executable, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	top := t.TempDir()
	site := filepath.Join(top, "lib", "python"+version, "site-packages")
	path := filepath.Join(top, "bin", "python3")
	for _, dir := range []string{site, filepath.Dir(path)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string]string{filepath.Join(top, "pyvenv.cfg"): "home = " + filepath.Dir(executable) + "\n"}
	for name, text := range modules {
		files[filepath.Join(site, name+".py")] = text
	}
	for file, text := range files {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(executable, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func preloaded(python, module string) func(*interpreter.Config) {
	return func(c *interpreter.Config) {
		c.Runtimes = []interpreter.RuntimeConfig{{Python: python, Preload: []string{module}}}
	}
}

// A module that draws all kinds of randomness while it is preloaded.
const dice = `
import multiprocessing, random, secrets, sqlite3, ssl, tempfile, uuid
def throw():
    found = [random.random(), random.Random().random(), random.SystemRandom().random(), uuid.uuid4(), uuid.uuid1(),
             secrets.token_hex(), ssl.RAND_bytes(8).hex(), tempfile.mkdtemp(), tempfile.mktemp(), uuid.uuid1().node,
             bytes(multiprocessing.current_process().authkey).hex(), sqlite3.connect(":memory:").execute("select random()").fetchone()[0]]
    found += [getattr(uuid, name)() for name in ("uuid6", "uuid7", "uuid8") if hasattr(uuid, name)]
    try:
        import numpy
    except ImportError:
        return found
    return found + [numpy.random.rand(), numpy.random.randint(2**62), numpy.random.default_rng().random()]
throw()
`

// Workers of one zygote differ where they must, with numpy if the interpreter has it.
func TestRandomnessDiffers(t *testing.T) {
	t.Parallel()
	tries := 200
	if testing.Short() {
		tries = 20
	}
	pool := newPool(t, preloaded(venvOver(t, map[string]string{"dice": dice}), "dice"), func(c *interpreter.Config) { c.Size = 2 })
	seen := map[string]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range tries / 4 {
				res := execute(t, pool, job.Spec{Code: "import dice\nfor i, x in enumerate(dice.throw()): print(i, x)"})
				mu.Lock()
				for line := range strings.SplitSeq(strings.TrimSpace(res.Stdout), "\n") {
					seen[line]++
				}
				if res.Status != job.StatusOK {
					t.Error(outcome(res))
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for line, n := range seen {
		if n > 1 {
			t.Errorf("%d executions drew %s", n, line)
		}
	}
	if len(seen) < 12*tries {
		t.Errorf("%d draws, want %d", len(seen), 12*tries)
	}
}

// venvOver is a venv that sees the packages of the interpreter that is tested.
func venvOver(t *testing.T, modules map[string]string) string {
	t.Helper()
	path := venv(t, modules)
	out, err := exec.CommandContext(t.Context(), python(), "-I", "-c", "import site; print('\\n'.join(site.getsitepackages()))").Output()
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(filepath.Dir(path), "..", "lib", "*", "site-packages"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	if err := os.WriteFile(filepath.Join(found[0], "over.pth"), out, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A module may write while it is preloaded, as matplotlib and joblib insist on. The
// directories that it has made are there in each worker, empty, and nothing else.
func TestPreloadMayWrite(t *testing.T) {
	t.Parallel()
	python := venv(t, map[string]string{"writes": `
import os, tempfile
config = os.environ["MPLCONFIGDIR"]
os.makedirs(config + "/deep")
os.makedirs(os.path.expanduser("~/.writes"))
for d in config, os.path.expanduser("~"), tempfile.gettempdir():
    open(d + "/secret", "w").close()
`})
	const code = `
import os, sys, tempfile, writes
def of_interpreter(path):  # it may be in there, too
    return (sys.prefix + "/").startswith(path + "/") or path.startswith(sys.prefix + "/")
def tree(top):
    found = (os.path.join(w, n) for w, dirs, files in os.walk(top) for n in dirs + files)
    return sorted(os.path.relpath(path, top) for path in found if not of_interpreter(path))
print(tree(os.environ["TMPDIR"]), tree(os.getcwd()))
open(tempfile.mkstemp()[1]); print(tempfile.gettempdir() == os.environ["TMPDIR"], os.environ["HOME"] == os.getcwd())
os.makedirs(os.environ["MPLCONFIGDIR"], exist_ok=True); os.makedirs(os.environ["XDG_CACHE_HOME"])
open(os.environ["MPLCONFIGDIR"] + "/f", "w"); open("f", "w")
`
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		pool := newPool(t, preloaded(python, "writes"), withLevel(level))
		for range 2 {
			made := "[] []"
			if level == sandbox.Strict {
				made = "['matplotlib', 'matplotlib/deep'] ['.writes']"
			}
			wantText(t, execute(t, pool, job.Spec{Code: code}), "ok 0", made+"\nTrue True\n", "")
		}
	})
}

// That an execution has listed its directories does not show to the next one.
func TestListingLeavesNoTrace(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(c *interpreter.Config) { c.Size = 1 })
	const look = "import os\nprint([os.stat(d).st_atime_ns for d in ('/work', '/tmp')])"
	const slots = 6 // more than there are, so that it is the turn of each
	before := map[string]bool{}
	for range slots {
		before[execute(t, pool, job.Spec{Code: look}).Stdout] = true
	}
	for range slots {
		execute(t, pool, job.Spec{Code: "import os\nos.listdir('/work'), os.listdir('/tmp')"})
	}
	for range slots {
		if after := execute(t, pool, job.Spec{Code: look}).Stdout; !before[after] {
			t.Errorf("%s is new, before there were %v", after, before)
		}
	}
}

// The directories that lead to an interpreter within /tmp belong to the code if the runner
// is an ordinary user: they are empty for each, however they were left.
func TestWayToTheInterpreter(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("the runner is root: these directories are, too, and the code can leave nothing there")
	}
	pool := newPool(t, func(c *interpreter.Config) {
		c.Size, c.Runtimes = 1, runtimeOf(venv(t, nil))
	})
	const code = `
import os, sys
way = []
path = os.path.dirname(sys.prefix)
while path not in ("/", "/tmp"):
    way.append(path)
    path = os.path.dirname(path)
print(bool(way), [os.listdir(path) == [os.path.basename(below)] for path, below in zip(way, [sys.prefix] + way)].count(False))
%s
`
	for _, leave := range []string{`open(way[0] + "/secret", "w").close()`, `os.rename(way[-1], "/tmp/elsewhere"); os.makedirs(sys.prefix)`} {
		for range 3 {
			wantText(t, execute(t, pool, job.Spec{Code: fmt.Sprintf(code, leave)}), "ok 0", "True 0\n", "")
		}
	}
}

func TestPreloadOfAModuleWithThreads(t *testing.T) {
	t.Parallel()
	python := venv(t, map[string]string{"busy": "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()"})
	pool := unstartedPool(t, preloaded(python, "busy"))
	err := pool.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "preload busy: it starts threads") {
		t.Errorf("Start: %v", err)
	}
}

// What registers for the end of threads when it is preloaded does not take a rehearsal's
// end for that of the interpreter: threads can be started, and are joined.
func TestPreloadOfAModuleThatEndsThreads(t *testing.T) {
	t.Parallel()
	pool := newPool(t, preloaded(python(), "concurrent.futures.thread"))
	const code = `
import concurrent.futures, threading, time
with concurrent.futures.ThreadPoolExecutor(1) as executor:
    print(executor.submit(abs, -1).result(), threading.main_thread().is_alive())
def late():
    time.sleep(0.2)
    print("joined")
threading.Thread(target=late).start()
`
	for range 2 {
		wantText(t, execute(t, pool, job.Spec{Code: code}), "ok 0", "1 True\njoined\n", "")
	}
}

// Code may have terminals, and the next worker of the slot finds none of them.
func TestTerminals(t *testing.T) {
	t.Parallel()
	pool := shared(t)
	code := fmt.Sprintf(`
import ctypes, os, pty, sys, termios
master, slave = os.openpty()
os.write(slave, b"x\n")
print(os.ttyname(slave), os.read(master, 10), sorted(os.listdir("/dev/pts")))
pid, terminal = pty.fork()
if not pid:
    os.write(os.open("/dev/tty", os.O_RDWR), b"mine")
    os._exit(0)
print(os.read(terminal, 10), os.waitpid(pid, 0)[1])
libc = ctypes.CDLL(None, use_errno=True)
N_HDLC = ctypes.c_int(13)
for request in termios.TIOCSETD, termios.TIOCSETD | 1 << 32:
    print(libc.syscall(ctypes.c_long(%d), ctypes.c_long(slave), ctypes.c_ulong(request), ctypes.byref(N_HDLC)), ctypes.get_errno())
if os.fork(): os._exit(0)
os.setsid()
`, unix.SYS_IOCTL)
	for range 3 {
		res := execute(t, pool, job.Spec{Code: code})
		wantText(t, res, "exit 0", "/dev/pts/0 b'x\\r\\n' ['0', 'ptmx']\nb'mine' 0\n-1 1\n-1 1\n", res.Stderr)
	}
}

// Devices are of mounts that are read-only, which does not keep anybody from writing to them. There is
// a number of terminals, and one that is closed is there again.
func TestDevices(t *testing.T) {
	t.Parallel()
	const code = `
import errno, os, subprocess
for name in "null", "zero", "full", "tty":
    try:
        with open("/dev/" + name, "w") as file:
            file.write("x")
        print("wrote")
    except OSError as error:
        print(errno.errorcode[error.errno])
for flags in os.O_WRONLY, os.O_RDWR | os.O_CREAT | os.O_TRUNC, os.O_WRONLY | os.O_APPEND:
    print(os.write(os.open("/dev/null", flags), b"xy"), end=" ")
print(subprocess.call("echo x > /dev/null; echo x >> /dev/null; echo x | tee /dev/null", shell=True), len(open("/dev/urandom", "rb").read(3)))
for path in "/dev/null", "/dev/pts/ptmx", "/dev/pts":
    try:
        os.utime(path)
        print("touched", path)
    except OSError:
        pass
for _ in range(2):
    made = []
    try:
        while len(made) < 100:
            made.append(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        print(len(made), errno.errorcode[error.errno])
    for terminal in made:
        os.close(terminal)
`
	wantText(t, run(t, code), "ok 0", "wrote\nwrote\nENOSPC\nENXIO\n2 2 2 x\n0 3\n64 ENOSPC\n64 ENOSPC\n", "")
}
