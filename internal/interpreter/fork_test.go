package interpreter_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

// fork makes copies that live as long as the test.
func fork(tb testing.TB, s *interpreter.Session, n int) []*interpreter.Session {
	tb.Helper()
	copies, err := s.Fork(tb.Context(), n)
	if err != nil {
		tb.Fatalf("fork: %v", err)
	}
	for _, c := range copies {
		tb.Cleanup(func() {
			if err := c.Close(); err != nil {
				tb.Errorf("close copy: %v", err)
			}
		})
	}
	return copies
}

// says executes in a session and checks what the code prints.
func says(tb testing.TB, s *interpreter.Session, code, want string) {
	tb.Helper()
	if res := step(tb, s, job.Spec{Code: code}); res.Status != job.StatusOK || res.Stdout != want {
		tb.Errorf("%s: %s, stdout %q, stderr %q, error %+v; want %q", code, outcome(res), res.Stdout, res.Stderr, res.Error, want)
	}
}

func TestForkGoesOnApart(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{Envs: map[string]string{"A": "b"}})
		res := step(t, s, job.Spec{Stdin: "used up\n", Code: `
import os, random, sys, tempfile
input()
x = [1]
os.makedirs('sub/inner')
os.symlink('inner', 'sub/link')
open('sub/one', 'w').write('one')
os.link('sub/one', 'two')
os.chmod('sub/one', 0o640)
with open('sparse', 'wb') as sparse:
    sparse.truncate(1 << 26)
os.chdir('sub')
log = open('log', 'w+')
log.write('0123456789')
log.flush()
log.seek(3)
unlinked = tempfile.TemporaryFile('w+')
unlinked.write('common')
unlinked.flush()
shared = open(tempfile.gettempdir() + '/named', 'w+')
shared.write('abcdef')
shared.flush()
shared.seek(1)
out = os.dup(1)
random.seed(7)
`})
		if res.Status != job.StatusOK {
			t.Fatalf("%+v %+v", res, res.Error)
		}
		copies := fork(t, s, 2)
		all := append([]*interpreter.Session{s}, copies...)
		for i, one := range all {
			says(t, one, fmt.Sprintf("x.append(%d)\nprint(x, os.environ['A'], log.read(2), shared.read(1), random.random())", i), fmt.Sprintf("[1, %d] b 34 b 0.32383276483316237\n", i))
			says(t, one, fmt.Sprintf("log.seek(0)\nlog.write('%d')\nlog.flush()\nunlinked.write(' %d')\nunlinked.flush()\nopen('mine', 'w').write('%d')", i, i, i), "")
			says(t, one, "print(repr(sys.stdin.read()))\nos.write(out, b'dup\\n')", "''\ndup\n")
		}
		for i, one := range all {
			says(t, one, "print(open('log').read(1), open('mine').read(), os.listdir('inner'), oct(os.stat('one').st_mode & 0o777))", fmt.Sprintf("%d %d [] 0o640\n", i, i))
			says(t, one, "unlinked.seek(0)\nprint(unlinked.read())", fmt.Sprintf("common %d\n", i))
			says(t, one, "print(os.stat('one').st_ino == os.stat('../two').st_ino, os.readlink('link'), os.stat('../sparse').st_size, os.stat('../sparse').st_blocks)", "True inner 67108864 0\n")
			says(t, one, "print(os.getcwd() == os.path.join(os.environ['HOME'], 'sub'), os.path.basename(os.path.dirname(os.getcwd()))[:4], os.getpid() == os.getpgid(0))", "True work True\n")
		}
		// And copies of copies, while the others end.
		again := fork(t, copies[1], 1)[0]
		for _, one := range []*interpreter.Session{s, copies[1]} {
			if err := one.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		says(t, again, "print(x, open('mine').read(), len(os.listdir('..')))", "[1, 2] 2 3\n")
		says(t, copies[0], "print(x, open('mine').read())", "[1, 1] 1\n")
	})
}

