package job_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kaa-run/kaa/internal/job"
)

func TestPackages(t *testing.T) {
	t.Parallel()
	many := make([]string, 101)
	for i := range many {
		many[i] = "a"
	}
	for _, tt := range []struct {
		name   string
		given  []string
		want   []string // requirements in their common form
		wrong  string   // field of the error
		limits job.PackageLimits
	}{
		{name: "common form", given: []string{" Foo_Bar [ Y , x ] >= 1.0 , <2 ", "numpy", "numpy"}, want: []string{"foo-bar[x,y]<2,>=1.0", "numpy"}},
		{name: "order", given: []string{"b", "a==1"}, want: []string{"a==1", "b"}},
		{name: "marker", given: []string{"a; python_version < '3.9'"}, want: []string{"a ; python_version < '3.9'"}},
		{name: "none", given: []string{}},
		{name: "empty", given: []string{"a", " "}, wrong: "packages[1]"},
		{name: "option", given: []string{"--index-url=http://x"}, wrong: "packages[0]"},
		{name: "another option", given: []string{"-r/etc/passwd"}, wrong: "packages[0]"},
		{name: "line", given: []string{"a\n--index-url x"}, wrong: "packages[0]"},
		{name: "line in a marker", given: []string{"a;x\n-r y"}, wrong: "packages[0]"},
		{name: "address", given: []string{"a @ https://example.com/a.whl"}, wrong: "packages[0]"},
		{name: "bare address", given: []string{"git+https://example.com/a"}, wrong: "packages[0]"},
		{name: "path", given: []string{"./a"}, wrong: "packages[0]"},
		{name: "version", given: []string{"a=1"}, wrong: "packages[0]"},
		{name: "comment", given: []string{"a # b"}, wrong: "packages[0]"},
		{name: "long", given: []string{strings.Repeat("a", 300)}, wrong: "packages[0]"},
		{name: "many", given: many, wrong: "packages"},
		{name: "off", given: []string{"a"}, wrong: "packages", limits: job.PackageLimits{}},
		{name: "blocked", given: []string{"Foo.Bar"}, wrong: "packages[0]", limits: job.PackageLimits{Allowed: true, Block: []string{"foo-bar"}}},
		{name: "allowed", given: []string{"a", "b"}, wrong: "packages[1]", limits: job.PackageLimits{Allowed: true, Allow: []string{"a"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := limits()
			l.Packages = job.PackageLimits{Allowed: true}
			if tt.name == "off" || len(tt.limits.Allow)+len(tt.limits.Block) > 0 {
				l.Packages = tt.limits
			}
			n, err := l.Accept(job.Request{Code: "1", Packages: tt.given}, time.Now())
			if tt.wrong != "" {
				var invalid *job.ValidationError
				if !errors.As(err, &invalid) || len(invalid.Fields) != 1 || invalid.Fields[0].Field != tt.wrong {
					t.Errorf("err = %v, want one about %s", err, tt.wrong)
				}
				return
			}
			if err != nil || !slices.Equal(n.Spec.Packages, tt.want) {
				t.Errorf("packages = %q, %v; want %q", n.Spec.Packages, err, tt.want)
			}
			runtime, set := job.SplitPackages(n.Job.Runtime)
			if got := job.PackageSet(tt.given); got != set {
				t.Errorf("set = %q, want %q", got, set)
			}
			if n.Spec.Runtime != n.Job.Runtime || runtime != "" || (set == "") != (len(tt.want) == 0) {
				t.Errorf("runtime = %q and %q", n.Job.Runtime, n.Spec.Runtime)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	const pip = "  File \"main.py\", line 1\n    %pip install a 'b >= 1'\n    ^\nSyntaxError: invalid syntax"
	for _, tt := range []struct {
		name, value string
		packages    []string
		off         bool
		hint        string // a part; none if empty
	}{
		{"SyntaxError", pip, nil, true, "installs no packages"},
		{"SyntaxError", pip, nil, false, `"packages": ["a", "b>=1"]`},
		{"SyntaxError", "    %pipe install a", nil, true, "for a notebook"},
		{"SyntaxError", "  File \"main.py\", line 1\n    !ls -l\n    ^\nSyntaxError: invalid syntax", nil, true, "subprocess"},
		{"SyntaxError", "  File \"main.py\", line 1\n    %%time\n    ^\nSyntaxError: invalid syntax", nil, true, "for a notebook"},
		{"SyntaxError", "  File \"main.py\", line 1\n    != 1\n    ^\nSyntaxError: invalid syntax", nil, true, ""},
		{"SyntaxError", "  File \"main.py\", line 1\n    % 3 4\n    ^\nSyntaxError: invalid syntax", nil, true, ""},
		{"SyntaxError", "  File \"main.py\", line 1\n    x = = 1\n    ^\nSyntaxError: invalid syntax", nil, true, ""},
		{"ValueError", "    !ls", nil, true, ""},
		{"ValueError", pip, nil, true, ""},
		{"ModuleNotFoundError", "No module named 'requests'", nil, false, `"packages": ["requests"]`},
		{"ModuleNotFoundError", "No module named 'requests'", nil, false, "Where that is refused, the operator can set KAA_PACKAGES=on"},
		{"ModuleNotFoundError", "No module named 'cv2'", nil, false, `"packages": ["opencv-python-headless"]`},
		{"ModuleNotFoundError", "No module named 'google.protobuf'", nil, false, `"packages": ["protobuf"]`},
		{"ModuleNotFoundError", "No module named 'sklearn.linear_model'; 'sklearn' is not a package", nil, false, `"packages": ["scikit-learn"]`},
		{"ModuleNotFoundError", "No module named 'requests'", []string{"requests==2"}, false, ""},
		{"ModuleNotFoundError", "No module named 'requests'", nil, true, "KAA_PACKAGES=on"},
		{"ModuleNotFoundError", `No module named 'a", "b'`, nil, false, ""},
		{"ModuleNotFoundError", "", nil, false, ""},
		{"ValueError", "No module named 'requests'", nil, false, ""},
		{"ImportError", "libGL.so.1: cannot open shared object file: No such file or directory", nil, false, "libGL.so.1"},
	} {
		e := job.Error{Name: tt.name, Value: tt.value, Traceback: tt.value}
		e.Explain(tt.packages, !tt.off)
		if (e.Hint == "") != (tt.hint == "") || !strings.Contains(e.Hint, tt.hint) {
			t.Errorf("%s: %s: hint %q, want %q", tt.name, tt.value, e.Hint, tt.hint)
		}
	}
}

// TestScript: the header of a script names packages as a request does.
func TestScript(t *testing.T) {
	t.Parallel()
	const begin, end = "# /// script\n", "# ///\n"
	for _, tt := range []struct {
		code string
		want string // packages, with spaces between them; "!" is an error about code
	}{
		{"print(1)", ""},
		{begin + "# dependencies = [\"b\", 'a==1']\n" + end + "print(1)", "a==1 b"},
		{"#!/usr/bin/env python\n" + begin + "# requires-python = \">=3.8\"\n# dependencies = [\n#   \"a\", # why\n#\n#   \"b\",\n# ]\n#\n# [tool.x]\n# dependencies = [\"c\"]\n" + end, "a b"},
		{strings.ReplaceAll(begin+"# dependencies = [\"a\"]\n"+end, "\n", "\r\n"), "a"},
		{begin + "# dependencies = []\n" + end + "1", ""},
		{begin + "# [tool]\n# dependencies = [\"a\"]\n" + end + "1", ""},
		{begin + "# dependencies = [\"a\"]\nprint(1)\n", ""}, // no end
		{"x = '''\n # /// script'''", ""},
		{begin + "# dependencies = \"a\"\n" + end, "!"},
		{begin + "# dependencies = [a]\n" + end, "!"},
		{begin + "# dependencies = [\"a\n" + end, "!"},
		{begin + "# dependencies = [\"a\" \"b\"]\n" + end, "!"},
		{begin + "# dependencies = [\"a\",\n" + end, "!"},
	} {
		l := limits()
		l.Packages.Allowed, l.MaxCodeBytes = true, 1000
		n, err := l.Accept(job.Request{Code: tt.code}, time.Now())
		var invalid *job.ValidationError
		if got := strings.Join(n.Spec.Packages, " "); tt.want == "!" && (!errors.As(err, &invalid) || invalid.Fields[0].Field != "code") || tt.want != "!" && (err != nil || got != tt.want) {
			t.Errorf("%s\n%q, %v; want %q", tt.code, got, err, tt.want)
		}
		l.Packages.Allowed = false
		if n, err := l.Accept(job.Request{Code: tt.code}, time.Now()); err != nil || n.Spec.Packages != nil {
			t.Errorf("without packages, %s\n%q, %v", tt.code, n.Spec.Packages, err)
		}
	}
}
