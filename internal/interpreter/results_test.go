package interpreter_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/sandbox"
	"github.com/kaa-run/kaa/internal/testenv"
)

// shown writes results as tests expect them: one line each, * for the main one, then the
// forms by MIME type.
func shown(tb testing.TB, res job.Result) string {
	tb.Helper()
	var lines []string
	for _, v := range res.Results {
		var parts []string
		for mime, form := range v.Data {
			parts = append(parts, mime+"="+string(form))
		}
		for mime := range v.Omitted {
			parts = append(parts, mime+" omitted")
		}
		slices.Sort(parts)
		mark := ""
		if v.Main {
			mark = "*"
		}
		lines = append(lines, mark+strings.Join(parts, " "))
	}
	if data, err := json.Marshal(res); err != nil || !json.Valid(data) {
		tb.Errorf("json: %v", err)
	}
	return strings.Join(lines, "\n")
}

func TestResults(t *testing.T) {
	t.Parallel()
	pool := shared(t)
	tests := []struct{ name, code, want string }{
		{"last expression", "x = 20\nx + 1", `*text/plain="21"`},
		{"only expression", "1 + 1", `*text/plain="2"`},
		{"of many lines", "dict(\n  a=1,\n)\n# the end\n\n", `*text/plain="{'a': 1}"`},
		{"in brackets", "x = 1\n(x)", `*text/plain="1"`},
		{"after a semicolon", "x = 1; x", `*text/plain="1"`},
		{"string", "'é\\n'", `*text/plain="'é\\n'"`},
		{"false", "False", `*text/plain="False"`},
		{"None", "None", ""},
		{"print", "print(end='')", ""},
		{"statement", "x = 1", ""},
		{"block", "if True:\n  42", ""},
		{"silenced", "1;", ""},
		{"silenced, with a comment", "x = 'é'; (x) ; # no ;", ""},
		{"comment is no semicolon", "1 # a; b", `*text/plain="1"`},
		{"semicolon in a string", "';'", `*text/plain="';'"`},
		{"CRLF", "x = 1;\r\nx\r\n", `*text/plain="1"`},
		{"value before an error", "display(1)\n1/0", `text/plain="1"`},
		{"features", "from __future__ import annotations\ndef f(x: y): pass\n(lambda: f.__annotations__)()", `*text/plain="{'x': 'y'}"`},
		{"display", "display(1, 'a'); display(None)", "text/plain=\"1\"\ntext/plain=\"'a'\"\ntext/plain=\"None\""},
		{"display, then the value", "display(1)\n2", "text/plain=\"1\"\n*text/plain=\"2\""},
		{"display of a thread", "import threading\nt = threading.Thread(target=display, args=(1,))\nt.start()\nt.join()", `text/plain="1"`},
		{"before exit", "import sys\ndisplay(1)\nsys.exit(3)", `text/plain="1"`},
		{"before a sudden end", "import os\ndisplay(1)\nos.kill(os.getpid(), 9)", `text/plain="1"`},
		{"at the end", "import atexit\n_ = atexit.register(display, 1)", `text/plain="1"`},
		{
			"methods", "class A:\n  def __repr__(s): return 'A'\n  def _repr_html_(s): return '<b>'\n  def _repr_png_(s): return b'\\x89PNG'\n" +
				"  def _repr_jpeg_(s): return b'x'\n  def _repr_json_(s): return {'a': [1, None, 'é']}\n  def _repr_latex_(s): return None\n  _repr_pdf_ = 1\nA()",
			`*application/json={"a":[1,null,"é"]} image/png="iVBORw==" text/html="<b>" text/plain="A"`,
		},
		{
			"bundle", "class A:\n  def __repr__(s): return 'A'\n  def _repr_html_(s): return 'yes'\n" +
				"  def _repr_mimebundle_(s, include=None, exclude=None): return {'application/vnd.x+json': [1], 'text/x': 'y', 'image/png': b'a', 'z': 1, 2: 3, 'a/b': 4}, {}\nA()",
			`*application/vnd.x+json=[1] image/png="YQ==" text/html="yes" text/plain="A" text/x="y"`,
		},
		{"metadata", "class A:\n  def __repr__(s): return 'A'\n  def _repr_png_(s): return 'QQ==', {'width': 1}\nA()", `*image/png="QQ==" text/plain="A"`},
		{"class", "class A:\n  def _repr_html_(s): return 'a'\nA", `*text/plain="<class '__main__.A'>"`},
		{"answers to everything", "class A:\n  def __getattr__(s, n): return lambda *a, **k: 1/0\n  def __repr__(s): return 'A'\nA()", `*text/plain="A"`},
		{"surrogates", "'\\ud83d\\ude00\\udfff'", `*text/plain="'\\ud83d\\ude00\\udfff'"`},
		{"half a character", "class A:\n  def __repr__(s): return '\\ud83dx\\ude00\\U0001F600'\nA()", `*text/plain="\ufffdx\ufffd😀"`},
		{"half a character as JSON", "class A:\n  def __repr__(s): return 'A'\n  def _repr_json_(s): return {'\\ud800': '\\\\ud800'}\nA()", `*application/json={"\ufffd":"\\ud800"} text/plain="A"`},
		{"not a number", "class A:\n  def __repr__(s): return 'A'\n  def _repr_json_(s): return [float('nan')]\nA()", `*text/plain="A"`},
		{"raw bundle", "display({'text/html': '<i>', 'text/plain': 'i'}, raw=True)", `text/html="<i>" text/plain="i"`},
		{"include", "from IPython.display import HTML\ndisplay(HTML('h'), exclude=['text/html'])", `text/plain="<IPython.core.display.HTML object>"`},
		{"handle", "h = display(1, display_id=True)\nh.update(2)", `text/plain="2"`},
		{"handle without an object", "h = display(display_id='x')\nh.update(2)\nh.update(3)", `text/plain="3"`},
		{"update in its place", "h = display(1, display_id=True); display(5)\nh.update(2)", "text/plain=\"2\"\ntext/plain=\"5\""},
		{"update of all with the id", "display(1, display_id='a'); display(2, display_id='a'); display(3, display_id='a', update=True);", "text/plain=\"3\"\ntext/plain=\"3\""},
		{"update of an id that is not there", "display(1)\ndisplay(2, display_id='a', update=True);", "text/plain=\"1\"\ntext/plain=\"2\""},
		{"cleared", "from IPython.display import clear_output\ndisplay(1); display(2, display_id='a'); clear_output(); display(3)", `text/plain="3"`},
		{"cleared to the end", "from IPython.display import clear_output\ndisplay(1); clear_output()", ""},
		{"waits to clear", "from IPython.display import clear_output\ndisplay(1); clear_output(wait=True); clear_output(wait=True)", `text/plain="1"`},
		{"cleared by the value", "from IPython.display import clear_output\ndisplay(1); clear_output(wait=True)\n2", `*text/plain="2"`},
		{"display clears", "display(1); display(2, clear=True)", `text/plain="2"`},
		{"shows itself", "class A:\n  def _ipython_display_(s): display(1)\nA()", `text/plain="1"`},
		{"does not show itself", "class A:\n  def _ipython_display_(s): raise NotImplementedError\n  def __repr__(s): return 'A'\nA()", `*text/plain="A"`},
		{"method of an object", "class A:\n  def __repr__(s): return 'A'\na = A(); a._repr_html_ = lambda: 'h'\na", `*text/html="h" text/plain="A"`},
		{"await", "import asyncio\nawait asyncio.sleep(0)\nawait asyncio.sleep(0, 5)", `*text/plain="5"`},
		{"async for", "async def f():\n  yield 1\nasync for x in f(): pass\n[x async for x in f()]", `*text/plain="[1]"`},
		{"shadowed", "display = 1\ndisplay", `*text/plain="1"`},
		{"broken modules", "import json, os, binascii, sys\njson.dumps = os.write = binascii.b2a_base64 = sys.modules = None\n1", `*text/plain="1"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := execute(t, pool, job.Spec{Code: tt.code})
			if diff := cmp.Diff(tt.want, shown(t, res)); diff != "" || res.ResultsDropped != 0 {
				t.Errorf("%s; %d dropped; %s: %+v\n%s", diff, res.ResultsDropped, outcome(res), res.Error, res.Stderr)
			}
			if res.Stdout != "" {
				t.Errorf("stdout = %q", res.Stdout)
			}
		})
	}
}

// What a form does cannot fail an execution or end it.
func TestHostileForms(t *testing.T) {
	t.Parallel()
	pool := shared(t)
	const html = "class A:\n  def __repr__(s): return 'A'\n  def _repr_html_(s):\n    "
	plain := func(body string) string { return "class A:\n  def __repr__(s):\n    " + body + "\nA()" }
	tests := []struct{ name, code, want string }{
		{"raises", html + "1/0\nA()", `*text/plain="A"`},
		{"exits", html + "raise SystemExit(3)\nA()", `*text/plain="A"`},
		{"recurses", html + "return s._repr_html_()\nA()", `*text/plain="A"`},
		{"no text", html + "return 5\nA()", `*text/plain="A"`},
		{"lies about its class", "class L:\n  __class__ = property(lambda s: 1/0)\n" + html + "return L()\nA()", `*text/plain="A"`},
		{"shows itself", html + "display(1)\n    return 'h'\nA()", "text/plain=\"1\"\n*text/html=\"h\" text/plain=\"A\""},
		{"text of another class", "class S(str):\n  def __len__(s): return 10**9\n  def __str__(s): 1/0\n  def encode(s): 1/0\n" + html + "return S('h')\nA()", `*text/html="h" text/plain="A"`},
		{"repr raises", plain("1/0"), `*text/plain="<A object whose repr raised ZeroDivisionError: division by zero>"`},
		{"repr exits", plain("raise SystemExit"), `*text/plain="<A object whose repr raised SystemExit>"`},
		{"repr recurses", plain("return repr(s)"), `*text/plain="<A object whose repr raised RecursionError: `},
		{"repr is no text", plain("return 1"), `*text/plain="<A object whose repr raised TypeError: __repr__ returned non-string (type int)>"`},
		{"metaclass", "class M(type):\n  __name__ = __mro__ = property(lambda c: 1/0)\n  def __getattribute__(c, n): 1/0\nclass A(metaclass=M):\n  def __repr__(s): return 'A'\nA()", `*text/plain="A"`},
		{"properties", "class A:\n  __class__ = _repr_html_ = property(lambda s: 1/0)\n  def __repr__(s): return 'A'\nA()", `*text/plain="A"`},
		{"bundle that is none", "class A(dict):\n  def _repr_mimebundle_(s, **k): return 1\n  def __repr__(s): return 'A'\nA()", `*text/plain="A"`},
		{"bundle of a dict class", "class D(dict):\n  def items(s): 1/0\nclass A:\n  def __repr__(s): return 'A'\n  def _repr_mimebundle_(s, **k): return D({'a/b': 'c'})\nA()", `*a/b="c" text/plain="A"`},
		{"pretends to be a frame", "class DataFrame:\n  __module__ = 'pandas'\n  def __repr__(s): return 'A'\n  _repr_html_ = iloc = 1\nDataFrame()", `*text/plain="A"`},
		{"pretends to be a figure", "class Figure:\n  __module__ = 'matplotlib'\n  axes = [1]\n  def __repr__(s): return 'A'\n  def savefig(s, b, **k): b.write(b'a')\nFigure()", `*image/png="YQ==" text/plain="A"`},
		{"pretends to be pyplot", "import sys\nclass P:\n  def get_fignums(s): return [1, 2]\n  def figure(s, n): 1/0\nsys.modules['matplotlib.pyplot'] = P()", ""},
		{"no pyplot", "import sys\nsys.modules['matplotlib.pyplot'] = None\n1", `*text/plain="1"`},
		{"deep", "x = []\nfor _ in range(500): x = [x]\nclass A:\n  def __repr__(s): return 'A'\n  def _repr_json_(s): return x\nA()", `*application/json omitted text/plain="A"`},
		{"cycle", "x = []\nx.append(x)\nclass A:\n  def __repr__(s): return 'A'\n  def _repr_json_(s): return x\nA()", `*text/plain="A"`},
		{"builtins are gone", "import builtins\nd = delattr\nfor n in list(vars(builtins)): d(builtins, n)\n1", `*text/plain="1"`},
		{"deep expression", "x = 1\n(" + strings.Repeat("x + ", 2000) + "x\n)", ""},
	}
	// The others do not make a tree of it.
	deep := slices.Contains([]string{"8", "13", "14"}, strings.Split(pool.Runtimes()[0].Version, ".")[1])
	for _, tt := range tests {
		if tt.name == "deep expression" && deep {
			tt.want = `*text/plain="2001"`
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := execute(t, pool, job.Spec{Code: tt.code})
			if got := outcome(res); got != "ok 0" {
				t.Errorf("outcome = %q: %+v", got, res.Error)
			}
			got := shown(t, res)
			if tt.name == "repr recurses" { // versions differ in what comes behind it
				got = got[:min(len(got), len(tt.want))]
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A form that takes longer than there is time is the code's, like a loop.
func TestSlowForm(t *testing.T) {
	t.Parallel()
	res := execute(t, shared(t), job.Spec{
		Code:    "import time\ndisplay(1)\nclass A:\n  def _repr_html_(s): time.sleep(600)\nA()",
		Timeout: soon(),
	})
	if got, want := outcome(res), "interrupted KeyboardInterrupt: "+timedOut(soon()); got != want {
		t.Errorf("outcome = %q, want %q", got, want)
	}
	if got := shown(t, res); got != `text/plain="1"` {
		t.Errorf("shown: %s", got)
	}
	if !strings.Contains(res.Error.Traceback, "line 4, in _repr_html_") || strings.Contains(res.Error.Traceback, "display.py") {
		t.Errorf("traceback:\n%s", res.Error.Traceback)
	}
}

// Results have a budget, and of it the value of the last expression has its part.
func TestResultBudget(t *testing.T) {
	t.Parallel()
	pool := shared(t)
	quota := fillQuota(job.Quota{})
	tests := []struct {
		name, code string
		budget     int64
		check      func(job.Result) bool
	}{
		{"a form without room", "from IPython.display import HTML\nHTML('x' * 200000)", 100_000, func(r job.Result) bool {
			v := r.Results[0]
			return v.Main && v.Omitted["text/html"] == 200_002 && string(v.Data["text/plain"]) == `"<IPython.core.display.HTML object>"`
		}},
		{"a large one", "from IPython.display import HTML\nHTML('x' * 5000000)", 8 << 20, func(r job.Result) bool {
			return len(r.Results[0].Data["text/html"]) == 5_000_002 && r.Results[0].Omitted == nil
		}},
		{"long repr", "'x' * 1000000", 1 << 20, func(r job.Result) bool {
			s := string(r.Results[0].Data["text/plain"])
			return len(s) < 70_000 && strings.Contains(s, " characters dropped] ...")
		}},
		{"long repr, little room", "'é' * 1000000", 5000, func(r job.Result) bool {
			s := string(r.Results[0].Data["text/plain"])
			return len(s) > 1000 && len(s) < 5000 && strings.Contains(s, " characters dropped] ...")
		}},
		{"no room at all", "display(1)\n2", 0, func(r job.Result) bool { return len(r.Results) == 0 && r.ResultsDropped == 2 }},
		{"many", "for i in range(10000): display(i)\n'last'", 100_000, func(r job.Result) bool {
			n := len(r.Results)
			return n > 200 && n < 400 && n+r.ResultsDropped == 10_001 && r.Results[n-1].Main
		}},
		{"many large ones", "from IPython.display import HTML\nfor i in range(10): display(HTML('x' * 20000))\n'last'", 100_000, func(r job.Result) bool {
			n := len(r.Results)
			return n == 11 && r.Results[10].Main && r.Results[3].Omitted["text/html"] == 20_002
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			q := quota
			q.OutputBytes, q.ResultBytes = 1000, tt.budget
			if tt.budget == 0 {
				q.OutputBytes = 0 // as it was recorded before results had a limit of their own
			}
			res := execute(t, pool, job.Spec{Code: tt.code, Quota: q})
			text := shown(t, res)
			if outcome(res) != "ok 0" || int64(len(text)) > tt.budget+100 || !tt.check(res) {
				t.Errorf("%s, %d dropped, %d results: %.2000s", outcome(res), res.ResultsDropped, len(res.Results), text)
			}
		})
	}
}

// What is taken back or replaced costs nothing: the last round of a long loop is there.
func TestReplacedResultsCostNothing(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(c *interpreter.Config) { c.Size, c.Quota.ResultBytes = 2, 100_000 })
	const begin = "from IPython.display import clear_output, HTML\n"
	for name, code := range map[string]string{
		"clear":      "for i in range(50): clear_output(); display(HTML('x' * 60000 + str(i)))",
		"clear wait": "for i in range(50): clear_output(wait=True); display(HTML('x' * 60000 + str(i)))",
		"update":     "h = display(HTML('x' * 60000), display_id=True)\nfor i in range(50): h.update(HTML('x' * 60000 + str(i)))",
		"many":       "for i in range(2000): display(i)\nclear_output()\ndisplay(HTML('x' * 60000 + '49'))",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res := execute(t, pool, job.Spec{Code: begin + code})
			if len(res.Results) != 1 || res.ResultsDropped != 0 || len(res.Notices) != 0 || !strings.HasSuffix(string(res.Results[0].Data["text/html"]), `x49"`) {
				t.Errorf("%d results, %d dropped, %+v: %.300s", len(res.Results), res.ResultsDropped, res.Notices, shown(t, res))
			}
		})
	}
}

// What fails is named, with its message.
func TestFailedFormsAreNamed(t *testing.T) {
	t.Parallel()
	pool := shared(t)
	const class = "class A:\n  def __repr__(s): return 'A'\n  "
	for _, tt := range []struct{ code, name, want string }{
		{class + "def _repr_html_(s): raise ValueError('no rows')\nA()", "_repr_html_", "ValueError: no rows"},
		{class + "def _repr_mimebundle_(s, **k): raise KeyError('a')\nA()", "_repr_mimebundle_", "KeyError: 'a'"},
		{class + "def _ipython_display_(s): 1/0\nA()", "_ipython_display_", "ZeroDivisionError: division by zero"},
		{class + "def _repr_json_(s): return [object]\nA()", "_repr_json_", "TypeError: Object of type type is not JSON serializable"},
		{class + "def _repr_mimebundle_(s, **k): return {'a/json': {1}}\nA()", "a/json", "TypeError: Object of type set is not JSON serializable"},
		{"class A:\n  def __repr__(s): raise AttributeError('no column')\ndisplay(A())", "__repr__", "AttributeError: no column"},
		{"display({'application/json': {1}}, raw=True)", "application/json", "TypeError: Object of type set is not JSON serializable"},
	} {
		res := execute(t, pool, job.Spec{Code: tt.code})
		if len(res.Results) != 1 || res.Results[0].Errors[tt.name] != tt.want || len(res.Notices) != 1 || !strings.Contains(res.Notices[0].Message, tt.want) {
			t.Errorf("%s: %+v, notices %+v", tt.code, res.Results, res.Notices)
		}
	}
	// Older ones write out any number.
	const large = "import sys\nx = 10**5000 if hasattr(sys, 'set_int_max_str_digits') else None\nx"
	for _, v := range execute(t, pool, job.Spec{Code: large}).Results {
		if !strings.HasPrefix(v.Errors["__repr__"], "ValueError: Exceeds the limit") {
			t.Errorf("%+v", v)
		}
	}
}

// Code that finds the socket can show what it likes, within the budget; it is JSON in the
// end, or the end of the code.
func TestForgedResults(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(c *interpreter.Config) { c.Size, c.Quota.ResultBytes = 2, 1<<20 })
	const forge = `
import json, os
results = next(c.cell_contents for c in display.__closure__ if type(c.cell_contents).__name__ == "Results")
fd, id = results.control.fd, results.id
def send(data, **more):
    line = json.dumps({"id": id, "type": "result", "main": False, "data": data, **more}).encode() + b"\n"
    raw(line)
def clear(): raw(b'{"id":"%s","type":"clear"}\n' % id.encode())
def raw(line):
    while line: line = line[os.write(fd, line):]
`
	const protocol = "exit 137 ProtocolError: the interpreter was ended because the code interfered with its supervisor: not a frame of the protocol"
	tests := []struct{ name, code, outcome, want string }{
		{"one", "send({'a/b': 'c'})", "ok 0", `a/b="c"`},
		{"no MIME type", "send({'': {}})", "ok 0", `={}`},
		{"all members", "send({'a/b': 'c'}, metadata={'a/b': {'w': 1}}, reduced={'a/b': 9}, errors={'f': 'E'}, truncated={'rows': [1, 2]}, displayId='d', update=True)", "ok 0", `a/b="c"`},
		{"wrong errors", "send({'a': 0}, errors={'f': 1})", protocol + ": malformed result", ""},
		{"long display id", "send({'a': 0}, displayId='x' * 801)", protocol + ": malformed result", ""},
		{"many large errors", "for i in range(12): send({'a/b': 'c'}, errors={str(k): 'x' * 30000 for k in range(32)})", "ok 0", `a/b="c"`},
		{"deep metadata", `raw(b'{"id":"%s","type":"result","data":{"a":1},"metadata":{"a":%s}}\n' % (id.encode(), b'[' * 5000 + b']' * 5000))`, "ok 0", `a=1`},
		{"clear of nothing", "for i in range(1000): raw(b'{\"id\":\"%s\",\"type\":\"clear\"}\\n' % id.encode())", "ok 0", ""},
		{"updates beyond the budget", "for i in range(9): send({'a/b': str(i)}, displayId='d')\nsend({'a/b': 'x' * 600000}, displayId='d', update=True); clear()", "ok 0", ""},
		{"more than the budget", "for i in range(3): send({'a/b': 'x' * 600000})", "ok 0", `a/b="` + strings.Repeat("x", 600_000) + `"`},
		{"half a character", `raw(b'{"id":"%s","type":"result","data":{"a":"\\ud800\\udbff\\udc00"}}\n' % id.encode())`, "ok 0", `a="\ufffd\udbff\udc00"`},
		{"not ASCII", `raw(b'{"id":"%s","type":"result","data":{"a":"\xff"}}\n' % id.encode())`, protocol + ": malformed result", ""},
		{"not an object", "send([1])", protocol + ": malformed result", ""},
		{"too many forms", "send({str(i): 0 for i in range(33)})", protocol + ": malformed result", ""},
		{"long type", "send({'a' * 201: 0})", protocol + ": malformed result", ""},
		{"wrong omission", "send({'a': 0}, omitted={'a': 'b'})", protocol + ": malformed result", ""},
		{"too long", "raw(b'x' * (2 << 20) + b'1')", protocol + ": longer than 2097152 bytes", ""},
		{"deeply nested", `raw(b'{"id":"%s","type":"result","data":{"a":1,"b":%s}}\n' % (id.encode(), b'[' * 5000 + b']' * 5000))`, "ok 0", `a=1 b omitted`},
		{"after the end", `raw(b'{"id":"%s","type":"status","status":"ok"}\n' % id.encode()); display(1)`, "ok 0", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := execute(t, pool, job.Spec{Code: forge + tt.code})
			if got := outcome(res); got != tt.outcome {
				t.Errorf("outcome = %.500q, want %q", got, tt.outcome)
			}
			if diff := cmp.Diff(tt.want, shown(t, res)); diff != "" {
				t.Errorf("%.2000s", diff)
			}
		})
	}
}

