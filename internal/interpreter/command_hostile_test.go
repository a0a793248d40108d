package interpreter_test

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// hostile are programs that say ESCAPED and what worked. Each is a command, at a terminal, beside another
// command at a terminal of its own.
var hostile = map[string]string{
	"puts input into its terminal": `
import fcntl
for number in (0x5412, 0x5412 | 1 << 32):
    attempt('TIOCSTI', lambda: fcntl.ioctl(0, number & 0xffffffff, b'x'))
`,
	"steals the terminal of another command": `
import fcntl
os.setpgid(0, 0) if os.getsid(0) != os.getpid() else None
if os.fork() == 0:
    os.setsid()
    for name in os.listdir('/dev/pts'):
        path = '/dev/pts/' + name
        if name.isdigit() and path != os.ttyname(0):
            def steal():
                fcntl.ioctl(os.open(path, os.O_RDWR | os.O_NOCTTY), 0x540E, 1)
            attempt('TIOCSCTTY of ' + path, steal)
    os._exit(0)
os.wait()
`,
	"looks for descriptors": `
found = [fd for fd in range(3, 5000) if valid(fd)]
if found:
    print('ESCAPED: descriptors', found)
`,
	"reads those outside of the code": `
for pid in [1] + list(range(2, 40)):
    for name in ('mem', 'environ', 'maps', 'fd', 'root', 'cwd', 'ns/net'):
        path = '/proc/%d/%s' % (pid, name)
        def look():
            if pid == os.getpid() or 'start.py' not in open('/proc/%d/cmdline' % pid).read():
                raise OSError
            os.listdir(path) if name in ('fd', 'root', 'cwd') else open(path, 'rb').read(10)
        attempt(path, look)
`,
	"has rights": `
status = open('/proc/self/status').read()
for label, want in (('NoNewPrivs:', '1'), ('Seccomp:', '2'), ('CapEff:', '0' * 16), ('CapPrm:', '0' * 16), ('CapBnd:', '0' * 16), ('CapInh:', '0' * 16), ('CapAmb:', '0' * 16)):
    got = status.split(label)[1].split()[0]
    if got != want:
        print('ESCAPED:', label, got)
for name in ('unshare', 'setns', 'mount', 'umount2', 'ptrace', 'sethostname', 'pivot_root'):
    call = getattr(libc, name)
    for first in (0, 0x04000000, 0x40000000, 0x10000000):
        if call(first, 0x04000000, 0, 0, 0) == 0:
            print('ESCAPED:', name, hex(first))
`,
	"writes outside": `
for path in ('/usr/x', '/etc/passwd', '/bin/bash', '/proc/1/oom_score_adj', '/proc/sys/kernel/hostname', '/dev/pts/ptmx/x'):
    attempt(path, lambda: open(path, 'w'))
attempt('ptmx', lambda: os.chmod('/dev/pts/ptmx', 0o777))
`,
	"raises its limits": `
import resource
for kind in (resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_RTTIME, resource.RLIMIT_CORE):
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        attempt('limit %d' % kind, lambda: resource.setrlimit(kind, (hard + 1, hard + 1)))
`,
}

const hostileKit = `
import ctypes, os, sys
libc = ctypes.CDLL(None)
def attempt(what, do):
    try:
        do()
    except (OSError, ValueError):
        return
    print('ESCAPED:', what)
def valid(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
`

func TestCommandHostile(t *testing.T) {
	t.Parallel()
	for name, code := range hostile {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := session(t, shared(t), job.SessionSpec{})
			other := openScreen(t, s, line("echo rea''dy; read a; echo got $a."))
			other.shows("ready")
			x := openScreen(t, s, job.Command{Argv: []string{"python3", "-c", hostileKit + code + "\nprint('HE' + 'LD')"}})
			x.shows("HELD")
			end := x.ends()
			if strings.Contains(x.all, "ESCAPED") || end.ExitCode != 0 {
				t.Errorf("%+v: %s", end, x.all)
			}
			other.types("a\n")
			other.shows("got a.")
			says(t, s, "print(1)", "1\n")
			if end := openScreen(t, s, line("true")).ends(); end.ExitCode != 0 {
				t.Errorf("afterwards: %+v", end)
			}
		})
	}
}

