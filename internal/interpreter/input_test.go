package interpreter_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
)

// askSink answers what an execution asks for.
type askSink struct {
	prompts []string
	answer  func(request int, prompt string)
}

func (*askSink) Stream(string, []byte) {}
func (*askSink) Skipped(string, int64) {}
func (s *askSink) Event(t job.EventType, data json.RawMessage) {
	var in job.InputData
	if t != job.EventInput || json.Unmarshal(data, &in) != nil {
		return
	}
	s.prompts = append(s.prompts, in.Prompt)
	s.answer(in.Request, in.Prompt)
}

func TestSessionInput(t *testing.T) {
	t.Parallel()
	atEachLevel(t, func(t *testing.T, level sandbox.Level) {
		t.Helper()
		s := session(t, shared(t, withLevel(level)), job.SessionSpec{})
		if res := step(t, s, job.Spec{Code: "input()"}); res.Error == nil || res.Error.Name != "EOFError" {
			t.Errorf("without input: %+v", res)
		}
		const eof = "\x04"
		for _, tt := range []struct {
			name, code, stdout, failure, prompts string
			answers                              []string
			apart                                bool
		}{
			{name: "a line", code: "x = input('name? ')\nprint('hello', x)", answers: []string{"Käa"}, stdout: "name? hello Käa\n", prompts: "name? "},
			{name: "nothing asked", code: "print(1)", stdout: "1\n"},
			{name: "no prompt", code: "print(repr(input()))", answers: []string{""}, stdout: "''\n"},
			{name: "several", code: "print(sum(int(input(i)) for i in range(3)))", answers: []string{"1", "2", "3"}, stdout: "0126\n", prompts: "0|1|2"},
			{name: "lines at once", code: "print([input(), input()])", answers: []string{"a\nb"}, stdout: "['a', 'b']\n"},
			{name: "end", code: "input()", answers: []string{eof}, failure: "EOFError"},
			{name: "lines of a stream", code: "import sys\nprint([l for l in sys.stdin])", answers: []string{"a", "b", eof}, stdout: "['a\\n', 'b\\n']\n", prompts: "||"},
			{name: "readline", code: "print(sys.stdin.readline(), end='')", answers: []string{"line\n"}, stdout: "line\n"},
			{name: "all", code: "print(repr(sys.stdin.read()))", answers: []string{"a", "b", eof}, stdout: "'a\\nb\\n'\n", prompts: "||"},
			{name: "bytes", code: "print(sys.stdin.buffer.readline())", answers: []string{"ä"}, stdout: "b'\\xc3\\xa4\\n'\n"},
			{name: "in a thread", code: "import threading\nt = threading.Thread(target=lambda: print(input()))\nt.start()\nt.join()", answers: []string{"t"}, stdout: "t\n"},
			{name: "in a child", code: "import os\npid = os.fork()\nif not pid:\n    try: input()\n    except EOFError: print('end', flush=True)\n    os._exit(0)\nos.waitpid(pid, 0)", stdout: "end\n"},
			{name: "getpass", code: "import getpass\nprint(getpass.getpass())", answers: []string{"secret"}, stdout: "secret\n"},
			{name: "a long prompt", code: "x = input('p' * 9000 + 'end')\nprint()", answers: []string{"x"}, stdout: strings.Repeat("p", 9000) + "end\n", prompts: strings.Repeat("p", 1021) + "end"},
			{name: "apart", code: "print('a', end='')\nx = input('name? ')\nprint(x)", answers: []string{"Käa"}, stdout: "aKäa\n", prompts: "name? ", apart: true},
			{name: "a long one apart", code: "x = input('p' * 9000 + 'end')\nprint()", answers: []string{"x"}, stdout: strings.Repeat("p", 7979) + "\n", prompts: strings.Repeat("p", 1021) + "end", apart: true},
			{name: "apart, of a stream of the code", code: "import io\nkept, sys.stdin = sys.stdin, io.StringIO('line')\nprint(input('name? '))\nsys.stdin = kept", stdout: "name? line\n", apart: true},
			{name: "given up", code: "import signal\nsignal.signal(signal.SIGALRM, lambda *a: 1/0)\ntry:\n    signal.setitimer(signal.ITIMER_REAL, 1)\n    input()\nexcept ZeroDivisionError:\n    print(input('again '))", answers: []string{"-", "x"}, stdout: "again x\n", prompts: "|again "},
		} {
			answers := make(chan job.Answer, 10)
			sink := &askSink{}
			sink.answer = func(request int, _ string) {
				if request > len(tt.answers) || tt.answers[request-1] == "-" {
					return
				}
				text := tt.answers[request-1]
				if text == eof {
					answers <- job.Answer{Request: request, EOF: true}
					return
				}
				answers <- job.Answer{Request: request, Text: text}
				answers <- job.Answer{Request: request, Text: "twice"}
			}
			tap := new(job.Tap)
			tap.Open(sink)
			res := step(t, s, job.Spec{Code: tt.code, PromptApart: tt.apart}, job.Live{Tap: tap, Answers: answers})
			failure := ""
			if res.Error != nil {
				failure = res.Error.Name
			}
			if res.Stdout != tt.stdout || failure != tt.failure {
				t.Errorf("%s: printed %q, %+v; want %q, %s", tt.name, res.Stdout, res.Error, tt.stdout, tt.failure)
			}
			if got := strings.Join(sink.prompts, "|"); tt.prompts != "" && got != tt.prompts {
				t.Errorf("%s: prompts %q, want %q", tt.name, got, tt.prompts)
			}
		}
		// What was for one execution is not for the next.
		if res := step(t, s, job.Spec{Code: "import sys\nprint(input.__name__, type(sys.stdin).__name__)\ninput()"}); res.Error == nil || res.Error.Name != "EOFError" {
			t.Errorf("afterwards: %+v", res)
		}
	})
}