// A frame goes out whole, whatever signals come and from however many threads.
func TestResultsUnderSignals(t *testing.T) {
	t.Parallel()
	quota := fillQuota(job.Quota{})
	quota.ResultBytes = 8 << 20
	res := execute(t, shared(t), job.Spec{Quota: quota, Code: `
import signal, threading
hits = 0
class Stop(Exception): pass
def handler(number, frame):
    global hits
    if frame.f_code.co_filename == "<kaa display>":
        hits += 1
        raise Stop
signal.signal(signal.SIGALRM, handler)
from IPython.display import HTML
def show(n, size=3000):
    for i in range(n): display(HTML("x" * size))
large = 500_000  # does not fit into the socket
for i in range(10):
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.0003)
    try: show(1, large)
    except Stop: pass
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
threads = [threading.Thread(target=show, args=(2, large)) for _ in range(4)]
for t in threads: t.start()
while hits < 50:
    try: show(1)
    except Stop: pass
signal.setitimer(signal.ITIMER_REAL, 0)
for t in threads: t.join()
`})
	if got := outcome(res); got != "ok 0" || len(res.Results) < 8 {
		t.Errorf("%s: %+v; %d results, %d dropped", got, res.Error, len(res.Results), res.ResultsDropped)
	}
}

func TestNotebookStandIn(t *testing.T) {
	t.Parallel()
	pool := shared(t)
	if res := execute(t, pool, job.Spec{Code: "import IPython; print(hasattr(IPython, '__file__'))"}); res.Stdout != "False\n" {
		t.Skip("this interpreter has IPython")
	}
	const kinds = `
from IPython.display import display, HTML, Image, JSON, Javascript, Latex, Markdown, Math, Pretty, SVG, clear_output
open("a.png", "wb").write(b"\x89PNGx"); open("a.svg", "w").write("<svg/>")
clear_output(wait=True)
display(HTML("h"), Markdown("m"), JSON({"a": 1}), JSON("[2]"), Javascript("j"), Latex("l"), Math("$x$"), Pretty("p"))
display(SVG("<svg/>"), SVG("a.svg"), SVG(filename="a.svg"), Image("a.png"), Image(b"\xff\xd8"), Image(url="http://x/"))
`
	got := shown(t, execute(t, pool, job.Spec{Code: kinds}))
	want := []string{
		`text/html="h"`, `text/markdown="m"`, `application/json={"a":1}`, `application/json=[2]`, `application/javascript="j"`,
		`text/latex="l"`, `text/latex="$\\displaystyle x$"`, `text/plain="p"`, `image/svg+xml="<svg/>"`, `image/svg+xml="<svg/>"`,
		`image/svg+xml="<svg/>"`, `image/png="iVBOR3g="`, `image/jpeg="/9g="`, `text/html="<img src=\"http://x/\">"`,
	}
	lines := strings.Split(got, "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d results, want %d:\n%s", len(lines), len(want), got)
	}
	for i := range want {
		if !strings.Contains(lines[i], want[i]) {
			t.Errorf("%s, want %s", lines[i], want[i])
		}
	}
	for code, want := range map[string]string{
		"import IPython; print(IPython.get_ipython(), IPython.version_info >= (8,))":                             "None True\n",
		"import sys; print('IPython' in sys.modules)":                                                            "False\n",
		"from IPython.core.display import display as d; from IPython import display as m; print(m.display is d)": "True\n",
		"import IPython.terminal": "ModuleNotFoundError",
		"import os\nif not os.fork(): display(5); os._exit(0)\n_ = os.wait()": "5\n",
	} {
		res := execute(t, pool, job.Spec{Code: code})
		if res.Error != nil {
			res.Stdout += res.Error.Name
		}
		if res.Stdout != want {
			t.Errorf("%s: %q, want %q", code, res.Stdout, want)
		}
	}
}

