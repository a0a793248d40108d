package interpreter_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/kaa-run/kaa/internal/interpreter"
	"github.com/kaa-run/kaa/internal/job"
)

func TestTracebacks(t *testing.T) {
	t.Parallel()
	pool := shared(t)
	tests := []struct {
		name, code string
		error      string // name and value
		want       []string
		not        []string
	}{
		{
			"frames and source lines", "def f(x):\n    return 1/x\n\nf(0)\n", "ZeroDivisionError: division by zero",
			[]string{"Traceback (most recent call last):\n  File \"/work/main.py\", line 4, in <module>\n    f(0)\n", "  File \"/work/main.py\", line 2, in f\n    return 1/x\n", "\nZeroDivisionError: division by zero\n"},
			[]string{"<kaa ", "execute"},
		},
		{
			"syntax error", "x = 1\nprint('a'", "SyntaxError: '(' was never closed (main.py, line 2)",
			[]string{"  File \"/work/main.py\", line 2\n    print('a'\n", "     ^\n", "SyntaxError: '(' was never closed"},
			[]string{"Traceback", "<kaa "},
		},
		{
			"indentation", "if 1:\nx", "IndentationError: expected an indented block after 'if' statement on line 1 (main.py, line 2)",
			[]string{"line 2\n    x\n    ^\n"},
			[]string{"Traceback", "<kaa "},
		},
		{
			"library frames are hidden", "import json\njson.loads('{')", "JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
			[]string{"line 2, in <module>", "json.decoder.JSONDecodeError: Expecting"},
			[]string{"decoder.py", "__init__.py", "<kaa "},
		},
		{
			"cause", "try: 1/0\nexcept Exception as e: raise ValueError('v') from e", "ValueError: v",
			[]string{"ZeroDivisionError", "direct cause", "line 1, in <module>", "line 2, in <module>"},
			[]string{"<kaa "},
		},
		{
			"context", "try: 1/0\nexcept Exception: raise ValueError('v')", "ValueError: v",
			[]string{"ZeroDivisionError", "During handling", "line 1, in <module>"},
			[]string{"<kaa "},
		},
		{
			"library frames of a context", "import json\ntry: json.loads('{')\nexcept ValueError: {}['k']", "KeyError: 'k'",
			[]string{"line 2, in <module>", "line 3, in <module>"},
			[]string{"decoder.py", "<kaa "},
		},
		{
			"exec", "exec('1/0')", "ZeroDivisionError: division by zero",
			[]string{`File "<string>", line 1, in <module>`, `File "/work/main.py", line 1, in <module>`},
			[]string{"<kaa "},
		},
		{
			"own module", "open('mod.py', 'w').write('def f():\\n  1/0\\n')\nimport mod\nmod.f()", "ZeroDivisionError: division by zero",
			[]string{"work/mod.py\", line 2, in f\n    1/0\n"},
			[]string{"<kaa "},
		},
		{"no message", "raise ValueError", "ValueError: ", []string{"\nValueError\n"}, nil},
		{"nested class", "class A:\n  class B(Exception): pass\nraise A.B('x')", "B: x", []string{"A.B: x"}, nil},
		{
			"raising __str__", "class E(Exception):\n  def __str__(self): 1/0\nraise E", "E: <exception str() failed>",
			[]string{"line 3, in <module>", "E: <exception str() failed>"},
			[]string{"<kaa "},
		},
		{"__str__ that exits", "class E(Exception):\n  def __str__(self): raise SystemExit(3)\nraise E", "E: <exception str() failed>", []string{"E"}, nil},
		{"__str__ of the wrong type", "class E(Exception):\n  def __str__(self): return 1\nraise E", "E: <exception str() failed>", []string{"line 3"}, nil},
		{
			"__str__ of a str class", "class S(str):\n  def __len__(self): 1/0\n  def __getitem__(self, i): 1/0\nclass E(Exception):\n  def __str__(self): return S('s')\nraise E",
			"E: s",
			[]string{"E"},
			nil,
		},
		{
			"metaclass", "class M(type):\n  @property\n  def __name__(c): 1/0\n  __module__ = property(lambda c: 1/0)\nclass E(Exception, metaclass=M): pass\nraise E('v')",
			"E: v",
			[]string{"E: v"},
			nil,
		},
		{
			"properties", "class E(Exception):\n  __cause__ = __context__ = __traceback__ = __class__ = property(lambda s: 1/0)\nraise E('v')",
			"E: v",
			[]string{"E: v"},
			nil,
		},
		{"cycle of causes", "a = ValueError('a'); b = ValueError('b')\na.__cause__ = b; b.__cause__ = a\nraise a", "ValueError: a", []string{"ValueError: a"}, nil},
		{"lone surrogates", "raise ValueError('\\ud800|\\udcff')", "ValueError: \\ud800|\\udcff", []string{"ValueError: \\ud800|"}, nil},
		{"NUL", "raise ValueError('a\\0b')", "ValueError: a\x00b", []string{"ValueError: a\x00b"}, nil},
		{"builtins are gone", "import builtins\nd = delattr\nfor n in list(vars(builtins)):\n  if n != 'ValueError': d(builtins, n)\nraise ValueError('v')", "ValueError: v", []string{"ValueError: v"}, nil},
		{"traceback module is broken", "import traceback\ntraceback.TracebackException = None\n1/0", "ZeroDivisionError: division by zero", []string{"ZeroDivisionError: division by zero"}, nil},
		{"json and os are broken", "import json, os, sys\njson.dumps = json.loads = os.write = os._exit = os.getpid = None\n1/0", "ZeroDivisionError: division by zero", []string{"line 3, in"}, nil},
		{"tracing", "import sys\nsys.settrace(lambda *a: 1/0)\nx = 1/0", "ZeroDivisionError: division by zero", []string{"line 3"}, nil},
		{"deep recursion", "def f(): f()\nf()", "RecursionError: maximum recursion depth exceeded", []string{"[Previous line repeated 9"}, []string{"<kaa "}},
		{"deeper recursion", "import sys\nsys.setrecursionlimit(10**6)\ndef f(n):\n  if n: f(n-1)\n  else: 1/0\nf(20000)", "ZeroDivisionError: division by zero", []string{"repeated 99"}, nil},
		{"many causes", "e = None\nfor i in range(5000):\n  n = ValueError('v'); n.__cause__ = e; e = n\nraise e", "ValueError: v", []string{"ValueError: v"}, nil},
		{"exception group", "raise ExceptionGroup('g', [ValueError('a'), ExceptionGroup('h', [KeyError('b')])])", "ExceptionGroup: g (2 sub-exceptions)", []string{"ValueError: a", "KeyError: 'b'", "+-+---"}, []string{"<kaa "}},
		{"after chdir and sys.modules", "import os, sys\nos.chdir('/')\nsys.modules.clear()\n1/0", "ZeroDivisionError: division by zero", []string{"ZeroDivisionError"}, nil},
	}
	// Older versions word these otherwise, do not have them, or overflow the C stack.
	since311 := []string{"exception group", "raising __str__", "deeper recursion", "indentation", "syntax error"}
	older := slices.Contains([]string{"8", "9", "10"}, strings.Split(pool.Runtimes()[0].Version, ".")[1])
	for _, tt := range tests {
		if older && slices.Contains(since311, tt.name) {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := execute(t, pool, job.Spec{Code: tt.code})
			if got := outcome(res); got != "error 1 "+tt.error {
				t.Fatalf("outcome = %.500q, want %q", got, tt.error)
			}
			for _, s := range tt.want {
				if !strings.Contains(res.Error.Traceback, s) {
					t.Errorf("not in the traceback: %q", s)
				}
			}
			for _, s := range tt.not {
				if strings.Contains(res.Error.Traceback, s) {
					t.Errorf("in the traceback: %q", s)
				}
			}
			if t.Failed() {
				t.Logf("%.3000s", res.Error.Traceback)
			}
			if strings.Contains(res.Stderr, tt.error) {
				t.Errorf("the error is on stderr too: %q", res.Stderr)
			}
		})
	}
}

