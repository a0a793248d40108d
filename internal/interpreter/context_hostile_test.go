package interpreter_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

// contextAttacks are programs of one context against another, whose process id is other, and against the
// slot, the parent of both. They print what worked after ESCAPED.
var contextAttacks = map[string]string{
	"reads the other": `
for name in ('mem', 'maps', 'environ', 'fd', 'cwd', 'root', 'ns/net', 'fd/1', 'fd/1000', 'fdinfo/1000', 'task'):
    path = '/proc/%d/%s' % (pid, name)
    attempt(path, lambda: os.listdir(path) if os.path.isdir(path) else open(path, 'rb').read(10))
if str(pid) in os.listdir('/proc'):
    print('ESCAPED: /proc lists', pid)
`,
	"traces the other": `
for request in (16, 0x4206):
    if libc.ptrace(request, pid, 0, 0) == 0:
        print('ESCAPED: ptrace', request)
buffer = ctypes.create_string_buffer(8)
piece = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)
for call in (310, 311):
    if libc.syscall(call, pid, piece, 1, piece, 1, 0) >= 0:
        print('ESCAPED: process_vm', call)
fd = libc.syscall(434, pid, 0)
if fd >= 0:
    for number in (0, 1, 2, 1000):
        if libc.syscall(438, fd, number, 0) >= 0:
            print('ESCAPED: pidfd_getfd', number)
`,
	"looks for descriptors": `
found = [fd for fd in range(3, 5000) if valid(fd) and fd != 1000]
if found:
    print('ESCAPED: descriptors', found)
`,
	"writes into memory files": `
for name in ('mem', 'oom_score_adj', 'clear_refs', 'coredump_filter', 'timerslack_ns'):
    path = '/proc/%d/%s' % (pid, name)
    attempt(path, lambda: open(path, 'wb').write(b'0'))
`,
	"enters its namespaces": `
fd = libc.syscall(434, pid, 0)
for kind in (0, 0x10000000, 0x20000000, 0x40000000, 0x00020000):
    if fd >= 0 and libc.setns(fd, kind) == 0:
        print('ESCAPED: setns', hex(kind))
`,
}

// TestContextsAttack: a context reaches neither another one nor the slot, and both go on.
func TestContextsAttack(t *testing.T) {
	t.Parallel()
	for name, code := range contextAttacks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := session(t, shared(t), job.SessionSpec{})
			victim, hostile := another(t, s, ""), another(t, s, "")
			says(t, victim, "import os\nx = 1\nopen('pid', 'w').write(str(os.getpid()))", "")
			says(t, s, "import os\nopen('own', 'w').write(str(os.getpid()))", "")
			for _, other := range []string{"int(open('pid').read())", "int(open('own').read())", "os.getppid()", "1"} {
				says(t, hostile, hostileKit+"pid = "+other+code, "")
			}
			says(t, victim, "print(x)", "1\n")
			says(t, s, "print(1)", "1\n")
		})
	}
}

// TestContextSignals: signals to all others and to the slot end no more than what the code has started,
// where the kernel can keep them apart.
func TestContextSignals(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{})
	victim, hostile := another(t, s, ""), another(t, s, "")
	says(t, victim, "import os\nx = 1\nopen('pid', 'w').write(str(os.getpid()))", "")
	c := command(t, s, line("read x; echo $x"))
	res, end := last(t, hostile, job.Spec{Code: `
import os, signal
pid = int(open('pid').read())
def attempt(pid):
    try:
        os.kill(pid, 0)
        return True
    except OSError:
        return False
if attempt(pid):
    print('no scope')
else:
    for target in pid, 1, os.getppid(), -pid, -1:
        for number in signal.SIGINT, signal.SIGSTOP, signal.SIGKILL:
            try:
                if (target, number) != (-1, signal.SIGSTOP):
                    os.kill(target, number)
            except OSError:
                pass
`})
	if strings.Contains(res.Stdout, "no scope") {
		t.Skip("this kernel cannot keep processes of one user apart")
	}
	t.Logf("%s, %+v", outcome(res), end)
	says(t, victim, "print(x)", "1\n")
	says(t, s, "print(2)", "2\n")
	if stdout, _, _ := output(t, c, "still\n"); stdout != "still\n" {
		t.Errorf("the command says %q", stdout)
	}
}