// TestInterruptBeforeTheRequest: a signal that comes while input flushes the streams is not lost.
func TestInterruptBeforeTheRequest(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{})
	tap := new(job.Tap)
	tap.Open(&askSink{answer: func(int, string) { t.Error("it asks") }})
	res := step(t, s, job.Spec{Timeout: ample, Code: `
import os, signal, sys
class Stream:
    def write(self, text): pass
    def flush(self): os.kill(os.getpid(), signal.SIGINT)
sys.stderr = Stream()
try: input("? ")
except KeyboardInterrupt: print("interrupted")
finally: sys.stderr = sys.__stderr__
`}, job.Live{Tap: tap, Answers: make(chan job.Answer)})
	if res.Status != job.StatusOK || res.Stdout != "interrupted\n" {
		t.Errorf("%+v", res)
	}
}

// TestSessionInputInterrupted: code that waits for input ends when it is interrupted, and what
// is answered too late harms nobody.
func TestSessionInputInterrupted(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t, withGrace(ample)), job.SessionSpec{})
	for i := range 5 {
		answers := make(chan job.Answer, 10)
		tap, sink := new(job.Tap), &askSink{answer: func(int, string) {}}
		tap.Open(sink)
		res := step(t, s, job.Spec{Code: "input()", Timeout: 100 * time.Millisecond}, job.Live{Tap: tap, Answers: answers})
		if res.Status != job.StatusInterrupted {
			t.Errorf("%+v", res)
		}
		// The code gives up, and the answer comes while it does something else.
		sink.answer = func(request int, _ string) {
			time.AfterFunc(100*time.Millisecond, func() { answers <- job.Answer{Request: request, Text: "late"} })
		}
		tap = new(job.Tap)
		tap.Open(sink)
		res = step(t, s, job.Spec{Timeout: 300 * time.Millisecond, Code: `
import signal, time
signal.signal(signal.SIGALRM, lambda *a: 1/0)
signal.setitimer(signal.ITIMER_REAL, .05)
try:
    input()
except ZeroDivisionError:
    while True: time.sleep(1)
`}, job.Live{Tap: tap, Answers: answers})
		if res.Status != job.StatusInterrupted {
			t.Errorf("%+v", res)
		}
		if res := step(t, s, job.Spec{Code: "print(1)"}); res.Stdout != "1\n" {
			t.Errorf("round %d: %+v", i, res)
		}
	}
	// It comes before the code asks for something else.
	answers := make(chan job.Answer, 10)
	late := &askSink{}
	late.answer = func(request int, _ string) {
		time.AfterFunc(100*time.Millisecond, func() { answers <- job.Answer{Request: request, Text: strings.Repeat("x", request)} })
	}
	tap := new(job.Tap)
	tap.Open(late)
	res := step(t, s, job.Spec{Code: `
signal.setitimer(signal.ITIMER_REAL, .05)
try:
    input()
except ZeroDivisionError:
    time.sleep(.3)
    print(input())
`}, job.Live{Tap: tap, Answers: answers})
	if res.Stdout != "xx\n" {
		t.Errorf("%+v", res)
	}
	// A thread that still asks when its execution has ended gets nothing.
	tap = new(job.Tap)
	asked := make(chan bool, 1)
	tap.Open(&askSink{answer: func(int, string) { asked <- true }})
	step(t, s, job.Spec{Code: `
import threading, time, sys
lines = []
t = threading.Thread(target=lambda: lines.append(sys.stdin.readline()))
t.start()
time.sleep(.2)
`}, job.Live{Tap: tap, Answers: make(chan job.Answer)})
	<-asked
	if res := step(t, s, job.Spec{Code: "t.join()\nprint(lines)"}); res.Stdout != "['']\n" {
		t.Errorf("%+v", res)
	}
}