func TestForkRefusals(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{})
	step(t, s, job.Spec{Code: "import os, subprocess, socket, threading, mmap, select\nx = 1"})
	for _, tt := range []struct{ name, code, undo, want string }{
		{"a thread", "e = threading.Event()\nt = threading.Thread(target=e.wait, name='mine')\nt.start()", "e.set()\nt.join()", "the thread mine"},
		{"a child", "p = subprocess.Popen(['sleep', '60'])", "p.kill()\np.wait()", "the child process"},
		{"a zombie", "p = subprocess.Popen(['true'])\nos.waitid(os.P_PID, p.pid, os.WEXITED | os.WNOWAIT)", "p.wait()", "for which nobody has waited"},
		{"a socket", "q = socket.socket()", "q.close()", "the socket with descriptor"},
		{"a pipe", "p = os.pipe()", "os.close(p[0])\nos.close(p[1])", "the pipe with descriptor"},
		{"a poll", "p = select.epoll()", "p.close()", "eventpoll"},
		{"shared memory", "m = mmap.mmap(-1, 4096)", "m.close()", "mapped to be shared"},
		{"a task", "import asyncio\nt = None\nasync def forever():\n    await asyncio.sleep(60)\nasync def begin():\n    global t\n    t = asyncio.ensure_future(forever())\nawait begin()", "t.cancel()\nawait asyncio.sleep(0)", "1 asyncio tasks"},
		{"no room", "f = open('big', 'wb')\nos.fchmod(f.fileno(), 0)", "f.close()\nos.unlink('big')", "PermissionError"},
	} {
		says(t, s, tt.code, "")
		_, err := s.Fork(t.Context(), 2)
		refused, ok := errors.AsType[*job.RefusedError](err)
		if !ok || !strings.Contains(refused.Message, tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		says(t, s, "print(x)", "1\n")
		says(t, s, tt.undo, "")
		says(t, fork(t, s, 1)[0], "print(x)", "1\n")
	}
}

// TestForkEnds: each member of a fork group ends by itself, and nothing outlives the last.
func TestForkEnds(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level), withGrace(3*time.Second)), job.SessionSpec{})
		step(t, s, job.Spec{Code: "import os, signal, subprocess, time\nx = 0"})
		copies := fork(t, s, 16)
		res, end := last(t, copies[0], job.Spec{Code: "os.kill(os.getpid(), signal.SIGKILL)"})
		if end == nil || end.Reason != job.EndCrashed || res.Error == nil || res.Error.Name != "SIGKILL" {
			t.Errorf("killed itself: %+v %+v", res, end)
		}
		res, end = last(t, copies[1], job.Spec{Code: "os._exit(3)"})
		if end == nil || res.ExitCode == nil || *res.ExitCode != 3 {
			t.Errorf("exit: %+v %+v", res, end)
		}
		// What it has started ends with it, in its process group or not.
		says(t, copies[2], "p = subprocess.Popen(['sleep', '300'])\nq = subprocess.Popen(['sleep', '300'], start_new_session=True)\nprint(os.getpid() > 1)", "True\n")
		res, end = last(t, copies[2], job.Spec{Timeout: soon(), Code: "signal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(600)"})
		if end == nil || end.Reason != job.EndKilled || res.Status != job.StatusInterrupted {
			t.Errorf("ignores the interrupt: %+v %+v", res, end)
		}
		if level == sandbox.Strict {
			says(t, copies[3], `
def sleeps(pid):
    try:
        return b'sleep' in open('/proc/%s/cmdline' % pid, 'rb').read()
    except OSError:
        return False
for _ in range(1000):
    found = [pid for pid in os.listdir('/proc') if pid.isdigit() and sleeps(pid)]
    if not found:
        break
    time.sleep(0.001)
print(found)`, "[]\n")
		}
		res, end = last(t, copies[4], job.Spec{Timeout: 100 * time.Millisecond, Code: "time.sleep(60)"})
		if end != nil || res.Status != job.StatusInterrupted {
			t.Errorf("interrupted: %+v %+v", res, end)
		}
		if err := s.Close(); err != nil {
			t.Errorf("close the origin: %v", err)
		}
		for i, one := range copies[3:] {
			says(t, one, fmt.Sprintf("x += %d\nprint(x)", i), fmt.Sprintf("%d\n", i))
		}
		for _, i := range []int{0, 1, 2} {
			if copies[i].Alive() == nil {
				t.Errorf("copy %d lives", i)
			}
		}
	})
}