func TestHugeErrorsAreClipped(t *testing.T) {
	t.Parallel()
	for _, char := range []string{"x", "é", "\\U0001F600", "\\ud800", "\\x01"} {
		t.Run(char, func(t *testing.T) {
			t.Parallel()
			res := run(t, `raise type("N" * 100000, (Exception,), {})("<" + "`+char+`" * 1000000 + ">")`)
			if res.Status != job.StatusError || res.Error == nil {
				t.Fatalf("outcome = %.500q", outcome(res))
			}
			const most = 4*32*1024 + 100
			e := res.Error
			if len(e.Name) > 400 || len(e.Value) > most || len(e.Traceback) > most {
				t.Errorf("%d bytes of name, %d of value, %d of traceback", len(e.Name), len(e.Value), len(e.Traceback))
			}
			if !strings.HasPrefix(e.Value, "<") || !strings.HasSuffix(e.Value, ">") || !strings.Contains(e.Value, " characters dropped] ...") {
				t.Errorf("value = %.100q", e.Value)
			}
		})
	}
}

func TestOddBytes(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(c *interpreter.Config) { c.Quota.OutputBytes = 20; c.Size = 2 })
	tests := []struct {
		name, code, stdout, stderr string
		dropped                    job.Truncated
	}{
		{"lone surrogate", `import sys; print("a\ud800b"); print("\udfff", file=sys.stderr)`, "a\uFFFDb\n", "\\udfff\n", job.Truncated{}},
		{"escaped byte", `print("a\udcffb\udcc3\udca9")`, "a\uFFFDbé\n", "", job.Truncated{}},
		{"mixed surrogates", `print("\udcff\ud800|")`, "\uFFFD\uFFFD|\n", "", job.Truncated{}},
		{"invalid UTF-8", `import os; os.write(1, b"\xff\xfea\xc3")`, "\uFFFD\uFFFDa\uFFFD", "", job.Truncated{}},
		{"NUL", `print("a\0b")`, "a\x00b\n", "", job.Truncated{}},
		{"character on the border of the halves", `print("123456789é12345678", end="")`, "123456789é12345678", "", job.Truncated{}},
		{"full budget", `print("x" * 20, end="")`, strings.Repeat("x", 20), "", job.Truncated{}},
		{"one byte more", `print("a" * 10 + "?" + "z" * 10, end="")`, "aaaaaaaaaa\n... [1 bytes dropped] ...\nzzzzzzzzzz", "", job.Truncated{Stdout: 1}},
		{"cut characters", `print("é" * 10 + "x" + "é" * 10, end="")`, "ééééé\n... [21 bytes dropped] ...\nééééé", "", job.Truncated{Stdout: 21}},
		{"cut in both", `print("x" + "é" * 20 + "x", end="")`, "xéééé\n... [24 bytes dropped] ...\néééé" + "x", "", job.Truncated{Stdout: 24}},
		{"on stderr", `import sys; sys.stderr.write("x" * 25)`, "", "xxxxxxxxxx\n... [5 bytes dropped] ...\nxxxxxxxxxx", job.Truncated{Stderr: 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res := execute(t, pool, job.Spec{Code: tt.code})
			wantText(t, res, "ok 0", tt.stdout, tt.stderr)
			var dropped job.Truncated
			if res.Truncated != nil {
				dropped = *res.Truncated
				if dropped == (job.Truncated{}) {
					t.Error("truncated is set and zero")
				}
			}
			if diff := cmp.Diff(tt.dropped, dropped); diff != "" {
				t.Error(diff)
			}
			data, err := json.Marshal(res)
			if err != nil || !utf8.Valid(data) {
				t.Errorf("json: %v", err)
			}
		})
	}
}
