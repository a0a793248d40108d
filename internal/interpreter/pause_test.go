package interpreter_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/process"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

// ticksBelow returns the processor time of all descendants of a process, in clock ticks.
func ticksBelow(tb testing.TB, pid int) (ticks int64, processes int) {
	tb.Helper()
	for _, one := range process.Descendants(pid) {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(one) + "/stat")
		if err != nil {
			continue
		}
		processes++
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		for _, f := range fields[11:15] {
			n, _ := strconv.ParseInt(f, 10, 64)
			ticks += n
		}
	}
	return ticks, processes
}

// TestPause: no process of a paused session gets processor time, and all go on afterwards.
func TestPause(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		says(t, s, `
import os, socket, subprocess, sys, threading
spin = 'import os, signal, threading\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(7))\nprint(1, flush=True)\nthreading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=True).start()\nwhile True: pass'
child = subprocess.Popen([sys.executable, '-c', spin], stdout=subprocess.PIPE)
child.stdout.readline()
count = [0]
def add():
    while True:
        count[0] += 1
threading.Thread(target=add, daemon=True).start()
still = subprocess.Popen(['sleep', '1000'])
os.kill(still.pid, 19)
here, there = socket.socketpair()
print(child.poll())
`, "None\n")
		c := command(t, s, job.Command{Line: "while :; do :; done"})
		if err := s.Pause(); err != nil {
			t.Fatal(err)
		}
		if err := s.Pause(); err != nil {
			t.Errorf("a second pause: %v", err)
		}
		before, processes := ticksBelow(t, interpreter.SlotPID(s))
		if processes < 4 {
			t.Errorf("there are %d processes", processes)
		}
		spun := time.Now() // as long as another process takes to use some processor time
		for n := 0; time.Since(spun) < 200*time.Millisecond; n++ {
			_ = strconv.Itoa(n)
		}
		if after, _ := ticksBelow(t, interpreter.SlotPID(s)); after != before {
			t.Errorf("a paused session used %d ticks", after-before)
		}
		if end := s.Alive(); end != nil {
			t.Fatalf("it has ended: %+v", end)
		}
		if err := s.Resume(); err != nil {
			t.Fatal(err)
		}
		says(t, s, `
import time
at = count[0]
while count[0] == at: time.sleep(0.001)
here.send(b'x')
print(there.recv(1), child.poll(), open('/proc/%d/stat' % still.pid).read().split()[2])
child.terminate()
print(child.wait())
still.kill()
`, "b'x' None T\n7\n")
		select {
		case <-c.Ended():
			t.Error("the command has ended")
		default:
		}
		if err := s.Resume(); err != nil {
			t.Errorf("a second resume: %v", err)
		}
	})
}

// TestPauseOfRuns: a command and an execution of a context that are under way stand still, and come to their ends after the pause.
func TestPauseOfRuns(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		other, err := s.Context(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		says(t, s, "import os, time\nx = 1", "")
		results := make(chan job.Result, 3)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		run := func(ctx context.Context, text string) {
			res, err := s.Run(ctx, job.Spec{Command: &job.Command{Line: text}, Timeout: time.Hour}, job.Live{})
			if err != nil {
				t.Error(err)
			}
			results <- res
		}
		go run(t.Context(), "echo $$ > counter; while test ! -e go; do sleep 0.01; echo x >> counter; done; kill -0 $(head -n 1 counter); exit 3")
		go run(ctx, "trap 'echo caught; exit 4' INT; touch trapped; while :; do sleep 0.01; done")
		go func() {
			res, end, err := other.Execute(t.Context(), job.Spec{Code: "import os, time\nopen('begun', 'w')\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('code')", Timeout: time.Hour}, job.Live{})
			if err != nil || end != nil {
				t.Errorf("code: %v %v", end, err)
			}
			results <- res
		}()
		const begun = "while not all(os.path.exists(name) for name in ('begun', 'trapped')) or len(open('counter').read().splitlines()) < 3: time.sleep(0.01)"
		says(t, s, "while not os.path.exists('counter'): time.sleep(0.01)\n"+begun, "")
		if err := s.Pause(); err != nil {
			t.Fatal(err)
		}
		cancel() // the command cannot react
		before, _ := ticksBelow(t, interpreter.SlotPID(s))
		for began := time.Now(); time.Since(began) < 200*time.Millisecond; {
			select {
			case res := <-results:
				t.Errorf("it has ended in the pause: %+v", res)
			default:
			}
		}
		if after, _ := ticksBelow(t, interpreter.SlotPID(s)); after != before {
			t.Errorf("a paused session used %d ticks", after-before)
		}
		if err := s.Resume(); err != nil {
			t.Fatal(err)
		}
		if res := <-results; res.Status != job.StatusInterrupted || res.Stdout != "caught\n" {
			t.Errorf("the command that was cancelled: %s, %q %q", outcome(res), res.Stdout, res.Stderr)
		}
		says(t, s, "open('go', 'w').close()\nprint(x)", "1\n")
		for range 2 {
			if res := <-results; res.Stdout != "code\n" && (res.ExitCode == nil || *res.ExitCode != 3) {
				t.Errorf("after the pause: %s, %q %q", outcome(res), res.Stdout, res.Stderr)
			}
		}
	})
}