func TestRestore(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		step(t, s, job.Spec{Code: "import os, sys\nhome = os.getcwd()\nx = 1\nopen('f', 'w').write('before')\nf = open('f')\nf.read(2)"})
		for _, s := range append(fork(t, s, 1), s) {
			step(t, s, job.Spec{Code: "home = os.getcwd()"})
			point := fork(t, s, 1)[0]
			for range 2 {
				step(t, s, job.Spec{Code: "x = 2\nopen('f', 'w').write('after')\nos.makedirs('new/below')\nos.chmod('new', 0)"})
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				back, err := point.Restore(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = back.Close() })
				says(t, back, "print(x, f.read(), open('f').read(), os.listdir(), os.getcwd() == home)", "1 fore before ['f'] True\n")
				s = back
			}
		}
	})
}

// confinementKit defines confinement, which prints what code may not do.
const confinementKit = `
import ctypes, errno, os, resource, threading
def attempt(f, *args):
    try:
        return str(f(*args))
    except BaseException as error:
        return repr(error)
def confinement():
    for line in open('/proc/self/status'):
        if line.split(':')[0] in ('Uid', 'Gid', 'Groups', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp', 'Seccomp_filters', 'SigBlk', 'SigIgn'):
            print(line.strip())
    for name in sorted(os.listdir('/proc/self/ns')):
        print(attempt(os.readlink, '/proc/self/ns/' + name))
    for name in 'OOM', 'NPROC', 'NOFILE', 'FSIZE', 'CORE':
        print(name, attempt(lambda: resource.getrlimit(getattr(resource, 'RLIMIT_' + name))))
    print(open('/proc/self/oom_score_adj').read())
    fds = [int(fd) for fd in os.listdir('/proc/self/fd')]
    print(len([fd for fd in fds if os.path.exists('/proc/self/fd/%d' % fd)]), [os.get_inheritable(fd) for fd in fds if fd > 2 and os.path.exists('/proc/self/fd/%d' % fd)])
    libc = ctypes.CDLL(None, use_errno=True)
    for name, args in (('mount', (b't', b'/tmp', b'tmpfs', 0, None)), ('umount2', (b'/tmp', 2)), ('setns', (3, 0)), ('unshare', (0x10000000,)),
                       ('ptrace', (16, os.getppid(), 0, 0)), ('chroot', (b'/tmp',))):
        print(name, getattr(libc, name)(*args), errno.errorcode.get(ctypes.get_errno()))
    print(attempt(open, '/kaa', 'w'), attempt(open, '/etc/passwd', 'a'), attempt(os.kill, os.getppid(), 0), threading.main_thread().native_id == os.getpid())
`

// TestForkIsConfined: a copy has no more than its origin, and no less.
func TestForkIsConfined(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		if level == sandbox.None {
			return
		}
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{Quota: job.Quota{OpenFiles: 77}})
		step(t, s, job.Spec{Code: confinementKit})
		want := step(t, s, job.Spec{Code: "confinement()"})
		if want.Status != job.StatusOK || len(want.Stdout) < 500 {
			t.Fatalf("%+v %+v", want, want.Error)
		}
		for range 2 {
			s = fork(t, s, 1)[0]
			says(t, s, "confinement()", want.Stdout)
		}
	})
}

// TestForkMemory: the limit is of all together; the one that goes beyond it ends.
func TestForkMemory(t *testing.T) {
	t.Parallel()
	p := shared(t)
	if _, _, control := p.Sandbox(); control == sandbox.ControlWatchdog {
		t.Skip("the watchdog ends all of them")
	}
	s := session(t, p, job.SessionSpec{Quota: job.Quota{MemoryBytes: 200 << 20}})
	step(t, s, job.Spec{Code: "x = bytearray(100 << 20)"})
	copies := fork(t, s, 3)
	for _, one := range copies {
		says(t, one, "print(len(x))", "104857600\n") // what they have in common counts once
	}
	res, end := last(t, copies[0], job.Spec{Code: "y = bytearray(150 << 20)"})
	if end == nil || end.Reason != job.EndMemory || res.Error == nil || res.Error.Name != "MemoryLimitExceeded" {
		t.Errorf("too much: %+v %+v %+v", res, res.Error, end)
	}
	says(t, copies[1], "print(len(x))", "104857600\n")
	says(t, s, "print(len(x))", "104857600\n")
}

