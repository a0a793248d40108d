package app_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/testenv"
)

// orderly mixes all that comes to a caller, and ends with output that no value follows.
const orderly = `
import sys
for i in range(3):
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
%s`

func orderlyWant(end string) string {
	var b strings.Builder
	for i := range 3 {
		fmt.Fprintf(&b, "line %[1]d\n[%[1]d]part %[1]d[%[1]d]!\n{error %[1]d\n}more %[1]d\n", i)
	}
	return b.String() + "begun{err\n}end\n" + end
}

// orderOf is the output of events, as it came: values in brackets and standard error in braces.
func orderOf(events []event) string {
	var b strings.Builder
	for _, e := range events {
		switch {
		case e.name == "stream" && e.str("stream") == "stderr":
			b.WriteString("{" + e.str("text") + "}")
		case e.name == "stream":
			b.WriteString(e.str("text"))
		case e.name == "display", e.name == "result":
			fmt.Fprintf(&b, "[%v]", e.data["data"].(map[string]any)["text/plain"])
		}
	}
	return strings.ReplaceAll(b.String(), "}{", "")
}

// orderOfList is that of the list in a result.
func orderOfList(result map[string]any) string {
	outputs, _ := result["outputs"].([]any)
	events := make([]event, len(outputs))
	for i, o := range outputs {
		data := o.(map[string]any)
		events[i] = event{name: data["type"].(string), data: data}
		if name := events[i].name; name == "stdout" || name == "stderr" {
			events[i] = event{name: "stream", data: map[string]any{"stream": name, "text": data["text"]}}
		}
	}
	return orderOf(events)
}

// TestOrderForCallers: whichever way a caller listens, it gets the output in its order.
func TestOrderForCallers(t *testing.T) {
	t.Parallel()
	k := start(t, 1)
	n := 6
	if testenv.IsLong() {
		n = 1000
	}
	ways := map[string]func(t *testing.T, code string) func() string{
		"events of an execution": func(_ *testing.T, code string) func() string {
			return func() string { return orderOf(k.executeLive(fields{"code": code}).all()) }
		},
		"events of a job": func(_ *testing.T, code string) func() string {
			return func() string { return orderOf(k.follow(k.submit(fields{"code": code}), "").all()) }
		},
		"the result": func(_ *testing.T, code string) func() string {
			return func() string { return orderOfList(k.execute(fields{"code": code}).body) }
		},
		"the result of a job": func(_ *testing.T, code string) func() string {
			return func() string {
				return orderOfList(k.await(k.submit(fields{"code": code})).body["result"].(map[string]any))
			}
		},
		"events in a session": func(_ *testing.T, code string) func() string {
			id := k.open(nil)
			return func() string { return orderOf(k.executeLive(fields{"code": code, "sessionId": id}).all()) }
		},
		"the result in a session": func(_ *testing.T, code string) func() string {
			id := k.open(nil)
			return func() string { return orderOfList(k.execute(fields{"code": code, "sessionId": id}).body) }
		},
		"a socket": func(_ *testing.T, code string) func() string {
			s := k.connect(k.open(nil))
			return func() string {
				s.send(fields{"type": "execute", "code": code})
				return orderOf(s.until(ends(1)))
			}
		},
	}
	for name, way := range ways {
		for end, want := range map[string]string{"": "", "print('e', file=sys.stderr)\nprint('o')": "{e\n}o\n", "6 * 7": "[42]"} {
			t.Run(name+"/"+want, func(t *testing.T) {
				t.Parallel()
				want := orderlyWant(want)
				var callers sync.WaitGroup
				for range 2 {
					once := way(t, fmt.Sprintf(orderly, end))
					callers.Go(func() {
						for range n / 6 {
							if got := once(); got != want {
								t.Error(cmp.Diff(want, got))
								return
							}
						}
					})
				}
				callers.Wait()
			})
		}
	}
}
