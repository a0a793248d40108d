package interpreter_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

// transcript is a sink that keeps everything in its order: output as it is, what was shown
// in brackets, and standard error in braces.
type transcript struct {
	mu   sync.Mutex
	b    strings.Builder
	last string // the stream of what came last
}

func (s *transcript) Stream(name string, p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(name, string(p))
}

func (s *transcript) Skipped(name string, n int64) { s.Stream(name, fmt.Appendf(nil, "<%d>", n)) }

func (s *transcript) Event(t job.EventType, data json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var value struct{ Data map[string]string }
	if err := json.Unmarshal(data, &value); err != nil {
		panic(err)
	}
	s.add("", fmt.Sprintf("[%s%s]", value.Data["text/plain"], strings.TrimSuffix(string(t), "display")))
}

func (s *transcript) add(stream, text string) {
	if s.last == "stderr" && stream != "stderr" {
		s.b.WriteByte('}')
	}
	if stream == "stderr" && s.last != "stderr" {
		s.b.WriteByte('{')
	}
	s.b.WriteString(text)
	s.last = stream
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add("", "")
	return s.b.String()
}

// listed is the transcript of a result's list, and checks that it has what the result has.
func listed(t *testing.T, res job.Result) string {
	t.Helper()
	res.Expand()
	s := new(transcript)
	text := map[string]string{}
	values := []job.Value(nil)
	for _, o := range res.Outputs {
		switch {
		case o.Value != nil:
			e := o.Event()
			s.Event(e.Type, e.Data)
			values = append(values, *o.Value)
		case o.Error != nil:
		case o.Dropped > 0:
			s.Skipped(o.Type, o.Dropped)
		default:
			text[o.Type] += o.Text
			s.Stream(o.Type, []byte(o.Text))
		}
	}
	if res.Truncated == nil && (text["stdout"] != res.Stdout || text["stderr"] != res.Stderr) {
		t.Errorf("outputs have %q and %q, not %q and %q", text["stdout"], text["stderr"], res.Stdout, res.Stderr)
	}
	if diff := cmp.Diff(res.Results, values); diff != "" {
		t.Error(diff)
	}
	return s.String()
}

// mixed is a program that puts out things in all ways, and what it puts out.
const mixed = `
import os, subprocess, sys, threading
for i in range(4):
    print("line", i)
    display(i)
    print("part", i, end="")
    display(i)
    print("!")
    print("error", i, file=sys.stderr)
    print("more", i)
sys.stdout.write("begun")
print("err", file=sys.stderr)
print("end")
os.write(1, b"raw\n")
display("raw")
subprocess.run("echo child; echo careful >&2", shell=True)
display("child")
def work():
    print("thread")
    display("thread")
    print("threads", file=sys.stderr)
thread = threading.Thread(target=work)
thread.start(); thread.join()
print("last")
6 * 7`

func mixedWant() string {
	var b strings.Builder
	for i := range 4 {
		fmt.Fprintf(&b, "line %[1]d\n[%[1]d]part %[1]d[%[1]d]!\n{error %[1]d\n}more %[1]d\n", i)
	}
	return b.String() + "begun{err\n}end\nraw\n['raw']child\n{careful\n}['child']thread\n['thread']{threads\n}last\n[42result]"
}

// orders executes mixed n times by each of many callers, with execute.
func orders(t *testing.T, callers, n int, execute func(t *testing.T, spec job.Spec, live job.Live) job.Result) {
	t.Helper()
	want := mixedWant()
	alternatively := strings.Replace(want, "child\n{careful\n}", "{careful\n}child\n", 1) // that is for the shell
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range n {
				live := new(transcript)
				tap := new(job.Tap)
				tap.Open(live)
				res := execute(t, job.Spec{Code: mixed, Timeout: ample}, job.Live{Tap: tap})
				for how, got := range map[string]string{"live": live.String(), "in the result": listed(t, res)} {
					if got != want && got != alternatively {
						t.Errorf("%s: %s", how, cmp.Diff(want, got))
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// What code puts out arrives in its order, live and in the result.
func TestOrder(t *testing.T) {
	t.Parallel()
	n := 24
	if testenv.IsLong() {
		n = 1000
	}
	for _, callers := range []int{1, 8} {
		t.Run(fmt.Sprint(callers, " callers"), func(t *testing.T) {
			t.Parallel()
			pool := shared(t)
			orders(t, callers, n/callers, func(t *testing.T, spec job.Spec, live job.Live) job.Result {
				t.Helper()
				return execute(t, pool, spec, live)
			})
		})
		t.Run(fmt.Sprint(callers, " sessions"), func(t *testing.T) {
			t.Parallel()
			pool := newPool(t, func(c *interpreter.Config) { c.Size = callers })
			sessions := make(chan *interpreter.Session, callers)
			for range callers {
				sessions <- session(t, pool, job.SessionSpec{})
			}
			orders(t, callers, n/callers, func(t *testing.T, spec job.Spec, live job.Live) job.Result {
				t.Helper()
				s := <-sessions
				defer func() { sessions <- s }()
				return step(t, s, spec, live)
			})
		})
	}
}

// slowly is a viewer that takes a while for all it gets, as on a machine that is busy.
type slowly struct{ transcript }

const viewing = 50 * time.Millisecond // for each of about 40 events: in all more than the runner waits where nothing moves

func (s *slowly) Stream(name string, p []byte) {
	time.Sleep(viewing)
	s.transcript.Stream(name, p)
}

func (s *slowly) Event(t job.EventType, data json.RawMessage) {
	time.Sleep(viewing)
	s.transcript.Event(t, data)
}

// The output is in its order and complete when reading it goes on for long after the code's end.
func TestOrderForSlowViewers(t *testing.T) {
	t.Parallel()
	for _, level := range []sandbox.Level{sandbox.Strict, sandbox.Basic} {
		t.Run(string(level), func(t *testing.T) {
			t.Parallel()
			pool := newPool(t, func(c *interpreter.Config) { c.Sandbox, c.Size = level, 1 })
			live, tap := new(slowly), new(job.Tap)
			tap.Open(live)
			res := execute(t, pool, job.Spec{Code: strings.Repeat("print('text', flush=True); display('value')\n", 20), Timeout: ample}, job.Live{Tap: tap})
			want := strings.Repeat("text\n['value']", 20)
			if got := live.String(); got != want {
				t.Errorf("live: %s", cmp.Diff(want, got))
			}
			if got := listed(t, res); got != want {
				t.Errorf("in the result: %s", cmp.Diff(want, got))
			}
		})
	}
}

// Whoever begins to watch late gets what there was in its order, too.
func TestOrderForLateWatchers(t *testing.T) {
	t.Parallel()
	s := session(t, shared(t), job.SessionSpec{})
	early, late := new(transcript), new(transcript)
	tap := new(job.Tap)
	tap.Open(early)
	done := make(chan struct{})
	go func() {
		defer close(done)
		step(t, s, job.Spec{Code: "import os\nfor i in range(3):\n    print(i)\n    display(i)\nprint('half')\nwhile not os.path.exists('go'): pass\ndisplay(3)\nprint('end')", Timeout: ample}, job.Live{Tap: tap})
	}()
	testenv.Eventually(t, "half of it is there", func() bool { return strings.HasSuffix(early.String(), "half\n") })
	tap.Open(late)
	if err := s.Put("go", strings.NewReader("")); err != nil {
		t.Error(err)
	}
	<-done
	if got, want := late.String(), "0\n[0]1\n[1]2\n[2]half\n[3]end\n"; got != want {
		t.Error(cmp.Diff(want, got))
	}
}