// TestForkIsCutOff: what is left of a fork that does not come to its end is nothing.
func TestForkIsCutOff(t *testing.T) {
	t.Parallel()
	p := shared(t)
	s := session(t, p, job.SessionSpec{Quota: job.Quota{Processes: 5}})
	step(t, s, job.Spec{Code: "import os\nx = 1\nopen('f', 'wb').write(bytes(1 << 20))"})
	for range 2 {
		_, err := s.Fork(t.Context(), 16)
		if _, ok := errors.AsType[*job.RefusedError](err); !ok || !strings.Contains(err.Error(), "another process") {
			t.Errorf("more than the processes it may have: %v", err)
		}
		says(t, s, "print(x, [name for name in os.listdir('/tmp') if name.startswith('work-')])", "1 []\n")
	}
	says(t, fork(t, s, 1)[0], "print(x)", "1\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if copies, err := s.Fork(ctx, 1); err == nil {
		t.Errorf("with a context that has ended: %v", copies)
	}

	// The end of the session, or of the pool, while it is forked.
	for i := range 10 {
		s := session(t, p, job.SessionSpec{})
		says(t, s, "print(1)", "1\n")
		done := make(chan struct{})
		go func() {
			defer close(done)
			copies, _ := s.Fork(t.Context(), 3)
			for _, c := range copies {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		}()
		<-time.After(time.Duration(i) * 500 * time.Microsecond) // anywhere in it
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-done
	}
}

// TestForkedSessionsCode: a session cannot make the runner believe in copies that are none.
func TestForkedSessionsCode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, code string }{
		{"a process that is no child of the slot", "b'{\"id\":\"fork\",\"type\":\"forking\"}\\n{\"id\":\"fork\",\"type\":\"forked\",\"pid\":%d}\\n' % os.getpid()"},
		{"the slot", "b'{\"id\":\"fork\",\"type\":\"forking\"}\\n{\"id\":\"fork\",\"type\":\"forked\",\"pid\":1}\\n'"},
		{"no frame", "b'{}\\n'"},
		{"ready", "b'{\"type\":\"ready\",\"version\":2}\\n'"},
		{"another's answer", "b'{\"id\":\"1\",\"type\":\"status\",\"status\":\"ok\"}\\n'"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := session(t, shared(t), job.SessionSpec{})
			// It is written when the next command comes, by what has taken the worker's place.
			says(t, s, "import os, sys, time\nresults = next(c.cell_contents for c in display.__closure__ if type(c.cell_contents).__name__ == 'Results')\n"+
				"def answer(self):\n    os.read(1000, 65536)\n    os.write(1000, "+tt.code+")\n    time.sleep(600)\n"+
				"type(results.control).receive = answer", "")
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			copies, err := s.Fork(ctx, 1)
			if _, refused := errors.AsType[*job.RefusedError](err); err == nil || refused || len(copies) > 0 {
				t.Errorf("%v %v", copies, err)
			}
		})
	}
}

// TestForkFiles: each of a fork group has its files, and tells of what its own executions made.
func TestForkFiles(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		check := func(name string, got, want map[string]string) {
			t.Helper()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		if err := s.Put("put", strings.NewReader("p")); err != nil {
			t.Fatal(err)
		}
		says(t, s, "open('a', 'w').write('1')", "")
		check("left by the origin", gathered(t, s), map[string]string{"a": "1"})
		one := fork(t, s, 1)[0]
		says(t, one, "print(open('put').read())\nopen('b', 'w').write('2')\nopen('a', 'a').write('+')", "p\n")
		check("left by the copy", gathered(t, one), map[string]string{"a": "1+", "b": "2"})
		check("in the copy", inside(t, one), map[string]string{"a": "1+", "b": "2", "put": "p"})
		if err := one.Put("put", strings.NewReader("q")); err != nil {
			t.Fatal(err)
		}
		says(t, one, "print(open('put').read())", "q\n")
		check("in the origin", inside(t, s), map[string]string{"a": "1", "put": "p"})
		if err := one.RemoveFile("a"); err != nil {
			t.Error(err)
		}
		says(t, s, "print(open('a').read())", "1\n")
	})
}