// TestContextForges: frames of slots and of other workers that a context sends end the context alone.
func TestContextForges(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{})
	victim := another(t, s, "")
	says(t, victim, "x = 1", "")
	for _, frame := range []string{
		`{"type":"joined","pid":2}`, `{"type":"forked","id":"1","pid":2}`, `{"type":"ready","version":2}`, `M 2 0 0 0`, `E`, `{"type":"refused","id":"enter","error":""}`,
		`{"type":"forking","id":"fork"}`, `{"type":"status","id":"2","status":"ok","exitCode":0}`, `{"type":"ok"}`, strings.Repeat("x", 2<<20),
	} {
		hostile := another(t, s, "")
		res, end := last(t, hostile, job.Spec{Code: fmt.Sprintf("import os, time\ndata = %q.encode() + b'\\n'\nwhile data:\n    data = data[os.write(1000, data):]\ntime.sleep(0.05)\nprint('on')", frame)})
		if end == nil && res.Status != job.StatusOK {
			t.Errorf("%.40s: %s", frame, outcome(res))
		}
		says(t, victim, "print(x)", "1\n")
		says(t, s, "print(2)", "2\n")
		if err := hostile.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestContextIsConfined: a context has no more rights than the session's interpreter, and no less.
func TestContextIsConfined(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{Quota: job.Quota{OpenFiles: 77}})
		step(t, s, job.Spec{Code: confinementKit})
		want := step(t, s, job.Spec{Code: "confinement()"})
		if want.Status != job.StatusOK || len(want.Stdout) < 500 {
			t.Fatalf("%+v %+v", want, want.Error)
		}
		for _, cwd := range []string{"", "."} {
			c := another(t, s, cwd)
			step(t, c, job.Spec{Code: confinementKit})
			if got := step(t, c, job.Spec{Code: "confinement()"}); got.Stdout != want.Stdout {
				t.Errorf("session - and context +: %s", cmp.Diff(want.Stdout, got.Stdout))
			}
		}
	})
}

// TestContextMemory: the limit is of all together. The context that goes beyond it ends, and no other.
func TestContextMemory(t *testing.T) {
	t.Parallel()
	p := shared(t)
	if _, _, control := p.Sandbox(); control == sandbox.ControlWatchdog {
		t.Skip("the watchdog ends the one that executes")
	}
	s := session(t, p, job.SessionSpec{Quota: job.Quota{MemoryBytes: 200 << 20}})
	says(t, s, "x = bytearray(50 << 20)", "")
	a, b := another(t, s, ""), another(t, s, "")
	says(t, a, "x = bytearray(60 << 20)", "")
	res, end := last(t, b, job.Spec{Code: "x = bytearray(150 << 20)"})
	if end == nil || end.Reason != job.EndMemory || res.Error == nil || res.Error.Name != "MemoryLimitExceeded" {
		t.Errorf("too much: %+v %+v %+v", res, res.Error, end)
	}
	says(t, a, "print(len(x) >> 20)", "60\n")
	says(t, s, "print(len(x) >> 20)", "50\n")
	says(t, another(t, s, ""), "print(1)", "1\n")
}

