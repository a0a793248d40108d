package job

import (
	"slices"
	"testing"
)

// TestPipInstalls: lines for pip are taken out of code, and those within strings and brackets are not.
func TestPipInstalls(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, code, rest string
		packages         []string
		wrong            bool
	}{
		{name: "both kinds", code: "%pip install requests 'pandas>=2'\nx = 1\n!pip3 install -q \"numpy\" # for x\n", rest: "\nx = 1\n\n", packages: []string{"requests", "pandas>=2", "numpy"}},
		{name: "the whole code", code: "! python -m pip install a\r\n", rest: "pass", packages: []string{"a"}},
		{name: "with spaces", code: "%pip install \"a >= 1\" 'b [x] < 2' c>=1#no comment", rest: "pass", packages: []string{"a >= 1", "b [x] < 2", "c>=1#no", "comment"}},
		{name: "with a comment", code: "%pip install a  # >= 1 'b", rest: "pass", packages: []string{"a"}},
		{name: "quotes inside a word", code: "!pip install a\">=1\" 'b c", rest: "pass", packages: []string{"a>=1", "b c"}},
		{name: "in a string", code: "x = '''\n!pip install a\n'''", rest: "x = '''\n!pip install a\n'''"},
		{name: "in brackets", code: "x = (5\n%pip install\n)", rest: "x = (5\n%pip install\n)"},
		{name: "indented", code: "if 1:\n  !pip install a", rest: "if 1:\n  !pip install a"},
		{name: "another command", code: "!pip list\n!pipx install a\n%pip installer", rest: "!pip list\n!pipx install a\n%pip installer"},
		{name: "a file", code: "!pip install -r requirements.txt", wrong: true},
		{name: "Python", code: "pip = 5 % 3\nprint(pip != 2)", rest: "pip = 5 % 3\nprint(pip != 2)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var v validation
			r := Request{Code: tt.code}
			packages := Limits{Packages: PackageLimits{Allowed: true}}.pipInstalls(&v, &r)
			if wrong := len(v.fields) > 0; wrong != tt.wrong || !wrong && (r.Code != tt.rest || !slices.Equal(packages, tt.packages)) {
				t.Errorf("%q, %q, %v", packages, r.Code, v.fields)
			}
			r.Code = tt.code
			if packages := (Limits{}).pipInstalls(&v, &r); packages != nil || r.Code != tt.code {
				t.Errorf("where packages are off: %q, %q", packages, r.Code)
			}
		})
	}
}