// TestPauseOfTerminal: the shell of a terminal does not take its job for a stopped one.
func TestPauseOfTerminal(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{})
	x := openScreen(t, s, job.Command{Argv: []string{"bash", "--norc", "-i"}, Envs: map[string]string{"PS1": "$ "}})
	x.says("sh -c 'echo beg''un; read a; echo got $a'", "begun\r\n")
	for range 5 {
		if err := s.Pause(); err != nil {
			t.Fatal(err)
		}
		if err := s.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	x.types("line\n")
	x.shows("got line\r\n")
	x.types("exit 7\n")
	if end := x.ends(); end.ExitCode != 7 || strings.Contains(x.all, "Stopped") {
		t.Errorf("%+v; it shows %q", end, x.all)
	}
}

// TestPauseRefused: a session that shares its sandbox would stop the others. It goes on.
func TestPauseRefused(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t, withLevel(sandbox.Strict)), job.SessionSpec{})
	says(t, s, "x = 1", "")
	other, err := s.Context(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Pause(); err != nil {
		t.Errorf("a session with a context: %v", err)
	}
	if err := s.Resume(); err != nil {
		t.Error(err)
	}
	says(t, other, "print(1)", "1\n")
	copies := fork(t, s, 1)
	for _, one := range []*interpreter.Session{s, copies[0]} {
		if _, refused := errors.AsType[*job.RefusedError](one.Pause()); !refused {
			t.Error("it is paused")
		}
		says(t, one, "print(x)", "1\n")
	}
}

// TestPauseCannotBeUndone: code that has a timer continue it is ended.
func TestPauseCannotBeUndone(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t, withLevel(sandbox.Strict)), job.SessionSpec{})
	says(t, s, `
import ctypes, signal, struct, threading
signal.signal(signal.SIGCONT, lambda *_: None)  # the kernel drops a signal that is ignored, and its timer
libc = ctypes.CDLL(None, use_errno=True)
def spin():
    while True: pass
threading.Thread(target=spin, daemon=True).start()
event = ctypes.create_string_buffer(struct.pack('Qii', 0, 18, 0), 64)  # SIGCONT, as a signal
failed = 0
for i in range(20):  # a stop drops a SIGCONT that is pending, and its timer for ever: hardly all of them are then
    timer = ctypes.c_void_p()
    failed |= libc.timer_create(1, event, ctypes.byref(timer))
    failed |= libc.timer_settime(timer, 0, struct.pack('qqqq', 1, 0, 1, i * 50_000_000 + 1), None)
print(failed)
`, "0\n")
	err := s.Pause()
	if err != nil {
		return // its processes do not stop, so it is not paused
	}
	testenv.Eventually(t, "the end of the session", func() bool { return s.Alive() != nil })
	if end := s.Alive(); end.Reason != job.EndKilled || !strings.Contains(end.Message, "went on") {
		t.Errorf("it has ended: %+v", end)
	}
}

// TestPauseOfHostileCommands: commands that continue each other, fork without end, or hide from their parents stand still, too.
func TestPauseOfHostileCommands(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t, withLevel(sandbox.Strict)), job.SessionSpec{})
	for i, text := range []string{
		"touch $N; while :; do kill -CONT $PPID $$ -1; done 2>/dev/null",
		"touch $N; (while :; do kill -CONT $$; done) & (while :; do kill -CONT $$; done) & wait",
		"export T='touch $N; sh -c \"$T\" &'; sh -c \"$T\"; while :; do sleep 0.001; done",
		"(setsid sh -c 'touch $N; while :; do :; done' &)",
	} {
		command(t, s, job.Command{Line: text, Envs: map[string]string{"N": strconv.Itoa(i)}})
	}
	says(t, s, "import os, time\nwhile not all(os.path.exists(str(i)) for i in range(4)): time.sleep(0.01)", "")
	rounds := 1 // each takes seconds of both processors
	if testenv.IsLong() {
		rounds = 3
	}
	for range rounds {
		if err := s.Pause(); err != nil {
			if _, refused := errors.AsType[*job.RefusedError](err); !refused {
				t.Fatal(err)
			}
			continue // they do not stop, so it is not paused
		}
		before, _ := ticksBelow(t, interpreter.SlotPID(s))
		for began := time.Now(); time.Since(began) < 100*time.Millisecond; {
			_ = strconv.Itoa(1)
		}
		if after, processes := ticksBelow(t, interpreter.SlotPID(s)); after != before {
			t.Errorf("%d processes used %d ticks in a pause", processes, after-before)
		}
		if end := s.Alive(); end != nil {
			t.Errorf("it has ended: %+v", end)
		}
		if err := s.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	says(t, s, "print(1)", "1\n")
}

// TestPausedCloses: a paused session can be closed, with all its processes.
func TestPausedCloses(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s, err := shared(t, withLevel(level)).Session(t.Context(), job.SessionSpec{})
		if err != nil {
			t.Fatal(err)
		}
		says(t, s, "import subprocess\nc = subprocess.Popen(['sleep', '1000'])", "")
		if err := s.Pause(); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Pause(); err == nil {
			t.Error("a closed session is paused")
		}
	})
}