// TestContextForkBomb: while one context has all processes of the session, another executes, new ones are
// refused, and the end of the first one makes room.
func TestContextForkBomb(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		if level != sandbox.Strict && os.Geteuid() != 0 {
			return // the kernel counts all processes of the user
		}
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{Quota: job.Quota{Processes: 16}})
		kept, bomb := another(t, s, ""), another(t, s, "")
		says(t, kept, "x = 1", "")
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _, _ = bomb.Execute(t.Context(), job.Spec{Code: `
import os, time
full = False
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        if not full:
            full = True
            try:
                open('full', 'w').close()
            except OSError:
                pass
        time.sleep(0.01)
`}, job.Live{})
		}()
		says(t, kept, "import os, time\nwhile not os.path.exists('full'):\n    time.sleep(0.005)\nprint(x)", "1\n")
		// The slot's own processes may leave room for few. Without a control group they may leave room for all that a session may have.
		for refused := (*job.RefusedError)(nil); refused == nil && level == sandbox.Strict; {
			c, err := s.Context(t.Context(), "")
			if err == nil {
				says(t, c, "print(3)", "3\n")
			} else if !errors.As(err, &refused) || !strings.Contains(refused.Message, "another process") && !strings.Contains(refused.Message, "no more are possible") {
				t.Fatalf("a new one: %v", err)
			}
		}
		says(t, s, "print(2)", "2\n")
		if err := bomb.Close(); err != nil {
			t.Error(err)
		}
		<-done
		says(t, kept, "print(x)", "1\n")
	})
}

// TestManyContexts: made and closed one after another, they leave nothing. There are three times as many as there may be
// at once; make test-long makes a thousand.
func TestManyContexts(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	many := 100
	if testenv.IsLong() {
		many = 1000
	}
	s := session(t, shared(t), job.SessionSpec{})
	first := another(t, s, "")
	const look = "import os\nprint(len(os.listdir('/proc/self/fd')), sorted(os.listdir()), os.listdir('/tmp'))"
	before := step(t, s, job.Spec{Code: look}).Stdout
	for i := range many {
		c, err := s.Context(t.Context(), "")
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if i%100 == 0 {
			says(t, c, "print(1)", "1\n")
		}
		if err := c.Close(); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	says(t, s, look, before)
	says(t, first, "print(1)", "1\n")
	if left := childrenOf(s.SlotPID()); len(left) != 2 {
		t.Errorf("processes that are left: %d", left)
	}
}

// TestContextTime: the processor time of an execution is its own, also of one that has begun before there
// were contexts.
func TestContextTime(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{Quota: job.Quota{CPUTime: 20 * time.Second}})
	ran := make(chan job.Result, 1)
	go func() {
		res, _, _ := s.Execute(t.Context(), job.Spec{Code: "import os, time\nopen('begun', 'w').close()\nwhile not os.path.exists('end'):\n    time.sleep(0.01)", Timeout: ample}, job.Live{})
		ran <- res
	}()
	c := another(t, s, "")
	res := step(t, c, job.Spec{Code: "import time\nbegan = time.process_time()\nwhile time.process_time() - began < 1.5:\n    pass\nopen('end', 'w').close()"})
	if res.CPUMs < 1400 || res.CPUMs > 5000 {
		t.Errorf("an execution of 1500 ms is said to have needed %v ms", res.CPUMs)
	}
	if res := <-ran; res.Status != job.StatusOK || res.CPUMs > 1400 {
		t.Errorf("an execution beside it: %s, %v ms", outcome(res), res.CPUMs)
	}
}

// TestContextsLeaveNothing: after a session with contexts, another slot takes the place of its slot.
func TestContextsLeaveNothing(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(c *interpreter.Config) { c.Size, c.Sandbox = 1, sandbox.Strict })
	for range 2 {
		s, err := pool.Session(t.Context(), job.SessionSpec{})
		if err != nil {
			t.Fatal(err)
		}
		c := another(t, s, "")
		says(t, c, "import os, subprocess\nopen('left', 'w').close()\nif os.fork() == 0:\n    os.setsid()\n    os.closerange(0, 3)\n    import time\n    time.sleep(1000)", "")
		slot := s.SlotPID()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if c.Alive() == nil {
			t.Error("the context outlives its session")
		}
		if !processGone(slot) {
			t.Error("the slot is used again")
		}
		res := execute(t, pool, job.Spec{Code: "import os\nprint(os.listdir(), sorted(int(p) for p in os.listdir('/proc') if p.isdigit()) == [os.getpid()])"})
		if res.Stdout != "[] True\n" {
			t.Errorf("%q", res.Stdout)
		}
	}
}