// The real IPython's display goes the same way.
func TestInstalledIPython(t *testing.T) {
	t.Parallel()
	path := venvOver(t, map[string]string{
		"IPython/__init__":               "from .core.display import display",
		"IPython/core/__init__":          "",
		"IPython/core/display_functions": "def display(*a): print('not shown')",
		"IPython/core/display":           "from .display_functions import display",
		"IPython/display":                "from .core.display import display\nREAL = True",
	})
	for _, preload := range [][]string{nil, {"IPython.display"}} {
		pool := newPool(t, withLevel(sandbox.None), func(c *interpreter.Config) { // there the code can read our files
			c.Runtimes = []interpreter.RuntimeConfig{{Python: path, Preload: preload}}
		})
		res := execute(t, pool, job.Spec{Code: "from IPython.display import display, REAL\nimport IPython\ndisplay(1)\nIPython.display.display(2)"})
		if got := shown(t, res); got != "text/plain=\"1\"\ntext/plain=\"2\"" || res.Stdout != "" {
			t.Errorf("preload %v: shown %q, stdout %q, %s", preload, got, res.Stdout, outcome(res))
		}
	}
}

// TestLibraries holds what the libraries show whose objects notebooks are made of.
func TestLibraries(t *testing.T) {
	t.Parallel()
	testenv.Slow(t)
	path := testenv.LibsPython(t)
	const plot = "import matplotlib.pyplot as plt\n"
	const png, svg, figure = "image/png", "image/svg+xml", `text/plain="<Figure size 640x480 with 1 Axes>"`
	const chart = "application/vnd.kaa.chart+json"
	tests := []struct {
		name, code string
		formats    []string
		want       []string // of each result, what is in it
	}{
		{"frame", "import pandas as pd\npd.DataFrame({'a': [1, float('nan')], 'b': ['x', 'é']})", nil, []string{`application/json={"a":[1.0,null],"b":["x","é"]} text/html="<div>`}},
		{"frame with an index", "import pandas as pd\npd.DataFrame({'a': [1, 1, 2], 'b': [1, 2, 3]}).groupby('a').sum()", nil, []string{`application/json={"a":[1,2],"b":[3,3]}`}},
		{"dates", "import pandas as pd\npd.DataFrame({'d': pd.date_range('2024-01-01', periods=1)})", nil, []string{`application/json={"d":["2024-01-01T00:00:00"]}`}},
		{"odd columns", "import pandas as pd\npd.DataFrame([[1, 2, 3]], columns=[('a', 1), 'b', 'b'])", nil, []string{`application/json={"('a', 1)":[1],"b":[2],"b_":[3]}`}},
		{"levels", "import pandas as pd\npd.DataFrame({'a': [1], 'b': [2]}).agg(['sum', 'max']).T", nil, []string{`application/json={"index":["a","b"],"sum":[1,2],"max":[1,2]}`}},
		{"huge frame", "import numpy as np, pandas as pd\npd.DataFrame({'a': np.arange(10**6)})", nil, []string{`,998,999]} text/html`}},
		{"series", "import pandas as pd\npd.Series([3, 4], index=['x', 'y'], name='n')", nil, []string{`application/json={"index":["x","y"],"n":[3,4]} text/html="<div>`}},
		{"image", "from PIL import Image\nImage.new('RGB', (2, 2))", nil, []string{png}},
		{"CMYK image", "from PIL import Image\nImage.new('CMYK', (2, 2))", nil, []string{"image/"}},
		{"open figures", plot + "plt.plot([1, 2])\nplt.figure()\nplt.bar([1], [2])\nplt.figure()\nNone", nil, []string{png, png}},
		{"show", plot + "plt.plot([1, 2]); plt.show()\nplt.plot([2, 1]); plt.show()\nprint(plt.get_fignums())", nil, []string{png, png}},
		{"svg", plot + "plt.plot([1, 2]);", []string{"svg"}, []string{`image/svg+xml="<?xml`}},
		{"both", plot + "plt.plot([1, 2]);", []string{"svg", "png"}, []string{png + "=", svg + "="}},
		{"figure as value", plot + "fig, ax = plt.subplots()\nfig", nil, []string{"*" + png}},
		{"shown by itself", plot + "fig, ax = plt.subplots()\nfig.show()\ndisplay(1)", nil, []string{png, `text/plain="1"`}},
		{"own backend", "import matplotlib\nmatplotlib.use('Agg')\n" + plot + "plt.plot([1])\nplt.show()", nil, []string{png}},
		{"svg backend", "import matplotlib\nmatplotlib.use('svg')\n" + plot + "plt.plot([1]);", nil, []string{png}},
		{"after an error", plot + "plt.plot([1])\n1/0", nil, []string{png}},
		{"frame's plot", "import pandas as pd\npd.DataFrame({'a': [1, 2]}).plot();", nil, []string{png}},
		{"object without pyplot", "from matplotlib.figure import Figure\nf = Figure()\nf.subplots().plot([1])\nf", nil, []string{"*" + chart + `={"type":"line",`}},
		{"chart", plot + "plt.bar(['a'], [2]);", nil, []string{chart + `={"type":"bar","title":null,"elements":[{"label":"a","group":"Group 0","value":2.0}],` +
			`"x_label":null,"x_unit":null,"y_label":null,"y_unit":null} ` + png}},
		{"no chart", plot + "plt.figtext(.5, .5, 'x');", nil, []string{png}},
		{"too many points", "import numpy as np\n" + plot + "plt.scatter(np.zeros(60000), np.zeros(60000));", nil, []string{chart + " omitted " + png}},
	}
	for _, preload := range [][]string{nil, {"pandas", "matplotlib.pyplot"}} {
		pool := newPool(t, func(c *interpreter.Config) {
			c.Runtimes = []interpreter.RuntimeConfig{{Python: path, Preload: preload}}
		})
		for _, tt := range tests {
			t.Run(fmt.Sprint(tt.name, preload), func(t *testing.T) {
				t.Parallel()
				res := execute(t, pool, job.Spec{Code: tt.code, Options: job.Options{FigureFormats: tt.formats}, Timeout: 2 * ample})
				got := shown(t, res)
				if tt.name == "both" {
					tt.want = []string{png + "="}
					if !strings.Contains(got, svg+"=") {
						t.Errorf("no SVG: %.2000s", got)
					}
				}
				lines := strings.Split(got, "\n")
				if len(lines) != len(tt.want) {
					t.Fatalf("%d results, want %d: %.2000s\n%s %s", len(lines), len(tt.want), got, res.Stderr, outcome(res))
				}
				for i, want := range tt.want {
					if !strings.Contains(lines[i], want) {
						t.Errorf("%.2000s, want %s", lines[i], want)
					}
					if text, ok := res.Results[i].Data[png]; ok {
						data, err := base64.StdEncoding.DecodeString(strings.Trim(string(text), `"`))
						if err != nil || !strings.HasPrefix(string(data), "\x89PNG") {
							t.Errorf("no PNG: %.100s, %v", text, err)
						}
					}
				}
				if strings.Contains(lines[0], svg) && !strings.Contains(lines[0], figure) {
					t.Errorf("%.500s, want %s", lines[0], figure)
				}
				// matplotlib says so when it takes 5 s, on a machine that is busy.
				if text := fontCache.ReplaceAllString(res.Stderr, ""); text != "" {
					t.Errorf("stderr: %s", text)
				}
			})
		}
	}
}

var fontCache = regexp.MustCompile(`(?m)^Matplotlib is building the font cache.*\n`)