// TestCommandKillsSupervisor: code that ends the process that starts commands, which it can where the runner is an
// ordinary user, ends its own session, and with it all processes.
func TestCommandKillsSupervisor(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		c2 := command(t, s, line("read a"))
		c := command(t, s, job.Command{Argv: []string{"python3", "-c", "import os\nsupervisor = os.getppid()\n" + leaves + `
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGKILL):
    try:
        os.kill(supervisor, number)
    except OSError:
        pass
time.sleep(1000)
`}})
		if level == sandbox.Strict && os.Geteuid() == 0 {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			output(t, c2, "a\n")
			says(t, s, "print(1)", "1\n")
			return
		}
		select {
		case <-c2.Ended():
		case <-time.After(time.Second): // its kernel, or another user, protects it, or it has not ended yet
		}
		if res, end, err := s.Execute(t.Context(), job.Spec{Code: "print(1)", Timeout: ample}, job.Live{}); err == nil && end == nil && res.Stdout == "1\n" {
			select {
			case <-c2.Ended():
				t.Error("the session goes on")
			default:
			}
		} else {
			<-c2.Ended()
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadAll(c.Stdout()); err != nil { // none has the pipe
			t.Error(err)
		}
	})
}

// TestCommandsSeeEachOther, and not the interpreter, which does not see them either.
func TestCommandsSeeEachOther(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{})
	c := command(t, s, job.Command{Argv: []string{"sleep", "1000"}})
	pid := itoa(c.PID())
	if _, _, end := output(t, command(t, s, line("kill -0 "+pid+" && test -d /proc/"+pid)), ""); end.ExitCode != 0 {
		t.Errorf("a command does not see another: %+v", end)
	}
	says(t, s, "import os\nprint(os.path.exists('/proc/"+pid+"'))\nown = os.getpid()\nopen('pid', 'w').write(str(own))", "False\n")
	if _, _, end := output(t, command(t, s, line("test -d /proc/$(cat pid)")), ""); end.ExitCode != 1 {
		t.Errorf("a command sees the interpreter: %+v", end)
	}
	other := session(t, shared(t), job.SessionSpec{})
	if stdout, _, _ := output(t, command(t, other, line("ls -d /proc/[0-9]* | wc -l")), ""); strings.TrimSpace(stdout) > "4" {
		t.Errorf("%s processes in another session", stdout)
	}
}

// TestCommandsNothingStays: the next session in the slot finds nothing of commands.
func TestCommandsNothingStays(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(c *interpreter.Config) { c.Size, c.Sandbox = 1, sandbox.Strict })
	for i := range 3 {
		s, err := pool.Session(t.Context(), job.SessionSpec{})
		if err != nil {
			t.Fatal(err)
		}
		c := command(t, s, job.Command{Line: "touch left; tty; sleep 1000 & echo $A; ls", Envs: map[string]string{"A": "secret"}, Terminal: &job.TerminalSize{}})
		x := &screen{tb: t, c: c}
		x.shows("/dev/pts/0\r\nsecret\r\nleft\r\n")
		if err := s.Close(); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		res := execute(t, pool, job.Spec{Code: "import os\nprint(os.listdir(), os.listdir('/dev/pts'), sorted(int(p) for p in os.listdir('/proc') if p.isdigit()) == [os.getpid()])"})
		if res.Stdout != "[] ['ptmx'] True\n" {
			t.Errorf("%d: %q %+v", i, res.Stdout, res.Error)
		}
	}
}

// TestCommandConfinement: a command has lost all that the interpreter has lost.
func TestCommandConfinement(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		const code = `
import os, resource
fields = ('Uid', 'Gid', 'Groups', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp', 'Seccomp_filters')
for line in open('/proc/self/status'):
    if line.partition(':')[0] in fields:
        print(line.split())
for name in ('user', 'pid', 'mnt', 'net', 'ipc', 'cgroup'):
    print(os.readlink('/proc/self/ns/' + name))
for name in ('NPROC', 'NOFILE', 'FSIZE', 'CORE', 'MSGQUEUE', 'SIGPENDING', 'MEMLOCK'):
    print(name, resource.getrlimit(getattr(resource, 'RLIMIT_' + name)))
print(open('/proc/self/cgroup').read(), open('/proc/self/oom_score_adj').read())
for path in ('/etc/passwd', '/usr/x', '/dev/full', '/root/x', '/sys/x', '/proc/sys/kernel/hostname'):
    try:
        open(path, 'ab').close()
        print('writes', path)
    except OSError:
        pass
`
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{Quota: job.Quota{OpenFiles: 99, FileBytes: 1 << 22}})
		want := step(t, s, job.Spec{Code: code})
		if want.Status != job.StatusOK {
			t.Fatalf("%+v", want.Error)
		}
		stdout, stderr, _ := output(t, command(t, s, job.Command{Argv: []string{"python3", "-c", code}}), "")
		if diff := cmp.Diff(want.Stdout, stdout); diff != "" || !strings.Contains(stdout, "(99, 99)") {
			t.Errorf("interpreter - and command +: %s%s", diff, stderr)
		}
	})
}