// TestSessionInputForged: code that found the socket cannot ask as it likes.
func TestSessionInputForged(t *testing.T) {
	t.Parallel()
	const forge = `
import os, stat
def is_socket(fd):
    try: return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError: return False
fd = next(filter(is_socket, range(3, 2000)))
for i in (%s):
    os.write(fd, b'{"id":"1","type":"input_request","request":%%d,"prompt":"x"}\n' %% i)
import time
time.sleep(600)
`
	for name, numbers := range map[string]string{"from 2 on": "2,", "twice": "1, 1", "without end": "range(1, 1000)"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := session(t, shared(t), job.SessionSpec{})
			tap, n := new(job.Tap), 0
			tap.Open(&askSink{answer: func(int, string) { n++ }})
			res, end := last(t, s, job.Spec{Code: strings.ReplaceAll(strings.ReplaceAll(forge, "%s", numbers), "%%", "%")}, job.Live{Tap: tap, Answers: make(chan job.Answer)})
			if end == nil || end.Reason != job.EndCrashed || n > 100 {
				t.Errorf("%+v after %d requests: %+v %+v", end, n, res, res.Error)
			}
		})
	}
}

// orderSink notes what had been written when the code asked.
type orderSink struct {
	text    string
	answers chan job.Answer
	t       *testing.T
}

func (s *orderSink) Stream(_ string, p []byte) { s.text += string(p) }
func (*orderSink) Skipped(string, int64)       {}
func (s *orderSink) Event(_ job.EventType, data json.RawMessage) {
	var in job.InputData
	if err := json.Unmarshal(data, &in); err != nil || !strings.HasSuffix(s.text, in.Prompt) {
		s.t.Errorf("asked for %s after %q", data, s.text)
	}
	s.text = ""
	s.answers <- job.Answer{Request: in.Request, Text: "x"}
}

// TestSessionInputOrder: what the code has written before it asks comes before that.
func TestSessionInputOrder(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{})
	sink := &orderSink{answers: make(chan job.Answer, 10), t: t}
	tap := new(job.Tap)
	tap.Open(sink)
	res := step(t, s, job.Spec{Code: "for i in range(500):\n  print('a' * (i * 10), flush=i % 2)\n  input(f'{i}? ')\nprint('end')"}, job.Live{Tap: tap, Answers: sink.answers})
	if !strings.HasSuffix(res.Stdout, "499? end\n") || sink.text != "end\n" {
		t.Errorf("%+v, %q", res, sink.text)
	}
}
